//! Reads the operator's log: when each retry was due, when each request was sent, and when its answer came. The audit
//! log begins only when the API server has read a request.

use crate::audit::millis_between;
use crate::cluster::operator_log;
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;

/// The log level at which the operator logs all of this.
pub const LOG_ARGS: [&str; 4] =
    ["--log-format", "json", "--log-level", "info,retryable_tasks::controller::client=debug"];

/// One request of the operator.
#[derive(Clone, Copy, Debug)]
struct Sent {
    is_creation: bool,
    sent: Timestamp,
    ended: Timestamp,
}

/// The wait before a retry.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub began: Timestamp,
    /// When the retry was due, by the status.
    pub due: Timestamp,
}

/// The status updates and the creations of Pods, by task, and the waits, by the Pod before them.
#[derive(Debug, Default)]
pub struct Requests {
    sent: BTreeMap<String, Vec<Sent>>,
    waits: BTreeMap<String, Wait>,
}

impl Requests {
    /// The requests of the operator that was started last.
    pub fn read() -> Result<Self> {
        let path = operator_log(0)?;
        Self::of(&fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?)
    }

    fn of(log: &str) -> Result<Self> {
        let mut requests = Self::default();
        for line in log.lines() {
            let line: Line =
                serde_json::from_str(line).with_context(|| format!("a line of the operator's log: {line}"))?;
            if let (Some(pod), Some(due), Some(delay)) = (line.pod, line.due, line.delay_milliseconds) {
                requests.waits.insert(pod, Wait { began: due - SignedDuration::from_millis(delay), due });
            }
            let (Some(task), Some(microseconds)) = (line.name, line.microseconds) else { continue };
            let is_creation = match (line.verb.as_str(), line.resource.as_str()) {
                ("create", "pods") => true,
                ("update", "retryabletasks/status") => false,
                _ => continue,
            };
            let sent = line.timestamp - SignedDuration::from_micros(microseconds);
            requests.sent.entry(task).or_default().push(Sent { is_creation, sent, ended: line.timestamp });
        }
        Ok(requests)
    }

    /// The task's wait after the attempt of this Pod.
    pub fn wait_after(&self, task: &str, pod: &str) -> Result<Wait> {
        self.waits
            .get(pod)
            .copied()
            .with_context(|| format!("{task}: the operator's log has no wait after the Pod {pod}"))
    }

    /// The operator's own share, in milliseconds, of the time from when an attempt was due until its Pod was created:
    /// the time in which it did not wait for an answer to its status write or to the creation. The API server received
    /// the request for the creation at `asked`.
    pub fn own_lag(&self, task: &str, due: Timestamp, asked: Timestamp) -> Result<f64> {
        let requests = self.sent.get(task).map(Vec::as_slice).unwrap_or_default();
        // A line is logged shortly after the answer. So the API server may seem to have received the request before it
        // was sent.
        let creation = requests.iter().find(|one| one.is_creation && asked <= one.ended);
        let creation =
            creation.with_context(|| format!("{task}: the operator's log has no request for the Pod of {asked}"))?;
        let status = requests.iter().filter(|one| !one.is_creation);
        let waited = |one: &Sent| millis_between(one.sent.max(due), one.ended.min(creation.sent)).max(0.0);
        Ok(millis_between(due, creation.sent) - status.map(waited).sum::<f64>())
    }
}

#[derive(Deserialize)]
struct Line {
    timestamp: Timestamp,
    name: Option<String>,
    #[serde(default)]
    verb: String,
    #[serde(default)]
    resource: String,
    microseconds: Option<i64>,
    pod: Option<String>,
    due: Option<Timestamp>,
    delay_milliseconds: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::Requests;
    use jiff::Timestamp;

    const LOG: &str = r#"{"timestamp":"2026-01-01T00:00:00.500Z","message":"a line of another kind"}
{"timestamp":"2026-01-01T00:00:01.100Z","name":"a","pod":"a-x-1","delay_milliseconds":1500,"due":"2026-01-01T00:00:02.500Z"}
{"timestamp":"2026-01-01T00:00:01.000Z","name":"a","verb":"update","resource":"retryabletasks/status","microseconds":100000}
{"timestamp":"2026-01-01T00:00:02.250Z","name":"a","verb":"update","resource":"retryabletasks/status","microseconds":200000}
{"timestamp":"2026-01-01T00:00:02.300Z","name":"b","verb":"create","resource":"pods","microseconds":50000}
{"timestamp":"2026-01-01T00:00:02.500Z","name":"a","verb":"create","resource":"pods","microseconds":240000}
"#;

    fn at(seconds: &str) -> Timestamp {
        format!("2026-01-01T00:00:0{seconds}Z").parse().unwrap()
    }

    #[test]
    fn what_is_no_waiting_for_the_api_server_is_the_operators_own() {
        let requests = Requests::of(LOG).unwrap();
        let own = requests.own_lag("a", at("2.000"), at("2.400")).unwrap();
        assert!((own - 60.0).abs() < 0.001, "50 ms before the status, 10 ms between the two: {own}");
        let own = requests.own_lag("a", at("2.150"), at("2.400")).unwrap();
        assert!((own - 10.0).abs() < 0.001, "it was due while the status was on its way: {own}");
        assert!(requests.own_lag("a", at("2.000"), at("2.600")).is_err(), "another Pod");
        assert!(requests.own_lag("c", at("2.000"), at("2.400")).is_err());
        let wait = requests.wait_after("a", "a-x-1").unwrap();
        assert_eq!((wait.began, wait.due), (at("1"), at("2.5")));
        assert!(requests.wait_after("a", "a-x-2").is_err());
        assert!(Requests::of("no JSON").is_err());
    }
}
