use super::*;
use crate::core::testing::at;

#[test]
fn it_is_read_with_its_zone() {
    for text in ["2026-11-22T10:00:00Z", "2026-11-22T11:00:00+01:00", "2026-11-22T05:30:00.000-04:30"] {
        assert_eq!((time(text), problem(text)), (Some(at(0)), None), "{text}");
    }
}

#[test]
fn a_day_that_does_not_exist_is_named() {
    for text in ["2026-02-30T06:00:00Z", "2026-11-22T10:00:00", "tomorrow", ""] {
        assert_eq!(time(text), None, "{text}");
        let problem = problem(text).unwrap();
        assert!(problem.starts_with(&format!("spec.startAt: {text:?} is not a time")), "{problem}");
    }
}
