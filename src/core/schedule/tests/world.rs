//! A schedule in a small world: an API server in memory, a clock, tasks that end when they are told to.

use crate::api::{TaskSchedule, TaskScheduleSpec, TaskScheduleStatus};
use crate::core::schedule::{
    Lookups, Plan, RejectedRun, RunEnd, RunResult, RunSnapshot, Settled, Situation, Transition, decide_schedule, task,
    timetable,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde_json::{Value, json};

/// A spec with a template and the defaults of the schema.
pub fn spec(fields: Value) -> TaskScheduleSpec {
    let mut spec = json!({"timeZone": "Etc/UTC", "template": {"spec": {"image": "busybox"}}});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

pub fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The world. Times are of 22 November 2026 in UTC.
pub struct World {
    pub schedule: TaskSchedule,
    pub runs: Vec<RunSnapshot>,
    pub now: Timestamp,
    pub transitions: Vec<Transition>,
    /// The tasks in the order of their creation, with the time that they are for.
    pub created: Vec<(String, String)>,
    /// How the API server answers a creation.
    pub rejects: Option<&'static str>,
    /// Whether what it refuses may exist all the same.
    pub is_in_doubt: bool,
    /// The names of tasks that are not the schedule's.
    pub taken: Vec<&'static str>,
    rejected: Option<RejectedRun>,
}

impl World {
    /// A schedule that is created at that time of the day.
    pub fn new(fields: Value, created: &str) -> Self {
        let mut schedule = TaskSchedule::new("nightly", spec(fields));
        let now = moment(&format!("2026-11-22T{created}Z"));
        schedule.metadata.namespace = Some("default".into());
        schedule.metadata.uid = Some("5c1f1a52-5d0c-4a3b-8a55-0f8f2b3f6f10".into());
        schedule.metadata.creation_timestamp = Some(Time(now));
        schedule.metadata.generation = Some(1);
        let (runs, transitions, created, taken) = (vec![], vec![], vec![], vec![]);
        let (rejects, is_in_doubt, rejected) = (None, false, None);
        let mut world = Self { schedule, runs, now, transitions, created, rejects, is_in_doubt, taken, rejected };
        world.touch();
        world.look();
        world
    }

    pub fn status(&self) -> TaskScheduleStatus {
        self.schedule.status.clone().unwrap_or_default()
    }

    /// The operator reconciles at that time of the day.
    pub fn at(&mut self, time: &str) -> &mut Self {
        self.now = moment(&format!("2026-11-22T{time}Z"));
        self.look();
        self
    }

    /// The operator reconciles now.
    pub fn look(&mut self) -> Settled {
        let mut lookups = Lookups { rejected: self.rejected.clone(), ..Lookups::default() };
        for _ in 0..400 {
            let situation = Situation { schedule: &self.schedule, runs: &self.runs, now: self.now, lookups: &lookups };
            let plan = decide_schedule(&situation);
            assert_eq!(plan, decide_schedule(&situation), "the same situation gives the same plan");
            match plan {
                Plan::WriteStatus(status, transitions) => {
                    let stored = serde_json::to_value(&*status).unwrap();
                    self.schedule.status = Some(serde_json::from_value(stored).unwrap());
                    self.transitions.extend(transitions);
                    lookups = Lookups { rejected: self.rejected.clone(), ..Lookups::default() };
                }
                Plan::LookUp(_, uid) => lookups.deleted.push(uid),
                Plan::Create(run) => {
                    let timetable = timetable(&self.schedule).unwrap();
                    let body = task(&self.schedule, &run, &timetable, self.now);
                    let is_taken = self.taken.contains(&&*run.name);
                    match self.rejects.or(is_taken.then_some("the name is taken")) {
                        Some(message) => {
                            let (name, message) = (run.name, message.to_owned());
                            let (is_certain, retry_in) = (!self.is_in_doubt, SignedDuration::from_secs(5));
                            self.rejected = Some(RejectedRun { name, message, is_certain, is_taken, retry_in });
                            lookups.rejected.clone_from(&self.rejected);
                        }
                        None => lookups.created = Some(self.create(&body)),
                    }
                }
                Plan::Settled(settled) => {
                    self.carry_out(&settled);
                    self.rejected =
                        self.rejected.take().map(|old| RejectedRun { retry_in: SignedDuration::ZERO, ..old });
                    return settled;
                }
            }
        }
        panic!("the reconcile does not converge: {:?}", self.status());
    }

    fn create(&mut self, body: &Value) -> (String, String) {
        let name = body["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(!self.runs.iter().any(|run| run.name == name), "{name} exists");
        let time = body["metadata"]["annotations"]["retryable.dev/scheduled-time"].as_str().unwrap().to_owned();
        let uid = format!("uid-{}", self.created.len());
        let scheduled_time = Some(time.parse().unwrap());
        self.runs.push(RunSnapshot {
            name: name.clone(),
            uid: uid.clone(),
            resource_version: "1".into(),
            number: 1,
            scheduled_time,
            end: None,
            is_cancelled: false,
            is_awaited: false,
        });
        self.created.push((name.clone(), time));
        (name, uid)
    }

    fn carry_out(&mut self, settled: &Settled) {
        let Settled { cancel, delete, wake_in: _ } = settled;
        for run in &mut self.runs {
            run.is_cancelled |= cancel.iter().any(|other| other.uid == run.uid);
        }
        self.runs.retain(|run| !delete.iter().any(|other| other.uid == run.uid));
    }

    /// All tasks that have not ended end so, and the operator sees it.
    pub fn end(&mut self, result: RunResult) -> &mut Self {
        for run in self.runs.iter_mut().filter(|run| run.end.is_none()) {
            run.end = Some(RunEnd { result, time: self.now, work_until: self.now });
        }
        self.look();
        self
    }

    /// A user edits the spec now. The operator does not see it yet.
    pub fn edit(&mut self, fields: Value) {
        let mut spec = serde_json::to_value(&self.schedule.spec).unwrap();
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.schedule.spec = serde_json::from_value(spec).unwrap();
        self.schedule.metadata.generation = self.schedule.metadata.generation.map(|generation| generation + 1);
        self.touch();
    }

    /// A user annotates the schedule, and the operator sees it.
    pub fn annotate(&mut self, annotation: &str, value: &str) -> String {
        let annotations = self.schedule.metadata.annotations.get_or_insert_default();
        let annotation = format!("retryable.dev/{annotation}");
        annotations.insert(annotation.clone(), value.into());
        self.look();
        let acknowledged = self.status().acknowledged.into_iter().find(|known| known.annotation == annotation);
        acknowledged.map(|known| known.effect).unwrap_or_default()
    }

    /// A user writes the object now, without its status.
    pub fn touch(&mut self) {
        let entry = ManagedFieldsEntry { time: Some(Time(self.now)), ..ManagedFieldsEntry::default() };
        self.schedule.metadata.managed_fields = Some(vec![entry]);
    }

    /// The times that tasks were created for, such as `10:30`.
    pub fn times(&self) -> Vec<&str> {
        self.created.iter().map(|(_, time)| &time[11..16]).collect()
    }

    /// The condition's message, if it is true.
    pub fn condition(&self, type_: &str) -> Option<String> {
        self.status()
            .conditions
            .into_iter()
            .find(|known| known.type_ == type_ && known.status == "True")
            .map(|known| known.message)
    }
}
