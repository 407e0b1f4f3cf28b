use super::*;
use crate::core::testing::at;

type Line<'a> = (&'a str, &'a str, &'a str, &'a str, i64, Option<i64>);

fn lines(conditions: &[Condition]) -> Vec<Line<'_>> {
    conditions.iter().map(line).collect()
}

fn line(condition: &Condition) -> Line<'_> {
    let Condition { type_, status, reason, message, last_transition_time, observed_generation } = condition;
    (type_, status, reason, message, last_transition_time.0.as_second() - at(0).as_second(), *observed_generation)
}

fn stalled(conditions: &mut Vec<Condition>, is: bool, message: &str, seconds: i64, generation: i64) {
    let moment = (at(seconds), Some(generation));
    set(conditions, (ConditionType::Stalled, is), ConditionReason::PodRejected, message, moment);
}

#[test]
fn the_transition_time_moves_with_the_status_alone() {
    let mut list = Vec::new();
    stalled(&mut list, true, "quota", 1, 1);
    assert_eq!(lines(&list), [("Stalled", "True", "PodRejected", "quota", 1, Some(1))]);
    stalled(&mut list, true, "webhook", 2, 2);
    assert_eq!(lines(&list), [("Stalled", "True", "PodRejected", "webhook", 1, Some(2))]);
    stalled(&mut list, false, "webhook", 3, 2);
    assert_eq!(lines(&list), [("Stalled", "False", "PodRejected", "webhook", 3, Some(2))]);
}

#[test]
fn a_message_that_differs_only_in_numbers_stays() {
    let mut list = Vec::new();
    stalled(&mut list, true, "used: pods=3", 1, 1);
    let before = list.clone();
    stalled(&mut list, true, "used: pods=12", 2, 1);
    assert_eq!(list, before);
    let other = (ConditionType::Stalled, true);
    set(&mut list, other, ConditionReason::PodNameConflict, "used: pods=12", (at(3), Some(1)));
    assert_eq!(lines(&list), [("Stalled", "True", "PodNameConflict", "used: pods=12", 1, Some(1))], "another reason");
}

#[test]
fn each_type_has_one_entry_and_the_others_stay() {
    let mut list = Vec::new();
    set(&mut list, (ConditionType::Suspended, true), ConditionReason::Suspended, "", (at(1), None));
    stalled(&mut list, true, "", 1, 1);
    set(&mut list, (ConditionType::Suspended, false), ConditionReason::Resumed, "", (at(2), None));
    assert_eq!(list.len(), 2);
    assert!(is_true(&list, ConditionType::Stalled) && !is_true(&list, ConditionType::Suspended));
    assert_eq!(find(&list, ConditionType::Suspended).unwrap().reason, "Resumed");
    assert_eq!(find(&list, ConditionType::Complete), None);
    remove(&mut list, ConditionType::Suspended);
    remove(&mut list, ConditionType::Complete);
    assert_eq!(lines(&list).len(), 1);
    assert!(is_true(&list, ConditionType::Stalled));
}
