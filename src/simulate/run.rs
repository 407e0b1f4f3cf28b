//! A world without a cluster: carries plans out as the controller does, and moves the clock on when there is nothing to
//! do but wait.

mod among_many;

pub(super) use among_many::Start;

use super::budget;
use super::jitter_uid::JitterPick;
use super::outcomes::Outcome;
use super::pods::SimulatedPod;
use super::table::counted;
use super::{Attempt, End, EndType, Error, Fallback};
use crate::api::{ConditionType, HistoryEntry, RetryableTask, RetryableTaskStatus};
use crate::core::build_pod::pod;
use crate::core::condition_list;
use crate::core::decide::{
    Cleanup, Deferrable, Lookups, Plan, PodLookup, PodRef, PodWarnings, ProcessState, Settled, Situation, StatusWrite,
    StopMethod, TrackedPod, Transition, Wait, decide, is_finished,
};
use crate::core::delay::DelayRange;
use crate::core::drive::{Execute, drive};
use crate::core::pod_snapshot::{PodSnapshot, Progress};
use crate::core::queue::view::{Admission, QueueDemand, QueueView};
use crate::core::slot::Slot;
use crate::core::time::{plus, until};
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use std::ops::ControlFlow;

/// 2000-01-01T00:00:00Z: times of day in messages are times from the start.
pub(super) const START: Timestamp = Timestamp::constant(946_684_800, 0);
/// How many moments an attempt may have: more than any course of events needs.
const MAX_MOMENTS: usize = 100;
/// The least step of the clock.
const TICK: SignedDuration = SignedDuration::from_micros(1);

/// What was played.
pub(super) struct Play {
    pub(super) attempts: Vec<Attempt>,
    pub(super) fallback: Option<Fallback>,
    pub(super) end: End,
}

/// How the attempt ends that starts at that time.
pub(super) type Script<'a> = &'a (dyn Fn(Slot, Timestamp) -> Outcome + Sync);

pub(super) struct SimulatedCluster<'a> {
    task: RetryableTask,
    script: Script<'a>,
    jitter_seed: JitterPick,
    now: Timestamp,
    simulated: Vec<(SimulatedPod, TrackedPod)>,
    lookups: Lookups,
    /// No events say anything here.
    warnings: Option<PodWarnings>,
    /// The attempt that the task's UID was chosen for.
    prepared: i32,
    pods_created: i32,
    attempts: Vec<Attempt>,
    fallback: Option<Fallback>,
    /// How long it takes up to now with the expected waits.
    elapsed: SignedDuration,
    /// The waits before the current attempt.
    range: Option<DelayRange>,
    /// What the task's queue says, if it has one that is simulated too.
    queue: Option<QueueView>,
    /// When the task is to be looked at again.
    requeue_at: Option<Timestamp>,
    starts: Vec<Start>,
}

impl Execute for SimulatedCluster<'_> {
    type Error = Error;

    fn decide(&mut self) -> Plan {
        self.prepare();
        self.plan()
    }

    async fn write_status(&mut self, write: StatusWrite) -> Result<ControlFlow<()>, Error> {
        self.store(write);
        Ok(ControlFlow::Continue(()))
    }

    async fn look_up_pod(&mut self, pod_name: String) -> Result<(), Error> {
        let is_it =
            |simulated: &SimulatedPod| !simulated.deleted && simulated.pod.metadata.name.as_ref() == Some(&pod_name);
        let found = self.simulated.iter().any(|(simulated, _)| is_it(simulated));
        self.lookups.pod = Some(if found { PodLookup::Found } else { PodLookup::NotFound });
        Ok(())
    }

    /// The task is shown without `spec.after`.
    async fn look_up_tasks(&mut self, _: Vec<String>) -> Result<(), Error> {
        Ok(())
    }

    async fn read_warnings(&mut self, pod: PodRef) -> Result<(), Error> {
        let warnings = PodWarnings { pod_uid: pod.uid, age: SignedDuration::ZERO, readable: true, newest: None };
        self.warnings = Some(warnings);
        Ok(())
    }

    async fn refresh_task(&mut self) -> Result<ControlFlow<()>, Error> {
        Ok(ControlFlow::Continue(()))
    }

    async fn create_pod(&mut self, slot: Slot) -> Result<ControlFlow<()>, Error> {
        self.create(slot)?;
        Ok(ControlFlow::Continue(()))
    }

    async fn stop_pod(&mut self, pod: &PodRef, method: StopMethod) -> Result<bool, Error> {
        let now = self.now;
        for (simulated, _) in self.simulated.iter_mut().filter(|(_, tracked)| tracked.pod.pod_uid == pod.uid) {
            simulated.stop(method, now);
        }
        self.watch();
        // What a stop brings about is visible at once here.
        Ok(false)
    }

    fn defers(&self, _: &Deferrable) -> bool {
        false
    }

    fn no_convergence(&self) -> Error {
        Error::NoConvergence(self.prepared)
    }
}

