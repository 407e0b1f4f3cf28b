use tokio::time::advance;

use super::*;

const LIMIT: Duration = Duration::from_secs(400);

#[tokio::test(start_paused = true)]
async fn a_standby_is_live_and_ready_for_ever() {
    let health = Health::new(LIMIT);
    advance(LIMIT * 100).await;
    assert_eq!(health.live(), Ok(()));
    assert_eq!(health.ready(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_never_answered_stalls_after_the_limit() {
    let health = Health::new(LIMIT);
    advance(LIMIT * 3).await;
    health.watching(None, "pods");
    advance(LIMIT).await;
    assert_eq!(health.live(), Ok(()));
    advance(Duration::from_secs(1)).await;
    let stalled = health.live().unwrap_err();
    assert_eq!(stalled[0].to_string(), "the watch of pods has had no answer for 401 s (limit 400 s)");
}

#[tokio::test(start_paused = true)]
async fn each_watch_is_judged_by_itself() {
    let health = Health::new(LIMIT);
    for namespace in ["a", "b"] {
        health.watching(Some(namespace), "pods");
    }
    for _ in 0..5 {
        advance(Duration::from_secs(300)).await;
        health.watch_answered(Some("a"), "pods");
        health.watch_answered(Some("unknown"), "pods");
        health.watch_answered(Some("a"), "retryabletasks");
    }
    let stalled = health.live().unwrap_err();
    assert_eq!(
        stalled,
        [Stalled::Watch { watch: "b/pods".to_owned(), silent: Duration::from_secs(1_500), limit: LIMIT }]
    );
    health.stopped_watching(Some("b"), "pods");
    assert_eq!(health.live(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn each_loop_must_run_once_it_has_started() {
    let health = Health::new(LIMIT);
    health.begun(Some("a"));
    health.begun(Some("b"));
    advance(LIMIT).await;
    health.turned(Some("a"));
    assert_eq!(health.live(), Ok(()));
    advance(Duration::from_secs(1)).await;
    let stalled = health.live().unwrap_err();
    let silent = LIMIT + Duration::from_secs(1);
    assert_eq!(stalled, [Stalled::Loop { scope: "b".into(), silent, limit: LIMIT }]);
    health.stopped();
    assert_eq!(health.live(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_leader_is_ready_when_every_scope_has_synced() {
    let health = Health::new(LIMIT);
    health.leading();
    assert_eq!(health.ready(), Err(NotReady::Syncing));
    health.begun(Some("a"));
    health.begun(Some("b"));
    health.synced(Some("a"));
    assert_eq!(health.ready(), Err(NotReady::Syncing));
    health.synced(Some("b"));
    assert_eq!(health.ready(), Ok(()));
    health.leading();
    assert_eq!(health.ready(), Err(NotReady::Syncing), "a new term begins with empty caches");
    health.stopped();
    assert_eq!(health.ready(), Ok(()));
}
