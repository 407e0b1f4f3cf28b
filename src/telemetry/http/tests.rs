use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
};

use super::*;

async fn get(address: SocketAddr, path: &str) -> String {
    get_with(address, path, "").await
}

/// With more `headers`, each with the end of its line.
async fn get_with(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn shows_metrics_and_health_until_shut_down() {
    let telemetry = Arc::new(Telemetry::new(Duration::ZERO));
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move { stopped.await.unwrap() };
    let server = tokio::spawn(serve(listener, telemetry.clone(), shutdown));

    telemetry.metrics.set_leader(true);
    let plain = get(address, "/metrics").await;
    assert!(plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{plain}");
    // As Prometheus asks.
    let accept =
        "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1\r\n";
    let open = get_with(address, "/metrics", accept).await;
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{open}");
    for metrics in [plain, open] {
        assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
        assert!(metrics.contains("\nretryabletask_leader 1\n"), "{metrics}");
    }

    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));

    telemetry.health.leading();
    let ready = get(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("waiting for the caches to sync\n"), "{ready}");

    // With a limit of zero every watch is stalled as soon as any time has passed.
    telemetry.health.watching(Some("team-a"), "pods");
    let live = get(address, "/healthz").await;
    assert!(live.starts_with("HTTP/1.1 503") && live.contains("the watch of team-a/pods"), "{live}");

    assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));

    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn an_open_connection_does_not_delay_the_shutdown() {
    let listener = bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let telemetry = Arc::new(Telemetry::new(Duration::ZERO));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, telemetry, async move { stopped.await.unwrap() }));
    // Half a request: the server waits for the rest of it.
    stream.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = bind(&address).await.unwrap_err().to_string();
    assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
    let error = bind("nonsense").await.unwrap_err().to_string();
    assert!(error.contains("cannot listen on nonsense"), "{error}");
}
