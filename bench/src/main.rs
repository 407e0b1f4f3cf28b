//! `make bench`: the same work as RetryableTask and as batch/v1 Job, on a real control plane with simulated nodes.
//!
//! - [`cluster`]: the control plane, fresh for each part, and the operator on it.
//! - [`work`]: the work that both run.
//! - [`audit`], [`requests`], [`bystander`], [`pods`], [`process`], [`lateness`]: the sources of the figures: the audit log,
//!   the operator's log, and the operating system.
//! - [`attempts`], [`history`], [`bare`], [`drain`], [`waiting`], [`queue`], [`finished`], [`browser_page`], [`sharing`]: the
//!   parts.
//! - [`sample`], [`stand_in`]: finished tasks, and what lists more of them than a real API server stores in minutes.
//! - [`report`], [`row`], [`attempt_rows`], [`finished_rows`], [`page`], [`plot`], [`stats`]: tables and plots.

mod attempt_rows;
mod attempts;
mod audit;
mod bare;
mod browser_page;
mod bystander;
mod cluster;
mod drain;
mod finished;
mod finished_rows;
mod history;
mod lateness;
mod page;
mod plot;
mod pods;
mod process;
mod queue;
mod report;
mod requests;
mod row;
mod sample;
mod sharing;
mod stand_in;
mod stats;
mod waiting;
mod work;

use anyhow::Result;
use attempts::Scenario;
use clap::{Parser, ValueEnum};
use cluster::{Cluster, Limits};
use report::{Idle, MAIN_ROWS, ONE_AT_A_TIME, Report, SideBySide};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use work::{Kind, Work};

/// How often the work is retried that both run.
const RETRIES: i32 = 2;
/// Finished tasks on a real API server: as many as it stores in some two minutes.
const FINISHED: usize = 10_000;

#[derive(Parser)]
struct Args {
    /// The operator's program.
    #[arg(long)]
    program: PathBuf,
    /// Its image, as an archive.
    #[arg(long)]
    image: Option<PathBuf>,
    /// The folder for the table, the JSON and the plots.
    #[arg(long)]
    out: PathBuf,
    /// The page whose main rows to replace. The whole table (`table.md`) and the plots go into the folder of the same
    /// name beside it.
    #[arg(long)]
    publish: Option<PathBuf>,
    /// The scale of the benchmark.
    #[arg(long, env = "SCALE", default_value = "full")]
    scale: Scale,
    /// Run only these parts; all of them if not given.
    #[arg(long, env = "ONLY", value_delimiter = ',')]
    only: Vec<Part>,
    /// After so many minutes the rest is left out, and said to be.
    #[arg(long, env = "MINUTES", default_value_t = 30)]
    minutes: u32,
}

/// What can be measured by itself, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Memory of an idle operator, and bytes of a task.
    Size,
    /// One at a time.
    One,
    /// With a full history.
    History,
    /// A thousand at once.
    Thousand,
    /// Ten thousand that wait, and restarts among them.
    Waiting,
    /// A thousand failures at once.
    Drain,
    /// A hundred at once, and Job's default limits.
    Hundred,
    /// A thousand, one after the other.
    Spread,
    /// The same attempts among more and more tasks.
    Growth,
    /// With a TaskQueue and without, and ten thousand in a line.
    Queue,
    /// Memory with a hundred thousand that have finished.
    Held,
    /// Retries and restarts beside finished tasks.
    Finished,
    /// The page in the browser, with ten thousand tasks.
    Page,
    /// Two operators.
    Sharing,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::One => "one",
            Self::History => "history",
            Self::Thousand => "thousand",
            Self::Waiting => "waiting",
            Self::Drain => "drain",
            Self::Hundred => "hundred",
            Self::Spread => "spread",
            Self::Growth => "growth",
            Self::Queue => "queue",
            Self::Held => "held",
            Self::Finished => "finished",
            Self::Page => "page",
            Self::Sharing => "sharing",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scale {
    /// A tenth, to check that the benchmark works.
    Small,
    Full,
}

