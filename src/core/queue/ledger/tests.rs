//! The ledger in a small world: tasks want to start, start when they are granted, end. The names of the rules are those of
//! ARCHITECTURE.md.

mod circuit;
mod model;
mod opening;
mod probes;
mod recovery;
mod said;
mod speed;

use super::*;
use crate::api::{Action, HistoryEntry, TaskQueueSpec};
use crate::core::queue::facts::End;
use crate::core::queue::view::{Admission, QueueWaitReason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A ledger, and the tasks as they are stored.
pub(super) struct World {
    pub(super) ledger: Ledger,
    queue: TaskQueue,
    pub(super) tasks: BTreeMap<String, TaskFacts>,
    pub(super) now: i64,
}

impl World {
    pub(super) fn new(spec: Value) -> Self {
        let spec: TaskQueueSpec = serde_json::from_value(spec).unwrap();
        let mut queue = TaskQueue::new("q", spec);
        queue.metadata.uid = Some("queue".into());
        let mut ledger = Ledger::new("q".into(), at(0));
        ledger.set_queue(&queue, at(0));
        let mut world = Self { ledger, queue, tasks: BTreeMap::new(), now: 0 };
        world.turn();
        world
    }

    /// The spec changes.
    pub(super) fn edit(&mut self, spec: Value) -> Vec<String> {
        self.queue.spec = serde_json::from_value(spec).unwrap();
        let woken = self.ledger.set_queue(&self.queue, at(self.now));
        let mut woken: Vec<String> = woken.iter().map(ToString::to_string).collect();
        woken.extend(self.turn());
        woken
    }

    /// What is due is granted, and the circuit is stored as it is to be. Answers who may start.
    pub(super) fn turn(&mut self) -> Vec<String> {
        let mut granted: Vec<String> = self.ledger.advance(at(self.now)).iter().map(ToString::to_string).collect();
        while let Some(circuit) = self.ledger.circuit_to_store(at(self.now)) {
            self.queue.status.get_or_insert_default().circuit = circuit.clone();
            self.ledger.stored(circuit, at(self.now));
            granted.extend(self.ledger.advance(at(self.now)).iter().map(ToString::to_string));
        }
        granted
    }

    pub(super) fn pass(&mut self, seconds: i64) -> Vec<String> {
        self.now += seconds;
        self.turn()
    }

    pub(super) fn facts(&mut self, name: &str) -> &mut TaskFacts {
        self.tasks.entry(name.into()).or_insert_with(|| TaskFacts {
            uid: name.into(),
            name: name.into(),
            version: 0,
            queue: Some("q".into()),
            fairness_key: "".into(),
            held: None,
            is_waiting: false,
            is_due: true,
            is_finished: false,
            last_end: None,
        })
    }

    pub(super) fn observe(&mut self, name: &str) {
        let facts = self.facts(name).clone();
        self.ledger.observe(&facts, false, at(self.now));
    }

    /// The task's attempt is due. Answers who may start.
    pub(super) fn want(&mut self, name: &str, attempt: i32) -> Vec<String> {
        self.want_with(name, attempt, 0, None)
    }

    pub(super) fn want_with(&mut self, name: &str, attempt: i32, priority: i32, key: Option<&str>) -> Vec<String> {
        self.ask(name, attempt, priority, key);
        self.turn()
    }

    /// The task's attempt is due, and nothing is granted or stored yet.
    fn ask(&mut self, name: &str, attempt: i32, priority: i32, key: Option<&str>) {
        self.facts(name).fairness_key = key.unwrap_or_default().into();
        self.observe(name);
        let demand = self.demand(attempt, priority, key);
        let facts = self.facts(name).clone();
        self.ledger.demand(&facts, Some(&demand), at(self.now));
    }

    fn demand(&self, attempt: i32, priority: i32, key: Option<&str>) -> QueueDemand {
        QueueDemand {
            queue: "q".into(),
            attempt,
            is_retry: attempt > 1,
            retries_left: 10 - attempt,
            priority,
            fairness_key: key.map(Into::into),
            since: at(self.now),
        }
    }

    /// What the task is told: `granted`, `probe`, or the reason for which it waits.
    pub(super) fn told(&mut self, name: &str) -> &'static str {
        match self.ledger.view(&name.into(), at(self.now)).admission {
            Admission::Granted { probe: true, .. } => "probe",
            Admission::Granted { .. } => "granted",
            Admission::Waits { reason, .. } => reason.as_str(),
            Admission::Missing => "missing",
        }
    }

    /// The task's attempt starts: it must have been granted.
    pub(super) fn start(&mut self, name: &str) {
        let Admission::Granted { attempt, .. } = self.ledger.view(&name.into(), at(self.now)).admission else {
            panic!("{name} starts without a grant")
        };
        let since = Some(at(self.now));
        let held = Held { queue: "q".into(), attempt, is_retry: attempt > 1, since, is_held_up: false };
        self.facts(name).held = Some(held);
        self.facts(name).is_due = false;
        self.observe(name);
    }

    /// The attempt has ended. Answers who may start.
    pub(super) fn end(&mut self, name: &str, entry: HistoryEntry) -> Vec<String> {
        self.show_end(name, entry);
        self.turn()
    }

    /// The attempt has ended, and nothing is granted or stored yet.
    fn show_end(&mut self, name: &str, entry: HistoryEntry) {
        let now = at(self.now);
        let facts = self.facts(name);
        let attempt = facts.held.take().unwrap().attempt;
        facts.is_due = true;
        facts.is_finished = matches!(entry.action, Action::Complete | Action::Fail);
        let entry = HistoryEntry { attempt, finish_time: Some(Time(now)), ..entry };
        facts.last_end = Some(End { entry: Arc::new(entry), exhausted: false });
        self.observe(name);
    }

    /// A new process reads what is stored.
    pub(super) fn restart(&mut self) {
        self.ledger = Ledger::new("q".into(), at(self.now));
        self.ledger.begin(at(self.now));
        self.ledger.set_queue(&self.queue, at(self.now));
        for facts in self.tasks.values() {
            self.ledger.observe(facts, true, at(self.now));
        }
    }

    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let Counts { running, queued, waiting, slots: _ } = self.ledger.counts();
        (running, queued, waiting)
    }
}

