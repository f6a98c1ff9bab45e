//! The line that closes a request: what `http` knows when it settles one.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ::http::{StatusCode, Version};
use tracing::{Level, Metadata};

use super::format::{Format, Head, Ids, Message};
use super::key::WrittenKey;
use super::line::Line;
use super::value::Value;
use crate::context::RequestContext;
use crate::http::{Outcome, Shown};

/// Everything the closing line says; borrowed from the settled exchange.
#[derive(Debug)]
pub(crate) struct RequestLine<'a> {
    pub(crate) context: &'a RequestContext,
    /// When the request settled.
    pub(crate) at: SystemTime,
    pub(crate) outcome: Outcome,
    /// `http.request.method`, as received (a known method or `_OTHER`).
    pub(crate) method: &'a str,
    /// `http.route`; absent when no route matched.
    pub(crate) route: Option<&'a str>,
    /// `url.path`, without the query.
    pub(crate) path: &'a str,
    /// Set when the request was a gRPC call.
    pub(crate) rpc: Option<RpcLine<'a>>,
    /// `http.response.status_code`; absent when no response was made.
    pub(crate) status: Option<u16>,
    /// `http.server.request.duration`.
    pub(crate) duration: Duration,
    /// `time_to_first_byte`: until the response head was ready; absent when none was.
    pub(crate) time_to_first_byte: Option<Duration>,
    /// `http.response.body.size`, in bytes sent.
    pub(crate) response_body_size: u64,
    /// `client.address`.
    pub(crate) client_address: Option<IpAddr>,
    /// `user_agent.original`.
    pub(crate) user_agent: Option<&'a str>,
    /// `network.protocol.version`, as received.
    pub(crate) version: Version,
    /// The panic's or body error's text.
    pub(crate) error: Option<&'a str>,
    /// The headers and the query that operators allow to be shown.
    pub(crate) shown: &'a [Shown],
}

/// What the line says of a gRPC call besides its HTTP request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RpcLine<'a> {
    /// `rpc.system.name`.
    pub(crate) system: &'static str,
    /// `rpc.method`: `package.Service/Method`, or `_OTHER`.
    pub(crate) method: &'a str,
    /// `rpc.response.status_code`.
    pub(crate) status: &'static str,
}

/// The target of closing lines, for filters.
const TARGET: &str = "bellwether::request";

impl RequestLine<'_> {
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            at: self.at,
            level: level(self.outcome),
            target: TARGET,
            message: Message::Text(message(self.outcome)),
            ids: Some(Ids {
                context: self.context,
                span_id: self.context.span_id,
            }),
        }
    }

    /// `HTTP/1.1`, say.
    pub(super) fn protocol(&self) -> Option<&'static str> {
        match self.version {
            Version::HTTP_10 => Some("HTTP/1.0"),
            Version::HTTP_11 => Some("HTTP/1.1"),
            Version::HTTP_2 => Some("HTTP/2"),
            Version::HTTP_3 => Some("HTTP/3"),
            _ => None,
        }
    }

    /// `error.type`, as the span and the metrics have it.
    pub(super) fn error_type(&self) -> Option<&'static str> {
        let status = self.status.map(StatusCode::from_u16);
        self.outcome.error_type(status.and_then(Result::ok))
    }

    pub(super) fn fields(&self, keys: &Keys, line: &mut Line<'_>) {
        let format = line.format();
        line.append(|out| format.request(out, self));
        line.unique_field(&keys.method, &Value::Text(self.method));
        if let Some(route) = self.route {
            line.unique_field(&keys.route, &Value::Text(route));
        }
        line.unique_field(&keys.path, &Value::Text(self.path));
        if let Some(rpc) = self.rpc {
            line.unique_field(&keys.rpc_system, &Value::Text(rpc.system));
            line.unique_field(&keys.rpc_method, &Value::Text(rpc.method));
            line.unique_field(&keys.rpc_status, &Value::Text(rpc.status));
        }
        if let Some(status) = self.status {
            line.unique_field(&keys.status, &Value::U64(status.into()));
        }
        line.unique_field(&keys.duration, &Value::Seconds(self.duration));
        if let Some(time) = self.time_to_first_byte {
            line.unique_field(&keys.time_to_first_byte, &Value::Seconds(time));
        }
        let size = Value::U64(self.response_body_size);
        line.unique_field(&keys.response_body_size, &size);
        if let Some(address) = self.client_address {
            line.unique_field(&keys.client_address, &Value::Address(address));
        }
        if let Some(user_agent) = self.user_agent {
            line.unique_field(&keys.user_agent, &Value::Text(user_agent));
        }
        line.unique_field(&keys.outcome, &Value::Text(self.outcome.as_str()));
        if let Some(error) = self.error {
            line.unique_field(&keys.error, &Value::Text(error));
        }
        for shown in self.shown {
            line.field(shown.key, &Value::Text(&shown.text()));
        }
    }
}

