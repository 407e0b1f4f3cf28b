//! The circuit breaker of a queue, as users write it.

use crate::api::{IntOrText, Preset};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lets no attempt start while the service is down. It opens when many different tasks fail for the same service, lets single
/// attempts (probes) through after a while, and closes when they succeed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.maxOpenSeconds) || self.maxOpenSeconds >= (has(self.openSeconds) ? self.openSeconds : 60)")
        .message("maxOpenSeconds is below openSeconds (60 unless given): raise it, or lower openSeconds")
)]
pub struct CircuitBreaker {
    /// Enforce; Observe: nothing waits, and the condition CircuitWouldOpen and Events say what would happen; ForceOpen: nothing starts;
    /// ForceClosed: it never opens.
    #[serde(default)]
    pub mode: CircuitMode,

    /// Which ends of attempts are failures of the service. Default: every failure that is charged as a retry, but for attempts that did not
    /// start or ran out of memory. Other failures are neither failure nor success of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<ServiceFailures>,

    /// How many tasks must fail before the circuit opens. Default: 5 tasks and 50 percent within 300 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_after: Option<OpenAfter>,

    /// How long the circuit stays open before the first probes, in seconds, plus up to 10 %. It doubles each time that a probe fails. Default 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 86400").message("openSeconds goes from 1 to 86400 (a day)"))]
    pub open_seconds: Option<i32>,

    /// Cap of that time, in seconds; also of a delay that a failed attempt requests. Default: 1800, or openSeconds if that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 86400").message("maxOpenSeconds goes from 1 to 86400 (a day)"))]
    pub max_open_seconds: Option<i32>,

    /// The attempts that are let through to see whether the service is back. Default: one at a time, two must succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,

    /// How long after closing the attempts under way grow from probes.atATime to maxConcurrent, in seconds. 0: at once. Without
    /// maxConcurrent and startRate the tasks that wait are spread over this time. Default 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 86400").message("recoverySeconds goes from 0 (at once) to 86400 (a day)"))]
    pub recovery_seconds: Option<i32>,

    /// Whether a failure of the service with retryAfterSeconds in its termination report holds the whole queue that long, at most
    /// maxOpenSeconds. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub honor_retry_after: Option<bool>,
}

/// What the circuit breaker does: Enforce (default), Observe (only says what it would do), ForceOpen (nothing starts) or ForceClosed (it
/// never opens).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CircuitMode {
    /// It opens and closes.
    #[default]
    Enforce,
    /// It only says what it would do.
    Observe,
    /// Nothing starts.
    ForceOpen,
    /// It never opens.
    ForceClosed,
}

/// Which ends of attempts are failures of the service. Matchers are ANDed, the values of one are ORed, as in rules[].when of a task. They
/// are matched against status.history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.preset) || has(self.exitCodes) || has(self.notExitCodes) || has(self.signals) || has(self.reasons) || has(self.errorTypes) || has(self.message)").message("empty failures match nothing: give a matcher, or leave failures out for every failure that is charged"))]
pub struct ServiceFailures {
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

    /// Reasons as in the history: Error, AttemptTimeout, Evicted …
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)))]
    #[x_kube(validation = Rule::new("!self.exists(r, r in ['Completed', 'Suspended', 'Cancelled', 'DeadlineExceeded', 'SpecChanged', 'RetryNow', 'QueueDrained'])").message("an attempt that is Completed, or that was stopped for its task or its queue (Suspended, Cancelled, DeadlineExceeded, SpecChanged, RetryNow, QueueDrained), is no failure of the service: remove that reason"))]
    pub reasons: Option<Vec<String>>,

    /// Kinds of errors that the task reports: errorType of a JSON termination message, or any of its errorTypes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)))]
    pub error_types: Option<Vec<String>>,

    /// Regular expression (RE2 syntax). It is searched for in what the history keeps of the end: at most 1 KiB of its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("''.matches(self) in [true, false]").message("message is not a regular expression (RE2 syntax)"))]
    pub message: Option<String>,
}

/// How many tasks must fail before the circuit opens. Both limits must be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenAfter {
    /// How many different tasks must have failed last. A task counts once, by its latest end. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 10000").message("openAfter.tasks goes from 1 to 10000: it counts different tasks, not attempts"))]
    pub tasks: Option<i32>,

    /// How many percent of the tasks with an end must have failed. Default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100").message("openAfter.percent goes from 1 to 100"))]
    pub percent: Option<i32>,

    /// How long an end counts, in seconds. Default 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 86400").message("openAfter.withinSeconds goes from 1 to 86400 (a day)"))]
    pub within_seconds: Option<i32>,
}

/// The attempts that are let through to see whether the service is back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// How many probes run at a time. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100").message("probes.atATime goes from 1 to 100"))]
    pub at_a_time: Option<i32>,

    /// How many must succeed before the circuit closes. One that fails opens it again. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100").message("probes.successes goes from 1 to 100"))]
    pub successes: Option<i32>,

    /// A probe that has run this long counts as one that succeeded, in seconds. Default 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 86400").message("probes.passAfterSeconds goes from 1 to 86400 (a day)"))]
    pub pass_after_seconds: Option<i32>,
}
