//! Reading and watching.

use super::{World, calm, faulty, pod, pod_key, task, task_key};
use crate::{
    faults::Rates,
    random::Random,
    server::{Resource, Verb},
};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, GetParams, ListParams, WatchEvent, WatchParams},
};
use kube_runtime::{WatchStreamExt, reflector, watcher};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

fn label(world: &World, name: &str, value: &str) {
    let body = json!({"metadata": {"labels": {"app": value}}});
    world.server.user(Verb::Patch, &pod_key(name), body).unwrap();
}

fn add(world: &World, name: &str) {
    world.server.user(Verb::Create, &pod_key(name), pod(name, &[], &[])).unwrap();
}

/// What a watch event says, in short.
fn short(event: &WatchEvent<DynamicObject>) -> String {
    match event {
        WatchEvent::Added(o) => format!("added {}", o.name_any()),
        WatchEvent::Modified(o) => format!("modified {}", o.name_any()),
        WatchEvent::Deleted(o) => format!("deleted {}", o.name_any()),
        WatchEvent::Bookmark(b) => format!("bookmark {}", b.metadata.annotations.len()),
        WatchEvent::Error(e) => format!("error {}", e.code),
    }
}

#[test]
fn lists_take_selectors() {
    calm(|world: World| async move {
        for name in ["a", "b", "c"] {
            add(&world, name);
        }
        label(&world, "b", "y");
        world.server.user(Verb::Patch, &pod_key("c"), json!({"metadata": {"labels": null}})).unwrap();
        let cases = [
            ("", "abc"),
            ("app", "ab"),
            ("!app", "c"),
            ("app=x", "a"),
            ("app==x,retryable.dev/attempt=1", "a"),
            ("app!=x", "bc"),
            ("app in (x,y)", "ab"),
            ("app notin (x)", "bc"),
        ];
        for (selector, expected) in cases {
            let list = world.api(Resource::Pods).list(&ListParams::default().labels(selector).limit(1)).await.unwrap();
            let names: String = list.iter().map(ResourceExt::name_any).collect();
            assert_eq!(names, expected, "{selector}");
        }
        let one = world.api(Resource::Pods).list(&ListParams::default().fields("metadata.name=b")).await.unwrap();
        assert_eq!(one.items.len(), 1);
        let partial = world.api(Resource::Pods).list_metadata(&ListParams::default()).await.unwrap();
        assert_eq!(partial.items.len(), 3);
    });
}

#[test]
fn a_watch_adds_and_deletes_what_enters_and_leaves_its_selection() {
    calm(|world: World| async move {
        add(&world, "a");
        let from = world.server.lock().store.version().to_string();
        let params = WatchParams::default().labels("app=x").timeout(100);
        let watch = world.api(Resource::Pods).watch(&params, &from).await.unwrap();
        label(&world, "a", "y");
        label(&world, "a", "x");
        add(&world, "b");
        world.server.user(Verb::Patch, &pod_key("b"), json!({"metadata": {"annotations": {"n": "1"}}})).unwrap();
        world.server.user(Verb::Delete, &pod_key("b"), json!({"gracePeriodSeconds": 0})).unwrap();
        world.server.user(Verb::Create, &task_key("t"), task("t")).unwrap();
        let begun = world.clock.elapsed();
        let events: Vec<String> = watch.map_ok(|event| short(&event)).try_collect().await.unwrap();
        let expected = [
            "deleted a",
            "added a",
            "added b",
            "modified b",
            // The grace period of an unscheduled Pod is zero: it is marked, and then deleted.
            "modified b",
            "deleted b",
            "bookmark 0",
        ];
        assert_eq!(events, expected);
        let lasted = world.clock.elapsed().saturating_sub(begun).as_secs();
        assert!((99..=101).contains(&lasted), "the watch ends after its timeout, and not after {lasted} s");
    });
}

#[test]
fn a_watch_can_begin_with_what_there_is() {
    calm(|world: World| async move {
        add(&world, "a");
        let params = WatchParams::default().initial_events().timeout(50);
        let watch = world.api(Resource::Pods).watch(&params, "0").await.unwrap();
        let events: Vec<String> = watch.map_ok(|event| short(&event)).try_collect().await.unwrap();
        assert_eq!(events, ["added a", "bookmark 1"]);
    });
}

