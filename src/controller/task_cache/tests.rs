use super::*;
use crate::core::testing::{at, task};
use crate::telemetry::metrics::Metrics;
use serde_json::json;

fn cached(name: &str, version: u64) -> CachedTask {
    let mut task = json!(task());
    task["metadata"]["name"] = name.into();
    task["metadata"]["resourceVersion"] = version.to_string().into();
    serde_json::from_value(task).unwrap()
}

fn key(name: &str) -> TaskKey {
    cached(name, 1).key()
}

fn resting(cache: &TaskCache, name: &str) -> Option<FinishedTask> {
    match cache.get(&key(name)) {
        Cached::Known(KnownTask::AtRest(finished)) => Some(finished),
        Cached::Known(KnownTask::Whole(_) | KnownTask::Uncertain(_)) | Cached::Absent | Cached::NotListed => None,
    }
}

fn is_whole(cache: &TaskCache, name: &str) -> bool {
    matches!(cache.get(&key(name)), Cached::Known(KnownTask::Whole(_)))
}

const FOR_EVER: AtRest = AtRest { expires: None };

fn until(seconds: i64) -> AtRest {
    AtRest { expires: Some(at(seconds)) }
}

#[test]
fn a_list_removes_what_it_does_not_show() {
    let cache = TaskCache::default();
    cache.begin_list();
    for name in ["stays", "goes", "rests", "rests-and-goes"] {
        cache.show(cached(name, 1), name.starts_with("rests").then_some(FOR_EVER));
    }
    assert_eq!(cache.end_list(), []);
    cache.begin_list();
    cache.show(cached("stays", 1), None);
    assert!(cache.still_rests(&key("rests"), 1));
    assert_eq!(cache.end_list(), [key("goes"), key("rests-and-goes")]);
    assert!(is_whole(&cache, "stays") && resting(&cache, "rests").is_some());
    assert!(matches!(cache.get(&key("goes")), Cached::Absent));
}

#[test]
fn a_list_that_breaks_off_removes_nothing() {
    let cache = TaskCache::default();
    cache.begin_list();
    cache.show(cached("a", 1), None);
    cache.end_list();
    cache.begin_list();
    cache.begin_list();
    cache.show(cached("a", 1), None);
    assert_eq!(cache.end_list(), []);
}

#[test]
fn no_task_is_absent_before_a_list_says_so() {
    let cache = TaskCache::default();
    cache.begin_list();
    for name in ["shown", "resting", "gone"] {
        assert!(matches!(cache.get(&key(name)), Cached::NotListed), "{name}");
    }
    cache.show(cached("shown", 1), None);
    cache.show(cached("resting", 1), Some(FOR_EVER));
    assert_eq!(cache.end_list(), [key("gone")], "its Pods may have the finalizer");
    assert!(matches!(cache.get(&key("gone")), Cached::Absent));
}

#[test]
fn only_the_version_that_was_reconciled_is_held_as_one_at_rest() {
    let cache = TaskCache::default();
    assert!(!cache.rest(&key("a"), ("uid", 1), FOR_EVER), "it is deleted");
    cache.show(cached("a", 2), None);
    for (version, rests) in [(1, false), (3, false), (0, false), (2, true)] {
        assert_eq!(cache.rest(&key("a"), ("uid", version), until(5)), rests, "version {version}");
        assert_eq!(resting(&cache, "a").is_some(), rests, "version {version}");
    }
    assert_eq!(resting(&cache, "a"), Some(FinishedTask { uid: "uid".into(), expires: Some(at(5)) }));
    assert!(!cache.still_rests(&key("a"), 3));
    cache.show(cached("a", 3), None);
    assert!(is_whole(&cache, "a"));
    assert!(!cache.still_rests(&key("a"), 3), "it is held whole");
    assert_eq!(cache.next_expiry(), None, "who has work left has no time to live");
}

#[test]
fn a_task_without_a_version_is_never_taken_for_the_one_that_rests() {
    let cache = TaskCache::default();
    cache.show(cached("a", 0), Some(FOR_EVER));
    assert!(!cache.still_rests(&key("a"), 0));
}

#[test]
fn what_expires_is_returned_once_in_its_order() {
    let cache = TaskCache::default();
    for (name, version, seconds) in [("b", 1, 20), ("a", 1, 10), ("c", 1, 30), ("d", 1, 5)] {
        cache.show(cached(name, version), Some(until(seconds)));
    }
    cache.show(cached("a", 2), Some(until(40)));
    cache.remove(&key("d"), 1);
    assert_eq!((cache.next_expiry(), cache.take_expired(at(9))), (Some(at(20)), vec![]));
    assert_eq!(cache.take_expired(at(30)), [key("b"), key("c")]);
    assert_eq!(cache.take_expired(at(30)), []);
    cache.expire_later(&key("b"));
    assert!(cache.still_rests(&key("c"), 1), "a list shows it once more");
    assert_eq!(cache.take_expired(at(50)), [key("b"), key("c"), key("a")]);
}

#[test]
fn an_answer_removes_only_the_task_at_rest_that_it_is_about() {
    let cache = TaskCache::default();
    cache.show(cached("a", 1), Some(FOR_EVER));
    let uid = cached("a", 1).uid().unwrap();
    assert!(!cache.remove_gone(&key("a"), "another"));
    assert!(cache.remove_gone(&key("a"), &uid));
    assert!(!cache.remove_gone(&key("a"), &uid));
    cache.show(cached("a", 2), None);
    assert!(!cache.remove_gone(&key("a"), &uid), "the watch has shown it since");
}

