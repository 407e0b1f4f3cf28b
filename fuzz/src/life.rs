//! The life of one task, in which the operator's pure parts are driven as the controller drives them, and looked at.

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use retryable_tasks::api::{FINALIZER, LABEL_ATTEMPT, LABEL_TASK_UID, RetryableTask, RetryableTaskStatus, RuleAction};
use retryable_tasks::core::build_pod::pod;
use retryable_tasks::core::classify::{DISRUPTION, OUT_OF_MEMORY, STARTUP, budget};
use retryable_tasks::core::decide::{
    Cleanup, Deferrable, Lookups, Plan, PodLookup, PodRef, PodWarnings, ProcessState, STOP_DEADLINE_SECONDS, Settled,
    Situation, StatusWrite, StopMethod, TrackedPod, decide, slot_of,
};
use retryable_tasks::core::drive::{Execute, drive};
use retryable_tasks::core::message::{MAX_MESSAGE_BYTES, MAX_WORD_BYTES};
use retryable_tasks::core::pod_name::pod_name;
use retryable_tasks::core::pod_snapshot::PodSnapshot;
use retryable_tasks::core::queue::view::{Admission, QueueView};
use retryable_tasks::core::rejection::{Refusal, Rejection};
use retryable_tasks::core::slot::Slot;
use serde_json::{Value, json};
use std::ops::ControlFlow;

const UID: &str = "9c1f1a52-5d0c-4a3b-8a55-0f8f2b3f6f10";
/// 2026-11-22T10:00:00Z.
const BEGIN: i64 = 1_795_341_600;
/// Most instants of a life, and most Pods, that are looked at.
const MAX_INSTANTS: usize = 150;
const MAX_PODS: usize = 40;
/// Most bytes of what the operator adds to a status.
const MAX_STATUS_BYTES: usize = 100 * 1024;

/// A task, its Pods, and the time.
pub struct Life<'a> {
    task: RetryableTask,
    pods: Vec<Pod>,
    tracked: Vec<TrackedPod>,
    scripts: &'a [Value],
    now: Timestamp,
    begun: Timestamp,
    made: usize,
    forged: bool,
    lookups: Lookups,
    warnings: Option<PodWarnings>,
}

impl<'a> Life<'a> {
    /// The task's life; its Pods say what `scripts` say, one after the other, over and over.
    pub fn new(mut task: RetryableTask, scripts: &'a [Value]) -> Self {
        task.metadata.uid = Some(UID.into());
        task.metadata.namespace = Some("default".into());
        task.metadata.generation = Some(1);
        task.metadata.resource_version = Some("1".into());
        task.metadata.name.get_or_insert_default();
        let begun = Timestamp::from_second(BEGIN).unwrap();
        let forged = task.status.is_some();
        Self {
            task,
            pods: Vec::new(),
            tracked: Vec::new(),
            scripts,
            now: begun,
            begun,
            made: 0,
            forged,
            lookups: Lookups::default(),
            warnings: None,
        }
    }

    /// Lives until there is nothing left to wait for. Answers how many Pods there were.
    pub fn live(mut self) -> usize {
        for _ in 0..MAX_INSTANTS {
            let Some(wait) = self.instant().filter(|_| self.made <= MAX_PODS) else { break };
            // What is due at once is looked at again in the next millisecond, as any clock would have moved.
            let Ok(next) = self.now.checked_add(wait.max(SignedDuration::from_millis(1))) else { break };
            self.now = next;
            self.lookups = Lookups { task_is_live: false, ..std::mem::take(&mut self.lookups) };
        }
        self.made
    }

    /// Reconciles until there is nothing to do but wait. Answers how long; `None` if for ever.
    fn instant(&mut self) -> Option<SignedDuration> {
        loop {
            let driven =
                drive(self).now_or_never().expect("nothing waits here").unwrap_or_else(|error| panic!("{error}"));
            if self.made > MAX_PODS {
                return None;
            }
            // A reconcile does not see the end of the Pod that it creates: that is another one's.
            let Some(Settled { stop: _, stale_pods, cleanup, delete_task, progress: _, queue: _, requeue }) = driven
            else {
                continue;
            };
            let Cleanup { delete, remove_finalizer } = cleanup;
            self.remove(stale_pods.iter().chain(&delete), &remove_finalizer);
            return requeue.soonest().filter(|_| !delete_task);
        }
    }

    fn plan(&self) -> Plan {
        let uptime = self.now.duration_since(self.begun) + SignedDuration::from_secs(60);
        let queue = Some(self.free_queue());
        let process = ProcessState { uptime, warnings: self.warnings.clone(), queue, ..ProcessState::default() };
        let Self { task, tracked, now, lookups, .. } = self;
        decide(&Situation { task, pods: tracked, now: *now, lookups, process: &process })
    }

