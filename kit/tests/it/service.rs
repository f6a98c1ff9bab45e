//! The service under test, and its handle: started as a child process, its lines collected.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Path, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bellwether::{Kit, KitBuilder, check};
use http::StatusCode;
use http_body::Frame;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;

/// Nothing here takes longer, however busy the machine.
const DEADLINE: Duration = Duration::from_secs(20);
const CHILD: &str = "TEST_SERVICE";
/// Set for a child that builds its own subscriber: a filter for all of that's layers.
pub(crate) const OWN_FILTER: &str = "TEST_OWN_FILTER";
/// Set for a child that keeps its own server.
pub(crate) const OWN_SERVER: &str = "TEST_OWN_SERVER";
/// Has it send itself SIGTERM once its server is made, before it runs.
pub(crate) const EARLY_SIGNAL: &str = "TEST_EARLY_SIGNAL";

/// Set for a child with dependency checks that hang: as many, and one that blocks its thread.
pub(crate) const HANGING_CHECKS: &str = "TEST_HANGING_CHECKS";

/// Set for a child that is nothing but `bellwether::run`.
pub(crate) const RUN: &str = "TEST_RUN";
/// Set for a child with hooks around its drain: how many milliseconds the first one takes.
pub(crate) const HOOKS: &str = "TEST_HOOKS";
/// Set for a child that floods itself with requests.
pub(crate) const FLOOD: &str = "TEST_FLOOD";

/// The child's `main`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the service that the other tests start"]
async fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    child_as::take_log_crate();
    if std::env::var_os(RUN).is_some() {
        let app = Router::new()
            .route("/hello/{name}", get(hello))
            .route("/slow/{millis}", get(slow));
        return bellwether::run("orders", app).await.unwrap();
    }
    let kit = Kit::from_env("orders")
        .unwrap()
        .check(
            "db",
            check(|| async { Ok::<(), Infallible>(()) }).critical(),
        )
        .check("mail", check(|| async { Err::<(), _>("no route to host") }));
    let kit = hanging_checks(own_subscriber(kit)).start().unwrap();
    let app = Router::new()
        .route("/hello/{name}", get(hello))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/slow/{millis}", get(slow))
        .route("/stream/{chunks}", get(stream))
        .route(
            "/panic",
            get(|| async { panic!("the inside") as &'static str }),
        )
        .route("/task-panic", get(task_panic))
        .route("/record", get(record))
        .route("/leak", get(leak))
        .route("/upgrade", get(upgrade))
        .route("/ws", get(websocket))
        .route("/block/{millis}", get(block))
        .route("/context", crate::propagation::context(&kit))
        .route("/compute", get(compute))
        .route("/hang", get(std::future::pending::<&'static str>))
        .merge(crate::log_control::routes());
    hooks(&kit);
    let app = app.layer(Extension(kit.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    if std::env::var_os(OWN_SERVER).is_some() {
        return own_server(&kit, listener, app).await;
    }
    let app = app.route("/livez", get(|| async { "the service's own" }));
    let app = kit.wrap(app);
    if std::env::var_os(FLOOD).is_some() {
        tokio::spawn(crate::cardinality::flood(kit.clone(), app.clone()));
    }
    kit.serve(listener, app).await.unwrap();
}

/// One hook of each kind, and one that never ends, if there are to be any.
fn hooks(kit: &Kit) {
    let Ok(millis) = std::env::var(HOOKS) else {
        return;
    };
    let pause = Duration::from_millis(millis.parse().unwrap());
    kit.on_drain("deregister", async move {
        tokio::time::sleep(pause).await;
        Err::<(), _>("the registry is gone")
    });
    kit.on_stop("pool", async { tracing::info!("closing the pool") });
    kit.on_stop("stuck", std::future::pending::<()>());
}

fn hanging_checks(kit: KitBuilder) -> KitBuilder {
    let Ok(count) = std::env::var(HANGING_CHECKS) else {
        return kit;
    };
    let often = Duration::from_millis(20);
    let hanging = || check(std::future::pending::<Result<(), Infallible>>).timeout(often);
    let kit = (0..count.parse().unwrap()).fold(kit, |kit, index: u32| {
        kit.check(format!("hanging-{index}"), hanging().interval(often))
    });
    let blocking = check(|| async {
        block_thread(60_000);
        Ok::<(), Infallible>(())
    });
    kit.check("blocking", blocking.timeout(often))
}

/// What no handler should do.
async fn block(Path(millis): Path<u64>) -> &'static str {
    block_thread(millis);
    "done"
}

fn block_thread(millis: u64) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread that is blocked is the test"
    )]
    std::thread::sleep(Duration::from_millis(millis));
}

/// A service that builds its subscriber takes the kit's layer.
fn own_subscriber(kit: KitBuilder) -> KitBuilder {
    let Ok(filter) = std::env::var(OWN_FILTER) else {
        return kit;
    };
    let (kit, layer) = kit.log_layer().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(layer)
        .with(EnvFilter::new(filter));
    tracing::subscriber::set_global_default(subscriber).unwrap();
    kit
}

/// A service that keeps its server takes the kit's parts.
async fn own_server(kit: &Kit, listener: TcpListener, app: Router) {
    let app = app.merge(kit.routes()).layer(kit.layer());
    tracing::info!(address = %listener.local_addr().unwrap(), "listening");
    let server = axum::serve(listener, app).with_graceful_shutdown(kit.shutdown_signal());
    if std::env::var_os(EARLY_SIGNAL).is_some() {
        let this = std::process::id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &this])
            .status();
        assert!(sent.unwrap().success());
    }
    tokio::select! {
        ended = server.into_future() => ended.unwrap(),
        () = kit.cut_signal() => {}
    }
    kit.finish().await;
}

