use super::*;
use crate::core::pod_snapshot::Progress;
use crate::core::testing::{BuildEnd, BuildPod, BuildTask, NAME, NAMESPACE, at, end, pod_of, task};

fn key() -> TaskKey {
    TaskKey { namespace: NAMESPACE.into(), name: NAME.into() }
}

fn pod(number: i32) -> Pod {
    pod_of(&task(), number)
}

/// What is known: number, UID, whether it is gone, whether it has ended.
fn known(attempts: &PodCache) -> Vec<(i32, String, bool, bool)> {
    let mut known: Vec<_> = attempts
        .of(&key())
        .into_iter()
        .map(|tracked| {
            (
                tracked.pod.number,
                tracked.pod.pod_uid,
                tracked.deleted,
                matches!(tracked.pod.progress, Progress::Ended(_)),
            )
        })
        .collect();
    known.sort();
    known
}

fn listed(attempts: &PodCache, pods: &[Pod], now: i64) -> Vec<TaskKey> {
    attempts.apply(&Event::Init, at(now));
    for pod in pods {
        attempts.apply(&Event::InitApply(pod.clone()), at(now));
    }
    attempts.apply(&Event::InitDone, at(now))
}

#[test]
fn events_return_the_tasks_that_they_change() {
    let attempts = PodCache::default();
    assert_eq!(attempts.apply(&Event::InitApply(pod(1)), at(0)), [key()]);
    assert_eq!(attempts.apply(&Event::Apply(pod(2)), at(0)), [key()]);
    assert_eq!(attempts.apply(&Event::Delete(pod(2).version(2)), at(0)), [key()]);
    assert_eq!(known(&attempts), [(1, "pod-1".into(), false, false), (2, "pod-2".into(), true, false)]);

    let foreign = pod(3).change(|pod| pod.metadata.labels = None);
    assert_eq!(attempts.apply(&Event::Apply(foreign), at(0)), []);
    let other = pod_of(&task().named("other", "other-uid"), 1);
    let other_key = TaskKey { name: "other".into(), ..key() };
    assert_eq!(attempts.apply(&Event::Apply(other), at(0)), std::slice::from_ref(&other_key));
    assert_eq!((attempts.of(&other_key).len(), known(&attempts).len()), (1, 2));
}

#[test]
fn pods_that_a_complete_list_does_not_have_are_deleted() {
    let attempts = PodCache::default();
    assert_eq!(listed(&attempts, &[pod(1), pod(2)], 0), [], "nothing went");
    assert_eq!(listed(&attempts, &[pod(2)], 10), [key()]);
    assert_eq!(known(&attempts), [(1, "pod-1".into(), true, false), (2, "pod-2".into(), false, false)]);
    assert_eq!(listed(&attempts, &[pod(2)], 20), [], "said once");
}

#[test]
fn an_incomplete_list_deletes_nothing() {
    let attempts = PodCache::default();
    listed(&attempts, &[pod(1)], 0);
    attempts.apply(&Event::Init, at(1));
    attempts.apply(&Event::Init, at(2));
    attempts.apply(&Event::InitApply(pod(1)), at(2));
    attempts.apply(&Event::InitDone, at(2));
    assert_eq!(known(&attempts), [(1, "pod-1".into(), false, false)]);
}

#[test]
fn an_older_answer_changes_nothing() {
    let attempts = PodCache::default();
    attempts.apply(&Event::Apply(pod(1).running().version(5)), at(0));
    attempts.answered(&pod(1).version(4), at(1));
    assert_eq!(attempts.of(&key())[0].pod.progress, Progress::Running);
    attempts.changed(&pod(1).version(4), at(1));
    assert_eq!(attempts.of(&key())[0].pod.progress, Progress::Running);
    attempts.answered(&pod(1).exit(1).version(6), at(2));
    assert_eq!(known(&attempts), [(1, "pod-1".into(), false, true)]);
}

