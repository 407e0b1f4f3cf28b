//! Requests of the operator: sent until they are stored, and then waited for.

use super::connect::Cluster;
use super::error::Error;
use super::fetch;
use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use retryable_tasks::plugin::create::back_off;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How often a request is made anew because the object has changed in the meantime.
const CONFLICTS: u32 = 5;
/// How soon it is looked whether the operator has acted; later on less often, down to [`LOOK_SELDOM`].
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const LOOK_SELDOM: Duration = Duration::from_secs(2);

/// What is asked of an object.
pub(super) trait Request {
    type Object: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug;

    /// Why it need not be sent, as the object is.
    fn needless(&self, object: &Self::Object) -> Option<&'static str>;

    /// The merge patch that asks for it, of that version of the object and of no other.
    fn patch(&self, object: &Self::Object) -> Value;

    /// Whether the object has it: whoever got no answer does not know whether it was stored.
    fn is_stored(&self, object: &Self::Object) -> bool;
}

/// What became of sending a request.
pub(super) enum Sent<K> {
    /// The object as it is with the request, or later.
    Stored(Box<K>),
    /// Why it is not sent.
    Needless(&'static str),
    /// The object was deleted, and another has its name.
    Replaced,
}

/// Sends it until it is stored, if it is still needed: the object may change meanwhile, and an answer may be lost.
pub(super) async fn send<R: Request>(
    cluster: &Cluster,
    name: &str,
    request: &R,
    mut object: R::Object,
    deadline: Instant,
) -> Result<Sent<R::Object>, Error> {
    let uid = object.meta().uid.clone();
    let (mut conflicts, mut outages) = (0, 0);
    loop {
        if let Some(why) = request.needless(&object) {
            return Ok(Sent::Needless(why));
        }
        match fetch::patch(cluster, name, &request.patch(&object)).await {
            Ok(stored) => return Ok(Sent::Stored(Box::new(stored))),
            Err(error) if error.is_conflict() && conflicts < CONFLICTS => conflicts += 1,
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                outages += 1;
                tokio::time::sleep(back_off(outages, fastrand::f64())).await;
            }
            Err(error) => return Err(error),
        }
        match fetch::get::<R::Object>(cluster, name).await {
            Ok(newer) if newer.meta().uid != uid => return Ok(Sent::Replaced),
            Ok(newer) if request.is_stored(&newer) => return Ok(Sent::Stored(Box::new(newer))),
            Ok(newer) => object = newer,
            Err(error) if error.is_transient() && Instant::now() < deadline => {}
            Err(error) => return Err(error),
        }
    }
}

/// When it is looked whether the operator has acted.
pub(super) struct Looks {
    pause: Duration,
    deadline: Instant,
}

impl Looks {
    /// Looks until then.
    pub(super) fn until(deadline: Instant) -> Self {
        Self { pause: LOOK_AGAIN, deadline }
    }

    /// Whether there is no time for another look.
    pub(super) fn are_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Waits for the next look, for that time at least unless there is less.
    pub(super) async fn next(&mut self, least: Duration) {
        tokio::time::sleep_until((Instant::now() + self.pause.max(least)).min(self.deadline)).await;
        self.pause = self.pause.mul_f64(1.5).min(LOOK_SELDOM);
    }
}

/// A request is one of its own by a random value: two people who ask at the same time ask twice.
pub(super) fn new_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}
