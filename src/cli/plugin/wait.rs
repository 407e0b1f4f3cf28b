//! `wait`: until tasks have ended.

use super::connect::{Cluster, Connection};
use super::error::Error;
use super::follow::Follow;
use super::output::{note, out};
use clap::Args;
use futures::TryStreamExt;
use futures::stream::FuturesUnordered;
use retryable_tasks::core::decide::{Request, pending_requests};
use retryable_tasks::plugin::inputs;
use retryable_tasks::plugin::progress::End;
use std::time::Duration;

/// A task has not succeeded.
pub(super) const FAILED: u8 = 1;
/// The time-out has passed.
const TIMED_OUT: u8 = 2;

#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// Names of tasks
    #[arg(required = true, value_name = "NAME", value_parser = inputs::task)]
    names: Vec<String>,

    /// How long to wait, such as 30s, 5m or 1h30m; without limit if not given
    #[arg(long, value_parser = inputs::duration, value_name = "TIME")]
    timeout: Option<Duration>,
}

/// Waits for all. Ends with 0 if all have succeeded, with 1 if one has not, with 2 after the time-out.
pub(super) async fn wait(connection: &Connection, args: &WaitArgs) -> Result<u8, Error> {
    let cluster = connection.connect().await?;
    for_all(&cluster, &args.names, args.timeout).await
}

pub(super) async fn for_all(cluster: &Cluster, names: &[String], timeout: Option<Duration>) -> Result<u8, Error> {
    let mut left: Vec<&str> = names.iter().map(String::as_str).collect();
    let ends = names.iter().map(|name| async move { Ok::<_, Error>((name, end(cluster, name).await?)) });
    let mut ends: FuturesUnordered<_> = ends.collect();
    let all = async {
        let mut code = 0;
        while let Some((name, succeeded)) = ends.try_next().await? {
            left.retain(|other| other != name);
            if !succeeded {
                code = FAILED;
            }
        }
        Ok::<_, Error>(code)
    };
    let limit = timeout.unwrap_or(Duration::MAX);
    if let Ok(code) = tokio::time::timeout(limit, all).await {
        return code;
    }
    note(&format!(
        "error: after {} s, {} of {} had not ended: {}",
        limit.as_secs(),
        left.len(),
        names.len(),
        left.join(" ")
    ));
    Ok(TIMED_OUT)
}

/// Waits for one, and prints how it ended.
async fn end(cluster: &Cluster, name: &str) -> Result<bool, Error> {
    let mut follow = Follow::new(cluster, name)?;
    let mut is_known = false;
    while let Some(task) = follow.next().await? {
        is_known = true;
        // The end that the task has is not the one that is meant.
        if pending_requests(&task).contains(&Request::RunAgain) {
            continue;
        }
        if let Some(End { succeeded, reason, message }) = End::of(&task) {
            out(&format!("{name}: {reason}: {message}\n"))?;
            return Ok(succeeded);
        }
    }
    let what = if is_known { "was deleted" } else { "does not exist" };
    note(&format!("error: RetryableTask {}/{name} {what}", cluster.namespace()?));
    Ok(false)
}
