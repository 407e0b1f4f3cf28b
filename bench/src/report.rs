//! The results, as a table for people and as JSON for programs.

use crate::attempt_rows::{attempt_rows, default_rows};
use crate::attempts::Attempts;
use crate::browser_page::{self, BrowserPage};
use crate::drain::Drain;
use crate::finished::{Beside, Held};
use crate::finished_rows;
use crate::page::Table;
use crate::queue::{self, Queue};
use crate::row::{Row, p50, times};
use crate::sharing::Share;
use crate::stats::{bytes, middle_and_worst, percentile};
use crate::waiting::{Restart, Waiting};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// All results.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub machine: String,
    pub versions: String,
    pub date: String,
    /// The commit that was measured, with `-dirty` if files were changed since.
    pub tree: String,
    /// How many seconds each part took.
    pub seconds: BTreeMap<&'static str, u64>,
    pub idle: Option<Idle>,
    pub binary: u64,
    pub image: Option<u64>,
    pub attempts: Vec<SideBySide>,
    /// Attempts of tasks whose history is full.
    pub full_history: Option<Attempts>,
    /// The same attempts beside more and more tasks that wait.
    pub growth: Vec<Attempts>,
    /// The bytes of a task after twenty failures, and of its Pods.
    pub twenty_failures: Option<(usize, usize)>,
    pub drain: Option<Drain>,
    pub drain_job: Option<Drain>,
    pub drain_job_default: Option<Drain>,
    pub waiting: Option<Waiting>,
    pub queue: Option<Queue>,
    pub held: Option<Held>,
    pub page: Option<BrowserPage>,
    pub beside: Option<Beside>,
    pub sharing: Vec<Share>,
    /// Parts that failed, and why.
    pub failed: Vec<String>,
}

/// With no task.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Idle {
    /// The operator's memory, in bytes.
    pub memory: u64,
    /// The API server's processor time, in milliseconds a second.
    pub apiserver_cpu: f64,
}

/// The same work as RetryableTask and as Job.
#[derive(Debug, Default, Serialize)]
pub struct SideBySide {
    pub name: String,
    pub task: Option<Attempts>,
    /// With the Job controller's limits lifted.
    pub job: Option<Attempts>,
    /// With the Job controller's default limits.
    pub job_by_default: Option<Attempts>,
    /// From each task's creation to its first Pod's creation, in milliseconds, by a client that does only the two
    /// writes.
    pub bare: Vec<f64>,
    /// How late the Pods of that client are, if as many are due at the same times as the retries.
    pub bare_late: Vec<f64>,
}

/// The name of the part with the fewest attempts a second.
pub const ONE_AT_A_TIME: &str = "one at a time";
/// The number of waiting tasks to which the targets apply.
const MANY: usize = 10_000;

/// The rows that the page shows. The table beside it has all rows.
pub const MAIN_ROWS: [&str; 17] = [
    "one at a time: writes an attempt, Events and removals apart",
    "one at a time: the API server's processor time an attempt",
    "one at a time, 20 entries of history: the API server's processor time an attempt",
    "one at a time: task created → first Pod, p50 / p99",
    "100 at once, Job with its default limits: due → Pod created, p50 / p99",
    "1000 at once: task created → first Pod, p50 / p99",
    "1000 at once: due → Pod created, p50 / p99",
    "1000 at once: the API server's processor time an attempt",
    "1000 in three minutes: due → Pod created, p50 / p99",
    "1000 in three minutes: … without the API server's own time, as the operator waits for it",
    "1000 failures at once, next attempts, no client limits",
    "10000 tasks waiting: memory",
    "10000 tasks waiting: writes, reads",
    "10000 tasks: restart → first action, of each restart",
    "bytes that an attempt leaves in etcd, with its Pods",
    "memory of an idle operator",
    "binary",
];

impl Report {
    /// All rows, and what they were measured on.
    pub fn table(&self) -> Table {
        let Self { machine, versions, date, tree, .. } = self;
        let cells = |row: Row| {
            let Row { measure, ours, job, ratio, target, met } = row;
            let met = met.map_or("", |met| if met { "yes" } else { "**no**" });
            vec![measure, ours, job, ratio, target.to_owned(), met.to_owned()]
        };
        Table::new(tree, &format!("{date}, {versions}; {machine}."), self.rows().into_iter().map(cells))
    }

