use super::{Priority, TaskKey, WorkQueue};
use crate::telemetry::metrics::Metrics;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn key(name: &str) -> TaskKey {
    TaskKey { namespace: "default".into(), name: name.into() }
}

fn queue(concurrency: u16) -> WorkQueue {
    WorkQueue::new(concurrency, &Metrics::default())
}

/// The names of all tasks that may run now, in order.
fn dispatched(queue: &WorkQueue) -> Vec<String> {
    std::iter::from_fn(|| queue.try_next()).map(|(key, _)| key.name).collect()
}

#[test]
fn first_come_first_served_and_each_once() {
    let queue = queue(3);
    for name in ["a", "b", "c", "d", "e", "d"] {
        queue.add(key(name), Priority::Active);
    }
    assert_eq!(dispatched(&queue), ["a", "b", "c"]);
    queue.done(&key("elsewhere"));
    queue.done(&key("e"));
    assert!(dispatched(&queue).is_empty(), "neither was running");
    queue.done(&key("b"));
    queue.done(&key("b"));
    assert_eq!(dispatched(&queue), ["d"]);
    queue.done(&key("a"));
    assert_eq!(dispatched(&queue), ["e"]);
    queue.done(&key("c"));
    assert!(dispatched(&queue).is_empty(), "d was added twice and runs once");
}

#[test]
fn a_task_that_is_added_while_it_runs_is_dispatched_again_after_it() {
    let queue = queue(3);
    for name in ["a", "b", "c"] {
        queue.add(key(name), Priority::Active);
    }
    assert_eq!(dispatched(&queue), ["a", "b", "c"]);
    for name in ["a", "a", "d"] {
        queue.add(key(name), Priority::Active);
    }
    queue.done(&key("a"));
    assert_eq!(dispatched(&queue), ["d"], "a is behind the others");
    queue.done(&key("b"));
    assert_eq!(dispatched(&queue), ["a"], "once");
    for name in ["a", "c", "d"] {
        queue.done(&key(name));
    }
    assert!(dispatched(&queue).is_empty());
}

/// How a concurrency of 16, and of 64 for due tasks, is shared while much of each priority waits: the running cleanups,
/// new, active and due tasks.
fn shares(cleanups: usize) -> [usize; 4] {
    let queue = queue(16);
    let bursts =
        [("clean", Priority::Cleanup), ("new", Priority::New), ("active", Priority::Active), ("due", Priority::Due)];
    let mut running = VecDeque::new();
    for (name, priority) in bursts {
        let many = if priority == Priority::Cleanup { cleanups } else { 200 };
        (0..many).for_each(|n| queue.add(key(&format!("{name}-{n}")), priority));
        running.extend(dispatched(&queue));
    }
    assert_eq!(running.len(), 80);
    for _ in 0..100 {
        queue.done(&key(&running.pop_front().unwrap()));
        running.extend(dispatched(&queue));
    }
    bursts.map(|(name, _)| running.iter().filter(|key| key.starts_with(name)).count())
}

#[test]
fn each_priority_has_its_share() {
    assert_eq!(shares(200), [2, 7, 7, 64]);
    assert_eq!(shares(1024), [2, 7, 7, 64], "64 times the concurrency");
    let [cleanups, new, active, due] = shares(2000);
    assert!(cleanups >= 5 && new >= 5 && active >= 5, "before they fill the cluster: {cleanups}, {new}, {active}");
    assert_eq!(due, 64);
}

#[test]
fn a_cleanup_that_is_added_again_and_again_takes_no_share_of_others() {
    let queue = queue(8);
    for name in ["a", "b", "c"] {
        queue.add(key(name), Priority::Cleanup);
    }
    assert_eq!(dispatched(&queue), ["a"], "one of eight");
    for _ in 0..1000 {
        queue.add(key("b"), Priority::Active);
        assert_eq!(dispatched(&queue), ["b"]);
        queue.add(key("b"), Priority::Cleanup);
        queue.done(&key("b"));
        assert!(dispatched(&queue).is_empty());
    }
    queue.done(&key("a"));
    assert_eq!(dispatched(&queue).len(), 1);
}

