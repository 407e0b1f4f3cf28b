use super::*;
use crate::core::testing::at;
use crate::ui::record::{PodRecord, Shared, TaskRecord};
use crate::ui::testing::{ALL, Cluster, Server, failed, in_state, task, task_json};
use futures::StreamExt;
use kube_runtime::watcher;
use std::sync::atomic::{AtomicBool, Ordering};

/// What an event says, as it is sent.
async fn next<S: Stream<Item = Result<Event, Infallible>> + Unpin>(stream: &mut S) -> Option<String> {
    let event = stream.next().await?.unwrap();
    Some(format!("{event:?}"))
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_once_a_second_at_most() {
    let cache = Cache::new(Server::default().client(), ALL.into(), || at(0));
    let mut stream = Box::pin(messages(cache.clone(), || at(0), Topic::All, || async { May::See }));
    assert!(next(&mut stream).await.unwrap().contains("time"));
    let begun = tokio::time::Instant::now();
    let touching = tokio::spawn({
        let cache = cache.clone();
        async move {
            for _ in 0..1000 {
                cache.look().show(|_| ());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let mut told = 0;
    while begun.elapsed() < Duration::from_secs(10) {
        told += u32::from(next(&mut stream).await.unwrap().contains("changed"));
    }
    touching.abort();
    assert!((9..=10).contains(&told), "{told} in 10 s");
}

#[tokio::test(start_paused = true)]
async fn it_ends_once_the_viewer_may_not_look_any_more() {
    let cache = Cache::new(Server::default().client(), ALL.into(), || at(0));
    let may = Arc::new(AtomicBool::new(true));
    let asked = may.clone();
    let may_see = move || std::future::ready(if asked.load(Ordering::Relaxed) { May::See } else { May::LogIn });
    let mut stream = Box::pin(messages(cache, || at(0), Topic::All, may_see));
    for _ in 0..3 {
        assert!(!next(&mut stream).await.unwrap().contains("ended"));
    }
    may.store(false, Ordering::Relaxed);
    assert!(next(&mut stream).await.unwrap().contains("ended"));
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test(start_paused = true)]
async fn who_listens_looks() {
    let cache = Cache::new(Server::default().client(), ALL.into(), || at(0));
    let forgetting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.forget_when_idle().await }
    });
    let mut stream = Box::pin(messages(cache.clone(), || at(0), Topic::All, || async { May::See }));
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < 2 * crate::ui::cache::IDLE && next(&mut stream).await.is_some() {}
    assert!(cache.is_kept());
    forgetting.abort();
}

fn key(name: &str) -> Key {
    Key { namespace: "red".into(), name: name.into() }
}

fn record(name: &str, state: &str) -> TaskRecord {
    let mut task = task("red", name, &in_state(state));
    task.spec.queue = Some(crate::api::QueueRef { name: "orders".into(), ..Default::default() });
    TaskRecord::of(&task, &mut Shared::default())
}

/// A page that has been read, of two tasks of one queue.
async fn read() -> Arc<Cache> {
    let tasks = vec![task_json("red", "apple", &in_state("Running")), task_json("red", "plum", &failed(1, "m"))];
    let cache = Cache::new(Server::of(Cluster { tasks, ..Cluster::default() }).client(), ALL.into(), || at(0));
    let live = cache.look();
    let mut changes = live.changes();
    while !(live.store().tasks.is_listed(&ALL)
        && live.store().pods.is_listed(&ALL)
        && live.store().queues.is_listed(&ALL))
    {
        changes.changed().await.unwrap();
    }
    cache
}

/// How many seconds after each of these changes the follower of the task is told: at most 60.
async fn told_after(topic: &str, change: impl Fn(&mut Store)) -> u64 {
    let cache = read().await;
    let mut stream = Box::pin(messages(cache.clone(), || at(0), Topic::Task(key(topic)), || async { May::See }));
    while !next(&mut stream).await.unwrap().contains("changed") {}
    let told = Instant::now();
    // A busy cluster.
    let changing = tokio::spawn({
        let cache = cache.clone();
        async move {
            for number in 0_u32.. {
                let other = record(&format!("other-{number}"), "Running");
                let event = watcher::Event::Apply((key(&format!("other-{number}")), Some(other)));
                cache.look().show(|store| store.tasks.apply(&None, event));
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    });
    cache.look().show(|store| change(store));
    while !next(&mut stream).await.unwrap().contains("changed") {}
    changing.abort();
    told.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_task_hears_of_it_its_pods_and_its_queue_alone() {
    let own = |store: &mut Store| {
        store.tasks.apply(&None, watcher::Event::Apply((key("plum"), Some(record("plum", "Failed")))));
    };
    assert!(told_after("plum", own).await <= 2);
    let gone = |store: &mut Store| store.tasks.apply(&None, watcher::Event::Delete((key("plum"), None)));
    assert!(told_after("plum", gone).await <= 2);
    let pod = |store: &mut Store| {
        let mut pod = PodRecord::of(&k8s_openapi::api::core::v1::Pod::default(), &mut store.shared);
        pod.task = "plum".into();
        store.pods.apply(&None, watcher::Event::Apply((key("plum-1"), Some(pod))));
    };
    assert!(told_after("plum", pod).await <= 2);
    let away = |store: &mut Store| store.away = Some((at(0), "no route".into()));
    assert!(told_after("plum", away).await <= 2);
    let others = told_after("plum", |_| ()).await;
    assert!((60..=62).contains(&others), "{others} s, though nothing of it has changed");
    let unfinished = told_after("apple", |_| ()).await;
    assert!((15..=17).contains(&unfinished), "{unfinished} s");
}

#[tokio::test(start_paused = true)]
async fn changes_of_the_queue_of_a_task_that_waits_are_told_less_often() {
    let queue = |store: &mut Store| {
        store.tasks.apply(&None, watcher::Event::Apply((key("apple"), Some(record("apple", "Queued")))));
        store.queues.apply(&None, watcher::Event::Apply((key("orders"), Some(Err("unreadable".into())))));
    };
    let cache = read().await;
    cache.look().show(|store| queue(store));
    let mut stream = Box::pin(messages(cache.clone(), || at(0), Topic::Task(key("apple")), || async { May::See }));
    while !next(&mut stream).await.unwrap().contains("changed") {}
    let begun = Instant::now();
    let changing = tokio::spawn(async move {
        loop {
            cache.look().show(|store| {
                store.queues.apply(&None, watcher::Event::Apply((key("orders"), Some(Err("unreadable".into())))));
            });
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let mut told = 0;
    while begun.elapsed() < Duration::from_secs(30) {
        told += u32::from(next(&mut stream).await.unwrap().contains("changed"));
    }
    changing.abort();
    assert!((5..=6).contains(&told), "{told} in 30 s");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_a_task_does_not_hear_of_it() {
    let cache = read().await;
    let mut stream =
        Box::pin(messages(cache.clone(), || at(0), Topic::Task(key("apple")), || async { May::SeeOthers }));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        cache.look().show(|store| {
            store.tasks.apply(&None, watcher::Event::Apply((key("apple"), Some(record("apple", "Queued")))));
        });
        let event = next(&mut stream).await.unwrap();
        assert!(!event.contains("changed") && !event.contains("ended"), "{event}");
    }
}
