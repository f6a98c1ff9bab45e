//! gRPC calls through the server's layer: how each is named, how it ended, and what callers are answered.

use std::convert::Infallible;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ::http::{HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use serde_json::Value as Json;
use tower_service::Service as _;

use crate::http::testing::{
    Bench, Script, Step, answers, get, grpc_call, int, poll_body, poll_once, shared_text, text,
};
use crate::http::{ConcurrencyLimit, NotTraffic};
use crate::log::Format;
use crate::trace::{SpanKind, SpanRecord, SpanStatus};

const PATH: &str = "/shop.v1.Cart/Add";

/// Sends `request`, reads its answer as a server would, and gives its line, span and label set.
fn settled(
    bench: &Bench,
    request: Request<()>,
    response: Response<Script>,
) -> (Json, SpanRecord, String) {
    let mut response = Some(response);
    let mut service =
        bench.service(move |_| std::future::ready(Ok::<_, Infallible>(response.take().unwrap())));
    {
        let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(request))) else {
            panic!("the answer is ready");
        };
        let mut body = response.into_body();
        if !body.is_end_stream() {
            while let Poll::Pending | Poll::Ready(Some(Ok(_))) = poll_body(&mut body) {}
        }
    }
    only(bench)
}

/// The one call so far, which line, span and metrics tell of alike.
fn only(bench: &Bench) -> (Json, SpanRecord, String) {
    let (mut lines, mut spans) = (bench.closing_lines(), bench.spans.drain());
    let [mut measured, called] = bench.telemetry.rpc.settled();
    assert_eq!(
        (lines.len(), spans.len(), measured.len()),
        (1, 1, 1),
        "{lines:?}"
    );
    assert_eq!(
        (bench.measured(), bench.active()),
        (0, 0),
        "no HTTP duration"
    );
    assert!(called.is_empty());
    let (line, span, (labels, count)) = (lines.remove(0), spans.remove(0), measured.remove(0));
    assert_eq!(count, 1);
    let said = |key: &str| text(&span.attributes, key);
    let label = |name: &str| {
        let rest = labels.split_once(&format!("{name}=\""))?.1;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    for (key, name) in [
        ("rpc.system.name", "rpc_system_name"),
        ("rpc.method", "rpc_method"),
        ("rpc.response.status_code", "rpc_response_status_code"),
    ] {
        assert_eq!(line[key].as_str(), said(key).as_deref());
        assert_eq!(said(key), label(name), "{key}");
    }
    assert_eq!(said("error.type"), label("error_type"));
    (line, span, labels)
}

fn stream(steps: &[Step]) -> Response<Script> {
    Response::new(Script::new(steps))
}

fn trailers_only(status: &'static str) -> Response<Script> {
    let mut response = Response::new(Script {
        tells_end: true,
        ..Script::default()
    });
    let headers = response.headers_mut();
    headers.insert("grpc-status", HeaderValue::from_static(status));
    headers.insert("grpc-message", HeaderValue::from_static("told%20why"));
    response
}

#[test]
fn a_call_is_told_of_by_the_rpc_conventions() {
    let bench = Bench::new();
    let mut request = grpc_call(PATH);
    let headers = request.headers_mut();
    headers.insert("host", HeaderValue::from_static("shop.example:8443"));
    let response = stream(&[
        Step::Data("abc"),
        Step::Pending,
        Step::Data("de"),
        Step::Status("0"),
    ]);
    let (line, span, labels) = settled(&bench, request, response);
    assert_eq!(
        labels,
        "rpc_system_name=\"grpc\",rpc_method=\"shop.v1.Cart/Add\",rpc_response_status_code=\"OK\""
    );
    assert_eq!(
        (line["outcome"].as_str(), &line["level"]),
        (Some("ok"), &"INFO".into())
    );
    assert_eq!(line["http.response.status_code"], 200);
    assert_eq!(line["http.response.body.size"], 5);
    assert_eq!(line["url.path"], PATH);
    assert_eq!(line.get("exception.message"), None);
    assert_eq!(shared_text(&span.name), "shop.v1.Cart/Add");
    assert_eq!(
        (span.kind, &span.status),
        (SpanKind::Server, &SpanStatus::Unset)
    );
    for (key, expected) in [
        ("server.address", Some("shop.example")),
        ("network.protocol.name", Some("http")),
        ("network.protocol.version", Some("2")),
        ("client.address", Some("127.0.0.1")),
        ("rpc.method_original", None),
        ("http.request.method", None),
        ("url.path", None),
        ("error.type", None),
    ] {
        assert_eq!(text(&span.attributes, key).as_deref(), expected, "{key}");
    }
    assert_eq!(int(&span.attributes, "server.port"), Some(8443));
    assert_eq!(int(&span.attributes, "http.response.status_code"), None);
}

#[test]
fn only_the_servers_own_failures_are_errors() {
    for (code, name, outcome) in [
        ("1", "CANCELLED", "ok"),
        ("2", "UNKNOWN", "error"),
        ("3", "INVALID_ARGUMENT", "ok"),
        ("4", "DEADLINE_EXCEEDED", "error"),
        ("5", "NOT_FOUND", "ok"),
        ("6", "ALREADY_EXISTS", "ok"),
        ("7", "PERMISSION_DENIED", "ok"),
        ("8", "RESOURCE_EXHAUSTED", "ok"),
        ("9", "FAILED_PRECONDITION", "ok"),
        ("10", "ABORTED", "ok"),
        ("11", "OUT_OF_RANGE", "ok"),
        ("12", "UNIMPLEMENTED", "error"),
        ("13", "INTERNAL", "error"),
        ("14", "UNAVAILABLE", "error"),
        ("15", "DATA_LOSS", "error"),
        ("16", "UNAUTHENTICATED", "ok"),
    ] {
        for response in [
            trailers_only(code),
            stream(&[Step::Data("abc"), Step::Status(code)]),
        ] {
            let (line, span, _) = settled(&Bench::new(), grpc_call(PATH), response);
            assert_eq!(line["outcome"], outcome, "{code}");
            assert_eq!(line["rpc.response.status_code"], name);
            assert_eq!(line["exception.message"], "told why");
            let failed = outcome == "error";
            let error_type = text(&span.attributes, "error.type");
            assert_eq!(error_type.as_deref(), failed.then_some(name));
            let status = if failed {
                SpanStatus::Error("told why".into())
            } else {
                SpanStatus::Unset
            };
            assert_eq!(span.status, status);
        }
    }
}

#[test]
fn elastics_lines_have_the_error_type_of_the_span() {
    let bench = Bench::of(Format::Ecs);
    let (line, span, _) = settled(&bench, grpc_call(PATH), trailers_only("13"));
    assert_eq!(line["error.type"], "INTERNAL");
    let error_type = text(&span.attributes, "error.type");
    assert_eq!(error_type.as_deref(), Some("INTERNAL"));
}

#[test]
fn a_response_without_a_status() {
    for (http, name) in [
        (200, "UNKNOWN"),
        (503, "UNAVAILABLE"),
        (404, "UNIMPLEMENTED"),
    ] {
        let mut response = stream(&[Step::Data("abc")]);
        *response.status_mut() = StatusCode::from_u16(http).unwrap();
        let (line, span, _) = settled(&Bench::new(), grpc_call(PATH), response);
        assert_eq!(line["rpc.response.status_code"], name);
        assert_eq!(line["outcome"], "error");
        let shown = (http != 200).then_some(i64::from(http));
        assert_eq!(int(&span.attributes, "http.response.status_code"), shown);
    }
}

#[test]
fn a_body_that_breaks_off_or_panics() {
    let response = stream(&[Step::Data("abc"), Step::Error]);
    let (line, span, _) = settled(&Bench::new(), grpc_call(PATH), response);
    assert_eq!(line["outcome"], "body_error");
    assert_eq!(line["rpc.response.status_code"], "INTERNAL");
    assert_eq!(
        text(&span.attributes, "error.type").as_deref(),
        Some("body_error")
    );

    let bench = Bench::new();
    let mut service = bench.service(answers(Script::new(&[Step::Panic])));
    let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(grpc_call(PATH)))) else {
        panic!("the answer is ready");
    };
    let mut body = response.into_body();
    let Poll::Ready(Some(Ok(frame))) = poll_body(&mut body) else {
        panic!("the stream is ended with trailers");
    };
    assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "13");
    assert!(matches!(poll_body(&mut body), Poll::Ready(None)));
    let (line, ..) = only(&bench);
    assert_eq!(line["outcome"], "panic");
    assert_eq!(line["rpc.response.status_code"], "INTERNAL");
}

