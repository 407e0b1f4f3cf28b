use super::*;
use crate::api::StopReason;

#[test]
fn a_known_reason_has_no_suggestion() {
    assert!(KNOWN.iter().all(|reason| meant(reason).is_none()));
    assert!(DECIDED_BEFORE.iter().chain(&WITHOUT_EXIT_CODE).all(|reason| KNOWN.contains(reason)));
    assert_eq!((meant("oomkilled"), meant("MyDevicePlugin")), (Some("OOMKilled"), None));
    for stop in [
        StopReason::Suspended,
        StopReason::Cancelled,
        StopReason::DeadlineExceeded,
        StopReason::SpecChanged,
        StopReason::RetryNow,
    ] {
        assert!(DECIDED_BEFORE.contains(&stop.as_str()));
    }
}
