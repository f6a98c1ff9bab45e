//! The one record of a request, from the layer's first look at it to its single `settlement`, in which the log
//! line, the span and the metrics are all made of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ::http::header::{CONNECTION, CONTENT_LENGTH};
use ::http::{HeaderMap, HeaderValue, Request, StatusCode, Version};

use super::allowed::Shown;
use super::caller::{Caller, Identity, Present, identify};
use super::concurrency::Permit;
use super::grpc::{Rpc, Told};
use super::method::KnownMethod;
use super::names::{SERVER_TIMING, X_FORWARDED_PROTO};
use super::request_texts::RequestTexts;
use super::routes::Route;
use super::{Outcome, Telemetry, response_headers};
use crate::context::{SharedContext, SpanId, TraceParent};
use crate::metrics::ActiveRequest;

/// A request that has not settled: where it is told of, and what is known of it. Settled by value.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) known: Box<Known>,
}

/// What is known of a request. Boxed once: the box of a sampled request is what its span is made of, by the
/// thread that exports it. So the telemetry is beside it: spans that wait must not keep their own queue alive.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) context: SharedContext,
    /// The caller's span.
    pub(super) parent: Option<SpanId>,
    /// The span of a caller that is not trusted.
    pub(super) link: Option<Box<TraceParent>>,
    pub(super) started_at: SystemTime,
    pub(super) method: KnownMethod,
    pub(super) scheme: &'static str,
    pub(super) version: Version,
    pub(super) route: Option<Arc<Route>>,
    pub(super) texts: RequestTexts,
    /// Set when the request is a gRPC call; boxed, as most are none.
    pub(super) rpc: Option<Box<Rpc>>,
    pub(super) status: Option<StatusCode>,
    /// The text of a panic or a body error.
    pub(super) error: Option<String>,
    /// The headers and the query that operators allow to be shown.
    pub(super) shown: Vec<Shown>,
    pub(super) start: Instant,
    pub(super) caller: Caller,
    pub(super) time_to_first_byte: Option<Duration>,
    /// What the caller says that its request has, in `Content-Length`.
    pub(super) received_bytes: Option<u64>,
    pub(super) sent_bytes: u64,
    /// What the response's length is known to be.
    expected_bytes: Option<u64>,
    pub(super) permit: Option<Permit>,
    pub(super) active: Option<ActiveRequest>,
    /// Set when it settles.
    pub(super) ended: Option<Ended>,
}

/// How a request ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// `error.type`.
    pub(super) error_type: Option<&'static str>,
    /// Set when it was a gRPC call.
    pub(super) told: Option<Told>,
}

impl Exchange {
    pub(super) fn begin<B>(telemetry: &Arc<Telemetry>, request: &Request<B>) -> Self {
        let (start, started_at) = (Instant::now(), SystemTime::now());
        let headers = request.headers();
        let mut present = Present::of(headers, &telemetry.request_id_header);
        let caller = Caller::of(
            &telemetry.trust,
            request.extensions(),
            headers,
            &mut present,
        );
        let Identity {
            context,
            parent,
            link,
        } = identify(telemetry, caller, &present, headers, started_at);
        let method = KnownMethod::of(request.method());
        let scheme = scheme(&present, request);
        let exported = context.sampled() && telemetry.spans().is_some();
        let mut shown = Vec::new();
        if let Some(allowed) = &telemetry.allowed {
            allowed.of_request(request.uri(), headers, &mut shown);
        }
        let rpc = Rpc::of_server(&telemetry.methods, method, request);
        let received_bytes = present.content_length.and_then(length);
        let active = telemetry.server.started(method.as_str(), scheme, start);
        // Written into its box: what is made elsewhere is copied there, which its size makes felt.
        let place = Box::new_uninit();
        let known = Known {
            context,
            parent,
            link,
            started_at,
            method,
            scheme,
            version: request.version(),
            route: None,
            texts: RequestTexts::default(),
            rpc,
            status: None,
            error: None,
            shown,
            start,
            caller,
            time_to_first_byte: None,
            received_bytes,
            sent_bytes: 0,
            expected_bytes: None,
            permit: None,
            active: Some(active),
            ended: None,
        };
        let mut known = Box::write(place, known);
        // Where they stay: by far the largest part of what is known, and not to be moved about.
        known.texts.copy(request, &present, exported);
        Self {
            known,
            telemetry: Arc::clone(telemetry),
        }
    }

