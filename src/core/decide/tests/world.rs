//! A world in memory: the API server's Pods, the process that decides, and two clocks. It carries plans out as
//! `controller` does, and checks after every decision what must hold at all times.

mod checks;

use crate::api::{ANNOTATION_RUN_AGAIN, CurrentAttempt, RetryableTask, RetryableTaskStatus};
use crate::core::decide::{
    Cleanup, Created, Deferrable, Failing, Lookups, Plan, PodLookup, PodRef, PodWarnings, ProcessState,
    STOP_DEADLINE_SECONDS, Settled, Situation, StatusWrite, StopMethod, TrackedPod, Transition, decide, is_finished,
    slot_of,
};
use crate::core::dependency::TaskFact;
use crate::core::drive::{Execute, drive};

use crate::core::pod_name::pod_name;
use crate::core::pod_snapshot::{PodSnapshot, Progress};
use crate::core::pod_warning::PodWarning;
use crate::core::queue::view::{Admission, QueueDemand, QueueView, QueueWaitReason};
use crate::core::rejection::{Refusal, Rejection};
use crate::core::slot::Slot;
use crate::core::testing::{BuildPod, UID, at, pod_of};
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// How the API server answers to the creation of a Pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Server {
    Accepts,
    /// With 403.
    Rejects(&'static str),
    /// With this code, or not at all if it is 0.
    Fails(u16, &'static str),
    /// The name is taken by a Pod that is not the task's.
    HasForeignPod,
    /// The request gets no answer, and lands when [`World::land`] is called.
    IsSlow,
}

/// What the task's queue does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Line {
    /// This process does not know the queues yet.
    Unknown,
    /// It grants what is asked for.
    Grants,
    /// It grants a probe.
    Probes,
    Full,
    /// The attempt is not in its line yet.
    Outside,
    Open,
    Missing,
    /// It holds, and drains what runs.
    Drains,
}

/// What a process knows that is not stored.
#[derive(Default)]
struct Process {
    cache: BTreeMap<String, TrackedPod>,
    lookups: Lookups,
    failing: Option<(Slot, SignedDuration, SignedDuration, Rejection)>,
    created: Option<(Slot, String, SignedDuration)>,
    wait: Option<(Timestamp, SignedDuration)>,
    begun: SignedDuration,
    create_in_flight: Option<SignedDuration>,
    warnings: Option<(String, SignedDuration, Option<PodWarning>)>,
}

#[allow(clippy::struct_excessive_bools)] // what may be wrong is wrong by itself
pub struct World {
    pub task: RetryableTask,
    pub pods: BTreeMap<String, Pod>,
    pub server: Server,
    pub holds_pods: bool,
    /// The watch shows nothing new.
    pub blind: bool,
    /// The task comes out of a cache that may be behind.
    pub stale: bool,
    /// There is much to do that is more urgent.
    pub is_hurried: bool,
    pub told: Vec<Transition>,
    pub writes: u32,
    /// The newest Warning event about the Pod, and how often it was asked for.
    pub warning: Option<PodWarning>,
    pub events_are_readable: bool,
    pub questions: u32,
    pub requeue: Option<SignedDuration>,
    pub task_is_deleted: bool,
    pub line: Line,
    /// What the task asks of its queue.
    pub demand: Option<QueueDemand>,
    granted: Option<(i32, Timestamp)>,
    /// The default that the operator is started with.
    pub default_ttl_seconds: Option<i32>,
    /// The other tasks, and how often one was looked up.
    pub others: BTreeMap<String, TaskFact>,
    pub looked_up: u32,
    pub is_awaited: bool,
    process: Process,
    wall: Timestamp,
    monotonic: SignedDuration,
    /// The due time, and when it is on the monotonic clock of the world; whether a process saw all of the wait.
    due: Option<(Timestamp, SignedDuration, bool)>,
    late: Vec<Pod>,
    uids: u32,
}

