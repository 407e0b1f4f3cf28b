//! What a situation is made up of: mostly what occurs, at times what cannot.

use crate::api::{
    Acknowledged, Action, After, AfterCondition, AfterStatus, Backoff, CurrentAttempt, FailureCount, HistoryEntry,
    HoldUp, Multiplier, QueueRef, QueueSlot, RetryWait, RetryableTask, RetryableTaskStatus, Run, State, StopReason,
    Strategy as Growth,
};
use crate::core::decide::{Failing, PodWarnings, TrackedPod};
use crate::core::dependency::{TaskEnd, TaskFact};
use crate::core::pod_name::pod_name;
use crate::core::pod_snapshot::PodSnapshot;
use crate::core::pod_warning::PodWarning;
use crate::core::queue::view::{Admission, QueueView, QueueWaitReason};
use crate::core::rejection::{Refusal, Rejection};
use crate::core::slot::Slot;
use crate::core::testing::{
    BuildEnd, BuildPod, BuildTask, NAME, UID, at, end, pod_of, running, task, task_with, time, waiting,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Mostly what occurs, at times what cannot.
pub(super) fn number() -> impl Strategy<Value = i32> {
    prop_oneof![6 => 0..5i32, 1 => any::<i32>(), 1 => Just(i32::MAX), 1 => Just(i32::MIN)]
}

pub(super) fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        6 => (-100..100i64).prop_map(at),
        1 => Just(at(-63_931_000_000)), // the year 0, before Go's zero time
        1 => Just(Timestamp::MAX),
        1 => any::<i32>().prop_map(|seconds| at(i64::from(seconds))),
    ]
}

pub(super) fn micro() -> impl Strategy<Value = Option<MicroTime>> {
    of(moment().prop_map(MicroTime))
}

pub(super) fn duration() -> impl Strategy<Value = SignedDuration> {
    prop_oneof![
        6 => (0..60i64).prop_map(SignedDuration::from_secs),
        1 => Just(SignedDuration::MAX),
    ]
}

pub(super) fn template() -> impl Strategy<Value = Option<Value>> {
    let odd = [
        json!(null),
        json!([]),
        json!({"spec": 5}),
        json!({"spec": {"containers": [null, {"name": 5}, {"name": "task", "env": "x", "envFrom": {}}]}}),
        json!({"spec": {"containers": [], "initContainers": [3]}, "metadata": {"labels": [], "annotations": 1}}),
        json!({"spec": {"containers": [{"name": "proxy"}], "initContainers": [{"name": "mesh", "restartPolicy": "Always"}]}}),
    ];
    of(prop::sample::select(odd.to_vec()))
}

pub(super) fn backoff() -> impl Strategy<Value = Backoff> {
    let growth = [Growth::Exponential, Growth::Fixed, Growth::Linear, Growth::Fibonacci, Growth::List];
    let multiplier =
        prop_oneof![any::<i64>().prop_map(Multiplier::Int), "[0-9]{0,3}[.]?[0-9]{0,3}|x".prop_map(Multiplier::Decimal)];
    (of(prop::sample::select(growth.to_vec())), of(number()), of(multiplier), of(number())).prop_map(
        |(strategy, initial_delay_seconds, multiplier, max_delay_seconds)| Backoff {
            strategy,
            initial_delay_seconds,
            multiplier,
            max_delay_seconds,
            ..Backoff::default()
        },
    )
}

pub(super) fn some_start() -> impl Strategy<Value = Option<String>> {
    of(
        prop_oneof![4 => moment().prop_map(|at| at.to_string()), 1 => Just("9999-12-31T23:59:59Z".into()), 1 => Just("?".into())],
    )
}

/// Names of other tasks, and of the task itself.
pub(super) fn other_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a".to_owned(), "b".into(), "c.d".into(), NAME.into()])
}

pub(super) fn some_after() -> impl Strategy<Value = After> {
    (other_name(), some_condition_of_another()).prop_map(|(task, condition)| After { task, condition })
}

pub(super) fn some_condition_of_another() -> impl Strategy<Value = AfterCondition> {
    prop::sample::select(vec![AfterCondition::Succeeded, AfterCondition::Failed, AfterCondition::Finished])
}

pub(super) fn some_fact() -> impl Strategy<Value = TaskFact> {
    let reason = prop::sample::select(vec!["Succeeded", "DependencyFailed", ""]);
    let end = (any::<bool>(), reason, ".{0,20}").prop_map(|(succeeded, reason, message)| TaskEnd {
        succeeded,
        reason: reason.into(),
        message,
        result: None,
    });
    ("[uv]", prop::collection::vec(other_name(), 0..3), of(end)).prop_map(|(uid, waits_for, end)| TaskFact {
        uid,
        waits_for,
        end,
    })
}

