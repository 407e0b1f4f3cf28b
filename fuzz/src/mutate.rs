//! Mutations after which the input is still JSON, so that most of them pass the parser.

use serde_json::{Value, json};

/// A simple random number generator with a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % n.max(1)
    }
}

/// Changes a few values of the JSON in `data`. Every fourth time, and if `data` is not JSON, libFuzzer changes bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed) | 1 << 40);
    let parsed = data.get(..size).and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let Some(mut value) = parsed.filter(|_| random.below(4) > 0) else {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    };
    for _ in 0..=random.below(3) {
        let nodes = count(&value);
        let donor = nth(&value, random.below(nodes)).cloned().unwrap_or_default();
        let mut place = random.below(nodes);
        change(&mut value, &mut place, &mut random, &donor);
    }
    let bytes = value.to_string().into_bytes();
    match data.get_mut(..bytes.len()).filter(|_| bytes.len() <= max_size) {
        Some(target) => {
            target.copy_from_slice(&bytes);
            bytes.len()
        }
        None => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn count(value: &Value) -> usize {
    1 + children(value).into_iter().map(count).sum::<usize>()
}

fn nth(value: &Value, mut n: usize) -> Option<&Value> {
    if n == 0 {
        return Some(value);
    }
    n -= 1;
    for child in children(value) {
        let inside = count(child);
        if n < inside {
            return nth(child, n);
        }
        n -= inside;
    }
    None
}

/// Changes the value that is `place` steps ahead, in the order of [`nth`].
fn change(value: &mut Value, place: &mut usize, random: &mut Random, donor: &Value) -> bool {
    if *place == 0 {
        edit(value, random, donor);
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(list) => list.iter_mut().any(|child| change(child, place, random, donor)),
        Value::Object(map) => map.values_mut().any(|child| change(child, place, random, donor)),
        _ => false,
    }
}

fn edit(value: &mut Value, random: &mut Random, donor: &Value) {
    match (random.below(6), &mut *value) {
        (0, Value::Array(list)) if !list.is_empty() => {
            let n = random.below(list.len());
            if random.below(2) == 0 { drop(list.remove(n)) } else { list.push(list[n].clone()) }
        }
        (0, Value::Object(map)) if !map.is_empty() => {
            let key = map.keys().nth(random.below(map.len())).cloned().unwrap_or_default();
            map.remove(&key);
        }
        (1, Value::Array(list)) => list.push(donor.clone()),
        (1 | 2, Value::Object(map)) => {
            let field = FIELDS[random.below(FIELDS.len())];
            let filling = if random.below(2) == 0 { some(random) } else { donor.clone() };
            map.insert(field.into(), filling);
        }
        (1..=3, Value::Number(number)) => {
            let by = [-1, 1, 60, -60][random.below(4)];
            *value = json!(number.as_i64().unwrap_or(0).saturating_add(by));
        }
        (1 | 2, Value::String(text)) => {
            let piece = TEXTS[random.below(TEXTS.len())];
            let at = random.below(text.chars().count() + 1);
            let (head, tail): (String, String) = (text.chars().take(at).collect(), text.chars().skip(at).collect());
            *text = format!("{head}{piece}{}", if random.below(2) == 0 { tail } else { String::new() });
        }
        (4, _) => *value = donor.clone(),
        _ => *value = some(random),
    }
}

fn some(random: &mut Random) -> Value {
    const NUMBERS: [i64; 14] =
        [0, 1, 2, -1, 9, 100, 137, 143, 255, 3600, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN];
    match random.below(8) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 | 3 => json!(NUMBERS[random.below(NUMBERS.len())]),
        4 => json!([]),
        5 => json!({}),
        _ => json!(TEXTS[random.below(TEXTS.len())]),
    }
}

