//! Tests of the client layer: what it sends, what it tells of a call, and that it tells it once.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use tower_layer::Layer as _;
use tower_service::Service;
use tracing::Instrument as _;

use crate::context::testing::context;
use crate::context::{Scoped, TraceParent};
use crate::http::testing::{
    Bench, Handler, Script, Step, float, get, grpc_call, int, poll_body, poll_once, shared_text,
    text,
};
use crate::http::{BoxError, Telemetry};
use crate::trace::{Sampler, SpanKind, SpanRecord, SpanStatus};

/// Calls `uri` through the layer and reads the whole answer; gives the headers the server saw.
fn call(bench: &Bench, uri: &str, answer: Response<Script>) -> HeaderMap {
    call_with(bench, Request::get(uri).body(()).unwrap(), answer)
}

fn call_with(bench: &Bench, request: Request<()>, answer: Response<Script>) -> HeaderMap {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let keep = Arc::clone(&seen);
    let mut answer = Some(answer);
    let mut client = bench
        .client_layer()
        .layer(Handler(move |request: Request<()>| {
            *keep.lock().unwrap() = request.headers().clone();
            std::future::ready(Ok::<_, Infallible>(answer.take().unwrap()))
        }));
    let Poll::Ready(Ok(response)) = poll_once(pin!(client.call(request))) else {
        panic!("the answer is ready");
    };
    let mut body = response.into_body();
    while let Poll::Pending | Poll::Ready(Some(Ok(_))) = poll_body(&mut body) {}
    seen.lock().unwrap().clone()
}

fn sent(headers: &HeaderMap) -> TraceParent {
    TraceParent::parse(headers["traceparent"].as_bytes()).unwrap()
}

fn only_span(bench: &Bench) -> SpanRecord {
    let mut spans = bench.spans.drain();
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(bench.telemetry.client.settled_total().0, 1);
    spans.remove(0)
}

#[test]
fn a_call_carries_its_requests_identity() {
    let bench = Bench::new();
    let request = context();
    let _scope = Scoped::enter(Arc::clone(&request));
    let headers = call(&bench, "http://shop:8080/cart", Response::default());
    assert_eq!(headers["x-request-id"], request.request_id.as_str());
    let span = only_span(&bench);
    assert_eq!(sent(&headers).trace_id, request.trace_id);
    assert_eq!(sent(&headers).span_id, span.span_id);
    assert_eq!(sent(&headers).flags, request.flags);
    assert_eq!(span.parent, Some(request.span_id));
    assert_ne!(span.span_id, request.span_id);
    assert!(!span.parent_is_remote);
    assert_eq!(span.kind, SpanKind::Client);
}

#[test]
fn headers_that_the_caller_set_itself() {
    let bench = Bench::new();
    let mut request = Request::get("http://shop/").body(()).unwrap();
    let headers = request.headers_mut();
    headers.insert("x-request-id", "mine".parse().unwrap());
    headers.insert("traceparent", "stale".parse().unwrap());
    headers.insert("tracestate", "stale=1".parse().unwrap());
    let headers = call_with(&bench, request, Response::default());
    assert_eq!(headers["x-request-id"], "mine");
    assert_eq!(sent(&headers).span_id, only_span(&bench).span_id);
    assert_eq!(headers["tracestate"], "ot=th:0");
}

#[tokio::test]
async fn the_nearest_handler_span_is_the_parent() {
    let bench = Bench::new();
    let client = bench.client_layer().layer(Handler(|_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    }));
    let mut service = bench.service(move |_| {
        let mut client = client.clone();
        async move {
            let call = client.call(Request::get("http://shop/").body(()).unwrap());
            call.instrument(tracing::info_span!("price")).await
        }
        .instrument(tracing::info_span!("checkout"))
    });
    service.call(get("/")).await.unwrap();
    let spans = bench.spans.drain();
    let named = |name: &str| {
        spans
            .iter()
            .find(|span| shared_text(&span.name) == name)
            .unwrap_or_else(|| panic!("no {name} in {spans:?}"))
    };
    let server = spans
        .iter()
        .find(|span| span.kind == SpanKind::Server)
        .unwrap();
    let client = spans
        .iter()
        .find(|span| span.kind == SpanKind::Client)
        .unwrap();
    assert_eq!(named("checkout").parent, Some(server.span_id));
    assert_eq!(spans.len(), 4);
    // The call begins before the span around its future is entered.
    assert_eq!(client.parent, Some(named("checkout").span_id));
}