prop_compose! {
    pub(super) fn some_seen_task()(
        task in other_name(), condition in some_condition_of_another(), task_uid in of("[uv]"),
        (met, met_before) in any::<(bool, bool)>(), result in of(".{0,9}"),
    ) -> AfterStatus {
        AfterStatus { task, condition, task_uid, met, met_before, result }
    }
}

/// What is asked for by hand.
pub(super) fn some_annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    let all = ["retry-now", "run-again", "cancel"].map(|name| format!("retryable.dev/{name}"));
    prop_oneof![
        3 => Just(BTreeMap::new()),
        1 => prop::collection::btree_map(prop::sample::select(all.to_vec()), "[ab]?", 0..3),
    ]
}

/// Parts of a spec that change what an attempt gets.
pub(super) fn some_changes() -> impl Strategy<Value = Value> {
    let memory = prop::sample::select(vec![json!(null), json!("64Mi"), json!(5), json!("x")]);
    let raise =
        prop::sample::select(vec![json!(null), json!({}), json!({"memoryMultiplier": "1.5", "maxMemory": "1Gi"})]);
    let fallback =
        prop::sample::select(vec![json!(null), json!({"image": "x"}), json!({"template": 5, "timeoutSeconds": -1})]);
    (memory, raise, fallback, number()).prop_map(|(memory, raise, fallback, from)| {
        let change = json!({"fromAttempt": from, "nodeSelector": {"a": "b"}, "tolerations": [], "env": [null],
            "resources": {"requests": {"memory": memory}}});
        json!({"image": "busybox", "resources": {"limits": {"memory": memory}}, "onOutOfMemory": raise,
            "onFailure": fallback, "overrides": [change]})
    })
}

prop_compose! {
    pub(super) fn some_task()(
        image in of(Just("busybox")), template in template(), backoff in of(backoff().boxed()), max_retries in number(),
        suspend in any::<bool>(), ttl in of(number()), (failed, succeeded) in (number(), number()),
        history_limit in number(), generation in of(any::<i64>()), deleted in of(Just(0)), status in of(some_status().boxed()),
        (attempt_timeout, deadline, startup_timeout) in (of(number()), of(number()), of(number())),
        (changes, annotations, start_at, queue) in (of(some_changes().boxed()), some_annotations(), some_start(), of(some_queue().boxed())),
        (after, after_timeout) in (of(prop::collection::vec(some_after(), 0..3)), of(number())).boxed(),
    ) -> RetryableTask {
        let mut task = task_with(changes.unwrap_or_else(|| json!({"image": image}))).max_retries(max_retries).retention(failed, succeeded);
        task.spec.template = template;
        task.spec.backoff = backoff;
        task.spec.suspend = suspend;
        task.spec.start_at = start_at;
        task.spec.queue = queue;
        task.spec.after = after;
        task.spec.after_timeout_seconds = after_timeout;
        task.spec.attempt_timeout_seconds = attempt_timeout;
        task.spec.active_deadline_seconds = deadline;
        task.spec.startup_timeout_seconds = startup_timeout;
        task.spec.ttl_seconds_after_finished = ttl;
        task.spec.history_limit = history_limit;
        task.metadata.generation = generation;
        task.metadata.annotations = Some(annotations);
        task.status = status;
        if deleted.is_some() { task.deleted(0) } else { task }
    }
}

prop_compose! {
    pub(super) fn some_wait()(
        from in moment(), rule in of(prop::sample::select(vec!["disruption", "other"])), charged in any::<bool>(),
        action in prop::sample::select(vec![Action::Retry, Action::Ignore, Action::Fail, Action::Unknown]),
        retry_after_seconds in of(any::<i64>()),
    ) -> RetryWait {
        RetryWait { from: MicroTime(from), rule: rule.map(Into::into), action, charged, retry_after_seconds }
    }
}

