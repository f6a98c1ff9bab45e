//! Real tonic servers and clients on both sides of the layers, over sockets: every kind of call and of end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::http::uri::PathAndQuery;
use ::http::{Request as HttpRequest, Response as HttpResponse};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value as Json;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::codegen::tokio_stream;
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;
use tonic::server::{Grpc as Server, NamedService};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::http::testing::{Bench, float, int, shared_text, text};
use crate::http::{ClientService, ConcurrencyLimit, Telemetry};
use crate::trace::{SpanKind, SpanRecord};

type Codec = ProstCodec<i64, i64>;
type Numbers = BoxStream<'static, Result<i64, Status>>;

/// What generated code would be: a service of methods on numbers.
#[derive(Clone, Copy, Debug)]
struct Sums;

impl NamedService for Sums {
    const NAME: &'static str = "test.v1.Sums";
}

impl Service<HttpRequest<Body>> for Sums {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        async move {
            let mut server = Server::new(Codec::default());
            Ok(match path.rsplit('/').next() {
                Some("Double") => server.unary(tower::service_fn(double), request).await,
                Some("CountTo") => {
                    server
                        .server_streaming(tower::service_fn(count_to), request)
                        .await
                }
                Some("Sum") => {
                    server
                        .client_streaming(tower::service_fn(sum), request)
                        .await
                }
                Some("RunningSum") => {
                    server
                        .streaming(tower::service_fn(running_sum), request)
                        .await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        }
        .boxed()
    }
}

/// Below zero: waits for ever; 404 and 500: fails; 666: panics.
async fn double(request: Request<i64>) -> Result<Response<i64>, Status> {
    match request.into_inner() {
        404 => Err(Status::not_found("no café")),
        500 => Err(Status::internal("disk on fire")),
        666 => panic!("the handler's own fault"),
        number if number < 0 => std::future::pending().await,
        number => Ok(Response::new(2 * number)),
    }
}

/// Of a negative number: one, then nothing; of 500: one, then a failure.
async fn count_to(request: Request<i64>) -> Result<Response<Numbers>, Status> {
    Ok(Response::new(match request.into_inner() {
        500 => stream::iter([Ok(1), Err(Status::data_loss("a page is gone"))]).boxed(),
        end if end < 0 => stream::iter([Ok(1)]).chain(stream::pending()).boxed(),
        end => stream::iter(1..=end).map(Ok).boxed(),
    }))
}

async fn sum(request: Request<Streaming<i64>>) -> Result<Response<i64>, Status> {
    let mut numbers = request.into_inner();
    let mut sum = 0;
    while let Some(number) = numbers.message().await? {
        sum += number;
    }
    Ok(Response::new(sum))
}

async fn running_sum(request: Request<Streaming<i64>>) -> Result<Response<Numbers>, Status> {
    let sums = request.into_inner().scan(0, |sum, number| {
        if let Ok(number) = &number {
            *sum += number;
        }
        std::future::ready(Some(number.map(|_| *sum)))
    });
    Ok(Response::new(sums.boxed()))
}

/// A server with a client of it, each with telemetry of its own.
struct Pair {
    server: Bench,
    client: Bench,
    address: SocketAddr,
    _running: Running,
}

struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pair {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Telemetry)) -> Self {
        let (client, server) = (Bench::new(), Bench::with(change));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tonic::transport::Server::builder()
            .layer(server.layer())
            .add_service(Sums)
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self {
            server,
            client,
            address,
            _running: Running(tokio::spawn(running).abort_handle()),
        }
    }

    async fn connect(&self) -> Client<ClientService<Channel>> {
        connect(&self.client, self.address).await
    }

    async fn double(&self, request: Request<i64>) -> Result<i64, Status> {
        let answer = self
            .connect()
            .await
            .unary(request, path("Double"), Codec::default())
            .await;
        answer.map(Response::into_inner)
    }

