use super::*;
use serde_json::{Value, json};

fn task(name: &str, generation: i64, after: &[&str], status: &Value) -> CachedTask {
    let after: Vec<Value> = after.iter().map(|name| json!({"task": name})).collect();
    let metadata = json!({"name": name, "namespace": "n", "uid": format!("{name}-uid"), "generation": generation});
    serde_json::from_value(json!({"metadata": metadata, "spec": {"image": "x", "after": after}, "status": status}))
        .unwrap()
}

fn named(names: &[TaskKey]) -> String {
    names.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn finished() -> Value {
    json!({"startTime": "2026-11-22T10:00:07Z", "conditions": [{"type": "Finished", "status": "True"}]})
}

#[test]
fn who_waits_is_woken_by_what_may_matter_and_by_nothing_else() {
    let dependents = Dependents::default();
    let apply = |task: CachedTask| named(&dependents.apply(&Event::Apply(task)));
    assert_eq!(apply(task("report", 1, &["import", "clean"], &json!({}))), "");
    assert_eq!(apply(task("import", 1, &[], &json!({}))), "report", "it has come");
    assert_eq!(apply(task("import", 1, &[], &json!({"current": {"number": 1}}))), "", "its attempts do not matter");
    assert_eq!(apply(task("import", 2, &[], &json!({}))), "report", "it may wait for others now");
    assert_eq!(apply(task("import", 2, &[], &finished())), "report");
    assert_eq!(apply(task("other", 1, &[], &finished())), "");
    let deleted = dependents.apply(&Event::Delete(task("import", 2, &[], &finished())));
    assert_eq!(named(&deleted), "report", "it is gone");
}

#[test]
fn who_waits_for_a_task_to_which_nothing_happens_is_woken_by_its_deletion() {
    let dependents = Dependents::default();
    let import = || task("import", 1, &[], &json!({}));
    dependents.apply(&Event::Apply(import()));
    dependents.apply(&Event::Apply(task("report", 1, &["import"], &json!({}))));
    assert_eq!(named(&dependents.apply(&Event::Delete(import()))), "report");
}

#[test]
fn a_task_is_awaited_until_who_waits_has_begun_has_ended_or_is_gone() {
    let import = TaskKey { namespace: "n".into(), name: "import".into() };
    let begun = json!({"startTime": "2026-11-22T10:00:07Z"});
    let report = |status: &Value| task("report", 1, &["import"], status);
    let ends = [Event::Apply(report(&begun)), Event::Apply(report(&finished())), Event::Delete(report(&json!({})))];
    for end in ends {
        let dependents = Dependents::default();
        dependents.apply(&Event::Apply(report(&json!({}))));
        assert!(dependents.is_awaited(&import));
        assert_eq!(named(&dependents.apply(&end)), "import", "its time to live may be over");
        assert!(!dependents.is_awaited(&import));
    }
    let again = json!({"run": {"number": 2, "firstAttempt": 2}, "attempts": 1, "history": [{}]});
    let dependents = Dependents::default();
    dependents.apply(&Event::Apply(report(&again)));
    assert!(dependents.is_awaited(&import), "a task that is run again waits again");
}

#[test]
fn what_a_new_list_lacks_is_gone() {
    let dependents = Dependents::default();
    let list = |tasks: &[&CachedTask]| {
        dependents.apply(&Event::Init);
        let of_tasks = tasks.iter().flat_map(|task| dependents.apply(&Event::InitApply((*task).clone())));
        let of_tasks: Vec<_> = of_tasks.collect();
        named(&[of_tasks, dependents.apply(&Event::InitDone)].concat())
    };
    let (import, report) = (task("import", 1, &[], &json!({})), task("report", 1, &["import"], &json!({})));
    assert_eq!(list(&[&import, &report]), "", "they are reconciled because they are listed");
    assert_eq!(list(&[&import, &report]), "report", "it is seen for the first time");
    assert_eq!(list(&[&import, &report]), "");
    assert_eq!(list(&[&report]), "report");
    assert_eq!(list(&[&import]), "report import");
    assert!(!dependents.is_awaited(&TaskKey { namespace: "n".into(), name: "import".into() }));
}

#[tokio::test(start_paused = true)]
async fn the_name_of_a_run_stays_taken_while_its_creation_may_come_again() {
    let dependents = Dependents::default();
    let key = |name: &str| TaskKey { namespace: "n".into(), name: name.into() };
    let pass = async |seconds| tokio::time::advance(Duration::from_secs(seconds)).await;
    assert!(dependents.may_be_created(&key("nightly-1")), "an earlier process may have requested it");
    pass(20).await;
    assert!(!dependents.may_be_created(&key("nightly-1")));
    dependents.run_recorded(key("nightly-2"));
    pass(19).await;
    assert!(dependents.may_be_created(&key("nightly-2")) && !dependents.may_be_created(&key("nightly-1")));
    pass(1).await;
    assert!(!dependents.may_be_created(&key("nightly-2")));
}
