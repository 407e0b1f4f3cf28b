//! The rows about attempts of one kind at one number of tasks.

use crate::attempts::Attempts;
use crate::row::{Row, is_ahead, p50, p99};
use crate::stats::middle_and_worst;

/// How many watches the operator needs for any number of tasks: one of tasks and one of Pods.
const WATCHES: i64 = 2;

pub fn attempt_rows(name: &str, task: &Attempts, job: Option<&Attempts>) -> Vec<Row> {
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
        })
        .perhaps("≤ Job's", job.map(|job| task.apiserver_cpu <= job.apiserver_cpu)),
        beside(row("of the whole machine, busy", &text_of_busy), &text_of_busy, &nothing),
    ]
}

/// The row that compares with the Job controller with its default limits.
pub fn default_rows(name: &str, task: &Attempts, job: &Attempts) -> [Row; 2] {
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
