//! Authorisation and admission: the operator's role, and temporary refusals (a quota, a policy, a lost right).

use super::{
    error::ApiError,
    resource::Resource,
    route::{Call, Verb},
    store::Actor,
};
use std::time::Duration;

/// A temporary refusal.
#[derive(Clone, Debug)]
pub struct Denial {
    /// From this age of the world.
    pub from: Duration,
    /// Up to this age of the world.
    pub until: Duration,
    /// What is refused.
    pub verb: Verb,
    /// Of which resource.
    pub resource: Resource,
    /// The server's message.
    pub why: String,
    /// With this code.
    pub code: u16,
    /// Whether only fallbacks' Pods are meant.
    pub of_fallbacks: bool,
}

impl Denial {
    /// For ever, with 403.
    pub fn of(verb: Verb, resource: Resource) -> Self {
        let (from, until) = (Duration::ZERO, Duration::MAX);
        Self { from, until, verb, resource, why: String::new(), code: 403, of_fallbacks: false }
    }
}

/// The rules on who may do what.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Temporary refusals, for processes under test.
    pub denials: Vec<Denial>,
}

impl Policies {
    /// Checks the request of a process under test. The cluster's own components and its users may do everything.
    pub fn admit(&self, actor: Actor, call: &Call, name: &str, now: Duration) -> Result<(), ApiError> {
        if !matches!(actor, Actor::Client(_)) {
            return Ok(());
        }
        let same = |d: &Denial| d.verb == call.verb && d.resource == call.resource;
        let meant = |d: &&Denial| same(d) && d.from <= now && now < d.until;
        let is_of = |d: &&Denial| !d.of_fallbacks || name.ends_with("-fallback");
        match self.denials.iter().filter(meant).find(is_of) {
            Some(Denial { code: 403, why, .. }) => Err(ApiError::forbidden(call.resource, name, why)),
            Some(Denial { code, why, .. }) => Err(ApiError::new(*code, "", why.clone())),
            None => Ok(()),
        }
    }

    /// Checks that the operator's role has this verb at all.
    pub fn authorize(actor: Actor, call: &Call) -> Result<(), ApiError> {
        let granted = match (call.resource, call.status) {
            (Resource::Tasks, false) => {
                [Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Patch, Verb::Delete].as_slice()
            }
            (Resource::Tasks | Resource::Queues | Resource::Schedules, true) => &[Verb::Update],
            (Resource::Queues, false) => &[Verb::List, Verb::Watch],
            (Resource::Schedules, false) => &[Verb::Get, Verb::List, Verb::Watch],
            (Resource::Pods, false) => &[Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Patch, Verb::Delete],
            (Resource::Events, false) => &[Verb::Create],
            (Resource::ClusterEvents, false) => &[Verb::List],
            (Resource::Leases, false) => &[Verb::Get, Verb::Create, Verb::Update],
            _ => &[],
        };
        if matches!(actor, Actor::Client(_)) && !granted.contains(&call.verb) {
            let why = format!("the operator's role does not have {:?} (status: {})", call.verb, call.status);
            return Err(ApiError::forbidden(call.resource, call.name.as_deref().unwrap_or(""), &why));
        }
        Ok(())
    }
}
