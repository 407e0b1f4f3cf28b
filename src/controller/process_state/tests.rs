use super::*;
use crate::core::rejection::Refusal;
use crate::core::testing::{BuildTask, NAME, NAMESPACE, UID, at, task};

fn key() -> TaskKey {
    TaskKey { namespace: NAMESPACE.into(), name: NAME.into() }
}

fn of_version(version: &str) -> Arc<RetryableTask> {
    Arc::new(task().change(|task| task.metadata.resource_version = Some(version.into())))
}

fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

#[test]
fn our_own_last_write_counts_until_the_cache_has_seen_it() {
    let mut state = TaskState::default();
    assert_eq!(version_of(&state.newest(of_version("9")).metadata), 9);
    state.wrote(of_version("10"));
    assert_eq!(version_of(&state.newest(of_version("9")).metadata), 10, "as numbers");
    assert_eq!(version_of(&state.newest(of_version("9")).metadata), 10, "as long as it takes");
    assert_eq!(version_of(&state.newest(of_version("10")).metadata), 10);
    assert!(state.last_write.is_none(), "seen");
    state.wrote(of_version("11"));
    assert_eq!(version_of(&state.newest(of_version("12")).metadata), 12, "others have written since");
}

#[test]
fn another_uid_starts_with_nothing() {
    let states = ProcessStates::default();
    states.with(&key(), UID, |state| state.created(1.into(), "pod-1"));
    assert!(states.with(&key(), UID, |state| state.creation_of(1.into())).is_some());
    let other = TaskKey { name: "other".into(), ..key() };
    assert!(states.with(&other, UID, |state| state.creation_of(1.into())).is_none());
    assert!(states.with(&key(), "another", |state| state.creation_of(1.into())).is_none());
    assert!(states.with(&key(), UID, |state| state.creation_of(1.into())).is_none(), "forgotten for good");
}

