//! What is started, queued and skipped, and what is cleaned up.

use super::world::{World, moment};
use crate::api::RunCause::{Backfill, Schedule};
use crate::api::ScheduleState;
use crate::core::schedule::{RunEnd, RunResult, RunSnapshot, Skip, Transition, next_time, timetable};
use jiff::SignedDuration;
use serde_json::json;

fn each_minute(fields: serde_json::Value) -> World {
    let mut all = json!({"schedule": "* * * * *"});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    World::new(all, "10:00:30")
}

#[test]
fn what_happens_to_times_while_a_run_goes_on() {
    let run = |overlap: &str| {
        let mut world = each_minute(json!({"overlap": overlap}));
        for minute in ["10:01:00", "10:02:00", "10:03:00"] {
            world.at(minute);
        }
        let while_it_runs: Vec<String> = world.times().iter().map(ToString::to_string).collect();
        let cancelled = world.runs.iter().filter(|run| run.is_cancelled).count();
        world.now = moment("2026-11-22T10:03:30Z");
        world.end(RunResult::Succeeded);
        (while_it_runs.join(" "), cancelled, world.times().join(" "), world.status().skipped.overlap)
    };
    assert_eq!(run("Skip"), ("10:01".into(), 0, "10:01".into(), 2));
    assert_eq!(run("Queue"), ("10:01".into(), 0, "10:01 10:03".into(), 1), "the newest waits");
    assert_eq!(run("Allow"), ("10:01 10:02 10:03".into(), 0, "10:01 10:02 10:03".into(), 0));
    assert_eq!(run("Replace"), ("10:01".into(), 1, "10:01 10:03".into(), 1), "it waits for the end of the other");
}

#[test]
fn a_cancelled_run_is_no_failure() {
    let mut world = each_minute(json!({"overlap": "Replace", "pauseAfterFailures": 1}));
    world.at("10:01:00").at("10:02:00").end(RunResult::Cancelled);
    assert_eq!((world.times().join(" "), world.status().consecutive_failures), ("10:01 10:02".into(), 0));
}

#[test]
fn missed_times_by_policy() {
    let after_an_hour = |missed: serde_json::Value| {
        let mut world =
            World::new(json!({"schedule": "*/10 * * * *", "missed": missed, "overlap": "Allow"}), "10:00:30");
        world.at("11:05:00");
        (world.times().join(" "), world.status().skipped.missed)
    };
    assert_eq!(after_an_hour(json!({"policy": "Skip"})), (String::new(), 6));
    assert_eq!(after_an_hour(json!({"policy": "Latest"})), ("11:00".into(), 5));
    assert_eq!(after_an_hour(json!({"policy": "Latest", "withinSeconds": 120})), (String::new(), 6));
    assert_eq!(after_an_hour(json!({"policy": "All", "limit": 2})), ("10:50 11:00".into(), 4));
    assert_eq!(after_an_hour(json!({"policy": "All", "withinSeconds": 1800})), ("10:40 10:50 11:00".into(), 3));
}

#[test]
fn a_run_that_ended_while_the_operator_was_away_is_not_in_the_way() {
    // Back after two times, the operator learns late how the run before them ended.
    let back = |policy: &str, back: &str, ended: &str| {
        let mut world = each_minute(json!({"missed": {"policy": policy}}));
        world.at("10:01:00").at(back);
        let (started, waiting) = (world.times().join(" "), world.status().waiting.len());
        assert_eq!(
            (started, world.status().skipped.overlap, waiting > 0),
            ("10:01".into(), 0, true),
            "{policy}, {back}"
        );
        // The task ends when the operator is back, whenever its Pod did.
        let work_until = moment(&format!("2026-11-22T{ended}Z"));
        world.now = world.now.max(work_until);
        world.runs[0].end = Some(RunEnd { result: RunResult::Succeeded, time: world.now, work_until });
        world.look();
        world.end(RunResult::Succeeded);
        let skipped = world.status().skipped;
        (world.times().join(" "), skipped.missed, skipped.overlap)
    };
    assert_eq!(back("Latest", "10:03:10", "10:01:20"), ("10:01 10:03".into(), 1, 0));
    assert_eq!(
        back("Latest", "10:03:10", "10:03:00"),
        ("10:01 10:03".into(), 1, 0),
        "one has ended when the next comes"
    );
    assert_eq!(back("Latest", "10:03:10", "10:03:01"), ("10:01".into(), 1, 1), "they overlapped");
    assert_eq!(back("Skip", "10:03:10", "10:01:20"), ("10:01 10:03".into(), 1, 0), "within a minute nothing is missed");
    assert_eq!(back("All", "10:03:10", "10:01:20"), ("10:01 10:02 10:03".into(), 0, 0));
    assert_eq!(back("All", "10:03:10", "10:03:40"), ("10:01 10:02 10:03".into(), 0, 0), "each is started");
}

