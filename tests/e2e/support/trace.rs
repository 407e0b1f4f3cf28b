//! Makes the oracle's trace of one task, or of all tasks and queues of a scene, on the real cluster. The versions come from watches; who
//! made them and when comes from the audit log.

use super::audit::{Outcome, Request};
use super::record::SeenVersion;
use super::scene::Scene;
use crate::oracle::{Change, Trace, Write};
use jiff::Timestamp;
use retryable_tasks::api::FINALIZER;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The trace of these versions. With `refused` the test itself makes the API server refuse writes, so that these break no rule.
pub fn trace(scene: &Scene, sights: Vec<SeenVersion>, refused: bool) -> Trace {
    build(sights, scene.audit.of(&scene.namespace), &scene.operator_user(), refused)
}

/// As [`trace`], of these versions and requests.
fn build(sights: Vec<SeenVersion>, mut requests: Vec<Request>, operator: &str, refused: bool) -> Trace {
    let sights = in_order(sights);
    let start = sights.iter().filter_map(|sight| text(&sight.object, "creationTimestamp").parse().ok()).min().unwrap();
    let name = |sight: &SeenVersion| (kind_of(sight).to_owned(), text(&sight.object, "name").to_owned());
    let names: BTreeSet<(String, String)> = sights.iter().map(name).collect();
    // A creation that was refused before its body was read has no name: it counts, even if it was for another task.
    let of_interest = |kind: &str, r: &Request| {
        names.contains(&(kind.to_owned(), r.name.clone())) || r.is_nameless() && r.user == operator
    };
    requests.retain(|request| request.is_write() && kind(request).is_some_and(|kind| of_interest(kind, request)));
    requests.sort_by_key(|request| request.received);
    let makers = makers(&sights, &requests);

    let mut at = Duration::ZERO;
    let mut changes = Vec::new();
    let mut done: BTreeMap<usize, Duration> = BTreeMap::new();
    for (sight, maker) in sights.into_iter().zip(makers) {
        // A version is stored after its request was taken in, and after all versions before it.
        let received = maker.map(|maker| since(start, requests[maker].received));
        at = received.unwrap_or_default().max(at + Duration::from_nanos(1));
        done.extend(maker.map(|maker| (maker, at)));
        let by_operator = maker.is_some_and(|maker| requests[maker].user == operator);
        changes.push(Change { at, deleted: sight.deleted, object: Arc::new(sight.object), by_operator });
    }
    let ours = requests.iter().enumerate().filter(|(_, request)| request.user == operator);
    let writes = ours.map(|(index, request)| write(start, request, done.get(&index).copied(), refused));
    let end = at;
    Trace {
        start,
        processes: vec![],
        end,
        calm_since: Duration::MAX,
        changes,
        writes: writes.collect(),
        leaders: vec![],
        converged: true,
        own_namespace: String::new(),
        faultless: false,
        prompt: false,
        clock: vec![],
    }
}

/// Each version once, in the order in which they were stored: versions of all objects are numbered together.
fn in_order(mut sights: Vec<SeenVersion>) -> Vec<SeenVersion> {
    let version = |sight: &SeenVersion| text(&sight.object, "resourceVersion").parse::<u64>().unwrap();
    sights.sort_by_key(|sight| (version(sight), sight.deleted));
    sights.dedup_by_key(|sight| (version(sight), sight.deleted, text(&sight.object, "uid").to_owned()));
    sights
}

