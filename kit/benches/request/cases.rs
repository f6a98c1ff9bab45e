//! What is measured, and how often.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request};
use axum::routing::get;
use bellwether::Kit;
use http::header::{HOST, USER_AGENT};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use super::{assembled, floor};

/// One thing measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// A request to the router alone: what the others are compared with.
    Bare,
    /// The same through the kit: one log line, all metrics, one span exported.
    Sampled,
    /// The same, no span.
    Unsampled,
    /// The same by the layers a user would assemble, each with its defaults.
    Assembled,
    /// The same by the fastest of them.
    AssembledBest,
    /// The same by hand: the least it can cost.
    Floor,
    /// One event in two spans of four fields each, outside of any request.
    Event,
    /// The same with the inner span entered for each event, so that its spans are asked for each time.
    EventEntered,
    /// The same event and spans by tracing-subscriber's JSON writer.
    EventFmtJson,
    /// The same by json-subscriber.
    EventJsonSubscriber,
    /// The same by the kit within a sampled request: the line has its ids.
    EventInRequest,
    /// A debug event that the filter hides, within the same two spans.
    EventHidden,
    /// A debug event that the recorder keeps and nobody ever sees, in the same two spans, within a request.
    EventRecorded,
    /// A handler span of four fields, opened and closed within a sampled request.
    Span,
    /// The same within a request that is not sampled.
    SpanUnsampled,
    /// The sampled one with an event inside, whose line has the span's fields.
    SpanEvent,
    /// The same span in tracing-subscriber's registry, with a layer that does nothing.
    SpanRegistry,
    /// What `Sampled` leaves to the exporter's thread: from the queue to the socket.
    Export,
}

impl Case {
    /// Those whose cost is the requesting thread's.
    pub(crate) const ALL: [Self; 17] = [
        Self::Bare,
        Self::Sampled,
        Self::Unsampled,
        Self::Assembled,
        Self::AssembledBest,
        Self::Floor,
        Self::Event,
        Self::EventEntered,
        Self::EventFmtJson,
        Self::EventJsonSubscriber,
        Self::EventInRequest,
        Self::EventHidden,
        Self::EventRecorded,
        Self::Span,
        Self::SpanUnsampled,
        Self::SpanEvent,
        Self::SpanRegistry,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Sampled => "sampled",
            Self::Unsampled => "unsampled",
            Self::Assembled => "assembled",
            Self::AssembledBest => "assembled-best",
            Self::Floor => "floor",
            Self::Event => "event",
            Self::EventEntered => "event-entered",
            Self::EventFmtJson => "event-fmt-json",
            Self::EventJsonSubscriber => "event-json-subscriber",
            Self::EventInRequest => "event-in-request",
            Self::EventHidden => "event-hidden",
            Self::EventRecorded => "event-recorded",
            Self::Span => "span",
            Self::SpanUnsampled => "span-unsampled",
            Self::SpanEvent => "span-event",
            Self::SpanRegistry => "span-registry",
            Self::Export => "export",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter().chain([Self::Export]);
        all.find(|case| case.name() == name)
    }

    /// The case that this one's cost is added to.
    pub(crate) fn base(self) -> Option<Self> {
        let request = matches!(
            self,
            Self::Sampled | Self::Unsampled | Self::Assembled | Self::AssembledBest | Self::Floor
        );
        request.then_some(Self::Bare)
    }

    /// `BELLWETHER_RECORDER`: what keeps the hidden event of one case is not to see that of the other.
    pub(crate) fn recorder(self) -> &'static str {
        match self {
            Self::EventHidden => "off",
            _ => "debug",
        }
    }

    /// `RUST_LOG`: where other threads are measured than the requesting one, the log's is to be idle.
    pub(crate) fn log(self) -> &'static str {
        match self {
            Self::Export => "off",
            _ => "info",
        }
    }

    /// `OTEL_TRACES_SAMPLER`.
    pub(crate) fn sampler(self) -> &'static str {
        match self {
            Self::Unsampled | Self::SpanUnsampled => "always_off",
            _ => "always_on",
        }
    }
}

/// A case made ready: what is done once is done.
pub(crate) struct Fixture {
    case: Case,
    runtime: Runtime,
    app: Router,
    /// Without it nothing is exported.
    kept: Kept,
}

/// What must live as long as its router.
enum Kept {
    Nothing,
    Kit { kit: Kit },
    Floor { _floor: floor::Kept },
}

