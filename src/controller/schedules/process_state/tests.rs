use super::State;
use crate::controller::schedules::api::Refusal;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_refusal_is_certain_once_no_earlier_request_can_be_on_its_way() {
    let mut state = State::default();
    let mut refused_after = async |seconds: u64, is_answered: bool| {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let refusal = Refusal { message: "no".into(), is_certain: is_answered, is_taken: false };
        state.rejected("nightly-20261122-0130", refusal);
        state.rejection().unwrap().is_certain
    };
    assert!(!refused_after(0, true).await, "an earlier process may have requested it");
    assert!(!refused_after(19, true).await);
    assert!(refused_after(1, true).await);
    assert!(!refused_after(60, false).await, "nobody knows what became of this one");
    assert!(!refused_after(19, true).await);
    assert!(refused_after(1, true).await);
}