#[test]
fn a_method_that_no_server_has_is_no_label() {
    let bench = Bench::new();
    let call = |path: &str, response| {
        let mut response = Some(response);
        let mut service = bench
            .service(move |_| std::future::ready(Ok::<_, Infallible>(response.take().unwrap())));
        let _ = poll_once(pin!(service.call(grpc_call(path))));
    };
    for path in ["/a.B/C", "/a.B/D", "/nothing", "/a/b/c"] {
        call(path, trailers_only("12"));
    }
    call("/a.B/E", trailers_only("16"));
    for span in bench.spans.drain() {
        assert_eq!(shared_text(&span.name), "grpc");
        assert_eq!(
            text(&span.attributes, "rpc.method").as_deref(),
            Some("_OTHER")
        );
        let original = text(&span.attributes, "rpc.method_original").unwrap();
        assert!(["a.B/C", "a.B/D", "nothing", "a/b/c", "a.B/E"].contains(&&*original));
    }
    let [labels, _] = bench.telemetry.rpc.settled();
    assert_eq!(labels.len(), 2, "{labels:?}");
    assert!(
        labels
            .iter()
            .all(|(labels, _)| labels.contains("rpc_method=\"_OTHER\""))
    );

    // Once it has answered, it is known, whatever it answers then.
    call("/a.B/C", trailers_only("5"));
    call("/a.B/C", trailers_only("12"));
    let spans = bench.spans.drain();
    assert!(
        spans.iter().all(|span| shared_text(&span.name) == "a.B/C"),
        "{spans:?}"
    );
}