#[test]
fn the_newest_time_waits_for_the_end_of_a_run_that_is_not_recorded() {
    let mut world = each_minute(json!({}));
    world.at("10:01:00").at("10:03:10").at("10:05:10");
    let waiting: Vec<String> = world.status().waiting.into_iter().map(|run| run.name).collect();
    assert_eq!(waiting, ["nightly-20261122-1005"]);
    world.now = moment("2026-11-22T10:05:20Z");
    world.runs.clear();
    world.look();
    assert_eq!(world.times().join(" "), "10:01 10:05", "how a deleted one ended, nobody knows");
}

#[test]
fn a_start_is_not_missed_within_a_minute() {
    let mut world = each_minute(json!({"missed": {"policy": "Skip"}}));
    world.at("10:01:59");
    assert_eq!((world.times().join(" "), world.status().skipped.missed), ("10:01".into(), 0));
}

#[test]
fn times_of_a_suspension_are_not_missed_unless_all_are_wanted() {
    for (policy, expected) in [("Latest", "10:01"), ("All", "10:01 10:03 10:04")] {
        let mut world = each_minute(json!({"missed": {"policy": policy}, "overlap": "Allow"}));
        world.at("10:01:10").end(RunResult::Succeeded);
        world.edit(json!({"suspend": true}));
        world.at("10:02:00");
        assert_eq!(world.status().state, Some(ScheduleState::Suspended));
        world.now = moment("2026-11-22T10:04:30Z");
        world.edit(json!({"suspend": false, "missed": {"policy": policy, "limit": 2}}));
        world.at("10:04:40");
        assert_eq!(world.times().join(" "), expected, "{policy}");
    }
}

#[test]
fn a_run_that_waits_does_not_start_while_the_schedule_is_suspended() {
    let mut world = each_minute(json!({"overlap": "Queue"}));
    world.at("10:01:00").at("10:02:00");
    world.edit(json!({"suspend": true}));
    world.at("10:02:10").end(RunResult::Succeeded);
    assert_eq!((world.times().join(" "), world.status().waiting.len()), ("10:01".into(), 0));
}

#[test]
fn only_its_own_finished_tasks_beyond_the_limits_are_deleted() {
    let mut world = each_minute(json!({"history": {"succeeded": 1, "failed": 2}, "overlap": "Allow"}));
    let ends = [RunResult::Succeeded, RunResult::Failed, RunResult::Cancelled, RunResult::Failed, RunResult::Succeeded];
    for (minute, end) in (1..).zip(ends) {
        world.at(&format!("10:0{minute}:00")).end(end);
    }
    world.at("10:06:00");
    let left: Vec<&str> = world.runs.iter().map(|run| &run.name[17..]).collect();
    assert_eq!(left, ["1003", "1004", "1005", "1006"], "the newest; what runs is not finished");
}

#[test]
fn a_run_that_another_task_waits_for_is_not_deleted_until_it_has_begun() {
    let mut world = each_minute(json!({"history": {"succeeded": 0}, "suspend": true}));
    world.annotate("trigger", "1");
    world.runs[0].is_awaited = true;
    world.end(RunResult::Succeeded);
    let settled = world.look();
    assert_eq!(world.runs.len(), 1);
    assert_eq!(settled.wake_in, Some(SignedDuration::from_secs(30)), "nothing else says that it may go");
    world.runs[0].is_awaited = false;
    let settled = world.look();
    assert!(world.runs.is_empty());
    assert_eq!(settled.wake_in, None);
}

