use super::*;
use crate::core::testing::{BuildTask, task_with};
use serde_json::json;

fn known(waits: &[(&str, &[&str])]) -> KnownTasks {
    let fact = |names: &[&str]| TaskFact { waits_for: owned(names), ..TaskFact::default() };
    waits.iter().map(|(name, names)| ((*name).to_owned(), Some(fact(names)))).collect()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_is_unknown_is_asked_for_level_by_level() {
    let first = owned(&["a", "b"]);
    assert_eq!(unknown("me", &first, &known(&[]), true), ["a", "b"]);
    let some = known(&[("a", &["c", "me"]), ("b", &["c"])]);
    assert_eq!(unknown("me", &first, &some, true), ["c"], "its own name is known");
    assert_eq!(unknown("me", &first, &some, false), [""; 0]);
    let mut chain = known(&[]);
    let mut asked = 0;
    loop {
        let next = unknown("me", &owned(&["n0"]), &chain, true);
        let [name] = next.as_slice() else { break };
        let number: usize = name[1..].parse().unwrap();
        chain.extend(known(&[(name, &[&format!("n{}", number + 1)])]));
        asked += 1;
    }
    assert_eq!(asked, 64, "a chain without end is not followed for ever");
}

#[test]
fn a_cycle_is_named_from_a_task_to_itself() {
    type Waits = &'static [(&'static str, &'static [&'static str])];
    let cases: [(Waits, Option<&str>); 5] = [
        (&[("a", &["me"])], Some("me a me")),
        (&[("a", &["b"]), ("b", &["c", "me"])], Some("me a b me")),
        (&[("a", &["b"]), ("b", &["a"])], None), // it is theirs
        (&[("a", &["b"]), ("b", &[])], None),
        (&[("b", &["me"])], None),
    ];
    for (waits, path) in cases {
        let found = cycle("me", &owned(&["a"]), &known(waits)).map(|path| path.join(" "));
        assert_eq!(found.as_deref(), path, "{waits:?}");
    }
}

#[test]
fn a_task_has_ended_unless_it_is_to_run_again() {
    let mut task = task_with(json!({"image": "x", "after": [{"task": "a"}, {"task": "b"}]}));
    let after = json!([{"task": "a", "condition": "Succeeded", "met": true}]);
    task.status = serde_json::from_value(json!({"after": after})).unwrap();
    assert_eq!((TaskFact::of(&task).waits_for, TaskFact::of(&task).end), (owned(&["b"]), None));
    let finished = json!({"type": "Finished", "status": "True", "reason": "Succeeded", "message": "m",
        "lastTransitionTime": "2026-11-22T10:00:07Z"});
    let complete = json!({"type": "Complete", "status": "True", "reason": "Succeeded", "message": "m",
        "lastTransitionTime": "2026-11-22T10:00:07Z"});
    let acknowledged =
        json!([{"annotation": ANNOTATION_RUN_AGAIN, "value": "1", "time": "2026-11-22T10:00:07Z", "effect": "e"}]);
    let status = json!({"conditions": [finished, complete], "result": "r", "acknowledged": acknowledged});
    task.status = serde_json::from_value(status).unwrap();
    let end = TaskEnd { succeeded: true, reason: "Succeeded".into(), message: "m".into(), result: Some("r".into()) };
    for (value, ended) in [("1", Some(end)), ("2", None)] {
        let task = task.clone().asked("run-again", value);
        assert_eq!(TaskFact::of(&task).end, ended, "{value}");
    }
}

#[test]
fn a_variable_has_the_name_of_its_task() {
    assert_eq!(result_variable("import-orders.2"), "RETRYABLE_AFTER_IMPORT_ORDERS_2_RESULT");
}