/// The names of a closing line's fields, rendered once a logger (OpenTelemetry semantic conventions,
/// but for `time_to_first_byte` and `outcome`, which those do not have); `None` where the format says it
/// otherwise.
pub(super) struct Keys {
    method: Option<WrittenKey>,
    route: Option<WrittenKey>,
    path: Option<WrittenKey>,
    rpc_system: Option<WrittenKey>,
    rpc_method: Option<WrittenKey>,
    rpc_status: Option<WrittenKey>,
    status: Option<WrittenKey>,
    duration: Option<WrittenKey>,
    time_to_first_byte: Option<WrittenKey>,
    response_body_size: Option<WrittenKey>,
    client_address: Option<WrittenKey>,
    user_agent: Option<WrittenKey>,
    outcome: Option<WrittenKey>,
    error: Option<WrittenKey>,
}

impl Keys {
    pub(super) fn new(format: Format) -> Self {
        let with = |name, key: fn(Format, &'static str) -> WrittenKey| {
            (!format.says_otherwise(name)).then(|| key(format, name))
        };
        let searched = |name| with(name, WrittenKey::new);
        let own = |name| with(name, WrittenKey::harmless);
        Self {
            method: own("http.request.method"),
            route: searched("http.route"),
            path: searched("url.path"),
            rpc_system: own("rpc.system.name"),
            rpc_method: searched("rpc.method"),
            rpc_status: own("rpc.response.status_code"),
            status: own("http.response.status_code"),
            duration: own("http.server.request.duration"),
            time_to_first_byte: own("time_to_first_byte"),
            response_body_size: own("http.response.body.size"),
            client_address: own("client.address"),
            user_agent: searched("user_agent.original"),
            outcome: own("outcome"),
            error: searched("exception.message"),
        }
    }
}

fn level(outcome: Outcome) -> Level {
    match outcome {
        Outcome::Ok | Outcome::ClientGone | Outcome::Upgraded => Level::INFO,
        Outcome::Rejected => Level::WARN,
        Outcome::Error | Outcome::Timeout | Outcome::Panic | Outcome::BodyError => Level::ERROR,
    }
}

fn message(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "request",
        Outcome::Error => "request failed",
        Outcome::ClientGone => "client hung up",
        Outcome::Timeout => "request timed out",
        Outcome::Panic => "handler panicked",
        Outcome::BodyError => "response body failed",
        Outcome::Upgraded => "connection upgraded",
        Outcome::Rejected => "request rejected",
    }
}

/// A question on its way through the subscriber: may this closing line be shown?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Question {
    #[default]
    None,
    Asked,
    Shown,
}

thread_local! {
    static QUESTION: Cell<Question> = const { Cell::new(Question::None) };
}

/// Whether the filter in force shows the line.
///
/// Asks by an event that the layer answers instead of logging it. `tracing::enabled!` would not do:
/// with more than one filtered layer it says yes when any of them does, and leaves the answers behind,
/// so that the next span or event is hidden from a layer that should see it.
pub(super) fn is_shown(line: &RequestLine<'_>) -> bool {
    let outcome = line.outcome.as_str();
    let text = message(line.outcome);
    QUESTION.set(Question::Asked);
    match level(line.outcome) {
        Level::ERROR => tracing::event!(target: TARGET, Level::ERROR, outcome, "{text}"),
        Level::WARN => tracing::event!(target: TARGET, Level::WARN, outcome, "{text}"),
        _ => tracing::event!(target: TARGET, Level::INFO, outcome, "{text}"),
    }
    QUESTION.take() == Question::Shown
}

/// Whether the filter in force shows the lines of requests that went well.
pub(super) fn is_info_shown() -> bool {
    QUESTION.set(Question::Asked);
    // Other layers may print it: they are told what it is.
    tracing::event!(target: TARGET, Level::INFO, "the lines of requests have this target");
    QUESTION.take() == Question::Shown
}

/// Called by the layer for each event let through: true when it was only a question, now answered.
pub(super) fn answer(event: &Metadata<'_>) -> bool {
    if event.target() != TARGET || QUESTION.get() == Question::None {
        return false;
    }
    QUESTION.set(Question::Shown);
    true
}
