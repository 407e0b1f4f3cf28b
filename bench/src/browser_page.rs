//! The page in the browser, with very many tasks: how long until its first byte, and what it holds. The API server is a
//! stand-in, so its time is not in the figures.

use crate::finished::stand_in_kubeconfig;
use crate::process::Process;
use crate::row::{Row, p50};
use crate::stand_in::StandIn;
use crate::stats::{bytes, middle_and_worst};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often each page is loaded.
const LOADS: usize = 50;
const LIMIT: Duration = Duration::from_secs(60);
const PORT: u16 = 18_082;

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub struct BrowserPage {
    pub finished: usize,
    pub waiting: usize,
    /// Memory in bytes, before anybody looks and after all was read.
    pub idle: u64,
    pub memory: u64,
    pub peak: u64,
    /// From the first request of all until the page shows all tasks, in milliseconds.
    pub first: f64,
    /// Each tab, and the page of a task that has failed.
    pub pages: Vec<Loads>,
}

/// What a page costs.
#[derive(Debug, Serialize)]
pub struct Loads {
    pub title: String,
    /// The time until the first byte, in milliseconds.
    times: Vec<f64>,
    /// Of the HTML.
    bytes: usize,
    /// That a browser makes of it: elements, and texts between them.
    nodes: usize,
}

/// The tabs, by the end of their URLs.
const TABS: [&str; 7] = ["", "errors", "failed", "tasks", "queues", "schedules", "workers"];
/// Most nodes of a page.
const MOST_NODES: usize = 2000;

/// Killed when it is dropped.
struct Page(Child);

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures the page with so many tasks.
pub async fn run(program: &Path, finished: usize, waiting: usize) -> Result<BrowserPage> {
    let server = StandIn::serve(finished, waiting).await?;
    let config = stand_in_kubeconfig(&server)?;
    let program = program.to_owned();
    tokio::task::spawn_blocking(move || measure(&program, &config, finished, waiting)).await?
}

fn measure(program: &Path, config: &Path, finished: usize, waiting: usize) -> Result<BrowserPage> {
    let child = Command::new(program)
        .args(["ui", "--http-address", &format!("127.0.0.1:{PORT}")])
        .env("KUBECONFIG", config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let process = Process(child.id());
    let _page = Page(child);
    let began = Instant::now();
    while load("/healthz").is_err() {
        ensure!(began.elapsed() < LIMIT, "the page is not served");
        std::thread::sleep(Duration::from_millis(5));
    }
    let idle = process.memory()?;
    let all = format!(" of {}", grouped(waiting));
    let began = Instant::now();
    while !load("/")?.1.contains(&all) {
        ensure!(began.elapsed() < LIMIT, "the page does not show all tasks");
        std::thread::sleep(Duration::from_millis(5));
    }
    let first = began.elapsed().as_secs_f64() * 1000.0;
    let failed = load("/failed")?.1;
    let task = failed.split("href=\"./").find_map(|rest| rest.strip_prefix("task?")?.split('"').next());
    let task = task.context("no task has failed")?.replace("&amp;", "&").replace("&#38;", "&");
    let mut pages = TABS
        .iter()
        .map(|tab| loads(if tab.is_empty() { "now" } else { tab }, &format!("/{tab}")))
        .collect::<Result<Vec<_>>>()?;
    pages.push(loads("a task", &format!("/task?{task}"))?);
    let (memory, peak) = (process.memory()?, process.peak_memory()?);
    Ok(BrowserPage { finished, waiting, idle, memory, peak, first, pages })
}

fn loads(title: &str, path: &str) -> Result<Loads> {
    let (mut times, mut html) = (Vec::new(), String::new());
    for _ in 0..LOADS {
        let (time, text) = load(path)?;
        times.push(time);
        html = text;
    }
    // What a page shows has no `<` and no `>` of its own.
    let nodes = html.split('<').skip(1).map(|part| {
        let (tag, text) = part.split_once('>').unwrap_or((part, ""));
        usize::from(!tag.starts_with('/')) + usize::from(!text.is_empty())
    });
    let nodes = nodes.sum();
    ensure!(nodes <= MOST_NODES, "{path} has {nodes} nodes");
    Ok(Loads { title: title.to_owned(), times, bytes: html.len(), nodes })
}

/// The milliseconds until the first byte, and the whole answer.
fn load(path: &str) -> Result<(f64, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", PORT))?;
    let began = Instant::now();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut first = [0];
    stream.read_exact(&mut first)?;
    let time = began.elapsed().as_secs_f64() * 1000.0;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    ensure!(text.starts_with("TTP/1.1 200"), "{path}: {}", text.lines().next().context("no answer")?);
    Ok((time, text))
}

/// As the page writes a count.
fn grouped(number: usize) -> String {
    retryable_tasks::ui::text::count(number)
}

pub fn rows(page: &BrowserPage) -> Vec<Row> {
    let BrowserPage { finished, waiting, idle, memory, peak, first, pages } = page;
    let all = format!("the page, {waiting} waiting and {finished} finished tasks");
    let of_page = |Loads { title, times, bytes: size, nodes }: &Loads| {
        let figures = format!("{}, {}, {nodes}", middle_and_worst(times), bytes(*size as f64));
        Row::new(format!("{all}: {title}, until the first byte, of so many bytes and nodes"), figures)
            .perhaps("≤ 100 ms", Some(p50(times) <= 100.0))
    };
    let memory = [*idle, *memory, *peak].map(|figure| bytes(figure as f64)).join(", ");
    let first = [
        Row::new(format!("{all}: memory before anybody looks, after, at most"), memory),
        Row::new(format!("{all}: first look → all tasks are shown"), format!("{first:.0} ms")),
    ];
    first.into_iter().chain(pages.iter().map(of_page)).collect()
}
