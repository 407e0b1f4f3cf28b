use super::{Priority, TaskKey, WorkQueue};
use std::collections::VecDeque;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn key(name: &str) -> TaskKey {
    TaskKey { namespace: "default".into(), name: name.into() }
}

fn queued(queue: &mut UnboundedReceiver<TaskKey>) -> Vec<String> {
    std::iter::from_fn(|| queue.try_recv().ok()).map(|key| key.name).collect()
}

/// Lanes with twelve places for what is due, and three for the others.
fn work_queue() -> (WorkQueue, UnboundedReceiver<TaskKey>) {
    let (sender, queue) = unbounded_channel();
    (WorkQueue::new(sender, 3), queue)
}

#[test]
fn first_come_first_served_and_each_once() {
    let (work_queue, mut queue) = work_queue();
    for name in ["a", "b", "c", "d", "e", "d"] {
        work_queue.add(key(name), Priority::Active);
    }
    assert_eq!(queued(&mut queue), ["a", "b", "c"]);
    work_queue.done(&key("elsewhere"));
    work_queue.done(&key("e"));
    assert!(queued(&mut queue).is_empty(), "they had nobody's place");
    work_queue.done(&key("b"));
    work_queue.done(&key("b"));
    assert_eq!(queued(&mut queue), ["d"]);
    work_queue.done(&key("a"));
    assert_eq!(queued(&mut queue), ["e"]);
    work_queue.done(&key("c"));
    assert!(queued(&mut queue).is_empty(), "d was in line once");
}

#[test]
fn what_is_touched_while_it_is_inside_gets_into_line_again() {
    let (work_queue, mut queue) = work_queue();
    for name in ["a", "b", "c", "a", "a", "d"] {
        work_queue.add(key(name), Priority::Active);
    }
    assert_eq!(queued(&mut queue), ["a", "b", "c"]);
    work_queue.done(&key("a"));
    assert_eq!(queued(&mut queue), ["d"], "behind the others");
    work_queue.done(&key("b"));
    assert_eq!(queued(&mut queue), ["a"], "once");
    for name in ["a", "c", "d"] {
        work_queue.done(&key(name));
    }
    assert!(queued(&mut queue).is_empty());
}

/// How 16 places, and 64 for what is due, are shared when much waits in each line, and so many clean-ups: clean-ups, new,
/// begun, due.
fn shares(cleanups: usize) -> [usize; 4] {
    let (sender, mut queue) = unbounded_channel();
    let work_queue = WorkQueue::new(sender, 16);
    let storms =
        [("clean", Priority::Cleanup), ("new", Priority::New), ("begun", Priority::Active), ("due", Priority::Due)];
    let mut inside = VecDeque::new();
    for (of, priority) in storms {
        let many = if priority == Priority::Cleanup { cleanups } else { 200 };
        (0..many).for_each(|n| work_queue.add(key(&format!("{of}-{n}")), priority));
        inside.extend(queued(&mut queue));
    }
    assert_eq!(inside.len(), 80);
    for _ in 0..100 {
        work_queue.done(&key(&inside.pop_front().unwrap()));
        inside.extend(queued(&mut queue));
    }
    storms.map(|(of, _)| inside.iter().filter(|name| name.starts_with(of)).count())
}

#[test]
fn each_line_has_its_share() {
    assert_eq!(shares(200), [2, 7, 7, 64]);
    assert_eq!(shares(1024), [2, 7, 7, 64], "64 for each place");
    let [cleanups, new, begun, due] = shares(2000);
    assert!(cleanups >= 5 && new >= 5 && begun >= 5, "before they fill the cluster: {cleanups}, {new}, {begun}");
    assert_eq!(due, 64);
}

#[test]
fn cleanups_that_come_again_and_again_are_not_many() {
    let (sender, mut queue) = unbounded_channel();
    let work_queue = WorkQueue::new(sender, 8);
    for name in ["a", "b", "c"] {
        work_queue.add(key(name), Priority::Cleanup);
    }
    for _ in 0..1000 {
        for priority in [Priority::Active, Priority::Cleanup] {
            work_queue.add(key("b"), priority);
            work_queue.done(&key("b"));
        }
    }
    assert!(!queued(&mut queue).contains(&"c".to_owned()), "one of eight places, and a has it");
    work_queue.done(&key("a"));
    assert_eq!(queued(&mut queue).len(), 1);
}