impl World {
    pub fn new(task: RetryableTask) -> Self {
        Self {
            task,
            pods: BTreeMap::new(),
            server: Server::Accepts,
            holds_pods: true,
            blind: false,
            stale: false,
            is_hurried: false,
            told: Vec::new(),
            writes: 0,
            warning: None,
            events_are_readable: true,
            questions: 0,
            requeue: None,
            task_is_deleted: false,
            line: Line::Unknown,
            demand: None,
            granted: None,
            default_ttl_seconds: None,
            others: BTreeMap::new(),
            looked_up: 0,
            is_awaited: false,
            // Up for long: what an earlier process may have sent has landed.
            process: Process { begun: SignedDuration::from_hours(-1), ..Process::default() },
            wall: at(0),
            monotonic: SignedDuration::ZERO,
            due: None,
            late: Vec::new(),
            uids: 0,
        }
    }

    pub fn status(&self) -> RetryableTaskStatus {
        self.task.status.clone().unwrap_or_default()
    }

    pub fn now(&self) -> Timestamp {
        self.wall
    }

    /// Time goes on, on both clocks.
    pub fn pass(&mut self, by: SignedDuration) {
        self.wall += by;
        self.monotonic += by;
    }

    /// Somebody sets the wall clock.
    pub fn jump(&mut self, by: SignedDuration) {
        self.wall += by;
    }

    /// The process dies, and another takes over.
    pub fn restart(&mut self) {
        self.process = Process { begun: self.monotonic, ..Process::default() };
        if let Some((_, _, seen_through)) = &mut self.due {
            *seen_through = false;
        }
    }

    pub fn edit(&mut self, change: impl FnOnce(&mut RetryableTask)) {
        self.task.metadata.generation = self.task.metadata.generation.map(|n| n + 1);
        change(&mut self.task);
    }

    /// Changes the Pod of that attempt, as its kubelet or the control plane does.
    pub fn change_pod(&mut self, slot: impl Into<Slot>, change: impl FnOnce(Pod) -> Pod) {
        let name = self.name_of(slot.into());
        let pod = self.pods.remove(&name).unwrap_or_else(|| panic!("there is no Pod {name}"));
        self.pods.insert(name, change(pod));
    }

    /// The Pod is gone without a trace.
    pub fn vanish(&mut self, slot: impl Into<Slot>) {
        let name = self.name_of(slot.into());
        assert!(self.pods.remove(&name).is_some(), "there is no Pod {name}");
    }

    /// The creations that got no answer arrive.
    pub fn land(&mut self) {
        for pod in std::mem::take(&mut self.late) {
            let pod = pod.change(|pod| pod.metadata.creation_timestamp = Some(Time(whole_second(self.wall))));
            self.pods.entry(pod.metadata.name.clone().unwrap()).or_insert(pod);
        }
    }

    pub fn newest(&self) -> Slot {
        self.pods.values().filter_map(PodSnapshot::of).map(|pod| pod.slot()).max().unwrap_or(0.into())
    }

    fn name_of(&self, slot: Slot) -> String {
        pod_name(self.task.metadata.name.as_deref().unwrap(), UID, slot)
    }

    /// One reconcile: drives the task until there is nothing left but to wait.
    pub fn reconcile(&mut self) {
        self.process.lookups = Lookups::default();
        let mut settled = self.drive();
        self.granted =
            self.granted.filter(|(attempt, _)| settled.queue.as_ref().is_some_and(|d| d.attempt == *attempt));
        if let Some(QueueDemand { attempt, .. }) = settled.queue
            && matches!(self.line, Line::Grants | Line::Probes)
        {
            self.granted = Some((attempt, self.wall));
            settled = self.drive();
            self.granted = None;
        }
        let Settled { stop: _, stale_pods, cleanup, delete_task, progress: _, queue, requeue } = settled;
        self.demand = queue;
        let Cleanup { delete, remove_finalizer } = cleanup;
        self.task_is_deleted |= delete_task;
        let delete: Vec<_> = stale_pods.into_iter().chain(delete).collect();
        self.cleanup(&delete, &remove_finalizer);
        self.requeue = requeue.soonest();
    }

    fn drive(&mut self) -> Settled {
        let driven = drive(self).now_or_never().expect("nothing waits here").unwrap_or_else(|error| panic!("{error}"));
        driven.expect("the task is there")
    }

