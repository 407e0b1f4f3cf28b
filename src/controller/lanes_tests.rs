use super::{Lanes, Line, TaskKey};
use std::collections::VecDeque;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn key(name: &str) -> TaskKey {
    TaskKey { namespace: "default".into(), name: name.into() }
}

fn queued(queue: &mut UnboundedReceiver<TaskKey>) -> Vec<String> {
    std::iter::from_fn(|| queue.try_recv().ok()).map(|key| key.name).collect()
}

/// Lanes with twelve places for what is due, and three for the others.
fn lanes() -> (Lanes, UnboundedReceiver<TaskKey>) {
    let (sender, queue) = unbounded_channel();
    (Lanes::new(sender, 3), queue)
}

#[test]
fn first_come_first_served_and_each_once() {
    let (lanes, mut queue) = lanes();
    for name in ["a", "b", "c", "d", "e", "d"] {
        lanes.touched(key(name), Line::Begun);
    }
    assert_eq!(queued(&mut queue), ["a", "b", "c"]);
    lanes.settled(&key("elsewhere"));
    lanes.settled(&key("e"));
    assert!(queued(&mut queue).is_empty(), "they had nobody's place");
    lanes.settled(&key("b"));
    lanes.settled(&key("b"));
    assert_eq!(queued(&mut queue), ["d"]);
    lanes.settled(&key("a"));
    assert_eq!(queued(&mut queue), ["e"]);
    lanes.settled(&key("c"));
    assert!(queued(&mut queue).is_empty(), "d was in line once");
}

#[test]
fn what_is_touched_while_it_is_inside_gets_into_line_again() {
    let (lanes, mut queue) = lanes();
    for name in ["a", "b", "c", "a", "a", "d"] {
        lanes.touched(key(name), Line::Begun);
    }
    assert_eq!(queued(&mut queue), ["a", "b", "c"]);
    lanes.settled(&key("a"));
    assert_eq!(queued(&mut queue), ["d"], "behind the others");
    lanes.settled(&key("b"));
    assert_eq!(queued(&mut queue), ["a"], "once");
    for name in ["a", "c", "d"] {
        lanes.settled(&key(name));
    }
    assert!(queued(&mut queue).is_empty());
}

/// How 16 places, and 64 for what is due, are shared when much waits in each line, and so many clean-ups: clean-ups, new,
/// begun, due.
fn shares(clean_ups: usize) -> [usize; 4] {
    let (sender, mut queue) = unbounded_channel();
    let lanes = Lanes::new(sender, 16);
    let storms = [("clean", Line::CleanUp), ("new", Line::New), ("begun", Line::Begun), ("due", Line::Due)];
    let mut inside = VecDeque::new();
    for (of, line) in storms {
        let many = if line == Line::CleanUp { clean_ups } else { 200 };
        (0..many).for_each(|n| lanes.touched(key(&format!("{of}-{n}")), line));
        inside.extend(queued(&mut queue));
    }
    assert_eq!(inside.len(), 80);
    for _ in 0..100 {
        lanes.settled(&key(&inside.pop_front().unwrap()));
        inside.extend(queued(&mut queue));
    }
    storms.map(|(of, _)| inside.iter().filter(|name| name.starts_with(of)).count())
}

#[test]
fn each_line_has_its_share() {
    assert_eq!(shares(200), [2, 7, 7, 64]);
    assert_eq!(shares(1024), [2, 7, 7, 64], "64 for each place");
    let [clean_ups, new, begun, due] = shares(2000);
    assert!(clean_ups >= 5 && new >= 5 && begun >= 5, "before they fill the cluster: {clean_ups}, {new}, {begun}");
    assert_eq!(due, 64);
}

#[test]
fn clean_ups_that_come_again_and_again_are_not_many() {
    let (sender, mut queue) = unbounded_channel();
    let lanes = Lanes::new(sender, 8);
    for name in ["a", "b", "c"] {
        lanes.touched(key(name), Line::CleanUp);
    }
    for _ in 0..1000 {
        for line in [Line::Begun, Line::CleanUp] {
            lanes.touched(key("b"), line);
            lanes.settled(&key("b"));
        }
    }
    assert!(!queued(&mut queue).contains(&"c".to_owned()), "one of eight places, and a has it");
    lanes.settled(&key("a"));
    assert_eq!(queued(&mut queue).len(), 1);
}

