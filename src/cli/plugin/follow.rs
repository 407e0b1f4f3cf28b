//! Follows one task: its versions as they come.

use super::connect::Cluster;
use super::error::Error;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::Api;
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{self, Event, watcher};
use retryable_tasks::api::RetryableTask;

/// The versions of one task.
pub(super) struct Follow {
    what: String,
    events: BoxStream<'static, watcher::Result<Event<RetryableTask>>>,
    /// Whether the list that is being read had the task.
    is_listed: bool,
}

impl Follow {
    /// Follows the task of that name.
    pub(super) fn new(cluster: &Cluster, name: &str) -> Result<Self, Error> {
        let namespace = cluster.namespace()?;
        let api: Api<RetryableTask> = Api::namespaced(cluster.client.clone(), namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let events = watcher(api, config).default_backoff().boxed();
        Ok(Self { what: format!("watch RetryableTask {namespace}/{name}"), events, is_listed: false })
    }

    /// The next version; the first is the present one. None if there is no such task.
    pub(super) async fn next(&mut self) -> Result<Option<RetryableTask>, Error> {
        loop {
            match self.events.try_next().await {
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
    fn give_up_if_for_good(&self, error: watcher::Error) -> Result<(), Error> {
        let why = match error {
            watcher::Error::InitialListFailed(why) | watcher::Error::WatchStartFailed(why) => why,
            watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_) | watcher::Error::NoResourceVersion => {
                return Ok(());
            }
        };
        let is_for_good = matches!(&why, kube::Error::Api(status) if matches!(status.code, 400 | 401 | 403 | 404));
        if is_for_good { Err(Error::Request { what: self.what.clone(), why }) } else { Ok(()) }
    }
}
