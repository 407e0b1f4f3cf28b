//! Requests by annotation.

use super::world::{World, moment};
use crate::core::schedule::RunResult;
use serde_json::json;

#[test]
fn a_trigger_follows_overlap() {
    let effect = |overlap: &str| {
        let mut world = World::new(json!({"schedule": "0 * * * *", "overlap": overlap}), "10:00:30");
        world.annotate("trigger", "1");
        let effect = world.annotate("trigger", "2");
        let names: Vec<&str> = world.runs.iter().map(|run| &*run.name).collect();
        let effect = effect.replace(names[0], "FIRST").replace(names.get(1).unwrap_or(&"-"), "SECOND");
        (effect, world.created.len())
    };
    assert_eq!(effect("Skip"), ("no effect: FIRST has not ended (overlap Skip)".into(), 1));
    assert_eq!(effect("Allow"), ("SECOND starts".into(), 2));
    for (overlap, words) in [("Queue", " waits for the end of FIRST"), ("Replace", " replaces FIRST")] {
        let (effect, created) = effect(overlap);
        assert!(effect.ends_with(words) && created == 1, "{overlap}: {effect}");
    }
}

#[test]
fn a_value_is_heard_once() {
    let mut world = World::new(json!({"schedule": "0 * * * *"}), "10:00:30");
    world.annotate("trigger", "1");
    world.end(RunResult::Succeeded);
    world.look();
    assert_eq!(world.created.len(), 1);
    world.now = moment("2026-11-22T10:20:00Z");
    world.annotate("trigger", "2");
    assert_eq!(world.created.len(), 2);
}

#[test]
fn a_requested_run_that_is_refused_holds_nothing_up() {
    let refused = || {
        let mut world = World::new(json!({"schedule": "0 * * * *"}), "10:00:30");
        world.rejects = Some("spec.maxRetries: Invalid value: 9999");
        world.annotate("trigger", r#"{"maxRetries": 9999}"#);
        assert!(
            world.condition("Stalled").unwrap().ends_with("cannot be created: spec.maxRetries: Invalid value: 9999")
        );
        world.rejects = None;
        world
    };
    let mut world = refused();
    let effect = world.annotate("trigger", r#"{"maxRetries": 9}"#);
    assert!(effect.ends_with(" starts"), "another request takes its place: {effect}");
    assert_eq!((world.created.len(), world.condition("Stalled")), (1, None));
    let mut world = refused();
    world.rejects = Some("spec.maxRetries: Invalid value: 9999");
    world.at("10:59:30");
    world.rejects = None;
    world.at("11:00:00");
    assert_eq!(
        (world.times().join(" "), world.status().skipped.rejected),
        ("11:00".into(), 0),
        "so does the next time"
    );
}

#[test]
fn a_trigger_without_effect_says_what_keeps_the_other_from_starting() {
    let mut world = World::new(json!({"schedule": "0 * * * *"}), "10:00:30");
    (world.rejects, world.is_in_doubt) = (Some("the request timed out"), true);
    world.annotate("trigger", "1");
    let first = world.status().creating.unwrap().name;
    let effect = world.annotate("trigger", "2");
    assert_eq!(effect, format!("no effect: {first} is still to be created: the request timed out (overlap Skip)"));
}

#[test]
fn a_trigger_works_while_the_schedule_is_suspended_or_paused() {
    let mut world = World::new(json!({"schedule": "* * * * *", "suspend": true}), "10:00:30");
    world.annotate("trigger", "1");
    world.at("10:02:00");
    assert_eq!(world.created.len(), 1);
    let mut world = World::new(json!({"schedule": "* * * * *", "pauseAfterFailures": 1}), "10:00:30");
    world.at("10:01:00").end(RunResult::Failed);
    world.annotate("trigger", "1");
    assert!(world.condition("Paused").is_some());
    world.end(RunResult::Succeeded);
    assert_eq!(world.condition("Paused"), None, "a success ends the pause");
    assert_eq!(world.at("10:02:00").created.len(), 3);
}

#[test]
fn what_makes_no_sense_says_so() {
    let mut world = World::new(json!({"schedule": "0 * * * *"}), "10:00:30");
    for (annotation, value, expected) in [
        ("resume", "1", "no effect: the schedule is not paused"),
        ("trigger", "{\"args\": [", "no effect: the value begins like JSON and is none: "),
        ("trigger", "{\"maxRetries\": \"many\"}", "no effect: the task with these changes is invalid: "),
        ("backfill", "yesterday", "no effect: \"yesterday\" is no interval: give two dates or two times"),
        ("backfill", "2026-11-03/2026-11-01", "no effect: \"2026-11-03/2026-11-01\" ends before it begins"),
        ("backfill", "2020-01-01/2026-11-01", "no effect: 2020-01-01/2026-11-01 has more than 1000 times"),
        ("backfill", "2030-01-01/2031-11-01", "no effect: the schedule had no time in"),
        ("backfill", "stop", "no effect: no backfill is going on"),
        ("triger", "1", "unknown annotation retryable.dev/triger, which does nothing: known are"),
    ] {
        let effect = world.annotate(annotation, value);
        assert!(effect.starts_with(expected), "{annotation} {value}: {effect}");
    }
    assert_eq!(world.created.len(), 0);
    let hint = world.status().acknowledged.into_iter().find(|known| known.annotation.ends_with("triger")).unwrap();
    assert!(hint.effect.ends_with("did you mean retryable.dev/trigger?"), "{}", hint.effect);
}
