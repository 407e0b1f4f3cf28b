//! Schedules in worlds of which everything is drawn from a seed: clocks jump, leaders change in the middle of a reconcile,
//! answers are lost, schedules are edited, deleted and made again, and finished tasks go by history, time to live and by
//! hand. The rules are asked of what was created, whatever the status says.

use super::world::{moment, spec};
use crate::api::{TaskSchedule, TaskScheduleStatus};
use crate::core::schedule::{
    Lookups, Plan, RejectedRun, RunEnd, RunResult, RunSnapshot, Settled, Situation, between, decide_schedule, task,
    timetable,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const WORLDS: u64 = 150;
const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// The world of one seed.
struct Chaos {
    random: fastrand::Rng,
    /// What the API server has.
    schedule: TaskSchedule,
    tasks: Vec<RunSnapshot>,
    generation: i64,
    /// The API server's clock, and how far the operator's is ahead.
    clock: Timestamp,
    ahead: SignedDuration,
    /// Of each schedule: the times whose task has been created, and since when its times count.
    started: BTreeMap<String, Vec<Timestamp>>,
    since: Timestamp,
    /// The schedule that the operator last saw, and since when its times count.
    observed: (Option<String>, Timestamp),
    rejected: Option<RejectedRun>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let overlap = ["Skip", "Queue", "Allow", "Replace"][random.usize(..4)];
        let policy = ["Skip", "Latest", "All"][random.usize(..3)];
        let missed = json!({"policy": policy, "withinSeconds": 600, "limit": random.i32(1..20)});
        let history = json!({"succeeded": random.i32(..2), "failed": random.i32(..2)});
        let schedule = ["* * * * *", "*/3 * * * *", "0,7,30 * * * *"][random.usize(..3)];
        let spec = spec(json!({"schedule": schedule, "overlap": overlap, "missed": missed, "history": history}));
        let mut chaos = Self {
            random,
            schedule: TaskSchedule::new("nightly", spec),
            tasks: vec![],
            generation: 0,
            clock: moment("2026-11-22T10:00:20Z"),
            ahead: SignedDuration::ZERO,
            started: BTreeMap::new(),
            since: Timestamp::MIN,
            observed: (None, Timestamp::MIN),
            rejected: None,
        };
        chaos.create_schedule();
        chaos
    }

    fn create_schedule(&mut self) {
        self.generation += 1;
        let metadata = &mut self.schedule.metadata;
        metadata.uid = Some(format!("schedule-{}", self.generation));
        metadata.creation_timestamp = Some(Time(self.clock));
        self.schedule.status = None;
        self.schedule.metadata.generation = Some(1);
        self.observed = (None, self.clock);
        // The garbage collector deletes the tasks of the last one, in its own time.
        self.since = self.clock;
        self.rejected = None;
        self.touch();
    }

    fn uid(&self) -> String {
        self.schedule.metadata.uid.clone().unwrap()
    }

    fn touch(&mut self) {
        let entry = ManagedFieldsEntry { time: Some(Time(self.clock)), ..ManagedFieldsEntry::default() };
        self.schedule.metadata.managed_fields = Some(vec![entry]);
        self.schedule.metadata.resource_version = Some(
            (self.schedule.metadata.resource_version.as_ref().map_or(0, |v| v.parse::<u64>().unwrap()) + 1).to_string(),
        );
    }

    /// The tasks of the schedule that is there now.
    fn runs(&self) -> Vec<RunSnapshot> {
        let own = format!("{}/", self.uid());
        self.tasks.iter().filter(|task| task.uid.starts_with(&own)).cloned().collect()
    }

    fn now(&self) -> Timestamp {
        self.clock + self.ahead
    }

    /// A reconcile, which may end anywhere: the process is killed, or another leads.
    fn reconcile(&mut self) {
        let mut lookups = Lookups { rejected: self.rejected.clone(), ..Lookups::default() };
        let requests = if self.random.u8(..4) == 0 { self.random.usize(..4) } else { 500 };
        for _ in 0..requests {
            let (runs, now) = (self.runs(), self.now());
            let plan = decide_schedule(&Situation { schedule: &self.schedule, runs: &runs, now, lookups: &lookups });
            match plan {
                Plan::WriteStatus(status, _) => {
                    self.check_planned(&status);
                    self.observed = (self.schedule.spec.schedule.clone(), self.since);
                    let stored = serde_json::to_value(&*status).unwrap();
                    self.schedule.status = Some(serde_json::from_value::<TaskScheduleStatus>(stored).unwrap());
                    if self.random.u8(..20) == 0 {
                        return; // the answer is lost
                    }
                }
                Plan::LookUp(_, uid) => {
                    let exists = self.tasks.iter().any(|task| task.uid == uid);
                    if exists { lookups.existing.push(uid) } else { lookups.deleted.push(uid) }
                }
                Plan::Create(run) => {
                    let body = task(&self.schedule, &run, &timetable(&self.schedule).unwrap(), now);
                    let time: Timestamp = body["metadata"]["annotations"]["retryable.dev/scheduled-time"]
                        .as_str()
                        .unwrap()
                        .parse()
                        .unwrap();
                    let taken = self.tasks.iter().find(|task| task.name == run.name).map(|task| task.uid.clone());
                    let fails = self.random.u8(..10);
                    match taken {
                        Some(uid) if uid.starts_with(&format!("{}/", self.uid())) => {
                            lookups.created = Some((run.name, uid));
                        }
                        Some(_) => self.reject(&run.name, &mut lookups, true),
                        None if fails == 0 => self.reject(&run.name, &mut lookups, true),
                        None => {
                            let uid = format!("{}/{}", self.uid(), self.started.values().map(Vec::len).sum::<usize>());
                            self.started.entry(self.uid()).or_default().push(time);
                            self.check_start(time);
                            let snapshot = RunSnapshot {
                                name: run.name.clone(),
                                uid: uid.clone(),
                                resource_version: "1".into(),
                                number: 1,
                                scheduled_time: Some(time),
                                end: None,
                                is_cancelled: false,
                                is_awaited: false,
                            };
                            self.tasks.push(snapshot);
                            match fails {
                                1 => return, // the answer is lost, and the process is gone
                                2 => self.reject(&run.name, &mut lookups, false),
                                _ => lookups.created = Some((run.name, uid)),
                            }
                        }
                    }
                }
                Plan::Settled(Settled { cancel, delete, wake_in: _ }) => {
                    for task in &mut self.tasks {
                        task.is_cancelled |= cancel.iter().any(|other| other.uid == task.uid);
                    }
                    self.tasks.retain(|task| !delete.iter().any(|other| other.uid == task.uid));
                    self.rejected = None;
                    return;
                }
            }
        }
        assert!(requests < 500, "the reconcile does not converge: {:?}", self.schedule.status);
    }

    fn reject(&mut self, name: &str, lookups: &mut Lookups, is_certain: bool) {
        let (name, message, retry_in) = (name.to_owned(), "no".into(), SignedDuration::from_secs(5));
        self.rejected = Some(RejectedRun { name, message, is_certain, is_taken: false, retry_in });
        lookups.rejected.clone_from(&self.rejected);
    }

    fn check_start(&self, time: Timestamp) {
        let started = &self.started[&self.uid()];
        let distinct: BTreeSet<&Timestamp> = started.iter().collect();
        assert_eq!(distinct.len(), started.len(), "two runs for {time}");
        let is_planned = self.schedule.status.as_ref().is_some_and(|status| status.creating.is_some());
        assert!(is_planned, "a task before the status that names it");
    }

    /// What is planned for the first time is for a time after the newest edit.
    fn check_planned(&self, status: &TaskScheduleStatus) {
        let before = self.schedule.status.clone().unwrap_or_default();
        let known: BTreeSet<String> =
            before.creating.iter().chain(&before.waiting).map(|run| run.name.clone()).collect();
        for run in status.creating.iter().chain(&status.waiting).filter(|run| !known.contains(&run.name)) {
            let time = run.scheduled_time.as_ref().unwrap().0;
            assert!(time > self.since, "{time} is not after {}", self.since);
        }
    }

    /// What others do within a minute.
    fn others(&mut self) {
        let now = self.clock;
        let ends = self.random.u8(..3) > 0;
        for task in self.tasks.iter_mut().filter(|task| task.end.is_none() && (ends || task.is_cancelled)) {
            let result = match (task.is_cancelled, self.random.bool()) {
                (true, _) => RunResult::Cancelled,
                (false, true) => RunResult::Succeeded,
                (false, false) => RunResult::Failed,
            };
            task.end = Some(RunEnd { result, time: now, work_until: now });
        }
        // The time to live, as the tasks' controller keeps it: not before the schedule has recorded the end.
        let status = self.schedule.status.clone().unwrap_or_default();
        let is_awaited = |task: &RunSnapshot| {
            status.runs.iter().any(|run| run.uid == task.uid)
                || status.creating.as_ref().is_some_and(|planned| planned.name == task.name)
        };
        if self.random.bool() {
            self.tasks.retain(|task| task.end.is_none() || is_awaited(task));
        }
        match self.random.u8(..40) {
            0 => {
                // An edit of the times.
                let schedule = ["* * * * *", "*/2 * * * *", "5 * * * *"][self.random.usize(..3)];
                if self.schedule.spec.schedule.as_deref() != Some(schedule) {
                    self.schedule.spec.schedule = Some(schedule.into());
                    let is_back = self.observed.0.as_deref() == Some(schedule);
                    self.schedule.metadata.generation = self.schedule.metadata.generation.map(|n| n + 1);
                    self.since = if is_back { self.observed.1 } else { self.clock };
                }
                self.touch();
            }
            1 => {
                self.schedule.spec.suspend = !self.schedule.spec.suspend;
                self.touch();
            }
            2 => self.create_schedule(),
            3 => {
                // A user deletes tasks that the schedule has recorded.
                let runs: Vec<String> = status.runs.iter().map(|run| run.uid.clone()).collect();
                self.tasks.retain(|task| !runs.contains(&task.uid));
            }
            4 => {
                self.ahead = SignedDuration::from_secs(self.random.i64(-600..600));
            }
            _ => {}
        }
        if self.generation > 1 && self.random.bool() {
            let own = format!("{}/", self.uid());
            self.tasks.retain(|task| task.uid.starts_with(&own));
        }
    }
}