    fn queue_says(&self) -> Option<QueueView> {
        let is_in_line = self.line != Line::Outside;
        let waits = |reason| Admission::Waits { reason, message: format!("TaskQueue q: {reason:?}"), is_in_line };
        let granted = |(attempt, at)| Admission::Granted { attempt, probe: self.line == Line::Probes, at };
        let admission = match self.line {
            Line::Unknown => return None,
            Line::Grants => self.granted.map(granted)?,
            Line::Probes => self.granted.map_or_else(|| waits(QueueWaitReason::Full), granted),
            Line::Full | Line::Outside => waits(QueueWaitReason::Full),
            Line::Open => waits(QueueWaitReason::CircuitOpen),
            Line::Missing => Admission::Missing,
            Line::Drains => waits(QueueWaitReason::Held),
        };
        Some(QueueView { admission, failures: None, drain: self.line == Line::Drains })
    }

    pub fn watch(&mut self) {
        if self.blind {
            return;
        }
        for pod in self.pods.values() {
            see(&mut self.process.cache, pod, self.wall, self.monotonic - self.process.begun);
        }
        // A Pod that nothing holds goes once its containers have ended.
        self.pods.retain(|_, pod| {
            let snapshot = PodSnapshot::of(pod).unwrap();
            !snapshot.deleting || snapshot.has_finalizer || !matches!(snapshot.progress, Progress::Ended(_))
        });
        let there: Vec<_> = self.pods.values().filter_map(|pod| pod.metadata.uid.clone()).collect();
        for tracked in self.process.cache.values_mut() {
            tracked.deleted = !there.contains(&tracked.pod.pod_uid);
        }
    }

    /// What is decided now, without doing it.
    pub fn plan(&mut self) -> Plan {
        let status = self.status();
        let slot = status.current.as_ref().map_or(1.into(), slot_of);
        let due = status.current.as_ref().and_then(|current| Some(current.due_time.as_ref()?.0));
        let remaining = due.map(|due| (due, self.remaining(due)));
        let created = self
            .process
            .created
            .as_ref()
            .filter(|(created, ..)| *created == slot)
            .map(|(_, uid, since)| Created { pod_uid: uid.clone(), age: self.monotonic - *since });
        let warnings = self.process.warnings.clone();
        let readable = self.events_are_readable;
        let warnings =
            warnings.map(|(pod_uid, at, newest)| PodWarnings { pod_uid, age: self.monotonic - at, readable, newest });
        let failing = self.process.failing.as_ref().filter(|(failing, ..)| *failing == slot);
        let failing = failing.map(|(_, since, last, rejection)| Failing {
            since: self.monotonic - *since,
            last: self.monotonic - *last,
            rejection: rejection.clone(),
        });
        let pods: Vec<TrackedPod> = self.process.cache.values().cloned().collect();
        let lookups = Lookups { task_is_live: !self.stale, ..self.process.lookups.clone() };
        let process = ProcessState {
            uptime: self.monotonic - self.process.begun,
            created,
            create_in_flight: self.process.create_in_flight.map(|sent| self.monotonic - sent),
            failing,
            warnings,
            remaining,
            queue: self.queue_says(),
            default_ttl_seconds: self.default_ttl_seconds,
            is_awaited: self.is_awaited,
        };
        decide(&Situation { task: &self.task, pods: &pods, now: self.wall, lookups: &lookups, process: &process })
    }

    /// The effects of the stored status, without carrying them out.
    pub fn settled(&mut self) -> Settled {
        match self.plan() {
            Plan::Settled(settled) => *settled,
            plan => panic!("not settled: {plan:?}"),
        }
    }

    fn remaining(&mut self, due: Timestamp) -> SignedDuration {
        let end = match self.process.wait {
            Some((measured, end)) if measured == due => end,
            _ => self.monotonic + due.duration_since(self.wall).max(SignedDuration::ZERO),
        };
        self.process.wait = Some((due, end));
        (end - self.monotonic).max(SignedDuration::ZERO)
    }

