//! The line that closes a request: what `http` knows when it settles one.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use ::http::Version;
use tracing::{Level, Metadata};

use super::format::{Head, Ids, Message};
use super::json;
use super::line::Line;
use super::request_json::RouteField;
use super::value::Value;
use crate::context::RequestContext;
use crate::http::{Outcome, Shown};

/// Everything the closing line says; borrowed from the settled exchange.
#[derive(Debug)]
pub(crate) struct RequestLine<'a> {
    pub(crate) context: &'a RequestContext,
    /// When the request settled, since 1970.
    pub(crate) at: Duration,
    pub(crate) outcome: Outcome,
    /// `http.request.method`, as received (a known method or `_OTHER`).
    pub(crate) method: &'static str,
    /// `http.route`; absent when no route matched.
    pub(crate) route: Option<RouteText<'a>>,
    /// `url.path`, without the query.
    pub(crate) path: Received<'a>,
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
    /// `user_agent.original`; left out when it is no UTF-8.
    pub(crate) user_agent: Option<Received<'a>>,
    /// `network.protocol.version`, as received.
    pub(crate) version: Version,
    /// `error.type`, as the span and the metrics have it.
    pub(crate) error_type: Option<&'static str>,
    /// The panic's or body error's text.
    pub(crate) error: Option<&'a str>,
    /// The headers and the query that operators allow to be shown.
    pub(crate) shown: &'a [Shown],
}

/// A matched route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteText<'a> {
    pub(crate) path: &'a str,
    /// Kept with the route by whoever keeps routes.
    pub(crate) field: Option<&'a RouteField>,
}

impl<'a> From<&'a str> for RouteText<'a> {
    fn from(path: &'a str) -> Self {
        Self { path, field: None }
    }
}

/// A text as the caller sent it: bytes that are looked at as UTF-8 only where that matters, since the look costs more
/// than a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    bytes: &'a [u8],
    /// Known to be; else nobody has looked, or somebody found something.
    bare: bool,
}

impl<'a> Received<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, bare: false }
    }

    /// Two texts, one behind the other, the second from `at` on. Looked at with one look: nearly always there is
    /// nothing in either.
    pub(crate) fn two(both: &'a [u8], at: usize) -> (Self, Self) {
        let bare = json::is_bare(both);
        let received = |bytes| Self { bytes, bare };
        let (first, second) = both.split_at_checked(at).unwrap_or((both, &[]));
        (received(first), received(second))
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether formats in JSON write it as it is.
    pub(super) fn is_bare(self) -> bool {
        self.bare || json::is_bare(self.bytes)
    }

    /// `None` when it is no UTF-8.
    pub(super) fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes).ok()
    }
}

impl<'a> From<&'a str> for Received<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text.as_bytes())
    }
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
pub(super) const TARGET: &str = "bellwether::request";

impl RequestLine<'_> {
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            at: self.at,
            level: self.level(),
            target: TARGET,
            message: Message::Text(self.message()),
            ids: Some(self.ids()),
        }
    }

    pub(super) fn level(&self) -> Level {
        level(self.outcome)
    }

    pub(super) fn message(&self) -> &'static str {
        message(self.outcome)
    }

    pub(super) fn ids(&self) -> Ids<'_> {
        Ids::new(self.context, self.context.span_id)
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

    /// The fields, in the order that a line has them; `shown` comes behind.
    #[inline]
    pub(super) fn fields(&self, out: &mut impl Fields) {
        out.word(Name::Method, self.method);
        if let Some(route) = self.route {
            out.route(route);
        }
        out.received(Name::Path, self.path);
        if let Some(rpc) = self.rpc {
            out.word(Name::RpcSystem, rpc.system);
            out.text(Name::RpcMethod, rpc.method);
            out.word(Name::RpcStatus, rpc.status);
        }
        if let Some(status) = self.status {
            out.number(Name::Status, status.into());
        }
        out.seconds(Name::Duration, self.duration);
        if let Some(time) = self.time_to_first_byte {
            out.seconds(Name::TimeToFirstByte, time);
        }
        out.number(Name::ResponseBodySize, self.response_body_size);
        if let Some(address) = self.client_address {
            out.address(Name::ClientAddress, address);
        }
        if let Some(user_agent) = self.user_agent {
            out.received(Name::UserAgent, user_agent);
        }
        out.word(Name::Outcome, self.outcome.as_str());
        if let Some(error) = self.error {
            out.text(Name::Error, error);
        }
    }

    /// What operators allow to be shown, behind all other fields.
    pub(super) fn shown(&self, line: &mut Line<'_>) {
        for shown in self.shown {
            line.field(shown.key, &Value::Text(&shown.text()));
        }
    }
}

/// Takes the fields of a closing line, by what is known of their values.
pub(super) trait Fields {
    /// A word of the kit's own: no escape, no secret.
    fn word(&mut self, name: Name, word: &'static str);
    /// Anybody's text.
    fn text(&mut self, name: Name, text: &str);
    fn route(&mut self, route: RouteText<'_>);
    /// Anybody's text, left out when it is none.
    fn received(&mut self, name: Name, received: Received<'_>);
    fn number(&mut self, name: Name, number: u64);
    fn seconds(&mut self, name: Name, duration: Duration);
    fn address(&mut self, name: Name, address: IpAddr);
}

macro_rules! names {
    ($($variant:ident = $name:literal,)*) => {
        /// The names of a closing line's fields: those of OpenTelemetry's semantic conventions, but for
        /// `time_to_first_byte` and `outcome`, which those do not have.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Name {
            $($variant,)*
        }

        impl Name {
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(super) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What the format `json` has in front of a text.
            pub(super) const fn json_key_and_quote(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!(",\"", $name, "\":\""),)*
                }
            }

            /// What it has in front of any other value.
            pub(super) const fn json_key(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!(",\"", $name, "\":"),)*
                }
            }
        }
    };
}

names! {
    Method = "http.request.method",
    Route = "http.route",
    Path = "url.path",
    RpcSystem = "rpc.system.name",
    RpcMethod = "rpc.method",
    RpcStatus = "rpc.response.status_code",
    Status = "http.response.status_code",
    Duration = "http.server.request.duration",
    TimeToFirstByte = "time_to_first_byte",
    ResponseBodySize = "http.response.body.size",
    ClientAddress = "client.address",
    UserAgent = "user_agent.original",
    Outcome = "outcome",
    Error = "exception.message",
}

impl Name {
    /// Whether all values are the kit's own words and numbers.
    pub(super) fn is_own(self) -> bool {
        !matches!(
            self,
            Self::Route | Self::Path | Self::RpcMethod | Self::UserAgent | Self::Error
        )
    }
}

pub(super) fn level(outcome: Outcome) -> Level {
    match outcome {
        Outcome::Ok | Outcome::ClientGone | Outcome::Upgraded => Level::INFO,
        Outcome::Rejected => Level::WARN,
        Outcome::Error | Outcome::Timeout | Outcome::Panic | Outcome::BodyError => Level::ERROR,
    }
}

pub(super) fn message(outcome: Outcome) -> &'static str {
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