    /// The table, the times of the parts, and what was not measured.
    pub fn text(&self) -> String {
        let mut text = self.table().markdown();
        let times = self.seconds.iter().map(|(part, seconds)| format!("{part} {seconds} s")).collect::<Vec<_>>();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\nTime: {}.", times.join(", "));
        for failed in &self.failed {
            let _ = writeln!(text, "\nNot measured: {failed}");
        }
        text
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for SideBySide { name, task, job, job_by_default, bare, bare_late } in &self.attempts {
            if let Some(task) = task {
                rows.extend(attempt_rows(name, task, job.as_ref()));
                if !bare.is_empty() {
                    let what = "task created → first Pod, by a client that does nothing but these two writes";
                    let row = Row::new(format!("{name}: {what}, p50 / p99"), middle_and_worst(bare));
                    rows.push(match job {
                        Some(job) => row.beside(middle_and_worst(&job.start), p50(&job.start) / p50(bare)),
                        None => row,
                    });
                }
                if !bare_late.is_empty() {
                    let what = "due at the same times → Pod created, by that client";
                    rows.push(Row::new(format!("{name}: {what}, p50 / p99"), middle_and_worst(bare_late)));
                }
                rows.extend(job_by_default.iter().flat_map(|job| default_rows(name, task, job)));
            }
        }
        rows.extend(self.history_row());
        rows.extend(self.drain_rows());
        rows.extend(self.waiting.iter().flat_map(waiting_rows));
        rows.extend(self.queue.iter().flat_map(queue::rows));
        rows.extend(self.held.iter().flat_map(finished_rows::held));
        rows.extend(self.page.iter().flat_map(browser_page::rows));
        rows.extend(self.beside.iter().flat_map(finished_rows::beside));
        rows.extend(self.costs_by_number());
        rows.extend(self.size_rows());
        for share in &self.sharing {
            let Share { namespace, attempts, own_requests, other_requests, foreign_writes, .. } = share;
            let text = format!(
                "{attempts} attempts, {own_requests} requests; {other_requests} about others, {foreign_writes} by others"
            );
            let row = Row::new(format!("two operators: the one of {namespace}"), text);
            rows.push(row.target("0 about others, 0 by others", other_requests + foreign_writes == 0 && *attempts > 0));
        }
        rows
    }

    /// A Job has no history: its attempts are those of the first part.
    fn history_row(&self) -> Option<Row> {
        let ours = self.full_history.as_ref()?.apiserver_cpu;
        let what = "one at a time, 20 entries of history: the API server's processor time an attempt";
        let row = Row::new(what, format!("{ours:.1} ms"));
        let of_jobs = self.attempts.iter().find(|one| one.name == ONE_AT_A_TIME).and_then(|one| one.job.as_ref());
        Some(match of_jobs.map(|job| job.apiserver_cpu) {
            Some(job) => row.beside(format!("{job:.1} ms"), job / ours).target("≤ Job's", ours <= job),
            None => row,
        })
    }