#[test]
fn a_burst_of_due_tasks_delays_nothing_else() {
    let queue = queue(3);
    for n in 0..20 {
        queue.add(key(&format!("due-{n}")), Priority::Due);
    }
    assert_eq!(dispatched(&queue).len(), 12);
    for (name, priority) in [("active", Priority::Active), ("new", Priority::New), ("cleanup", Priority::Cleanup)] {
        queue.add(key(name), priority);
        assert_eq!(dispatched(&queue), [name]);
    }
    queue.done(&key("active"));
    assert!(dispatched(&queue).is_empty(), "nor do due tasks use the concurrency of the others");
    queue.done(&key("due-1"));
    assert_eq!(dispatched(&queue), ["due-12"]);
}

#[test]
fn cleanups_use_a_fraction_of_the_concurrency() {
    let queue = queue(16);
    for n in 0..10 {
        queue.add(key(&n.to_string()), Priority::Cleanup);
    }
    assert_eq!(dispatched(&queue), ["0", "1"]);
    queue.add(key("5"), Priority::Active);
    assert_eq!(dispatched(&queue), ["5"], "it is more than a cleanup now");
    queue.done(&key("0"));
    assert_eq!(dispatched(&queue), ["2"]);
}

#[test]
fn the_queue_is_idle_while_little_urgent_work_waits_or_runs() {
    let queue = queue(16);
    for n in 0..100 {
        queue.add(key(&format!("cleanup-{n}")), Priority::Cleanup);
    }
    dispatched(&queue);
    for priority in [Priority::Due, Priority::Active, Priority::New] {
        let has_little_urgent_work = ["a", "b", "c"].map(|name| {
            queue.add(key(name), priority);
            queue.has_little_urgent_work()
        });
        assert_eq!(has_little_urgent_work, [true, true, false], "{priority:?}, waiting");
        assert_eq!(dispatched(&queue), ["a", "b", "c"], "{priority:?}");
        assert!(!queue.has_little_urgent_work(), "{priority:?}, running");
        for name in ["a", "b", "c"] {
            queue.done(&key(name));
        }
        assert!(queue.has_little_urgent_work(), "{priority:?}");
    }
}

#[test]
fn a_waiting_task_keeps_its_most_urgent_priority() {
    let queue = queue(3);
    for name in ["a", "b", "c", "d", "e"] {
        queue.add(key(name), Priority::New);
    }
    assert_eq!(dispatched(&queue), ["a", "b", "c"]);
    queue.add(key("e"), Priority::Active);
    queue.add(key("e"), Priority::New);
    for name in ["a", "b", "c"] {
        queue.done(&key(name));
    }
    assert_eq!(queue.try_next(), Some((key("e"), Priority::Active)));
    assert_eq!(queue.try_next(), Some((key("d"), Priority::New)));
    assert_eq!(queue.try_next(), None, "each once");
}

#[test]
fn a_due_task_waits_for_nothing_but_its_own_reconcile() {
    let queue = queue(3);
    for name in ["a", "b", "c", "d", "e"] {
        queue.add(key(name), Priority::Active);
    }
    assert_eq!(dispatched(&queue), ["a", "b", "c"]);
    for name in ["due-0", "due-1", "e"] {
        queue.add(key(name), Priority::Due);
        assert_eq!(dispatched(&queue), [name]);
    }
    queue.add(key("a"), Priority::Due);
    queue.add(key("a"), Priority::New);
    queue.done(&key("a"));
    assert_eq!(dispatched(&queue), ["a", "d"]);
}

#[test]
fn with_a_concurrency_of_one_or_two_no_priority_starves() {
    for concurrency in [1, 2] {
        let queue = queue(concurrency);
        let bursts = [
            ("due", Priority::Due),
            ("active", Priority::Active),
            ("new", Priority::New),
            ("cleanup", Priority::Cleanup),
        ];
        for (name, priority) in bursts {
            (0..20).for_each(|n| queue.add(key(&format!("{name}-{n}")), priority));
        }
        let mut order = dispatched(&queue);
        for n in 0..40 {
            queue.done(&key(&order[n].clone()));
            order.extend(dispatched(&queue));
        }
        for (name, _) in bursts {
            let turns = order.iter().filter(|key| key.starts_with(name)).count();
            assert!(turns >= 2, "{concurrency}: {order:?}");
        }
    }
}