#[test]
fn a_call_outside_any_request_starts_a_trace() {
    let bench = Bench::new();
    let headers = call(&bench, "http://shop/", Response::default());
    let span = only_span(&bench);
    assert_eq!(span.parent, None);
    assert_eq!(sent(&headers).span_id, span.span_id);
    assert_eq!(sent(&headers).flags, 3);
    assert_eq!(headers["x-request-id"], span.context.request_id.as_str());
}

#[test]
fn what_nobody_exports_does_not_stand_between() {
    let unsampled = |telemetry: &mut Telemetry| telemetry.sampler = Sampler::AlwaysOff;
    let off = |telemetry: &mut Telemetry| telemetry.spans = None;
    for change in [unsampled as fn(&mut Telemetry), off] {
        let bench = Bench::with(change);
        let headers = call(&bench, "http://shop/", Response::default());
        assert_eq!(sent(&headers).flags, TraceParent::RANDOM);
        assert!(bench.spans.drain().is_empty());
        assert_eq!(bench.telemetry.client.settled_total(), (1, 0));
    }
    let bench = Bench::with(off);
    let request = context();
    let _scope = Scoped::enter(Arc::clone(&request));
    let headers = call(&bench, "http://shop/", Response::default());
    assert_eq!(sent(&headers).span_id, request.span_id);
}

#[test]
fn the_client_span_follows_the_conventions() {
    let bench = Bench::new();
    let uri = "http://user:secret@shop.example:8080/cart?token=secret";
    call(&bench, uri, Response::default());
    let span = only_span(&bench);
    assert_eq!(shared_text(&span.name), "GET");
    for (key, expected) in [
        ("http.request.method", Some("GET")),
        ("server.address", Some("shop.example")),
        ("url.full", Some("http://shop.example:8080/cart")),
        ("error.type", None),
    ] {
        assert_eq!(text(&span.attributes, key).as_deref(), expected, "{key}");
    }
    assert_eq!(int(&span.attributes, "server.port"), Some(8080));
    assert_eq!(
        int(&span.attributes, "http.response.status_code"),
        Some(200)
    );
    assert!(float(&span.attributes, "bellwether.network.gap").is_none());
    assert_eq!(span.status, SpanStatus::Unset);

    for (uri, address, port, full) in [
        ("https://shop/", "shop", 443, "https://shop:443/"),
        ("http://[::1]/a", "::1", 80, "http://[::1]:80/a"),
    ] {
        let bench = Bench::new();
        call(&bench, uri, Response::default());
        let span = only_span(&bench);
        assert_eq!(
            text(&span.attributes, "server.address").as_deref(),
            Some(address)
        );
        assert_eq!(int(&span.attributes, "server.port"), Some(port));
        assert_eq!(text(&span.attributes, "url.full").as_deref(), Some(full));
    }
}

#[track_caller]
fn check_failure(bench: &Bench, error_type: Option<&str>, status: Option<i64>) {
    let span = only_span(bench);
    assert_eq!(text(&span.attributes, "error.type").as_deref(), error_type);
    assert_eq!(int(&span.attributes, "http.response.status_code"), status);
    assert_eq!(
        matches!(span.status, SpanStatus::Error(_)),
        error_type.is_some()
    );
}

