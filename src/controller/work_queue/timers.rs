//! Tasks that are added to the work queue after a delay.

use super::Priority;
use crate::controller::TaskKey;
use std::collections::HashMap;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_util::time::{DelayQueue, delay_queue};

/// At most one timer per task and priority.
#[derive(Debug, Default)]
pub struct Timers {
    queue: DelayQueue<(TaskKey, Priority)>,
    running: HashMap<(TaskKey, Priority), delay_queue::Key>,
}

impl Timers {
    /// Replaces the task's timer of this priority; `None` cancels it.
    pub fn set(&mut self, key: TaskKey, priority: Priority, delay: Option<Duration>) {
        let timer = (key, priority);
        if let Some(earlier) = self.running.remove(&timer) {
            self.queue.remove(&earlier);
        }
        if let Some(delay) = delay {
            self.running.insert(timer.clone(), self.queue.insert(timer, delay));
        }
    }

    /// A timer that has expired. Pending while none has, also if none runs: the caller is woken when the next one expires.
    pub fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<(TaskKey, Priority)> {
        match self.queue.poll_expired(context) {
            Poll::Ready(Some(expired)) => {
                let timer = expired.into_inner();
                self.running.remove(&timer);
                Poll::Ready(timer)
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    #[cfg(test)]
    pub fn remaining(&self, key: &TaskKey, priority: Priority) -> Option<Duration> {
        let timer = self.running.get(&(key.clone(), priority))?;
        Some(self.queue.deadline(timer).saturating_duration_since(tokio::time::Instant::now()))
    }
}
