//! Argo's retryStrategy.

use super::super::failure_policy::ranges;
use super::super::notes::Notes;
use super::super::{Options, mapping};
use super::fields::Fields;
use serde_yaml_ng::{Mapping, Value};

/// The longest wait, and so no cap.
const NO_CAP: i64 = 31_536_000;
/// The exit code of a node that has none, as Argo's expressions see it.
const NO_CODE: i32 = -1;

/// Retries, waits and rules.
pub(super) fn convert(strategy: Option<Fields>, spec: &mut Mapping, options: Options, notes: &mut Notes) {
    let Some(mut strategy) = strategy else {
        notes.comment("maxRetries", "Without a retryStrategy there are no retries.");
        spec.insert("maxRetries".into(), 0.into());
        as_before(spec, false, options, notes);
        return;
    };
    match strategy.text("limit").map(|limit| (limit.trim().parse::<i32>(), limit)) {
        None => {
            notes.comment("maxRetries", "Without a limit, Argo retries for ever.");
            spec.insert("maxRetries".into(), i32::MAX.into());
        }
        Some((Ok(limit), _)) => {
            spec.insert("maxRetries".into(), limit.into());
        }
        Some((Err(_), text)) => notes.refuse(&strategy.path("limit"), &format!("{text:?} is no number: give one")),
    }
    backoff(strategy.object("backoff"), spec, notes);
    let rules = rules(&mut strategy, notes);
    if !rules.is_empty() {
        let rules: Vec<Value> = rules.into_iter().map(Value::from).collect();
        spec.insert("rules".into(), rules.into());
    }
    let mut affinity = strategy.object("affinity");
    let avoids = affinity.as_mut().is_some_and(|affinity| affinity.take("nodeAntiAffinity").is_some());
    if avoids {
        let text = "nodeAntiAffinity keeps retries from the last node; here another node is preferred";
        notes.differs(&strategy.path("affinity"), None, text);
    }
    if let Some(affinity) = affinity {
        affinity.refuse_rest(notes);
    }
    strategy.refuse_rest(notes);
    as_before(spec, avoids, options, notes);
}

/// The rules of a retryPolicy and an expression.
fn rules(strategy: &mut Fields, notes: &mut Notes) -> Vec<Mapping> {
    let expression = strategy.text("expression");
    let policy = strategy.text("retryPolicy");
    // An expression alone decides of errors too.
    let policy = policy.unwrap_or_else(|| if expression.is_some() { "Always" } else { "OnFailure" }.into());
    let mut rules = vec![];
    match policy.as_str() {
        "Always" => {}
        "OnFailure" => {
            notes.comment("rules", "As OnFailure, which retries no drain. Without the rule, a drain is retried.");
            rules.push(disrupted("Fail"));
        }
        "OnError" => {
            rules.push(disrupted("Retry"));
            rules.push(with_codes("failure", vec!["1-255".into()], "Fail"));
        }
        other => {
            let text = format!("{other} has no counterpart: use a rule on the message of the failure");
            notes.refuse(&strategy.path("retryPolicy"), &text);
        }
    }
    let Some(expression) = expression else { return rules };
    let Some(codes) = codes(&expression) else {
        let text =
            "only comparisons of lastRetry.exitCode with numbers can be converted: write rules on exit codes by hand";
        notes.refuse(&strategy.path("expression"), text);
        return rules;
    };
    if codes.contains(&NO_CODE) && policy == "Always" {
        rules.push(disrupted("Retry"));
    }
    let ranges = ranges(&codes);
    if !ranges.is_empty() {
        rules.push(with_codes("expression", ranges, "Retry"));
    }
    rules.push(mapping([("name", "otherwise".into()), ("action", "Fail".into())]));
    rules
}

/// A rule on what Argo calls the error of a node.
fn disrupted(action: &str) -> Mapping {
    let when = mapping([("podConditions", vec![Value::from("DisruptionTarget")].into())]);
    mapping([("name", "node-error".into()), ("when", when.into()), ("action", action.into())])
}

fn with_codes(name: &str, codes: Vec<Value>, action: &str) -> Mapping {
    let when = mapping([("exitCodes", codes.into())]);
    mapping([("name", name.into()), ("when", when.into()), ("action", action.into())])
}

