//! `grpc.health.v1.Health` (gRPC Health Checking Protocol): what the probes read, asked by gRPC. Handed out by
//! `Kit::grpc_health`, mounted by services beside their own.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{Request, Response};
use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::server::NamedService;
use tonic::{Status, async_trait};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_service::Service;

use super::{Health, State};
use crate::http::NotTraffic;
use crate::shutdown::Shutdown;

/// How soon a watcher hears that a check has changed; a shutdown it hears of at once.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The longest question read, in bytes: a name and its tag.
const MAX_QUESTION: usize = 4_096;

/// `grpc.health.v1.Health` of a tonic service, as Kubernetes' gRPC probes and load balancers ask it.
///
/// `Check` and `Watch` answer for the empty name as `/readyz` does, for the names given to
/// [`service`](Self::service) likewise, and for the name of a health check with its last result. Once the
/// shutdown begins all are `NOT_SERVING` at once; streams of `Watch` end with the drain delay, so that they
/// do not hold up the drain. A name that is none of these is `NOT_FOUND` to `Check` and `SERVICE_UNKNOWN` to
/// `Watch`. Questions leave no log line, span or metric, and the concurrency limit lets them pass.
///
/// ```
/// use bellwether::Kit;
/// use tonic::transport::Server;
///
/// # async fn serve(kit: Kit, address: std::net::SocketAddr) -> Result<(), tonic::transport::Error> {
/// let server = Server::builder()
///     .layer(kit.layer())
///     .add_service(kit.grpc_health().service("calculator.v1.Calculator"))
///     // .add_service(CalculatorServer::new(…))
///     .serve_with_shutdown(address, kit.shutdown_signal());
/// tokio::select! {
///     ended = server => ended?,
///     () = kit.cut_signal() => {} // it would wait for its last stream however long that takes
/// }
/// kit.finish().await;
/// # Ok(())
/// # }
/// ```
///
/// On the kit's own server tonic's services are `kit.wrap(Routes::new(…).into_axum_router())`, this one among them;
/// beside the routes of an axum service it is
/// `app.route_service("/grpc.health.v1.Health/{*method}", kit.grpc_health())`.
#[derive(Clone, Debug)]
pub struct GrpcHealth {
    answers: Answers,
    server: HealthServer<Answers>,
}

impl GrpcHealth {
    pub(crate) fn new(health: Health, shutdown: Shutdown) -> Self {
        Self::of(Answers {
            health,
            shutdown,
            services: Arc::default(),
        })
    }

    /// Answers for this name, too, as for the whole server: `package.Service`, which generated code has as
    /// `SERVICE_NAME`.
    #[must_use]
    pub fn service(self, name: impl Into<String>) -> Self {
        let mut answers = self.answers;
        Arc::make_mut(&mut answers.services).push(name.into());
        Self::of(answers)
    }

    fn of(answers: Answers) -> Self {
        let server = HealthServer::new(answers.clone()).max_decoding_message_size(MAX_QUESTION);
        Self { answers, server }
    }
}

impl NamedService for GrpcHealth {
    const NAME: &'static str = health_server::SERVICE_NAME;
}

impl<B> Service<Request<B>> for GrpcHealth
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // A program with a server of its own never tells us that it listens; this request does.
        self.answers.health.lifecycle.advance(State::Ready);
        let answer = self.server.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            response.extensions_mut().insert(NotTraffic);
            Ok(response)
        })
    }
}

/// What is told of which name.
#[derive(Clone, Debug)]
struct Answers {
    health: Health,
    shutdown: Shutdown,
    /// Names that stand for the whole server, besides the empty one.
    services: Arc<Vec<String>>,
}

