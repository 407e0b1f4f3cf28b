//! Whether a rule matches a failure, and what is wrong with a rule.

use super::known_reasons::{DECIDED_BEFORE, has_no_exit_code};
use super::pod_snapshot::Outcome;
use super::regex_cache::compiled;
use crate::api::{FailureRule, IntOrText, Preset, When};
use std::ops::{Range, RangeInclusive};

/// The highest exit code.
const MAX_CODE: i64 = 255;
/// The runtimes' reasons for a command that cannot be run. Containerd's exit code for it is 128.
const NOT_RUNNABLE: [&str; 2] = ["StartError", "ContainerCannotRun"];
/// Signals on Linux (signal(7), x86 and ARM) in the order of their numbers, from 1. IOT and POLL are other names of 6
/// and 29.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// Whether the rule matches this failure. A rule without matchers matches every failure.
pub fn matches(rule: &FailureRule, outcome: &Outcome) -> bool {
    rule.when.as_ref().is_none_or(|when| all_match(when, outcome))
}

/// Whether all given matchers match.
pub(super) fn all_match(when: &When, outcome: &Outcome) -> bool {
    let When { preset, exit_codes, not_exit_codes, signals, reasons, error_types, pod_conditions, message } = when;
    // If the operator stopped the Pod, the exit code and the signal are the effect of that stop.
    let code = outcome.exit_code.filter(|_| !outcome.stopped).map(i64::from);
    let signal = outcome.signal.filter(|_| !outcome.stopped).map(i64::from);
    let reported = &outcome.report.error_types;
    holds(preset.as_ref(), |preset| {
        let cannot_run = *preset == Preset::CommandNotRunnable && NOT_RUNNABLE.contains(&outcome.reason.as_str());
        cannot_run || code.is_some_and(|code| preset_codes(*preset).iter().any(|range| range.contains(&code)))
    }) && holds(exit_codes.as_ref(), |codes| code.is_some_and(|code| any_contains(codes, code)))
        && holds(not_exit_codes.as_ref(), |codes| code.is_some_and(|code| !any_contains(codes, code)))
        && holds(signals.as_ref(), |signals| {
            signal.is_some_and(|n| signals.iter().any(|s| signal_number(s) == Some(n)))
        })
        && holds(reasons.as_ref(), |reasons| reasons.contains(&outcome.reason))
        && holds(error_types.as_ref(), |types| reported.iter().any(|type_| types.contains(type_)))
        && holds(pod_conditions.as_ref(), |types| outcome.conditions.iter().any(|type_| types.contains(type_)))
        && holds(message.as_ref(), |pattern| {
            let texts = outcome.texts();
            let is_silent = texts.iter().all(Option::is_none);
            texts.into_iter().flatten().chain(is_silent.then_some("")).any(|text| find(pattern, text).is_some())
        })
}

/// Where the expression matches in the text, in bytes. None if it does not, or is invalid.
pub fn find(pattern: &str, text: &str) -> Option<Range<usize>> {
    compiled(pattern).ok()?.find(text).map(|found| found.range())
}

fn holds<T>(matcher: Option<&T>, test: impl FnOnce(&T) -> bool) -> bool {
    matcher.is_none_or(test)
}

/// What is wrong with the rules, as a message to their author. Admission rejects most of it.
pub fn problem(rules: &[FailureRule]) -> Option<String> {
    rules.iter().enumerate().find_map(|(index, rule)| {
        let fault = |what: String| Some(format!("spec.rules, rule \"{}\": {what}", rule.name));
        if rules.iter().take(index).any(|earlier| earlier.name == rule.name) {
            return fault("the name is used twice".into());
        }
        if rules.iter().take(index).any(|earlier| earlier.when.is_none()) {
            return fault(
                "it is never reached: a rule without `when` matches every failure and must be the last".into(),
            );
        }
        if let Some(same) = rules.iter().take(index).find(|earlier| earlier.when == rule.when) {
            return fault(format!("it is never reached: \"{}\" has the same `when`", same.name));
        }
        if let Some(backoff) = rule.backoff.as_ref().and_then(super::delay::problem) {
            return fault(backoff);
        }
        rule.when.as_ref().and_then(when_problem).and_then(fault)
    })
}