#[test]
fn a_forgotten_task_takes_no_room() {
    let states = ProcessStates::default();
    states.with(&key(), UID, |state| state.created(1.into(), "pod-1"));
    states.forget(&key());
    assert!(states.tasks.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_creation_is_of_one_attempt_and_ages() {
    let mut state = TaskState::default();
    state.created(2.into(), "pod-2");
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(state.creation_of(2.into()), Some(Created { pod_uid: "pod-2".into(), age: seconds(7) }));
    assert_eq!(state.creation_of(1.into()), None);
    assert_eq!(state.creation_of(3.into()), None);
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_measured_from_the_first_look_on_the_monotonic_clock() {
    let mut state = TaskState::default();
    let (due, now) = (at(60), at(0));
    assert_eq!(state.remaining(2.into(), due, now, None), seconds(60));
    tokio::time::advance(Duration::from_secs(20)).await;
    for jumped in [at(20), at(3600), at(-3600)] {
        assert_eq!(state.remaining(2.into(), due, jumped, None), seconds(40), "whatever the wall clock says");
    }
    tokio::time::advance(Duration::from_secs(41)).await;
    assert_eq!(state.remaining(2.into(), due, at(61), None), SignedDuration::ZERO);
    assert_eq!(state.remaining(3.into(), at(100), at(61), None), seconds(39), "another attempt, another measure");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_makes_no_wait_longer_than_it_was_meant_to_be() {
    let mut state = TaskState::default();
    assert_eq!(state.remaining(2.into(), at(60), at(-3600), Some(seconds(60))), seconds(60));
    assert_eq!(state.remaining(3.into(), at(61), at(51), Some(seconds(60))), seconds(10));
    assert_eq!(state.remaining(4.into(), at(62), at(70), Some(seconds(60))), SignedDuration::ZERO);
}

#[test]
fn failures_wait_ever_longer_up_to_a_minute() {
    let states = ProcessStates::default();
    let waits: Vec<_> = (0..12).map(|_| states.with(&key(), UID, TaskState::failed).as_millis()).collect();
    for (n, wait) in waits.iter().enumerate() {
        let most = (1000 << n.min(20)).min(60_000);
        assert!((most / 2..=most).contains(wait), "{n}: {wait}");
    }
    states.with(&key(), UID, TaskState::succeeded);
    assert!(states.with(&key(), UID, TaskState::failed).as_millis() <= 1000, "from the start again");
    let other = states.with(&key(), "another", TaskState::failed).as_millis();
    assert_ne!(other, waits[0], "tasks that failed together do not come back together");
}

#[tokio::test(start_paused = true)]
async fn cleaning_up_has_a_back_off_of_its_own() {
    let mut state = TaskState::default();
    assert_eq!(state.cleanup_wait(), Duration::ZERO);
    state.failed();
    state.cleaned_up(false);
    let first = state.cleanup_wait();
    assert!(first >= Duration::from_millis(500) && first <= Duration::from_secs(1), "{first:?}");
    state.cleaned_up(false);
    state.cleaned_up(false);
    let third = state.cleanup_wait();
    assert!(third >= Duration::from_secs(2), "{third:?}");
    tokio::time::advance(third).await;
    assert_eq!(state.cleanup_wait(), Duration::ZERO);
    state.cleaned_up(true);
    assert_eq!(state.cleanup_wait(), Duration::ZERO);
    state.cleaned_up(false);
    assert!(state.cleanup_wait() <= Duration::from_secs(1), "from the start again");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_wait_moves_with_its_due_time() {
    let mut state = TaskState::default();
    assert_eq!(state.remaining(2.into(), at(100), at(0), None), seconds(100));
    tokio::time::advance(Duration::from_secs(10)).await;
    // The wall clock has jumped meanwhile, and who has moved the due time does not matter.
    assert_eq!(state.remaining(2.into(), at(40), at(3600), None), seconds(30));
    assert_eq!(state.remaining(2.into(), at(400), at(90), None), seconds(390));
    assert_eq!(state.remaining(2.into(), at(100), at(90), None), seconds(90), "a cache that is behind");
    assert_eq!(state.remaining(3.into(), at(400), at(90), None), seconds(310), "another wait's");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_stored_is_reported_once_when_it_lasts() {
    let mut state = TaskState::default();
    let mut said = Vec::new();
    for _ in 0..6 {
        said.push(state.not_stored());
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(said, [false, false, false, true, false, false]);
    state.wrote(Arc::new(crate::core::testing::task()));
    assert!(!state.not_stored(), "it worked in between");
}

#[tokio::test(start_paused = true)]
async fn creations_that_fail_in_a_row_are_counted_from_the_first_that_was_sent() {
    let mut state = TaskState::default();
    let rejection = |code| Rejection { answer: Refusal::Code(code), message: "no".into() };
    let second = SignedDuration::from_secs(1);
    let begun = Instant::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    state.not_created(1.into(), &rejection(403), begun);
    assert_eq!(state.sent_for(1.into()), None, "nothing was stored");
    tokio::time::advance(Duration::from_secs(1)).await;
    state.not_created(1.into(), &rejection(503), Instant::now());
    tokio::time::advance(Duration::from_secs(1)).await;
    let failing = Failing { since: second * 3, last: second, rejection: rejection(503) };
    assert_eq!(state.failing(1.into()), Some(failing));
    assert_eq!((state.failing(2.into()), state.sent_for(1.into())), (None, Some(second)));
    state.created(1.into(), "pod");
    assert_eq!(state.failing(1.into()), None);
}

#[tokio::test(start_paused = true)]
async fn the_last_warning_stays_while_events_cannot_be_read() {
    let warning = || {
        let hold_up = crate::api::HoldUp { reason: "FailedMount".into(), message: None };
        Some(PodWarning { hold_up, last_seen: Some(at(0)) })
    };
    let of = |pod_uid: &str, readable, newest| {
        Some(PodWarnings { pod_uid: pod_uid.into(), age: SignedDuration::ZERO, readable, newest })
    };
    let mut state = TaskState::default();
    state.warnings_unread("one".into());
    assert_eq!(state.warnings(), of("one", false, None), "it has never said");
    state.warned("one".into(), warning());
    tokio::time::advance(Duration::from_secs(60)).await;
    state.warnings_unread("one".into());
    assert_eq!(state.warnings(), of("one", true, warning()));
    state.warnings_unread("two".into());
    assert_eq!(state.warnings(), of("two", false, None), "another Pod");
}