#[test]
fn a_storm_of_what_is_due_holds_up_nothing_else() {
    let (work_queue, mut queue) = work_queue();
    for n in 0..20 {
        work_queue.add(key(&format!("due-{n}")), Priority::Due);
    }
    assert_eq!(queued(&mut queue).len(), 12);
    for (name, priority) in [("begun", Priority::Active), ("new", Priority::New), ("left", Priority::Cleanup)] {
        work_queue.add(key(name), priority);
        assert_eq!(queued(&mut queue), [name]);
    }
    work_queue.done(&key("begun"));
    assert!(queued(&mut queue).is_empty(), "nor do they make way for it");
    work_queue.done(&key("due-1"));
    assert_eq!(queued(&mut queue), ["due-12"]);
}

#[test]
fn cleanups_leave_places_free() {
    let (sender, mut queue) = unbounded_channel();
    let work_queue = WorkQueue::new(sender, 16);
    for n in 0..10 {
        work_queue.add(key(&n.to_string()), Priority::Cleanup);
    }
    assert_eq!(queued(&mut queue), ["0", "1"]);
    work_queue.add(key("5"), Priority::Active);
    assert_eq!(queued(&mut queue), ["5"], "it is more than a cleanup now");
    work_queue.done(&key("0"));
    assert_eq!(queued(&mut queue), ["2"]);
}

#[test]
fn there_is_time_while_few_are_let_in_or_in_line_for_what_is_urgent() {
    let (sender, _queue) = unbounded_channel();
    let work_queue = WorkQueue::new(sender, 16);
    for n in 0..100 {
        work_queue.add(key(&format!("cleanup-{n}")), Priority::Cleanup);
    }
    for priority in [Priority::Due, Priority::Active, Priority::New] {
        let urgent = ["a", "b", "c"].map(key);
        let has_time = urgent.clone().map(|key| {
            work_queue.add(key, priority);
            work_queue.has_time()
        });
        assert_eq!(has_time, [true, true, false], "{priority:?}");
        for key in &urgent {
            work_queue.done(key);
        }
        assert!(work_queue.has_time(), "{priority:?}");
    }
}

#[test]
fn what_has_begun_changes_its_line() {
    let (work_queue, mut queue) = work_queue();
    for name in ["a", "b", "c", "d", "e"] {
        work_queue.add(key(name), Priority::New);
    }
    work_queue.add(key("e"), Priority::Active);
    work_queue.add(key("e"), Priority::New);
    queued(&mut queue);
    for name in ["a", "b", "c", "d", "e"] {
        work_queue.done(&key(name));
    }
    let order = queued(&mut queue);
    assert_eq!(order.len(), 2, "each once: {order:?}");
    assert!(order.contains(&"d".to_owned()) && order.contains(&"e".to_owned()));
}

#[test]
fn what_is_due_waits_for_nothing_else_and_changes_its_line() {
    let (work_queue, mut queue) = work_queue();
    for name in ["a", "b", "c", "d", "e"] {
        work_queue.add(key(name), Priority::Active);
    }
    assert_eq!(queued(&mut queue), ["a", "b", "c"]);
    for name in ["due-0", "due-1", "e"] {
        work_queue.add(key(name), Priority::Due);
        assert_eq!(queued(&mut queue), [name], "it has a place of its own");
    }
    work_queue.add(key("a"), Priority::Due);
    work_queue.add(key("a"), Priority::New);
    work_queue.done(&key("a"));
    assert_eq!(queued(&mut queue), ["a", "d"]);
}

#[test]
fn with_one_place_or_two_every_line_has_its_turn() {
    for places in [1, 2] {
        let (sender, mut queue) = unbounded_channel();
        let work_queue = WorkQueue::new(sender, places);
        let storms =
            [("due", Priority::Due), ("begun", Priority::Active), ("new", Priority::New), ("clean", Priority::Cleanup)];
        for (of, priority) in storms {
            (0..20).for_each(|n| work_queue.add(key(&format!("{of}-{n}")), priority));
        }
        let mut order = queued(&mut queue);
        for n in 0..40 {
            work_queue.done(&key(&order[n].clone()));
            order.extend(queued(&mut queue));
        }
        for (of, _) in storms {
            let turns = order.iter().filter(|name| name.starts_with(of)).count();
            assert!(turns >= 2, "{places}: {order:?}");
        }
    }
}

#[test]
fn there_is_always_a_place() {
    for (places, most) in [(0, 1), (1, 1), (2, 2), (32, 32)] {
        let (sender, mut queue) = unbounded_channel();
        let work_queue = WorkQueue::new(sender, places);
        for n in 0..100 {
            work_queue.add(key(&n.to_string()), if n % 2 == 0 { Priority::New } else { Priority::Active });
        }
        assert_eq!(queued(&mut queue).len(), most, "of {places}");
        (0..200).for_each(|n| work_queue.add(key(&format!("due-{n}")), Priority::Due));
        assert_eq!(queued(&mut queue).len(), 4 * most, "of {places}, due");
    }
}
