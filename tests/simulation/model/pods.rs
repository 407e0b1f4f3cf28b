//! How Pods start, run and end.

use super::{World, calm, faulty, pod, pod_key};
use crate::{
    cluster::{DeadNode, Disruption, Ending, Fate, Odds, Truths, run_pods},
    faults::Rates,
    server::{ChangeKind, Resource, Verb},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

/// All versions of a Pod that has our finalizer and the fate of this seed.
async fn changes_of_pod(world: World, seed: u64, containers: Value) -> Vec<(ChangeKind, Value)> {
    let truths = Truths::default();
    tokio::spawn(run_pods(world.server.clone(), seed, Odds::default(), truths.clone()));
    tokio::task::yield_now().await;
    let mut body = pod("p", &["retryable.dev/attempt"], &[]);
    body["spec"]["containers"] = containers;
    world.server.user(Verb::Create, &pod_key("p"), body).unwrap();
    tokio::time::sleep(Duration::from_secs(20_000)).await;
    let state = world.server.lock();
    let changes = state.store.changes().iter();
    changes.filter(|c| c.key.resource == Resource::Pods).map(|c| (c.kind, (*c.object).clone())).collect()
}

fn terminal(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// How the main container ended, as the Pod shows it.
fn main_end(pod: &Value) -> Option<&Value> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    statuses.iter().find(|c| c["name"] == "task")?["state"].get("terminated")
}

#[test]
fn a_pods_status_changes_as_under_a_real_kubelet() {
    let mut ends = BTreeSet::new();
    for seed in 0..600 {
        let both = json!([{"name": "task", "image": "a"}, {"name": "sidecar", "image": "b"}]);
        let containers = if seed % 3 == 0 { both } else { json!([{"name": "task", "image": "a"}]) };
        let changes = faulty(seed, Rates::default(), move |world: World| changes_of_pod(world, seed, containers));
        for pair in changes.windows(2) {
            let (before, after) = (&pair[0].1, &pair[1].1);
            assert!(!terminal(before) || terminal(after), "seed {seed}: a Pod that had ended runs again");
            let deleted = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_string();
            assert!(!deleted(before) || deleted(after), "seed {seed}: a deletion was taken back");
            if let Some(end) = main_end(before) {
                assert_eq!(Some(end), main_end(after), "seed {seed}: an end was changed");
            }
        }
        let last = &changes.last().unwrap().1;
        // Of a Pod that was deleted by force from a dead node, nobody knows the end.
        let given_up = last["metadata"]["deletionGracePeriodSeconds"] == 0;
        assert!(terminal(last) || given_up, "seed {seed}: the Pod never ends: {last:#}");
        let status = &last["status"];
        if let Some(end) = main_end(last) {
            let finished: jiff::Timestamp = end["finishedAt"].as_str().unwrap().parse().unwrap();
            assert_eq!(finished.subsec_nanosecond(), 0);
            let phase = if end["exitCode"] == 0 { "Succeeded" } else { "Failed" };
            assert!(status["phase"] == phase || status["reason"] == "Evicted" || changes.len() < 3 || seed % 3 == 0);
        }
        let disrupted = status["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "DisruptionTarget");
        let end = main_end(last).map(|end| end["reason"].to_string());
        ends.insert((status["phase"].to_string(), status["reason"].to_string(), end, disrupted));
    }
    for phase in ["\"Succeeded\"", "\"Failed\""] {
        assert!(ends.iter().any(|(p, ..)| p == phase));
    }
    for reason in ["OOMKilled", "ContainerStatusUnknown", "Error", "Completed"] {
        assert!(ends.iter().any(|(_, _, end, _)| end.as_deref() == Some(&format!("\"{reason}\""))), "{reason}");
    }
    for (reason, disrupted) in [("Evicted", true), ("Evicted", false), ("OutOfcpu", false)] {
        assert!(ends.iter().any(|(_, r, _, d)| *r == format!("\"{reason}\"") && *d == disrupted), "{reason}");
    }
    assert!(ends.iter().any(|(_, reason, end, disrupted)| reason == "null" && end.is_some() && *disrupted));
}

#[test]
fn a_fate_depends_on_the_seed_and_the_name_alone() {
    let odds = Odds::default();
    assert_eq!(Fate::of(1, "default/p", &odds), Fate::of(1, "default/p", &odds));
    let of = |name: &str| (0..2000).map(|seed| Fate::of(seed, name, &odds)).collect::<Vec<_>>();
    let fates = of("default/p");
    assert_ne!(fates, of("default/q"));
    let some = |check: fn(&Fate) -> bool| assert!(fates.iter().any(check));
    some(|f| f.ending == Ending::Evicted(true));
    some(|f| f.ending == Ending::OutOfMemory(false));
    some(|f| matches!(&f.ending, Ending::Exit(2, Some(message)) if message.contains("doNotRetry")));
    some(|f| matches!(f.disruption, Some((_, Disruption::Forced))));
    some(|f| matches!(f.node_death, Some((_, DeadNode::Removed(_)))));
    some(|f| f.trouble.is_some() && f.refused.is_none());
}

#[test]
fn a_pod_that_exits_well_on_sigterm_succeeds() {
    // Found by trying: the first seed whose Pod would run for long, undisturbed, and exits with 0 at once on SIGTERM.
    let odds = Odds { disruption: 0, node_death: 0, trouble: 0, admission: 0, ..Odds::default() };
    let well = |fate: &Fate| {
        let (exit, after) = fate.on_term;
        exit == 0
            && after < Duration::from_secs(5)
            && fate.run > Duration::from_secs(100)
            && fate.schedule < fate.run / 10
    };
    let seed = (0..100_000).find(|seed| well(&Fate::of(*seed, "default/p", &odds))).unwrap();
    calm(move |world: World| async move {
        let truths = Truths::default();
        tokio::spawn(run_pods(world.server.clone(), seed, odds, truths.clone()));
        tokio::task::yield_now().await;
        let key = pod_key("p");
        world.server.user(Verb::Create, &key, pod("p", &["retryable.dev/attempt"], &[])).unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.object(&key).unwrap()["status"]["phase"], "Running");
        world.server.user(Verb::Delete, &key, json!({})).unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let last = world.object(&key).unwrap();
        assert_eq!(
            (&last["status"]["phase"], main_end(&last).unwrap()["exitCode"].as_i64()),
            (&json!("Succeeded"), Some(0))
        );
        assert_eq!(last["metadata"]["deletionGracePeriodSeconds"], 0, "the kubelet is done, the finalizer is left");
        let truth = truths.lock().unwrap().values().next().cloned().unwrap();
        assert_eq!(truth.exit, Some(0));
        assert!(truth.ended.unwrap() > Duration::from_secs(60) && truth.started.is_some() && truth.node_died.is_none());
    });
}

/// A Pod that has run for a minute and then gets a deadline; it exits with 7 some seconds after SIGTERM.
async fn stopped_by_deadline(world: World, dies: bool) -> Value {
    let odds =
        Odds { disruption: 0, node_death: if dies { 1000 } else { 0 }, trouble: 0, admission: 0, ..Odds::default() };
    let fits = |fate: &Fate| {
        let (exit, after) = fate.on_term;
        let dead = fate.node_death.as_ref().is_none_or(|(after, what)| {
            *after < Duration::from_secs(10) && matches!(what, DeadNode::Removed(after) if after.as_secs() > 200)
        });
        let lasts = (2..10).contains(&after.as_secs()) && fate.run > Duration::from_secs(100);
        exit == 7 && dead && lasts && fate.schedule < fate.run / 10
    };
    let seed = (0..1_000_000).find(|seed| fits(&Fate::of(*seed, "default/p", &odds))).unwrap();
    tokio::spawn(run_pods(world.server.clone(), seed, odds, Truths::default()));
    tokio::task::yield_now().await;
    let key = pod_key("p");
    world.server.user(Verb::Create, &key, pod("p", &["retryable.dev/attempt"], &[])).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.server.user(Verb::Patch, &key, json!({"spec": {"activeDeadlineSeconds": 1}})).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.object(&key).unwrap()["status"]["phase"], "Running", "its grace period is not over");
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.object(&key).unwrap()
}

#[test]
fn a_pod_whose_deadline_has_passed_is_ended_by_its_kubelet_and_stays() {
    calm(|world: World| async move {
        let pod = stopped_by_deadline(world, false).await;
        assert_eq!((&pod["status"]["phase"], &pod["status"]["reason"]), (&json!("Failed"), &json!("DeadlineExceeded")));
        assert_eq!(main_end(&pod).unwrap()["exitCode"], 7);
        assert!(pod["metadata"]["deletionTimestamp"].is_null());
    });
    calm(|world: World| async move {
        let pod = stopped_by_deadline(world, true).await;
        assert_eq!(pod["status"]["phase"], "Running", "its node is dead");
    });
}