    fn drain_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let Some(ours) = &self.drain else { return rows };
        let rate = |drain: &Drain| format!("{:.0} a second", drain.attempts_per_second);
        let label = |drain: &Drain, limits| format!("{} failures at once, next attempts, {limits}", drain.failures);
        if let Some(job) = &self.drain_job {
            let ratio = job.attempts_per_second / ours.attempts_per_second;
            let row = Row::new(label(ours, "no client limits"), rate(ours)).beside(rate(job), ratio);
            rows.push(row.target("ahead of Job", ratio < 1.0));
            let cpu = |drain: &Drain| {
                format!(
                    "{:.0} % / {:.0} % / {:.0} %",
                    drain.controller_cpu * 100.0,
                    drain.apiserver_cpu * 100.0,
                    drain.busy * 100.0
                )
            };
            rows.push(
                Row::new("… processor: controller / API server / of the whole machine", cpu(ours))
                    .beside(cpu(job), f64::NAN),
            );
            let api = |drain: &Drain| middle_and_worst(&drain.api);
            rows.push(
                Row::new("… the API server's time for one write, p50 / p99", api(ours)).beside(api(job), f64::NAN),
            );
        }
        if let Some(job) = &self.drain_job_default {
            let ratio = job.attempts_per_second / ours.attempts_per_second;
            let job = format!("{} ({} failures)", rate(job), job.failures);
            rows.push(Row::new(label(ours, "Job with its default limits"), rate(ours)).beside(job, ratio));
        }
        rows
    }

    /// The cost of an attempt at each number of tasks: the same attempts at the same pace, and all at once.
    fn costs_by_number(&self) -> Vec<Row> {
        let text = |measured: &[&Attempts], value: &dyn Fn(&Attempts) -> String| {
            let text: Vec<String> = measured.iter().map(|one| format!("{}: {}", one.tasks, value(one))).collect();
            text.join("; ")
        };
        let costs = |one: &Attempts| format!("{:.2}, {:.2} ms", one.writes_per_attempt, one.controller_cpu);
        let lag = |one: &Attempts| middle_and_worst(&one.late.own_lag);
        let mut rows = Vec::new();
        let growth: Vec<&Attempts> = self.growth.iter().collect();
        if growth.len() > 1 {
            let spread = |value: &dyn Fn(&Attempts) -> f64| {
                let values: Vec<f64> = growth.iter().map(|one| value(one)).collect();
                percentile(&values, 1.0) / percentile(&values, 0.0) - 1.0
            };
            let flat = spread(&|one| one.writes_per_attempt) <= 0.2 && spread(&|one| one.controller_cpu) <= 0.2;
            let row = Row::new(
                "writes and the operator's processor time an attempt, of the same tasks among others that wait, by the number of all",
                text(&growth, &costs),
            );
            rows.push(row.target("flat within 20 %", flat));
            rows.push(Row::new(
                "… due → Pod created without the API server's own time, as the operator waits for it, p50 / p99",
                text(&growth, &lag),
            ));
        }
        let at_once =
            self.attempts.iter().filter(|one| one.name.ends_with("at once")).filter_map(|one| one.task.as_ref());
        let storms: Vec<&Attempts> = at_once.chain(self.waiting.iter().map(|waiting| &waiting.attempts)).collect();
        if storms.len() > 1 {
            let what = "writes and the operator's processor time an attempt, all tasks at once, by their number";
            rows.push(Row::new(what, text(&storms, &costs)));
        }
        rows
    }

    fn size_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let at_rest =
            |measured: &Attempts| (measured.stored_tasks + measured.stored_pods) as f64 / measured.attempts as f64;
        let pair = self.attempts.iter().rev().find_map(|one| Some((one.task.as_ref()?, one.job.as_ref()?)));
        if let Some((task, job)) = pair {
            let (ours, theirs) = (at_rest(task), at_rest(job));
            let row = Row::new("bytes that an attempt leaves in etcd, with its Pods", bytes(ours));
            rows.push(row.beside(bytes(theirs), theirs / ours).target("below Job", ours < theirs));
            let (ours, theirs) = (task.put_per_attempt, job.put_per_attempt);
            rows.push(
                Row::new("bytes put into etcd for an attempt, by all", bytes(ours))
                    .beside(bytes(theirs), theirs / ours),
            );
            if let Some((own, pods)) = self.twenty_failures {
                let one_pod = job.stored_pods / job.stored_pod_count.max(1);
                let theirs = (job.stored_tasks / job.tasks + 20 * one_pod) as f64;
                let row = Row::new(
                    "a task after 20 failures, and with its Pods",
                    format!("{}, {}", bytes(own as f64), bytes((own + pods) as f64)),
                );
                let theirs_told = format!("{} (Job and 20 Pods, computed)", bytes(theirs));
                let ratio = theirs / (own + pods) as f64;
                rows.push(row.beside(theirs_told, ratio).target("below Job", ratio > 1.0));
            }
        }
        if let Some(Idle { memory, apiserver_cpu }) = self.idle {
            let row = Row::new("memory of an idle operator", bytes(memory as f64));
            rows.push(row.target("≤ 14 MB", memory <= 14_000_000));
            let what = "the API server's processor time while there is nothing to do";
            rows.push(Row::new(what, format!("{apiserver_cpu:.1} ms a second")));
            let image = self.image.map_or(String::new(), |image| format!(", image {}", bytes(image as f64)));
            let row = Row::new("binary", format!("{}{image}", bytes(self.binary as f64)));
            rows.push(row.target("≤ 16 MB", self.binary <= 16_000_000));
        }
        rows
    }
}

fn waiting_rows(waiting: &Waiting) -> Vec<Row> {
    let n = waiting.tasks;
    let silent = waiting.writes + waiting.reads == 0;
    let judged = |met: bool| (n >= MANY).then_some(met);
    let after = waiting.restarts.iter().map(|restart| restart.memory).max().unwrap_or_default();
    let most = waiting.memory.max(waiting.peak_memory).max(after);
    let each = |of: fn(&Restart) -> f64| waiting.restarts.iter().map(of).collect::<Vec<_>>();
    let first_action = each(|restart| restart.first_action);
    let caught_up = each(|restart| restart.caught_up.max(restart.last_due));
    let megabytes = |memory: u64| bytes(memory as f64);
    let memory = format!(
        "{} (most ever {}; after a restart {})",
        megabytes(waiting.memory),
        megabytes(waiting.peak_memory),
        megabytes(after)
    );
    vec![
        Row::new(format!("{n} tasks waiting: memory"), memory).perhaps("≤ 100 MB", judged(most <= 100_000_000)),
        Row::new(format!("{n} tasks waiting: processor"), format!("{:.2} % of a core", waiting.cpu * 100.0))
            .perhaps("≤ 1 %", judged(waiting.cpu <= 0.01)),
        Row::new(format!("{n} tasks waiting: writes, reads"), format!("{}, {}", waiting.writes, waiting.reads))
            .target("0", silent),
        Row::new(format!("{n} tasks: restart → first action, of each restart"), times(&first_action))
            .perhaps("≤ 1.5 s", judged(percentile(&first_action, 1.0) <= 1500.0)),
        Row::new(
            format!("{n} tasks: restart → all looked at and the last due Pod created, of each restart"),
            times(&caught_up),
        )
        .perhaps("≤ 10 s", judged(percentile(&caught_up, 1.0) <= 10_000.0)),
    ]
}