#[test]
fn no_world_breaks_a_rule_of_schedules() {
    let (mut started, mut busy) = (0, 0);
    for seed in 0..WORLDS {
        let mut chaos = Chaos::new(seed);
        for _ in 0..120 {
            // The operator is away now and then.
            let minutes = if chaos.random.u8(..20) == 0 { chaos.random.i32(1..15) } else { 1 };
            chaos.clock += MINUTE * minutes;
            for _ in 0..chaos.random.usize(..4) {
                chaos.reconcile();
            }
            chaos.others();
        }
        let count: usize = chaos.started.values().map(Vec::len).sum();
        started += count;
        busy += usize::from(count > 5);
    }
    assert!(started > 2000 && busy > 75, "{started} starts, {busy} busy worlds: too little happens");
}

#[test]
fn no_time_is_left_out_that_no_policy_skips() {
    let mut seen = 0;
    for seed in 0..WORLDS {
        let mut chaos = Chaos::new(seed);
        chaos.schedule.spec = spec(json!({"schedule": "*/2 * * * *", "overlap": "Allow",
            "missed": {"policy": "All", "withinSeconds": 86400, "limit": 100}, "history": {"succeeded": 0, "failed": 0}}));
        for _ in 0..30 {
            let minutes = if chaos.random.u8(..10) == 0 { chaos.random.i32(1..20) } else { 1 };
            chaos.clock += MINUTE * minutes;
            chaos.reconcile();
            let now = chaos.clock;
            for task in chaos.tasks.iter_mut().filter(|task| task.end.is_none()) {
                task.end = Some(RunEnd { result: RunResult::Succeeded, time: now, work_until: now });
            }
        }
        // Not into the next minute.
        for _ in 0..30 {
            chaos.clock += SignedDuration::from_secs(1);
            chaos.reconcile();
        }
        let all = between(&timetable(&chaos.schedule).unwrap(), (chaos.since, chaos.clock)).collect::<Vec<_>>();
        let rejected = chaos.schedule.status.as_ref().unwrap().skipped.rejected;
        let mut started = chaos.started.remove(&chaos.uid()).unwrap_or_default();
        started.sort();
        let left_out: Vec<_> = all.iter().filter(|time| !started.contains(time)).collect();
        let many = i64::try_from(left_out.len()).unwrap();
        assert!(many <= rejected, "seed {seed}: {left_out:?} left out: {:#?}", chaos.schedule.status);
        assert!(started.iter().all(|time| all.contains(time)), "seed {seed}");
        seen += started.len();
    }
    assert!(seen > 2000, "{seen}");
}