impl Answers {
    fn status(&self, name: &str) -> ServingStatus {
        let serving = if name.is_empty() || self.services.iter().any(|service| service == name) {
            self.health.ready(&[]).is_ok()
        } else if let Some(passing) = self.health.is_passing(name) {
            passing && !self.health.lifecycle.is_draining()
        } else {
            return ServingStatus::ServiceUnknown;
        };
        if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

#[async_trait]
impl health_server::Health for Answers {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        match self.status(&request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found(
                "neither a service nor a health check has this name",
            )),
            status => Ok(tonic::Response::new(answer(status))),
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let changes = changes(self.clone(), request.into_inner().service);
        Ok(tonic::Response::new(Box::pin(changes)))
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

/// The status now, then each change of it, until the server stops accepting.
fn changes(
    answers: Answers,
    name: String,
) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send {
    let watch = Watch {
        answers,
        name,
        told: None,
        over: false,
    };
    stream::unfold(watch, |mut watch| async move {
        let change = watch.next().await?;
        Some((change, watch))
    })
}

struct Watch {
    answers: Answers,
    name: String,
    told: Option<ServingStatus>,
    over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<HealthCheckResponse, Status>> {
        while !self.over {
            let status = self.answers.status(&self.name);
            if self.told != Some(status) {
                self.told = Some(status);
                return Some(Ok(answer(status)));
            }
            let shutdown = &self.answers.shutdown;
            let draining = self.answers.health.lifecycle.is_draining();
            tokio::select! {
                () = shutdown.stop_accepting() => {
                    self.over = true;
                    return Some(Err(Status::unavailable("the server is shutting down")));
                }
                () = shutdown.asked(), if !draining => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tonic::Code;
    use tonic_health::pb::health_client::HealthClient;

    use super::*;
    use crate::health::{Check, Checks, Lifecycle, check};

    type Client = HealthClient<GrpcHealth>;

    fn client(checks: Vec<(&str, Check)>) -> (Client, Shutdown) {
        let (health, shutdown) = service(checks);
        (HealthClient::new(health), shutdown)
    }

    fn service(checks: Vec<(&str, Check)>) -> (GrpcHealth, Shutdown) {
        let lifecycle = Lifecycle::new();
        let checks = checks
            .into_iter()
            .map(|(name, check)| (name.to_owned(), check))
            .collect();
        let health = Health {
            lifecycle: lifecycle.clone(),
            checks: Arc::new(Checks::start(checks, &tokio::runtime::Handle::current())),
            liveness: crate::health::Liveness::new(None),
        };
        let grace = Duration::from_secs(20);
        let shutdown = Shutdown::new(lifecycle, grace, Duration::from_secs(5));
        let health = GrpcHealth::new(health, shutdown.clone()).service("shop.v1.Cart");
        (health, shutdown)
    }

    fn ask(name: &str) -> HealthCheckRequest {
        HealthCheckRequest {
            service: name.to_owned(),
        }
    }

    async fn status(client: &mut Client, name: &str) -> Result<ServingStatus, Code> {
        let answer = client.check(ask(name)).await;
        answer
            .map(|answer| answer.into_inner().status())
            .map_err(|status| status.code())
    }

    /// Waits, on the paused clock, until the checks have run.
    async fn settle() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_the_servers_or_a_checks() {
        let (mut client, shutdown) = client(vec![
            ("db", check(async || Ok::<(), String>(())).critical()),
            ("mail", check(async || Err::<(), _>("no route to host"))),
        ]);
        settle().await;
        for (name, expected) in [
            ("", Ok(ServingStatus::Serving)),
            ("shop.v1.Cart", Ok(ServingStatus::Serving)),
            ("db", Ok(ServingStatus::Serving)),
            ("mail", Ok(ServingStatus::NotServing)),
            ("shop.v1.Till", Err(Code::NotFound)),
        ] {
            assert_eq!(status(&mut client, name).await, expected, "{name}");
        }
        let long = "x".repeat(MAX_QUESTION);
        assert_eq!(status(&mut client, &long).await, Err(Code::OutOfRange));
        shutdown.ask();
        for name in ["", "shop.v1.Cart", "db"] {
            assert_eq!(
                status(&mut client, name).await,
                Ok(ServingStatus::NotServing)
            );
        }
    }

    /// As on the kit's own server, where what is no traffic is told from the rest.
    #[cfg(feature = "axum")]
    #[tokio::test(start_paused = true)]
    async fn answers_are_no_traffic_behind_axum_either() {
        let (health, _shutdown) = service(vec![]);
        let app = axum::Router::new().route_service("/grpc.health.v1.Health/{*method}", health);
        let app = app.layer(tower::util::MapResponseLayer::new(
            |response: axum::response::Response| {
                assert!(response.extensions().get::<NotTraffic>().is_some());
                response
            },
        ));
        let mut client = HealthClient::new(app);
        let answer = client.check(ask("")).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_critical_check_is_not_serving() {
        let failing = check(async || Err::<(), _>("down")).critical();
        let (mut client, _shutdown) = client(vec![("db", failing)]);
        settle().await;
        assert_eq!(status(&mut client, "").await, Ok(ServingStatus::NotServing));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_hears_of_the_shutdown_at_once_and_does_not_hold_it_up() {
        let (mut client, shutdown) = client(vec![]);
        let mut changes = client.watch(ask("")).await.unwrap().into_inner();
        let mut next = async || changes.next().await;
        let first = next().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
        let began = tokio::time::Instant::now();
        shutdown.ask();
        let second = next().await.unwrap().unwrap();
        assert_eq!(second.status(), ServingStatus::NotServing);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(next().await.unwrap().unwrap_err().code(), Code::Unavailable);
        assert_eq!(began.elapsed(), Duration::from_secs(5), "the drain delay");
        assert!(next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_hears_of_a_check_that_changes() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let up = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&up);
        let db = check(move || {
            let up = seen.load(Ordering::Relaxed);
            async move { if up { Ok(()) } else { Err("down") } }
        });
        let (mut client, _shutdown) = client(vec![("db", db.interval(Duration::from_secs(1)))]);
        settle().await;
        let mut changes = client.watch(ask("db")).await.unwrap().into_inner();
        let mut unknown = client.watch(ask("nobody")).await.unwrap().into_inner();
        let first = changes.next().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::NotServing);
        up.store(true, Ordering::Relaxed);
        let second = changes.next().await.unwrap().unwrap();
        assert_eq!(second.status(), ServingStatus::Serving);
        let unknown = unknown.next().await.unwrap().unwrap();
        assert_eq!(unknown.status(), ServingStatus::ServiceUnknown);
    }
}
