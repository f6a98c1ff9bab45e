//! A scanner, or a fleet of odd clients: whatever they send, the label sets stay few and the memory flat.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use bellwether::Kit;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tower::ServiceExt;

use crate::client::{Connection, get};
use crate::service::{FLOOD, Service, nobody};

/// Through the layer, each with a path of its own.
const REQUESTS: usize = 100_000;
/// Before the memory is looked at first: what fills up once is full by then.
const WARM_UP: usize = 20_000;
/// Between two lines that tell of the flood.
const TOLD_EVERY: usize = 10_000;
/// Of each kind of connection.
const OVER_SOCKETS: usize = 1_500;
const METHODS: usize = 1_000;

/// The most label sets that one family may have.
const LABEL_SETS: usize = 20;
/// What the allocator may take on top. A hundred thousand paths kept would take more, however short.
const GROWTH: u64 = 8 << 20;

/// What a caller can make up of a request.
struct Scanner {
    random: StdRng,
    methods: Vec<Method>,
}

impl Scanner {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let method = |_| {
            let length = random.random_range(1..=20);
            Method::from_bytes(Alphanumeric.sample_string(&mut random, length).as_bytes()).unwrap()
        };
        let methods = (0..METHODS).map(method).collect();
        Self { random, methods }
    }

    fn word(&mut self, longest: usize) -> String {
        let length = self.random.random_range(1..=longest);
        Alphanumeric.sample_string(&mut self.random, length)
    }

    fn path(&mut self) -> String {
        match self.random.random_range(0..10) {
            0..4 => format!("/{}", self.word(40)),
            4..6 => format!("/{}/{}?{}", self.word(20), self.word(20), self.word(20)),
            6 => format!(
                "/{}/%2e%2e/%{:02x}",
                self.word(10),
                self.random.random::<u8>()
            ),
            7 => format!("/{}.{}/{}", self.word(10), self.word(10), self.word(10)),
            8 => format!("/hello/{}", self.word(30)),
            _ => format!("/{}", self.word(2_000)),
        }
    }

    fn request<B>(&mut self, body: B) -> Request<B> {
        let path = self.path();
        let method = match self.random.random_range(0..4) {
            0 => Method::GET,
            1 => Method::POST,
            _ => self.methods[self.random.random_range(0..METHODS)].clone(),
        };
        let host = self.word(30);
        let mut request = Request::builder().method(method).uri(path.as_str());
        for (name, longest) in [
            ("user-agent", 200),
            ("x-forwarded-proto", 8),
            ("x-forwarded-for", 20),
            ("x-request-id", 40),
            ("traceparent", 60),
        ] {
            if self.random.random() {
                let value = HeaderValue::from_str(&self.word(longest)).unwrap();
                request = request.header(HeaderName::from_static(name), value);
            }
        }
        if self.random.random_range(0..5) == 0 {
            request = request.header("x-forwarded-proto", "https");
        }
        if self.random.random_range(0..5) == 0 {
            request = request.header("content-type", "application/grpc");
        }
        request.header("host", host).body(body).unwrap()
    }

    /// As a server hands it on: with a scheme, perhaps one of its own, and with a peer, perhaps a trusted one.
    fn accepted(&mut self) -> Request<Body> {
        let mut request = self.request(Body::empty());
        if self.random.random() {
            let path = request.uri().path_and_query().unwrap().clone();
            let authority = self.word(30);
            let scheme = format!("a{}", self.word(8));
            let uri = Uri::builder().scheme(scheme.as_str()).authority(authority);
            *request.uri_mut() = uri.path_and_query(path).build().unwrap();
        }
        let peer = SocketAddr::from((self.random.random::<[u8; 4]>(), 1));
        let near = SocketAddr::from(([10, 0, 0, 1], 1));
        let peer = if self.random.random() { near } else { peer };
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    }
}

/// The child's part: floods its own service through the layer, and tells how it fares.
pub(crate) async fn flood(kit: Kit, app: Router) {
    let mut scanner = Scanner::new(7);
    for requests in 1..=WARM_UP + REQUESTS {
        let response = app.clone().oneshot(scanner.accepted()).await.unwrap();
        response.into_body().collect().await.unwrap();
        if requests % TOLD_EVERY == 0 {
            let resident = resident(&kit.render_metrics(None).1);
            tracing::info!(target: "flood", requests, resident, "flooded");
        }
        tokio::task::consume_budget().await;
    }
}

/// Only Linux tells.
fn resident(metrics: &str) -> Option<u64> {
    let name = "process_resident_memory_bytes ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name))?;
    value.parse().ok()
}

/// The label sets of each family, the bounds of its buckets aside.
fn label_sets(metrics: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut sets: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (sample, _value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let labels = labels.split("le=\"").next().unwrap_or_default();
        sets.entry(name).or_default().insert(labels);
    }
    sets
}

#[tokio::test]
async fn what_callers_make_up_makes_no_label_sets() {
    let endpoint = nobody().await;
    let service = Service::start(&[
        (FLOOD, "1"),
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
        // The lines of the requests would be the parent's to keep.
        (
            "RUST_LOG",
            "off,flood=info,bellwether=info,bellwether::request=off",
        ),
        // Spans too, with their names, until the queue is full.
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
    ])
    .await;
    over_sockets(service.addr).await;

    let mut after_warm_up = None;
    let mut at_the_end = None;
    // Waits for one line after the other: each comes in time on a busy machine, the last may not.
    for requests in (TOLD_EVERY..=WARM_UP + REQUESTS).step_by(TOLD_EVERY) {
        let told = service.line(|line| line["requests"] == requests).await;
        at_the_end = told["resident"].as_u64();
        if requests == WARM_UP {
            after_warm_up = at_the_end;
        }
    }
    if cfg!(target_os = "linux") {
        let (before, after) = (after_warm_up.unwrap(), at_the_end.unwrap());
        assert!(after < before + GROWTH, "from {before} to {after} bytes");
    }

    let metrics = get(service.admin().await, "/metrics").await.body;
    let sets = label_sets(&metrics);
    for (name, sets) in &sets {
        assert!(sets.len() <= LABEL_SETS, "{name}: {sets:#?}");
    }
    let durations = &sets["http_server_request_duration_seconds_count"];
    let has = |part: &str| durations.iter().any(|labels| labels.contains(part));
    for part in [
        "http_request_method=\"_OTHER\"",
        "url_scheme=\"https\"",
        "http_route=\"/hello/{name}\"",
        "http_response_status_code=\"404\"",
    ] {
        assert!(has(part), "{part} in {durations:#?}");
    }
    let dropped = metrics
        .lines()
        .filter(|line| line.starts_with("bellwether_series_dropped_total"));
    assert!(dropped.clone().count() > 0);
    for line in dropped {
        assert!(line.ends_with(" 0"), "{line}");
    }
}

/// The same callers as they come in fact, by HTTP/1 and HTTP/2.
async fn over_sockets(addr: SocketAddr) {
    let mut scanner = Scanner::new(8);
    let mut connections = [Connection::http1(addr).await, Connection::http2(addr).await];
    for connection in &mut connections {
        for _ in 0..OVER_SOCKETS {
            let request = scanner.request(Full::<Bytes>::default());
            connection.send(request).await.unwrap();
        }
    }
}