#[test]
fn a_compacted_version_is_expired() {
    calm(|world: World| async move {
        add(&world, "a");
        let from = world.server.lock().store.version();
        label(&world, "a", "y");
        world.server.lock().store.compact(from + 1);
        let watch = world.api(Resource::Pods).watch(&WatchParams::default(), &from.to_string()).await.unwrap();
        let events: Vec<String> = watch.map_ok(|event| short(&event)).try_collect().await.unwrap();
        assert_eq!(events, ["error 410"]);
        let exact = ListParams::default().at(&from.to_string()).matching(kube::api::VersionMatch::Exact);
        assert!(matches!(world.api(Resource::Pods).list(&exact).await, Err(kube::Error::Api(s)) if s.code == 410));
    });
}

#[test]
fn a_stale_server_shows_an_old_state() {
    let hour = Duration::from_secs(3600);
    let rates = Rates { until: hour, stale: 1000, staleness: Duration::from_millis(1), ..Rates::default() };
    faulty(1, rates, |world: World| async move {
        add(&world, "a");
        let then = world.server.lock().store.version();
        tokio::time::sleep(Duration::from_secs(1)).await;
        add(&world, "b");
        world.server.lock().faults.rates.staleness = Duration::from_millis(900);
        let mut sizes = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let list = world.api(Resource::Pods).list(&ListParams::default()).await.unwrap();
            sizes.insert((list.items.len(), list.metadata.resource_version.unwrap()));
            world.api(Resource::Pods).get("b").await.expect("a read without version is never stale");
        }
        assert!(sizes.contains(&(1, then.to_string())), "{sizes:?}");
        assert!(sizes.iter().any(|(n, _)| *n == 2) || world.clock.elapsed() < Duration::from_secs(2));
        let any = GetParams { resource_version: Some("0".into()) };
        let _ = world.api(Resource::Pods).get_with("a", &any).await.unwrap();
    });
}

/// kube's watcher ends up with the objects that exist, whatever fault its watches have.
#[test]
fn a_reflector_recovers_from_every_fault_of_a_watch() {
    for seed in 0..40 {
        let rates = Rates {
            until: Duration::from_secs(1000),
            reject: 50,
            drop_before: 30,
            drop_after: 30,
            stale: 100,
            staleness: Duration::from_secs(30),
            lag: BTreeMap::from([(Resource::Pods, Duration::from_secs(20))]),
            stall: 50,
            stalling: Duration::from_secs(60),
            cut: 300,
            silence: 50,
            lose: 50,
            repeat: 100,
            compact: 200,
            ..Rates::default()
        };
        faulty(seed, rates, move |world: World| async move {
            let mut random = Random::fork(seed, "test");
            let (reader, writer) = reflector::store();
            let all = Api::<Pod>::all(world.client.clone());
            let watch = watcher(all, watcher::Config::default()).default_backoff();
            let process = world.spawn(async move {
                let mut events = std::pin::pin!(watch.reflect(writer));
                while events.next().await.is_some() {}
            });
            for _ in 0..60 {
                let name = random.pick(&["a", "b", "c", "d"]);
                let key = pod_key(name);
                let _ = match random.below(3) {
                    0 => world.server.user(Verb::Create, &key, pod(name, &[], &[])),
                    1 => world.server.user(Verb::Delete, &key, json!({})),
                    _ => {
                        let stamp = random.next().to_string();
                        world.server.user(Verb::Patch, &key, json!({"metadata": {"annotations": {"stamp": stamp}}}))
                    }
                };
                tokio::time::sleep(random.skewed(60_000)).await;
            }
            tokio::time::sleep(Duration::from_secs(2000)).await;
            let mut known: Vec<_> = reader.state().iter().map(|p| (p.name_any(), p.resource_version())).collect();
            known.sort();
            let list = world.api(Resource::Pods).list(&ListParams::default()).await.unwrap();
            let there: Vec<_> = list.iter().map(|p| (p.name_any(), p.resource_version())).collect();
            assert_eq!(known, there, "seed {seed}");
            process.gate.kill();
        });
    }
}