pub(super) fn failed() -> HistoryEntry {
    HistoryEntry { reason: "Error".into(), error_type: Some("Unavailable".into()), action: Action::Retry, ..of_queue() }
}

fn of_queue() -> HistoryEntry {
    HistoryEntry { queue: Some("q".into()), ..HistoryEntry::default() }
}

pub(super) fn succeeded() -> HistoryEntry {
    HistoryEntry { reason: "Completed".into(), action: Action::Complete, ..of_queue() }
}

pub(super) fn neutral() -> HistoryEntry {
    HistoryEntry { reason: "Suspended".into(), action: Action::Ignore, ..of_queue() }
}

#[test]
fn q1_no_more_than_max_concurrent_hold_a_slot_and_q4_a_freed_slot_starts_the_head() {
    let mut world = World::new(json!({"maxConcurrent": 2}));
    assert_eq!(world.want("a", 1), ["a"]);
    assert_eq!(world.want("b", 1), ["b"]);
    assert_eq!(world.want("c", 1), [] as [&str; 0]);
    assert_eq!(world.want("d", 1), [] as [&str; 0]);
    world.start("a");
    world.start("b");
    assert_eq!((world.counts(), world.told("c")), ((2, 2, 0), "QueueFull"));
    assert_eq!(world.end("a", failed()), ["c"], "one slot wakes one task");
    world.start("c");
    assert_eq!(world.counts(), (2, 1, 0));
    // lowered, it stops nothing
    assert_eq!(world.edit(json!({"maxConcurrent": 1})), [] as [&str; 0]);
    assert_eq!(world.end("b", succeeded()), [] as [&str; 0]);
    assert_eq!(world.end("c", succeeded()), ["d"]);
}

