use super::*;
use crate::core::testing::at;
use crate::ui::testing::{ALL, Server};
use futures::StreamExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// What an event says, as it is sent.
async fn next<S: Stream<Item = Result<Event, Infallible>> + Unpin>(stream: &mut S) -> Option<String> {
    let event = stream.next().await?.unwrap();
    Some(format!("{event:?}"))
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_once_a_second_at_most() {
    let cache = Cache::new(Server::default().client(), ALL.into(), || at(0));
    let mut stream = Box::pin(messages(cache.clone(), || at(0), || async { true }));
    assert!(next(&mut stream).await.unwrap().contains("time"));
    let begun = tokio::time::Instant::now();
    let touching = tokio::spawn({
        let cache = cache.clone();
        async move {
            for _ in 0..1000 {
                cache.look().touch();
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
    let may_look = move || std::future::ready(asked.load(Ordering::Relaxed));
    let mut stream = Box::pin(messages(cache, || at(0), may_look));
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
    let mut stream = Box::pin(messages(cache.clone(), || at(0), || async { true }));
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < 2 * crate::ui::cache::IDLE && next(&mut stream).await.is_some() {}
    assert!(cache.is_kept());
    forgetting.abort();
}
