use super::*;
use crate::telemetry::metrics::Metrics;
use axum::{Router, extract::State, http::HeaderMap, routing::post};
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span as Received, span::SpanKind, status::StatusCode};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

type Requests = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector that takes what it is sent, if it is what the protocol says. Its address, and what it was sent.
async fn collector() -> (String, Requests) {
    let requests = Requests::default();
    let take = async |State(requests): State<Requests>, headers: HeaderMap, body: String| {
        assert_eq!(headers["content-type"], "application/json");
        requests.lock().unwrap().push(serde_json::from_str(&body).unwrap());
        "{}"
    };
    let router = Router::new().route("/v1/traces", post(take)).with_state(requests.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    (address, requests)
}

fn span() -> Span {
    Span {
        trace_id: "9c1f1a525d0c4a3b8a550f8f2b3f6f10".into(),
        span_id: "00f067aa0ba902b7".into(),
        parent: Some("53995c3f42cd8ad8".into()),
        name: "attempt".into(),
        start: Timestamp::from_second(100).unwrap(),
        end: Timestamp::from_second(103).unwrap(),
        attributes: vec![
            ("k8s.pod.name", Attribute::Text("import-1".into())),
            ("process.exit.code", Attribute::Number(3)),
        ],
        error: Some("no disk".into()),
    }
}

fn count(metrics: &Metrics, result: &str) -> u64 {
    let (text, name) = (metrics.encode().unwrap(), format!("retryabletask_spans_total{{result=\"{result}\"}} "));
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_collector_gets_the_spans_as_the_protocol_says() {
    let (metrics, (address, requests)) = (Metrics::default(), collector().await);
    let (traces, sending) = exporter(&format!("{address}/"), metrics.spans()).unwrap();
    traces.send(span());
    traces.send(Span { parent: None, error: None, start: Timestamp::from_second(200).unwrap(), ..span() });
    drop(traces);
    sending.await;
    let requests = std::mem::take(&mut *requests.lock().unwrap());
    let resources = requests.into_iter().flat_map(|request| request.resource_spans);
    let mut received: Vec<Received> = Vec::new();
    for resource in resources {
        let service = resource.resource.unwrap().attributes.remove(0);
        let name = Value::StringValue("retryable-tasks".into());
        assert_eq!((service.key.as_str(), service.value.unwrap().value), ("service.name", Some(name)));
        received.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    let [failed, root] = received.as_slice() else { panic!("{received:#?}") };
    assert_eq!(failed.trace_id, 0x9c1f_1a52_5d0c_4a3b_8a55_0f8f_2b3f_6f10_u128.to_be_bytes());
    assert_eq!(failed.span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(failed.parent_span_id, 0x5399_5c3f_42cd_8ad8_u64.to_be_bytes());
    assert_eq!((failed.name.as_str(), failed.kind()), ("attempt", SpanKind::Internal));
    assert_eq!((failed.start_time_unix_nano, failed.end_time_unix_nano), (100_000_000_000, 103_000_000_000));
    let status = failed.status.clone().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "no disk"));
    let values: Vec<_> = failed.attributes.iter().map(|one| one.value.clone().unwrap().value.unwrap()).collect();
    assert_eq!(values, [Value::StringValue("import-1".into()), Value::IntValue(3)]);
    assert_eq!(root.parent_span_id, Vec::<u8>::new());
    assert_eq!(root.status.clone().unwrap().code(), StatusCode::Unset);
    assert_eq!(root.start_time_unix_nano, root.end_time_unix_nano, "nothing ends before it begins");
    assert_eq!((count(&metrics, "Sent"), count(&metrics, "Dropped")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_costs_spans_and_no_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = Metrics::default();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (traces, sending) = exporter(&address, metrics.spans()).unwrap();
    for _ in 0..3_000 {
        traces.send(span());
    }
    assert_eq!(count(&metrics, "Dropped"), 3_000 - QUEUE as u64, "the others wait");
    drop(traces);
    sending.await;
    assert_eq!((count(&metrics, "Sent"), count(&metrics, "Dropped")), (0, 3_000));
}

#[tokio::test]
async fn a_collector_that_is_gone_or_refuses_costs_spans() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (refusing, _) = collector().await;
    for (address, path) in [(gone, ""), (refusing, "/elsewhere")] {
        let metrics = Metrics::default();
        let (traces, sending) = exporter(&format!("{address}{path}"), metrics.spans()).unwrap();
        traces.send(span());
        drop(traces);
        sending.await;
        assert_eq!((count(&metrics, "Sent"), count(&metrics, "Dropped")), (0, 1), "{address}{path}");
    }
}

#[tokio::test]
async fn nothing_is_sent_unless_somebody_asks_for_it() {
    let traces = Traces::default();
    traces.send(span());
    assert!(!traces.are_sent());
    for wrong in ["collector:4318", "ftp://collector", "4318", "http://", "a b"] {
        let error = exporter(wrong, Metrics::default().spans()).err().unwrap().to_string();
        assert!(error.contains("is not an address such as http://collector:4318"), "{wrong}: {error}");
    }
}