#[test]
fn q3_what_leaves_the_line_or_the_cluster_gives_its_grant_back() {
    let mut world = World::new(json!({"maxConcurrent": 1}));
    world.want("a", 1);
    world.want("b", 1);
    // granted, and then deleted
    world.ledger.remove(&"a".into());
    assert_eq!(world.turn(), ["b"]);
    // granted, and then suspended: its reconcile wants nothing
    world.want("c", 1);
    let facts = world.facts("b").clone();
    world.ledger.demand(&facts, None, at(0));
    assert_eq!(world.turn(), ["c"]);
    // granted, known to its reconcile, and not used, whatever the reason: the next one starts, and not the same again
    world.want("d", 1);
    assert_eq!(world.told("c"), "granted");
    let (facts, demand) = (world.facts("c").clone(), world.demand(1, 0, None));
    world.ledger.demand(&facts, Some(&demand), at(0));
    assert_eq!(world.turn(), ["d"]);
    assert_eq!(world.counts(), (1, 0, 0));
    // the task is gone while it holds the slot
    world.start("d");
    world.ledger.remove(&"d".into());
    assert_eq!(world.counts(), (0, 0, 0));
}

#[test]
fn q11_retries_hold_no_more_than_their_share() {
    let mut world = World::new(json!({"maxConcurrent": 8, "retries": {"maxPercent": 25}}));
    let granted: Vec<_> = (0..5).flat_map(|n| world.want(&format!("retry{n}"), 2)).collect();
    assert_eq!(granted, ["retry0", "retry1"]);
    assert_eq!(world.told("retry2"), "RetriesFull");
    let granted: Vec<_> = (0..7).flat_map(|n| world.want(&format!("first{n}"), 1)).collect();
    assert_eq!(granted.len(), 6, "first attempts pass the retries that wait");
    // at least one
    let mut world = World::new(json!({"maxConcurrent": 1, "retries": {"maxPercent": 1}}));
    assert_eq!(world.want("retry", 2), ["retry"]);
}

#[test]
fn starts_come_at_their_rate_and_a_burst_after_a_pause() {
    let mut world = World::new(json!({"startRate": {"starts": 30, "perSeconds": 60, "burst": 3}}));
    for n in 0..9 {
        assert_eq!(world.want(&format!("t{n}"), 1), [] as [&str; 0], "the bucket is empty at first");
    }
    assert_eq!(world.told("t0"), "RateLimited");
    assert_eq!(world.ledger.next_advance(at(0)), Some(at(2)));
    assert_eq!(world.pass(1), [] as [&str; 0]);
    assert_eq!(world.pass(1), ["t0"]);
    assert_eq!(world.pass(100), ["t1", "t2", "t3"]);
    assert_eq!(world.pass(2), ["t4"]);
}

#[test]
fn a_hold_starts_nothing_and_a_drain_wakes_what_runs() {
    let mut world = World::new(json!({"maxConcurrent": 2}));
    world.want("a", 1);
    world.start("a");
    assert_eq!(world.edit(json!({"maxConcurrent": 2, "stopPolicy": "Hold"})), [] as [&str; 0]);
    assert_eq!(world.want("b", 1), [] as [&str; 0]);
    assert_eq!(world.told("b"), "Held");
    assert!(!world.ledger.view(&"a".into(), at(0)).drain);
    assert_eq!(world.edit(json!({"maxConcurrent": 2, "stopPolicy": "HoldAndDrain"})), ["a"]);
    assert!(world.ledger.view(&"a".into(), at(0)).drain);
    assert_eq!(world.end("a", neutral()), [] as [&str; 0]);
    assert_eq!(world.edit(json!({"maxConcurrent": 2})), ["b"]);
}

#[test]
fn a_task_whose_reconciles_fail_keeps_its_slot_for_a_while_only() {
    let mut world = World::new(json!({"maxConcurrent": 1}));
    assert_eq!(world.want("broken", 1), ["broken"]);
    assert_eq!(world.want("b", 1), [] as [&str; 0]);
    // one that fails before it has asked, and one whose write got no answer
    for told in ["", "granted"] {
        if !told.is_empty() {
            assert_eq!(world.told("broken"), told);
        }
        world.ledger.reconcile_failed(&"broken".into(), at(world.now));
        assert_eq!(world.pass(19), [] as [&str; 0]);
    }
    assert_eq!(world.ledger.next_advance(at(world.now)), Some(at(world.now + 1)));
    assert_eq!(world.pass(1), ["b"]);
    assert_eq!(world.want("broken", 1), [] as [&str; 0]);
    world.start("b");
    assert_eq!(world.end("b", succeeded()), ["broken"]);
    // the next one succeeds
    world.ledger.reconcile_failed(&"broken".into(), at(world.now));
    world.start("broken");
    assert_eq!((world.pass(30), world.counts().0), (vec![], 1));
}

