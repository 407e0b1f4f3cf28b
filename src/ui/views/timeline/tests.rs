use super::*;
use crate::core::testing::at;
use crate::ui::query::Query;
use crate::ui::sight::Sight;
use crate::ui::store::Store;
use crate::ui::testing::{ALL, task, time};
use serde_json::{Value, json};

fn of(status: &Value, backoff: &Value) -> Timeline {
    let mut task = task("shop", "t", status);
    task.spec.backoff = serde_json::from_value(backoff.clone()).unwrap();
    let (store, sight, query) = (Store::default(), Sight::all(), Query::parse(""));
    timeline(
        Look { store: &store, sight: &sight, query: &query, now: at(200), watched: &ALL, user: None, options: "" },
        &task,
    )
}

fn entry(attempt: i32, from: i64, to: i64, wait: Option<i64>) -> Value {
    json!({"attempt": attempt, "podName": "p", "reason": "Error", "exitCode": 3, "action": "Retry", "message": "m",
        "startTime": time(from), "finishTime": time(to), "delayMilliseconds": wait.map(|seconds| seconds * 1000)})
}

#[test]
fn each_wait_is_drawn_with_the_range_of_its_jitter() {
    let history = json!([entry(1, 0, 10, Some(50)), entry(2, 60, 70, Some(90))]);
    let current = json!({"number": 3, "dueTime": "2026-11-22T10:02:40.000000Z"});
    let status = json!({"state": "Waiting", "retries": 2, "history": history, "current": current});
    let timeline = of(&status, &json!({"initialDelaySeconds": 40, "maxDelaySeconds": 900, "jitter": {"percent": 50}}));
    assert_eq!(timeline.rows.iter().map(|row| row.number.as_str()).collect::<Vec<_>>(), ["2", "1"]);
    assert_eq!((timeline.rows[1].wait.as_str(), timeline.rows[1].range.as_str()), ("50s", "20s to 1m0s"));
    assert_eq!(timeline.rows[0].range, "40s to 2m0s");
    let picture = timeline.picture.unwrap();
    let wait = picture.bars[1].wait.as_ref().unwrap();
    assert_eq!(wait.title, "Then a wait of 50s, which the jitter picked from 20s to 1m0s.");
    // From second 0 to second 190, the latest end of the last wait: 92 percent of the width.
    let place = |second: f64| format!("{:.2}%", 7.0 + 92.0 * second / 190.0);
    assert_eq!((&wait.x, &wait.end), (&place(10.0), &place(60.0)));
    let (x, width) = wait.range.as_ref().unwrap();
    assert_eq!((x, width), (&place(30.0), &format!("{:.2}%", 92.0 * 40.0 / 190.0)));
}

#[test]
fn what_runs_goes_up_to_now_and_what_has_not_begun_has_no_picture() {
    let current = json!({"number": 1, "podName": "p", "createTime": "2026-11-22T10:01:40.000000Z"});
    let timeline = of(&json!({"state": "Running", "current": current}), &json!({}));
    assert_eq!((timeline.rows[0].result.as_str(), timeline.rows[0].ran.as_str()), ("Running", "1m40s"));
    assert_eq!(timeline.picture.unwrap().bars.len(), 1);
    let timeline = of(&json!({"state": "Pending", "current": {"number": 1}}), &json!({}));
    assert!(timeline.picture.is_none() && timeline.rows.is_empty());
}

#[test]
fn a_wait_without_jitter_has_no_band() {
    let status = json!({"retries": 1, "history": [entry(1, 0, 10, Some(50))]});
    let timeline = of(&status, &json!({"initialDelaySeconds": 50, "jitter": {"mode": "None"}}));
    assert_eq!(timeline.rows[0].range, "no jitter");
    assert_eq!(timeline.picture.unwrap().bars[0].wait.as_ref().unwrap().range, None);
}

#[test]
fn the_axis_has_few_marks_whatever_the_time() {
    for seconds in [0, 1, 7, 59, 61, 3000, 86_000, 1_000_000, 100_000_000] {
        let timeline = of(&json!({"history": [entry(1, 0, seconds, None)]}), &json!({}));
        let ticks = timeline.picture.unwrap().ticks;
        assert!((1..=8).contains(&ticks.len()), "{seconds}: {ticks:?}");
    }
}

#[test]
fn clocks_that_disagree_break_nothing() {
    let history = json!([entry(2, 50, 20, Some(-5)), entry(1, 100, 0, Some(i64::MAX / 1000))]);
    let timeline = of(&json!({"history": history}), &json!({}));
    for bar in timeline.picture.unwrap().bars {
        for place in [&bar.x, &bar.width] {
            let place: f64 = place.trim_end_matches('%').parse().unwrap();
            assert!((0.0..=100.0).contains(&place), "{bar:?}");
        }
    }
}
