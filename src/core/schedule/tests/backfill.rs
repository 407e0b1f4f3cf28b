//! Backfills, and what the API server refuses of them.

use super::world::World;
use crate::core::schedule::{RunResult, Transition};
use serde_json::json;

const INTERVAL: &str = "2026-11-22T06:00:00Z/2026-11-22T08:00:00Z";

fn every_hour(fields: serde_json::Value) -> World {
    let mut all = json!({"schedule": "0 * * * *"});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    World::new(all, "10:00:30")
}

/// The API server refuses whatever the backfill creates.
fn refused(fields: serde_json::Value) -> World {
    let mut world = every_hour(fields);
    world.rejects = Some("denied by the policy");
    world.annotate("backfill", INTERVAL);
    assert!(world.condition("Stalled").unwrap().ends_with("cannot be created: denied by the policy"));
    world
}

#[test]
fn a_backfill_of_days_is_in_the_schedules_zone() {
    let mut world = World::new(json!({"schedule": "30 2 * * *", "timeZone": "Europe/Stockholm"}), "10:00:30");
    world.annotate("backfill", "2026-10-24/2026-10-26");
    for _ in 0..3 {
        world.end(RunResult::Succeeded);
    }
    let times: Vec<&str> = world.created.iter().map(|(_, time)| &**time).collect();
    let expected = ["2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"];
    assert_eq!(times, expected);
    let finished = "2026-10-24/2026-10-26: 3 runs were started, 0 existed already".into();
    assert!(world.transitions.contains(&Transition::BackfillFinished { message: finished }));
    assert_eq!(world.status().last_schedule_time, None, "the schedule's own times alone");
}

#[test]
fn a_time_of_the_schedule_goes_before_the_rest_of_a_backfill() {
    let mut world = World::new(json!({"schedule": "0 * * * *"}), "10:59:00");
    world.annotate("backfill", "2026-11-22T06:00:00Z/2026-11-22T08:00:00Z");
    world.at("11:00:00").at("11:00:30");
    assert_eq!((world.times().join(" "), world.status().skipped.overlap), ("06:00".into(), 0));
    world.end(RunResult::Succeeded);
    assert_eq!(world.times().join(" "), "06:00 11:00");
    world.end(RunResult::Succeeded).end(RunResult::Succeeded).end(RunResult::Succeeded);
    assert_eq!(world.times().join(" "), "06:00 11:00 07:00 08:00");
}

#[test]
fn what_a_backfill_is_to_leave_out_is_kept_until_it_has_come_to_it() {
    let mut world = World::new(json!({"schedule": "0 * * * *"}), "05:30:00");
    for time in ["06:00:00", "07:00:00"] {
        world.at(time).end(RunResult::Succeeded);
    }
    world.at("08:00:00");
    world.edit(json!({"history": {"succeeded": 0, "failed": 0}}));
    world.annotate("backfill", "2026-11-22T06:00:00Z/2026-11-22T07:00:00Z");
    assert_eq!(world.runs.len(), 3, "it waits for the run of 08:00");
    world.end(RunResult::Succeeded);
    assert_eq!((world.times().join(" "), world.runs.len()), ("06:00 07:00 08:00".into(), 0));
}

#[test]
fn a_backfill_can_be_stopped() {
    let mut world = World::new(json!({"schedule": "0 * * * *"}), "10:59:00");
    world.annotate("backfill", "2026-11-22T06:00:00Z/2026-11-22T08:00:00Z");
    assert_eq!(world.annotate("backfill", "stop"), "the backfill is stopped");
    world.end(RunResult::Succeeded);
    assert_eq!(world.times().join(" "), "06:00");
}

#[test]
fn a_backfill_goes_on_if_the_next_request_is_invalid() {
    let mut world = World::new(json!({"schedule": "0 * * * *"}), "10:59:00");
    world.annotate("backfill", INTERVAL);
    let effect = world.annotate("backfill", "yesterday");
    assert!(effect.starts_with("no effect: "), "{effect}");
    for _ in 0..3 {
        world.end(RunResult::Succeeded);
    }
    assert_eq!(world.times().join(" "), "06:00 07:00 08:00");
}

