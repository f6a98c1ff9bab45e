//! The line that closes a request, and the filters that may hide it.

use std::time::Duration;

use ::http::Version;
use tracing::{Dispatch, dispatcher, info};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use super::{SPAN_ID, TRACE_ID, head, layer, request_context};
use crate::context::RequestContext;
use crate::http::Outcome;
use crate::log::{Format, Logger, RequestLine};

pub(super) fn request_line(context: &RequestContext, outcome: Outcome) -> RequestLine<'_> {
    RequestLine {
        context,
        at: Duration::from_millis(1_795_362_374_123),
        outcome,
        method: "GET",
        route: Some("/pay/{id}".into()),
        path: "/pay/\"7\"".into(),
        rpc: None,
        status: Some(200),
        duration: Duration::from_micros(12_500),
        time_to_first_byte: Some(Duration::from_millis(2)),
        response_body_size: 42,
        client_address: Some([127, 0, 0, 1].into()),
        user_agent: Some("curl\u{7f}".into()),
        version: Version::HTTP_11,
        error_type: None,
        error: None,
        shown: &[],
    }
}

#[test]
fn the_closing_line_says_how_the_request_went() {
    let context = request_context();
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let subscriber = Registry::default().with(layer(&logger));
    dispatcher::with_default(&Dispatch::new(subscriber), || {
        logger.request(&request_line(&context, Outcome::Ok));
        logger.request(&RequestLine {
            route: None,
            status: None,
            time_to_first_byte: None,
            client_address: None,
            user_agent: None,
            error: Some("out of\nluck"),
            ..request_line(&context, Outcome::Panic)
        });
        // A user's own event of this target is a line like any other.
        info!(target: "bellwether::request", "mine");
    });
    let lines = captured.lines();
    let begin = format!(
        r#"{{"timestamp":"2026-11-22T15:46:14.123000000Z","level":"INFO","message":"request","target":"bellwether::request","service.name":"checkout","trace_id":"{TRACE_ID}","span_id":"{SPAN_ID}","trace_flags":"03","request_id":"a\"b","#
    );
    let end = "\"http.request.method\":\"GET\",\"http.route\":\"/pay/{id}\",\"url.path\":\"/pay/\\\"7\\\"\",\"http.response.status_code\":200,\"http.server.request.duration\":0.0125,\"time_to_first_byte\":0.002,\"http.response.body.size\":42,\"client.address\":\"127.0.0.1\",\"user_agent.original\":\"curl\u{7f}\",\"outcome\":\"ok\"}";
    assert_eq!(lines[0], format!("{begin}{end}"));
    assert!(lines[1].ends_with(r#""http.request.method":"GET","url.path":"/pay/\"7\"","http.server.request.duration":0.0125,"http.response.body.size":42,"outcome":"panic","exception.message":"out of\nluck"}"#), "{}", lines[1]);
    assert!(lines[2].contains(r#""message":"mine""#));
    assert_eq!(lines.len(), 3);
}

/// Settles a request of each outcome under `filter` and gives the outcomes shown.
fn shown(filter: &str) -> Vec<String> {
    use Outcome::{BodyError, ClientGone, Error, Ok, Panic, Rejected, Timeout, Upgraded};
    let context = request_context();
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let filter: EnvFilter = filter.parse().unwrap();
    let subscriber = Registry::default().with(filter).with(layer(&logger));
    dispatcher::with_default(&Dispatch::new(subscriber), || {
        for outcome in [
            Ok, Error, ClientGone, Timeout, Panic, BodyError, Upgraded, Rejected,
        ] {
            logger.request(&request_line(&context, outcome));
        }
    });
    let outcome = |line: &serde_json::Value| line["outcome"].as_str().unwrap().to_owned();
    captured.json().iter().map(outcome).collect()
}

#[test]
fn filters_hide_closing_lines() {
    let all = "ok error client_gone timeout panic body_error upgraded rejected";
    assert_eq!(shown("info").join(" "), all);
    assert_eq!(shown("off,bellwether::request=info").join(" "), all);
    assert_eq!(
        shown("warn").join(" "),
        "error timeout panic body_error rejected"
    );
    assert_eq!(
        shown("info,bellwether::request=error").join(" "),
        "error timeout panic body_error"
    );
    assert!(shown("info,bellwether::request=off").is_empty());
}

#[test]
fn closing_lines_obey_their_own_layers_filter_and_leave_the_others_alone() {
    let context = request_context();
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let (other, other_captured) = Logger::capture(Format::Json, "other");
    let quiet: EnvFilter = "info,bellwether::request=off".parse().unwrap();
    let subscriber = Registry::default()
        .with(layer(&logger).with_filter(quiet))
        .with(Counting(other).with_filter(LevelFilter::INFO));
    dispatcher::with_default(&Dispatch::new(subscriber), || {
        for _ in 0..3 {
            logger.request(&request_line(&context, Outcome::Ok));
            info!("between");
        }
    });
    let messages: Vec<_> = captured
        .json()
        .iter()
        .map(|line| line["message"].clone())
        .collect();
    assert_eq!(messages, ["between", "between", "between"]);
    assert_eq!(other_captured.lines().len(), 6);

    /// Writes a line for every event it sees.
    struct Counting(Logger);
    impl<S: tracing::Subscriber> Layer<S> for Counting {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            self.0.write(&head("seen"), |_| {});
        }
    }
}
