//! The work queue of one controller: which task is reconciled next.
//!
//! A task is in the queue once, with the most urgent priority that it was added with, and is dispatched to one reconcile
//! at a time. One that is added while its reconcile runs is dispatched again after it. [`dispatch`] chooses the next
//! task; [`timers`] adds tasks after a delay.

mod dispatch;
mod priority;
mod timers;

pub use dispatch::DUE_CONCURRENCY_FACTOR;
pub use priority::Priority;

use super::TaskKey;
use crate::telemetry::metrics::Metrics;
use dispatch::Dispatcher;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use timers::Timers;

/// The work queue of one controller. Any number of producers, one consumer.
#[derive(Debug)]
pub struct WorkQueue(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    dispatcher: Dispatcher,
    timers: Timers,
    /// The consumer, while it waits for a task.
    consumer: Option<Waker>,
}

impl WorkQueue {
    /// An empty queue that dispatches up to `concurrency` tasks at a time that are not due, and beside them up to
    /// [`DUE_CONCURRENCY_FACTOR`] times that number that are due.
    pub fn new(concurrency: u16, metrics: &Metrics) -> Self {
        let dispatcher = Dispatcher::new(concurrency, metrics);
        Self(Mutex::new(Inner { dispatcher, timers: Timers::default(), consumer: None }))
    }

    /// Adds a task. The more urgent priority wins if it is there already.
    pub fn add(&self, key: TaskKey, priority: Priority) {
        let mut inner = self.lock();
        inner.dispatcher.add(key, priority);
        inner.wake_consumer();
    }

    /// Records how long a reconcile took.
    pub fn reconciled(&self, priority: Priority, took: Duration) {
        self.lock().dispatcher.reconciled(priority, took);
    }

    /// Adds a task after a delay. Replaces the task's earlier delay for this priority; `None` cancels it.
    pub fn add_after(&self, key: TaskKey, priority: Priority, delay: Option<Duration>) {
        self.lock().timers.set(key, priority, delay);
    }

    /// Waits for a task that may run now, and for the number of running reconciles to allow it. The caller reports its
    /// end with [`done`](Self::done). Cancel safe: a task is dispatched only when the future is ready.
    pub async fn next(&self) -> (TaskKey, Priority) {
        poll_fn(|context| self.lock().poll_next(context)).await
    }

    /// The reconcile of a dispatched task has ended.
    pub fn done(&self, key: &TaskKey) {
        let mut inner = self.lock();
        inner.dispatcher.done(key);
        inner.wake_consumer();
    }

    /// Cancels all delays of a deleted task.
    pub fn forget(&self, key: &TaskKey) {
        let mut inner = self.lock();
        for priority in Priority::ALL {
            inner.timers.set(key.clone(), priority, None);
        }
    }

    /// Whether so little urgent work waits or runs that work which can wait is done now.
    pub fn has_little_urgent_work(&self) -> bool {
        self.lock().dispatcher.has_little_urgent_work()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(TaskKey, Priority)> {
        while let Poll::Ready((key, priority)) = self.timers.poll_expired(context) {
            self.dispatcher.add(key, priority);
        }
        if let Some(next) = self.dispatcher.next() {
            return Poll::Ready(next);
        }
        self.consumer = Some(context.waker().clone());
        Poll::Pending
    }

    fn wake_consumer(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            consumer.wake();
        }
    }
}

#[cfg(test)]
impl WorkQueue {
    /// A task that may run now.
    pub fn try_next(&self) -> Option<(TaskKey, Priority)> {
        use futures::FutureExt;
        self.next().now_or_never()
    }

    /// The rest of the delay that is set for the task and this priority.
    pub fn delay(&self, key: &TaskKey, priority: Priority) -> Option<Duration> {
        self.lock().timers.remaining(key, priority)
    }
}

#[cfg(test)]
mod tests;