#[test]
fn a_time_whose_name_another_task_has_is_left_out() {
    let mut world = every_hour(json!({"suspend": true}));
    world.taken = vec!["nightly-20261122-0600", "nightly-20261122-0800"];
    world.annotate("backfill", INTERVAL);
    world.end(RunResult::Succeeded);
    assert_eq!((world.times().join(" "), world.condition("Stalled")), ("07:00".into(), None));
    let said = |message: String| world.transitions.iter().any(|known| format!("{known:?}").contains(&message));
    assert!(said(format!("{INTERVAL}: 1 runs were started, 2 existed already")), "{:?}", world.transitions);
    assert!(said("nightly-20261122-0600 is left out of the backfill: the name is taken".into()));
}

#[test]
fn a_backfill_that_is_refused_holds_nothing_up_and_goes_on_later() {
    for overlap in ["Skip", "Queue", "Allow", "Replace"] {
        let mut world = refused(json!({"suspend": true, "overlap": overlap}));
        world.rejects = None;
        let effect = world.annotate("trigger", "1");
        assert!(effect.ends_with(" starts"), "{overlap}: {effect}");
        assert!(world.created[0].0.starts_with("nightly-manual-"), "{overlap}: {:?}", world.created);
        for _ in 0..4 {
            world.end(RunResult::Succeeded);
        }
        assert_eq!(world.times()[1..].join(" "), "06:00 07:00 08:00", "{overlap}");
        let finished =
            Transition::BackfillFinished { message: format!("{INTERVAL}: 3 runs were started, 0 existed already") };
        assert!(world.transitions.contains(&finished), "{overlap}: {:?}", world.transitions);
    }
}

#[test]
fn a_time_of_the_schedule_takes_the_place_of_a_refused_backfill() {
    let mut world = refused(json!({}));
    world.at("10:59:30");
    world.rejects = None;
    world.at("11:00:00");
    for _ in 0..4 {
        world.end(RunResult::Succeeded);
    }
    assert_eq!(world.times().join(" "), "11:00 06:00 07:00 08:00", "no time of the backfill is lost");
    assert_eq!(world.status().skipped.rejected, 0);
}

#[test]
fn a_requested_run_starts_instead_of_one_that_is_refused() {
    let mut world = every_hour(json!({"overlap": "Allow"}));
    world.rejects = Some("denied by the policy");
    world.at("11:00:00").at("11:01:00");
    world.rejects = None;
    let effect = world.annotate("trigger", "1");
    assert!(effect.ends_with(" starts"), "{effect}");
    assert!(world.created[0].0.starts_with("nightly-manual-"), "{:?}", world.created);
    assert_eq!(world.status().skipped.rejected, 1, "it is for a time of the schedule");
}

#[test]
fn a_request_without_effect_takes_the_place_of_none() {
    let mut world = every_hour(json!({"overlap": "Allow"}));
    world.at("11:00:00");
    world.rejects = Some("denied by the policy");
    world.at("12:00:00");
    world.schedule.spec.overlap = crate::api::Overlap::Skip;
    let effect = world.annotate("trigger", "1");
    assert!(effect.ends_with("has not ended (overlap Skip)"), "{effect}");
    world.rejects = None;
    world.end(RunResult::Succeeded);
    assert_eq!((world.times().join(" "), world.status().skipped.rejected), ("11:00 12:00".into(), 0));
}

#[test]
fn a_refused_backfill_can_be_stopped() {
    let mut world = refused(json!({"suspend": true}));
    assert_eq!(world.annotate("backfill", "stop"), "the backfill is stopped");
    assert_eq!((world.status().creating, world.condition("Stalled")), (None, None));
    world.rejects = None;
    world.at("10:02:00");
    assert_eq!(world.created.len(), 0);
}

