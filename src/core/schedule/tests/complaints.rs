//! What users of CronJob and of Argo's CronWorkflow complain of, each with the right answer. The guide on coming from a CronJob lists them.

use super::world::World;
use crate::api::{ScheduleState, TaskSchedule};
use crate::core::schedule::{RunResult, problem, task, timetable};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

#[test]
fn it_goes_on_after_any_number_of_missed_times() {
    let mut world = World::new(json!({"schedule": "* * * * *"}), "00:00:30");
    world.at("23:59:10");
    assert_eq!(world.times(), ["23:59"], "the newest, after more than a thousand");
    assert_eq!(world.status().skipped.missed, 1000, "counted up to a limit");
}

#[test]
fn an_edit_starts_nothing_at_once() {
    let mut world = World::new(json!({"schedule": "0 8 * * *"}), "10:00:30");
    world.edit(json!({"schedule": "0 10 * * *"}));
    world.at("10:30:00");
    world.edit(json!({"timeZone": "Europe/Stockholm", "schedule": "30 11 * * *"}));
    world.at("10:30:01");
    assert_eq!(world.times(), Vec::<&str>::new(), "not at 11:30 in Stockholm, which it was at the edit");
    world.edit(json!({"template": {"spec": {"image": "other"}}}));
    assert_eq!(world.at("10:40:00").times(), Vec::<&str>::new());
}

#[test]
fn an_apply_starts_nothing_at_once_and_skips_nothing() {
    let mut world = World::new(json!({"schedule": "0 8,11 * * *"}), "10:00:30");
    assert_eq!(world.times(), Vec::<&str>::new(), "not when it is created, two hours later");
    world.touch();
    assert_eq!(world.at("10:40:00").times(), Vec::<&str>::new(), "not when the same is applied");
    world.edit(json!({"suspend": true}));
    world.at("10:50:00");
    world.edit(json!({"suspend": false}));
    assert_eq!(world.at("10:55:00").times(), Vec::<&str>::new(), "not when it is resumed");
    // While the operator is away.
    world.now = super::world::moment("2026-11-22T11:10:00Z");
    world.edit(json!({"template": {"spec": {"image": "other"}}}));
    assert_eq!(world.at("11:20:00").times(), ["11:00"], "missed before the apply, which changes no time");
}

#[test]
fn an_edit_while_the_operator_was_away_counts_from_when_it_was_made() {
    let mut world = World::new(json!({"schedule": "0 23 * * *"}), "10:00:30");
    world.now = super::world::moment("2026-11-22T10:20:00Z");
    world.edit(json!({"schedule": "*/15 * * * *"}));
    world.at("10:31:00");
    assert_eq!(world.times(), ["10:30"], "missed after the edit; 10:15 was before it");
    assert_eq!(world.status().skipped.missed, 0);
}

#[test]
fn an_edit_counts_from_the_api_servers_clock() {
    let mut world = World::new(json!({"schedule": "0 23 * * *"}), "10:00:30");
    world.now = super::world::moment("2026-11-22T10:20:00Z");
    world.edit(json!({"schedule": "*/5 * * * *"}));
    world.at("10:10:30").at("10:15:00").at("10:20:00");
    assert_eq!(world.times(), Vec::<&str>::new(), "this clock is behind: to it, they are times after the edit");
    assert_eq!(world.at("10:25:00").times(), ["10:25"]);
}

#[test]
fn the_next_time_is_shown() {
    let mut world = World::new(json!({"schedule": "30 2 * * *", "timeZone": "Europe/Stockholm"}), "10:00:30");
    let next = world.status().next_schedule_time.unwrap().0.to_string();
    assert_eq!(next, "2026-11-23T01:30:00Z");
    world.edit(json!({"suspend": true}));
    world.look();
    assert_eq!(world.status().next_schedule_time, None, "nothing is scheduled");
}

#[test]
fn many_schedules_for_one_minute_do_not_start_at_once() {
    let starts = |uid: &str| {
        let world = World::new(json!({"schedule": "0 11 * * *", "splaySeconds": 300}), "10:00:30");
        let schedule = TaskSchedule { metadata: ObjectMeta::default(), ..world.schedule };
        crate::core::schedule::Timetable::new(&schedule.spec, uid).unwrap().splay().as_secs()
    };
    let splays: std::collections::BTreeSet<i64> = (0..100).map(|n| starts(&format!("uid-{n}"))).collect();
    assert!(splays.len() > 60 && splays.iter().all(|splay| (0..=300).contains(splay)), "{splays:?}");
    assert_eq!(starts("uid-1"), starts("uid-1"), "a schedule's own is constant");
}

