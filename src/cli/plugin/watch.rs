//! `get --watch`: follows a task to its end.

use super::connect::Cluster;
use super::error::Error;
use super::explain::QueueLookUp;
use super::follow::Follow;
use super::output::{Show, height, note, out};
use jiff::Timestamp;
use retryable_tasks::plugin::progress::{End, Watched};
use retryable_tasks::plugin::timeline;
use std::time::Duration;
use tokio::time::Instant;

/// How often the times of a watched task are drawn anew.
const REDRAW: Duration = Duration::from_secs(1);
/// How often its queue is looked up while nothing happens to the task itself: others come and go in the line.
const LOOK_UP: Duration = Duration::from_secs(10);
/// Clears a terminal's window, and leaves what has scrolled out of it.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Follows the task to its end.
pub(super) async fn watch(cluster: &Cluster, name: &str, show: &Show) -> Result<u8, Error> {
    let mut follow = Follow::new(cluster, name)?;
    let Some(mut task) = follow.next().await? else {
        return Err(Error::Usage(format!("RetryableTask {}/{name} does not exist", cluster.namespace()?)));
    };
    let mut watched = Watched::default();
    let mut queue: Option<(QueueLookUp, Instant)> = None;
    let mut is_new = true;
    loop {
        // Only a terminal has a width, which changes.
        let style = show.style();
        if show.is_value() {
            if is_new {
                show.next_value(&task)?;
            }
        } else if style.width.is_some() {
            let known = match queue.take().filter(|(_, at)| !is_new && at.elapsed() < LOOK_UP) {
                Some(known) => known,
                None => (QueueLookUp::of(cluster, &task).await, Instant::now()),
            };
            let text = timeline::text(&task, &known.0.explain(&task, cluster), style, Timestamp::now());
            queue = Some(known);
            // The last line is the cursor's.
            out(&format!("{CLEAR}{}", timeline::fitted(&text, height().saturating_sub(1))))?;
        } else {
            let now = Timestamp::now();
            out(&stamped(&watched.lines(&task, now), now))?;
        }
        if End::of(&task).is_some() {
            return Ok(0);
        }
        // Else it is shown anew as it was: its times have changed.
        let next = tokio::time::timeout(REDRAW, follow.next()).await;
        is_new = next.is_ok();
        if let Ok(next) = next {
            let Some(next) = next? else {
                note("the task was deleted");
                return Ok(1);
            };
            task = next;
        }
    }
}

/// The lines with the time.
fn stamped(lines: &[String], now: Timestamp) -> String {
    let now = format!("{now:.0} ");
    lines.iter().flat_map(|line| [now.as_str(), line, "\n"]).collect()
}