/// Which request made each version: the one that was answered with it. If there is none, one without an answer, or that
/// deleted the object, whose change matches. A request that changes nothing is answered with another writer's version.
fn makers(sights: &[SeenVersion], requests: &[Request]) -> Vec<Option<usize>> {
    let same = |request: &Request, sight: &SeenVersion| {
        kind(request) == Some(kind_of(sight)) && request.name == text(&sight.object, "name")
    };
    let befores = befores(sights);
    let answered = |(sight, before): (&SeenVersion, Option<&SeenVersion>)| {
        let version = text(&sight.object, "resourceVersion").parse::<u64>().ok();
        let makes = |r: &Request| r.resource != "pods" || does(r, before, sight);
        let of_version = |r: &Request| r.outcome() == Outcome::Done && r.version == version;
        requests.iter().position(|r| same(r, sight) && of_version(r) && makes(r))
    };
    let mut makers: Vec<Option<usize>> = sights.iter().zip(befores.iter().copied()).map(answered).collect();
    for (index, (sight, before)) in sights.iter().zip(befores).enumerate() {
        if makers[index].is_some() {
            continue;
        }
        let could = |(at, request): &(usize, &Request)| {
            let open = request.outcome() == Outcome::Unknown || sight.deleted && request.outcome() == Outcome::Done;
            open && !makers.contains(&Some(*at)) && same(request, sight) && does(request, before, sight)
        };
        makers[index] = requests.iter().enumerate().find(could).map(|(at, _)| at);
    }
    makers
}

/// The version of the same object before each.
fn befores(sights: &[SeenVersion]) -> Vec<Option<&SeenVersion>> {
    let mut last: BTreeMap<&str, &SeenVersion> = BTreeMap::new();
    sights.iter().map(|sight| last.insert(text(&sight.object, "uid"), sight)).collect()
}

/// Whether the request does to an object what was done between these versions.
fn does(request: &Request, before: Option<&SeenVersion>, after: &SeenVersion) -> bool {
    let with_finalizer = |sight: &SeenVersion| {
        let finalizers = sight.object["metadata"]["finalizers"].as_array();
        !sight.deleted && finalizers.is_some_and(|list| list.iter().any(|finalizer| finalizer == FINALIZER))
    };
    let deleted = |sight: &SeenVersion| sight.deleted || !text(&sight.object, "deletionTimestamp").is_empty();
    let Some(before) = before else { return request.verb == "create" };
    match request.verb.as_str() {
        "patch" => match request.sent.as_ref().and_then(deadline) {
            Some(set) => deadline(&before.object) != Some(set) && deadline(&after.object) == Some(set),
            None => with_finalizer(before) && !with_finalizer(after),
        },
        "delete" => !deleted(before) && deleted(after) || after.deleted,
        "update" => before.object["status"] != after.object["status"],
        _ => false,
    }
}

/// The deadline that a Pod has, or that a patch gives it.
fn deadline(object: &Value) -> Option<i64> {
    object["spec"]["activeDeadlineSeconds"].as_i64()
}

fn write(start: Timestamp, request: &Request, done: Option<Duration>, refused: bool) -> Write {
    let (code, changed) = (u16::try_from(request.code).unwrap_or_default(), done.is_some());
    Write {
        called: since(start, request.received),
        done,
        verb: request.verb.clone(),
        kind: kind(request).unwrap_or_default(),
        object: format!("{}/{}", request.namespace, request.name),
        body: body(request, code, changed),
        code,
        changed,
        faulty: refused || request.outcome() == Outcome::Unknown,
        by: 0,
    }
}

/// What was sent, as far as the log tells. It has no body where none was sent, and none where the API server answered before
/// it read the body: a request that it does not authenticate, that it forbids, that is too large, that is one too many, that
/// ran out of time. Only one that was carried out, or that the resource's own handler refused, was read for certain.
fn body(request: &Request, code: u16, changed: bool) -> Option<Value> {
    let was_read = changed || matches!(code, 200..300 | 404 | 409 | 410 | 422);
    request.sent.clone().or_else(|| was_read.then_some(Value::Null))
}

/// The kind of the object that a request is about, of those that matter here.
fn kind(request: &Request) -> Option<&'static str> {
    match request.resource.as_str() {
        "retryabletasks" | "retryabletasks/status" => Some("RetryableTask"),
        "taskqueues" | "taskqueues/status" => Some("TaskQueue"),
        "pods" => Some("Pod"),
        _ => None,
    }
}

fn kind_of(sight: &SeenVersion) -> &str {
    sight.object["kind"].as_str().unwrap_or_default()
}

fn since(start: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(start)).unwrap_or_default()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
