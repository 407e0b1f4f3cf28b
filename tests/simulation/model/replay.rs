//! The same seed gives the same run: in this process, and in another.

use super::{World, faulty, pod, pod_key};
use crate::{
    cluster::{Odds, Truths, run_pods},
    faults::Rates,
    server::{Resource, Verb},
};
use futures::StreamExt;
use kube_runtime::{WatchStreamExt, watcher};
use std::{
    collections::{HashMap, HashSet},
    process::Command,
    time::Duration,
};

/// A hash of all requests and all changes in a small world with faults.
fn digest(seed: u64) -> u64 {
    let rates = Rates {
        until: Duration::from_secs(600),
        reject: 100,
        drop_after: 50,
        cut: 500,
        lose: 50,
        repeat: 50,
        ..Rates::default()
    };
    faulty(seed, rates, move |world: World| async move {
        tokio::spawn(run_pods(world.server.clone(), seed, Odds::default(), Truths::default()));
        tokio::task::yield_now().await;
        let watch = watcher(world.api(Resource::Pods), watcher::Config::default()).default_backoff();
        let watching = world.spawn(async move {
            let mut observed = HashMap::new();
            let mut events = std::pin::pin!(watch);
            while let Some(event) = events.next().await {
                observed.insert(format!("{event:?}"), jiff::Timestamp::now());
            }
        });
        for name in ["a", "b", "c", "d"] {
            world.server.user(Verb::Create, &pod_key(name), pod(name, &[], &[])).unwrap();
        }
        tokio::time::sleep(Duration::from_secs(3_000)).await;
        // The order of a hash map shows std's randomness.
        let order: Vec<u32> = (0..100).collect::<HashSet<_>>().into_iter().collect();
        let state = world.server.lock();
        let requests: Vec<String> = state.requests.iter().map(ToString::to_string).collect();
        let text = format!("{requests:?} {:?} {order:?}", state.store.changes());
        watching.gate.kill();
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
    })
}

#[test]
fn a_seed_replays_in_this_process() {
    let first: Vec<u64> = (0..20).map(digest).collect();
    let second: Vec<u64> = (0..20).map(digest).collect();
    assert_eq!(first, second);
    assert!(first.windows(2).all(|pair| pair[0] != pair[1]), "every seed is a run of its own");
}

#[test]
fn a_seed_replays_in_another_process() {
    println!("digest {:x}", digest(7));
    if std::env::var_os("REPLAYED").is_some() {
        return;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "model::replay::a_seed_replays_in_another_process", "--nocapture"]).env("REPLAYED", "1");
    let output = again.output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("digest {:x}\n", digest(7))), "{text}");
}
