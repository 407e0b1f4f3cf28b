use super::*;
use crate::core::schedule::Timetable;
use proptest::prelude::*;
use regex::Regex;
use serde_json::json;

/// What admission goes by, out of the rule.
fn admitted() -> Regex {
    let pattern = EXPRESSION.split('\'').nth(1).unwrap().replace(r"\\", r"\");
    Regex::new(&pattern).unwrap()
}

#[test]
fn numbers_out_of_range_are_refused_in_each_field() {
    let admitted = admitted();
    for bad in [
        "60 * * * *",
        "5-60 * * * *",
        "0 24 * * *",
        "0 0 32 * *",
        "0 0 0 * *",
        "0 0 1-32 * *",
        "0 0 32W * *",
        "0 0 * 13 *",
        "0 0 * 0 *",
        "0 0 * 1,13 *",
        "0 0 * * 8",
        "0 0 * * 1-8",
        "0 0 * * 8#2",
        "0 0 * *",
        "0 0 * * ",
        "0 0 * * * *",
        "@every 5m",
    ] {
        assert!(!admitted.is_match(bad), "{bad}");
    }
    for good in [
        "0 0 31 12 7",
        "007 023 01 012 00",
        "0 6 L * *",
        "0 6 LW * *",
        "0 6 15W * *",
        "0 6 * * MON#2",
        "0 6 * * 5L",
        "0 6 * * FRI#L",
        "*/5 9-17/2 1-15/2,28 JAN-MAR,6 +MON-FRI",
        "0 0 ? * *",
        " @daily ",
        "1,2,3 * * * *",
    ] {
        assert!(admitted.is_match(good), "{good}");
    }
}

fn field(numbers: std::ops::RangeInclusive<u32>, words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let number = numbers.prop_map(|n| n.to_string());
    let range = (number.clone(), number.clone()).prop_map(|(from, to)| format!("{from}-{to}"));
    let word = proptest::sample::select(words).prop_map(str::to_owned);
    let item = prop_oneof![4 => number, 2 => range, 2 => word, 1 => Just("*".to_owned())];
    let step = prop_oneof![3 => Just(String::new()), 1 => (1..40u32).prop_map(|n| format!("/{n}"))];
    let item = (item, step).prop_map(|(item, step)| item + &step);
    proptest::collection::vec(item, 1..3).prop_map(|items| items.join(","))
}

const DAYS: &[&str] = &["L", "LW", "15W", "?", "1W"];
const MONTHS: &[&str] = &["JAN", "feb", "MAR-JUN", "DEC"];
const WEEKDAYS: &[&str] = &["MON", "sun", "MON-FRI", "MON#2", "5L", "FRI#L", "0#5", "?", "+TUE", "SAT-SUN"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    /// Admission refuses no schedule that the operator can follow.
    #[test]
    fn whatever_the_operator_can_read_is_admitted(
        minute in field(0..=61, &["*"]), hour in field(0..=25, &["*"]), day in field(0..=33, DAYS),
        month in field(0..=14, MONTHS), weekday in field(0..=9, WEEKDAYS),
    ) {
        let text = format!("{minute} {hour} {day} {month} {weekday}");
        let spec = json!({"schedule": text, "timeZone": "Etc/UTC", "template": {"spec": {"image": "a"}}});
        if Timetable::new(&serde_json::from_value(spec).unwrap(), "uid").is_ok() {
            prop_assert!(admitted().is_match(&text), "{}", text);
        }
    }
}