#[test]
fn a_status_that_nobody_said_names_no_method() {
    // What catches all paths answers these, also of no service: a page, a proxy's or a middleware's error.
    for http in [200, 400, 500, 503] {
        let mut response = stream(&[Step::Data("<html>")]);
        *response.status_mut() = StatusCode::from_u16(http).unwrap();
        let (line, ..) = settled(&Bench::new(), grpc_call("/in.Vented/Name"), response);
        assert_eq!(line["rpc.method"], "_OTHER", "{http}");
    }
    // The caller's own deadline says nothing of what is behind the path.
    let bench = Bench::new();
    let mut request = grpc_call("/in.Vented/Name");
    let deadline = HeaderValue::from_static("1n");
    request.headers_mut().insert("grpc-timeout", deadline);
    let mut service =
        bench.service(|_| std::future::pending::<Result<Response<Script>, Infallible>>());
    drop(service.call(request));
    let (line, ..) = only(&bench);
    assert_eq!(line["outcome"], "timeout");
    assert_eq!(line["rpc.method"], "_OTHER");
}

#[test]
fn a_route_of_its_own_makes_a_method_known() {
    use tower_layer::Layer as _;
    let bench = Bench::new();
    let layer = bench.layer();
    let layer = layer.route_hook(|parts| Some(parts.uri.path().to_owned().into()));
    let handler = crate::http::testing::Handler(answers(Script::new(&[Step::Status("12")])));
    let mut service = layer.layer(handler);
    let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(grpc_call(PATH)))) else {
        panic!("the answer is ready");
    };
    assert!(poll_body(&mut response.into_body()).is_ready());
    let (line, ..) = only(&bench);
    assert_eq!(line["rpc.method"], "shop.v1.Cart/Add");
    assert_eq!(line["http.route"], PATH);
}

#[test]
fn a_caller_that_cancels_or_whose_deadline_has_passed() {
    for (timeout, outcome, status) in [
        (None, "client_gone", "CANCELLED"),
        (Some("1H"), "client_gone", "CANCELLED"),
        (Some("1n"), "timeout", "DEADLINE_EXCEEDED"),
    ] {
        let bench = Bench::new();
        let mut request = grpc_call(PATH);
        if let Some(timeout) = timeout {
            let headers = request.headers_mut();
            headers.insert("grpc-timeout", HeaderValue::from_static(timeout));
        }
        let mut service =
            bench.service(|_| std::future::pending::<Result<Response<Script>, Infallible>>());
        drop(service.call(request));
        let (line, ..) = only(&bench);
        assert_eq!(line["outcome"], outcome, "{timeout:?}");
        assert_eq!(line["rpc.response.status_code"], status);
    }
}