#[test]
fn how_a_call_can_end() {
    let answer = |status: u16, steps: &[Step]| {
        Response::builder()
            .status(status)
            .body(Script::new(steps))
            .unwrap()
    };
    for (status, steps, error_type) in [
        (200, &[Step::Data("abc"), Step::Pending][..], None),
        (302, &[], None),
        (404, &[Step::Data("abc")], Some("404")),
        (503, &[], Some("503")),
        (200, &[Step::Data("abc"), Step::Error], Some("body_error")),
    ] {
        let bench = Bench::new();
        call(&bench, "http://shop/", answer(status, steps));
        check_failure(&bench, error_type, Some(status.into()));
    }
}

#[test]
fn a_call_that_is_given_up() {
    let bench = Bench::new();
    let mut client = bench.client_layer().layer(Handler(|_: Request<()>| {
        std::future::pending::<Result<Response<Script>, Infallible>>()
    }));
    {
        let mut future = pin!(client.call(Request::get("http://shop/").body(()).unwrap()));
        assert!(poll_once(future.as_mut()).is_pending());
    }
    check_failure(&bench, Some("cancelled"), None);

    // Whoever stops reading has what it wanted.
    let bench = Bench::new();
    let mut client = bench.client_layer().layer(Handler(|_: Request<()>| {
        let body = Script::new(&[Step::Data("abc"), Step::Data("de")]);
        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
    }));
    let request = Request::get("http://shop/").body(()).unwrap();
    let Poll::Ready(Ok(response)) = poll_once(pin!(client.call(request))) else {
        panic!("the answer is ready");
    };
    let mut body = response.into_body();
    assert!(poll_body(&mut body).is_ready());
    drop(body);
    check_failure(&bench, None, Some(200));
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bench = Bench::new();
    let executor = hyper_util::rt::TokioExecutor::new();
    let hyper = hyper_util::client::legacy::Client::builder(executor).build_http::<Empty<Bytes>>();
    let mut client = bench.client_layer().layer(hyper);
    let request = Request::get(format!("http://{address}/"))
        .body(Empty::new())
        .unwrap();
    assert!(client.call(request).await.is_err());
    let span = only_span(&bench);
    assert_eq!(error_type(&span).as_deref(), Some("connect_error"));
    let SpanStatus::Error(why) = &span.status else {
        panic!("{span:?}");
    };
    assert!(why.contains("refused"), "{why}");
}

/// `error.type` and the text of a call that fails with this error.
fn failed_with(error: BoxError) -> (String, String) {
    let bench = Bench::new();
    let mut error = Some(error);
    let mut client = bench.client_layer().layer(Handler(move |_: Request<()>| {
        std::future::ready(Err::<Response<Script>, _>(error.take().unwrap()))
    }));
    let request = Request::get("http://shop/").body(()).unwrap();
    assert!(matches!(
        poll_once(pin!(client.call(request))),
        Poll::Ready(Err(_))
    ));
    let span = only_span(&bench);
    let SpanStatus::Error(why) = &span.status else {
        panic!("{span:?}");
    };
    (error_type(&span).unwrap(), why.to_string())
}

fn error_type(span: &SpanRecord) -> Option<String> {
    text(&span.attributes, "error.type")
}

#[tokio::test]
async fn errors_that_layers_have_boxed_are_told_as_what_they_are() {
    let executor = hyper_util::rt::TokioExecutor::new();
    let mut hyper =
        hyper_util::client::legacy::Client::builder(executor).build_http::<Empty<Bytes>>();
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let request = Request::get(closed).body(Empty::new()).unwrap();
    let (kind, why) = failed_with(hyper.call(request).await.unwrap_err().into());
    assert_eq!(kind, "connect_error");
    assert!(why.contains("refused"), "{why}");

    let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in 3 s");
    assert_eq!(
        failed_with(late.into()),
        ("timeout".to_owned(), "no answer in 3 s".to_owned())
    );
    let other = BoxError::from("the pool is closed");
    assert_eq!(
        failed_with(other),
        (
            "transport_error".to_owned(),
            "the pool is closed".to_owned()
        )
    );
}