/// Parts of texts: words with a meaning somewhere, and characters that nobody should have to print.
const TEXTS: &[&str] = &[
    "",
    "task",
    "proxy",
    "True",
    "False",
    "Succeeded",
    "Failed",
    "Running",
    "Pending",
    "Error",
    "OOMKilled",
    "Evicted",
    "Completed",
    "ImagePullBackOff",
    "Unschedulable",
    "DisruptionTarget",
    "PodScheduled",
    "Ready",
    "Always",
    "Never",
    "Retry",
    "Ignore",
    "Fail",
    "Fixed",
    "Linear",
    "Exponential",
    "Fibonacci",
    "List",
    "Full",
    "None",
    "Proportional",
    "1.5",
    "64-78",
    "SIGKILL",
    "64Mi",
    "16Ei",
    "1e9",
    "0",
    "-1",
    "2026-11-22T10:00:00Z",
    "2026-11-22T10:00:09.5Z",
    "0001-01-01T00:00:00Z",
    "9999-12-30T22:00:00Z",
    "(?i)x+",
    "(a*)*$",
    "[",
    "\u{1b}[31m",
    "\u{1b}]0;x\u{7}",
    "\n",
    "\u{202e}",
    "\u{200f}\u{2066}\u{2028}\u{feff}",
    "\u{0}",
    "<&>",
    "\\",
    "\"",
    "ä…🦀",
    "$(RETRYABLE_ATTEMPT)",
    "retryable.dev/attempt",
    "maxRetries",
    "disruption",
    "outOfMemory",
    "startup",
    "{\"doNotRetry\":true}",
    "{\"retryAfterSeconds\":9}",
    "{\"errorTypes\":[\"x\",\"y\"],\"errorType\":\"x\",\"message\":\"y\",\"result\":{}}",
    "in-its-way-with-a-rather-long-name-that-goes-on-and-on-and-on",
];

/// Names of fields, of tasks, Pods and their status.
const FIELDS: &[&str] = &[
    "spec",
    "status",
    "metadata",
    "name",
    "labels",
    "annotations",
    "image",
    "command",
    "args",
    "env",
    "envFrom",
    "resources",
    "limits",
    "requests",
    "memory",
    "template",
    "containers",
    "initContainers",
    "restartPolicy",
    "maxRetries",
    "backoff",
    "strategy",
    "initialDelaySeconds",
    "multiplier",
    "maxDelaySeconds",
    "delaysSeconds",
    "jitter",
    "mode",
    "percent",
    "rules",
    "when",
    "exitCodes",
    "notExitCodes",
    "signals",
    "reasons",
    "errorTypes",
    "startAt",
    "2026-12-01T06:00:00+01:00",
    "queue",
    "priority",
    "fairnessKey",
    "maxWaitSeconds",
    "podConditions",
    "message",
    "preset",
    "action",
    "budgets",
    "disruptions",
    "startup",
    "outOfMemory",
    "onOutOfMemory",
    "memoryMultiplier",
    "maxMemory",
    "overrides",
    "fromAttempt",
    "nodeSelector",
    "tolerations",
    "avoidFailedNodes",
    "onFailure",
    "timeoutSeconds",
    "attemptTimeoutSeconds",
    "activeDeadlineSeconds",
    "startupTimeoutSeconds",
    "suspend",
    "ttlSecondsAfterFinished",
    "podRetention",
    "failed",
    "succeeded",
    "historyLimit",
    "phase",
    "reason",
    "conditions",
    "type",
    "lastTransitionTime",
    "containerStatuses",
    "initContainerStatuses",
    "state",
    "terminated",
    "running",
    "waiting",
    "exitCode",
    "signal",
    "startedAt",
    "finishedAt",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "creationTimestamp",
    "finalizers",
    "ownerReferences",
    "attempts",
    "retries",
    "ignored",
    "current",
    "number",
    "podName",
    "podUID",
    "dueTime",
    "nextCreateTime",
    "createTime",
    "rejections",
    "stopReason",
    "stopTime",
    "fallback",
    "run",
    "firstAttempt",
    "classes",
    "count",
    "history",
    "attempt",
    "delayMilliseconds",
    "nodeName",
    "lastFailure",
    "startTime",
    "completionTime",
    "suspendedTime",
    "suspendedMilliseconds",
    "memoryRaises",
    "historyDropped",
    "acknowledged",
    "pods",
    "task",
];