#[test]
fn a_stopped_backfill_says_what_may_still_start() {
    let mut world = every_hour(json!({}));
    (world.rejects, world.is_in_doubt) = (Some("the request timed out"), true);
    world.annotate("backfill", INTERVAL);
    let effect = world.annotate("backfill", "stop");
    let expected =
        "the backfill is stopped, but nightly-20261122-0600 may still start: its creation was requested already";
    assert_eq!((&*effect, world.status().creating.is_some()), (expected, true));
    (world.rejects, world.is_in_doubt) = (Some("denied by the policy"), false);
    world.at("10:02:00");
    assert_eq!(world.status().creating, None, "now it is certain");
}

#[test]
fn another_backfill_takes_the_place_of_a_refused_one() {
    let mut world = refused(json!({"suspend": true}));
    world.rejects = None;
    world.annotate("backfill", "2026-11-22T08:00:00Z/2026-11-22T09:00:00Z");
    world.end(RunResult::Succeeded).end(RunResult::Succeeded);
    assert_eq!(world.times().join(" "), "08:00 09:00");
}

/// While nothing starts, no time is settled. Those that passed meanwhile are left to a backfill.
#[test]
fn a_backfill_makes_up_for_a_suspension() {
    for policy in ["Latest", "Skip"] {
        let mut world = every_hour(json!({"suspend": true, "missed": {"policy": policy}}));
        world.at("14:30:00");
        let interval = "2026-11-22T11:00:00Z/2026-11-22T13:00:00Z";
        let effect = world.annotate("backfill", interval);
        assert!(effect.starts_with("3 times of"), "{effect}");
        // Resumed in the same breath.
        let mut world = every_hour(json!({"suspend": true, "missed": {"policy": policy}}));
        world.at("14:30:00");
        world.edit(json!({"suspend": false}));
        let effect = world.annotate("backfill", interval);
        assert!(effect.starts_with("3 times of"), "{effect}");
        for _ in 0..3 {
            world.end(RunResult::Succeeded);
        }
        assert_eq!(world.times().join(" "), "11:00 12:00 13:00");
    }
    // With All, they start by themselves once the schedule goes on.
    let mut world = every_hour(json!({"suspend": true, "missed": {"policy": "All"}}));
    world.at("14:30:00");
    let effect = world.annotate("backfill", "2026-11-22T11:00:00Z/2026-11-22T13:00:00Z");
    assert!(effect.starts_with("no effect"), "{effect}");
}

/// What the API server refuses is tried again. Nothing starts when the quota is free at last, if the schedule is suspended by then.
#[test]
fn a_refused_run_does_not_start_once_the_schedule_is_suspended_or_has_other_times() {
    for (policy, edit, later) in [
        ("Latest", json!({"suspend": true}), ""),
        ("All", json!({"suspend": true}), "11:00 12:00 13:00"),
        ("Latest", json!({"schedule": "30 * * * *"}), ""),
    ] {
        let mut world = every_hour(json!({"missed": {"policy": policy, "withinSeconds": 86400}}));
        world.rejects = Some("exceeded quota");
        world.at("11:00:00");
        assert!(world.status().creating.is_some());
        world.edit(edit.clone());
        world.at("11:00:10");
        assert_eq!(world.status().creating, None, "{policy} {edit}");
        world.rejects = None;
        world.at("11:10:00");
        assert_eq!(world.times().len(), 0, "{policy} {edit}");
        if policy == "All" {
            world.edit(json!({"suspend": false}));
            world.at("13:10:00");
            for _ in 0..3 {
                world.end(RunResult::Succeeded);
            }
        } else {
            assert_eq!(world.status().skipped.rejected, 1, "{policy} {edit}");
        }
        assert_eq!(world.times().join(" "), later, "{policy} {edit}");
    }
}