#[test]
fn versions_are_compared_as_numbers() {
    let attempts = PodCache::default();
    attempts.apply(&Event::Apply(pod(1).running().version(10)), at(0));
    attempts.answered(&pod(1).version(9), at(1));
    assert_eq!(attempts.of(&key())[0].pod.progress, Progress::Running, "10 is more than 9");
}

/// A DELETE is answered with the Pod as it was, at the very version of the event that tells its end.
#[test]
fn an_answer_does_not_bring_a_deleted_pod_back() {
    let attempts = PodCache::default();
    attempts.apply(&Event::Apply(pod(1).version(4)), at(0));
    attempts.apply(&Event::Delete(pod(1).version(5)), at(1));
    let gone = [(1, "pod-1".to_owned(), true, false)];
    attempts.changed(&pod(1).version(5), at(2));
    assert_eq!(known(&attempts), gone);
    attempts.answered(&pod(1).version(5), at(2));
    assert_eq!(known(&attempts), gone);
    attempts.forget_deleted(&key(), |_| false);
    attempts.changed(&pod(1).version(5), at(3));
    assert_eq!(known(&attempts), [], "a change adds nothing that is not known");
    attempts.answered(&pod(2), at(3));
    assert_eq!(known(&attempts), [(2, "pod-2".into(), false, false)], "a GET or POST does");
}

/// The last finalizer's removal is answered with the version that the deletion gave the Pod, and the watch may show that
/// one afterwards.
#[test]
fn a_deletion_that_is_seen_late_does_not_put_the_finalizer_back() {
    let attempts = PodCache::default();
    let deleting = pod(1).exit(1).deleted_at(0).version(5);
    let freed = deleting.clone().without_finalizer();
    attempts.apply(&Event::Apply(pod(1).exit(1).version(4)), at(0));
    attempts.changed(&deleting, at(1));
    assert!(attempts.of(&key())[0].pod.has_finalizer, "until it is freed");
    attempts.changed(&freed, at(1));
    attempts.apply(&Event::Apply(deleting), at(2));
    assert!(!attempts.of(&key())[0].pod.has_finalizer, "it would be freed twice");
    attempts.apply(&Event::Delete(freed.version(6)), at(2));
    assert_eq!(known(&attempts), [(1, "pod-1".into(), true, true)]);
}

/// A Pod whose label is taken off leaves the watch, and comes back with the label.
#[test]
fn the_watch_brings_a_pod_back() {
    let attempts = PodCache::default();
    attempts.apply(&Event::Apply(pod(1).version(4)), at(0));
    attempts.apply(&Event::Delete(pod(1).version(5)), at(1));
    attempts.apply(&Event::Apply(pod(1).running().version(6)), at(2));
    assert_eq!(known(&attempts), [(1, "pod-1".into(), false, false)]);
}

#[test]
fn a_pod_that_a_list_missed_comes_back_with_an_answer() {
    let attempts = PodCache::default();
    attempts.answered(&pod(1).version(7), at(0));
    listed(&attempts, &[], 1); // of a version before the Pod's
    assert_eq!(known(&attempts), [(1, "pod-1".into(), true, false)]);
    attempts.answered(&pod(1).version(7), at(2));
    assert_eq!(known(&attempts), [(1, "pod-1".into(), false, false)]);
}

#[test]
fn a_not_found_answer_concerns_the_pod_that_was_looked_up() {
    let attempts = PodCache::default();
    let name = pod(1).metadata.name.unwrap();
    assert_eq!(attempts.uid_of(&key(), &name), None);
    attempts.apply(&Event::Apply(pod(1)), at(0));
    assert_eq!(attempts.uid_of(&key(), &name).as_deref(), Some("pod-1"));
    attempts.apply(&Event::Apply(pod(1).uid("later").version(9)), at(1));
    attempts.answered_not_found(&key(), &name, "pod-1");
    assert_eq!(known(&attempts), [(1, "later".into(), false, false)]);
    attempts.answered_not_found(&key(), &name, "later");
    assert_eq!(known(&attempts), [(1, "later".into(), true, false)]);
    attempts.answered_not_found(&key(), "nobody", "later");
}