impl<'a> SimulatedCluster<'a> {
    /// The task has just been created.
    pub(super) fn new(task: &RetryableTask, script: Script<'a>, jitter_seed: JitterPick) -> Self {
        let mut task = task.clone();
        task.spec.suspend = false;
        task.spec.start_at = None;
        task.spec.after = None;
        task.status = None;
        task.metadata.generation = Some(1);
        Self {
            task,
            script,
            jitter_seed,
            now: START,
            simulated: Vec::new(),
            lookups: Lookups { task_is_live: true, ..Lookups::default() },
            warnings: None,
            prepared: 0,
            pods_created: 0,
            attempts: Vec::new(),
            fallback: None,
            elapsed: SignedDuration::ZERO,
            range: None,
            queue: None,
            requeue_at: None,
            starts: Vec::new(),
        }
    }

    /// Plays until the task has ended, `limit` attempts have, or nothing happens any more.
    pub(super) fn play(mut self, limit: usize) -> Result<Play, Error> {
        let mut moments = 0;
        loop {
            let (requeue, _) = self.settle()?;
            let status = self.task.status.as_ref();
            if status.is_some_and(|status| is_finished(&status.conditions)) {
                let end = self.finished();
                return Ok(self.played(end));
            }
            if self.attempts.len() >= limit && !self.is_fallback() {
                let end = self.not_finished(EndType::NotFollowed, format!("not followed beyond {}", counted(limit)));
                return Ok(self.played(end));
            }
            let cues = self.simulated.iter().filter_map(|(simulated, _)| simulated.cue);
            let Some(next) = cues.chain(requeue.map(|wait| plus(self.now, wait.max(TICK)))).min() else {
                let end = self.never_ends();
                return Ok(self.played(end));
            };
            self.now = self.now.max(next);
            self.act();
            moments += 1;
            if moments > MAX_MOMENTS.saturating_mul(self.attempts.len() + 1) {
                return Err(Error::NoConvergence(self.prepared));
            }
        }
    }

    fn played(self, end: End) -> Play {
        Play { attempts: self.attempts, fallback: self.fallback, end }
    }

    /// One reconcile. Says how long to wait, and for which queue.
    fn settle(&mut self) -> Result<(Option<SignedDuration>, Option<QueueDemand>), Error> {
        // No request waits for anything here.
        let driven = drive(self).now_or_never().unwrap_or_else(|| Err(self.no_convergence()))?;
        let Some(Settled { stop: _, stale_pods, cleanup, delete_task: _, progress: _, queue, requeue }) = driven else {
            return Ok((None, None));
        };
        let Cleanup { delete, remove_finalizer: _ } = cleanup;
        self.simulated
            .retain(|(_, tracked)| stale_pods.iter().chain(&delete).all(|pod| pod.uid != tracked.pod.pod_uid));
        Ok((requeue.soonest(), queue))
    }

