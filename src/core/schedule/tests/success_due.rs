//! By when a run should have succeeded.

use super::world::{World, moment};
use crate::core::schedule::{RunResult, success_due, timetable};
use serde_json::json;

fn every_hour(fields: serde_json::Value) -> World {
    let mut all = json!({"schedule": "0 * * * *"});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    World::new(all, "10:00:30")
}

fn due(world: &World) -> Option<String> {
    success_due(&world.schedule).map(|due| due.to_string()[11..19].to_owned())
}

#[test]
fn it_is_the_second_time_after_the_last_success() {
    let mut world = every_hour(json!({}));
    assert_eq!(due(&world).as_deref(), Some("12:00:00"), "one that has never succeeded counts from its creation");
    world.at("11:00:00");
    world.now = moment("2026-11-22T11:05:00Z");
    world.end(RunResult::Failed);
    assert_eq!(due(&world).as_deref(), Some("12:00:00"), "a failure changes nothing");
    world.at("12:00:00");
    world.now = moment("2026-11-22T12:05:00Z");
    world.end(RunResult::Succeeded);
    assert_eq!(due(&world).as_deref(), Some("14:00:00"));
}

#[test]
fn days_without_a_time_do_not_count() {
    // 22 November 2026 is a Sunday.
    let world = World::new(json!({"schedule": "0 2 * * FRI"}), "10:00:30");
    assert_eq!(success_due(&world.schedule), Some(moment("2026-12-04T02:00:00Z")));
}

#[test]
fn a_run_that_starts_late_on_purpose_is_due_later() {
    let world = every_hour(json!({"splaySeconds": 600}));
    let late = success_due(&world.schedule).unwrap().duration_since(moment("2026-11-22T12:00:00Z"));
    assert_eq!(late, timetable(&world.schedule).unwrap().splay());
}

#[test]
fn who_deploys_each_day_is_told_all_the_same() {
    let mut world = every_hour(json!({}));
    world.now = moment("2026-11-22T11:30:00Z");
    world.edit(json!({"template": {"spec": {"image": "other"}}}));
    world.look();
    assert_eq!(due(&world).as_deref(), Some("12:00:00"), "an edit of the template changes nothing");
    world.now = moment("2026-11-22T12:30:00Z");
    world.touch();
    world.annotate("trigger", "1");
    assert_eq!(due(&world).as_deref(), Some("12:00:00"), "nor does a label or an annotation");
}

#[test]
fn an_edit_of_the_times_counts_since_the_last_success() {
    let mut world = every_hour(json!({}));
    world.now = moment("2026-11-22T14:30:00Z");
    world.edit(json!({"schedule": "30 * * * *"}));
    world.look();
    assert_eq!(due(&world).as_deref(), Some("11:30:00"));
}

#[test]
fn the_end_of_a_pause_gives_it_time() {
    let mut world = every_hour(json!({"pauseAfterFailures": 1}));
    world.at("11:00:00").end(RunResult::Failed);
    assert_eq!(due(&world), None, "it is paused");
    world.now = moment("2026-11-22T18:30:00Z");
    world.annotate("resume", "1");
    assert_eq!(due(&world).as_deref(), Some("20:00:00"));
    let paused = world.schedule.status.unwrap().conditions.into_iter().find(|known| known.type_ == "Paused").unwrap();
    assert_eq!((&*paused.status, &*paused.reason), ("False", "Resumed"));
}

#[test]
fn nothing_is_due_while_no_time_starts_a_run_nor_right_after_that() {
    let mut world = every_hour(json!({"pauseAfterFailures": 1}));
    world.now = moment("2026-11-22T10:30:00Z");
    world.edit(json!({"suspend": true}));
    world.at("10:30:01");
    assert_eq!(due(&world), None);
    world.now = moment("2026-11-22T18:30:00Z");
    world.edit(json!({"suspend": false}));
    world.at("18:30:01");
    assert_eq!(due(&world).as_deref(), Some("20:00:00"));
    world.at("19:00:00").end(RunResult::Failed);
    assert_eq!(due(&world), None, "it is paused");
    world.schedule.spec.schedule = Some("nonsense".into());
    world.schedule.spec.pause_after_failures = 0;
    world.look();
    assert_eq!(due(&world), None, "it has no times");
}