    fn store(&mut self, status: &RetryableTaskStatus, transitions: Vec<Transition>) {
        let text = serde_json::to_string(status).unwrap();
        assert!(text.len() < 100 * 1024, "a status of {} bytes", text.len());
        let before = self.status().current.filter(|current| current.wait.is_some() && current.pod_name.is_none());
        self.task.status = Some(serde_json::from_str(&text).unwrap());
        self.due_moved(before.as_ref());
        self.told.extend(transitions);
        self.writes += 1;
        self.process.lookups = Lookups::default();
        let due = self.status().current.and_then(|current| Some(current.due_time?.0));
        if due != self.due.map(|(due, ..)| due) {
            self.due = due.map(|due| (due, self.monotonic + due.duration_since(self.wall), true));
        }
        let asks = self.task.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ANNOTATION_RUN_AGAIN));
        if !(asks && is_finished(&status.conditions)) {
            let plan = self.plan();
            assert!(
                !matches!(plan, Plan::WriteStatus(_)),
                "a status that is decided and stored is a fixed point: {plan:?}"
            );
        }
        self.check_status();
    }

    /// A due time that has moved is as much later or earlier on the monotonic clock.
    fn due_moved(&mut self, before: Option<&CurrentAttempt>) {
        let (before, after) = (before.cloned().unwrap_or_default(), self.status().current.unwrap_or_default());
        let (Some(from), Some(to)) = (before.due_time, after.due_time) else { return };
        if from != to && before.number == after.number {
            let by = to.0.duration_since(from.0);
            self.process.wait = self.process.wait.filter(|(due, _)| *due == from.0).map(|(_, end)| (to.0, end + by));
            self.due = self.due.filter(|(due, ..)| *due == from.0).map(|(_, end, tracked)| (to.0, end + by, tracked));
        }
    }

    fn ask(&mut self, name: &str) {
        if let Some(pod) = self.pods.get(name) {
            see(&mut self.process.cache, pod, self.wall, self.monotonic - self.process.begun);
            self.process.lookups.pod = Some(PodLookup::Found);
        } else {
            let foreign = self.server == Server::HasForeignPod;
            self.process.lookups.pod = Some(if foreign { PodLookup::NotOwned } else { PodLookup::NotFound });
        }
    }

    fn create(&mut self, slot: Slot) {
        let name = self.name_of(slot);
        if self.pods.contains_key(&name) {
            self.ask(&name);
            (self.process.lookups.pod, self.process.failing) = (None, None);
            return;
        }
        self.uids += 1;
        let pod = pod_of(&self.task, slot).uid(&format!("pod-{}-{}", slot.number, self.uids));
        let pod = if self.holds_pods { pod } else { pod.without_finalizer() };
        let pod = pod.change(|pod| pod.metadata.creation_timestamp = Some(Time(whole_second(self.wall))));
        let (answer, message) = match self.server {
            Server::Accepts => {
                self.process.created = Some((slot, pod.metadata.uid.clone().unwrap(), self.monotonic));
                self.process.failing = None;
                self.pods.insert(name, pod);
                return;
            }
            Server::Rejects(why) => (Refusal::Code(403), why),
            Server::Fails(0, why) => (Refusal::NoAnswer, why),
            Server::Fails(code, why) => (Refusal::Code(code), why),
            Server::HasForeignPod => (Refusal::NameConflict, "name taken"),
            Server::IsSlow => {
                self.late.push(pod);
                (Refusal::NoAnswer, "timed out")
            }
        };
        let rejection = Rejection { answer, message: message.into() };
        if rejection.may_be_stored() {
            self.process.create_in_flight = Some(self.monotonic);
        }
        let before = self.process.failing.take().filter(|(failing, ..)| *failing == slot);
        let since = before.map_or(self.monotonic, |(_, since, ..)| since);
        self.process.failing = Some((slot, since, self.monotonic, rejection.clone()));
        self.process.lookups.rejection = Some(rejection);
    }

    /// Whether the Pod, as the API server has it now, has a main container that has not started.
    fn starts(&mut self, pod: &PodRef) -> bool {
        let Some(live) = self.pods.get(&pod.name) else { return false };
        see(&mut self.process.cache, live, self.wall, self.monotonic - self.process.begun);
        PodSnapshot::of(live).unwrap().can_be_replaced()
    }

    fn set_deadline(&mut self, PodRef { name, uid }: &PodRef) {
        let Some(pod) = self.pods.get_mut(name) else { return };
        assert_eq!(pod.metadata.uid.as_ref(), Some(uid), "the UID is a precondition");
        let deadline = &mut pod.spec.get_or_insert_default().active_deadline_seconds;
        assert!(deadline.is_none_or(|before| before > STOP_DEADLINE_SECONDS), "a deadline is set once");
        *deadline = Some(STOP_DEADLINE_SECONDS);
        self.watch();
    }

    fn cleanup(&mut self, delete: &[PodRef], release: &[PodRef]) {
        for PodRef { name, uid } in delete {
            let Some(pod) = self.pods.get_mut(name) else { continue };
            assert_eq!(pod.metadata.uid.as_ref(), Some(uid), "the UID is a precondition");
            pod.metadata.deletion_timestamp = Some(Time(self.wall + SignedDuration::from_secs(30)));
            pod.metadata.deletion_grace_period_seconds = Some(30);
        }
        for PodRef { name, uid } in release {
            let Some(pod) = self.pods.remove(name) else { continue };
            assert_eq!(pod.metadata.uid.as_ref(), Some(uid), "the UID is a precondition");
            self.pods.insert(name.clone(), pod.without_finalizer());
        }
        self.watch();
        let (status, finished) = (self.status(), is_finished(&self.status().conditions));
        let open = status.current.as_ref().map_or(1.into(), slot_of);
        self.process.cache.retain(|_, tracked| !tracked.deleted || (!finished && tracked.pod.slot() >= open));
    }
}