/// Two services in one process: the gap is what the client measured less what the server told.
#[tokio::test]
async fn the_gap_is_client_time_less_server_time() {
    let (client_side, server_side) = (Bench::new(), Bench::new());
    let server = server_side
        .service(|_| std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))));
    let mut client = client_side.client_layer().layer(server);
    let response = client.call(get("http://shop/")).await.unwrap();
    response.into_body().collect().await.unwrap();

    let (line, server) = server_side.settled();
    let span = only_span(&client_side);
    assert_eq!(client_side.telemetry.client.settled_total(), (1, 1));
    assert_eq!(server.parent, Some(span.span_id));
    assert_eq!(server.context.trace_id, span.context.trace_id);
    assert_eq!(server.context.request_id, span.context.request_id);
    let gap = float(&span.attributes, "bellwether.network.gap").expect("a gap");
    let first_byte = line["time_to_first_byte"].as_f64().unwrap();
    let total = span.duration.as_secs_f64();
    assert!(
        gap >= 0.0 && gap <= total - first_byte + 1e-9,
        "{gap} {total} {first_byte}"
    );
}

#[test]
fn a_server_slower_than_the_call_measures_no_gap() {
    let bench = Bench::new();
    let answer = Response::builder()
        .header("server-timing", "app;dur=60000")
        .body(Script::default())
        .unwrap();
    call(&bench, "http://shop/", answer);
    assert_eq!(bench.telemetry.client.settled_total(), (1, 0));
}

/// A gRPC call of `method`, answered so and read to its end; its span.
fn grpc(bench: &Bench, answer: Response<Script>) -> SpanRecord {
    let mut request = grpc_call("http://shop.example:8443/shop.v1.Cart/Add");
    request
        .headers_mut()
        .insert("grpc-timeout", "1H".parse().unwrap());
    call_with(bench, request, answer);
    only_grpc_span(bench)
}

fn only_grpc_span(bench: &Bench) -> SpanRecord {
    let mut spans = bench.spans.drain();
    assert_eq!(spans.len(), 1, "{spans:?}");
    let [served, called] = bench.telemetry.rpc.settled();
    assert!(served.is_empty());
    assert_eq!(called.iter().map(|(_, count)| count).sum::<u64>(), 1);
    assert_eq!(
        bench.telemetry.client.settled_total().0,
        0,
        "no HTTP duration"
    );
    spans.remove(0)
}

#[test]
fn a_grpc_call_is_told_of_by_the_rpc_conventions() {
    let bench = Bench::new();
    let answer = Response::builder()
        .header("server-timing", "app;dur=0")
        .body(Script::new(&[Step::Data("abc"), Step::Status("0")]))
        .unwrap();
    let span = grpc(&bench, answer);
    assert_eq!(shared_text(&span.name), "shop.v1.Cart/Add");
    assert_eq!(
        (span.kind, &span.status),
        (SpanKind::Client, &SpanStatus::Unset)
    );
    for (key, expected) in [
        ("rpc.system.name", Some("grpc")),
        ("rpc.method", Some("shop.v1.Cart/Add")),
        ("rpc.response.status_code", Some("OK")),
        ("server.address", Some("shop.example")),
        ("error.type", None),
        ("http.request.method", None),
        ("url.full", None),
    ] {
        assert_eq!(text(&span.attributes, key).as_deref(), expected, "{key}");
    }
    assert_eq!(int(&span.attributes, "server.port"), Some(8443));
    assert!(float(&span.attributes, "bellwether.network.gap").is_some());
    let [_, called] = bench.telemetry.rpc.settled();
    assert_eq!(
        called[0].0,
        "rpc_system_name=\"grpc\",rpc_method=\"shop.v1.Cart/Add\",rpc_response_status_code=\"OK\",\
         server_address=\"shop.example\",server_port=\"8443\""
    );
    assert_eq!(
        bench.telemetry.client.settled_total(),
        (0, 1),
        "the gap is of HTTP"
    );
}

