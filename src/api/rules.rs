//! Rules that tell failures apart, as users write them.

use super::Backoff;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One rule: which failures it matches, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.maxRetries) || !(self.action in ['Fail', 'Complete'])")
        .message("actions Fail and Complete end the task: remove maxRetries or change the action"),
    validation = Rule::new("!has(self.backoff) || !(self.action in ['Fail', 'Complete'])")
        .message("actions Fail and Complete end the task, there is nothing to wait for: remove backoff or change the action")
)]
pub struct FailureRule {
    /// Name of the rule, unique in the task. It appears in status.history and status.failureCounts.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("a rule's name consists of letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"))]
    #[x_kube(validation = Rule::new("!(self in ['disruption', 'outOfMemory', 'startup', 'circuit', 'doNotRetry', 'maxRetries'])").message("disruption, outOfMemory, startup, circuit, doNotRetry and maxRetries are built in: choose another name"))]
    pub name: String,

    /// Which failures the rule matches. All given matchers must match, each by any of its values. Without `when` the rule matches every
    /// failure and must be the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,

    /// What follows: Retry (charged to maxRetries, or to the rule's own maxRetries), Ignore (another attempt, not charged), Fail, or
    /// Complete (the task has succeeded in part).
    pub action: RuleAction,

    /// A budget for this rule alone. Retry: this many retries, which are not charged to spec.maxRetries; then the task fails.
    /// Ignore: this many attempts are not charged (default 10); later ones are charged like any failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0").message("a rule's maxRetries counts tries: use 0 or more"))]
    pub max_retries: Option<i32>,

    /// How long to wait after a failure that this rule matches, instead of spec.backoff. If the rule has its own budget, the delays grow with the retries of that budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
}

/// What follows: Retry (charged to maxRetries, or to the rule's own maxRetries), Ignore (another attempt, not charged), Fail (the task has failed) or Complete (the task has succeeded in part).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuleAction {
    /// Another attempt, charged.
    Retry,
    /// Another attempt, not charged.
    Ignore,
    /// The task fails at once.
    Fail,
    /// The task succeeds at once, in part: condition `Complete`, reason `PartiallySucceeded`.
    Complete,
}

/// Which failures a rule matches. Matchers are ANDed, the values of one are ORed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.preset) || has(self.exitCodes) || has(self.notExitCodes) || has(self.signals) || has(self.reasons) || has(self.errorTypes) || has(self.podConditions) || has(self.message)").message("an empty when matches nothing: give a matcher, or leave when out to match every failure"))]
pub struct When {
    /// A ready-made set of exit codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,

    /// Exit codes: numbers, and ranges such as "64-78".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.all(c, type(c) == int ? (c > 0 && c <= 255) : c.matches('^[0-9]{1,3}-[0-9]{1,3}$') && int(c.split('-')[0]) <= int(c.split('-')[1]) && int(c.split('-')[1]) <= 255)").message("exitCodes are numbers from 1 to 255, or ranges in quotes from low to high: 3, \"64-78\""))]
    pub exit_codes: Option<Vec<IntOrText>>,

    /// Any exit code but these: numbers, and ranges such as "64-78". A failure without an exit code does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.all(c, type(c) == int ? (c > 0 && c <= 255) : c.matches('^[0-9]{1,3}-[0-9]{1,3}$') && int(c.split('-')[0]) <= int(c.split('-')[1]) && int(c.split('-')[1]) <= 255)").message("notExitCodes are numbers from 1 to 255, or ranges in quotes from low to high: 3, \"64-78\""))]
    pub not_exit_codes: Option<Vec<IntOrText>>,

    /// Signals that ended the container: numbers from 1 to 64, or names such as SIGKILL or KILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.all(s, type(s) == int ? (s >= 1 && s <= 64) : s.matches('^(SIG)?(HUP|INT|QUIT|ILL|TRAP|ABRT|IOT|BUS|FPE|KILL|USR1|SEGV|USR2|PIPE|ALRM|TERM|STKFLT|CHLD|CONT|STOP|TSTP|TTIN|TTOU|URG|XCPU|XFSZ|VTALRM|PROF|WINCH|IO|POLL|PWR|SYS)$'))").message("signals are numbers from 1 to 64 or names such as SIGKILL or TERM"))]
    pub signals: Option<Vec<IntOrText>>,

    /// Reasons as in the history: Error, OOMKilled, Evicted, AttemptTimeout, PodDeadlineExceeded, ImagePullBackOff, PodDeleted, Lost …
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)))]
    #[x_kube(validation = Rule::new("!self.exists(r, r in ['Completed', 'Suspended', 'Cancelled', 'DeadlineExceeded', 'SpecChanged', 'RetryNow', 'QueueDrained'])").message("an attempt that is Completed, Suspended, Cancelled, replaced (SpecChanged, RetryNow), drained by its TaskQueue (QueueDrained) or ended by the task's deadline (DeadlineExceeded) never comes to the rules: remove that reason (a Pod's own deadline is PodDeadlineExceeded)"))]
    pub reasons: Option<Vec<String>>,

    /// Kinds of errors that the task reports: errorType of a JSON termination message, or any of its errorTypes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)))]
    pub error_types: Option<Vec<String>>,

    /// Types of Pod conditions that are true, such as DisruptionTarget.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 316)))]
    pub pod_conditions: Option<Vec<String>>,

    /// Regular expression (RE2 syntax). It is searched for in all that the kubelet reports of the end: the termination message or the log's tail (80 lines or 2 KiB), and the Pod's own message. (?i) at its start ignores case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("''.matches(self) in [true, false]").message("message is not a regular expression (RE2 syntax)"))]
    pub message: Option<String>,
}

/// A ready-made set of exit codes: SysexitsPermanent (64 to 78 of sysexits.h without the transient 69, 71, 74 and 75),
/// SysexitsTransient (69, 71, 74, 75) or CommandNotRunnable (126 and 127 of the shell, and the reasons StartError and ContainerCannotRun).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Preset {
    /// sysexits.h: errors that a retry does not fix
    SysexitsPermanent,
    /// sysexits.h: errors that a retry may fix
    SysexitsTransient,
    /// the shell: not executable, not found
    CommandNotRunnable,
}

/// A number, or a text that means one or more numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrText {
    /// `137`
    Int(i64),
    /// `"64-78"`, `SIGKILL`
    Text(String),
}

impl JsonSchema for IntOrText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IntOrText".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"x-kubernetes-int-or-string": true, "maxLength": 19})
    }
}

/// Budgets beside maxRetries, for failures that are not the fault of the task's code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budgets {
    /// How many attempts that the cluster ended (drain, preemption, eviction) are not charged. Later ones are charged to maxRetries. Default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0").message("budgets.disruptions is a number of attempts: 0 charges every disruption to maxRetries"))]
    pub disruptions: Option<i32>,

    /// How many retries follow attempts that ran out of memory; then the task fails. Default: they are charged to maxRetries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0").message("budgets.outOfMemory is a number of retries: 0 fails the task when it first runs out of memory"))]
    pub out_of_memory: Option<i32>,

    /// How many retries follow attempts that did not start (image, configuration, no node, rejected by the kubelet, no Pod created in time);
    /// then the task fails. Default: they are charged to maxRetries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0").message("budgets.startup is a number of retries: 0 fails the task when an attempt first does not start"))]
    pub startup: Option<i32>,
}