    /// A queue in which a slot is free for whatever attempt is next.
    fn free_queue(&self) -> QueueView {
        let status = self.task.status.as_ref();
        let attempt = status.and_then(|status| status.current.as_ref()).map_or(1, |current| current.number);
        let admission = Admission::Granted { attempt, probe: false, at: self.now };
        QueueView { admission, failures: None, drain: false }
    }

    fn store(&mut self, status: &RetryableTaskStatus) {
        let json = serde_json::to_value(status).unwrap();
        if !self.forged {
            assert!(json.to_string().len() <= MAX_STATUS_BYTES, "{} bytes of status", json.to_string().len());
            for entry in &status.history {
                for word in [Some(&entry.reason), entry.error_type.as_ref()].into_iter().flatten() {
                    assert!(word.len() <= MAX_WORD_BYTES, "a long word: {word}");
                }
            }
            harmless(&json);
        }
        times_can_be_stored("", &json);
        // As the API server has it: cut to what JSON can hold.
        self.task.status = Some(serde_json::from_value(json).expect("a status that is written can be read"));
    }

    /// Attempts and fallbacks that there may be from the first status on, whatever that says.
    fn most_pods(&self) -> i64 {
        let spec = &self.task.spec;
        let own = spec.rules.iter().flatten().filter(|rule| rule.action != RuleAction::Fail).map(|rule| &*rule.name);
        let budgets = own.chain([DISRUPTION, OUT_OF_MEMORY, STARTUP]).filter_map(|name| budget(spec, name));
        // A forged intent to stop one Pod for a suspension is believed, and not charged.
        let forged = i64::from(self.forged);
        let first_and_fallback = 2 + forged;
        budgets.map(i64::from).sum::<i64>() + i64::from(spec.max_retries) + first_and_fallback
    }

    fn create(&mut self, slot: Slot) {
        let current = self.task.status.as_ref().and_then(|status| status.current.as_ref());
        assert_eq!(current.map(slot_of), Some(slot), "a Pod that the stored status does not name");
        let json = pod(&self.task, slot, true);
        self.is_ours_alone(&json, slot);
        let Ok(mut made) = serde_json::from_value::<Pod>(json) else {
            // The API server would not have it.
            self.lookups.rejection =
                Some(Rejection { answer: Refusal::Code(400), message: "it makes no sense".into() });
            return;
        };
        self.made += 1;
        assert!(i64::try_from(self.made).unwrap() <= self.most_pods(), "{} Pods: {:#?}", self.made, self.task);
        made.metadata.uid = Some(format!("pod-{}", self.made));
        made.metadata.resource_version = Some("1".into());
        made.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
        if let Some(script) = self.scripts.get((self.made - 1) % self.scripts.len().max(1)) {
            made = says(&made, script).unwrap_or(made);
        }
        let snapshot = PodSnapshot::of(&made).expect("a Pod of ours is known as such");
        assert_eq!(snapshot, PodSnapshot::of(&made).unwrap(), "the same Pod is seen in two ways");
        assert_eq!(snapshot.slot(), slot);
        let at = (self.now, self.now.duration_since(self.begun));
        self.tracked.push(TrackedPod::update(None, snapshot, at));
        self.pods.push(made);
    }

    /// Whatever the template says, what is the operator's is so.
    fn is_ours_alone(&self, pod: &Value, slot: Slot) {
        let name = self.task.metadata.name.as_deref().unwrap_or_default();
        let metadata = &pod["metadata"];
        assert_eq!(metadata["name"], pod_name(name, UID, slot));
        assert_eq!(metadata["namespace"], "default");
        assert_eq!(metadata["finalizers"], json!([FINALIZER]));
        assert_eq!(metadata["ownerReferences"].as_array().map(Vec::len), Some(1));
        assert_eq!(metadata["ownerReferences"][0]["uid"], UID);
        assert_eq!(metadata["labels"][LABEL_TASK_UID], UID);
        assert_eq!(metadata["labels"][LABEL_ATTEMPT], slot.number.to_string());
        assert_eq!(pod["spec"]["restartPolicy"], "Never");
        let fields: Vec<&String> = metadata.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
        assert_eq!(fields, ["annotations", "finalizers", "labels", "name", "namespace", "ownerReferences"]);
    }

    /// A Pod that is to end by its deadline may never do so.
    fn set_deadline(&mut self, pod: &PodRef) {
        let at = (self.now, self.now.duration_since(self.begun) + SignedDuration::from_secs(60));
        for tracked in self.tracked.iter_mut().filter(|tracked| tracked.pod.pod_uid == pod.uid) {
            let snapshot = PodSnapshot { active_deadline_seconds: Some(STOP_DEADLINE_SECONDS), ..tracked.pod.clone() };
            *tracked = TrackedPod { deleted: tracked.deleted, ..TrackedPod::update(Some(tracked), snapshot, at) };
        }
    }