/// What a Workflow does without being told.
fn as_before(spec: &mut Mapping, avoids: bool, options: Options, notes: &mut Notes) {
    if options.modern {
        return;
    }
    notes.comment("budgets", "In Argo a drain is an error like others. Without this, ten of them are free.");
    spec.insert("budgets".into(), mapping([("disruptions", 0.into())]).into());
    notes.comment("startupTimeoutSeconds", "Argo waits for an image for ever. Without this, 10 minutes.");
    spec.insert("startupTimeoutSeconds".into(), NO_CAP.into());
    if !avoids {
        spec.insert("avoidFailedNodes".into(), false.into());
    }
}

fn backoff(backoff: Option<Fields>, spec: &mut Mapping, notes: &mut Notes) {
    let none = || Value::from(mapping([("mode", "None".into())]));
    let fixed = |seconds: i64| {
        mapping([("strategy", "Fixed".into()), ("initialDelaySeconds", seconds.into()), ("jitter", none())])
    };
    let Some(mut backoff) = backoff else {
        notes.comment("backoff", "Without a backoff, Argo does not wait.");
        spec.insert("backoff".into(), fixed(0).into());
        return;
    };
    let mut duration = |key: &str| {
        let text = backoff.text(key)?;
        let seconds = seconds(&text);
        if seconds.is_none() {
            notes.refuse(&backoff.path(key), &format!("{text:?} is no duration such as 30 or 1m30s: give one"));
        }
        seconds
    };
    let (initial, cap, max_duration) = (duration("duration").unwrap_or(0), duration("cap"), duration("maxDuration"));
    let factor = backoff.text("factor").unwrap_or_else(|| "1".into());
    let wait = match factor.as_str() {
        "0" | "1" => fixed(initial),
        factor => {
            let factor = factor.parse::<i64>().map_or_else(|_| Value::from(factor), Value::from);
            mapping([
                ("initialDelaySeconds", initial.into()),
                ("multiplier", factor),
                ("maxDelaySeconds", cap.unwrap_or(NO_CAP).max(initial).into()),
                ("jitter", none()),
            ])
        }
    };
    spec.insert("backoff".into(), wait.into());
    if let Some(seconds) = max_duration.filter(|seconds| *seconds > 0) {
        let text = "maxDuration ends the retries; activeDeadlineSeconds also ends an attempt that runs";
        notes.differs(&backoff.path("maxDuration"), Some("activeDeadlineSeconds"), text);
        spec.insert("activeDeadlineSeconds".into(), seconds.into());
    }
    backoff.refuse_rest(notes);
}

/// Seconds of a duration as Go writes it, or of a bare number; parts of a second count as one.
fn seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return (0..=NO_CAP).contains(&seconds).then_some(seconds);
    }
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = behind;
    }
    #[allow(clippy::cast_possible_truncation)] // checked just before
    (!text.is_empty() && total <= 31_536_000.0).then(|| total.ceil() as i64)
}

/// The exit codes for which an expression of plain comparisons holds.
fn codes(expression: &str) -> Option<Vec<i32>> {
    let any: Vec<Vec<Comparison>> = expression
        .split("||")
        .map(|all| all.split("&&").map(Comparison::parse).collect::<Option<Vec<_>>>())
        .collect::<Option<_>>()?;
    let holds = |code: &i32| any.iter().any(|all| all.iter().all(|one| one.holds(*code)));
    Some((NO_CODE..=255).filter(holds).collect())
}

/// `asInt(lastRetry.exitCode) > 1`
struct Comparison {
    operator: &'static str,
    number: i32,
}

impl Comparison {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // The longer ones first.
        let operator = ["==", "!=", ">=", "<=", ">", "<"].into_iter().find(|operator| text.contains(operator))?;
        let (left, right) = text.split_once(operator)?;
        let left = left.trim();
        let left = left.strip_prefix("asInt(").and_then(|inner| inner.strip_suffix(')')).unwrap_or(left);
        let number = right.trim().trim_matches(['"', '\'']).parse().ok()?;
        (left.trim() == "lastRetry.exitCode").then_some(Self { operator, number })
    }

    fn holds(&self, code: i32) -> bool {
        match self.operator {
            "==" => code == self.number,
            "!=" => code != self.number,
            ">=" => code >= self.number,
            "<=" => code <= self.number,
            ">" => code > self.number,
            _ => code < self.number,
        }
    }
}