#[test]
fn how_a_grpc_call_can_end() {
    fn check(answer: Response<Script>, status: &str, error_type: Option<&str>, why: Option<&str>) {
        let span = grpc(&Bench::new(), answer);
        let said = |key: &str| text(&span.attributes, key);
        assert_eq!(said("rpc.response.status_code").as_deref(), Some(status));
        assert_eq!(said("error.type").as_deref(), error_type, "{status}");
        match (&span.status, why) {
            (SpanStatus::Error(text), Some(why)) => assert_eq!(text, why),
            (status, why) => assert_eq!((status, why), (&SpanStatus::Unset, None)),
        }
    }
    let stream = |steps: &[Step]| Response::new(Script::new(steps));
    let trailers_only = Response::builder().header("grpc-status", "5").body(Script {
        tells_end: true,
        ..Script::default()
    });
    check(
        trailers_only.unwrap(),
        "NOT_FOUND",
        Some("NOT_FOUND"),
        Some(""),
    );
    let told = Some("told why");
    check(
        stream(&[Step::Status("1")]),
        "CANCELLED",
        Some("CANCELLED"),
        told,
    );
    check(
        stream(&[Step::Status("14")]),
        "UNAVAILABLE",
        Some("UNAVAILABLE"),
        told,
    );
    check(
        stream(&[Step::Data("abc")]),
        "UNKNOWN",
        Some("UNKNOWN"),
        Some(""),
    );
    check(
        stream(&[Step::Data("abc"), Step::Error]),
        "UNAVAILABLE",
        Some("body_error"),
        Some("the response body broke off"),
    );
}

#[test]
fn a_proxy_that_answers_a_grpc_call_in_http() {
    for (http, status) in [(503, "UNAVAILABLE"), (403, "PERMISSION_DENIED")] {
        let bench = Bench::new();
        let answer = Response::builder().status(http);
        let answer = answer.body(Script::new(&[Step::Data("<html>"), Step::Data("</html>")]));
        let mut answer = answer.ok();
        let mut client = bench.client_layer().layer(Handler(move |_: Request<()>| {
            std::future::ready(Ok::<_, Infallible>(answer.take().unwrap()))
        }));
        let request = grpc_call("http://shop/shop.v1.Cart/Add");
        let Poll::Ready(Ok(response)) = poll_once(pin!(client.call(request))) else {
            panic!("the answer is ready");
        };
        // As tonic does: what comes is no message, and the rest is not read.
        let mut body = response.into_body();
        assert!(poll_body(&mut body).is_ready());
        drop(body);
        let span = only_grpc_span(&bench);
        let said = text(&span.attributes, "rpc.response.status_code");
        assert_eq!(said.as_deref(), Some(status));
        assert_eq!(error_type(&span).as_deref(), Some(status));
    }
}

#[test]
fn a_grpc_call_that_is_given_up() {
    // A stream that is not read to its status is cancelled.
    let script = || Response::new(Script::new(&[Step::Data("abc"), Step::Status("0")]));
    for (timeout, polls, status, error_type) in [
        ("1H", 0, "CANCELLED", Some("CANCELLED")),
        ("1H", 1, "CANCELLED", Some("CANCELLED")),
        ("1n", 1, "DEADLINE_EXCEEDED", Some("DEADLINE_EXCEEDED")),
        ("1n", 2, "OK", None),
    ] {
        let bench = Bench::new();
        let mut client = bench.client_layer().layer(Handler(|_: Request<()>| {
            std::future::ready(Ok::<_, Infallible>(script()))
        }));
        let mut request = grpc_call("http://shop/shop.v1.Cart/Add");
        request
            .headers_mut()
            .insert("grpc-timeout", timeout.parse().unwrap());
        let Poll::Ready(Ok(response)) = poll_once(pin!(client.call(request))) else {
            panic!("the answer is ready");
        };
        let mut body = response.into_body();
        for _ in 0..polls {
            assert!(poll_body(&mut body).is_ready());
        }
        drop(body);
        let span = only_grpc_span(&bench);
        let said = |key: &str| text(&span.attributes, key);
        assert_eq!(said("rpc.response.status_code").as_deref(), Some(status));
        assert_eq!(said("error.type").as_deref(), error_type);
    }
}