    /// Pods that are deleted go at once.
    fn remove<'b>(&mut self, deleted: impl Iterator<Item = &'b PodRef>, free: &[PodRef]) {
        for pod in deleted {
            self.tracked.iter_mut().filter(|tracked| tracked.pod.pod_uid == pod.uid).for_each(|tracked| {
                tracked.pod.deleting = true;
                tracked.deleted |= !tracked.pod.has_finalizer;
            });
        }
        for pod in free {
            self.tracked
                .iter_mut()
                .filter(|tracked| tracked.pod.pod_uid == pod.uid)
                .for_each(|tracked| tracked.pod.has_finalizer = false);
            self.tracked.retain(|tracked| tracked.pod.has_finalizer || !tracked.pod.deleting);
        }
    }
}

impl Execute for Life<'_> {
    type Error = String;

    fn decide(&mut self) -> Plan {
        let plan = self.plan();
        assert_eq!(plan, self.plan(), "the same situation has two plans");
        plan
    }

    async fn write_status(&mut self, write: StatusWrite) -> Result<ControlFlow<()>, String> {
        self.store(&write.status);
        self.lookups = Lookups { task_is_live: true, ..Lookups::default() };
        Ok(ControlFlow::Continue(()))
    }

    async fn look_up_pod(&mut self, pod_name: String) -> Result<(), String> {
        assert!(self.lookups.pod.is_none(), "looked up twice: {pod_name}");
        let found = self.pods.iter().any(|pod| pod.metadata.name.as_ref() == Some(&pod_name));
        self.lookups.pod = Some(if found { PodLookup::Found } else { PodLookup::NotFound });
        Ok(())
    }

    async fn look_up_tasks(&mut self, names: Vec<String>) -> Result<(), String> {
        for name in names {
            assert!(self.lookups.tasks.insert(name.clone(), None).is_none(), "looked up twice: {name}");
        }
        Ok(())
    }

    async fn read_warnings(&mut self, pod: PodRef) -> Result<(), String> {
        self.warnings = Some(PodWarnings { pod_uid: pod.uid, age: SignedDuration::ZERO, readable: true, newest: None });
        Ok(())
    }

    async fn refresh_task(&mut self) -> Result<ControlFlow<()>, String> {
        assert!(!self.lookups.task_is_live, "read twice");
        self.lookups.task_is_live = true;
        Ok(ControlFlow::Continue(()))
    }

    async fn create_pod(&mut self, slot: Slot) -> Result<ControlFlow<()>, String> {
        self.create(slot);
        Ok(ControlFlow::Break(()))
    }

    async fn stop_pod(&mut self, pod: &PodRef, method: StopMethod) -> Result<bool, String> {
        match method {
            StopMethod::Deadline => self.set_deadline(pod),
            StopMethod::Deletion | StopMethod::Replacement => self.remove(std::iter::once(pod), &[]),
        }
        Ok(true)
    }

    fn defers(&self, _: &Deferrable) -> bool {
        false
    }

    fn no_convergence(&self) -> String {
        format!("the reconcile did not converge: {:#?}", self.task.status)
    }
}

/// The Pod with the status of the script, and those parts of its metadata that are not the operator's.
fn says(pod: &Pod, script: &Value) -> Option<Pod> {
    let mut json = serde_json::to_value(pod).ok()?;
    json["status"] = script["status"].clone();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "creationTimestamp"] {
        if let Some(value) = script["metadata"].get(field) {
            json["metadata"][field] = value.clone();
        }
    }
    // The API server knows what the name of a node looks like, unlike that of a reason.
    let fits = |node: &&str| node.len() < 64 && node.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if let Some(node) = script["spec"]["nodeName"].as_str().filter(fits) {
        json["spec"]["nodeName"] = node.into();
    }
    serde_json::from_value(json).ok()
}

/// No text of a status does anything to a terminal, and none is long.
fn harmless(value: &Value) {
    match value {
        Value::String(text) => {
            let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            let ends_a_line = |c| matches!(c, '\u{2028}' | '\u{2029}');
            let bad = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns(c) || ends_a_line(c);
            assert!(!text.contains(bad), "{text:?}");
            assert!(text.len() <= MAX_MESSAGE_BYTES, "{} bytes: {text}", text.len());
        }
        Value::Array(list) => list.iter().for_each(harmless),
        Value::Object(map) => map.values().for_each(harmless),
        _ => {}
    }
}

/// The API server takes times of the years 0 to 9999.
fn times_can_be_stored(key: &str, value: &Value) {
    match value {
        Value::String(text) if key.ends_with("Time") || key == "time" => {
            assert!(
                text.len() <= 30 && text.as_bytes()[4] == b'-' && text.as_bytes()[0].is_ascii_digit(),
                "{key}: {text}"
            );
        }
        Value::Array(list) => list.iter().for_each(|value| times_can_be_stored(key, value)),
        Value::Object(map) => map.iter().for_each(|(key, value)| times_can_be_stored(key, value)),
        _ => {}
    }
}