/// What a refusal looks like to a gRPC client: headers and nothing else.
async fn assert_trailers_only<B>(response: Response<B>, status: &str)
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "application/grpc");
    assert_eq!(headers["grpc-status"], status);
    assert!(!headers["grpc-message"].is_empty());
    assert!(headers.contains_key("x-request-id"));
    assert!(response.body().is_end_stream());
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn the_kit_refuses_in_grpc() {
    let never = |_| std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>();
    let bench = Bench::with(|telemetry| telemetry.request_timeout = Some(Duration::from_secs(2)));
    let response = bench.service(never).call(grpc_call(PATH)).await.unwrap();
    assert_trailers_only(response, "4").await;
    let (line, span, _) = only(&bench);
    assert_eq!(line["rpc.response.status_code"], "DEADLINE_EXCEEDED");
    assert_eq!(
        (
            line["outcome"].as_str(),
            line["http.response.body.size"].as_i64()
        ),
        (Some("timeout"), Some(0))
    );
    assert_eq!(
        text(&span.attributes, "error.type").as_deref(),
        Some("timeout")
    );

    let bench = Bench::new();
    let mut service = bench.service(
        |_| -> std::future::Ready<Result<Response<Empty<Bytes>>, Infallible>> {
            panic!("no such luck")
        },
    );
    let response = service.call(grpc_call(PATH)).await.unwrap();
    assert_trailers_only(response, "13").await;
    let (line, ..) = only(&bench);
    assert_eq!(line["rpc.response.status_code"], "INTERNAL");
    assert_eq!(line["exception.message"], "no such luck");

    let limit = |telemetry: &mut crate::http::Telemetry| {
        telemetry.concurrency_limit = Some(ConcurrencyLimit::new(0));
    };
    let bench = Bench::with(limit);
    let response = bench.service(never).call(grpc_call(PATH)).await.unwrap();
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "1000");
    assert_trailers_only(response, "14").await;
    let (line, ..) = only(&bench);
    assert_eq!(line["rpc.method"], "_OTHER", "nobody has been asked");
    assert_eq!(line["rpc.response.status_code"], "UNAVAILABLE");
    assert_eq!(line["outcome"], "rejected");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_too_long_ends_with_a_status() {
    let bench = Bench::with(|telemetry| telemetry.request_timeout = Some(Duration::from_secs(2)));
    let mut service = bench.service(answers(Script::new(&vec![Step::Pending; 1_000_000])));
    let response = service.call(grpc_call(PATH)).await.unwrap();
    tokio::time::advance(Duration::from_secs(3)).await;
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "4");
    assert_eq!(
        only(&bench).0["rpc.response.status_code"],
        "DEADLINE_EXCEEDED"
    );
}

#[test]
fn questions_after_health_pass_the_limit_and_leave_no_trace() {
    let limit = |telemetry: &mut crate::http::Telemetry| {
        telemetry.concurrency_limit = Some(ConcurrencyLimit::new(0));
    };
    let bench = Bench::with(limit);
    let mut service = bench.service(|_| {
        let mut response = trailers_only("0");
        response.extensions_mut().insert(NotTraffic);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut status = || {
        let call = grpc_call("/grpc.health.v1.Health/Check");
        let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(call))) else {
            panic!("the answer is ready");
        };
        response.headers()["grpc-status"].clone()
    };
    // Nobody has said that this server answers them: it could be a page for every path.
    assert_eq!(status(), "14");
    let (line, ..) = only(&bench);
    assert_eq!(line["outcome"], "rejected");
    bench.telemetry.methods.learn_health();
    assert_eq!(status(), "0");
    assert_eq!(bench.closing_lines().len(), 1, "only the first is told");
    assert!(bench.spans.drain().is_empty());
    let [measured, _] = bench.telemetry.rpc.settled();
    assert_eq!(measured.iter().map(|(_, count)| count).sum::<u64>(), 1);
}

#[test]
fn what_is_not_grpc_is_http() {
    let web = |mut request: Request<()>| {
        let headers = request.headers_mut();
        headers.insert(
            "content-type",
            HeaderValue::from_static("application/grpc-web+proto"),
        );
        request
    };
    let http_1 = |mut request: Request<()>| {
        *request.version_mut() = ::http::Version::HTTP_11;
        request
    };
    for request in [web(grpc_call(PATH)), http_1(grpc_call(PATH)), get(PATH)] {
        let bench = Bench::new();
        let mut service = bench.service(answers(Empty::<Bytes>::new()));
        assert!(poll_once(pin!(service.call(request))).is_ready());
        let (line, _) = bench.settled();
        assert_eq!(line.get("rpc.method"), None);
        assert_eq!(bench.telemetry.rpc.settled(), [vec![], vec![]]);
    }
}
