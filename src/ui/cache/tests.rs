use super::*;
use crate::core::testing::at;
use crate::ui::testing::{ALL, Cluster, Server, in_state, task_json};

fn cache(server: &Server) -> Arc<Cache> {
    Cache::new(server.client(), ALL.into(), || at(0))
}

async fn read(live: &Live) {
    let mut changes = live.changes();
    while !live.store().tasks.is_listed(&ALL) {
        changes.changed().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_dropped_when_nobody_looks_and_read_again_when_somebody_does() {
    let tasks = vec![task_json("red", "apple", &in_state("Running"))];
    let server = Server::of(Cluster { tasks, ..Cluster::default() });
    let cache = cache(&server);
    let forgetting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.forget_when_idle().await }
    });
    assert_eq!(server.count(""), 0, "nothing is asked before somebody looks");
    let live = cache.look();
    read(&live).await;
    assert_eq!(live.store().tasks.len(), 1);
    tokio::time::sleep(IDLE.saturating_sub(IDLE_CHECK)).await;
    cache.look();
    tokio::time::sleep(IDLE.saturating_sub(IDLE_CHECK)).await;
    assert!(cache.is_kept(), "somebody has looked in between");
    let kept = Arc::downgrade(&live);
    drop(live);
    tokio::time::sleep(2 * IDLE_CHECK).await;
    assert!(!cache.is_kept());
    tokio::task::yield_now().await;
    assert!(kept.upgrade().is_none(), "a watch keeps it");
    let asked = server.count("");
    tokio::time::sleep(IDLE).await;
    assert_eq!(server.count(""), asked, "nobody looks, and the API server is asked");
    read(&cache.look()).await;
    forgetting.abort();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_listed_is_told_and_hides_nothing_else() {
    let tasks = vec![task_json("red", "apple", &in_state("Running"))];
    let server = Server::of(Cluster { tasks, ..Cluster::default() });
    server.change(|cluster| cluster.queues = vec![serde_json::json!({"metadata": {"name": 1}})]);
    let live = cache(&server).look();
    read(&live).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let store = live.store();
    assert_eq!(store.tasks.len(), 1);
    assert_eq!(store.problems.keys().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Queues]);
}