/// What is wrong with the matchers.
pub(super) fn when_problem(when: &When) -> Option<String> {
    let codes = [&when.exit_codes, &when.not_exit_codes].into_iter().flatten().flatten();
    let bad_code = codes
        .filter(|code| code_range(code).is_none())
        .map(|code| format!("{code:?} is neither an exit code nor a range from low to high"));
    let signals = when.signals.iter().flatten().filter(|signal| signal_number(signal).is_none());
    let bad_signal = signals.map(|signal| format!("unknown signal {signal:?}"));
    let pattern = when.message.as_ref();
    let bad_pattern = pattern.and_then(|pattern| {
        compiled(pattern).err().map(|error| format!("message `{pattern}` does not compile: {error}"))
    });
    let mut reasons = when.reasons.iter().flatten().filter(|reason| DECIDED_BEFORE.contains(&reason.as_str()));
    let bad_reason =
        reasons.next().map(|reason| format!("no attempt that is {reason} comes to the rules: remove that reason"));
    bad_code.chain(bad_signal).chain(bad_pattern).chain(bad_reason).next().or_else(|| contradiction(when))
}

/// Matchers that no failure can match together.
fn contradiction(when: &When) -> Option<String> {
    let When { preset, exit_codes, not_exit_codes, signals, reasons, .. } = when;
    let is_given = preset.is_some() || exit_codes.is_some() || not_exit_codes.is_some();
    let codeless = reasons.as_ref().is_some_and(|reasons| reasons.iter().all(|reason| has_no_exit_code(reason)));
    if codeless && (is_given || signals.is_some()) {
        return Some(
            "an attempt with one of these reasons has no exit code and no signal, for it never started or the operator \
             stopped it: give the reasons alone"
                .into(),
        );
    }
    let signals = signals.as_ref().map(|signals| signals.iter().filter_map(signal_number).collect::<Vec<_>>());
    let ranges =
        |codes: &Option<Vec<IntOrText>>| codes.as_ref().map(|codes| codes.iter().filter_map(code_range).collect());
    let (codes, not_codes): (Option<Vec<_>>, Option<Vec<_>>) = (ranges(exit_codes), ranges(not_exit_codes));
    let any = |ranges: &Vec<RangeInclusive<i64>>, code| ranges.iter().any(|range| range.contains(&code));
    let possible = (1..=MAX_CODE).any(|code| {
        holds(preset.as_ref(), |preset| preset_codes(*preset).iter().any(|range| range.contains(&code)))
            && holds(codes.as_ref(), |codes| any(codes, code))
            && holds(not_codes.as_ref(), |codes| !any(codes, code))
            && holds(signals.as_ref(), |signals| signals.contains(&(code - 128)))
    });
    (is_given && !possible)
        .then(|| "no failure matches preset, exitCodes, notExitCodes and signals at once: give fewer of them".into())
}

fn any_contains(codes: &[IntOrText], code: i64) -> bool {
    codes.iter().filter_map(code_range).any(|range| range.contains(&code))
}

fn code_range(codes: &IntOrText) -> Option<RangeInclusive<i64>> {
    match codes {
        IntOrText::Int(code) => (1..=MAX_CODE).contains(code).then_some(*code..=*code),
        IntOrText::Text(text) => {
            let (low, high) = text.split_once('-')?;
            let (low, high) = (low.parse().ok()?, high.parse().ok()?);
            (0 <= low && low <= high && high <= MAX_CODE).then_some(low..=high)
        }
    }
}

fn preset_codes(preset: Preset) -> &'static [RangeInclusive<i64>] {
    match preset {
        // EX_UNAVAILABLE 69, EX_OSERR 71, EX_IOERR 74 and EX_TEMPFAIL 75 are transient. The rest of sysexits.h is
        // permanent.
        Preset::SysexitsPermanent => &[64..=68, 70..=70, 72..=73, 76..=78],
        Preset::SysexitsTransient => &[69..=69, 71..=71, 74..=75],
        Preset::CommandNotRunnable => &[126..=127],
    }
}

fn signal_number(signal: &IntOrText) -> Option<i64> {
    match signal {
        IntOrText::Int(number) => (1..=64).contains(number).then_some(*number),
        IntOrText::Text(name) => match name.strip_prefix("SIG").unwrap_or(name) {
            "IOT" => Some(6),
            "POLL" => Some(29),
            name => SIGNALS.iter().position(|known| *known == name).and_then(|index| i64::try_from(index + 1).ok()),
        },
    }
}

#[cfg(test)]
mod tests;
