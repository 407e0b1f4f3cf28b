use super::is_refused;
use kube::core::Status;

#[test]
fn whether_a_refusal_is_certain() {
    let refused = |code: u16, message: &str| {
        is_refused(&Status { code, message: message.into(), ..Status::failure(message, "InternalError") })
    };
    assert!(refused(403, "exceeded quota"));
    assert!(refused(422, "spec.image: Invalid value"));
    let away = r#"Internal error occurred: failed calling webhook "tasks.example.com": failed to call webhook: Post "https://policy.shop.svc:443/": dial tcp 10.0.0.9:443: connect: connection refused"#;
    assert!(refused(500, away), "webhooks are asked before anything is stored");
    assert!(!refused(500, "Internal error occurred: etcdserver: request timed out"));
    assert!(!refused(408, "timeout"));
    assert!(!refused(503, "the server is currently unable to handle the request"));
}
