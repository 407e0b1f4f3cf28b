//! The results, as a table for people and as JSON for programs.

use crate::attempts::Attempts;
use crate::drain::Drain;
use crate::sharing::Share;
use crate::stats::{bytes, middle_and_worst, percentile, time};
use crate::waiting::{Restart, Waiting};
use serde::Serialize;
use std::fmt::Write;

/// All results.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub machine: String,
    pub versions: String,
    /// The date of the measurement, and the commit.
    pub tree: String,
    /// Which parts or numbers were left out. Empty if none.
    pub scope: String,
    pub idle_memory: Option<u64>,
    pub binary: u64,
    pub image: Option<u64>,
    pub attempts: Vec<SideBySide>,
    /// The same attempts beside more and more tasks that wait.
    pub growth: Vec<Attempts>,
    /// The bytes of a task after twenty failures, and of its Pods.
    pub twenty_failures: Option<(usize, usize)>,
    pub drain: Option<Drain>,
    pub drain_job: Option<Drain>,
    pub drain_job_default: Option<Drain>,
    pub waiting: Option<Waiting>,
    pub sharing: Vec<Share>,
    /// Parts that failed, and why.
    pub failed: Vec<String>,
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

/// How many watches the operator needs for any number of tasks: one of tasks and one of Pods.
const WATCHES: i64 = 2;
/// The number of waiting tasks to which the targets apply.
const MANY: usize = 10_000;

/// The rows that the page shows. The table beside it has all rows.
const MAIN_ROWS: [&str; 12] = [
    "one at a time: writes an attempt, Events and removals apart",
    "one at a time: task created → first Pod, p50 / p99",
    "100 at once, Job with its default limits: due → Pod created, p50 / p99",
    "1000 at once: task created → first Pod, p50 / p99",
    "1000 at once: due → Pod created, p50 / p99",
    "1000 in three minutes: due → Pod created, p50 / p99",
    "1000 in three minutes: … without the API server's own time, as the operator waits for it",
    "1000 failures at once, next attempts, no client limits",
    "10000 tasks waiting: memory",
    "10000 tasks waiting: writes, reads",
    "10000 tasks: restart → first action, of each restart",
    "bytes that an attempt leaves in etcd, with its Pods",
];

/// One line of the table.
struct Row {
    measure: String,
    ours: String,
    job: String,
    ratio: String,
    target: &'static str,
    met: Option<bool>,
}

impl Row {
    fn new(measure: impl Into<String>, ours: impl Into<String>) -> Self {
        let none = || "–".to_owned();
        Self { measure: measure.into(), ours: ours.into(), job: none(), ratio: none(), target: "", met: None }
    }

    /// Adds Job's value. The ratio is Job's value divided by ours.
    fn beside(self, job: impl Into<String>, ratio: f64) -> Self {
        let ratio = if ratio.is_finite() { format!("{ratio:.1}") } else { "–".into() };
        Self { job: job.into(), ratio, ..self }
    }

    fn target(self, target: &'static str, met: bool) -> Self {
        self.perhaps(target, Some(met))
    }

    /// Adds no judgement if what it needs was not measured.
    fn perhaps(self, target: &'static str, met: Option<bool>) -> Self {
        Self { target, met, ..self }
    }
}

impl Report {
    /// All rows, as a table in Markdown.
    pub fn table(&self) -> String {
        let mut text = self.in_markdown(&self.rows());
        for failed in &self.failed {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\nNot measured: {failed}");
        }
        text
    }

    /// The rows of the page, as a table in Markdown.
    pub fn main_rows(&self) -> String {
        let mut rows = self.rows();
        rows.retain(|row| MAIN_ROWS.contains(&row.measure.as_str()));
        let mut text = self.in_markdown(&rows);
        for name in MAIN_ROWS.into_iter().filter(|name| rows.iter().all(|row| row.measure != *name)) {
            let _ = writeln!(text, "\nNot measured: {name}");
        }
        text
    }