    /// Before an attempt the task gets a UID whose jitter picks the wanted wait.
    fn prepare(&mut self) {
        let status = self.task.status.as_ref();
        let number = status.and_then(|status| status.current.as_ref()).map_or(1, |current| current.number);
        if number != self.prepared && !status.is_some_and(|status| is_finished(&status.conditions)) {
            self.prepared = number;
            self.task.metadata.uid = Some(self.jitter_seed.uid(number));
        }
    }

    fn plan(&self) -> Plan {
        let pods: Vec<TrackedPod> = self.simulated.iter().map(|(_, tracked)| tracked.clone()).collect();
        let process = ProcessState {
            uptime: self.uptime(),
            warnings: self.warnings.clone(),
            queue: self.queue.clone().or_else(|| Some(self.free_queue())),
            ..ProcessState::default()
        };
        decide(&Situation { task: &self.task, pods: &pods, now: self.now, lookups: &self.lookups, process: &process })
    }

    /// A queue in which a slot is always free.
    fn free_queue(&self) -> QueueView {
        let status = self.task.status.as_ref();
        let attempt = status.and_then(|status| status.current.as_ref()).map_or(1, |current| current.number);
        QueueView {
            admission: Admission::Granted { attempt, probe: false, at: self.now },
            failures: None,
            drain: false,
        }
    }

    fn store(&mut self, StatusWrite { status, transitions }: StatusWrite) {
        let before = self.task.status.replace(*status).unwrap_or_default();
        self.lookups.pod = None;
        self.fallback_ended(&before);
        for transition in transitions {
            match transition {
                Transition::Ended { entry, wait, line: _ } => self.ended(&before, &entry, wait),
                Transition::Started { .. }
                | Transition::Rescheduled { .. }
                | Transition::Finished { .. }
                | Transition::FallingBack { .. }
                | Transition::Acknowledged { .. }
                | Transition::Stalled { .. }
                | Transition::ContainersStopped { .. }
                | Transition::UnknownAnnotation { .. }
                | Transition::MemoryRaiseRejected { .. }
                | Transition::HeldUp { .. } => {}
            }
        }
    }

    fn ended(&mut self, before: &RetryableTaskStatus, entry: &HistoryEntry, wait: Option<Wait>) {
        let run = self.close(entry.attempt.into());
        let range = self.range.take();
        let wait_of = |part: fn(DelayRange) -> SignedDuration| range.map_or(0, |range| millis(part(range)));
        let after = self.task.status.clone().unwrap_or_default();
        self.attempts.push(Attempt {
            attempt: entry.attempt,
            earliest_milliseconds: wait_of(DelayRange::earliest),
            expected_milliseconds: wait_of(DelayRange::expected),
            latest_milliseconds: wait_of(DelayRange::latest),
            start_milliseconds: millis(self.elapsed),
            run_milliseconds: millis(run),
            reason: entry.reason.clone(),
            exit_code: entry.exit_code,
            signal: entry.signal,
            error_type: entry.error_type.clone(),
            checkpoint: after.checkpoint.clone(),
            message: entry.message.clone(),
            memory: entry.memory.clone(),
            override_from: entry.override_from,
            rule: entry.rule.clone(),
            action: entry.action,
            budget: budget::used(&self.task.spec, before, &after, entry),
        });
        self.range = wait.map(|wait| wait.range);
        let expected = self.range.map_or(SignedDuration::ZERO, DelayRange::expected);
        self.elapsed = self.elapsed.saturating_add(run).saturating_add(expected);
    }

    fn fallback_ended(&mut self, before: &RetryableTaskStatus) {
        let ended = |status: &RetryableTaskStatus| status.fallback.clone().filter(|f| f.finish_time.is_some());
        let after = self.task.status.as_ref().and_then(ended);
        let Some(status) = after.filter(|_| ended(before).is_none()) else { return };
        let number = before.current.as_ref().map_or(0, |current| current.number);
        let run = self.close(Slot { number, fallback: true });
        self.fallback = Some(Fallback {
            start_milliseconds: millis(self.elapsed),
            run_milliseconds: millis(run),
            reason: status.reason.unwrap_or_default(),
            exit_code: status.exit_code,
            message: status.message,
        });
        self.elapsed = self.elapsed.saturating_add(run);
    }

