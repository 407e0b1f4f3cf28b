use super::events::event;
use super::*;
use crate::api::HoldUp;
use crate::core::decide::PodRef;

#[test]
fn the_event_of_an_attempt_that_does_not_start_names_its_pod() {
    let transition = Transition::HeldUp {
        slot: 1.into(),
        pod: PodRef { name: "import-1".into(), uid: "pod-1".into() },
        hold_up: HoldUp { reason: "FailedMount".into(), message: Some("no such disk".into()) },
        is_stage: false,
    };
    let event = event(&crate::core::testing::task(), transition, false).unwrap();
    assert_eq!(event.note.as_deref(), Some("attempt 1 has not started: FailedMount: no such disk"));
    let related = event.secondary.unwrap();
    assert_eq!((related.kind.as_deref(), related.uid.as_deref()), (Some("Pod"), Some("pod-1")));
    assert_eq!(related.name.as_deref(), Some("import-1"));
}
