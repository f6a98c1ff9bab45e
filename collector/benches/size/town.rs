//! The traffic: a town of services that call each other, the same at every run. Each call is a trace of four spans: the
//! caller's SERVER, INTERNAL and CLIENT span and the callee's SERVER span.

use bellwether_collector::wire::{ResourceRef, ScopeRef, SpanKind, SpanRef, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

/// Each service calls those so far behind it: five edges a service.
const CALLEES: [usize; 5] = [1, 3, 17, 40, 91];
/// SERVER operations.
const ROUTES: [&str; 2] = ["GET /orders/{id}", "POST /orders"];
/// CLIENT operations.
const METHODS: [&str; 2] = ["GET", "POST"];
const INTERNAL: &str = "render";
/// Rows that a service has: those above.
pub(crate) const OPERATIONS_A_SERVICE: usize = ROUTES.len() + METHODS.len() + 1;
pub(crate) const CALLEES_A_SERVICE: usize = CALLEES.len();

/// Durations are a median times one of these, which are spread as a log-normal distribution is.
const FACTORS: usize = 1 << 12;
const SPREAD: f64 = 0.35;

/// The services, with what each of them writes into every span.
pub(crate) struct Town {
    services: Vec<Service>,
    factors: Vec<f64>,
    /// Calls to each callee in a slot of ten seconds.
    calls: usize,
}

struct Service {
    name: String,
    resource: Resource,
    resource_bytes: Vec<u8>,
    /// The attributes of a span that says whom it calls: this service. The bytes of such a span, too.
    called: (Vec<KeyValue>, Vec<u8>),
}

/// A span, before it is bytes or a reference into some.
pub(crate) struct Sketch {
    trace: u64,
    /// 1 to 4, by its place in the call.
    place: u64,
    kind: SpanKind,
    name: &'static str,
    nanos: u64,
    failed: bool,
    /// Whose name is in its attributes.
    peer: usize,
}

impl Town {
    pub(crate) fn new(services: usize, calls: usize) -> Self {
        Self {
            services: (0..services).map(Service::new).collect(),
            factors: (0..FACTORS).map(factor).collect(),
            calls,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.services.len()
    }

    pub(crate) fn name(&self, service: usize) -> &str {
        &self.services[service].name
    }

    /// What one service sends in a slot: the spans of the calls that it makes, and of those it answers.
    pub(crate) fn sketches(&self, slot: u64, service: usize) -> Vec<Sketch> {
        let all = self.services.len();
        let mut sketches = Vec::with_capacity(self.calls * CALLEES.len() * 4);
        for (edge, behind) in CALLEES.iter().enumerate() {
            let callee = (service + behind) % all;
            let caller = (service + all - behind % all) % all;
            for call in 0..self.calls {
                let [_, client, root] = self.nanos(slot, service, edge, call);
                let trace = trace(slot, service, edge, call);
                let failed = trace.is_multiple_of(100);
                let mut add = |place, kind, name, nanos| {
                    sketches.push(Sketch {
                        trace,
                        place,
                        kind,
                        name,
                        nanos,
                        failed,
                        peer: callee,
                    });
                };
                add(1, SpanKind::Server, ROUTES[call % 2], root);
                add(
                    2,
                    SpanKind::Internal,
                    INTERNAL,
                    client + (root - client) / 2,
                );
                add(3, SpanKind::Client, METHODS[call % 2], client);
                let trace = self::trace(slot, caller, edge, call);
                let [nanos, ..] = self.nanos(slot, caller, edge, call);
                sketches.push(Sketch {
                    trace,
                    place: 4,
                    kind: SpanKind::Server,
                    name: ROUTES[call % 2],
                    nanos,
                    failed: trace.is_multiple_of(100),
                    peer: service,
                });
            }
        }
        sketches
    }

    /// How long a call took on the server, on the client, and the request that it was made for.
    fn nanos(&self, slot: u64, caller: usize, edge: usize, call: usize) -> [u64; 3] {
        let random = trace(!slot, caller, edge, call);
        let part = |shift: u32| self.factors[(random >> shift) as usize % FACTORS];
        let server = 2e6 * (10 + (caller + edge) % 20) as f64 * part(0);
        let client = server + 4e5 * part(12);
        let root = client + 1e6 * part(24);
        [server, client, root].map(|nanos| nanos as u64)
    }

    /// The span as the views are given it.
    pub(crate) fn refer(&self, service: usize, sketch: &Sketch, start: u64) -> SpanRef<'_> {
        let service = &self.services[service];
        SpanRef {
            has_trace_state: false,
            trace_id: sketch.trace_id(),
            span_id: sketch.id(sketch.place),
            parent_span_id: (sketch.place > 1).then(|| sketch.id(sketch.place - 1)),
            kind: sketch.kind,
            start_unix_nano: start,
            end_unix_nano: start + sketch.nanos,
            status: if sketch.failed {
                StatusCode::Error
            } else {
                StatusCode::Unset
            },
            name: sketch.name,
            raw: &self.services[sketch.peer].called.1,
            resource: ResourceRef {
                raw: &service.resource_bytes,
                service_name: &service.name,
            },
            scope: ScopeRef::default(),
        }
    }

    /// A request of one service's spans.
    pub(crate) fn request(&self, service: usize, sketches: &[Sketch], start: u64) -> Vec<u8> {
        let span = |sketch: &Sketch| {
            let parent = (sketch.place > 1).then(|| sketch.id(sketch.place - 1).to_vec());
            Span {
                trace_id: sketch.trace_id().into(),
                span_id: sketch.id(sketch.place).into(),
                parent_span_id: parent.unwrap_or_default(),
                kind: sketch.kind as i32,
                name: sketch.name.to_owned(),
                start_time_unix_nano: start,
                end_time_unix_nano: start + sketch.nanos,
                attributes: self.services[sketch.peer].called.0.clone(),
                status: sketch.failed.then(|| Status {
                    code: 2,
                    ..Status::default()
                }),
                ..Span::default()
            }
        };
        let spans = sketches.iter().map(span).collect();
        let resource_spans = ResourceSpans {
            resource: Some(self.services[service].resource.clone()),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![resource_spans],
        }
        .encode_to_vec()
    }
}

impl Service {
    fn new(number: usize) -> Self {
        let name = format!("service-{number:03}");
        let resource = Resource {
            attributes: vec![
                text("service.name", &name),
                text("service.version", "1.4.2"),
                text("telemetry.sdk.language", "rust"),
            ],
            ..Resource::default()
        };
        let attributes = vec![
            text("peer.service", &name),
            text("http.request.method", "POST"),
            text("http.route", "/orders/{id}"),
            text("url.path", "/orders/4711-0815"),
            text("http.response.status_code", "200"),
            text("server.address", &format!("{name}.town.svc.cluster.local")),
            text("network.protocol.version", "1.1"),
            text("user_agent.original", "town-client/2.3"),
        ];
        let span = Span {
            attributes: attributes.clone(),
            ..Span::default()
        };
        Self {
            resource_bytes: resource.encode_to_vec(),
            called: (attributes, span.encode_to_vec()),
            name,
            resource,
        }
    }
}

impl Sketch {
    fn trace_id(&self) -> [u8; 16] {
        (u128::from(self.trace) << 64 | u128::from(mixed(self.trace))).to_be_bytes()
    }

    fn id(&self, place: u64) -> [u8; 8] {
        mixed(self.trace ^ place << 56).to_be_bytes()
    }
}

fn trace(slot: u64, caller: usize, edge: usize, call: usize) -> u64 {
    mixed(slot << 32 ^ (caller << 20 ^ edge << 16 ^ call) as u64)
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.into())),
        }),
        ..KeyValue::default()
    }
}

/// The n-th of [`FACTORS`] values in the middle of equally probable parts of a log-normal distribution, found by halving.
fn factor(at: usize) -> f64 {
    let wanted = (at as f64 + 0.5) / FACTORS as f64;
    let (mut low, mut high) = (-6.0, 6.0);
    for _ in 0..60 {
        let middle: f64 = (low + high) / 2.0;
        if below(middle) < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    (SPREAD * low).exp()
}

/// The part of a normal distribution that lies below `x`, by a series (Abramowitz and Stegun, 26.2.11).
fn below(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for odd in (3..200).step_by(2) {
        term *= x * x / f64::from(odd);
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// A number without a pattern from one with (splitmix64's last steps).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