    /// A recorded attempt needs no Pod here. Answers how long it took.
    fn close(&mut self, slot: Slot) -> SignedDuration {
        let simulated = self.simulated.iter().find(|(_, tracked)| tracked.pod.slot() == slot);
        let created = simulated.map_or(self.now, |(simulated, _)| simulated.created);
        self.simulated.retain(|(_, tracked)| tracked.pod.slot() != slot);
        until(created, self.now)
    }

    fn create(&mut self, slot: Slot) -> Result<(), Error> {
        let number = slot.number;
        let pod =
            serde_json::from_value(pod(&self.task, slot, true)).map_err(|source| Error::Pod { number, source })?;
        self.pods_created += 1;
        self.note_start(slot);
        let outcome = (self.script)(slot, self.now);
        let simulated = SimulatedPod::new(pod, format!("pod-{}", self.pods_created), outcome, self.now);
        if let Some(pod) = PodSnapshot::of(&simulated.pod) {
            let tracked = TrackedPod::update(None, pod, (self.now, self.uptime()));
            self.simulated.push((simulated, tracked));
        }
        self.watch();
        Ok(())
    }

    /// The operator has been there long before.
    fn uptime(&self) -> SignedDuration {
        SignedDuration::from_hours(1).saturating_add(until(START, self.now))
    }

    /// What is due happens.
    fn act(&mut self) {
        let now = self.now;
        for (simulated, _) in
            self.simulated.iter_mut().filter(|(simulated, _)| simulated.cue.is_some_and(|cue| cue <= now))
        {
            simulated.act(now);
        }
        self.watch();
    }

    /// The watch shows the Pods as they are.
    fn watch(&mut self) {
        let at = (self.now, self.uptime());
        for (simulated, tracked) in &mut self.simulated {
            if let Some(pod) = PodSnapshot::of(&simulated.pod) {
                *tracked = TrackedPod::update(Some(tracked), pod, at);
            }
            tracked.deleted = simulated.deleted;
        }
    }

    fn finished(&self) -> End {
        let status = self.task.status.clone().unwrap_or_default();
        let complete = condition_list::is_true(&status.conditions, ConditionType::Complete);
        let type_ = if complete { ConditionType::Complete } else { ConditionType::Failed };
        let condition = condition_list::find(&status.conditions, type_);
        End {
            type_: if complete { EndType::Complete } else { EndType::Failed },
            reason: condition.map(|condition| condition.reason.clone()),
            message: condition.map(|condition| condition.message.clone()).unwrap_or_default(),
            exhausted_budget: status.exhausted_budget,
            at_milliseconds: millis(self.elapsed),
        }
    }

    fn is_fallback(&self) -> bool {
        let current = self.task.status.as_ref().and_then(|status| status.current.as_ref());
        current.is_some_and(|current| current.fallback)
    }

    fn not_finished(&self, type_: EndType, message: String) -> End {
        End { type_, reason: None, message, exhausted_budget: None, at_milliseconds: millis(self.elapsed) }
    }

    fn never_ends(&self) -> End {
        let running = self.simulated.iter().any(|(_, tracked)| tracked.pod.progress == Progress::Running);
        let limit = if running { "attemptTimeoutSeconds" } else { "startupTimeoutSeconds" };
        let does = if running { "runs on and on" } else { "never starts" };
        let what = if self.is_fallback() { "the fallback".into() } else { format!("attempt {}", self.prepared) };
        let message = format!("{what} {does}, and no limit ends it: see spec.{limit}");
        self.not_finished(EndType::NeverEnds, message)
    }
}

fn millis(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
