use crate::ui::testing::{Cluster, Server, failed, get, in_state, send, task_json};
use std::time::Duration;

fn two_namespaces() -> Cluster {
    Cluster {
        tasks: vec![
            task_json("red", "apple", &failed(2, "no route to host")),
            task_json("blue", "plum", &in_state("Running")),
        ],
        users: vec![("red-token", "rosa"), ("all-token", "ada"), ("none-token", "nobody")],
        rights: vec![("rosa", "red"), ("ada", "")],
        ..Cluster::default()
    }
}

#[tokio::test]
async fn every_page_is_served_with_headers_that_let_nothing_run() {
    let page = Server::of(two_namespaces()).open_page();
    for path in ["/", "/errors", "/failed", "/tasks", "/queues", "/schedules", "/workers"] {
        let (code, headers, text) = get(&page, path, &[]).await;
        assert_eq!(code, 200, "{path}: {text}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["cache-control"], "no-store");
        for inline in ["<style", " style=", "<script>", " onclick=", "javascript:"] {
            assert!(!text.contains(inline), "{path} has {inline}");
        }
    }
}

#[tokio::test]
async fn all_urls_are_relative() {
    let page = Server::of(two_namespaces()).open_page();
    for path in ["/", "/errors", "/failed", "/tasks?state=Failed", "/task?namespace=red&name=apple"] {
        let (_, _, text) = get(&page, path, &[]).await;
        let links = text.split("href=\"").chain(text.split("src=\"")).chain(text.split("action=\"")).skip(1);
        for link in links.filter_map(|rest| rest.split_once('"')).map(|(link, _)| link).filter(|l| !l.contains('<')) {
            assert!(link.starts_with("./") || link.starts_with('#'), "{path} has {link}");
        }
    }
}

#[tokio::test]
async fn without_authentication_other_names_of_this_machine_are_refused() {
    let page = Server::of(two_namespaces()).open_page();
    for host in ["evil.example.org", "127.0.0.1.evil.example.org:80", ""] {
        for path in ["/", "/events", "/task?namespace=red&name=apple"] {
            let (code, _, text) = get(&page, path, &[("host", host)]).await;
            assert_eq!((code, text.contains("apple")), (403, false), "{host} {path}");
        }
    }
    assert_eq!(get(&page, "/", &[("host", "[::1]:8082")]).await.0, 200);
}

#[tokio::test]
async fn a_task_is_read_when_it_is_shown_and_values_of_its_environment_are_not() {
    let server = Server::of(two_namespaces());
    let page = server.open_page();
    server.change(|cluster| {
        cluster.tasks[0]["spec"]["env"] = serde_json::json!([{"name": "PASSWORD", "value": "hunter2"}]);
    });
    let (code, _, text) = get(&page, "/task?namespace=red&name=apple", &[]).await;
    assert_eq!(code, 200);
    assert!(text.contains("no route to host") && text.contains("PASSWORD"), "{text}");
    assert!(!text.contains("hunter2"));
    assert_eq!(server.count("/namespaces/red/retryabletasks/apple"), 1);
}

#[tokio::test]
async fn a_name_is_no_path_into_the_api_server() {
    let server = Server::of(two_namespaces());
    let page = server.open_page();
    for (namespace, name) in [
        ("red", "..%2F..%2Fblue%2Fretryabletasks%2Fplum"),
        ("red%2F..%2Fblue", "plum"),
        ("..", "plum"),
        ("red", "."),
        ("red", "apple%3Fx"),
        ("", "apple"),
        ("red", ""),
    ] {
        let (code, _, text) = get(&page, &format!("/task?namespace={namespace}&name={name}"), &[]).await;
        assert_eq!(code, 404, "{namespace} {name}: {text}");
    }
    assert_eq!(server.count("/namespaces/"), 0);
}

#[tokio::test]
async fn a_hostile_message_stays_text() {
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onmouseover=\"alert(3)";
    let tasks = vec![task_json("red", "apple", &failed(1, hostile))];
    let page = Server::of(Cluster { tasks, ..Cluster::default() }).open_page();
    for path in ["/failed", "/errors", "/tasks", "/task?namespace=red&name=apple"] {
        let (_, _, text) = get(&page, path, &[]).await;
        assert!(text.contains("&#60;script&#62;alert(1)"), "{path} does not show it: {text}");
        assert!(
            !text.contains("<script>alert") && !text.contains("<img") && !text.contains("\" onmouseover"),
            "{path}"
        );
    }
    let query = "/tasks?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    assert!(!get(&page, query, &[]).await.2.contains("<script>alert"));
}

#[tokio::test]
async fn without_a_token_there_is_a_form_and_nothing_else() {
    let server = Server::of(two_namespaces());
    let page = server.page_by_token();
    for path in ["/", "/errors", "/task?namespace=red&name=apple", "/events"] {
        let (code, headers, text) = get(&page, path, &[]).await;
        assert_eq!(code, 401, "{path}");
        assert_eq!(headers["www-authenticate"], "Bearer");
        assert!(text.contains("type=\"password\"") && !text.contains("apple</a>"), "{text}");
    }
    assert_eq!(server.count("retryabletasks"), 0, "nobody looks, so nothing is watched");
}

#[tokio::test]
async fn rows_of_namespaces_that_a_token_may_not_list_are_not_even_counted() {
    let page = Server::of(two_namespaces()).page_by_token();
    let (code, _, text) = get(&page, "/tasks", &[("authorization", "Bearer red-token")]).await;
    assert_eq!(code, 200);
    assert!(text.contains(">apple<") && text.contains("1–1 of 1") && text.contains("rosa"), "{text}");
    for secret in ["plum", "blue"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let task = "/task?namespace=blue&name=plum";
    let (code, _, text) = get(&page, task, &[("authorization", "Bearer red-token")]).await;
    assert_eq!((code, text.contains("busybox")), (404, false), "{text}");
    assert_eq!(get(&page, task, &[("authorization", "bearer all-token")]).await.0, 200);
    let (_, _, all) = get(&page, "/tasks", &[("authorization", "Bearer all-token")]).await;
    assert!(all.contains(">apple<") && all.contains(">plum<"), "{all}");
}

#[tokio::test]
async fn a_token_without_rights_is_told_so() {
    let page = Server::of(two_namespaces()).page_by_token();
    let (code, _, text) = get(&page, "/tasks", &[("authorization", "Bearer none-token")]).await;
    assert_eq!(code, 200);
    assert!(text.contains("You may list RetryableTasks in none"), "{text}");
    assert!(!text.contains("apple") && !text.contains("red"), "{text}");
}

#[tokio::test]
async fn the_form_gives_a_session_that_scripts_cannot_read_and_that_is_not_the_token() {
    let page = Server::of(two_namespaces()).page_by_token();
    let form = "next=task%3Fnamespace%3Dred%26name%3Dapple&token=red-token";
    let (code, headers, _) = send(&page, "POST", "/login", &[], form).await;
    assert_eq!((code, headers["location"].to_str().unwrap()), (303, "./task?namespace=red&name=apple"));
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax") && !cookie.contains("red-token"), "{cookie}");
    let session = cookie.split(';').next().unwrap();
    let cookies = format!("other=1; {session}");
    assert_eq!(get(&page, "/", &[("cookie", &cookies)]).await.0, 200);

    let (code, headers, _) = send(&page, "POST", "/logout", &[("cookie", session)], "").await;
    assert_eq!(code, 303);
    assert!(headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    let (code, _, text) = get(&page, "/", &[("cookie", session)]).await;
    assert!(code == 401 && text.contains("session has ended"), "{text}");
}

#[tokio::test]
async fn the_form_leads_to_this_page_alone_and_is_not_taken_from_elsewhere() {
    let page = Server::of(two_namespaces()).page_by_token();
    for next in ["https://evil.example.org/", "//evil.example.org", "../../secrets", "javascript:alert(1)", "\r\nx: y"]
    {
        let form: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("next", next), ("token", "red-token")])
            .finish();
        let (code, headers, _) = send(&page, "POST", "/login", &[], &form).await;
        assert_eq!((code, headers["location"].to_str().unwrap()), (303, "./"), "{next}");
    }
    let foreign = [("sec-fetch-site", "cross-site")];
    assert_eq!(send(&page, "POST", "/login", &foreign, "token=red-token").await.0, 403);
    assert_eq!(send(&page, "POST", "/login", &[], &format!("token={}", "x".repeat(40_000))).await.0, 401);
    assert_eq!(send(&page, "POST", "/login", &[], "token=").await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn answers_on_a_token_hold_for_thirty_seconds() {
    let server = Server::of(two_namespaces());
    let page = server.page_by_token();
    let bearer = [("authorization", "Bearer red-token")];
    for _ in 0..5 {
        assert_eq!(get(&page, "/", &bearer).await.0, 200);
    }
    let asked = (server.count("tokenreviews"), server.count("subjectaccessreviews"));
    assert_eq!(asked, (1, 4 + 2), "four kinds in the cluster, then tasks in two namespaces");
    server.change(|cluster| cluster.users.clear());
    assert_eq!(get(&page, "/", &bearer).await.0, 200);
    tokio::time::advance(Duration::from_secs(31)).await;
    let (code, _, text) = get(&page, "/", &bearer).await;
    assert_eq!(code, 401);
    assert!(text.contains("it has expired: token has expired"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_is_told() {
    let server = Server::of(two_namespaces());
    let (open, by_token) = (server.open_page(), server.page_by_token());
    assert_eq!(get(&open, "/", &[]).await.0, 200);
    server.change(|cluster| cluster.is_away = true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (code, _, text) = get(&open, "/", &[]).await;
    assert_eq!(code, 200, "what is known is still shown");
    assert!(text.contains("plum") && text.contains("The API server has not answered since"), "{text}");
    let (code, _, text) = get(&open, "/task?namespace=red&name=apple", &[]).await;
    assert!(code == 503 && text.contains("etcd is gone"), "{code} {text}");
    let (code, _, text) = get(&by_token, "/", &[("authorization", "Bearer red-token")]).await;
    assert!(code == 503 && text.contains("cannot be asked what you may see: etcd is gone"), "{code} {text}");
    let (code, _, text) = send(&by_token, "POST", "/login", &[], "token=red-token").await;
    assert!(code == 503 && text.contains("API server is away"), "{code} {text}");

    server.change(|cluster| cluster.is_away = false);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!get(&open, "/", &[]).await.2.contains("has not answered"));
}

#[tokio::test]
async fn a_task_that_cannot_be_read_is_shown_as_such_and_hides_no_others() {
    let server = Server::of(two_namespaces());
    server.change(|cluster| cluster.tasks[0]["spec"]["maxRetries"] = "many".into());
    let page = server.open_page();
    let (_, _, list) = get(&page, "/tasks", &[]).await;
    assert!(list.contains("Unreadable") && list.contains(">plum<"), "{list}");
    let (code, _, text) = get(&page, "/task?namespace=red&name=apple", &[]).await;
    assert!(code == 200 && text.contains("This version cannot read it") && text.contains("maxRetries: many"), "{text}");
}

#[tokio::test]
async fn pages_that_do_not_exist_are_told() {
    let page = Server::of(two_namespaces()).open_page();
    for path in ["/nothing", "/api/v1/secrets", "/../etc/passwd"] {
        assert_eq!(get(&page, path, &[]).await.0, 404, "{path}");
    }
    assert_eq!(send(&page, "POST", "/login", &[], "token=x").await.0, 404, "there is nothing to log in to");
    for asset in ["/style.css", "/page.js", "/icon.svg", "/healthz"] {
        assert_eq!(get(&page, asset, &[("host", "10.0.0.1")]).await.0, 200, "{asset}");
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_push_out_no_good_ones() {
    let server = Server::of(two_namespaces());
    let page = server.page_by_token();
    let bearer = |token: &str| format!("Bearer {token}");
    assert_eq!(get(&page, "/", &[("authorization", &bearer("red-token"))]).await.0, 200);
    for number in 0..3000 {
        assert_eq!(get(&page, "/", &[("authorization", &bearer(&format!("wrong-{number}")))]).await.0, 401);
    }
    let asked = server.count("tokenreviews");
    assert_eq!(get(&page, "/", &[("authorization", &bearer("wrong-7"))]).await.0, 401);
    assert_eq!(server.count("tokenreviews"), asked, "an answer on a wrong token holds too");
    assert_eq!(get(&page, "/", &[("authorization", &bearer("red-token"))]).await.0, 200);
    assert_eq!(get(&page, "/", &[("authorization", &bearer("all-token"))]).await.0, 200);
    assert_eq!(get(&page, "/", &[("authorization", &bearer("all-token"))]).await.0, 200);
    assert_eq!(server.count("tokenreviews"), asked + 1, "good ones are remembered, those from before and new ones");
}

#[tokio::test]
async fn two_pages_on_two_ports_of_one_host_keep_their_sessions() {
    let cookie = keep_their_sessions(["127.0.0.1:8082", "127.0.0.1:8083"]).await;
    assert!(cookie.starts_with("retryable-tasks-session-127.0.0.1_8082=; "), "{cookie}");
}

/// `kubectl proxy` hands on the API server's address as the host, not its own.
#[tokio::test]
async fn two_pages_behind_kubectl_proxies_of_two_clusters_keep_their_sessions() {
    keep_their_sessions(["10.0.0.1:6443", "10.0.0.2:6443"]).await;
}

/// What a browser keeps of the answers of two pages, which ask for these hosts while all cookies are those of one. Answers the cookie
/// that ends the first session.
async fn keep_their_sessions(hosts: [&str; 2]) -> String {
    let pages = [Server::of(two_namespaces()).page_by_token(), Server::of(two_namespaces()).page_by_token()];
    let mut jar: Vec<String> = Vec::new();
    for (page, host) in pages.iter().zip(hosts) {
        let (code, headers, _) = send(page, "POST", "/login", &[("host", host)], "token=red-token").await;
        assert_eq!(code, 303);
        let cookie = headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let name = cookie.split_once('=').unwrap().0;
        jar.retain(|known| known.split_once('=').unwrap().0 != name);
        jar.push(cookie);
    }
    let cookies = jar.join("; ");
    for (page, host) in pages.iter().zip(hosts) {
        assert_eq!(get(page, "/tasks", &[("host", host), ("cookie", &cookies)]).await.0, 200, "{host}");
    }
    let (_, headers, _) = send(&pages[0], "POST", "/logout", &[("host", hosts[0]), ("cookie", &cookies)], "").await;
    assert_eq!(get(&pages[0], "/tasks", &[("host", hosts[0]), ("cookie", &cookies)]).await.0, 401);
    assert_eq!(get(&pages[1], "/tasks", &[("host", hosts[1]), ("cookie", &cookies)]).await.0, 200);
    headers["set-cookie"].to_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_replicas_are_read_once_in_a_while_however_many_look() {
    let server = Server::of(two_namespaces());
    let page = server.open_page();
    for _ in 0..5 {
        assert_eq!(get(&page, "/workers", &[]).await.0, 200);
    }
    assert_eq!(server.count("/namespaces/ops/pods"), 1);
    tokio::time::advance(Duration::from_secs(6)).await;
    get(&page, "/workers", &[]).await;
    assert_eq!(server.count("/namespaces/ops/pods"), 2);
    let by_token = server.page_by_token();
    let (_, _, text) = get(&by_token, "/workers", &[("authorization", "Bearer red-token")]).await;
    assert!(text.contains("You may not list the Pods of namespace ops"), "{text}");
}
