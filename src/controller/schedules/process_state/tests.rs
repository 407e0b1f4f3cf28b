use super::State;
use crate::controller::schedules::api::Rejection;
use std::time::Duration;

const NAME: &str = "nightly-20261122-0130";

impl State {
    /// A creation is requested, and refused at once. Returns whether the task certainly does not exist.
    fn is_refused_for_certain(&mut self, is_answered: bool) -> bool {
        self.requested(NAME);
        self.rejected(NAME, Rejection { message: "no".into(), is_certain: is_answered, is_taken: false });
        self.rejection().unwrap().is_certain
    }
}

async fn wait(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_certain_once_no_earlier_request_can_be_on_its_way() {
    let mut state = State::default();
    assert!(!state.is_refused_for_certain(true), "an earlier process may have requested it");
    wait(19).await;
    assert!(!state.is_refused_for_certain(true));
    wait(1).await;
    assert!(state.is_refused_for_certain(true));
    wait(60).await;
    assert!(!state.is_refused_for_certain(false), "nobody knows what became of this one");
    wait(19).await;
    assert!(!state.is_refused_for_certain(true));
    wait(1).await;
    assert!(state.is_refused_for_certain(true));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_what_this_process_planned_is_certain_at_once() {
    let mut state = State::default();
    state.planned(NAME);
    assert!(state.is_refused_for_certain(true));
    wait(2).await;
    assert!(state.is_refused_for_certain(true));
    assert!(!state.is_refused_for_certain(false), "the answer was lost");
    wait(2).await;
    assert!(!state.is_refused_for_certain(true));
    let mut state = State::default();
    state.planned("nightly-20261122-0100");
    assert!(!state.is_refused_for_certain(true), "it planned another");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_given_up_without_an_answer_may_be_on_its_way() {
    let mut state = State::default();
    state.planned(NAME);
    state.requested(NAME);
    wait(5).await;
    assert!(!state.is_refused_for_certain(true));
    wait(20).await;
    assert!(state.is_refused_for_certain(true));
}