fn is_uncertain(cache: &TaskCache, name: &str) -> bool {
    matches!(cache.get(&key(name)), Cached::Known(KnownTask::Uncertain(_)))
}

#[test]
fn unfinished_tasks_are_known_before_the_list_of_all_is_complete() {
    let cache = TaskCache::default();
    assert!(matches!(cache.get(&key("asked-for")), Cached::NotListed));
    for name in ["asked-for", "edited", "finished", "created-later", "deleted"] {
        assert!(cache.show_unfinished(cached(name, 5)));
    }
    cache.begin_list();
    cache.show(cached("asked-for", 5), None);
    cache.show(cached("edited", 5), None);
    assert!(cache.show_unfinished(cached("edited", 7)));
    assert!(!cache.show_unfinished(cached("edited", 6)), "that is older");
    cache.show(cached("finished", 6), Some(FOR_EVER));
    assert!(cache.doubt_unfinished(&key("deleted"), 8));
    assert!(!cache.doubt_unfinished(&key("finished"), 6), "the list has shown it since");
    assert!(is_uncertain(&cache, "deleted"));
    assert_eq!(cache.end_list(), [key("created-later"), key("deleted")]);
    assert!(["created-later", "deleted"].into_iter().all(|name| is_uncertain(&cache, name)), "the API server knows");
    assert!(is_whole(&cache, "asked-for") && is_whole(&cache, "edited") && resting(&cache, "finished").is_some());
    assert!(!cache.show_unfinished(cached("deleted", 9)), "from now on the watch of all tasks decides");
    cache.show(cached("created-later", 5), None);
    assert!(is_whole(&cache, "created-later"));
    assert!(cache.remove_gone(&key("deleted"), &cached("deleted", 1).uid().unwrap()));
}

#[test]
fn a_list_that_is_behind_replaces_nothing_that_is_newer() {
    let cache = TaskCache::default();
    assert!(cache.show_unfinished(cached("runs-again", 9)));
    cache.begin_list();
    cache.show(cached("runs-again", 8), Some(FOR_EVER));
    assert!(is_whole(&cache, "runs-again"));
    assert_eq!(cache.end_list(), [], "the list has shown it");
    cache.show(cached("runs-again", 8), Some(FOR_EVER));
    cache.remove(&key("runs-again"), 8);
    assert!(is_whole(&cache, "runs-again"), "nor does the watch that follows it");
    cache.show(cached("runs-again", 9), Some(FOR_EVER));
    cache.show(cached("runs-again", 3), None);
    assert!(is_whole(&cache, "runs-again"), "from now on what it shows counts");
    cache.remove(&key("runs-again"), 3);
    assert!(matches!(cache.get(&key("runs-again")), Cached::Absent));
}

/// As [`cached`], in that state.
fn in_state(name: &str, version: u64, state: &str) -> CachedTask {
    let mut task = json!(task());
    task["metadata"]["name"] = name.into();
    task["metadata"]["resourceVersion"] = version.to_string().into();
    task["status"] = json!({"attempts": 1, "state": state});
    serde_json::from_value(task).unwrap()
}

/// The states in which tasks are counted, with their numbers.
fn counted(metrics: &Metrics) -> Vec<String> {
    let text = metrics.encode().unwrap();
    let lines = text.lines().filter(|line| line.starts_with("retryabletask_tasks{") && !line.ends_with(" 0"));
    lines.map(|line| line.split_once("state=").unwrap().1.replace(['"', '}'], "")).collect()
}

#[test]
fn each_task_is_counted_once_in_its_state() {
    let metrics = Metrics::default();
    let cache = TaskCache::new(metrics.task_counts().clone());
    assert!(cache.show_unfinished(in_state("early", 1, "Running")));
    assert!(cache.show_unfinished(in_state("gone", 1, "Waiting")));
    assert_eq!(counted(&metrics), ["Running 1", "Waiting 1"]);
    cache.begin_list();
    cache.show(in_state("early", 1, "Running"), None);
    cache.show(in_state("done", 1, "Failed"), Some(FOR_EVER));
    cache.show(in_state("running", 1, "Running"), None);
    assert_eq!(cache.end_list(), [key("gone")]);
    assert_eq!(counted(&metrics), ["Running 2", "Failed 1"], "one is uncertain");
    cache.show(in_state("running", 2, "Succeeded"), None);
    assert!(cache.rest(&key("running"), ("uid", 2), FOR_EVER));
    assert!(cache.still_rests(&key("running"), 2));
    assert_eq!(counted(&metrics), ["Running 1", "Succeeded 1", "Failed 1"]);
    cache.remove(&key("early"), 1);
    cache.begin_list();
    assert_eq!(cache.end_list().len(), 3);
    assert_eq!(counted(&metrics), Vec::<String>::new(), "a list no longer has them");
    cache.show(in_state("again", 9, "Cancelled"), Some(FOR_EVER));
    drop(cache);
    assert_eq!(counted(&metrics), Vec::<String>::new(), "the controller has ended");
}

#[test]
fn a_pending_task_is_counted_as_long_as_it_is_pending() {
    let metrics = Metrics::default();
    let cache = TaskCache::new(metrics.task_counts().clone());
    let is_pending = || {
        let text = metrics.encode().unwrap();
        let line = text.lines().find(|line| line.starts_with("retryabletask_oldest_pending_seconds{")).unwrap();
        !line.ends_with(" 0")
    };
    cache.show(in_state("a", 1, "Pending"), None);
    assert!(is_pending());
    cache.show(in_state("a", 2, "Pending"), None);
    assert!(is_pending());
    cache.show(in_state("a", 3, "Running"), None);
    assert!(!is_pending());
}
