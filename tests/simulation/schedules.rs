//! The schedules: many worlds, each from its seed.
//!
//! `make soak SCHEDULES=100000` runs more; `make simulation SEED=7` runs one again and shows everything that happened in it (`RUST_LOG=debug`
//! adds the operator's own log). With `UNTIL_BROKEN` set, no more are begun once one breaks a rule, and the first that
//! does is told in a line of its own.

use crate::world::{self, Kind, Outcome, Plan};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

/// How many schedules run by default: few, since a build without optimisation is slow.
const SCHEDULES: u64 = 100;
/// How many failures are shown.
const SHOWN: usize = 10;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The outcome of the world of this seed. A world without users is run again without faults, and must end the same.
fn play(seed: u64) -> Result<Outcome, String> {
    let plan = Plan::of(seed);
    let log = number("SEED").is_some();
    // How many runs a schedule starts depends on when each ends.
    let again = (plan.kind == Kind::Faults && plan.schedules.is_empty()).then(|| plan.without_faults());
    let mut outcome = catch_unwind(AssertUnwindSafe(|| world::run(plan, log))).map_err(panic_text)?;
    if let Some(plan) = again {
        let calm = catch_unwind(AssertUnwindSafe(|| world::run(plan, false))).map_err(panic_text)?;
        outcome.violations.extend(calm.violations);
        // If a Pod is deleted and exits within the same second, nobody can tell which came first.
        let alike = |summary: &str| summary.replace("PodDeleted", "Error").replace("ContainerStatusUnknown", "Error");
        if outcome.summary.len() != calm.summary.len() {
            let text = format!("{} tasks with faults, {} without", outcome.summary.len(), calm.summary.len());
            outcome.violations.push(crate::oracle::Violation::new("faults change nothing in the end", text));
        }
        for (with, without) in outcome.summary.iter().zip(&calm.summary) {
            if alike(with) != alike(without) {
                let text = format!("\n    with:    {with}\n    without: {without}");
                outcome.violations.push(crate::oracle::Violation::new("faults change nothing in the end", text));
            }
        }
    }
    Ok(outcome)
}

/// A hash of everything that happened in the world of this seed.
fn digest(seed: u64) -> u64 {
    let outcome = world::run(Plan::of(seed), true);
    let text = outcome.log.concat();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn a_world_replays_beside_others() {
    let digests = |seeds: &[u64]| seeds.iter().map(|seed| (*seed, digest(*seed))).collect::<BTreeMap<_, _>>();
    let there: Vec<u64> = (0..24).collect();
    let back: Vec<u64> = (0..24).rev().collect();
    std::thread::scope(|scope| {
        let (first, second) = (scope.spawn(|| digests(&there)), scope.spawn(|| digests(&back)));
        assert_eq!(first.join().unwrap(), second.join().unwrap());
    });
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    let text =
        panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    format!("panicked: {}", text.unwrap_or_default())
}

#[test]
fn schedules() {
    if let Some(seed) = number("SEED") {
        return show(seed);
    }
    let count = number("SCHEDULES").unwrap_or(SCHEDULES);
    let first = number("FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let results = Mutex::new(BTreeMap::new());
    let (until_broken, broken) = (std::env::var_os("UNTIL_BROKEN").is_some(), AtomicBool::new(false));
    let begun = Instant::now();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || until_broken && broken.load(Ordering::Relaxed) {
                        return;
                    }
                    let result = play(seed);
                    let good = result.as_ref().is_ok_and(|outcome| outcome.violations.is_empty());
                    broken.fetch_or(!good, Ordering::Relaxed);
                    results.lock().unwrap().insert(seed, result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    if until_broken {
        print_first(&results);
    }
    conclude(&results, begun.elapsed().as_secs_f64());
}

/// Prints the first seed that breaks a rule. All seeds before it have run.
fn print_first(results: &BTreeMap<u64, Result<Outcome, String>>) {
    for (count, (seed, result)) in results.iter().enumerate() {
        let rule = match result {
            Ok(outcome) => outcome.violations.first().map(|violation| violation.rule),
            Err(_) => Some("no panic"),
        };
        if let Some(rule) = rule {
            return println!("broken: {} {seed} «{rule}»", count + 1);
        }
    }
}

fn conclude(results: &BTreeMap<u64, Result<Outcome, String>>, seconds: f64) {
    let mut rules: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut failures = vec![];
    let (mut requests, mut pods, mut processes, mut hours) = (0, 0, 0, 0);
    for (seed, result) in results {
        match result {
            Ok(outcome) => {
                requests += outcome.requests;
                pods += outcome.pods;
                processes += outcome.processes;
                hours += outcome.age.as_secs() / 3600;
                for violation in &outcome.violations {
                    rules.entry(violation.rule).or_default().push(*seed);
                    failures.push((*seed, format!("{violation:?}")));
                }
            }
            Err(panic) => {
                rules.entry("no panic").or_default().push(*seed);
                failures.push((*seed, panic.clone()));
            }
        }
    }
    let count = results.len();
    println!(
        "{count} schedules in {seconds:.1} s ({:.1}/s): {pods} Pods, {requests} requests, {processes} processes, {hours} simulated hours",
        f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds
    );
    for (rule, seeds) in &mut rules {
        seeds.dedup();
        println!("{} of {count} break «{rule}»: {:?}", seeds.len(), &seeds[..seeds.len().min(8)]);
    }
    for (seed, failure) in failures.iter().take(SHOWN) {
        println!("make simulation SEED={seed}\n  {failure}");
    }
    assert!(failures.is_empty(), "{} failures", failures.len());
}

/// Runs one world and prints everything that happened in it.
fn show(seed: u64) {
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).try_init();
    }
    println!("{:#?}", Plan::of(seed));
    let outcome = play(seed).unwrap();
    outcome.log.iter().for_each(|line| println!("{line}"));
    outcome.summary.iter().for_each(|line| println!("{line}"));
    outcome.violations.iter().for_each(|violation| println!("SEED={seed} {violation:?}"));
    assert!(outcome.violations.is_empty(), "{} violations", outcome.violations.len());
}
