//! `make bench`: the same work as RetryableTask and as batch/v1 Job, on a real control plane with simulated nodes.
//!
//! - [`cluster`]: the control plane, fresh for each part, and the operator on it.
//! - [`work`]: the work that both run.
//! - [`audit`], [`requests`], [`bystander`], [`pods`], [`process`], [`lateness`]: the sources of the figures: the audit log,
//!   the operator's log, and the operating system.
//! - [`attempts`], [`bare`], [`drain`], [`waiting`], [`sharing`]: the parts.
//! - [`report`], [`plot`], [`stats`]: tables and plots.

mod attempts;
mod audit;
mod bare;
mod bystander;
mod cluster;
mod drain;
mod lateness;
mod plot;
mod pods;
mod process;
mod report;
mod requests;
mod sharing;
mod stats;
mod waiting;
mod work;

use anyhow::{Context, Result};
use attempts::Scenario;
use clap::{Parser, ValueEnum};
use cluster::{Cluster, Limits};
use report::{Report, SideBySide};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use work::{Kind, Work};

/// How often the work is retried that both run.
const RETRIES: i32 = 2;

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
    /// Run only these parts: one, hundred, thousand, spread, growth, drain, waiting, size, sharing.
    #[arg(long, env = "ONLY", value_delimiter = ',')]
    only: Vec<String>,
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
    report.scope = scope(&args);
    report.binary = fs::metadata(&args.program)?.len();
    report.image = args.image.as_ref().map(fs::metadata).transpose()?.map(|file| file.len());
    tokio::select! {
        () = measure(&args, &mut report) => {}
        _ = tokio::signal::ctrl_c() => report.failed.push("what was left when it was interrupted".into()),
    }
    cluster::down()?;
    draw(&args.out, &report)?;
    fs::write(args.out.join("result.json"), serde_json::to_string_pretty(&report)?)?;
    fs::write(args.out.join("table.md"), report.table())?;
    println!("{}", report.table());
    if let Some(page) = &args.publish {
        publish(page, &report)?;
    }
    println!("also as JSON, and each distribution as a picture, in {}", args.out.display());
    anyhow::ensure!(report.failed.is_empty(), "{} parts could not be measured", report.failed.len());
    Ok(())
}

/// Which parts or numbers were left out. Empty if none.
fn scope(args: &Args) -> String {
    let parts = if args.only.is_empty() { String::new() } else { format!("Only the parts {}", args.only.join(", ")) };
    let scale = if args.scale == Scale::Small { "A tenth of the full scale" } else { "" };
    let scope: Vec<&str> = [parts.as_str(), scale].into_iter().filter(|text| !text.is_empty()).collect();
    scope.join(". ")
}

