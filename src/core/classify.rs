//! What the end of an attempt means: an ordered chain of small judgements, the first that speaks decides. All of it before any wait.

use super::observe::Outcome;
use crate::api::{Action, ConditionReason, RetryableTaskStatus, StopReason};

/// Name of the built-in rule for attempts that the cluster ended (drain, preemption, eviction), and of its budget.
pub const DISRUPTION: &str = "disruption";
/// How many disruptions are not charged to `maxRetries`; later ones are.
pub const DISRUPTION_BUDGET: i32 = 10;
/// Name that stands in the history as the rule when the task itself said `doNotRetry`.
pub const DO_NOT_RETRY: &str = "doNotRetry";

/// What follows the end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Another attempt or the end.
    pub action: Action,
    /// The rule that matched.
    pub rule: Option<&'static str>,
    /// The budget that counts this end, apart from `maxRetries`.
    pub class: Option<&'static str>,
    /// Why the task ends, if it does.
    pub end: Option<ConditionReason>,
}

/// The verdict on `outcome`, given why the operator stopped the Pod (if that is what ended it) and what was counted so far. An exit code 0
/// on our SIGTERM is no success.
pub fn classify(
    outcome: &Outcome,
    stop: Option<StopReason>,
    max_retries: i32,
    status: &RetryableTaskStatus,
) -> Verdict {
    let verdict = suspended(stop)
        .or_else(|| succeeded(outcome))
        .or_else(|| own_word(outcome))
        .or_else(|| disruption(outcome, status))
        .unwrap_or(Verdict { action: Action::Retry, rule: None, class: None, end: None });
    within_budget(verdict, max_retries, status)
}

fn succeeded(outcome: &Outcome) -> Option<Verdict> {
    let end = Some(ConditionReason::Succeeded);
    outcome.succeeded.then_some(Verdict { action: Action::Complete, rule: None, class: None, end })
}

fn suspended(stop: Option<StopReason>) -> Option<Verdict> {
    match stop? {
        StopReason::Suspended => Some(Verdict { action: Action::Ignore, rule: None, class: None, end: None }),
        StopReason::TaskEnded | StopReason::Unknown => None,
    }
}

fn own_word(outcome: &Outcome) -> Option<Verdict> {
    let end = Some(ConditionReason::DoNotRetry);
    outcome.word.do_not_retry.then_some(Verdict { action: Action::Fail, rule: Some(DO_NOT_RETRY), class: None, end })
}

fn disruption(outcome: &Outcome, status: &RetryableTaskStatus) -> Option<Verdict> {
    let used = count(status, DISRUPTION);
    let action = if used < DISRUPTION_BUDGET { Action::Ignore } else { Action::Retry };
    outcome.disrupted.then_some(Verdict { action, rule: Some(DISRUPTION), class: Some(DISRUPTION), end: None })
}

fn within_budget(verdict: Verdict, max_retries: i32, status: &RetryableTaskStatus) -> Verdict {
    if verdict.action == Action::Retry && status.retries >= max_retries {
        return Verdict { action: Action::Fail, end: Some(ConditionReason::RetriesExhausted), ..verdict };
    }
    verdict
}

/// How many attempts the budget `class` has counted.
pub fn count(status: &RetryableTaskStatus, class: &str) -> i32 {
    status.classes.iter().find(|counter| counter.name == class).map_or(0, |counter| counter.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FailureClass;
    use crate::core::message::Word;
    use jiff::Timestamp;

    fn failed() -> Outcome {
        Outcome {
            succeeded: false,
            container: None,
            exit_code: Some(1),
            signal: None,
            reason: "Error".into(),
            message: None,
            word: Word::default(),
            started: None,
            finished: Timestamp::UNIX_EPOCH,
            disrupted: false,
        }
    }

    fn counted(retries: i32, disruptions: i32) -> RetryableTaskStatus {
        let classes = vec![FailureClass { name: DISRUPTION.into(), count: disruptions }];
        RetryableTaskStatus { retries, classes, ..RetryableTaskStatus::default() }
    }

    #[test]
    fn the_first_judgement_that_speaks_decides() {
        let success = Outcome { succeeded: true, ..failed() };
        let disrupted = Outcome { disrupted: true, ..failed() };
        let hopeless = Outcome { word: Word { do_not_retry: true, ..Word::default() }, ..disrupted.clone() };
        let suspend = Some(StopReason::Suspended);
        let exhausted = Some(ConditionReason::RetriesExhausted);
        let cases = [
            (&success, None, counted(3, 0), Action::Complete, Some(ConditionReason::Succeeded)),
            (&success, suspend, counted(3, 0), Action::Ignore, None),
            (&failed(), suspend, counted(3, 0), Action::Ignore, None),
            (&hopeless, None, counted(0, 0), Action::Fail, Some(ConditionReason::DoNotRetry)),
            (&disrupted, None, counted(3, 9), Action::Ignore, None),
            (&disrupted, None, counted(2, 10), Action::Retry, None),
            (&disrupted, None, counted(3, 10), Action::Fail, exhausted),
            (&failed(), None, counted(2, 0), Action::Retry, None),
            (&failed(), None, counted(3, 0), Action::Fail, exhausted),
            (&failed(), Some(StopReason::TaskEnded), counted(2, 0), Action::Retry, None),
        ];
        for (outcome, stop, status, action, end) in cases {
            let verdict = classify(outcome, stop, 3, &status);
            assert_eq!((verdict.action, verdict.end), (action, end), "{outcome:?} {stop:?} {status:?}");
        }
    }

    #[test]
    fn without_retries_the_first_failure_is_the_last() {
        assert_eq!(classify(&failed(), None, 0, &counted(0, 0)).action, Action::Fail);
    }
}