async fn hello(Path(name): Path<String>, request: Request) -> String {
    tracing::info!(version = ?request.version(), "greeting");
    format!("hello {name}")
}

/// Panics in a task that belongs to the request by its span alone.
async fn task_panic() -> &'static str {
    let task = async { panic!("in a task") };
    let span = tracing::info_span!("task", order = 7);
    let task = tokio::spawn(tracing::Instrument::instrument(task, span));
    assert!(task.await.is_err());
    "done"
}

/// Logs as libraries do that know the `log` crate only; answers with what that lets through.
async fn record() -> String {
    log::error!(target: "library::quiet", "shown");
    log::warn!(target: "library::quiet", "hidden by its target");
    log::debug!(target: "library::pool", "hidden by its level");
    log::warn!(target: "library::pool", "from a {}", "library");
    log::max_level().to_string()
}

/// What a child does with the `log` crate before it starts its kit.
pub(crate) mod child_as {
    /// Set for one that has a logger.
    pub(crate) const OWN_LOGGER: &str = "TEST_OWN_LOGGER";
    /// Set for one that turns records into events, as `init` of `tracing-subscriber` does.
    pub(crate) const LOG_TRACER: &str = "TEST_LOG_TRACER";

    struct Silent;

    impl log::Log for Silent {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            false
        }
        fn log(&self, _: &log::Record<'_>) {}
        fn flush(&self) {}
    }

    pub(super) fn take_log_crate() {
        if std::env::var_os(OWN_LOGGER).is_some() {
            log::set_logger(&Silent).unwrap();
        }
        if std::env::var_os(LOG_TRACER).is_some() {
            tracing_log::LogTracer::init().unwrap();
        }
    }
}

/// Tells every secret that it knows, by every way there is.
#[tracing::instrument(fields(password = "hunter2", url = "http://me:hunter2@h"))]
async fn leak() -> &'static str {
    let url = "postgres://me:hunter2@db";
    tracing::info!(user.password = "hunter2", url, "connecting to {url}");
    tracing::info!(
        card_number = 4_111_111_111_111_111_u64,
        session = "visible",
        "Bearer hunter2"
    );
    panic!("cannot reach {url}")
}

/// Echoes on the bare connection until the client closes its side.
async fn upgrade(mut request: Request) -> impl IntoResponse {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let headers = [("connection", "upgrade"), ("upgrade", "echo")];
    (StatusCode::SWITCHING_PROTOCOLS, headers)
}

/// Keeps a worker busy for as long as somebody waits for it.
async fn compute() -> &'static str {
    loop {
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(1) {}
        tokio::task::yield_now().await;
    }
}

