//! Server spans that are not worth sending: health checks, and routes that were asked to be dropped. Asked by `rules`.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::config::Sampling;
use crate::wire::{KeyValueRef, SpanKind, SpanRef, WireError, walk};

/// What Kubernetes' documentation, its own components and the kit call them.
const HEALTH_PATHS: [&str; 7] = [
    "/healthz",
    "/livez",
    "/readyz",
    "/startupz",
    "/health/live",
    "/health/ready",
    "/health/started",
];

/// gRPC's health-checking protocol.
const HEALTH_SERVICE: &str = "grpc.health.v1.Health";

/// How far below an unwanted span others of its batch are found. Those further below stay.
const MAX_DEPTH: usize = 32;

/// The rule of one exporter.
#[derive(Debug)]
pub(super) struct Unwanted {
    health_checks: bool,
    names: Vec<String>,
}

/// Spans of one batch by trace and span id.
pub(super) type Spans = HashSet<([u8; 16], [u8; 8]), RandomState>;

impl Unwanted {
    /// `None` when everything is wanted.
    pub(super) fn of(sampling: &Sampling) -> Option<Self> {
        sampling.drops().then(|| Self {
            health_checks: sampling.drop_health_checks,
            names: sampling.drop.clone(),
        })
    }

    /// Whether `span` itself is unwanted: a server span by its route, its path or its name.
    pub(super) fn has(&self, span: &SpanRef<'_>) -> bool {
        span.kind == SpanKind::Server
            && (self.is_named(span.name)
                || span
                    .attributes()
                    .select(|key| KEYS.contains(&key))
                    .any(|attribute| self.is_about(&attribute)))
    }

    /// The unwanted spans of a batch, with those below them that came in it.
    ///
    /// # Errors
    /// The batch is malformed.
    pub(super) fn among(&self, batch: &[u8]) -> Result<Spans, WireError> {
        let mut unwanted = Spans::default();
        walk(batch, |span| {
            if self.has(&span) {
                unwanted.insert((span.trace_id, span.span_id));
            }
        })?;
        let mut before = 0;
        for _ in 0..MAX_DEPTH {
            if unwanted.len() == before {
                break;
            }
            before = unwanted.len();
            walk(batch, |span| {
                if let Some(parent) = span.parent_span_id
                    && unwanted.contains(&(span.trace_id, parent))
                {
                    unwanted.insert((span.trace_id, span.span_id));
                }
            })?;
        }
        Ok(unwanted)
    }

    /// Names by the conventions are `GET /healthz` or `grpc.health.v1.Health/Check`.
    fn is_named(&self, name: &str) -> bool {
        let route = name.split_once(' ').map_or(name, |(_, route)| route);
        self.is_path(route) || self.names.iter().any(|own| own == name) || self.is_health_rpc(name)
    }

    fn is_about(&self, attribute: &KeyValueRef<'_>) -> bool {
        let Some(value) = attribute.value.as_str() else {
            return false;
        };
        match attribute.key {
            "rpc.service" | "rpc.method" => self.is_health_rpc(value),
            // The older `http.target` has the query, too.
            _ => self.is_path(value.split_once('?').map_or(value, |(path, _)| path)),
        }
    }

    fn is_path(&self, path: &str) -> bool {
        (self.health_checks && HEALTH_PATHS.contains(&path))
            || self.names.iter().any(|own| own == path)
    }

    /// The service alone, or with its method behind a slash.
    fn is_health_rpc(&self, name: &str) -> bool {
        let method = name.strip_prefix('/').unwrap_or(name);
        let rest = method.strip_prefix(HEALTH_SERVICE);
        self.health_checks && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

const KEYS: [&[u8]; 5] = [
    b"http.route",
    b"http.target",
    b"rpc.method",
    b"rpc.service",
    b"url.path",
];

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::Span;

    use super::*;
    use crate::export::sampling::testing::span_ref;
    use crate::wire::test_support::{attribute, encode, resource_spans, span};

    fn unwanted(health: bool, names: &[&str]) -> Unwanted {
        let sampling = Sampling {
            drop_health_checks: health,
            drop: names.iter().map(|&name| name.to_owned()).collect(),
            ..Sampling::default()
        };
        Unwanted::of(&sampling).unwrap()
    }

    fn called(name: &str, attributes: &[(&str, &str)]) -> Span {
        let attributes = attributes.iter().map(|(key, value)| attribute(key, value));
        Span {
            name: name.into(),
            attributes: attributes.collect(),
            ..span(1, 1, 0)
        }
    }

    #[test]
    fn health_checks_are_known_by_route_path_and_name() {
        let rule = unwanted(true, &[]);
        let check = |name: &str, attributes: &[(&str, &str)], expected| {
            let span = called(name, attributes);
            let found = span_ref(&span, |span| rule.has(span));
            assert_eq!(found, expected, "{name} {attributes:?}");
        };
        check("GET /healthz", &[], true);
        check("/readyz", &[], true);
        check("GET", &[("http.route", "/livez")], true);
        check("GET", &[("url.path", "/startupz")], true);
        check("GET", &[("http.target", "/healthz?verbose")], true);
        check("grpc.health.v1.Health/Check", &[], true);
        check("/grpc.health.v1.Health/Watch", &[], true);
        check("Check", &[("rpc.service", "grpc.health.v1.Health")], true);
        check("x", &[("rpc.method", "grpc.health.v1.Health/Check")], true);
        check("GET /healthz/db", &[], false);
        check("GET /orders", &[("url.path", "/orders")], false);
        check("GET", &[("url.query", "/healthz")], false);
        check("grpc.health.v1.Healthy/Check", &[], false);
        check("GET /ping", &[], false);
        let mut client = called("GET /healthz", &[]);
        client.kind = 3;
        assert!(!span_ref(&client, |span| rule.has(span)));
    }

    #[test]
    fn routes_and_names_that_were_asked_for() {
        let rule = unwanted(false, &["/ping", "Check now"]);
        let has = |name: &str, attributes: &[(&str, &str)]| {
            span_ref(&called(name, attributes), |span| rule.has(span))
        };
        assert!(has("GET /ping", &[]));
        assert!(has("Check now", &[]));
        assert!(has("GET", &[("http.route", "/ping")]));
        assert!(!has("GET /healthz", &[]));
        assert!(!has("now", &[]));
        assert!(Unwanted::of(&Sampling::default()).is_none());
    }

    #[test]
    fn what_is_below_goes_along_and_what_is_beside_stays() {
        let rule = unwanted(true, &[]);
        let named = |name: &str, id, parent| Span {
            name: name.into(),
            ..span(1, id, parent)
        };
        // Children first, as they end first.
        let spans = vec![
            named("ping", 4, 3),
            named("db", 3, 2),
            named("GET /healthz", 2, 1),
            named("GET /", 1, 0),
            named("beside", 5, 1),
            Span {
                trace_id: vec![9; 16],
                ..named("of another trace", 6, 2)
            },
        ];
        let batch = encode(vec![resource_spans("shop", spans)]);
        let mut ids: Vec<_> = rule.among(&batch).unwrap().into_iter().collect();
        ids.sort_unstable();
        let ids: Vec<_> = ids.iter().map(|(_, id)| u64::from_be_bytes(*id)).collect();
        assert_eq!(ids, [2, 3, 4]);
    }
}
