use crate::admission::{Admission, Notation};
use crate::core::schedule;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Compiling its rules takes longer than all the rest.
static ADMISSION: LazyLock<Admission> = LazyLock::new(Admission::of_schedules);

fn manifest(fields: &Value) -> Value {
    let mut spec = json!({"template": {"spec": {"image": "a"}}});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"apiVersion": "retryable.dev/v1alpha1", "kind": "TaskSchedule", "metadata": {"name": "x"}, "spec": spec})
}

/// What the rules of the definition refuse.
fn refusals(fields: &Value) -> Vec<String> {
    ADMISSION.check(&manifest(fields), Notation::Json).err().unwrap_or_default()
}

/// What the operator makes of the expression.
fn problem(expression: &str) -> Option<String> {
    let manifest = manifest(&json!({"schedule": expression, "timeZone": "Etc/UTC"}));
    schedule::problem(&serde_json::from_value(manifest).unwrap())
}

#[test]
fn what_is_out_of_range_is_refused_with_the_name_of_its_field() {
    for (expression, expected) in [
        ("60 * * * *", "the first field is the minute, 0-59"),
        ("0/10 * * * *", "a step follows * or a range"),
        ("*/0 * * * *", "the first field is the minute"),
        ("0 24 * * *", "the second field is the hour, 0-23"),
        ("0 0 32 * *", "the third field is the day of the month, 1-31"),
        ("0 0 0 * *", "the third field is the day of the month, 1-31"),
        ("0 0 15# * *", "the third field"),
        ("0 0 * 13 *", "the fourth field is the month, 1-12 or JAN-DEC"),
        ("0 0 * MON *", "the fourth field is the month"),
        ("0 0 * * 8", "the fifth field is the day of the week, 0-7 or SUN-SAT"),
        ("0 0 * * JAN", "the fifth field is the day of the week"),
        ("0 0 * * */FRI", "the fifth field is the day of the week"),
        ("0 0 * * MON#6", "the fifth field is the day of the week"),
        ("0 22-2 * * *", "a range goes up: instead of 22-2 write 22-23,0-2"),
        ("0 0 * * FRI-MON", "a range goes up"),
        ("0 0 * nov-feb *", "a range goes up"),
        ("0 0 * *", "a schedule is five fields"),
        ("0 0 0 1 1 *", "a schedule is five fields"),
        ("@every 5m", "instead of @every 5m write */5 * * * *"),
        ("CRON_TZ=UTC 0 0 * * *", "a schedule has no TZ= prefix"),
    ] {
        for fields in [json!({"schedule": expression}), json!({"schedules": ["@daily", expression]})] {
            let said = refusals(&fields);
            assert!(said.len() == 1 && said[0].contains(expected), "{fields}: {said:#?}");
        }
        assert!(problem(expression).is_some(), "the operator takes {expression}");
    }
    assert_eq!(refusals(&json!({"schedule": "60 24 32 13 8"})).len(), 5, "each field is named");
}

#[test]
fn what_people_write_is_accepted() {
    for expression in [
        "* * * * *",
        "*/5 * * * *",
        "  0,30  8-18/2\t1,15 */3 MON-FRI ",
        "05 02 01 01 00",
        "0 6 L * *",
        "0 6 15W,LW jan,Mar-oct ?",
        "0 6 ? * MON#2,FRI#L",
        "0 6 * * 5L",
        "0 6 13 * +FRI",
        "0 6 * * FRI-SUN",
        "0 6 * * SUN-TUE,7",
        "0 6 * * 5-7",
        "@daily",
        " @hourly ",
        "@midnight",
        "@annually",
    ] {
        assert_eq!(refusals(&json!({"schedule": expression})), Vec::<String>::new(), "{expression}");
        assert_eq!(problem(expression), None, "{expression}");
    }
}

#[test]
fn nothing_is_refused_that_the_operator_understands() {
    let words = [
        "0", "00", "1", "07", "5", "12", "23", "24", "28", "31", "32", "59", "60", "8", "L", "W", "LW", "15W", "31w",
        "SUN", "mon", "Sat", "FRI", "JAN", "dec", "Jun", "*", "?", "5L", "MONL", "FRI#2", "1#5", "1#6", "MON#L", "",
        "+", "FOO",
    ];
    let (mut accepted, mut missed) = (0, Vec::new());
    for seed in 0..600 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut part = || {
            let word = |random: &mut fastrand::Rng| words[random.usize(..words.len())];
            match random.u8(..8) {
                0 => format!("{}-{}", word(&mut random), word(&mut random)),
                1 => format!("*/{}", word(&mut random)),
                2 => format!("{}-{}/{}", word(&mut random), word(&mut random), word(&mut random)),
                3 => format!("{},{}", word(&mut random), word(&mut random)),
                _ => word(&mut random).to_owned(),
            }
        };
        // One field at a time, so that many are valid.
        let mut fields = ["0", "0", "*", "*", "*"].map(ToOwned::to_owned);
        let index = usize::try_from(seed).unwrap() % 5;
        fields[index] = part();
        let expression = fields.join(" ");
        let (refused, problem) = (refusals(&json!({"schedule": expression})), problem(&expression));
        match (problem, refused.is_empty()) {
            (None, true) => accepted += 1,
            (None, false) => panic!("the operator takes {expression:?}: {refused:?}"),
            (Some(problem), true) if !problem.contains("never comes") => missed.push(expression),
            (Some(_), _) => {}
        }
    }
    assert!(accepted > 100, "{accepted}: too little is tried");
    assert!(
        missed.iter().all(|known| known.contains('-')),
        "it takes none of these, and they are not refused: {missed:?}"
    );
    assert!(missed.len() < 10, "ranges of a name and a number: {missed:?}");
}