#[test]
fn the_concurrency_is_used_and_at_least_one() {
    for (concurrency, most) in [(0, 1), (1, 1), (2, 2), (32, 32)] {
        let queue = queue(concurrency);
        for n in 0..100 {
            queue.add(key(&n.to_string()), if n % 2 == 0 { Priority::New } else { Priority::Active });
        }
        assert_eq!(dispatched(&queue).len(), most, "of {concurrency}");
        (0..200).for_each(|n| queue.add(key(&format!("due-{n}")), Priority::Due));
        assert_eq!(dispatched(&queue).len(), 4 * most, "of {concurrency}, due");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_delay_of_each_priority_holds() {
    let queue = queue(32);
    let begun = Instant::now();
    let millis = |millis| Some(Duration::from_millis(millis));
    queue.add_after(key("sooner"), Priority::Due, millis(60_000));
    queue.add_after(key("later"), Priority::Due, millis(1_000));
    queue.add_after(key("cancelled"), Priority::Due, millis(2_000));
    queue.add_after(key("sooner"), Priority::Due, millis(1_500));
    queue.add_after(key("later"), Priority::Due, millis(3_000));
    queue.add_after(key("cancelled"), Priority::Due, None);
    queue.add_after(key("deleted"), Priority::Cleanup, millis(2_000));
    queue.forget(&key("deleted"));
    queue.add_after(key("sooner"), Priority::Cleanup, millis(5_000));
    for (name, priority, after) in
        [("sooner", Priority::Due, 1_500), ("later", Priority::Due, 3_000), ("sooner", Priority::Cleanup, 5_000)]
    {
        assert_eq!(queue.next().await, (key(name), priority));
        assert_eq!(begun.elapsed().as_millis(), after, "{name}");
        queue.done(&key(name));
    }
    assert!(tokio::time::timeout(Duration::from_secs(86_400), queue.next()).await.is_err(), "nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_consumer_notices_what_is_added_done_and_sooner() {
    let queue = Arc::new(queue(1));
    let consumer = queue.clone();
    let begun = Instant::now();
    let mut next = tokio::spawn(async move {
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push((consumer.next().await.0.name, begun.elapsed().as_millis()));
        }
        order
    });
    let steps: [&dyn Fn(); 5] = [
        &|| queue.add(key("a"), Priority::Active),
        &|| queue.add_after(key("b"), Priority::Due, Some(Duration::from_secs(3600))),
        &|| queue.add_after(key("c"), Priority::Due, Some(Duration::ZERO)),
        &|| queue.add(key("d"), Priority::Active),
        &|| queue.done(&key("a")),
    ];
    for step in steps {
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut next).await.is_err());
        step();
    }
    let expected = [("a", 10), ("c", 30), ("d", 50), ("b", 3_600_020)];
    assert_eq!(next.await.unwrap(), expected.map(|(name, millis)| (name.to_owned(), millis)));
}

#[tokio::test(start_paused = true)]
async fn depth_and_waiting_time_are_measured_by_priority() {
    let metrics = Metrics::default();
    let shown = |line: &str| {
        let text = metrics.encode().unwrap();
        assert!(text.lines().any(|shown| shown == format!("retryabletask_workqueue_{line}")), "{line}: {text}");
    };
    let queue = WorkQueue::new(1, &metrics);
    shown(r#"depth{priority="Cleanup"} 0"#);
    for name in ["a", "b", "c"] {
        queue.add(key(name), Priority::New);
        queue.add(key(name), Priority::New);
    }
    queue.add_after(key("d"), Priority::New, Some(Duration::from_secs(60)));
    shown(r#"depth{priority="New"} 3"#);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(dispatched(&queue), ["a"]);
    shown(r#"depth{priority="New"} 2"#);
    queue.add(key("b"), Priority::Due);
    shown(r#"depth{priority="New"} 1"#);
    shown(r#"depth{priority="Due"} 1"#);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(dispatched(&queue), ["b"]);
    shown(r#"queue_duration_seconds_sum{priority="New"} 2.0"#);
    shown(r#"queue_duration_seconds_sum{priority="Due"} 5.0"#);
    // Another scope of the same process.
    WorkQueue::new(1, &metrics).add(key("e"), Priority::New);
    shown(r#"depth{priority="New"} 1"#);
    drop(queue);
    shown(r#"depth{priority="New"} 0"#);
}