#[test]
fn a_splayed_run_starts_later_and_keeps_its_time() {
    let mut world = World::new(json!({"schedule": "0 11 * * *", "splaySeconds": 300}), "10:00:30");
    let start = world.status().next_schedule_time.unwrap().0;
    let eleven = super::world::moment("2026-11-22T11:00:00Z");
    assert!(start > eleven && start <= eleven + jiff::SignedDuration::from_secs(300));
    world.now = start - jiff::SignedDuration::from_secs(1);
    world.look();
    assert_eq!(world.times(), Vec::<&str>::new());
    world.now = start;
    world.look();
    assert_eq!(world.created, [("nightly-20261122-1100".to_owned(), "2026-11-22T11:00:00+00:00".to_owned())]);
}

/// The runs of `30 2 * * *` in Stockholm around noon before that day and noon of it, by their times.
fn started_around(day: &str) -> Vec<String> {
    let mut world = World::new(json!({"schedule": "30 2 * * *", "timeZone": "Europe/Stockholm"}), "10:00:30");
    let noon = super::world::moment(&format!("{day}T12:00:00Z"));
    for minutes in (-1440..=0).step_by(10) {
        world.now = noon + jiff::SignedDuration::from_mins(minutes);
        world.look();
        world.end(RunResult::Succeeded);
    }
    assert_eq!(world.status().last_success_time.is_some(), !world.created.is_empty());
    world.created.into_iter().map(|(_, time)| time).collect()
}

#[test]
fn a_time_that_the_clock_skips_starts_one_run() {
    assert_eq!(started_around("2027-03-28"), ["2027-03-28T03:00:00+02:00"], "there is no 02:30, and there is a run");
}

#[test]
fn a_time_that_comes_twice_starts_one_run() {
    assert_eq!(started_around("2027-10-31"), ["2027-10-31T02:30:00+02:00"], "the first of the two");
}

#[test]
fn the_time_zone_is_the_schedules_own_and_utc_by_default() {
    let mut world = World::new(json!({"schedule": "0 11 * * *"}), "10:00:30");
    assert_eq!(world.status().next_schedule_time.unwrap().0.to_string(), "2026-11-22T11:00:00Z");
    world.edit(json!({"timeZone": "Asia/Tokyo"}));
    world.look();
    assert_eq!(world.status().next_schedule_time.unwrap().0.to_string(), "2026-11-23T02:00:00Z");
    world.edit(json!({"timeZone": "CEST"}));
    world.look();
    assert_eq!(world.status().state, Some(ScheduleState::Stalled));
    assert!(world.condition("Stalled").unwrap().contains("\"CEST\" is not a time zone"));
}

#[test]
fn missed_times_are_made_up_for() {
    let latest = World::new(json!({"schedule": "0 * * * *"}), "02:30:00").at("10:30:00").times().join(" ");
    assert_eq!(latest, "10:00", "unless told otherwise, the newest");
    let all = json!({"schedule": "0 * * * *", "missed": {"policy": "All", "withinSeconds": 86400, "limit": 3}});
    let mut world = World::new(all, "02:30:00");
    world.at("10:30:00");
    for _ in 0..3 {
        world.end(RunResult::Succeeded);
    }
    assert_eq!(world.times(), ["08:00", "09:00", "10:00"], "oldest first, one after another");
    assert_eq!(world.status().skipped.missed, 5);
}

#[test]
fn times_of_the_past_are_run_on_request() {
    let mut world = World::new(json!({"schedule": "0 * * * *"}), "07:30:00");
    world.at("08:00:00").end(RunResult::Succeeded).at("08:30:00");
    let effect = world.annotate("backfill", "2026-11-22T04:00:00Z/2026-11-22T08:00:00Z");
    assert_eq!(
        effect,
        "5 times of 2026-11-22T04:00:00Z/2026-11-22T08:00:00Z start one after another; those whose task exists are \
         left out"
    );
    for _ in 0..5 {
        world.end(RunResult::Succeeded);
    }
    assert_eq!(world.times(), ["08:00", "04:00", "05:00", "06:00", "07:00"], "08:00 has run");
    assert_eq!(world.status().backfill, None);
    let one = "2026-11-22T03:00:00Z/2026-11-22T03:30:00Z";
    assert_eq!(world.annotate("backfill", one), format!("1 time of {one} starts, unless its task exists"));
}

