//! The comparison as a table, for people.

use super::{Case, Limits, OutageSimulation};
use crate::simulate::table::{aligned, duration};
use std::collections::BTreeSet;
use std::fmt;

impl Limits {
    fn title(self) -> &'static str {
        match self {
            Self::NoQueue => "NO QUEUE",
            Self::NoBreaker => "NO BREAKER",
            Self::Queue => "QUEUE",
        }
    }
}

impl fmt::Display for OutageSimulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, namespace, tasks, cases, notes, down_milliseconds, .. } = self;
        let namespace = namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let s = if *tasks == 1 { "" } else { "s" };
        writeln!(f, "{namespace}{name}: {tasks} task{s} {}\n", self.assumption())?;
        f.write_str(&aligned(&table(cases, *down_milliseconds > 0)))?;
        for case in cases.iter().filter(|case| !case.circuit.is_empty()) {
            f.write_str("\n")?;
            f.write_str(&aligned(&circuit(case)))?;
        }
        for note in notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}

impl OutageSimulation {
    fn assumption(&self) -> String {
        let Self { created_over_milliseconds, down_milliseconds, run_milliseconds, failure, .. } = self;
        let created = match created_over_milliseconds {
            0 => "created at once".to_owned(),
            over => format!("created over {}", duration(*over)),
        };
        let run = duration(*run_milliseconds);
        let Some(failure) = failure else {
            return format!("{created}; an attempt takes {run}, and succeeds");
        };
        let down = duration(*down_milliseconds);
        format!(
            "{created}; the service is down for the first {down}\nAn attempt takes {run}. One that starts while the service is down ends with {failure}; all others succeed."
        )
    }
}

fn table(cases: &[Case], has_outage: bool) -> Vec<Vec<String>> {
    let row = |title: String, cell: &dyn Fn(&Case) -> String| {
        std::iter::once(title).chain(cases.iter().map(cell)).collect::<Vec<_>>()
    };
    let count = |title: &str, of: fn(&Case) -> usize| row(title.into(), &|case| of(case).to_string());
    let time = |title: &str, of: fn(&Case) -> Option<i64>| row(title.into(), &|case| or_dash(of(case).map(duration)));
    let reasons: BTreeSet<&String> = cases.iter().flat_map(|case| case.failed.keys()).collect();
    let failed = reasons.into_iter().map(|reason| {
        row(format!("Tasks that fail: {reason}"), &|case| case.failed.get(reason).copied().unwrap_or(0).to_string())
    });
    let any = |of: fn(&Case) -> usize| cases.iter().any(|case| of(case) > 0);
    let if_shown = |title: &str, of: fn(&Case) -> usize| any(of).then(|| count(title, of));
    let head =
        [row(String::new(), &|case| case.limits.title().into()), count("Tasks that succeed", |case| case.succeeded)];
    let mut rows: Vec<Vec<String>> = head.into_iter().chain(failed).collect();
    rows.extend(if_shown("Tasks without an end", |case| case.not_followed));
    rows.extend(if_shown("Fallbacks that run", |case| case.fallbacks));
    rows.push(count("Attempts", |case| case.attempts));
    rows.extend(has_outage.then(|| count("  while the service is down", |case| case.attempts_while_down)));
    rows.extend(if_shown("  as probes", |case| case.probes));
    rows.push(count("Most attempts at a time", |case| case.most_at_a_time));
    if has_outage {
        rows.push(time("First start once it is back", |case| case.first_start_after_milliseconds));
        rows.push(count("Most starts in a second, then", |case| case.most_starts_in_a_second));
    } else {
        rows.push(count("Most starts in a second", |case| case.most_starts_in_a_second));
    }
    rows.push(time("End of the last task", |case| case.last_end_milliseconds));
    rows
}

fn circuit(case: &Case) -> Vec<Vec<String>> {
    let header = ["CIRCUIT", "AT", "UNTIL", "CAUSE"].map(ToOwned::to_owned).to_vec();
    let rows = case.circuit.iter().map(|change| {
        let until = or_dash(change.until_milliseconds.map(duration));
        vec![change.state.into(), duration(change.at_milliseconds), until, or_dash(change.cause.clone())]
    });
    std::iter::once(header).chain(rows).collect()
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}
