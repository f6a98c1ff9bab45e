//! Who calls, and what may be believed of it: peer and client address, request id, trace context.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use ::http::header::{AsHeaderName, CONTENT_LENGTH, FORWARDED};
use ::http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use super::host::parse_ip;
use super::names::{BAGGAGE, TRACEPARENT, TRACESTATE, X_FORWARDED_FOR};
use super::{PeerAddr, Telemetry};
use crate::context::{
    RequestContext, RequestId, SharedContext, SpanId, TraceId, TraceParent, TraceState, Trust,
};

/// The other side of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) trusted: bool,
    /// `client.address`: what trusted proxies say of the client, else the peer.
    pub(super) address: Option<IpAddr>,
    pub(super) present: Present,
}

/// Which of the headers that the kit reads a request has. One pass over the few names that a request has
/// costs less than looking for each of these, nearly all of which are nearly always absent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Present {
    request_id: bool,
    traceparent: bool,
    baggage: bool,
    forwarded: bool,
    pub(super) forwarded_proto: bool,
    /// The one that needs no trust.
    pub(super) content_length: bool,
}

impl Present {
    fn of(headers: &HeaderMap, request_id_header: &HeaderName) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "traceparent" => present.traceparent = true,
                "baggage" => present.baggage = true,
                "x-forwarded-for" | "forwarded" => present.forwarded = true,
                "x-forwarded-proto" => present.forwarded_proto = true,
                "content-length" => present.content_length = true,
                _ => {}
            }
            // Any of the above, if a service so chooses.
            present.request_id |= name == request_id_header;
        }
        present
    }
}

impl Caller {
    pub(super) fn of(
        trust: &Trust,
        extensions: &Extensions,
        headers: &HeaderMap,
        request_id_header: &HeaderName,
    ) -> Self {
        let peer = peer_address(extensions).map(|peer| peer.ip().to_canonical());
        let trusted = trust.trusts(peer);
        // Whoever is not trusted has said nothing, but for how much it sends.
        let present = if trusted {
            Present::of(headers, request_id_header)
        } else {
            Present {
                content_length: headers.contains_key(CONTENT_LENGTH),
                ..Present::default()
            }
        };
        let forwarded = present
            .forwarded
            .then(|| forwarded_for(trust, headers))
            .flatten();
        Self {
            trusted,
            address: forwarded.or(peer),
            present,
        }
    }
}

/// The identity of a request that begins `at`, and the caller's span. Nothing is taken from a caller that
/// is not trusted: its request starts a trace of its own.
pub(super) fn identify(
    telemetry: &Telemetry,
    caller: Caller,
    headers: &HeaderMap,
    at: SystemTime,
) -> (SharedContext, Option<SpanId>) {
    let trace_context = caller.present.traceparent && telemetry.propagation.trace_context;
    let parent = trace_context.then(|| traceparent(headers)).flatten();
    let trace_id = parent.map_or_else(TraceId::random, |parent| parent.trace_id);
    let inherited = parent.map_or(TraceParent::RANDOM, |parent| parent.flags);
    let (span_id, sampled) = match (telemetry.spans(), parent) {
        (Some(_), _) => (
            SpanId::random(),
            telemetry.sampler.sample(parent.as_ref(), trace_id),
        ),
        // Tracing is off: our callees' parent is our caller, so that its trace stays whole.
        (None, Some(parent)) => (parent.span_id, inherited & TraceParent::SAMPLED != 0),
        (None, None) => (SpanId::random(), false),
    };
    let context = RequestContext {
        request_id: request_id(telemetry, caller, headers, at),
        trace_id,
        span_id,
        flags: inherited & TraceParent::RANDOM | u8::from(sampled),
        trace_state: parent.and_then(|_| TraceState::parse(headers.get_all(TRACESTATE).iter())),
        baggage: (caller.present.baggage && telemetry.propagation.baggage)
            .then(|| baggage(headers))
            .flatten(),
    };
    (Arc::new(context), parent.map(|parent| parent.span_id))
}

/// The longest `baggage` passed on, in bytes (W3C Baggage §3.3.2).
const MAX_BAGGAGE: usize = 8_192;

fn request_id(
    telemetry: &Telemetry,
    caller: Caller,
    headers: &HeaderMap,
    at: SystemTime,
) -> RequestId {
    let received = caller
        .present
        .request_id
        .then(|| headers.get(&telemetry.request_id_header))
        .flatten();
    received
        .and_then(RequestId::accept)
        .unwrap_or_else(|| RequestId::generate_at(at))
}

/// Several `traceparent` headers are as good as none (W3C Trace Context §4.2).
fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => TraceParent::parse(value.as_bytes()),
        _ => None,
    }
}

/// Several `baggage` headers are one list. Copied: the context outlives the connection's read buffer.
fn baggage(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(BAGGAGE).iter();
    let mut list = values.next()?.as_bytes().to_vec();
    for value in values {
        list.push(b',');
        list.extend_from_slice(value.as_bytes());
    }
    let acceptable = !list.is_empty() && list.len() <= MAX_BAGGAGE;
    acceptable
        .then(|| HeaderValue::from_bytes(&list).ok())
        .flatten()
}