    fn in_markdown(&self, rows: &[Row]) -> String {
        let mut text = format!("{}.\n{}.\n{}.\n", self.machine, self.versions, self.tree);
        if !self.scope.is_empty() {
            let _ = writeln!(text, "{}.", self.scope);
        }
        text += "\n| measure | RetryableTask | Job | Job ÷ ours | target | met |\n|---|---|---|---|---|---|\n";
        for Row { measure, ours, job, ratio, target, met } in rows {
            let met = met.map_or("", |met| if met { "yes" } else { "**no**" });
            let _ = writeln!(text, "| {measure} | {ours} | {job} | {ratio} | {target} | {met} |");
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
        rows.extend(self.drain_rows());
        rows.extend(self.waiting.iter().flat_map(waiting_rows));
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
        if let Some(memory) = self.idle_memory {
            let row = Row::new("memory of an idle operator", bytes(memory as f64));
            rows.push(row.target("≤ 20 MB", memory <= 20_000_000));
        }
        let image = self.image.map_or(String::new(), |image| format!(", image {}", bytes(image as f64)));
        rows.push(Row::new("binary", format!("{}{image}", bytes(self.binary as f64))));
        rows
    }
}

fn attempt_rows(name: &str, task: &Attempts, job: Option<&Attempts>) -> Vec<Row> {
    let number = |value: f64| format!("{value:.2}");
    let beside = |row: Row, text: &dyn Fn(&Attempts) -> String, value: &dyn Fn(&Attempts) -> f64| match job {
        Some(job) => row.beside(text(job), value(job) / value(task)),
        None => row,
    };
    let writes = |measured: &Attempts| measured.writes_per_attempt;
    let events = |measured: &Attempts| measured.events_per_attempt;
    let row = |measure: &str, text: &dyn Fn(&Attempts) -> String| Row::new(format!("{name}: {measure}"), text(task));
    let text_of_writes = |measured: &Attempts| format!("{:.3}", writes(measured));
    let text_of_removals = |measured: &Attempts| number(measured.removals_per_attempt);
    let text_of_events = |measured: &Attempts| number(events(measured));
    let text_of_reads = |measured: &Attempts| format!("{}, {}", measured.reads, measured.watches);
    let text_of_start = |measured: &Attempts| middle_and_worst(&measured.start);
    let text_of_start_but_for_status = |measured: &Attempts| middle_and_worst(&measured.start_but_for_status);
    let text_of_lag = |measured: &Attempts| middle_and_worst(&measured.late.lag);
    let text_of_own = |measured: &Attempts| middle_and_worst(&measured.late.own_lag);
    let text_of_until_wait = |measured: &Attempts| middle_and_worst(&measured.late.until_wait);
    let text_of_by_audit = |measured: &Attempts| middle_and_worst(&measured.late.lag_by_audit);
    let text_of_bystander = |measured: &Attempts| middle_and_worst(&measured.bystander);
    let text_of_api = |measured: &Attempts| middle_and_worst(&measured.api);
    let text_of_cpu = |measured: &Attempts| format!("{:.1} ms", measured.controller_cpu);
    let text_of_api_cpu = |measured: &Attempts| format!("{:.1} ms", measured.apiserver_cpu);
    let text_of_busy = |measured: &Attempts| format!("{:.0} %", measured.busy * 100.0);
    let nothing = |_: &Attempts| f64::NAN;
    let not_behind = job.map(|job| is_ahead(1.0, &task.start, &job.start));
    let far_ahead = job.map(|job| is_ahead(20.0, &task.late.lag, &job.late.lag));
    let in_time = p50(&task.late.own_lag) <= 20.0 && p99(&task.late.own_lag) <= 100.0;
    vec![
        beside(row("writes an attempt, Events and removals apart", &text_of_writes), &text_of_writes, &writes)
            .target("≤ 4", writes(task) <= 4.0),
        beside(row("removals of Pods past their retention an attempt", &text_of_removals), &text_of_removals, &nothing),
        beside(row("Events an attempt", &text_of_events), &text_of_events, &events).target("≤ 1", events(task) <= 1.0),
        // The watches of the Job controller are those of the whole controller manager.
        row("reads in all, watches open", &text_of_reads)
            .target("0, constant", task.reads == 0 && task.watches <= WATCHES),
        beside(row("task created → first Pod, p50 / p99", &text_of_start), &text_of_start, &|m| p50(&m.start))
            .perhaps("not behind Job", not_behind),
        row("… without the API server's time for the status that comes before", &text_of_start_but_for_status),
        beside(row("due → Pod created, p50 / p99", &text_of_lag), &text_of_lag, &|m| p50(&m.late.lag))
            .perhaps("Job's ≥ 20 times", far_ahead),
        row("… without the API server's own time, as the operator waits for it", &text_of_own)
            .target("≤ 20 ms / ≤ 100 ms", in_time),
        row("… without the API server's own time, by its audit log", &text_of_by_audit),
        row("an end reported by its node → the wait begins", &text_of_until_wait),
        beside(
            row("a bystander's request sent → the API server has it", &text_of_bystander),
            &text_of_bystander,
            &nothing,
        ),
        beside(row("the API server's time for one write", &text_of_api), &text_of_api, &|m| p50(&m.api)),
        beside(row("controller's processor time an attempt", &text_of_cpu), &text_of_cpu, &|m| m.controller_cpu),
        beside(row("the API server's processor time an attempt", &text_of_api_cpu), &text_of_api_cpu, &|m| {
            m.apiserver_cpu
        }),
        beside(row("of the whole machine, busy", &text_of_busy), &text_of_busy, &nothing),
    ]
}

/// The row that compares with the Job controller with its default limits.
fn default_rows(name: &str, task: &Attempts, job: &Attempts) -> [Row; 2] {
    let row = |what: &str, ours: &[f64], theirs: &[f64]| {
        Row::new(format!("{name}, Job with its default limits: {what}, p50 / p99"), middle_and_worst(ours))
            .beside(middle_and_worst(theirs), p50(theirs) / p50(ours))
    };
    [
        row("task created → first Pod", &task.start, &job.start)
            .target("not behind Job", is_ahead(1.0, &task.start, &job.start)),
        row("due → Pod created", &task.late.lag, &job.late.lag)
            .target("Job's ≥ 20 times", is_ahead(20.0, &task.late.lag, &job.late.lag)),
    ]
}

fn p50(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

fn p99(values: &[f64]) -> f64 {
    percentile(values, 0.99)
}

/// Whether Job's times are at least that many times ours, at the median and at the 99th percentile.
fn is_ahead(times: f64, ours: &[f64], jobs: &[f64]) -> bool {
    p50(jobs) >= times * p50(ours) && p99(jobs) >= times * p99(ours)
}

fn times(values: &[f64]) -> String {
    values.iter().map(|&value| time(value)).collect::<Vec<_>>().join(", ")
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
            .perhaps("≤ 2 s", judged(percentile(&first_action, 1.0) <= 2000.0)),
        Row::new(
            format!("{n} tasks: restart → all looked at and the last due Pod created, of each restart"),
            times(&caught_up),
        )
        .perhaps("≤ 10 s", judged(percentile(&caught_up, 1.0) <= 10_000.0)),
    ]
}