    /// How the one call so far ended: on the server's line and span, and on the client's span.
    async fn settled(&self) -> (Json, SpanRecord, SpanRecord) {
        until("the server's line", || {
            !self.server.closing_lines().is_empty()
        })
        .await;
        let line = self.server.closing_lines().remove(0);
        let (mut served, mut called) = (self.server.spans.drain(), self.client.spans.drain());
        assert_eq!(
            (served.len(), called.len()),
            (1, 1),
            "{served:?} {called:?}"
        );
        assert_eq!((self.server.active(), self.server.measured()), (0, 0));
        let [served_metrics, _] = self.server.telemetry.rpc.settled();
        let [_, called_metrics] = self.client.telemetry.rpc.settled();
        assert_eq!((served_metrics.len(), called_metrics.len()), (1, 1));
        let (served, called) = (served.remove(0), called.remove(0));
        assert_eq!(served.parent, Some(called.span_id));
        assert_eq!(served.context.trace_id, called.context.trace_id);
        assert_eq!(line["trace_id"], called.context.trace_id.to_string());
        assert_eq!(
            (served.kind, called.kind),
            (SpanKind::Server, SpanKind::Client)
        );
        assert_eq!(
            line["rpc.response.status_code"].as_str(),
            status(&served).as_deref()
        );
        (line, served, called)
    }
}

async fn connect(bench: &Bench, address: SocketAddr) -> Client<ClientService<Channel>> {
    let origin = format!("http://{address}");
    let channel = Endpoint::from_shared(origin.clone())
        .unwrap()
        .connect_lazy();
    let layered = bench.client_layer().layer(channel);
    let mut client = Client::with_origin(layered, origin.parse().unwrap());
    client.ready().await.unwrap();
    client
}

fn path(method: &str) -> PathAndQuery {
    format!("/test.v1.Sums/{method}").parse().unwrap()
}

