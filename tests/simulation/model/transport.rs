//! Requests between a process and the server: faults, and processes that are killed.

use super::{World, calm, code, faulty, pod, pod_key, typed};
use crate::{
    faults::Rates,
    process::{Exit, ProcessState},
    server::{Kill, KillMoment, Resource, Verb},
};
use kube::api::PostParams;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;

const HOUR: Duration = Duration::from_secs(3600);

/// POSTs a Pod and waits up to 10 s for an answer. Returns the answer, whether the Pod exists then, and whether it exists
/// a minute later.
async fn post(world: World) -> (Result<u16, &'static str>, bool, bool) {
    let pods = world.api(Resource::Pods);
    let answer =
        timeout(Duration::from_secs(10), pods.create(&PostParams::default(), &typed(pod("p", &[], &[])))).await;
    let answer = match answer {
        Ok(Ok(_)) => Ok(201),
        Ok(Err(kube::Error::Api(status))) => Ok(status.code),
        Ok(Err(_)) => Err("broken"),
        Err(_) => Err("silent"),
    };
    let there = world.object(&pod_key("p")).is_some();
    tokio::time::sleep(Duration::from_secs(60)).await;
    (answer, there, world.object(&pod_key("p")).is_some())
}

#[test]
fn each_fault_of_a_request_does_what_it_says() {
    let rates = |set: fn(&mut Rates)| {
        let mut rates = Rates { until: HOUR, lateness: Duration::from_secs(50), ..Rates::default() };
        set(&mut rates);
        rates
    };
    assert_eq!(faulty(1, rates(|_| {}), post), (Ok(201), true, true));
    let (answer, there, later) = faulty(1, rates(|r| r.reject = 1000), post);
    assert!(matches!(answer, Ok(409 | 429 | 500 | 503 | 504)) && !there && !later);
    let (answer, there, _) = faulty(1, rates(|r| r.error_after_commit = 1000), post);
    assert!(matches!(answer, Ok(500 | 504)) && there);
    assert_eq!(faulty(1, rates(|r| r.drop_before = 1000), post), (Err("broken"), false, false));
    assert_eq!(faulty(1, rates(|r| r.drop_after = 1000), post), (Err("broken"), true, true));
    assert_eq!(faulty(2, rates(|r| r.late = 1000), post), (Err("broken"), false, true));
    let hung: Vec<_> = (0..10).map(|seed| faulty(seed, rates(|r| r.hang = 1000), post)).collect();
    assert!(hung.iter().all(|(answer, _, _)| *answer == Err("silent")));
    assert!(hung.iter().any(|(_, there, _)| *there) && hung.iter().any(|(_, _, later)| !later));
}

#[test]
fn faults_end_with_their_time() {
    let rates = Rates { until: Duration::from_secs(10), reject: 1000, ..Rates::default() };
    faulty(1, rates, |world: World| async move {
        let pods = world.api(Resource::Pods);
        assert!(code(pods.create(&PostParams::default(), &typed(pod("p", &[], &[]))).await) > 400);
        tokio::time::sleep(Duration::from_secs(10)).await;
        pods.create(&PostParams::default(), &typed(pod("p", &[], &[]))).await.unwrap();
    });
}