impl Scale {
    fn of(self, count: usize) -> usize {
        if self == Self::Small { count.div_ceil(10) } else { count }
    }

    /// The time between two of a thousand tasks, so that they come in so many seconds; a tenth of them takes as long.
    fn pace(self, seconds: u32) -> Duration {
        Duration::from_secs(1) * seconds / if self == Self::Small { 100 } else { 1000 }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    fs::create_dir_all(&args.out)?;
    let mut report =
        Report { machine: machine(), versions: versions(&args.program)?, tree: tree()?, ..Report::default() };
    report.date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    if args.scale == Scale::Small {
        report.date += ", a tenth of the full scale";
    }
    report.binary = fs::metadata(&args.program)?.len();
    report.image = args.image.as_ref().map(fs::metadata).transpose()?.map(|file| file.len());
    let limit = Duration::from_secs(60) * args.minutes;
    let ended = tokio::select! {
        () = measure(&args, &mut report) => None,
        () = tokio::time::sleep(limit) => Some(format!("when {} minutes were over (MINUTES=)", args.minutes)),
        _ = tokio::signal::ctrl_c() => Some("when it was interrupted".to_owned()),
    };
    if let Some(why) = ended {
        let left = wanted(&args).filter(|part| !report.seconds.contains_key(part.name())).map(Part::name);
        let left = left.collect::<Vec<_>>().join(", ");
        report.failed.push(format!("what was left {why}: {left}"));
    }
    cluster::down()?;
    draw(&args.out, &report)?;
    fs::write(args.out.join("result.json"), serde_json::to_string_pretty(&report)?)?;
    fs::write(args.out.join("table.md"), report.text())?;
    println!("{}", report.text());
    if let Some(page) = &args.publish {
        let whole = args.only.is_empty() && report.failed.is_empty();
        page::publish(page, &report.table(), &MAIN_ROWS, whole)?;
        draw(&page.with_extension(""), &report)?;
    }
    println!("also as JSON, and each distribution as a picture, in {}", args.out.display());
    anyhow::ensure!(report.failed.is_empty(), "{} parts could not be measured", report.failed.len());
    Ok(())
}

fn wanted(args: &Args) -> impl Iterator<Item = Part> {
    let all = Part::value_variants().iter().copied();
    all.filter(|part| args.only.is_empty() || args.only.contains(part))
}

/// Measures the parts. If one fails, the others are still measured.
async fn measure(args: &Args, report: &mut Report) {
    let (program, scale) = (args.program.as_path(), args.scale);
    for part in wanted(args) {
        let began = Instant::now();
        match part {
            Part::Size => {
                report.idle = measured_part(report, "an idle operator", idle(program).await);
                report.twenty_failures = measured_part(report, "twenty failures", twenty_failures(program).await);
            }
            Part::Waiting => {
                report.waiting =
                    measured_part(report, "tasks that wait", waiting::run(program, scale.of(10_000)).await);
            }
            Part::History => {
                let measured = history::run(program, scale.of(20)).await;
                report.full_history = measured_part(report, "a full history", measured);
            }
            Part::One | Part::Hundred | Part::Thousand | Part::Spread => {
                side_by_side(program, part, scale, report).await;
            }
            Part::Growth => growth(program, scale, report).await,
            Part::Drain => drains(program, scale.of(1000), report).await,
            Part::Queue => {
                let measured = queue::run(program, scale.of(334), scale.pace(540), scale.of(10_000)).await;
                report.queue = measured_part(report, "with a queue", measured);
            }
            Part::Held => {
                let held = finished::held(program, scale.of(100_000), scale.of(10_000)).await;
                report.held = measured_part(report, "memory with finished tasks", held);
            }
            Part::Finished => {
                let beside = finished::beside(program, scale.of(FINISHED), scale.of(50), scale.pace(180)).await;
                report.beside = measured_part(report, "retries beside finished tasks", beside);
            }
            Part::Page => {
                let page = browser_page::run(program, scale.of(5_000), scale.of(5_000)).await;
                report.page = measured_part(report, "the page", page);
            }
            Part::Sharing => {
                let measured = sharing::run(program, scale.of(100)).await;
                report.sharing = measured_part(report, "two operators", measured).unwrap_or_default();
            }
        }
        report.seconds.insert(part.name(), began.elapsed().as_secs());
    }
}

/// The same work as RetryableTask and as Job.
async fn side_by_side(program: &Path, part: Part, scale: Scale, report: &mut Report) {
    let second = Duration::from_secs(1);
    let (name, count, pace) = match part {
        Part::One => (ONE_AT_A_TIME.to_owned(), scale.of(40), Some(second * 9 / 10)),
        Part::Hundred => (format!("{} at once", scale.of(100)), scale.of(100), None),
        Part::Spread => (format!("{} in three minutes", scale.of(1000)), scale.of(1000), Some(scale.pace(180))),
        _ => (format!("{} at once", scale.of(1000)), scale.of(1000), None),
    };
    let of = |kind, limits| {
        let work = Work::as_a_job_waits(RETRIES);
        Scenario { kind, work, count, pace, limits, waiting: 0, finished: 0 }
    };
    let at = report.attempts.len();
    report.attempts.push(SideBySide { name: name.clone(), ..SideBySide::default() });
    let measured = measured_part(report, &name, attempts::run(program, of(Kind::Task, Limits::Lifted)).await);
    report.attempts[at].task = measured;
    let measured = attempts::run(program, of(Kind::Job, Limits::Lifted)).await;
    report.attempts[at].job = measured_part(report, &format!("{name}, Job"), measured);
    // Where nothing queues, one number of tasks is enough to know what the two writes take.
    if matches!(part, Part::One | Part::Thousand) {
        let bare = bare::first_pods(program, count, pace).await;
        report.attempts[at].bare =
            measured_part(report, &format!("{name}, the two writes alone"), bare).unwrap_or_default();
    }
    if part == Part::Thousand {
        let due_after = report.attempts[at].task.as_ref().map(|task| task.late.due_after.clone()).unwrap_or_default();
        let late = bare::due_pods(program, &due_after).await;
        let late = measured_part(report, &format!("{name}, the two writes alone when they are due"), late);
        report.attempts[at].bare_late = late.unwrap_or_default();
    }
    // With its default limits the Job controller starts three attempts a second: a thousand would take too long.
    if part == Part::Hundred {
        let job = attempts::run(program, of(Kind::Job, Limits::Default)).await;
        report.attempts[at].job_by_default =
            measured_part(report, &format!("{name}, Job with its default limits"), job);
    }
}

/// The same attempts among more and more tasks that wait.
async fn growth(program: &Path, scale: Scale, report: &mut Report) {
    // A warm-up, with fewer tasks than any measurement.
    let count = scale.of(50);
    for all in [scale.of(100), scale.of(10_000)] {
        let (kind, work, limits) = (Kind::Task, Work::that_fails_often(), Limits::Lifted);
        let scenario =
            Scenario { kind, work, count, pace: Some(scale.pace(180)), limits, waiting: all - count, finished: 0 };
        let name = format!("{count} of {all} tasks");
        let measured = measured_part(report, &name, attempts::run(program, scenario).await);
        report.growth.extend(measured);
    }
}

async fn drains(program: &Path, count: usize, report: &mut Report) {
    report.drain = measured_part(report, "drain", drain::run(program, Kind::Task, count, Limits::Lifted).await);
    report.drain_job =
        measured_part(report, "drain of Jobs", drain::run(program, Kind::Job, count, Limits::Lifted).await);
    let default = drain::run(program, Kind::Job, count / 5, Limits::Default).await;
    report.drain_job_default = measured_part(report, "drain of Jobs with default limits", default);
}

fn measured_part<T>(report: &mut Report, part: &str, result: Result<T>) -> Option<T> {
    match result {
        Ok(measured) => {
            eprintln!("measured: {part}");
            Some(measured)
        }
        Err(error) => {
            eprintln!("{part}: {error:#}");
            report.failed.push(format!("{part}: {error:#}"));
            None
        }
    }
}

async fn idle(program: &Path) -> Result<Idle> {
    let cluster = Cluster::fresh(program, Limits::Lifted).await?;
    let operator = cluster.operator(&cluster.account("operator", None)?, &[]).await?;
    let apiserver = process::Process::of_cluster("apiserver")?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (before, began) = (apiserver.cpu()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let used = apiserver.cpu()?.saturating_sub(before);
    let apiserver_cpu = used.as_secs_f64() * 1000.0 / began.elapsed().as_secs_f64();
    Ok(Idle { memory: operator.process().memory()?, apiserver_cpu })
}

/// The bytes of a task after twenty failures, and of the Pods that it keeps.
async fn twenty_failures(program: &Path) -> Result<(usize, usize)> {
    let cluster = Cluster::fresh(program, Limits::Lifted).await?;
    cluster.namespace("work")?;
    let _operator = cluster.operator(&cluster.account("operator", None)?, &[]).await?;
    let backoff = serde_json::json!({"strategy": "Fixed", "initialDelaySeconds": 0});
    Work { duration: "100ms".into(), retries: 19, backoff, queue: None }
        .create(&cluster.client, (Kind::Task, "work"), 0..1, None)
        .await?;
    cluster::kubectl(
        &["-n", "work", "wait", "--for=condition=Failed", "--timeout=120s", "retryabletask", &work::name(0)],
        "",
    )?;
    let mut log = audit::Log::from_now()?;
    let who = audit::Who::Operator("operator".into());
    log.until_quiet(&who, Duration::from_secs(22), Duration::from_secs(60)).await?;
    let (task, _) = cluster::stored("/registry/retryable.dev/retryabletasks/work/")?;
    Ok((task, cluster::stored("/registry/pods/work/")?.0))
}

fn draw(out: &Path, report: &Report) -> Result<()> {
    for SideBySide { name, task, job, bare, bare_late: _, job_by_default: _ } in &report.attempts {
        let (Some(task), Some(job)) = (task, job) else { continue };
        let file = |what: &str| out.join(format!("{what}-{}.svg", name.replace(' ', "-")));
        let mut starts = vec![("RetryableTask", &task.start[..]), ("Job", &job.start)];
        if !bare.is_empty() {
            starts.push(("the two writes alone", bare));
        }
        plot::distribution(&file("start"), &format!("task created → first Pod created, {name}"), &starts)?;
        plot::distribution(
            &file("due"),
            &format!("retry due → Pod created, {name}"),
            &[("RetryableTask", &task.late.lag), ("Job", &job.late.lag)],
        )?;
    }
    if let (Some(task), Some(job)) = (&report.drain, &report.drain_job) {
        let title = format!("{} failures at once → next attempt created", task.failures);
        plot::distribution(
            &out.join("drain.svg"),
            &title,
            &[("RetryableTask", &task.created), ("Job, limits lifted", &job.created)],
        )?;
    }
    Ok(())
}

/// The commit of the tree, as `git describe` says it.
fn tree() -> Result<String> {
    let git = |args: &[&str]| -> Result<String> {
        let output = std::process::Command::new("git").args(args).output()?;
        anyhow::ensure!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    Ok(if changed.is_empty() { commit } else { format!("{commit}-dirty") })
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.trim_matches([' ', '\t', ':']);
    let memory = stats::bytes(kilobytes * 1024.0);
    // The load shows whether other work disturbed the measurement.
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or_default();
    format!("{processors} processors ({model}), {memory} memory, Linux {}; load average before: {load}", kernel.trim())
}

fn versions(program: &Path) -> Result<String> {
    let own = String::from_utf8(std::process::Command::new(program).arg("--version").output()?.stdout)?;
    let kubernetes = cluster::kubectl(&["version", "--client", "--output=json"], "")?;
    let kubernetes: serde_json::Value = serde_json::from_str(&kubernetes)?;
    let kubernetes = kubernetes["clientVersion"]["gitVersion"].as_str().unwrap_or_default().to_owned();
    Ok(format!("{}, Kubernetes {kubernetes}, all on this machine", own.trim()))
}