prop_compose! {
    pub(super) fn some_current()(
        number in number(), due_time in micro(), named in any::<bool>(), pod_uid in of(Just("pod-1")),
        next_create_time in micro(), create_time in micro(), rejections in number(), stop_time in micro(),
        stop_reason in of(prop::sample::select(vec![
            StopReason::Suspended, StopReason::TaskEnded, StopReason::AttemptTimeout, StopReason::StartupTimeout,
            StopReason::DeadlineExceeded, StopReason::Cancelled, StopReason::SpecChanged, StopReason::RetryNow,
            StopReason::QueueDrained, StopReason::Unknown,
        ])),
        (queued_time, slot) in (micro().boxed(), of(any::<bool>()).boxed()), (fallback, wait, (start_at, blocked_time), held_up) in (any::<bool>(), of(some_wait().boxed()), (some_start(), micro()).boxed(), of("FailedMount|ContainerCreating|[^a]{0,5}")),
    ) -> CurrentAttempt {
        CurrentAttempt {
            number, due_time, start_at, blocked_time, wait, hold_up: held_up.map(|reason| HoldUp { reason, message: None }), next_create_time, create_time, rejections, stop_reason, stop_time, fallback,
            pod_name: named.then(|| pod_name(NAME, UID, Slot { number, fallback })),
            pod_uid: pod_uid.map(Into::into),
            queued_time,
            queue: slot.map(|probe| QueueSlot { name: "q".into(), grant_time: None, probe }),
            ..CurrentAttempt::default()
        }
    }
}

prop_compose! {
    pub(super) fn some_condition()(
        type_ in prop::sample::select(vec!["Complete", "Failed", "Suspended", "Finished", "Reconciling", "Stalled", "Queued", "Blocked", "FailureTarget", "Other"]),
        status in prop::sample::select(vec!["True", "False", "Unknown", ""]),
        reason in prop::sample::select(vec!["PodRejected", "InvalidSpec", "QueueMissing", "QueueFull", "DependencyCycle", "RetriesExhausted", "Suspended", "", "Other"]),
        at in moment(), observed_generation in of(any::<i64>()),
    ) -> Condition {
        Condition {
            type_: type_.into(), status: status.into(), reason: reason.into(), message: String::new(),
            last_transition_time: Time(at), observed_generation,
        }
    }
}

prop_compose! {
    pub(super) fn some_status()(
        (attempts, retries, ignored, history_dropped) in (number(), number(), number(), number()),
        current in of(some_current().boxed()), conditions in prop::collection::vec(some_condition(), 0..4),
        state in of(prop::sample::select(vec![State::Pending, State::Running, State::Waiting, State::Queued, State::Suspended, State::Unknown])),
        (start, completion, next) in (of(moment()), of(moment()), micro()), generation in of(any::<i64>()),
        disruptions in of(number()), history in prop::collection::vec((number(), of(any::<i64>())), 0..3),
        after in prop::collection::vec(some_seen_task(), 0..3).boxed(),
        ((memory_raises, admitted_memory_raises), run, annotations) in ((number(), of(number())), of((number(), number())), some_annotations()),
    ) -> RetryableTaskStatus {
        let class = |count| FailureCount { name: "disruption".into(), count };
        let entry = |(attempt, delay_milliseconds)| {
            let node_name = Some("node-1".into());
            HistoryEntry { attempt, delay_milliseconds, node_name, action: Action::Retry, ..HistoryEntry::default() }
        };
        let acknowledged = |(annotation, value)| Acknowledged { annotation, value, time: time(0), effect: String::new() };
        RetryableTaskStatus {
            observed_generation: generation, state, attempts, retries, ignored, history_dropped, current, conditions,
            after, start_time: start.map(Time), completion_time: completion.map(Time), next_retry_time: next,
            memory_raises, admitted_memory_raises, run: run.map(|(number, first_attempt)| Run { number, first_attempt }),
            acknowledged: annotations.into_iter().map(acknowledged).collect(),
            failure_counts: disruptions.map(class).into_iter().collect(),
            history: history.into_iter().map(entry).map(Arc::new).collect(),
            ..RetryableTaskStatus::default()
        }
    }
}

pub(super) fn some_state() -> impl Strategy<Value = ContainerState> {
    let code = prop_oneof![4 => 0..256i32, 1 => any::<i32>(), 1 => Just(i32::MIN)];
    let ended = (code, of(any::<i32>()), of(moment()), ".{0,20}").prop_map(|(code, signal, finished, message)| {
        end(code)
            .saying(&message)
            .change(|end| (end.signal, end.finished_at) = (signal, finished.map(Time)))
            .into_state()
    });
    prop_oneof![
        1 => Just(running()),
        1 => Just(waiting("ImagePullBackOff", "x")),
        1 => Just(ContainerState::default()),
        1 => Just(ContainerState { terminated: Some(end(1)), ..running() }),
        3 => ended,
    ]
}