#[test]
fn a_storm_of_what_is_due_holds_up_nothing_else() {
    let (lanes, mut queue) = lanes();
    for n in 0..20 {
        lanes.touched(key(&format!("due-{n}")), Line::Due);
    }
    assert_eq!(queued(&mut queue).len(), 12);
    for (name, line) in [("begun", Line::Begun), ("new", Line::New), ("left", Line::CleanUp)] {
        lanes.touched(key(name), line);
        assert_eq!(queued(&mut queue), [name]);
    }
    lanes.settled(&key("begun"));
    assert!(queued(&mut queue).is_empty(), "nor do they make way for it");
    lanes.settled(&key("due-1"));
    assert_eq!(queued(&mut queue), ["due-12"]);
}

#[test]
fn clean_ups_leave_places_free() {
    let (sender, mut queue) = unbounded_channel();
    let lanes = Lanes::new(sender, 16);
    for n in 0..10 {
        lanes.touched(key(&n.to_string()), Line::CleanUp);
    }
    assert_eq!(queued(&mut queue), ["0", "1"]);
    lanes.touched(key("5"), Line::Begun);
    assert_eq!(queued(&mut queue), ["5"], "it is more than a clean-up now");
    lanes.settled(&key("0"));
    assert_eq!(queued(&mut queue), ["2"]);
}

#[test]
fn there_is_time_while_few_are_let_in_or_in_line_for_what_is_urgent() {
    let (sender, _queue) = unbounded_channel();
    let lanes = Lanes::new(sender, 16);
    for n in 0..100 {
        lanes.touched(key(&format!("clean-up-{n}")), Line::CleanUp);
    }
    for line in [Line::Due, Line::Begun, Line::New] {
        let urgent = ["a", "b", "c"].map(key);
        let has_time = urgent.clone().map(|key| {
            lanes.touched(key, line);
            lanes.has_time()
        });
        assert_eq!(has_time, [true, true, false], "{line:?}");
        for key in &urgent {
            lanes.settled(key);
        }
        assert!(lanes.has_time(), "{line:?}");
    }
}

#[test]
fn what_has_begun_changes_its_line() {
    let (lanes, mut queue) = lanes();
    for name in ["a", "b", "c", "d", "e"] {
        lanes.touched(key(name), Line::New);
    }
    lanes.touched(key("e"), Line::Begun);
    lanes.touched(key("e"), Line::New);
    queued(&mut queue);
    for name in ["a", "b", "c", "d", "e"] {
        lanes.settled(&key(name));
    }
    let order = queued(&mut queue);
    assert_eq!(order.len(), 2, "each once: {order:?}");
    assert!(order.contains(&"d".to_owned()) && order.contains(&"e".to_owned()));
}

#[test]
fn what_is_due_waits_for_nothing_else_and_changes_its_line() {
    let (lanes, mut queue) = lanes();
    for name in ["a", "b", "c", "d", "e"] {
        lanes.touched(key(name), Line::Begun);
    }
    assert_eq!(queued(&mut queue), ["a", "b", "c"]);
    for name in ["due-0", "due-1", "e"] {
        lanes.touched(key(name), Line::Due);
        assert_eq!(queued(&mut queue), [name], "it has a place of its own");
    }
    lanes.touched(key("a"), Line::Due);
    lanes.touched(key("a"), Line::New);
    lanes.settled(&key("a"));
    assert_eq!(queued(&mut queue), ["a", "d"]);
}

#[test]
fn with_one_place_or_two_every_line_has_its_turn() {
    for places in [1, 2] {
        let (sender, mut queue) = unbounded_channel();
        let lanes = Lanes::new(sender, places);
        let storms = [("due", Line::Due), ("begun", Line::Begun), ("new", Line::New), ("clean", Line::CleanUp)];
        for (of, line) in storms {
            (0..20).for_each(|n| lanes.touched(key(&format!("{of}-{n}")), line));
        }
        let mut order = queued(&mut queue);
        for n in 0..40 {
            lanes.settled(&key(&order[n].clone()));
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
        let lanes = Lanes::new(sender, places);
        for n in 0..100 {
            lanes.touched(key(&n.to_string()), if n % 2 == 0 { Line::New } else { Line::Begun });
        }
        assert_eq!(queued(&mut queue).len(), most, "of {places}");
        (0..200).for_each(|n| lanes.touched(key(&format!("due-{n}")), Line::Due));
        assert_eq!(queued(&mut queue).len(), 4 * most, "of {places}, due");
    }
}