/// Measures all parts. If one fails, the others are still measured.
async fn measure(args: &Args, report: &mut Report) {
    let (program, scale) = (args.program.as_path(), args.scale);
    let wanted = |part: &str| args.only.is_empty() || args.only.iter().any(|only| only == part);
    if wanted("size") {
        report.idle_memory = measured_part(report, "an idle operator", idle(program).await);
        report.twenty_failures = measured_part(report, "twenty failures", twenty_failures(program).await);
    }
    if wanted("waiting") {
        report.waiting = measured_part(report, "tasks that wait", waiting::run(program, scale.of(10_000)).await);
    }
    let second = Duration::from_secs(1);
    let pace_of_a_thousand = scale.pace(180);
    // With its default limits the Job controller starts three attempts a second: a thousand would take too long.
    let scenarios = [
        ("one", "one at a time".to_owned(), scale.of(40), Some(second * 9 / 10), true),
        ("hundred", format!("{} at once", scale.of(100)), scale.of(100), None, true),
        ("thousand", format!("{} at once", scale.of(1000)), scale.of(1000), None, false),
        ("spread", format!("{} in three minutes", scale.of(1000)), scale.of(1000), Some(pace_of_a_thousand), false),
    ];
    for (part, name, count, pace, by_default) in scenarios {
        if !wanted(part) {
            continue;
        }
        let of = |kind, limits| {
            let work = Work::as_a_job_waits(RETRIES);
            Scenario { kind, work, count, pace, limits, waiting: 0 }
        };
        let at = report.attempts.len();
        report.attempts.push(SideBySide { name: name.clone(), ..SideBySide::default() });
        let measured = measured_part(report, &name, attempts::run(program, of(Kind::Task, Limits::Lifted)).await);
        report.attempts[at].task = measured;
        // At a pace at which nothing queues, the number does not matter.
        if part != "spread" {
            let bare = bare::first_pods(program, count, pace).await;
            report.attempts[at].bare =
                measured_part(report, &format!("{name}, the two writes alone"), bare).unwrap_or_default();
            let due_after =
                report.attempts[at].task.as_ref().map(|task| task.late.due_after.clone()).unwrap_or_default();
            if !due_after.is_empty() {
                let late = bare::due_pods(program, &due_after).await;
                let late = measured_part(report, &format!("{name}, the two writes alone when they are due"), late);
                report.attempts[at].bare_late = late.unwrap_or_default();
            }
        }
        let job = format!("{name}, Job");
        let measured = measured_part(report, &job, attempts::run(program, of(Kind::Job, Limits::Lifted)).await);
        report.attempts[at].job = measured;
        if by_default {
            let job = format!("{job} with its default limits");
            let measured = measured_part(report, &job, attempts::run(program, of(Kind::Job, Limits::Default)).await);
            report.attempts[at].job_by_default = measured;
        }
    }
    if wanted("growth") {
        // A warm-up, with fewer tasks than any measurement.
        let count = scale.of(50);
        for all in [scale.of(100), scale.of(1000), scale.of(10_000)] {
            let waiting = all - count;
            let pace = Some(pace_of_a_thousand);
            let (kind, work, limits) = (Kind::Task, Work::that_fails_often(), Limits::Lifted);
            let scenario = Scenario { kind, work, count, pace, limits, waiting };
            let name = format!("{count} of {all} tasks");
            let measured = measured_part(report, &name, attempts::run(program, scenario).await);
            report.growth.extend(measured);
        }
    }
    if wanted("drain") {
        let count = scale.of(1000);
        report.drain = measured_part(report, "drain", drain::run(program, Kind::Task, count, Limits::Lifted).await);
        report.drain_job =
            measured_part(report, "drain of Jobs", drain::run(program, Kind::Job, count, Limits::Lifted).await);
        let few = count / 5;
        let default = drain::run(program, Kind::Job, few, Limits::Default).await;
        report.drain_job_default = measured_part(report, "drain of Jobs with default limits", default);
    }
    if wanted("sharing") {
        report.sharing =
            measured_part(report, "two operators", sharing::run(program, scale.of(100)).await).unwrap_or_default();
    }
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

async fn idle(program: &Path) -> Result<u64> {
    let cluster = Cluster::fresh(program, Limits::Lifted).await?;
    let operator = cluster.operator(&cluster.account("operator", None)?, &[]).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    operator.process().memory()
}

/// The bytes of a task after twenty failures, and of the Pods that it keeps.
async fn twenty_failures(program: &Path) -> Result<(usize, usize)> {
    let cluster = Cluster::fresh(program, Limits::Lifted).await?;
    cluster.namespace("work")?;
    let _operator = cluster.operator(&cluster.account("operator", None)?, &[]).await?;
    let backoff = serde_json::json!({"strategy": "Fixed", "initialDelaySeconds": 0});
    Work { duration: "100ms".into(), retries: 19, backoff }
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

/// Writes the main rows into the page, and all rows and the plots into the folder beside it.
fn publish(page: &Path, report: &Report) -> Result<()> {
    let beside = page.with_extension("");
    replace_block(page, &report.main_rows())?;
    replace_block(&beside.join("table.md"), &report.table())?;
    draw(&beside, report)
}

/// Replaces the text between the file's markers.
fn replace_block(file: &Path, block: &str) -> Result<()> {
    const BEGIN: &str = "<!-- make bench: begin -->";
    const END: &str = "<!-- make bench: end -->";
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{} has no {BEGIN}", file.display()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{} has no {END}", file.display()))?;
    Ok(fs::write(file, format!("{before}{BEGIN}\n{block}{END}{after}"))?)
}

/// The date of the measurement, and the commit.
fn tree() -> Result<String> {
    let git = |args: &[&str]| -> Result<String> {
        let output = std::process::Command::new("git").args(args).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let changed =
        if git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() { "" } else { ", changed since" };
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    Ok(format!("Measured on {today}, commit {}{changed}", git(&["rev-parse", "--short", "HEAD"])?))
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
    Ok(format!("{}, Kubernetes {kubernetes}; all of it on this machine", own.trim()))
}
