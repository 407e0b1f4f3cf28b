//! A world without a cluster: carries plans out as the controller does, and moves the clock on when there is nothing to
//! do but wait.

use super::budget;
use super::dice::Dice;
use super::pods::Actor;
use super::script::Script;
use super::table::counted;
use super::{Attempt, End, EndType, Error, Fallback};
use crate::api::{ConditionType, HistoryEntry, RetryableTask, RetryableTaskStatus};
use crate::core::backoff::Spread;
use crate::core::conditions;
use crate::core::decide::{
    Answer, Happening, Plan, PodWarnings, Seen, Situation, StopMethod, Wait, decide, is_finished,
};
use crate::core::identity::Slot;
use crate::core::observe::{Progress, observe};
use crate::core::pod::pod;
use crate::core::time::{plus, until};
use jiff::{SignedDuration, Timestamp};

/// 2000-01-01T00:00:00Z: times of day in messages are times from the start.
const START: Timestamp = Timestamp::constant(946_684_800, 0);
/// How many plans may follow each other at one moment, and how many moments an attempt may have: more than any story
/// needs.
const MAX_PLANS: u32 = 50;
const MAX_MOMENTS: usize = 100;
/// The least step of the clock.
const TICK: SignedDuration = SignedDuration::from_micros(1);

/// What was played.
pub(super) struct Play {
    pub(super) attempts: Vec<Attempt>,
    pub(super) fallback: Option<Fallback>,
    pub(super) end: End,
}

pub(super) struct Stage<'a> {
    task: RetryableTask,
    script: &'a Script,
    dice: Dice,
    now: Timestamp,
    actors: Vec<(Actor, Seen)>,
    asked: Option<Answer>,
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
    spread: Option<Spread>,
}

impl<'a> Stage<'a> {
    /// The task has just been created.
    pub(super) fn new(task: &RetryableTask, script: &'a Script, dice: Dice) -> Self {
        let mut task = task.clone();
        task.spec.suspend = false;
        task.status = None;
        task.metadata.generation = Some(1);
        Self {
            task,
            script,
            dice,
            now: START,
            actors: Vec::new(),
            asked: None,
            warnings: None,
            prepared: 0,
            pods_created: 0,
            attempts: Vec::new(),
            fallback: None,
            elapsed: SignedDuration::ZERO,
            spread: None,
        }
    }

    /// Plays until the task has ended, `limit` attempts have, or nothing happens any more.
    pub(super) fn play(mut self, limit: usize) -> Result<Play, Error> {
        let mut moments = 0;
        loop {
            let look_again = self.settle()?;
            let status = self.task.status.as_ref();
            if status.is_some_and(|status| is_finished(&status.conditions)) {
                let end = self.finished();
                return Ok(self.played(end));
            }
            if self.attempts.len() >= limit && !self.is_fallback() {
                let end = self.not_finished(EndType::NotFollowed, format!("not followed beyond {}", counted(limit)));
                return Ok(self.played(end));
            }
            let cues = self.actors.iter().filter_map(|(actor, _)| actor.cue);
            let Some(next) = cues.chain(look_again.map(|wait| plus(self.now, wait.max(TICK)))).min() else {
                let end = self.never_ends();
                return Ok(self.played(end));
            };
            self.now = self.now.max(next);
            self.act();
            moments += 1;
            if moments > MAX_MOMENTS.saturating_mul(self.attempts.len() + 1) {
                return Err(Error::Restless(self.prepared));
            }
        }
    }

    fn played(self, end: End) -> Play {
        Play { attempts: self.attempts, fallback: self.fallback, end }
    }

    /// One reconcile: decides and carries out until there is nothing to do but wait, and says how long.
    fn settle(&mut self) -> Result<Option<SignedDuration>, Error> {
        for _ in 0..MAX_PLANS {
            self.prepare();
            let plan = self.decide();
            let Plan {
                status,
                ask,
                ask_warnings,
                refresh: _,
                create,
                stop,
                replace,
                strays,
                delete,
                release: _,
                delete_task: _,
                look_again,
            } = plan;
            if let Some((status, happenings)) = status {
                self.store(status, happenings);
            } else if let Some(name) = ask {
                let is_there = |actor: &Actor| !actor.gone && actor.pod.metadata.name.as_ref() == Some(&name);
                let there = self.actors.iter().any(|(actor, _)| is_there(actor));
                self.asked = Some(if there { Answer::There } else { Answer::Absent });
            } else if let Some(pod) = ask_warnings {
                self.warnings =
                    Some(PodWarnings { pod_uid: pod.uid, age: SignedDuration::ZERO, readable: true, newest: None });
            } else if let Some(slot) = create {
                self.create(slot)?;
            } else if let Some((stop, method)) = stop.or_else(|| replace.map(|pod| (pod, StopMethod::Deletion))) {
                let now = self.now;
                for (actor, _) in self.actors.iter_mut().filter(|(_, seen)| seen.pod.pod_uid == stop.uid) {
                    actor.stop(method, now);
                }
                self.watch();
            } else {
                let stays = |seen: &Seen| strays.iter().chain(&delete).all(|pod| pod.uid != seen.pod.pod_uid);
                self.actors.retain(|(_, seen)| stays(seen));
                return Ok(look_again.soonest());
            }
        }
        Err(Error::Restless(self.prepared))
    }

