//! Each way a request can end: settled once, with its own outcome, told alike by line, span and metrics.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::Response;
use bytes::Bytes;
use http_body_util::{Empty, Full};
use tower_service::Service as _;

use crate::http::NotTraffic;
use crate::http::testing::{
    Bench, Script, Step, answers, get, poll_body, poll_once, request, text,
};
use crate::trace::SpanStatus;

/// Sends `request`, reads the body as a server would, and checks what is told of it.
#[track_caller]
fn check(
    bench: &Bench,
    request: ::http::Request<()>,
    response: Response<Script>,
    outcome: &str,
    sent: u64,
) {
    let mut response = Some(response);
    let mut service =
        bench.service(move |_| std::future::ready(Ok::<_, Infallible>(response.take().unwrap())));
    let status = {
        let future = pin!(service.call(request));
        let Poll::Ready(Ok(response)) = poll_once(future) else {
            panic!("the answer is ready");
        };
        let status = response.status();
        let mut body = response.into_body();
        while let Poll::Pending | Poll::Ready(Some(Ok(_))) = poll_body(&mut body) {}
        status
    };
    let (line, _) = bench.settled();
    assert_eq!(line["outcome"], outcome, "{line}");
    assert_eq!(line["http.response.body.size"], sent, "{line}");
    assert_eq!(line["http.response.status_code"], status.as_u16());
}

fn response(status: u16, script: Script) -> Response<Script> {
    Response::builder().status(status).body(script).unwrap()
}

#[test]
fn streams_to_their_end() {
    let steps = [Step::Data("abc"), Step::Pending, Step::Data("de")];
    let cases = [(200, "ok"), (404, "ok"), (500, "error"), (503, "error")];
    for (status, outcome) in cases {
        let response = response(status, Script::new(&steps));
        check(&Bench::new(), get("/"), response, outcome, 5);
    }
}

#[test]
fn id_span_and_line_tell_of_the_same_time() {
    let bench = Bench::new();
    let mut service = bench.service(answers(Empty::<Bytes>::new()));
    let before = SystemTime::now();
    let future = pin!(service.call(get("/")));
    assert!(poll_once(future).is_ready());
    let (line, span) = bench.settled();
    assert!((before..=SystemTime::now()).contains(&span.start));
    let began = span.start.duration_since(UNIX_EPOCH).unwrap();

    let id = uuid::Uuid::parse_str(line["request_id"].as_str().unwrap()).unwrap();
    let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
    let of_id = Duration::new(seconds, nanos);
    assert_eq!(of_id.as_millis(), began.as_millis());

    let timestamp = line["timestamp"].as_str().unwrap();
    let number = |digits: Range<usize>| timestamp[digits].parse::<u64>().unwrap();
    let second = number(11..13) * 3_600 + number(14..16) * 60 + number(17..19);
    let settled = began + span.duration;
    assert_eq!(second, settled.as_secs() % 86_400, "{timestamp}");
    let nanos = u64::from(settled.subsec_nanos());
    assert_eq!(number(20..29), nanos, "{timestamp}");
}

#[test]
fn a_body_error_or_panic_midway() {
    for (step, outcome, message) in [
        (Step::Error, "body_error", "disk on fire"),
        (Step::Panic, "panic", "body blew up"),
    ] {
        let bench = Bench::new();
        let script = Script::new(&[Step::Data("abc"), step, Step::Data("never")]);
        check(&bench, get("/"), response(200, script), outcome, 3);
        let told = bench.closing_lines().remove(0);
        assert_eq!(told["exception.message"], message);
        assert_eq!(told["level"], "ERROR");
    }
}

#[test]
fn a_panic_is_told_with_the_ids_and_the_place() {
    let bench = Bench::new();
    let script = Script::new(&[Step::Panic]);
    check(&bench, get("/"), response(200, script), "panic", 0);
    let lines = bench.lines();
    let [event, closing] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(event["target"], "bellwether::panic");
    assert_eq!(event["level"], "ERROR");
    assert_eq!(event["exception.message"], "body blew up");
    assert!(
        event["code.file.path"]
            .as_str()
            .unwrap()
            .ends_with("testing.rs")
    );
    assert!(event["code.line.number"].as_u64().unwrap() > 0);
    for id in ["trace_id", "span_id", "request_id"] {
        assert_eq!(event[id], closing[id]);
        assert!(event[id].is_string());
    }
}

#[test]
fn trailers_end_a_body() {
    let bench = Bench::new();
    let script = Script::new(&[Step::Data("abc"), Step::Trailers]);
    check(&bench, get("/"), response(200, script), "ok", 3);
}

