//! A stand-in for the API server: it lists more tasks than a real one would store in minutes, and nothing ever changes.

use crate::sample;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Objects of a page, if the client does not limit it.
const PAGE: usize = 500;

/// What it has.
struct Objects {
    finished: (usize, Sample),
    waiting: (usize, Sample),
    /// One of each waiting task.
    pod: Sample,
    /// The tasks that were sent in lists of all, and of the unfinished; requests that are neither a list nor a watch.
    listed: AtomicUsize,
    unfinished_listed: AtomicUsize,
    others: AtomicUsize,
}

/// One object, from which others with another name are made.
struct Sample(String);

/// The running server.
pub struct StandIn {
    pub port: u16,
    objects: Arc<Objects>,
    serving: JoinHandle<()>,
}

impl StandIn {
    /// Serves so many finished tasks, and so many that wait.
    pub async fn serve(finished: usize, waiting: usize) -> Result<Self> {
        let (task, pod) = sample::waiting()?;
        let objects = Arc::new(Objects {
            finished: (finished, Sample::of(&json!(sample::finished()?), "done")),
            waiting: (waiting, Sample::of(&json!(task), "wait")),
            pod: Sample::of(&json!(pod), "wait"),
            listed: AtomicUsize::new(0),
            unfinished_listed: AtomicUsize::new(0),
            others: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (port, served) = (listener.local_addr()?.port(), objects.clone());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // An operator that is killed closes its connections.
                tokio::spawn(connection(stream, served.clone()));
            }
        });
        Ok(Self { port, objects, serving })
    }

    /// Whether the list of all tasks has been sent.
    pub fn has_listed(&self) -> bool {
        let all = self.objects.finished.0 + self.objects.waiting.0;
        self.objects.listed.load(Ordering::Relaxed) >= all
    }

    /// Whether that of the unfinished has been sent.
    pub fn has_listed_unfinished(&self) -> bool {
        self.objects.unfinished_listed.load(Ordering::Relaxed) >= self.objects.waiting.0
    }

    /// Requests that were neither a list nor a watch.
    pub fn others(&self) -> usize {
        self.objects.others.load(Ordering::Relaxed)
    }

    /// The bytes of a finished task.
    pub fn size(&self) -> usize {
        self.objects.finished.1.0.len()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Sample {
    /// The task's name becomes one with an index.
    fn of(object: &Value, prefix: &str) -> Self {
        Self(object.to_string().replace("sample", &format!("{prefix}-INDEX")).replace("-0f8f2b3f6f10", "-0f8fINDEX"))
    }

    fn nth(&self, index: usize) -> String {
        self.0.replace("INDEX", &format!("{index:08}"))
    }
}

impl Objects {
    /// The task that a path names.
    fn task(&self, target: &str) -> Option<String> {
        let (_, name) = target.split_once("/retryabletasks/")?;
        let (prefix, index) = name.rsplit_once('-')?;
        let (number, sample) = if prefix == "done" { &self.finished } else { &self.waiting };
        index.parse().ok().filter(|index| index < number).map(|index| sample.nth(index))
    }

    /// The answer to a list: the objects from `from` on, at most `limit`, and where the next page begins.
    fn list(&self, target: &str) -> String {
        let parameter = |name: &str| {
            let query = target.split_once('?').map_or("", |(_, query)| query);
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let number = |name| parameter(name).and_then(|value| value.parse::<usize>().ok());
        let (from, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(PAGE));
        let (is_pods, is_tasks) = (target.starts_with("/api/v1/pods"), target.contains("/retryabletasks?"));
        let only_unfinished = parameter("fieldSelector").is_some_and(|selector| selector.contains("status.state"));
        let (waiting, finished) = (&self.waiting, &self.finished);
        let all = match (is_pods, is_tasks) {
            (false, true) if !only_unfinished => waiting.0 + finished.0,
            (true, _) | (false, true) => waiting.0,
            (false, false) => 0,
        };
        let page = from..all.min(from + limit);
        let item = |index: usize| match index.checked_sub(waiting.0) {
            None if is_pods => self.pod.nth(index),
            None => waiting.1.nth(index),
            Some(index) => finished.1.nth(index),
        };
        if is_tasks {
            let listed = if only_unfinished { &self.unfinished_listed } else { &self.listed };
            listed.fetch_add(page.len(), Ordering::Relaxed);
        }
        let next = if page.end < all { page.end.to_string() } else { String::new() };
        let items: Vec<String> = page.map(item).collect();
        let metadata = json!({"resourceVersion": "2", "continue": next});
        format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":[{}]}}"#, items.join(","))
    }
}

/// Answers requests until the client closes the connection, or watches.
async fn connection(stream: TcpStream, objects: Arc<Objects>) -> Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    loop {
        let Some(head) = lines.next_line().await? else { return Ok(()) };
        while !lines.next_line().await?.context("a request ends early")?.is_empty() {}
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if method != "GET" || !target.contains("limit=") && !target.contains("watch=") {
            objects.others.fetch_add(1, Ordering::Relaxed);
            if let Some(task) = objects.task(target).filter(|_| method == "GET") {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
                return Ok(write
                    .write_all(format!("{head}Content-Length: {}\r\n\r\n{task}", task.len()).as_bytes())
                    .await?);
            }
            let none = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return Ok(write.write_all(none.as_bytes()).await?);
        }
        let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        if target.contains("watch=") {
            write.write_all(format!("{json}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await?;
            // Nothing happens until the client goes.
            while lines.next_line().await?.is_some() {}
            return Ok(());
        }
        let body = objects.list(target);
        write.write_all(format!("{json}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).await?;
        write.write_all(body.as_bytes()).await?;
    }
}
