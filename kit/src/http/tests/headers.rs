//! What is believed of a caller, and what it is told.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use ::http::{HeaderMap, Request, Response, Version};
use bytes::Bytes;
use http_body_util::Empty;
use tower_service::Service as _;

use crate::context::{Format, SharedContext, TraceState, Trust, current};
use crate::health::State;
use crate::http::testing::{Bench, answers, get, int, poll_once, request, text};
use crate::http::{Propagation, server_timing};
use crate::trace::{Sampler, SpanRecord, ValueRef};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// Sends a request; gives the response's headers, the context the handler saw, and the span.
fn send(bench: &Bench, request: Request<()>) -> (HeaderMap, SharedContext, Option<SpanRecord>) {
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let mut service = bench.service(move |_| {
        *keep.lock().unwrap() = current();
        let response = Response::builder()
            .header("x-request-id", "the handler's")
            .header("server-timing", "db;dur=3");
        std::future::ready(Ok::<_, Infallible>(
            response.body(Empty::<Bytes>::new()).unwrap(),
        ))
    });
    let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(request))) else {
        panic!("the answer is ready");
    };
    let context = seen.lock().unwrap().take().unwrap();
    (
        response.headers().clone(),
        context,
        bench.spans.drain().pop(),
    )
}

fn with_identity(mut request: Request<()>) -> Request<()> {
    let headers = request.headers_mut();
    headers.insert("x-request-id", "abc".parse().unwrap());
    headers.insert(
        "traceparent",
        format!("00-{TRACE}-{SPAN}-01").parse().unwrap(),
    );
    headers.insert("tracestate", "vendor=1".parse().unwrap());
    headers.insert("baggage", "tenant=7".parse().unwrap());
    request
}

#[test]
fn a_trusted_caller_is_believed() {
    let bench = Bench::new();
    let (headers, context, span) = send(&bench, with_identity(get("/a")));
    assert_eq!(headers["x-request-id"], "abc");
    assert_eq!(context.request_id.as_str(), "abc");
    assert_eq!(context.trace_id.to_string(), TRACE);
    assert_eq!(context.flags, 1);
    assert_eq!(context.trace_state.as_ref().unwrap().as_str(), "vendor=1");
    assert_eq!(context.baggage.as_ref().unwrap(), "tenant=7");
    let span = span.unwrap();
    assert!(span.link.is_none());
    assert_eq!(span.parent.unwrap().to_string(), SPAN);
    assert!(span.parent_is_remote);
    assert_eq!(span.context.request_id.as_str(), "abc");
    let request_id = text(&span.attributes, "bellwether.request_id");
    assert_eq!(request_id.as_deref(), Some("abc"));
}

#[test]
fn nothing_is_taken_from_a_caller_that_is_not_trusted() {
    let bench = Bench::with(|telemetry| telemetry.trust = Trust::None);
    let (headers, context, span) = send(&bench, with_identity(get("/a")));
    assert_ne!(headers["x-request-id"], "abc");
    assert_eq!(headers["x-request-id"], context.request_id.as_str());
    assert_ne!(context.trace_id.to_string(), TRACE);
    assert_eq!(context.flags, 3);
    assert_eq!(context.trace_state.as_ref().unwrap().as_str(), "ot=th:0");
    assert!(context.baggage.is_none());
    let span = span.unwrap();
    assert_eq!((span.parent, span.parent_is_remote), (None, false));
    let link = span.link.unwrap();
    assert_eq!(
        (link.trace_id.to_string(), link.span_id.to_string()),
        (TRACE.to_owned(), SPAN.to_owned())
    );
    assert_eq!(link.flags, 1);
    let timings: Vec<_> = headers.get_all("server-timing").iter().collect();
    assert_eq!(timings, ["db;dur=3"]);
}