/// What hyper does not poll to the end: it drops these bodies as soon as it knows enough.
#[test]
fn bodies_that_servers_do_not_poll_to_the_end() {
    let full = || Script {
        exact_size: Some(3),
        ..Script::new(&[Step::Data("abc")])
    };
    let tells = || Script {
        tells_end: true,
        ..Script::new(&[Step::Data("abc")])
    };
    let check = |method, status, script: Script, header: Option<u64>, polls: usize, sent: u64| {
        let bench = Bench::new();
        let mut service = bench.service(move |_| {
            let mut response = response(status, script.clone());
            if let Some(length) = header {
                response
                    .headers_mut()
                    .insert("content-length", length.into());
            }
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(request(method, "/")))) else {
            panic!("the answer is ready");
        };
        let mut body = response.into_body();
        for _ in 0..polls {
            assert!(poll_body(&mut body).is_ready());
        }
        let (line, _) = bench.settled();
        assert_eq!(
            line["outcome"], "ok",
            "{method} {status} {header:?} {polls}"
        );
        assert_eq!(line["http.response.body.size"], sent);
        drop(body);
        assert!(bench.closing_lines().len() == 1 && bench.spans.drain().is_empty());
    };
    check("HEAD", 200, full(), None, 0, 0);
    check("GET", 204, full(), None, 0, 0);
    check("GET", 304, full(), None, 0, 0);
    check("GET", 200, full(), None, 1, 3);
    check("GET", 200, tells(), None, 1, 3);
    check("GET", 200, Script::new(&[Step::Data("abc")]), Some(3), 1, 3);
    check("GET", 200, Script::new(&[]), Some(0), 0, 0);
}

#[test]
fn empty_and_full_bodies() {
    let bench = Bench::new();
    let mut service = bench.service(answers(Empty::<Bytes>::new()));
    let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(get("/")))) else {
        panic!("the answer is ready");
    };
    let (line, _) = bench.settled();
    assert_eq!(line["outcome"], "ok", "settled before the body is touched");
    drop(response);

    let bench = Bench::new();
    let mut service = bench.service(answers(Full::new(Bytes::from_static(b"hello"))));
    let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(get("/")))) else {
        panic!("the answer is ready");
    };
    let mut body = response.into_body();
    assert!(matches!(poll_body(&mut body), Poll::Ready(Some(Ok(_)))));
    assert_eq!(bench.settled().0["http.response.body.size"], 5);
}

#[test]
fn a_caller_that_hangs_up() {
    // Before the head.
    let bench = Bench::new();
    let mut service =
        bench.service(|_| std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>());
    {
        let mut future = pin!(service.call(get("/slow")));
        assert!(poll_once(future.as_mut()).is_pending());
        assert_eq!(bench.active(), 1);
    }
    let (line, span) = bench.settled();
    assert_eq!(line["outcome"], "client_gone");
    assert_eq!(line["http.response.status_code"], serde_json::Value::Null);
    assert_eq!(line["time_to_first_byte"], serde_json::Value::Null);
    assert_eq!(span.status, SpanStatus::Unset);
    assert_eq!(text(&span.attributes, "error.type"), None);

    // Midway.
    let bench = Bench::new();
    let mut service = bench.service(answers(Script::new(&[Step::Data("abc"), Step::Data("de")])));
    let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(get("/")))) else {
        panic!("the answer is ready");
    };
    let mut body = response.into_body();
    assert!(poll_body(&mut body).is_ready());
    assert_eq!(bench.active(), 1);
    drop(body);
    let (line, span) = bench.settled();
    assert_eq!(line["outcome"], "client_gone");
    assert_eq!(line["http.response.body.size"], 3);
    assert_eq!(line["level"], "INFO");
    assert_eq!(span.status, SpanStatus::Unset);

    // Before the future was polled at all.
    let bench = Bench::new();
    let mut service = bench.service(answers(Empty::<Bytes>::new()));
    drop(service.call(get("/")));
    assert_eq!(bench.settled().0["outcome"], "client_gone");
}

#[test]
fn without_a_runtime_there_is_no_time_out_and_no_panic() {
    let bench = Bench::with(|telemetry| telemetry.request_timeout = Some(Duration::ZERO));
    let response = response(200, Script::new(&[Step::Data("abc")]));
    check(&bench, get("/"), response, "ok", 3);
}

#[test]
fn upgrades_settle_at_their_head() {
    for (method, status) in [("GET", 101), ("CONNECT", 200)] {
        let bench = Bench::with(|telemetry| {
            telemetry.lifecycle.advance(crate::health::State::Draining);
        });
        let mut service = bench.service(move |_| {
            let mut response = response(status, Script::new(&[Step::Pending]));
            response
                .headers_mut()
                .insert("connection", "upgrade".parse().unwrap());
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(request(method, "/ws"))))
        else {
            panic!("the answer is ready");
        };
        if status == 101 {
            assert_eq!(response.headers()["connection"], "upgrade");
        }
        assert_eq!(bench.settled().0["outcome"], "upgraded");
        drop(response);
        assert_eq!(bench.measured(), 1);
    }
}

