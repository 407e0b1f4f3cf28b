//! Follows one task: its versions as they come.

use super::connect::Cluster;
use super::error::Error;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::Api;
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{self, Event, watcher};
use retryable_tasks::api::RetryableTask;

/// How often in a row a task that was read once may be refused: an API server that was away serves before it knows who may do what.
const LATE_REFUSALS: u32 = 3;

/// The versions of one task.
pub(super) struct Follow {
    what: String,
    events: BoxStream<'static, watcher::Result<Event<RetryableTask>>>,
    /// Whether the list that is being read had the task.
    is_listed: bool,
    /// How often it was refused since it was last read; None if it never was.
    refusals: Option<u32>,
}

impl Follow {
    /// Follows the task of that name.
    pub(super) fn new(cluster: &Cluster, name: &str) -> Result<Self, Error> {
        let namespace = cluster.namespace()?;
        let api: Api<RetryableTask> = Api::namespaced(cluster.client.clone(), namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let events = watcher(api, config).default_backoff().boxed();
        Ok(Self { what: format!("watch RetryableTask {namespace}/{name}"), events, is_listed: false, refusals: None })
    }

    /// The next version; the first is the present one. None if there is no such task.
    pub(super) async fn next(&mut self) -> Result<Option<RetryableTask>, Error> {
        loop {
            let event = self.events.try_next().await;
            if matches!(event, Ok(Some(Event::InitApply(_) | Event::Apply(_)))) {
                self.refusals = Some(0);
            }
            match event {
                Ok(Some(Event::Init)) => self.is_listed = false,
                Ok(Some(Event::InitApply(task))) => {
                    self.is_listed = true;
                    return Ok(Some(task));
                }
                Ok(Some(Event::InitDone)) if self.is_listed => {}
                Ok(Some(Event::Apply(task))) => return Ok(Some(task)),
                Ok(Some(Event::InitDone | Event::Delete(_)) | None) => return Ok(None),
                Err(error) => self.give_up_if_for_good(error)?,
            }
        }
    }

    /// What waiting does not help against. Everything else is tried again after a while.
    fn give_up_if_for_good(&mut self, error: watcher::Error) -> Result<(), Error> {
        let why = match error {
            watcher::Error::InitialListFailed(why) | watcher::Error::WatchStartFailed(why) => why,
            watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_) | watcher::Error::NoResourceVersion => {
                return Ok(());
            }
        };
        let is_for_good = matches!(&why, kube::Error::Api(status) if matches!(status.code, 400 | 401 | 403 | 404));
        match &mut self.refusals {
            _ if !is_for_good => Ok(()),
            Some(refusals) if *refusals < LATE_REFUSALS => {
                *refusals += 1;
                Ok(())
            }
            Some(_) | None => Err(Error::Request { what: self.what.clone(), why }),
        }
    }
}