    /// Before an attempt the task gets a UID with which the dice fall as wanted.
    fn prepare(&mut self) {
        let status = self.task.status.as_ref();
        let number = status.and_then(|status| status.current.as_ref()).map_or(1, |current| current.number);
        if number != self.prepared && !status.is_some_and(|status| is_finished(&status.conditions)) {
            self.prepared = number;
            self.task.metadata.uid = Some(self.dice.uid(number));
        }
    }

    fn decide(&self) -> Plan {
        let pods: Vec<Seen> = self.actors.iter().map(|(_, seen)| seen.clone()).collect();
        decide(&Situation {
            task: &self.task,
            pods: &pods,
            asked: self.asked.as_ref(),
            created: None,
            rejection: None,
            warnings: self.warnings.as_ref(),
            failing: None,
            remaining: None,
            now: self.now,
            uptime: self.uptime(),
            sent: None,
            fresh: true,
            has_time: true,
        })
    }

    fn store(&mut self, status: RetryableTaskStatus, happenings: Vec<Happening>) {
        let before = self.task.status.replace(status).unwrap_or_default();
        self.asked = None;
        self.fallback_ended(&before);
        for happening in happenings {
            match happening {
                Happening::Ended { entry, wait, line: _ } => self.ended(&before, &entry, wait),
                Happening::Started { .. }
                | Happening::Rescheduled { .. }
                | Happening::Finished { .. }
                | Happening::FallingBack { .. }
                | Happening::Heard { .. }
                | Happening::Stalled { .. }
                | Happening::ContainersStopped { .. }
                | Happening::UnknownAnnotation { .. }
                | Happening::MemoryRaiseRejected { .. }
                | Happening::HeldUp { .. } => {}
            }
        }
    }

    fn ended(&mut self, before: &RetryableTaskStatus, entry: &HistoryEntry, wait: Option<Wait>) {
        let run = self.close(entry.attempt.into());
        let spread = self.spread.take();
        let wait_of = |part: fn(Spread) -> SignedDuration| spread.map_or(0, |spread| millis(part(spread)));
        let after = self.task.status.clone().unwrap_or_default();
        self.attempts.push(Attempt {
            attempt: entry.attempt,
            earliest_milliseconds: wait_of(Spread::earliest),
            expected_milliseconds: wait_of(Spread::expected),
            latest_milliseconds: wait_of(Spread::latest),
            start_milliseconds: millis(self.elapsed),
            run_milliseconds: millis(run),
            reason: entry.reason.clone(),
            exit_code: entry.exit_code,
            signal: entry.signal,
            error_type: entry.error_type.clone(),
            message: entry.message.clone(),
            memory: entry.memory.clone(),
            override_from: entry.override_from,
            rule: entry.rule.clone(),
            action: entry.action,
            budget: budget::used(&self.task.spec, before, &after, entry),
        });
        self.spread = wait.map(|wait| wait.spread);
        let expected = self.spread.map_or(SignedDuration::ZERO, Spread::expected);
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

    /// What is in the books needs no Pod here. Says how long it took.
    fn close(&mut self, slot: Slot) -> SignedDuration {
        let actor = self.actors.iter().find(|(_, seen)| seen.pod.slot() == slot);
        let created = actor.map_or(self.now, |(actor, _)| actor.created);
        self.actors.retain(|(_, seen)| seen.pod.slot() != slot);
        until(created, self.now)
    }

    fn create(&mut self, slot: Slot) -> Result<(), Error> {
        let number = slot.number;
        let pod =
            serde_json::from_value(pod(&self.task, slot, true)).map_err(|source| Error::Pod { number, source })?;
        self.pods_created += 1;
        let outcome = self.script.outcome(slot);
        let actor = Actor::new(pod, format!("pod-{}", self.pods_created), outcome, self.now);
        if let Some(pod) = observe(&actor.pod) {
            let deleting_since = pod.deleting_since(None, self.uptime());
            let stopping_since = pod.stopping_since(None, self.uptime());
            let (first_seen, known_since) = (self.now, self.uptime());
            let seen =
                Seen { pod, first_seen, known_since, deleting_since, stopping_since, end_seen: None, gone: false };
            self.actors.push((actor, seen));
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
        for (actor, _) in self.actors.iter_mut().filter(|(actor, _)| actor.cue.is_some_and(|cue| cue <= now)) {
            actor.act(now);
        }
        self.watch();
    }

    /// The watch shows the Pods as they are.
    fn watch(&mut self) {
        let uptime = self.uptime();
        for (actor, seen) in &mut self.actors {
            if let Some(pod) = observe(&actor.pod) {
                seen.deleting_since = pod.deleting_since(Some(seen), uptime);
                seen.stopping_since = pod.stopping_since(Some(seen), uptime);
                seen.pod = pod;
            }
            let ended = matches!(seen.pod.progress, Progress::Ended(_) | Progress::Outlived(_));
            seen.end_seen = seen.end_seen.or(ended.then_some(self.now));
            seen.gone = actor.gone;
        }
    }

    fn finished(&self) -> End {
        let status = self.task.status.clone().unwrap_or_default();
        let complete = conditions::is_true(&status.conditions, ConditionType::Complete);
        let type_ = if complete { ConditionType::Complete } else { ConditionType::Failed };
        let condition = conditions::find(&status.conditions, type_);
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
        let running = self.actors.iter().any(|(_, seen)| seen.pod.progress == Progress::Running);
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