fn status(span: &SpanRecord) -> Option<String> {
    text(&span.attributes, "rpc.response.status_code")
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_unary_call() {
    let pair = Pair::new().await;
    assert_eq!(pair.double(Request::new(21)).await.unwrap(), 42);
    let (line, served, called) = pair.settled().await;
    assert_eq!(line["outcome"], "ok");
    assert_eq!(line["rpc.method"], "test.v1.Sums/Double");
    for span in [&served, &called] {
        assert_eq!(shared_text(&span.name), "test.v1.Sums/Double");
        assert_eq!(status(span).as_deref(), Some("OK"));
        assert_eq!(
            int(&span.attributes, "server.port"),
            Some(pair.address.port().into())
        );
    }
    assert!(float(&called.attributes, "bellwether.network.gap").is_some());
    assert_eq!(pair.client.telemetry.client.settled_total(), (0, 1));
}

#[tokio::test]
async fn streams_of_every_direction_settle_at_their_end() {
    let pair = Pair::new().await;
    let mut client = pair.connect().await;
    let answer = client.server_streaming(Request::new(3_i64), path("CountTo"), Codec::default());
    let mut numbers = answer.await.unwrap().into_inner();
    assert_eq!(numbers.message().await.unwrap(), Some(1));
    assert!(
        pair.client.spans.drain().is_empty(),
        "not before its status"
    );
    assert_eq!(
        numbers.map(Result::unwrap).collect::<Vec<i64>>().await,
        [2, 3]
    );
    let (line, ..) = pair.settled().await;
    assert_eq!(
        (line["rpc.method"].as_str(), &line["outcome"]),
        (Some("test.v1.Sums/CountTo"), &"ok".into())
    );

    let pair = Pair::new().await;
    let numbers = tokio_stream::iter([1, 2, 3]);
    let mut client = pair.connect().await;
    let answer = client.client_streaming(Request::new(numbers), path("Sum"), Codec::default());
    assert_eq!(answer.await.unwrap().into_inner(), 6);
    assert_eq!(pair.settled().await.0["rpc.response.status_code"], "OK");

    let pair = Pair::new().await;
    let (send, numbers) = tokio::sync::mpsc::channel(1);
    let numbers = tokio_stream::wrappers::ReceiverStream::new(numbers);
    let mut client = pair.connect().await;
    let answer = client.streaming(Request::new(numbers), path("RunningSum"), Codec::default());
    let mut sums = answer.await.unwrap().into_inner();
    for (number, sum) in [(1_i64, 1_i64), (2, 3), (3, 6)] {
        send.send(number).await.unwrap();
        assert_eq!(sums.message().await.unwrap(), Some(sum));
    }
    assert_eq!(pair.server.active(), 1);
    assert!(pair.server.closing_lines().is_empty());
    drop(send);
    assert_eq!(sums.message().await.unwrap(), None);
    assert_eq!(pair.settled().await.0["outcome"], "ok");
}

#[tokio::test]
async fn failures_by_headers_and_by_trailers() {
    for (number, code, name, outcome) in [
        (404, Code::NotFound, "NOT_FOUND", "ok"),
        (500, Code::Internal, "INTERNAL", "error"),
        (666, Code::Internal, "INTERNAL", "panic"),
    ] {
        let pair = Pair::new().await;
        let told = pair.double(Request::new(number)).await.unwrap_err();
        assert_eq!(told.code(), code);
        let (line, _, called) = pair.settled().await;
        assert_eq!(
            (
                line["rpc.response.status_code"].as_str(),
                line["outcome"].as_str()
            ),
            (Some(name), Some(outcome))
        );
        assert_eq!(
            text(&called.attributes, "error.type").as_deref(),
            Some(name)
        );
    }
    let pair = Pair::new().await;
    let mut client = pair.connect().await;
    let answer = client.server_streaming(Request::new(500_i64), path("CountTo"), Codec::default());
    let mut numbers = answer.await.unwrap().into_inner();
    assert_eq!(numbers.message().await.unwrap(), Some(1));
    assert_eq!(numbers.message().await.unwrap_err().code(), Code::DataLoss);
    drop(numbers);
    let (line, _, called) = pair.settled().await;
    assert_eq!(line["exception.message"], "a page is gone");
    assert_eq!(status(&called).as_deref(), Some("DATA_LOSS"));
}

#[tokio::test]
async fn a_method_that_is_not_there() {
    let pair = Pair::new().await;
    let mut client = pair.connect().await;
    let told = client
        .unary(Request::new(1_i64), path("Halve"), Codec::default())
        .await;
    assert_eq!(
        told.map(Response::<i64>::into_inner).unwrap_err().code(),
        Code::Unimplemented
    );
    let (line, served, called) = pair.settled().await;
    assert_eq!(line["rpc.method"], "_OTHER");
    assert_eq!(shared_text(&served.name), "grpc");
    let original = text(&served.attributes, "rpc.method_original");
    assert_eq!(original.as_deref(), Some("test.v1.Sums/Halve"));
    assert_eq!(
        shared_text(&called.name),
        "test.v1.Sums/Halve",
        "whoever calls knows"
    );
}

#[tokio::test]
async fn a_caller_that_leaves() {
    let pair = Pair::new().await;
    let mut client = pair.connect().await;
    let answer = client.server_streaming(Request::new(-1_i64), path("CountTo"), Codec::default());
    let mut numbers = answer.await.unwrap().into_inner();
    assert_eq!(numbers.message().await.unwrap(), Some(1_i64));
    drop(numbers);
    let (line, served, called) = pair.settled().await;
    assert_eq!(line["outcome"], "client_gone");
    assert_eq!(status(&served).as_deref(), Some("CANCELLED"));
    assert_eq!(text(&served.attributes, "error.type"), None);
    assert_eq!(
        text(&called.attributes, "error.type").as_deref(),
        Some("CANCELLED")
    );
}

#[tokio::test]
async fn a_deadline_that_passes() {
    let pair = Pair::new().await;
    let mut request = Request::new(-1);
    request.set_timeout(Duration::from_secs(2));
    pair.double(request).await.unwrap_err();
    let (line, served, called) = pair.settled().await;
    assert_eq!(line["outcome"], "timeout");
    for span in [&served, &called] {
        assert_eq!(status(span).as_deref(), Some("DEADLINE_EXCEEDED"));
    }
    let error_type = text(&called.attributes, "error.type");
    assert_eq!(error_type.as_deref(), Some("DEADLINE_EXCEEDED"));
}

#[tokio::test]
async fn what_the_kit_refuses_is_a_status_to_tonic() {
    let pair = Pair::with(|telemetry| telemetry.request_timeout = Some(Duration::from_millis(50)));
    let pair = pair.await;
    let told = pair.double(Request::new(-1)).await.unwrap_err();
    assert_eq!(
        (told.code(), told.message()),
        (Code::DeadlineExceeded, "the request took too long")
    );
    assert_eq!(pair.settled().await.0["outcome"], "timeout");

    let limit = |telemetry: &mut Telemetry| {
        telemetry.concurrency_limit = Some(ConcurrencyLimit::new(0));
    };
    let pair = Pair::with(limit).await;
    let told = pair.double(Request::new(1)).await.unwrap_err();
    assert_eq!(told.code(), Code::Unavailable);
    assert_eq!(pair.settled().await.0["outcome"], "rejected");
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bench = Bench::new();
    let mut client = connect(&bench, address).await;
    let told = client
        .unary(Request::new(1_i64), path("Double"), Codec::default())
        .await;
    assert_eq!(
        told.map(Response::<i64>::into_inner).unwrap_err().code(),
        Code::Unavailable
    );
    let span = bench.spans.drain().remove(0);
    assert_eq!(status(&span).as_deref(), Some("UNAVAILABLE"));
    let error_type = if cfg!(feature = "tonic") {
        "connect_error"
    } else {
        "transport_error"
    };
    assert_eq!(
        text(&span.attributes, "error.type").as_deref(),
        Some(error_type)
    );
}

/// tonic's routes behind the kit's own server: HTTP/2 without an upgrade, and a drain that waits.
#[cfg(feature = "axum")]
#[tokio::test]
async fn a_drain_lets_an_open_stream_end() {
    use tonic::service::Routes;

    use crate::health::State;
    use crate::metrics::Connections;
    use crate::shutdown::Shutdown;

    let (client_side, server_side) = (Bench::new(), Bench::new());
    let lifecycle = server_side.telemetry.lifecycle.clone();
    lifecycle.advance(State::Ready);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Routes::new(Sums)
        .into_axum_router()
        .layer(server_side.layer());
    let shutdown = Shutdown::new(lifecycle, Duration::from_secs(60), Duration::ZERO);
    let wish = shutdown.clone();
    let server = tokio::spawn(async move {
        crate::serve::run(listener, app, &shutdown, Connections::default()).await
    });

    let (send, numbers) = tokio::sync::mpsc::channel(1);
    let numbers = tokio_stream::wrappers::ReceiverStream::new(numbers);
    let mut client = connect(&client_side, address).await;
    let answer = client.streaming(Request::new(numbers), path("RunningSum"), Codec::default());
    let mut sums = answer.await.unwrap().into_inner();
    send.send(1_i64).await.unwrap();
    assert_eq!(sums.message().await.unwrap(), Some(1_i64));
    wish.ask();
    wish.stop_accepting().await;
    send.send(2).await.unwrap();
    assert_eq!(sums.message().await.unwrap(), Some(3));
    assert!(!server.is_finished());
    drop(send);
    assert_eq!(sums.message().await.unwrap(), None);
    assert_eq!(server.await.unwrap(), 0, "no connection was cut");
    let line = server_side.closing_lines().remove(0);
    assert_eq!(line["http.route"], "/test.v1.Sums/{*rest}");
    assert_eq!(
        (line["rpc.method"].as_str(), &line["outcome"]),
        (Some("test.v1.Sums/RunningSum"), &"ok".into())
    );
}