fn peer_address(extensions: &Extensions) -> Option<SocketAddr> {
    let ours = extensions.get::<PeerAddr>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let ours = ours.or_else(|| {
        extensions
            .get::<axum::extract::ConnectInfo<SocketAddr>>()
            .map(|peer| peer.0)
    });
    ours
}

/// The nearest address that is not one of our own proxies, read from the near end: what lies beyond it
/// was written by the client and proves nothing. All trusted: the farthest.
///
/// `X-Forwarded-For` wins over `Forwarded` (RFC 7239): a proxy that writes one of them usually passes
/// the client's own version of the other on unread, and most write the former.
fn forwarded_for(trust: &Trust, headers: &HeaderMap) -> Option<IpAddr> {
    if headers.contains_key(X_FORWARDED_FOR) {
        nearest_untrusted(trust, elements(headers, X_FORWARDED_FOR).map(parse_ip))
    } else {
        nearest_untrusted(
            trust,
            elements(headers, FORWARDED).map(|element| parse_ip(forwarded_node(element)?)),
        )
    }
}

/// The list elements of all headers of this name, the last one first.
fn elements(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .rev()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.rsplit(','))
        .map(str::trim)
}

/// Stops at an entry that is no address: whoever wrote it, what lies beyond cannot be placed.
fn nearest_untrusted(
    trust: &Trust,
    addresses: impl Iterator<Item = Option<IpAddr>>,
) -> Option<IpAddr> {
    let mut farthest = None;
    for address in addresses {
        let Some(address) = address.map(|address| address.to_canonical()) else {
            break;
        };
        farthest = Some(address);
        if !trust.trusts(farthest) {
            break;
        }
    }
    farthest
}

/// The `for` parameter of a `Forwarded` element.
fn forwarded_node(element: &str) -> Option<&str> {
    element.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        trust: &str,
        peer: Option<&str>,
        forwarded: &[(&'static str, &str)],
        expected: Option<&str>,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in forwarded {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let mut extensions = Extensions::new();
        if let Some(peer) = peer {
            extensions.insert(PeerAddr(SocketAddr::new(peer.parse().unwrap(), 1)));
        }
        let caller = Caller::of(
            &Trust::parse(trust).unwrap(),
            &extensions,
            &headers,
            &BAGGAGE,
        );
        let expected = expected.map(|address| address.parse().unwrap());
        assert_eq!(caller.address, expected, "{trust} {peer:?} {forwarded:?}");
    }

    #[test]
    fn client_addresses() {
        let xff = "x-forwarded-for";
        let near = Some("10.0.0.1");
        check("private", None, &[(xff, "1.2.3.4")], None);
        check("private", near, &[], near);
        check("private", Some("::ffff:10.0.0.1"), &[], near);
        check(
            "private",
            Some("8.8.8.8"),
            &[(xff, "1.2.3.4")],
            Some("8.8.8.8"),
        );
        check("private", near, &[(xff, "1.2.3.4")], Some("1.2.3.4"));
        check(
            "private",
            near,
            &[(xff, "6.6.6.6, 1.2.3.4, 10.0.0.9")],
            Some("1.2.3.4"),
        );
        check(
            "private",
            near,
            &[(xff, "6.6.6.6, 1.2.3.4"), (xff, "10.0.0.9")],
            Some("1.2.3.4"),
        );
        check(
            "private",
            near,
            &[(xff, "10.0.0.7, 10.0.0.8")],
            Some("10.0.0.7"),
        );
        check("private", near, &[(xff, "1.2.3.4, unknown")], near);
        check(
            "private",
            near,
            &[(xff, "1.2.3.4, unknown, 10.0.0.8")],
            Some("10.0.0.8"),
        );
        check("private", near, &[(xff, "1.2.3.4:567")], Some("1.2.3.4"));
        check(
            "private",
            near,
            &[(xff, "[2001:db8::1]:567")],
            Some("2001:db8::1"),
        );
        check("private", near, &[(xff, "")], near);
        check("all", near, &[(xff, "6.6.6.6, 1.2.3.4")], Some("6.6.6.6"));
        check("all", None, &[(xff, "1.2.3.4")], Some("1.2.3.4"));
        check("none", near, &[(xff, "1.2.3.4")], near);
        let forwarded = "forwarded";
        check(
            "private",
            near,
            &[(forwarded, "for=1.2.3.4;proto=https")],
            Some("1.2.3.4"),
        );
        check(
            "private",
            near,
            &[(
                forwarded,
                "for=6.6.6.6, proto=http; For=\"[2001:db8::1]:4711\"",
            )],
            Some("2001:db8::1"),
        );
        check("private", near, &[(forwarded, "for=_hidden")], near);
        check("private", near, &[(forwarded, "proto=https")], near);
        check(
            "private",
            near,
            &[(forwarded, "for=1.1.1.1"), (xff, "2.2.2.2")],
            Some("2.2.2.2"),
        );
    }
}
