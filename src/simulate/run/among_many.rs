//! One task of many that share a queue: it is looked at when its time has come or its queue wakes it.

use super::{Attempt, Error, Script, SimulatedCluster, TICK};
use crate::api::RetryableTask;
use crate::core::decide::is_finished;
use crate::core::queue::view::{QueueDemand, QueueView};
use crate::core::slot::Slot;
use crate::core::time::plus;
use crate::simulate::jitter_uid::JitterPick;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The start of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulate) struct Start {
    /// When.
    pub(in crate::simulate) at: Timestamp,
    /// Whether it probes a half-open circuit.
    pub(in crate::simulate) probe: bool,
}

impl<'a> SimulatedCluster<'a> {
    /// The task of that number, created at that time.
    pub(in crate::simulate) fn numbered(
        task: &RetryableTask,
        number: u32,
        created: Timestamp,
        script: Script<'a>,
    ) -> Self {
        let jitter_seed = JitterPick::Task(number);
        let mut cluster = Self::new(task, script, jitter_seed);
        let name = task.metadata.name.as_deref().unwrap_or_default();
        cluster.task.metadata.name = Some(format!("{name}-{number}"));
        cluster.task.metadata.uid = Some(jitter_seed.uid(1));
        cluster.task.metadata.creation_timestamp = Some(Time(created));
        cluster.requeue_at = Some(created);
        cluster
    }

    /// One reconcile, with what the queue says. Answers which attempt waits for the queue.
    pub(in crate::simulate) fn reconcile(
        &mut self,
        now: Timestamp,
        queue: Option<QueueView>,
    ) -> Result<Option<QueueDemand>, Error> {
        self.now = now;
        self.queue = queue;
        self.act();
        let (requeue, demand) = self.settle()?;
        self.requeue_at = requeue.map(|wait| plus(now, wait.max(TICK)));
        Ok(demand)
    }

    /// When something happens to the task, if its queue does not wake it before. None if it has ended.
    pub(in crate::simulate) fn next(&self) -> Option<Timestamp> {
        if self.has_ended() {
            return None;
        }
        self.simulated.iter().filter_map(|(simulated, _)| simulated.cue).chain(self.requeue_at).min()
    }

    /// Whether the task has ended.
    pub(in crate::simulate) fn has_ended(&self) -> bool {
        self.task.status.as_ref().is_some_and(|status| is_finished(&status.conditions))
    }

    /// The task as it is stored.
    pub(in crate::simulate) fn task(&self) -> &RetryableTask {
        &self.task
    }

    /// The attempts that have begun.
    pub(in crate::simulate) fn starts(&self) -> &[Start] {
        &self.starts
    }

    /// The attempts that have ended.
    pub(in crate::simulate) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    pub(super) fn note_start(&mut self, slot: Slot) {
        if slot.fallback {
            return;
        }
        let current = self.task.status.as_ref().and_then(|status| status.current.as_ref());
        let probe = current.and_then(|current| current.queue.as_ref()).is_some_and(|slot| slot.probe);
        self.starts.push(Start { at: self.now, probe });
    }
}
