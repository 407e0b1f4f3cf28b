use super::*;
use http::HeaderValue;

#[test]
fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
    for (header, token) in [
        ("Bearer abc", Some("abc")),
        ("bearer  abc ", Some("abc")),
        ("Bearer ", None),
        ("Bearer", None),
        ("Basic abc", None),
    ] {
        assert_eq!(bearer(header), token, "{header}");
    }
}

#[test]
fn the_session_is_found_among_other_cookies() {
    let session = |cookies: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        session_of(&headers).map(str::to_owned)
    };
    assert_eq!(session(&["a=b; retryable-tasks-session=x;c=d"]).as_deref(), Some("x"));
    assert_eq!(session(&["a=b", "retryable-tasks-session=x"]).as_deref(), Some("x"));
    assert_eq!(session(&["not-retryable-tasks-session=x", "retryable-tasks-session"]), None);
}

#[test]
fn the_cookie_is_that_of_the_host_and_port_that_are_asked() {
    for (host, name) in [
        (Some("localhost:8082"), "retryable-tasks-session-localhost_8082"),
        (Some("[::1]:8083"), "retryable-tasks-session-___1__8083"),
        (Some("tasks.example.com"), "retryable-tasks-session-tasks.example.com"),
        (Some("10.0.0.1:6443"), "retryable-tasks-session-10.0.0.1_6443"),
        (Some("10.0.0.2:6443"), "retryable-tasks-session-10.0.0.2_6443"),
        (Some("evil:1;x=y"), "retryable-tasks-session-evil_1_x_y"),
        (None, "retryable-tasks-session"),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, HeaderValue::from_static(host));
        }
        assert_eq!(cookie_name(&headers), name, "{host:?}");
    }
}
