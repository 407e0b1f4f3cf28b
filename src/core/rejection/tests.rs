use super::*;

fn rejection(code: u16, message: &str) -> Rejection {
    let answer = if code == 0 { Refusal::NoAnswer } else { Refusal::Code(code) };
    Rejection { answer, message: message.into() }
}

#[test]
fn the_reason_says_whether_the_api_server_rejects_this_pod() {
    let (this_pod, now) = (ConditionReason::PodRejected, ConditionReason::FailedCreate);
    let cases = [
        (400, "unknown field", this_pod, false),
        (401, "admission webhook denied the request", this_pod, false),
        (403, "exceeded quota", this_pod, false),
        (404, "namespaces \"x\" not found", this_pod, false),
        (408, "timeout", now, true),
        (409, "admission webhook denied the request", this_pod, false),
        (409, "Operation cannot be fulfilled on resourcequotas \"q\"", now, false),
        (413, "Request entity too large", this_pod, false),
        (418, "I'm a teapot", this_pod, false),
        (422, "Invalid value", this_pod, false),
        (429, "too many requests", now, false),
        (429, "admission webhook \"x\" denied the request: no", this_pod, false),
        (500, "admission webhook \"x\" denied the request: no", this_pod, true),
        (500, "Internal error occurred: failed calling webhook \"x\"", this_pod, true),
        (500, "etcdserver: request is too large", this_pod, true),
        (500, "rpc error: trying to send message larger than max (3 vs. 2)", this_pod, true),
        (500, "etcdserver: leader changed", now, true),
        (503, "the server is currently unable to handle the request", now, true),
        (504, "Timeout: request did not complete within requested timeout", now, true),
        (599, "", now, true),
        (0, "connection refused", now, true),
    ];
    for (code, message, reason, may_be_stored) in cases {
        let rejection = rejection(code, message);
        assert_eq!((rejection.reason(), rejection.may_be_stored()), (reason, may_be_stored), "{code} {message}");
    }
    let taken = Rejection { answer: Refusal::NameConflict, message: String::new() };
    assert_eq!((taken.reason(), taken.may_be_stored()), (ConditionReason::PodNameConflict, false));
}

#[test]
fn a_refusal_of_memory_is_recognized_by_its_message() {
    let quota = |lists: &str| format!("pods \"x\" is forbidden: exceeded quota: q, {lists}");
    let cases = [
        (403, "maximum memory usage per Container is 40Mi, but limit is 48Mi".into(), true),
        (403, "maximum memory usage per Pod is 40Mi, but limit is 50331648".into(), true),
        (403, "memory max limit to request ratio per Container is 2, but provided ratio is 4".into(), true),
        (422, "ValidatingAdmissionPolicy 'p' denied request: memory above 40Mi".into(), true),
        (500, "admission webhook \"x\" denied the request: too much memory".into(), true),
        (403, "minimum memory usage per Container is 40Mi, but limit is 24Mi".into(), false),
        (403, "maximum cpu usage per Container is 1, but limit is 2".into(), false),
        (503, "out of memory".into(), false),
        (403, "pods \"memory-1\" is forbidden: no service account".into(), false),
        (403, quota("requested: limits.memory=48Mi, used: limits.memory=0, limited: limits.memory=40Mi"), true),
        (403, quota("requested: limits.memory=48Mi, used: limits.memory=8Mi, limited: limits.memory=50Mi"), false),
        (403, quota("requested: pods=1,memory=2Gi, used: pods=1,memory=0, limited: pods=1,memory=1Gi"), true),
        (
            403,
            quota("requested: requests.memory=48Mi, used: requests.memory=24Mi, limited: requests.memory=48Mi"),
            false,
        ),
        (403, quota("requested: pods=1, used: pods=1, limited: pods=1"), false),
    ];
    for (code, message, expected) in cases {
        assert_eq!(rejection(code, &message).is_of_memory(), expected, "{message}");
    }
}

#[test]
fn the_messages_of_admission_are_recognized_whatever_the_names() {
    assert!(is_of_admission("admission webhook \"x.example\" denied the request: no"));
    assert!(is_of_admission("Internal error occurred: failed calling webhook \"x\": no endpoints"));
    assert!(is_of_admission(
        "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"
    ));
    assert!(!is_of_admission("pods \"webhook-1\" not found"));
    assert!(!is_of_admission("Operation cannot be fulfilled on pods \"webhook-1\""));
}

#[test]
fn a_permanent_refusal_of_a_change_is_recognized() {
    let denied = "admission webhook \"x\" denied the request: no";
    for (code, reason, message, expected) in [
        (403, "Forbidden", "no right", true),
        (422, "Invalid", "may not be raised", true),
        (500, "InternalError", "failed", true),
        (404, "NotFound", denied, true),
        (409, "Conflict", denied, true),
        (500, "", "etcdserver: leader changed", false),
        (404, "NotFound", "pods \"x\" not found", false),
        (503, "ServiceUnavailable", "later", false),
    ] {
        assert_eq!(is_of_this_change(code, reason, message), expected, "{code} {message}");
    }
}

#[test]
fn a_quota_on_the_number_of_pods_is_recognized_by_its_message() {
    let of = |message: &str| rejection(403, message).is_of_pod_count();
    assert!(of("exceeded quota: q, requested: count/pods=1, used: count/pods=1, limited: count/pods=1"));
    assert!(!of("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"), "counts those that run");
    assert!(!of("failed quota: q: must specify limits.memory"));
}