/// Echoes; says goodbye when the service is to stop, unless the first message asked it not to.
async fn websocket(Extension(kit): Extension<Kit>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        let stop = kit.shutdown_signal();
        let polite = socket.recv().await.unwrap().unwrap() == Message::text("polite");
        socket.send(Message::text("agreed")).await.unwrap();
        tokio::select! {
            () = stop, if polite => socket.send(Message::Close(None)).await.unwrap(),
            () = echo(&mut socket) => {}
        }
        tracing::info!(polite, "socket closed");
    })
}

async fn echo(socket: &mut WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn slow(Path(millis): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    "done"
}

/// So many chunks, 50 ms apart.
async fn stream(Path(chunks): Path<u32>) -> Body {
    Body::new(Chunks {
        left: chunks,
        pause: Box::pin(tokio::time::sleep(Duration::ZERO)),
    })
}

struct Chunks {
    left: u32,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.pause.as_mut().poll(cx));
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.pause = Box::pin(tokio::time::sleep(Duration::from_millis(50)));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"chunk\n")))))
    }
}

/// A service that runs; killed when dropped.
pub(crate) struct Service {
    pub(crate) addr: SocketAddr,
    child: Child,
    collector: JoinHandle<()>,
    lines: Arc<Mutex<Vec<Value>>>,
    more: Arc<Notify>,
}

impl Service {
    /// Starts one with these variables set, and waits until it listens.
    pub(crate) async fn start(env: &[(&str, &str)]) -> Self {
        let usual = [
            ("BELLWETHER_LOG_FORMAT", "json"),
            ("BELLWETHER_DRAIN_DELAY", "0s"),
            ("BELLWETHER_GRACE", "10s"),
        ];
        Self::start_bare(&[&usual, env].concat()).await
    }

    /// As [`start`](Self::start), with nothing else set, but for spans, which go nowhere.
    pub(crate) async fn start_bare(env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["service::child", "--exact", "--ignored", "--nocapture"])
            .env_clear()
            .env(CHILD, "1")
            .env("OTEL_TRACES_EXPORTER", "none")
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (lines, more) = (Arc::default(), Arc::default());
        let stdout = child.stdout.take().unwrap();
        let collector = tokio::spawn(collect(stdout, Arc::clone(&lines), Arc::clone(&more)));
        let mut service = Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            child,
            collector,
            lines,
            more,
        };
        let listening = service.line(|line| line["message"] == "listening").await;
        service.addr = text(&listening, "address").parse().unwrap();
        service
    }

    /// Where the admin endpoints are.
    pub(crate) async fn admin(&self) -> SocketAddr {
        let started = self.line(|line| line["message"] == "started").await;
        text(&started, "admin_addr").parse().unwrap()
    }

    /// The lines written so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for the first line of which `wanted` is true.
    pub(crate) async fn line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = timeout(DEADLINE, async {
            loop {
                let more = self.more.notified();
                if let Some(line) = self.lines().into_iter().find(|line| wanted(line)) {
                    return line;
                }
                more.await;
            }
        });
        match found.await {
            Ok(line) => line,
            Err(_) => panic!("no such line among {:#?}", self.lines()),
        }
    }

    /// Waits for the line that closes the request with this path.
    pub(crate) async fn closing(&self, path: &str) -> Value {
        self.line(|line| line["target"] == "bellwether::request" && line["url.path"] == path)
            .await
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().expect("the service still runs").to_string();
        let sent = std::process::Command::new("sh")
            .args(["-c", "kill -$0 $1", name, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits until the service has exited by itself, and until its last line is among [`lines`](Self::lines).
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let exited = async {
            let status = self.child.wait().await.unwrap();
            // The pipe outlasts the process: what it wrote last may still be in there.
            (&mut self.collector).await.unwrap();
            status
        };
        timeout(DEADLINE, exited).await.expect("the service exits")
    }
}

/// An address that nobody listens on.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A field that is text.
pub(crate) fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {line:#}"))
}

/// The test harness writes to the same stdout: what is no JSON object is its own.
async fn collect(stdout: ChildStdout, lines: Arc<Mutex<Vec<Value>>>, more: Arc<Notify>) {
    let mut stdout = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = stdout.next_line().await {
        let object = line.find('{').and_then(|at| line.get(at..));
        if let Some(Ok(line)) = object.map(serde_json::from_str) {
            lines.lock().unwrap().push(line);
            more.notify_waiters();
        }
    }
}
