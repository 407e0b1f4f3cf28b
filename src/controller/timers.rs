//! When each task is to be looked at again though nothing happens to it.

use super::TaskKey;
use super::lanes::{LINES, Lanes, Line};
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::time::DelayQueue;

/// Sets the timers.
#[derive(Clone, Debug)]
pub struct Timers(UnboundedSender<Setting>);

/// The timers as they are set, for [`work`].
#[derive(Debug)]
pub struct Settings(UnboundedReceiver<Setting>);

type Setting = ((TaskKey, Line), Option<Duration>);

/// Timers of which none is set.
pub fn timers() -> (Timers, Settings) {
    let (sender, receiver) = unbounded_channel();
    (Timers(sender), Settings(receiver))
}

impl Timers {
    /// The task gets into this line once this time has passed, or not by time. What was set before for this line no
    /// longer holds.
    pub fn set(&self, key: TaskKey, line: Line, wait: Option<Duration>) {
        // A closed channel means that the controller is going away.
        let _ = self.0.send(((key, line), wait));
    }

    /// The task is gone.
    pub fn forget(&self, key: &TaskKey) {
        for line in LINES {
            self.set(key.clone(), line, None);
        }
    }
}

/// Gets each task into line when its time has come, for as long as there is anybody who sets timers.
pub async fn work(Settings(mut settings): Settings, lanes: Arc<Lanes>) {
    let mut queue = DelayQueue::new();
    let mut places = HashMap::new();
    loop {
        tokio::select! {
            biased;
            setting = settings.recv() => {
                let Some((of, wait)) = setting else { return };
                if let Some(place) = places.remove(&of) {
                    queue.remove(&place);
                }
                if let Some(wait) = wait {
                    places.insert(of.clone(), queue.insert(of, wait));
                }
            }
            Some(over) = queue.next(), if !queue.is_empty() => {
                let of: (TaskKey, Line) = over.into_inner();
                places.remove(&of);
                let (key, line) = of;
                lanes.touched(key, line);
            }
        }
    }
}

#[cfg(test)]
impl Settings {
    /// What was set last for this line.
    pub fn last(&mut self, line: Line) -> Option<Option<Duration>> {
        let mut settings = std::iter::from_fn(|| self.0.try_recv().ok());
        settings.by_ref().filter(|((_, of), _)| *of == line).map(|(_, wait)| wait).last()
    }
}

#[cfg(test)]
mod tests {
    use super::{TaskKey, timers, work};
    use crate::controller::lanes::{Lanes, Line};
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
        let lanes = Arc::new(Lanes::new(sender, 32));
        let working = tokio::spawn(work(settings, lanes.clone()));
        let began = Instant::now();
        timers.set(key("sooner"), Line::Due, Some(Duration::from_secs(60)));
        timers.set(key("later"), Line::Due, Some(Duration::from_secs(1)));
        timers.set(key("never"), Line::Due, Some(Duration::from_secs(2)));
        timers.set(key("sooner"), Line::Due, Some(Duration::from_millis(1500)));
        timers.set(key("later"), Line::Due, Some(Duration::from_secs(3)));
        timers.set(key("never"), Line::Due, None);
        timers.set(key("gone"), Line::CleanUp, Some(Duration::from_secs(2)));
        timers.forget(&key("gone"));
        timers.set(key("sooner"), Line::CleanUp, Some(Duration::from_secs(5)));
        for (name, after) in [("sooner", 1500), ("later", 3000), ("sooner", 5000)] {
            assert_eq!(queue.recv().await, Some(key(name)));
            assert_eq!(began.elapsed().as_millis(), after, "{name}");
            lanes.settled(&key(name));
        }
        drop((timers, lanes));
        working.await.unwrap();
        assert_eq!(queue.recv().await, None);
    }
}