    /// False when the concurrency limit is reached, which no question after the server's health heeds: a
    /// server that has enough to do is not to be restarted.
    pub(super) fn admit(&mut self) -> bool {
        match &self.telemetry.concurrency_limit {
            Some(limit) => {
                self.known.permit = limit.try_acquire();
                self.known.permit.is_some()
                    || self.known.rpc.as_ref().is_some_and(|rpc| rpc.is_health)
            }
            None => true,
        }
    }

    /// The response head is ready: notes it and adds the kit's headers.
    pub(super) fn head(&mut self, status: StatusCode, headers: &mut HeaderMap) {
        let elapsed = self.known.start.elapsed();
        self.known.status = Some(status);
        self.known.time_to_first_byte = Some(elapsed);
        if let Some(allowed) = &self.telemetry.allowed {
            allowed.of_response(headers, &mut self.known.shown);
        }
        let request_id = &self.known.context.request_id;
        let request_id = if !self.known.caller.trusted {
            request_id.header_value()
        } else if let Some((id, timing)) = response_headers::with_timing(request_id, elapsed) {
            headers.append(SERVER_TIMING, timing);
            id
        } else {
            request_id.header_value()
        };
        headers.insert(&self.telemetry.request_id_header, request_id);
        // An upgrade keeps its own `connection` header.
        let closing = self.telemetry.lifecycle.is_draining()
            && self.known.version <= Version::HTTP_11
            && status != StatusCode::SWITCHING_PROTOCOLS;
        if closing {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// The outcome of a request that nobody answers any more: its caller left, unless it is being cut or the
    /// deadline of a gRPC call has passed.
    pub(super) fn abandoned(&self) -> Outcome {
        let overdue = |rpc: &Rpc| rpc.is_overdue(self.known.start.elapsed());
        if self.telemetry.lifecycle.is_cutting() || self.known.rpc.as_deref().is_some_and(overdue) {
            Outcome::Timeout
        } else {
            Outcome::ClientGone
        }
    }

    pub(super) fn timeout_left(&self) -> Option<Duration> {
        let timeout = self.telemetry.request_timeout?;
        Some(timeout.saturating_sub(self.known.start.elapsed()))
    }
}

impl Known {
    /// The outcome of a request whose response has no body to wait for: upgrades, and what a server does
    /// not send or poll a body for.
    pub(super) fn outcome_at_head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &impl http_body::Body,
    ) -> Option<Outcome> {
        let tunnel = self.method == KnownMethod::Connect && status.is_success();
        if status == StatusCode::SWITCHING_PROTOCOLS || tunnel {
            return Some(Outcome::Upgraded);
        }
        if self.rpc.is_some() {
            self.read_status(headers);
        } else {
            self.expected_bytes = body.size_hint().exact().or_else(|| content_length(headers));
        }
        let bodiless = self.method == KnownMethod::Head
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
            || body.is_end_stream()
            || self.expected_bytes == Some(0);
        bodiless.then(|| self.complete())
    }

    /// What headers or trailers say of how a gRPC call went.
    pub(super) fn read_status(&mut self, headers: &HeaderMap) {
        if let Some(rpc) = &mut self.rpc {
            let message = rpc.read(headers);
            self.error = message.or(self.error.take());
        }
    }

    pub(super) fn sent(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
    }

    /// Whether all of a body of known length is out: an HTTP/1 server then polls it no more.
    pub(super) fn all_sent(&self) -> bool {
        self.expected_bytes
            .is_some_and(|expected| self.sent_bytes >= expected)
    }

    /// The outcome of a request answered to its last byte.
    pub(super) fn complete(&self) -> Outcome {
        if let Some(rpc) = &self.rpc {
            rpc.complete(self.status)
        } else if self.status.is_some_and(|status| status.is_server_error()) {
            Outcome::Error
        } else {
            Outcome::Ok
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(length)
}

fn length(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

/// `url.scheme`: what a trusted proxy says, else the URI's own (HTTP/2), else plain.
fn scheme<B>(present: &Present<'_>, request: &Request<B>) -> &'static str {
    let forwarded = present
        .told
        .forwarded_proto
        .then(|| request.headers().get(X_FORWARDED_PROTO))
        .flatten()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(',').next())
        .map(str::trim);
    let scheme = forwarded.or_else(|| request.uri().scheme_str());
    match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    }
}