impl Fixture {
    pub(crate) fn new(case: Case) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        // No server has one thread alone, for which the allocator leaves its locks out.
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
        let inside = runtime.enter();
        let (app, kept) = observed(case, routes());
        drop(inside);
        let fixture = Self {
            case,
            runtime,
            app,
            kept,
        };
        fixture.run(100);
        fixture
    }

    /// Does the case's thing so many times.
    pub(crate) fn run(&self, times: u64) {
        match self.case {
            Case::Bare
            | Case::Sampled
            | Case::Unsampled
            | Case::Assembled
            | Case::AssembledBest
            | Case::Floor
            | Case::Export => {
                for _ in 0..times {
                    self.request("/hello/world");
                }
            }
            Case::Event | Case::EventFmtJson | Case::EventJsonSubscriber => events(times),
            Case::EventEntered => entered_events(times),
            Case::EventInRequest => self.request(&format!("/events/{times}")),
            Case::EventHidden | Case::EventRecorded => self.request(&format!("/hidden/{times}")),
            Case::Span | Case::SpanUnsampled | Case::SpanRegistry => {
                self.request(&format!("/spans/{times}"));
            }
            Case::SpanEvent => self.request(&format!("/span-events/{times}")),
        }
    }

    /// Exports what is left, as a service does last.
    pub(crate) fn finish(&self) {
        if let Kept::Kit { kit } = &self.kept {
            self.runtime.block_on(kit.finish());
        }
    }

    /// One request, as a server calls its service for it, and its response to the last byte.
    fn request(&self, path: &str) {
        let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let request = Request::get(path)
            .header(HOST, "checkout.shop.example")
            .header(USER_AGENT, "curl/8.5.0")
            .extension(ConnectInfo(peer))
            .body(Body::empty())
            .expect("a request");
        let app = self.app.clone();
        let body = self.runtime.block_on(async {
            let Ok(response) = app.oneshot(request).await;
            response.into_body().collect().await.expect("a body")
        });
        black_box(body.to_bytes());
    }
}

/// The service that is measured, with nothing around it.
fn routes() -> Router {
    Router::new()
        .route("/hello/{name}", get(hello))
        .route(
            "/events/{times}",
            get(|Path(times)| async move { events(times) }),
        )
        .route(
            "/hidden/{times}",
            get(|Path(times)| async move { hidden_events(times) }),
        )
        .route(
            "/spans/{times}",
            get(|Path(times)| async move { spans(times, || ()) }),
        )
        .route(
            "/span-events/{times}",
            get(|Path(times)| async move { spans(times, event_in_span) }),
        )
        // As servers have it: they make routes of handlers once, and not for each request.
        .with_state(())
}

/// Serves the case on a port of its own until the process is ended; tells the address on standard error.
pub(crate) fn serve(case: Case) {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (app, kept) = observed(case, routes());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        eprintln!("serving {}", listener.local_addr().expect("an address"));
        match kept {
            Kept::Kit { kit } => kit.serve(listener, app).await.expect("to serve"),
            _ => axum::serve(listener, app).await.expect("to serve"),
        }
    });
}

/// The router with what the case measures around it, or beside it.
fn observed(case: Case, app: Router) -> (Router, Kept) {
    match case {
        Case::Bare => (app, Kept::Nothing),
        Case::Assembled => (assembled::usual(app), Kept::Nothing),
        Case::AssembledBest => (assembled::best(app), Kept::Nothing),
        Case::Floor => {
            let (app, floor) = floor::floor(app);
            (app, Kept::Floor { _floor: floor })
        }
        Case::EventFmtJson => {
            assembled::json_lines();
            (app, Kept::Nothing)
        }
        Case::EventJsonSubscriber => {
            assembled::json_subscriber_lines();
            (app, Kept::Nothing)
        }
        Case::SpanRegistry => {
            assembled::registry_alone();
            (app, Kept::Nothing)
        }
        _ => {
            let kit = Kit::from_env("checkout").and_then(bellwether::KitBuilder::start);
            let kit = kit.expect("a kit");
            (kit.wrap(app), Kept::Kit { kit })
        }
    }
}

async fn hello(Path(name): Path<String>) -> String {
    format!("hello {name}")
}

macro_rules! in_two_spans {
    () => {
        let user = "ann@example.com";
        let _outer = tracing::info_span!(
            "place",
            user,
            order = 12_345,
            retry = false,
            region = "eu-west-1"
        )
        .entered();
        let _inner = tracing::info_span!(
            "query",
            table = "orders",
            rows = 17,
            cached = true,
            shard = "s-12"
        )
        .entered();
    };
}

fn events(times: u64) {
    in_two_spans!();
    for item in 0..times {
        tracing::info!(item, sku = "AB-1234", paid = true, "order placed");
    }
}

fn entered_events(times: u64) {
    in_two_spans!();
    let inner = tracing::Span::current();
    for item in 0..times {
        let _again = inner.enter();
        tracing::info!(item, sku = "AB-1234", paid = true, "order placed");
    }
}

fn hidden_events(times: u64) {
    in_two_spans!();
    for item in 0..times {
        tracing::debug!(item, sku = "AB-1234", paid = true, "order placed");
    }
}

fn event_in_span() {
    tracing::info!(sku = "AB-1234", paid = true, "order placed");
}

fn spans(times: u64, inside: impl Fn()) {
    let user = "ann@example.com";
    for order in 0..times {
        let _span = tracing::info_span!("place", user, order, retry = false, region = "eu-west-1")
            .entered();
        inside();
    }
}