#[test]
fn without_limits_those_who_waited_are_spread() {
    let mut world = World::new(json!({"stopPolicy": "Hold"}));
    for n in 0..200 {
        world.want(&format!("t{n}"), 1);
    }
    world.now = 3600;
    assert_eq!(world.edit(json!({})).len(), 0);
    assert_eq!(world.told("t7"), "Recovering");
    let starts: Vec<_> = (0..10).map(|_| world.pass(30).len()).collect();
    assert_eq!(starts.iter().sum::<usize>(), 200);
    assert!(starts.iter().all(|starts| (5..45).contains(starts)), "{starts:?}");
    // whoever comes later has not waited
    assert_eq!(world.want("new", 1), ["new"]);
}

#[test]
fn a_queue_that_is_missing_starts_nothing_and_another_one_begins_anew() {
    let mut world = World::new(json!({"maxConcurrent": 1}));
    world.want("a", 1);
    world.start("a");
    world.want("b", 1);
    let woken = world.ledger.remove_queue();
    assert_eq!(woken.iter().map(|name| &**name).collect::<Vec<_>>(), ["b"]);
    assert_eq!(world.told("b"), "missing");
    world.queue.metadata.uid = Some("another".into());
    world.edit(json!({"maxConcurrent": 2}));
    assert_eq!(world.counts(), (2, 0, 0), "what runs holds its slot");
    assert_eq!(world.told("b"), "granted");
}

#[test]
fn a_new_process_grants_nothing_before_it_has_heard_of_all_that_are_due() {
    let mut world = World::new(json!({"maxConcurrent": 1}));
    world.want_with("low", 1, -5, None);
    world.start("low");
    world.end("low", failed());
    for (name, priority) in [("a", 0), ("b", 0), ("c", 5)] {
        world.want_with(name, 1, priority, None);
    }
    world.tasks.get_mut("low").unwrap().is_due = false;
    world.restart();
    assert_eq!(world.want_with("a", 1, 0, None), [] as [&str; 0]);
    assert_eq!(world.want_with("b", 1, 0, None), [] as [&str; 0]);
    assert_eq!(world.want_with("c", 1, 5, None), ["c"], "the highest priority, although it came last");
    // whoever is never heard of holds up the others for a while only
    world.restart();
    world.want_with("b", 1, 0, None);
    assert_eq!(world.ledger.next_advance(at(world.now)), Some(at(world.now + 10)));
    assert_eq!(world.pass(10), ["b"]);
}

#[test]
fn q3_slots_are_what_the_tasks_statuses_say_after_a_restart() {
    let mut world = World::new(json!({"maxConcurrent": 3}));
    for name in ["a", "b", "c"] {
        world.want(name, 1);
        world.start(name);
    }
    world.end("b", failed());
    world.facts("b").is_waiting = true;
    world.facts("b").is_due = false;
    world.restart();
    assert_eq!(world.counts(), (2, 0, 1));
    assert_eq!(world.want("d", 1), ["d"]);
    assert_eq!(world.want("e", 1), [] as [&str; 0]);
}

#[test]
fn an_attempt_of_another_queue_is_not_this_ones() {
    let mut world = World::new(json!({"maxConcurrent": 1}));
    world.want("a", 1);
    world.start("a");
    // the spec names another queue: the slot stays until the attempt has ended
    world.facts("a").queue = Some("other".into());
    world.observe("a");
    assert_eq!(world.counts(), (1, 0, 0));
    world.want("b", 1);
    assert_eq!(world.end("a", failed()), ["b"]);
    assert!(!world.ledger.members.contains_key("a"));
}

#[test]
fn what_waits_says_for_what() {
    let mut world = World::new(json!({"maxConcurrent": 1}));
    world.want("a", 1);
    world.want("b", 1);
    let waits = |is_in_line, message: &str| Admission::Waits {
        reason: QueueWaitReason::Full,
        message: message.into(),
        is_in_line,
    };
    assert_eq!(world.ledger.view(&"b".into(), at(0)).admission, waits(true, "slots of TaskQueue q in use: all 1"));
    let not_synced = world.ledger.view(&"c".into(), at(0)).admission;
    assert_eq!(not_synced, waits(false, "slots of TaskQueue q in use: all 1"), "nobody has asked for it");
}