#[test]
fn the_first_terminal_observation_stays() {
    let attempts = PodCache::default();
    attempts.apply(&Event::Apply(pod(1).running().version(1)), at(0));
    attempts.apply(&Event::Apply(pod(1).exit(3).version(2)), at(5));
    let first = attempts.of(&key()).remove(0);
    attempts.apply(&Event::Apply(pod(1).exit(0).disrupted("DeletionByPodGC", 6).deleted_at(6).version(3)), at(9));
    let then = attempts.of(&key()).remove(0);
    assert_eq!(then.pod.progress, first.pod.progress);
    assert_eq!((then.first_seen, then.end_seen), (at(0), Some(at(5))));
    assert!(then.pod.deleting, "the rest is the latest");
    attempts.apply(&Event::Delete(pod(1).exit(0).version(4)), at(10));
    let gone = attempts.of(&key()).remove(0);
    assert_eq!((gone.pod.progress, gone.deleted), (first.pod.progress, true), "and the end of what is gone is known");
}

/// A finished task keeps its Pods as long as their owner likes.
#[test]
fn the_messages_of_a_recorded_end_are_dropped_for_good() {
    let attempts = PodCache::default();
    let said = |number| pod(number).ended(end(1).saying("disk full"));
    attempts.apply(&Event::Apply(said(1).version(2)), at(0));
    attempts.apply(&Event::Apply(said(2).version(2)), at(0));
    attempts.forget_texts(&key(), |pod| pod.number == 1);
    attempts.apply(&Event::Apply(said(1).version(3)), at(1));
    let texts = attempts.of(&key()).into_iter().map(|tracked| match tracked.pod.progress {
        Progress::Ended(outcome) => outcome.message,
        other => panic!("{other:?}"),
    });
    assert_eq!(texts.collect::<Vec<_>>(), [None, Some("disk full".into())]);
}

#[test]
fn another_pod_of_the_same_name_starts_afresh() {
    let attempts = PodCache::default();
    attempts.apply(&Event::Apply(pod(1).exit(3).version(2)), at(0));
    attempts.apply(&Event::Apply(pod(1).uid("later").version(9)), at(5));
    assert_eq!(known(&attempts), [(1, "later".into(), false, false)]);
    assert_eq!(attempts.of(&key())[0].first_seen, at(5));
}

#[test]
fn only_deleted_pods_that_are_not_needed_are_dropped() {
    let attempts = PodCache::default();
    listed(&attempts, &[pod(1), pod(2), pod(3)], 0);
    listed(&attempts, &[pod(3)], 1);
    attempts.forget_deleted(&key(), |pod| pod.number >= 2);
    assert_eq!(known(&attempts), [(2, "pod-2".into(), true, false), (3, "pod-3".into(), false, false)]);
    attempts.forget_deleted(&key(), |_| false);
    assert_eq!(known(&attempts), [(3, "pod-3".into(), false, false)]);
    attempts.apply(&Event::Delete(pod(3).version(2)), at(2));
    attempts.forget_deleted(&key(), |_| false);
    assert!(attempts.lock().tasks.is_empty(), "a task without Pods takes no room");
}

#[tokio::test]
async fn it_is_synced_once_the_first_list_is_complete() {
    use futures::FutureExt;
    let attempts = PodCache::default();
    attempts.apply(&Event::Init, at(0));
    attempts.apply(&Event::InitApply(pod(1)), at(0));
    assert_eq!(attempts.synced().now_or_never(), None);
    attempts.apply(&Event::InitDone, at(0));
    attempts.synced().await;
    attempts.apply(&Event::Init, at(1));
    attempts.synced().await;
}
