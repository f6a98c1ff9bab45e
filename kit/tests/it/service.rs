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
use axum::extract::{Path, Request};
use axum::response::IntoResponse;
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

/// Set for a child that floods itself with requests.
pub(crate) const FLOOD: &str = "TEST_FLOOD";

/// The child's `main`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the service that the other tests start"]
async fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let kit = Kit::from_env("orders")
        .unwrap()
        .check(
            "db",
            check(|| async { Ok::<(), Infallible>(()) }).critical(),
        )
        .check("mail", check(|| async { Err::<(), _>("no route to host") }));
    let kit = own_subscriber(kit).start().unwrap();
    let app = Router::new()
        .route("/hello/{name}", get(hello))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/slow/{millis}", get(slow))
        .route("/stream/{chunks}", get(stream))
        .route(
            "/panic",
            get(|| async { panic!("the inside") as &'static str }),
        )
        .route("/leak", get(leak))
        .route("/upgrade", get(upgrade))
        .route("/compute", get(compute))
        .route("/hang", get(std::future::pending::<&'static str>));
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
    axum::serve(listener, app)
        .with_graceful_shutdown(kit.shutdown_signal())
        .await
        .unwrap();
    kit.finish().await;
}

async fn hello(Path(name): Path<String>, request: Request) -> String {
    tracing::info!(version = ?request.version(), "greeting");
    format!("hello {name}")
}

/// Tells every secret that it knows, by every way there is.
#[tracing::instrument(fields(password = "hunter2", url = "http://me:hunter2@h"))]
async fn leak() -> &'static str {
    let url = "postgres://me:hunter2@db";
    tracing::info!(user.password = "hunter2", url, "connecting to {url}");
    tracing::info!(card_number = 4111, session = "visible", "Bearer hunter2");
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
    lines: Arc<Mutex<Vec<Value>>>,
    more: Arc<Notify>,
}

impl Service {
    /// Starts one with these variables set, and waits until it listens.
    pub(crate) async fn start(env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["service::child", "--exact", "--ignored", "--nocapture"])
            .env_clear()
            .env(CHILD, "1")
            .env("BELLWETHER_LOG_FORMAT", "json")
            .env("BELLWETHER_DRAIN_DELAY", "0s")
            .env("BELLWETHER_GRACE", "10s")
            .env("OTEL_TRACES_EXPORTER", "none")
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (lines, more) = (Arc::default(), Arc::default());
        let stdout = child.stdout.take().unwrap();
        tokio::spawn(collect(stdout, Arc::clone(&lines), Arc::clone(&more)));
        let mut service = Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            child,
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

    /// Waits until the service has exited by itself.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        timeout(DEADLINE, self.child.wait())
            .await
            .expect("the service exits")
            .unwrap()
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