#[test]
fn a_run_knows_its_time() {
    let world = World::new(json!({"schedule": "30 2 * * *", "timeZone": "Europe/Stockholm"}), "00:10:00");
    let mut world = world;
    world.at("01:30:05");
    assert_eq!(world.created, [("nightly-20261122-0130".to_owned(), "2026-11-22T02:30:00+01:00".to_owned())]);
}

#[test]
fn a_run_that_does_not_end_is_counted_and_told() {
    let mut world = World::new(json!({"schedule": "* * * * *"}), "10:00:30");
    for minute in ["10:01:00", "10:02:00", "10:03:00", "10:04:00"] {
        world.at(minute);
    }
    assert_eq!(world.times(), ["10:01"]);
    let status = world.status();
    assert_eq!((status.skipped.overlap, status.active), (3, 1));
    assert_eq!(
        status.message.as_deref(),
        Some("times skipped in a row: 3, because nightly-20261122-1001 has not ended")
    );
    assert!(world.condition("Blocked").is_some());
    world.end(RunResult::Succeeded).at("10:05:00");
    assert_eq!((world.condition("Blocked"), world.status().message), (None, None));
}

#[test]
fn the_last_failure_and_the_last_success_are_shown() {
    let mut world = World::new(json!({"schedule": "* * * * *"}), "10:00:30");
    world.at("10:01:00").end(RunResult::Failed).at("10:02:00").end(RunResult::Succeeded);
    let status = world.status();
    let minute = |time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| time.unwrap().0.to_string();
    assert_eq!(minute(status.last_failure_time), "2026-11-22T10:01:00Z");
    assert_eq!(minute(status.last_success_time), "2026-11-22T10:02:00Z");
    assert_eq!(minute(status.last_schedule_time), "2026-11-22T10:02:00Z");
}

#[test]
fn what_always_fails_is_paused() {
    let mut world = World::new(json!({"schedule": "* * * * *", "pauseAfterFailures": 2}), "10:00:30");
    for minute in ["10:01:00", "10:02:00", "10:03:00", "10:04:00"] {
        world.at(minute).end(RunResult::Failed);
    }
    assert_eq!(world.times(), ["10:01", "10:02"]);
    assert_eq!((world.status().state, world.status().next_schedule_time), (Some(ScheduleState::Paused), None));
    assert!(world.condition("Paused").unwrap().contains("retryable.dev/resume"));
    world.now = super::world::moment("2026-11-22T10:10:30Z");
    assert_eq!(world.annotate("resume", "1"), "the schedule goes on");
    assert_eq!(world.times().len(), 2, "the times of the pause are not missed");
    assert_eq!(world.at("10:11:00").times(), ["10:01", "10:02", "10:11"]);
}

#[test]
fn a_name_that_is_too_long_is_found_at_once() {
    let definition = serde_json::to_string(&crate::api::schedule_crd()).unwrap();
    assert!(definition.contains("self.metadata.name.size() <= 49"));
    let name = crate::core::schedule::task::name_of(&"n".repeat(49), super::world::moment("2026-11-22T01:30:00Z"));
    assert_eq!(name.len(), 63);
    assert!(name.ends_with("-20261122-0130"));
}

#[test]
fn a_run_by_hand_may_have_other_arguments() {
    let mut world = World::new(json!({"schedule": "@daily"}), "10:00:30");
    let patch = r#"{"args": ["--full"], "maxRetries": 0}"#;
    let effect = world.annotate("trigger", patch);
    assert!(effect.starts_with("nightly-manual-") && effect.ends_with(" starts"), "{effect}");
    let planned = crate::api::PlannedRun { patch: Some(patch.into()), ..Default::default() };
    let body = task(&world.schedule, &planned, &timetable(&world.schedule).unwrap(), world.now);
    assert_eq!(body["spec"], json!({"image": "busybox", "args": ["--full"], "maxRetries": 0}));
    assert_eq!(world.times(), ["10:00"], "the time of the request");
    assert_eq!(world.status().last_schedule_time, None);
    assert_eq!(problem(&world.schedule), None);
}