#[test]
fn an_error_of_the_inner_service_passes_through() {
    let bench = Bench::new();
    let mut service =
        bench.service(|_| std::future::ready(Err::<Response<Empty<Bytes>>, _>("down")));
    let polled = poll_once(pin!(service.call(get("/"))));
    assert!(matches!(polled, Poll::Ready(Err("down"))));
    let (line, span) = bench.settled();
    assert_eq!(line["outcome"], "error");
    assert_eq!(line["http.response.status_code"], serde_json::Value::Null);
    assert!(matches!(span.status, SpanStatus::Error(_)));
}

#[test]
fn probes_leave_no_trace() {
    let bench = Bench::new();
    let mut service = bench.service(|_| {
        let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
        response.extensions_mut().insert(NotTraffic);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    {
        let mut future = pin!(service.call(get("/livez")));
        let Poll::Ready(Ok(response)) = poll_once(future.as_mut()) else {
            panic!("the answer is ready");
        };
        let mut body = response.into_body();
        assert!(matches!(poll_body(&mut body), Poll::Ready(Some(Ok(_)))));
    }
    bench.assert_silent();
}

#[test]
fn the_handler_runs_and_is_dropped_as_part_of_its_request() {
    struct LogsWhenDropped;
    impl Drop for LogsWhenDropped {
        fn drop(&mut self) {
            tracing::info!("dropped");
        }
    }
    let bench = Bench::new();
    let mut service = bench.service(|_| async {
        let _held = LogsWhenDropped;
        tracing::info!("running");
        std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
    });
    {
        let mut future = pin!(service.call(get("/")));
        assert!(poll_once(future.as_mut()).is_pending());
    }
    let lines = bench.lines();
    let messages: Vec<_> = lines
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["running", "dropped", "client hung up"]);
    assert!(
        lines
            .iter()
            .all(|line| line["request_id"] == lines[2]["request_id"])
    );
    assert!(crate::context::current().is_none());
}

#[test]
fn a_handler_that_panics_while_it_is_dropped_has_answered_all_the_same() {
    struct Answers;
    impl Future for Answers {
        type Output = Result<Response<Empty<Bytes>>, Infallible>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Ok(Response::new(Empty::new())))
        }
    }
    impl Drop for Answers {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    let bench = Bench::new();
    let mut service = bench.service(|_| Answers);
    let Poll::Ready(Ok(response)) = poll_once(pin!(service.call(get("/")))) else {
        panic!("no answer");
    };
    assert_eq!(response.status(), 200);
    let (line, _) = bench.settled();
    assert_eq!(
        (&line["outcome"], &line["exception.message"]),
        (&"ok".into(), &"in the drop".into())
    );
}

#[test]
fn an_unsampled_request_has_a_line_but_no_span() {
    let bench = Bench::with(|telemetry| telemetry.sampler = crate::trace::Sampler::AlwaysOff);
    let mut service = bench.service(answers(Empty::<Bytes>::new()));
    assert!(poll_once(pin!(service.call(get("/")))).is_ready());
    let line = bench.closing_lines().remove(0);
    assert_eq!(line["trace_flags"], "02");
    assert!(bench.spans.drain().is_empty());
    assert_eq!(bench.measured(), 1);
}

#[test]
fn a_route_hook_names_the_route_and_may_panic() {
    use tower_layer::Layer as _;
    let bench = Bench::new();
    let layer = bench.layer().route_hook(|parts| match parts.uri.path() {
        "/boom" => panic!("hook"),
        path => Some(format!("{path}/{{id}}").into()),
    });
    let mut service = layer.layer(crate::http::testing::Handler(
        answers(Empty::<Bytes>::new()),
    ));
    for (path, route) in [("/a", Some("/a/{id}")), ("/boom", None)] {
        assert!(poll_once(pin!(service.call(get(path)))).is_ready());
        let line = bench.closing_lines().pop().unwrap();
        assert_eq!(
            (line["http.route"].as_str(), &line["outcome"]),
            (route, &"ok".into())
        );
    }
}

#[test]
fn a_span_that_waits_keeps_nothing_else_alive() {
    let bench = Bench::new();
    let mut service = bench.service(answers(Empty::<Bytes>::new()));
    assert!(poll_once(pin!(service.call(get("/")))).is_ready());
    drop(service);
    let (spans, telemetry) = (bench.spans.clone(), Arc::downgrade(&bench.telemetry));
    drop(bench);
    assert!(telemetry.upgrade().is_none());
    let [span] = &spans.drain()[..] else {
        panic!("one span waits");
    };
    assert_eq!(text(&span.attributes, "url.path").as_deref(), Some("/"));
}
