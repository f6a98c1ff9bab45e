//! Every way a request can end settles once, with its own outcome, and leaves no request active.

use std::io::{Read, Write};
use std::net::TcpStream;

use bellwether_tests::http::get;
use bellwether_tests::system::Service;
use bellwether_tests::wait::wait_for;
use serde_json::Value;

/// Nothing listens there: these tests are about the service alone.
const NOWHERE: &str = "http://127.0.0.1:1";

fn closing_lines(service: &Service, path: &str) -> Vec<Value> {
    let closing = |line: &Value| line["outcome"].is_string() && line["url.path"] == path;
    service.process.log().into_iter().filter(closing).collect()
}

/// Calls `path` by `call` and expects one closing line with `outcome`.
fn check(service: &Service, path: &str, outcome: &str, call: impl FnOnce(&Service)) -> Value {
    call(service);
    wait_for(
        &format!(
            "the closing line of {path}: {:#?}",
            service.process.output()
        ),
        || (!closing_lines(service, path).is_empty()).then_some(()),
    );
    wait_for("no active request", || {
        (active_requests(service) == 0.0).then_some(())
    });
    let lines = closing_lines(service, path);
    assert_eq!(lines.len(), 1, "{path} settled more than once: {lines:#?}");
    assert_eq!(lines[0]["outcome"], outcome, "{}", lines[0]);
    lines.into_iter().next().expect("one line")
}

fn active_requests(service: &Service) -> f64 {
    let metrics = get(&service.url("/metrics")).expect("metrics").text();
    let active = metrics
        .lines()
        .filter(|line| line.starts_with("http_server_active_requests{"));
    active
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Sends a GET and hangs up after `bytes` bytes of the answer.
fn hang_up(service: &Service, path: &str, bytes: usize) {
    let mut stream = TcpStream::connect(("127.0.0.1", service.port)).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a sent request");
    stream
        .read_exact(&mut vec![0; bytes])
        .expect("the first bytes");
}

#[test]
fn each_settles_once() {
    let service = Service::start_cases(NOWHERE, &[("BELLWETHER_REQUEST_TIMEOUT", "1500ms")]);

    let line = check(&service, "/quick", "ok", |service| {
        assert_eq!(
            get(&service.url("/quick")).map(|answer| answer.status),
            Some(200)
        );
    });
    assert_eq!(
        (&line["http.route"], &line["http.response.status_code"]),
        (&"/quick".into(), &200.into())
    );

    let line = check(&service, "/stream/10", "ok", |service| {
        let answer = get(&service.url("/stream/10")).expect("an answer");
        assert_eq!(answer.body.len(), 60);
    });
    let duration = line["http.server.request.duration"]
        .as_f64()
        .expect("a duration");
    let first_byte = line["time_to_first_byte"]
        .as_f64()
        .expect("a time to first byte");
    assert!(duration > 0.85 && first_byte < 0.5, "{line}");
    assert_eq!(line["http.response.body.size"], 60);

    check(&service, "/stream/12", "client_gone", |service| {
        hang_up(service, "/stream/12", 150);
    });
    check(&service, "/wait/1200", "client_gone", |service| {
        let mut stream = TcpStream::connect(("127.0.0.1", service.port)).expect("a connection");
        write!(stream, "GET /wait/1200 HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
        // In flight first, or there would be nothing to hang up on.
        wait_for("the request in flight", || {
            (active_requests(service) == 1.0).then_some(())
        });
    });

    let line = check(&service, "/panic", "panic", |service| {
        let answer = get(&service.url("/panic")).expect("an answer");
        assert_eq!(answer.status, 500);
        let error = &answer.json()["error"];
        assert_eq!(error["request_id"].as_str(), answer.header("x-request-id"));
        assert!(
            !answer.text().contains("the handler's own fault"),
            "{}",
            answer.text()
        );
    });
    assert_eq!(line["http.response.status_code"], 500);

    check(&service, "/wait/60000", "timeout", |service| {
        assert_eq!(
            get(&service.url("/wait/60000")).map(|answer| answer.status),
            Some(503)
        );
    });
    check(&service, "/broken", "body_error", |service| {
        assert!(
            get(&service.url("/broken")).is_none(),
            "a broken body is no whole answer"
        );
    });
    let line = check(&service, "/nowhere", "ok", |service| {
        assert_eq!(
            get(&service.url("/nowhere")).map(|answer| answer.status),
            Some(404)
        );
    });
    assert!(line.get("http.route").is_none(), "{line}");

    assert!(service.process.stop().success());
}