#[test]
fn a_deleted_run_is_looked_up_and_then_forgotten() {
    let mut world = each_minute(json!({}));
    world.at("10:01:00");
    world.runs.clear();
    world.at("10:01:30");
    assert_eq!((world.status().active, world.status().consecutive_failures), (0, 0));
    assert_eq!(
        world.transitions.last(),
        Some(&Transition::Ended { name: "nightly-20261122-1001".into(), result: None })
    );
}

#[test]
fn a_task_that_is_run_again_counts_as_running() {
    let mut world = each_minute(json!({}));
    world.at("10:01:00").end(RunResult::Failed);
    world.runs[0].end = None;
    world.at("10:02:00");
    assert_eq!((world.times().join(" "), world.status().active), ("10:01".into(), 1));
    world.end(RunResult::Succeeded);
    assert_eq!((world.status().active, world.status().consecutive_failures), (0, 0));
}

#[test]
fn a_task_that_is_refused_is_tried_again_until_the_next_time() {
    let mut world = each_minute(json!({}));
    world.rejects = Some("exceeded quota: tasks");
    world.at("10:01:00");
    assert_eq!(world.status().state, Some(ScheduleState::Stalled));
    assert_eq!(
        world.condition("Stalled").unwrap(),
        "the task nightly-20261122-1001 cannot be created: exceeded quota: tasks"
    );
    world.at("10:01:05").at("10:02:00");
    assert_eq!(world.status().skipped.rejected, 1);
    world.rejects = None;
    world.at("10:02:06").at("10:02:07");
    assert_eq!((world.times().join(" "), world.status().state), ("10:02".into(), Some(ScheduleState::Scheduled)));
}

#[test]
fn a_creation_without_an_answer_is_not_repeated_under_another_name() {
    let mut world = each_minute(json!({}));
    world.at("10:01:00");
    let mut status = world.status();
    let run = status.runs.remove(0);
    status.creating = Some(crate::api::PlannedRun {
        name: run.name,
        scheduled_time: run.scheduled_time,
        ..crate::api::PlannedRun::default()
    });
    (status.active, status.last_schedule_time) = (0, None);
    world.schedule.status = Some(status);
    world.at("10:01:20");
    assert_eq!((world.times().join(" "), world.status().active), ("10:01".into(), 1), "the task was there");
}

#[test]
fn the_deadline_of_a_run_is_the_next_start() {
    let body = |fields: serde_json::Value, cause: crate::api::RunCause| {
        let world = World::new(fields, "10:00:30");
        let scheduled_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(moment("2026-11-22T10:10:00Z")));
        let run = crate::api::PlannedRun { scheduled_time, cause, ..Default::default() };
        let timetable = crate::core::schedule::timetable(&world.schedule).unwrap();
        let body = crate::core::schedule::task(&world.schedule, &run, &timetable, moment("2026-11-22T10:11:00Z"));
        body["spec"]["activeDeadlineSeconds"].as_i64()
    };
    let of = |deadline: serde_json::Value| {
        json!({"schedule": "*/10 * * * *", "endBeforeNext": true,
               "template": {"spec": {"image": "a", "activeDeadlineSeconds": deadline}}})
    };
    assert_eq!(body(of(json!(null)), Schedule), Some(540));
    assert_eq!(body(of(json!(60)), Schedule), Some(60));
    assert_eq!(body(of(json!(6000)), Schedule), Some(540));
    assert_eq!(body(of(json!(null)), Backfill), None, "its next start has passed");
    // what a run waits for before its first attempt, from which that deadline counts, is limited too
    let spec = |template: serde_json::Value| {
        let fields = json!({"schedule": "*/10 * * * *", "endBeforeNext": true, "template": {"spec": template}});
        let schedule = World::new(fields, "10:00:30").schedule;
        let timetable = crate::core::schedule::timetable(&schedule).unwrap();
        let scheduled_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(moment("2026-11-22T10:10:00Z")));
        let run = crate::api::PlannedRun { scheduled_time, cause: Schedule, ..Default::default() };
        crate::core::schedule::task(&schedule, &run, &timetable, moment("2026-11-22T10:11:00Z"))["spec"].clone()
    };
    let queued = spec(json!({"image": "a", "queue": {"name": "q"}, "after": [{"task": "b"}]}));
    assert_eq!((&queued["queue"]["maxWaitSeconds"], &queued["afterTimeoutSeconds"]), (&540.into(), &540.into()));
    let own = spec(json!({"image": "a", "queue": {"name": "q", "maxWaitSeconds": 60}}));
    assert_eq!((&own["queue"]["maxWaitSeconds"], own.get("afterTimeoutSeconds")), (&60.into(), None));
}

