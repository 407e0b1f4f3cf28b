use super::*;
use crate::telemetry::metrics::Metrics;
use jiff::SignedDuration;

fn shown(metrics: &Metrics) -> Vec<String> {
    let text = metrics.encode().unwrap();
    let of_tasks = ["retryabletask_tasks{", "retryabletask_oldest_pending_seconds{"];
    let lines = text.lines().filter(|line| of_tasks.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0"));
    lines.map(|line| line.trim_start_matches("retryabletask_").to_owned()).collect()
}

#[test]
fn a_namespace_is_shown_while_it_has_tasks() {
    let metrics = Metrics::default();
    let counts = metrics.task_counts();
    let running = TaskPlace { state: State::Running, pending_since: None };
    let failed = TaskPlace { state: State::Failed, pending_since: None };
    let unknown = TaskPlace { state: State::Unknown, pending_since: None };
    assert_eq!(shown(&metrics), Vec::<String>::new(), "a process that does not lead");
    for place in [running, failed, failed, unknown] {
        counts.enter("a", place);
    }
    counts.enter("b", failed);
    let of_a = |state: &str, count: u32| format!("tasks{{namespace=\"a\",state=\"{state}\"}} {count}");
    let of_b = r#"tasks{namespace="b",state="Failed"} 1"#.to_owned();
    assert_eq!(shown(&metrics), [of_a("Running", 1), of_a("Failed", 2), of_a("Unknown", 1), of_b.clone()]);
    for place in [running, failed, failed, unknown] {
        counts.leave("a", place);
    }
    assert_eq!(shown(&metrics), [of_b]);
    assert!(!metrics.encode().unwrap().contains(r#"namespace="a""#));
}

#[test]
fn the_oldest_pending_task_counts() {
    let metrics = Metrics::default();
    let counts = metrics.task_counts();
    let place = |hours| TaskPlace {
        state: State::Pending,
        pending_since: Some(Timestamp::now() - SignedDuration::from_hours(hours)),
    };
    let (old, new) = (place(5), place(1));
    let oldest = || -> u64 {
        let text = metrics.encode().unwrap();
        let line = text.lines().find(|line| line.starts_with("retryabletask_oldest_pending_seconds{")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    counts.enter("a", new);
    counts.enter("a", old);
    assert!(oldest() >= 5 * 3600);
    counts.leave("a", old);
    assert!((3600..5 * 3600).contains(&oldest()));
    counts.leave("a", new);
    counts.enter("a", place(-1));
    assert_eq!(oldest(), 0, "the clock was set back");
}
