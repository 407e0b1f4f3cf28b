use super::{TaskKey, timers, work};
use crate::controller::work_queue::{Priority, WorkQueue};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

fn key(name: &str) -> TaskKey {
    TaskKey { namespace: "default".into(), name: name.into() }
}

#[tokio::test(start_paused = true)]
async fn the_last_setting_holds() {
    let (timers, settings) = timers();
    let (sender, mut queue) = unbounded_channel();
    let work_queue = Arc::new(WorkQueue::new(sender, 32));
    let working = tokio::spawn(work(settings, work_queue.clone()));
    let began = Instant::now();
    timers.set(key("sooner"), Priority::Due, Some(Duration::from_secs(60)));
    timers.set(key("later"), Priority::Due, Some(Duration::from_secs(1)));
    timers.set(key("never"), Priority::Due, Some(Duration::from_secs(2)));
    timers.set(key("sooner"), Priority::Due, Some(Duration::from_millis(1500)));
    timers.set(key("later"), Priority::Due, Some(Duration::from_secs(3)));
    timers.set(key("never"), Priority::Due, None);
    timers.set(key("gone"), Priority::Cleanup, Some(Duration::from_secs(2)));
    timers.forget(&key("gone"));
    timers.set(key("sooner"), Priority::Cleanup, Some(Duration::from_secs(5)));
    for (name, after) in [("sooner", 1500), ("later", 3000), ("sooner", 5000)] {
        assert_eq!(queue.recv().await, Some(key(name)));
        assert_eq!(began.elapsed().as_millis(), after, "{name}");
        work_queue.done(&key(name));
    }
    drop((timers, work_queue));
    working.await.unwrap();
    assert_eq!(queue.recv().await, None);
}