#[test]
fn the_sampled_flag_of_a_caller_that_is_not_trusted_decides_nothing() {
    for (sampler, sampled) in [
        (Sampler::ParentBasedAlwaysOn, true),
        (Sampler::ParentBasedAlwaysOff, false),
    ] {
        for flags in ["00", "01"] {
            let bench = Bench::with(|telemetry| {
                telemetry.trust = Trust::None;
                telemetry.sampler = sampler;
            });
            let mut request = get("/");
            let parent = format!("00-{TRACE}-{SPAN}-{flags}").parse().unwrap();
            request.headers_mut().insert("traceparent", parent);
            let (_, context, span) = send(&bench, request);
            assert_eq!(context.sampled(), sampled, "{sampler:?} {flags}");
            assert_eq!(span.is_some_and(|span| span.link.is_some()), sampled);
        }
    }
}

#[test]
fn a_decision_without_ids_begins_a_trace() {
    let mut b3 = Propagation::NONE;
    b3.add(Format::B3);
    for (value, flags) in [("0", 0b10), ("1", 0b11), ("d", 0b1000_0011)] {
        let bench = Bench::with(|telemetry| telemetry.propagation = b3);
        let mut request = get("/");
        request.headers_mut().insert("b3", value.parse().unwrap());
        let (_, context, span) = send(&bench, request);
        assert_eq!(context.flags, flags, "{value}");
        assert_eq!(context.trace_flags(), flags & 0b11);
        assert_eq!(span.is_some(), context.sampled());
        assert!(span.is_none_or(|span| span.parent.is_none()));
    }
}

#[test]
fn a_caller_may_leave_the_decision_open() {
    let mut b3 = Propagation::NONE;
    b3.add(Format::B3);
    for (sampler, sampled, state) in [
        (Sampler::ParentBasedAlwaysOn, true, Some("ot=th:0")),
        (Sampler::ParentBasedAlwaysOff, false, None),
    ] {
        let bench = Bench::with(|telemetry| {
            (telemetry.propagation, telemetry.sampler) = (b3, sampler);
        });
        let mut request = get("/");
        let value = format!("{TRACE}-{SPAN}").parse().unwrap();
        request.headers_mut().insert("b3", value);
        let (_, context, span) = send(&bench, request);
        assert_eq!(context.trace_id.to_string(), TRACE);
        assert_eq!(context.sampled(), sampled);
        let told = context.trace_state.as_ref().map(TraceState::as_str);
        assert_eq!(told, state);
        assert_eq!(span.is_some(), sampled);
    }
}