/// Kills a process at its second write. Returns how many writes were answered, and how many were carried out.
fn killed(moment: KillMoment) -> (u32, usize) {
    calm(move |world: World| async move {
        world.server.lock().kill = Some(Kill { countdown: 2, writes_only: true, moment, client: 0, stops: false });
        let answered = Arc::new(AtomicU32::new(0));
        let (client, count) = (world.clone(), answered.clone());
        let mut process = world.spawn(async move {
            for name in ["a", "b", "c"] {
                let pods = client.api(Resource::Pods);
                let _ = pods.get_opt(name).await;
                pods.create(&PostParams::default(), &typed(pod(name, &[], &[]))).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert_eq!(process.ended().await, Exit::Killed);
        tokio::time::sleep(HOUR).await;
        assert!(world.server.lock().kill.is_none());
        let done = world.server.lock().store.all(Resource::Pods).count();
        (answered.load(Ordering::Relaxed), done)
    })
}

#[test]
fn a_process_dies_before_in_or_after_a_request() {
    assert_eq!(killed(KillMoment::Before), (1, 1));
    assert_eq!(killed(KillMoment::InFlight), (1, 2));
    assert_eq!(killed(KillMoment::After), (1, 2));
}

#[test]
fn a_process_dies_at_any_step() {
    let steps = |n: Option<u64>| {
        calm(move |world: World| async move {
            if let Some(n) = n {
                world.gate.kill_after_steps(n);
            }
            let client = world.clone();
            let mut process = world.spawn(async move {
                for name in ["a", "b"] {
                    client
                        .api(Resource::Pods)
                        .create(&PostParams::default(), &typed(pod(name, &[], &[])))
                        .await
                        .unwrap();
                }
            });
            let exit = process.ended().await;
            tokio::time::sleep(HOUR).await;
            (exit, world.server.lock().store.all(Resource::Pods).count())
        })
    };
    assert_eq!(steps(None), (Exit::Returned, 2));
    let outcomes: Vec<_> = (0..20).map(|n| steps(Some(n))).collect();
    for pods in [0, 1, 2] {
        assert!(outcomes.contains(&(Exit::Killed, pods)), "{outcomes:?}");
    }
    assert_eq!(outcomes[19], (Exit::Returned, 2), "20 steps are enough");
}

#[test]
fn a_stopped_process_does_nothing_until_it_goes_on() {
    calm(|world: World| async move {
        let ticks = Arc::new(AtomicU32::new(0));
        let (client, count) = (world.clone(), ticks.clone());
        let process = world.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let name = format!("p{}", count.fetch_add(1, Ordering::Relaxed));
                client.api(Resource::Pods).create(&PostParams::default(), &typed(pod(&name, &[], &[]))).await.unwrap();
            }
        });
        let pods = || world.server.lock().store.all(Resource::Pods).count();
        tokio::time::sleep(Duration::from_secs(10)).await;
        process.gate.pause();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (before, posted) = (ticks.load(Ordering::Relaxed), pods());
        tokio::time::sleep(HOUR).await;
        assert_eq!((ticks.load(Ordering::Relaxed), pods()), (before, posted));
        assert_eq!(process.gate.state(), ProcessState::Paused);
        process.gate.resume();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(pods() > posted + 5, "{} after {posted}", pods());
        process.gate.kill();
        process.gate.resume();
        assert_eq!(process.gate.state(), ProcessState::Dead);
    });
}

#[test]
fn a_panic_is_reported() {
    calm(|world: World| async move {
        let mut process = world.spawn(async { panic!("at {}", 7) });
        assert_eq!(process.ended().await, Exit::Panicked("at 7".into()));
    });
}

#[test]
fn a_machines_clock_jumps_for_its_process_alone() {
    calm(|world: World| async move {
        let process = world.spawn(async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            let seen = jiff::Timestamp::now();
            assert_eq!(seen, "2026-01-01T01:01:40.618034Z".parse().unwrap());
            std::future::pending::<()>().await;
        });
        process.clock.jump(jiff::SignedDuration::from_hours(1));
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(process.clock.error(), jiff::SignedDuration::from_hours(1));
        assert_eq!(process.clock.now() - process.clock.error(), world.clock.now());
        process.gate.kill();
    });
}

#[test]
fn unreadable_requests_are_kept() {
    calm(|world: World| async move {
        let request = http::Request::get("/apis/retryable.dev/v2/retryabletasks").body(vec![]).unwrap();
        assert_eq!(code(world.client.request_text(request).await), 404);
        assert_eq!(world.server.lock().malformed.len(), 1);
        assert!(!world.server.lock().requests.iter().any(|r| r.verb == Verb::List));
    });
}