prop_compose! {
    pub(super) fn some_pod()(
        (number, fallback) in (1..5i32, any::<bool>()), (named, has_finalizer, owned, node) in any::<(bool, bool, bool, bool)>(),
        phase in prop::sample::select(vec!["Pending", "Running", "Succeeded", "Failed", "Unknown", ""]),
        (main, proxy, mesh) in (of(some_state().boxed()), of(some_state().boxed()), of(some_state().boxed())), reason in of(Just("Evicted")),
        disrupted in of(moment()), ready in of(moment()), deleted in of((moment(), of(any::<i64>()))),
        created in of(moment()),
    ) -> Pod {
        let mut pod = pod_of(&task(), Slot { number, fallback }).phase(phase);
        let states = [("task", main), ("proxy", proxy)].into_iter().filter_map(|(name, state)| Some((name, state?)));
        for (name, state) in states {
            pod = pod.container(name, state);
        }
        if let Some(state) = mesh {
            pod = pod.init_container("mesh", state);
        }
        if let Some(reason) = reason {
            pod = pod.because(reason, "");
        }
        if disrupted.is_some() {
            pod = pod.disrupted("EvictionByEvictionAPI", 0);
        }
        if ready.is_some() {
            pod = pod.condition("Ready", false, "", "", 0);
        }
        for condition in pod.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten()) {
            condition.last_transition_time = disrupted.or(ready).map(Time);
        }
        pod.metadata.creation_timestamp = created.map(Time);
        if let Some((at, grace)) = deleted {
            pod.metadata.deletion_timestamp = Some(Time(at));
            pod.metadata.deletion_grace_period_seconds = grace;
        }
        if !named {
            pod.metadata.name = Some(format!("other-{number}"));
        }
        let pod = if has_finalizer { pod } else { pod.without_finalizer() };
        let pod = if owned { pod } else { pod.without_owner() };
        if node { pod.on_node("node-1") } else { pod }
    }
}

prop_compose! {
    pub(super) fn some_seen()(
        pod in some_pod().boxed(),
        first_seen in moment(),
        end_seen in of(moment()),
        known_since in duration(),
        deleting_since in of(duration()),
        stopping_since in of(duration()),
        ungated in of(moment()),
        deleted in any::<bool>(),
    ) -> TrackedPod {
        TrackedPod { pod: PodSnapshot::of(&pod).unwrap(), first_seen, known_since, deleting_since, stopping_since, ungated, end_seen, deleted }
    }
}

prop_compose! {
    pub(super) fn some_warnings()(
        age in duration(), readable in any::<bool>(), newest in of((of(moment()), "[A-Z][a-z]{0,9}", of(".{0,20}"))),
    ) -> PodWarnings {
        let newest = newest.map(|(last_seen, reason, message)| PodWarning { hold_up: HoldUp { reason, message }, last_seen });
        PodWarnings { pod_uid: "pod-1".into(), age, readable, newest }
    }
}

prop_compose! {
    pub(super) fn some_failing()(
        since in duration(), last in duration(),
        answer in prop::sample::select(vec![
            Refusal::Code(403), Refusal::Code(500), Refusal::Code(0), Refusal::NoAnswer, Refusal::NameConflict,
        ]),
        message in prop::sample::select(vec![
            "", "maximum memory usage per Container is 40Mi", "exceeded quota: q, requested: count/pods=1, limited: count/pods=1",
            "exceeded quota: q, requested: memory=99Ei, used: memory, limited: memory=1",
        ]),
    ) -> Failing {
        Failing { since, last, rejection: Rejection { answer, message: message.into() } }
    }
}

prop_compose! {
    pub(super) fn some_view()(
        drain in any::<bool>(), attempt in number(), probe in any::<bool>(), at in moment(), kind in 0..3,
        reason in prop::sample::select(vec![QueueWaitReason::Full, QueueWaitReason::CircuitOpen, QueueWaitReason::Held]),
    ) -> QueueView {
        let admission = match kind {
            0 => Admission::Granted { attempt, probe, at },
            1 => Admission::Waits { reason, message: "waits".into(), is_in_line: drain },
            _ => Admission::Missing,
        };
        QueueView { admission, failures: None, drain }
    }
}

prop_compose! {
    pub(super) fn some_queue()(priority in number(), max_wait_seconds in of(number()), fairness_key in of(Just("a"))) -> QueueRef {
        QueueRef { name: "q".into(), priority, fairness_key: fairness_key.map(Into::into), max_wait_seconds }
    }
}
