//! Who calls, and what may be believed of it: peer and client address, request id, trace context.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use ::http::header::{AsHeaderName, CONTENT_LENGTH, FORWARDED, HOST, USER_AGENT};
use ::http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use super::host::parse_ip;
use super::names::{BAGGAGE, X_FORWARDED_FOR};
use super::{PeerAddr, Telemetry};
use crate::context::{
    Incoming, RequestContext, RequestId, SharedContext, SpanId, TraceId, TraceParent, Trust,
    baggage,
};

/// The other side of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) trusted: bool,
    /// `client.address`: what trusted proxies say of the client, else the peer.
    pub(super) address: Option<IpAddr>,
}

/// The headers of a request that the kit reads. One pass over the few that a request has costs less than looking
/// for each of these, nearly all of which are nearly always absent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Present<'a> {
    pub(super) user_agent: Option<&'a HeaderValue>,
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) content_length: Option<&'a HeaderValue>,
    pub(super) told: Told,
}

/// Which of those there are that only a trusted caller is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    request_id: bool,
    traceparent: bool,
    baggage: bool,
    forwarded: bool,
    pub(super) forwarded_proto: bool,
}

impl<'a> Present<'a> {
    pub(super) fn of(headers: &'a HeaderMap, request_id_header: &HeaderName) -> Self {
        let mut present = Self::default();
        let told = &mut present.told;
        for (name, value) in headers {
            // Of a name that is there twice, the first value. Those that `http` knows are compared as numbers.
            if *name == USER_AGENT {
                present.user_agent.get_or_insert(value);
            } else if *name == HOST {
                present.host.get_or_insert(value);
            } else if *name == CONTENT_LENGTH {
                present.content_length.get_or_insert(value);
            } else if *name == FORWARDED {
                told.forwarded = true;
            } else {
                match name.as_str() {
                    "traceparent" => told.traceparent = true,
                    "baggage" => told.baggage = true,
                    "x-forwarded-for" => told.forwarded = true,
                    "x-forwarded-proto" => told.forwarded_proto = true,
                    _ => {}
                }
            }
            // Any of the above, if a service so chooses.
            told.request_id |= name == request_id_header;
        }
        present
    }
}

impl Caller {
    pub(super) fn of(
        trust: &Trust,
        extensions: &Extensions,
        headers: &HeaderMap,
        present: &mut Present<'_>,
    ) -> Self {
        let peer = peer_address(extensions).map(|peer| peer.ip().to_canonical());
        let trusted = trust.trusts(peer);
        if !trusted {
            present.told = Told::default();
        }
        let forwarded = present.told.forwarded;
        let forwarded = forwarded.then(|| forwarded_for(trust, headers)).flatten();
        Self {
            trusted,
            address: forwarded.or(peer),
        }
    }
}

/// Who a request is, and whose child.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) context: SharedContext,
    /// The span of a trusted caller.
    pub(super) parent: Option<SpanId>,
    /// The span of any other caller, if this request's is exported.
    pub(super) link: Option<Box<TraceParent>>,
}

/// The identity of a request that begins `at`. Nothing is taken from a caller that is not trusted: its request
/// starts a trace of its own, sampled as we see fit, with a link to the caller's.
pub(super) fn identify(
    telemetry: &Telemetry,
    caller: Caller,
    present: &Present<'_>,
    headers: &HeaderMap,
    at: SystemTime,
) -> Identity {
    let propagation = &telemetry.propagation;
    if caller.trusted
        && propagation.may_be_in(present.told.traceparent)
        && let Some(incoming) = propagation.extract(headers)
    {
        return continued(telemetry, present, headers, at, incoming);
    }
    let trace_id = TraceId::random();
    let (sampled, trace_state) = match telemetry.spans() {
        Some(_) => telemetry.sampler.sample(None, trace_id, None),
        None => (false, None),
    };
    // Its own weak reference is of no use; but so it is written where it stays, and not copied there.
    let context = Arc::new_cyclic(|_| RequestContext {
        request_id: request_id(telemetry, present, headers, at),
        trace_id,
        span_id: SpanId::random(),
        flags: TraceParent::RANDOM | u8::from(sampled),
        trace_state,
        baggage: baggage_of(telemetry, present, headers),
        recording: Default::default(),
    });
    Identity {
        context,
        parent: None,
        link: (sampled && !caller.trusted)
            .then(|| propagation.ids(headers)?.span().map(Box::new))
            .flatten(),
    }
}