#[test]
fn transitions_say_what_happened() {
    let mut world = each_minute(json!({}));
    world.at("10:01:02").at("10:02:00");
    let skipped = Transition::Skipped {
        why: Skip::Overlap,
        count: 1,
        message: "the time 2026-11-22T10:02:00+00:00 was skipped: nightly-20261122-1001 has not ended (overlap Skip)"
            .into(),
    };
    assert!(world.transitions.contains(&skipped), "{:?}", world.transitions);
    let started = world.transitions.iter().any(|transition| {
        matches!(transition, Transition::Started { name, late, .. } if name == "nightly-20261122-1001" && late.as_secs() == 2)
    });
    assert!(started, "{:?}", world.transitions);
}

#[test]
fn a_template_that_cannot_run_stalls_the_schedule() {
    let world = World::new(json!({"schedule": "@daily", "template": {"spec": {}}}), "10:00:30");
    let said = world.condition("Stalled").unwrap();
    assert!(said.starts_with("spec.template: nothing to run"), "{said}");
    assert_eq!(world.status().next_schedule_time, None);
}

#[test]
fn at_most_a_hundred_runs_go_on_at_a_time() {
    let mut world = each_minute(json!({"overlap": "Allow"}));
    for n in 0..99 {
        let (name, uid) = (format!("other-{n}"), format!("other-{n}"));
        world.runs.push(RunSnapshot {
            name,
            uid,
            resource_version: "1".into(),
            number: 1,
            scheduled_time: None,
            end: None,
            is_cancelled: false,
            is_awaited: false,
        });
    }
    world.at("10:01:00").at("10:02:00");
    assert_eq!((world.times().join(" "), world.status().skipped.overlap), ("10:01".into(), 1));
    world.runs[0].end = Some(RunEnd { result: RunResult::Succeeded, time: world.now, work_until: world.now });
    assert_eq!(world.at("10:03:00").times().join(" "), "10:01 10:03");
}

#[test]
fn what_is_said_of_the_next_start_is_what_the_operator_starts() {
    let said = |world: &World| {
        let timetable = timetable(&world.schedule).unwrap();
        next_time(&world.schedule, &timetable, world.now).map(|time| timetable.start_of(time))
    };
    let stored = |world: &World| world.status().next_schedule_time.map(|time| time.0);
    let mut world = World::new(json!({"schedule": "0 11,12,13 * * *", "splaySeconds": 600}), "10:00:30");
    let starts = stored(&world);
    let splay = starts.unwrap().duration_since(moment("2026-11-22T11:00:00Z"));
    assert!(splay > SignedDuration::from_secs(30), "{splay:#}");
    for (now, times) in [("10:30:00", vec![]), ("11:00:30", vec![]), ("11:10:00", vec!["11:00"])] {
        let expected = if times.is_empty() { starts } else { starts.map(|at| at + SignedDuration::from_hours(1)) };
        world.now = moment(&format!("2026-11-22T{now}Z"));
        world.end(RunResult::Succeeded);
        assert_eq!((said(&world), stored(&world), world.times()), (expected, expected, times), "{now}");
    }
    // An edit within the splay passes over the time, whether the operator has seen it or not.
    world.now = moment("2026-11-22T12:00:30Z");
    world.end(RunResult::Succeeded);
    world.edit(json!({"schedule": "0 11,12,14 * * *"}));
    let unseen = said(&world);
    world.look();
    assert_eq!((unseen, said(&world)), (stored(&world), stored(&world)));
    assert_eq!(stored(&world), Some(moment("2026-11-22T14:00:00Z") + splay));
}