impl Execute for World {
    type Error = String;

    fn decide(&mut self) -> Plan {
        self.watch();
        let plan = self.plan();
        assert_eq!(plan, self.plan(), "the same situation, the same plan");
        self.check(&plan);
        plan
    }

    async fn write_status(
        &mut self,
        StatusWrite { status, transitions }: StatusWrite,
    ) -> Result<ControlFlow<()>, String> {
        self.store(&status, transitions);
        Ok(ControlFlow::Continue(()))
    }

    async fn look_up_pod(&mut self, pod_name: String) -> Result<(), String> {
        self.ask(&pod_name);
        Ok(())
    }

    async fn look_up_tasks(&mut self, names: Vec<String>) -> Result<(), String> {
        for name in names {
            self.looked_up += 1;
            let found = self.others.get(&name).cloned();
            assert!(self.process.lookups.tasks.insert(name, found).is_none(), "looked up once");
        }
        Ok(())
    }

    async fn read_warnings(&mut self, pod: PodRef) -> Result<(), String> {
        self.questions += 1;
        self.process.warnings = Some((pod.uid, self.monotonic, self.warning.clone()));
        Ok(())
    }

    async fn refresh_task(&mut self) -> Result<ControlFlow<()>, String> {
        Ok(ControlFlow::Continue(()))
    }

    async fn create_pod(&mut self, slot: Slot) -> Result<ControlFlow<()>, String> {
        self.create(slot);
        Ok(ControlFlow::Continue(()))
    }

    async fn stop_pod(&mut self, pod: &PodRef, method: StopMethod) -> Result<bool, String> {
        match method {
            StopMethod::Replacement if !self.starts(pod) => return Ok(false),
            StopMethod::Deletion | StopMethod::Replacement => self.cleanup(std::slice::from_ref(pod), &[]),
            StopMethod::Deadline => self.set_deadline(pod),
        }
        Ok(true)
    }

    fn defers(&self, _: &Deferrable) -> bool {
        self.is_hurried
    }

    fn no_convergence(&self) -> String {
        format!("the reconcile did not converge: {}", self.gist())
    }
}

/// The time as most of Kubernetes tells it.
pub fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap()
}

/// The watch shows the Pod.
fn see(cache: &mut BTreeMap<String, TrackedPod>, pod: &Pod, now: Timestamp, uptime: SignedDuration) {
    let snapshot = PodSnapshot::of(pod).unwrap();
    let tracked = TrackedPod::update(cache.get(&snapshot.pod_uid), snapshot, (now, uptime));
    cache.insert(tracked.pod.pod_uid.clone(), tracked);
}
