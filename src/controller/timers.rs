//! When each task is to be looked at again though nothing happens to it.

use super::TaskKey;
use super::work_queue::{PRIORITIES, Priority, WorkQueue};
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::time::DelayQueue;

/// Sets the timers.
#[derive(Clone, Debug)]
pub struct Timers(UnboundedSender<Setting>);

/// The timers as they are set, for [`work`].
#[derive(Debug)]
pub struct Settings(UnboundedReceiver<Setting>);

type Setting = ((TaskKey, Priority), Option<Duration>);

/// Timers of which none is set.
pub fn timers() -> (Timers, Settings) {
    let (sender, receiver) = unbounded_channel();
    (Timers(sender), Settings(receiver))
}

impl Timers {
    /// The task gets into this line once this time has passed, or not by time. What was set before for this line no
    /// longer holds.
    pub fn set(&self, key: TaskKey, priority: Priority, wait: Option<Duration>) {
        // A closed channel means that the controller is going away.
        let _ = self.0.send(((key, priority), wait));
    }

    /// The task is gone.
    pub fn forget(&self, key: &TaskKey) {
        for priority in PRIORITIES {
            self.set(key.clone(), priority, None);
        }
    }
}

/// Gets each task into line when its time has come, for as long as there is anybody who sets timers.
pub async fn work(Settings(mut settings): Settings, work_queue: Arc<WorkQueue>) {
    let mut queue = DelayQueue::new();
    let mut places = HashMap::new();
    loop {
        tokio::select! {
            biased;
            setting = settings.recv() => {
                let Some((of, wait)) = setting else { return };
                if let Some(place) = places.remove(&of) {
                    queue.remove(&place);
                }
                if let Some(wait) = wait {
                    places.insert(of.clone(), queue.insert(of, wait));
                }
            }
            Some(over) = queue.next(), if !queue.is_empty() => {
                let of: (TaskKey, Priority) = over.into_inner();
                places.remove(&of);
                let (key, priority) = of;
                work_queue.add(key, priority);
            }
        }
    }
}

#[cfg(test)]
impl Settings {
    /// What was set last for this line.
    pub fn last(&mut self, priority: Priority) -> Option<Option<Duration>> {
        let mut settings = std::iter::from_fn(|| self.0.try_recv().ok());
        settings.by_ref().filter(|((_, of), _)| *of == priority).map(|(_, wait)| wait).last()
    }
}

#[cfg(test)]
mod tests;