/// The identity of a request whose caller tells of a trace. Apart, since moving what is mostly absent costs all
/// the others too.
#[inline(never)]
fn continued(
    telemetry: &Telemetry,
    present: &Present<'_>,
    headers: &HeaderMap,
    at: SystemTime,
    incoming: Incoming,
) -> Identity {
    let trace_id = incoming.trace_id.unwrap_or_else(TraceId::random);
    let (span_id, sampled, trace_state) = if telemetry.spans().is_some() {
        let (sampled, state) =
            telemetry
                .sampler
                .sample(incoming.sampled, trace_id, incoming.trace_state);
        (SpanId::random(), sampled, state)
    } else {
        // Tracing is off: our callees' parent is our caller, so that its trace stays whole.
        let span_id = incoming.parent.unwrap_or_else(SpanId::random);
        let sampled = incoming.sampled == Some(true);
        (span_id, sampled, incoming.trace_state)
    };
    let flag = |set, flag| if set { flag } else { 0 };
    let context = RequestContext {
        request_id: request_id(telemetry, present, headers, at),
        trace_id,
        span_id,
        flags: flag(sampled, TraceParent::SAMPLED)
            | flag(incoming.random, TraceParent::RANDOM)
            | flag(incoming.debug, RequestContext::DEBUG),
        trace_state,
        baggage: baggage_of(telemetry, present, headers),
        recording: Default::default(),
    };
    Identity {
        context: Arc::new(context),
        parent: incoming.parent,
        link: None,
    }
}

fn baggage_of(
    telemetry: &Telemetry,
    present: &Present<'_>,
    headers: &HeaderMap,
) -> Option<HeaderValue> {
    (present.told.baggage && telemetry.propagation.baggage)
        .then(|| baggage::parse(headers.get_all(BAGGAGE).iter()))
        .flatten()
}

/// Inlined: an id is large, and is made where it stays.
#[inline(always)]
fn request_id(
    telemetry: &Telemetry,
    present: &Present<'_>,
    headers: &HeaderMap,
    at: SystemTime,
) -> RequestId {
    let received = present
        .told
        .request_id
        .then(|| headers.get(&telemetry.request_id_header))
        .flatten();
    received
        .and_then(RequestId::accept)
        .unwrap_or_else(|| RequestId::generate_at(at))
}

fn peer_address(extensions: &Extensions) -> Option<SocketAddr> {
    let ours = extensions.get::<PeerAddr>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let ours = ours.or_else(|| {
        extensions
            .get::<axum::extract::ConnectInfo<SocketAddr>>()
            .map(|peer| peer.0)
    });
    #[cfg(feature = "tonic")]
    let ours = ours.or_else(|| {
        extensions
            .get::<tonic::transport::server::TcpConnectInfo>()
            .and_then(tonic::transport::server::TcpConnectInfo::remote_addr)
    });
    ours
}

/// The nearest address that is not one of our own proxies, read from the near end: what lies beyond it
/// was written by the client and proves nothing. All trusted: the farthest.
///
/// `X-Forwarded-For` wins over `Forwarded` (RFC 7239): a proxy that writes one of them usually passes
/// the client's own version of the other on unread, and most write the former.
pub(crate) fn forwarded_for(trust: &Trust, headers: &HeaderMap) -> Option<IpAddr> {
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
            &mut Present::of(&headers, &BAGGAGE),
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
