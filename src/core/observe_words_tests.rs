use super::*;
use crate::core::testing::{BuildEnd, BuildPod, end, pod_of, task, waiting};

fn pod() -> Pod {
    pod_of(&task(), 1)
}

/// The API server takes any text for most of them.
#[test]
fn the_words_of_a_pods_status_are_made_harmless_and_short() {
    let nasty = format!("\u{1b}[31mX{}", "y".repeat(5000));
    let is_plain = |text: &str| text.starts_with("Xy") && text.len() <= 128;
    let held_up =
        [pod().condition("PodScheduled", false, &nasty, &nasty, 1), pod().container("task", waiting(&nasty, ""))];
    for pod in held_up {
        let Progress::Pending(Some(HoldUp { reason, .. })) = observe(&pod).unwrap().progress else { panic!("{pod:?}") };
        assert!(is_plain(&reason), "{reason:?}");
    }
    let ended =
        [pod().ended(end(1).reason(&nasty)), pod().exit(1).because(&nasty, ""), pod().exit(1).disrupted(&nasty, 1)];
    for pod in ended {
        let Progress::Ended(Outcome { reason, .. }) = observe(&pod).unwrap().progress else { panic!("{pod:?}") };
        assert!(is_plain(&reason), "{reason:?}");
    }
    let unnamed = pod().condition("PodScheduled", false, "\u{1b}[2J", "", 1);
    let Progress::Pending(Some(HoldUp { reason, .. })) = observe(&unnamed).unwrap().progress else {
        panic!("{unnamed:?}")
    };
    assert_eq!(reason, "Unschedulable");
}