#[test]
fn malformed_identity_is_made_anew() {
    for (name, values) in [
        ("x-request-id", &["with space"][..]),
        ("traceparent", &["00-zz-1-01"]),
        (
            "traceparent",
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"; 2],
        ),
    ] {
        let mut request = get("/");
        for value in values {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let (headers, context, span) = send(&Bench::new(), request);
        assert_eq!(headers["x-request-id"].len(), 36, "{name}");
        assert_eq!(context.flags, 3);
        assert_eq!(span.unwrap().parent, None);
    }
}

#[test]
fn with_tracing_off_the_callers_trace_stays_whole() {
    let bench = Bench::with(|telemetry| telemetry.spans = None);
    let (_, context, span) = send(&bench, with_identity(get("/")));
    assert_eq!(context.trace_id.to_string(), TRACE);
    assert_eq!(context.span_id.to_string(), SPAN);
    assert_eq!(context.flags, 1);
    assert!(span.is_none());
    let (_, context, _) = send(&bench, get("/"));
    assert!(!context.sampled());
}

#[test]
fn propagation_can_be_off() {
    let bench = Bench::with(|telemetry| {
        telemetry.propagation = Propagation::NONE;
    });
    let (headers, context, _) = send(&bench, with_identity(get("/")));
    assert_eq!(headers["x-request-id"], "abc");
    assert_ne!(context.trace_id.to_string(), TRACE);
    assert!(context.baggage.is_none());
}

#[test]
fn a_trusted_caller_is_told_the_servers_own_time() {
    let bench = Bench::new();
    let (headers, ..) = send(&bench, get("/"));
    let timings: Vec<_> = headers.get_all("server-timing").iter().collect();
    assert_eq!(
        (timings.len(), timings[0]),
        (2, &"db;dur=3".parse().unwrap())
    );
    let line = bench.closing_lines().remove(0);
    let told = server_timing::app_duration(&headers).unwrap().as_secs_f64();
    let logged = line["time_to_first_byte"].as_f64().unwrap();
    assert!((told - logged).abs() < 1e-8, "{told} {logged}");
}

#[test]
fn http1_connections_close_while_draining() {
    for (version, draining, expected) in [
        (Version::HTTP_11, true, Some("close")),
        (Version::HTTP_10, true, Some("close")),
        (Version::HTTP_2, true, None),
        (Version::HTTP_11, false, None),
    ] {
        let bench = Bench::new();
        if draining {
            bench.telemetry.lifecycle.advance(State::Draining);
        }
        let mut request = get("/");
        *request.version_mut() = version;
        let (headers, ..) = send(&bench, request);
        let connection = headers
            .get("connection")
            .map(|value| value.to_str().unwrap());
        assert_eq!(connection, expected, "{version:?} {draining}");
    }
}

#[test]
fn the_server_span_follows_the_conventions() {
    let bench = Bench::with(|telemetry| telemetry.trust = Trust::Private);
    let mut request = request("BREW", "/pot?secret=1");
    let headers = request.headers_mut();
    headers.insert("host", "shop.example:8443".parse().unwrap());
    headers.insert("user-agent", "kettle/1".parse().unwrap());
    headers.insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
    headers.insert("x-forwarded-proto", "https".parse().unwrap());
    let (_, _, span) = send(&bench, request);
    let attributes = span.unwrap().attributes;
    for (key, expected) in [
        ("http.request.method", Some("_OTHER")),
        ("http.request.method_original", Some("BREW")),
        ("url.scheme", Some("https")),
        ("url.path", Some("/pot")),
        ("http.route", None),
        ("server.address", Some("shop.example")),
        ("network.protocol.version", Some("1.1")),
        ("client.address", Some("203.0.113.9")),
        ("user_agent.original", Some("kettle/1")),
        ("error.type", None),
        ("bellwether.outcome", None),
    ] {
        assert_eq!(text(&attributes, key).as_deref(), expected, "{key}");
    }
    assert_eq!(int(&attributes, "server.port"), Some(8443));
    assert_eq!(int(&attributes, "http.response.status_code"), Some(200));
}

#[test]
fn hostile_headers_stay_bounded() {
    let bench = Bench::new();
    let mut request = request("GET", &format!("/{}", "x".repeat(50_000)));
    let headers = request.headers_mut();
    headers.insert("user-agent", "y".repeat(50_000).parse().unwrap());
    headers.insert("host", "z".repeat(50_000).parse().unwrap());
    headers.insert("baggage", "b".repeat(9_000).parse().unwrap());
    let (_, context, span) = send(&bench, request);
    assert!(context.baggage.is_none());
    let mut lengths = Vec::new();
    span.unwrap().attributes.each(&mut |key, value| {
        let length = match value {
            ValueRef::Text(text) => text.len(),
            ValueRef::Bytes(bytes) => bytes.len(),
            _ => return,
        };
        lengths.push((key, length));
    });
    for key in ["url.path", "user_agent.original", "server.address"] {
        assert!(lengths.contains(&(key, 1_024)), "{key}: {lengths:?}");
    }
    assert!(lengths.iter().all(|(_, length)| *length <= 1_024));
    let mut service = bench.service(answers(Empty::<Bytes>::new()));
    assert!(poll_once(pin!(service.call(get("*")))).is_ready());
}

#[test]
fn a_user_agent_that_is_cut_is_still_told() {
    let bench = Bench::new();
    let mut request = request("GET", "/");
    let agent = format!("x{}", "é".repeat(2_000));
    let agent = ::http::HeaderValue::from_bytes(agent.as_bytes()).unwrap();
    request.headers_mut().insert("user-agent", agent);
    send(&bench, request);
    let told = format!("x{}", "é".repeat(511));
    assert_eq!(bench.closing_lines()[0]["user_agent.original"], told);
}
