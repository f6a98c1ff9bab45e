//! The end of a service: unready first, nothing accepted lost, everything within the grace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Connection, get, request};
use crate::service::{EARLY_SIGNAL, OWN_SERVER, RUN, Service};

async fn status(addr: SocketAddr, path: &str) -> u16 {
    get(addr, path).await.status.as_u16()
}

/// Waits until probes are told that the service drains.
async fn unready(addr: SocketAddr) {
    while status(addr, "/readyz").await != 503 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn unready_before_it_stops() {
    let mut service = Service::start(&[("BELLWETHER_DRAIN_DELAY", "2s")]).await;
    while status(service.addr, "/readyz").await != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut kept = Connection::http1(service.addr).await;
    assert!(!kept.get("/hello/kept").await.unwrap().closes());

    let began = Instant::now();
    service.signal("TERM");
    unready(service.addr).await;
    assert_eq!(get(service.addr, "/readyz").await.body, "draining\n");
    assert_eq!(status(service.addr, "/startupz").await, 200);
    assert_eq!(status(service.addr, "/health/live").await, 200);
    // Still serving, on new connections and on old ones, which are told to close.
    assert!(get(service.addr, "/hello/new").await.closes());
    let last = kept.get("/hello/kept").await.unwrap();
    assert!(last.status == 200 && last.closes());

    assert!(service.exited().await.success());
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(TcpStream::connect(service.addr).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_under_load() {
    under_load("300ms").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_under_load_without_a_delay() {
    under_load("0s").await;
}

/// Clients that keep their connections and open new ones when told to: whatever is sent on a connection
/// that was made is answered, until no connection can be made any more.
async fn under_load(delay: &str) {
    let mut service = Service::start(&[("BELLWETHER_DRAIN_DELAY", delay)]).await;
    let answered = Arc::new(AtomicU64::new(0));
    let start = || tokio::spawn(client(service.addr, Arc::clone(&answered)));
    let clients: Vec<_> = (0..100).map(|_| start()).collect();
    while answered.load(Ordering::Relaxed) < 1_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    service.signal("TERM");
    assert!(service.exited().await.success());
    for client in clients {
        client.await.unwrap();
    }
    let cut = |line: &serde_json::Value| line.get("connections").is_some();
    assert!(!service.lines().iter().any(cut));
}

async fn client(addr: SocketAddr, answered: Arc<AtomicU64>) {
    while let Some(mut connection) = connect(addr).await {
        loop {
            let answer = connection.get("/hello/load").await;
            let answer = answer.expect("a request on an open connection is answered");
            assert_eq!(answer.status, 200);
            answered.fetch_add(1, Ordering::Relaxed);
            if answer.closes() {
                break;
            }
        }
    }
}

/// `None` once the service no longer listens.
async fn connect(addr: SocketAddr) -> Option<Connection> {
    match TcpStream::connect(addr).await {
        Ok(stream) => Some(Connection::over(stream).await),
        Err(_) => None,
    }
}

#[tokio::test]
async fn requests_in_flight_finish() {
    let mut service = Service::start(&[]).await;
    let mut slow = Connection::http1(service.addr).await;
    let mut streaming = Connection::http1(service.addr).await;
    let head = streaming.head(request("/stream/20", &[])).await.unwrap();
    let slow = tokio::spawn(async move { slow.get("/slow/900").await });
    // The slow request is under way once another one that came later was answered.
    get(service.addr, "/hello/ann").await;
    service.signal("TERM");
    assert_eq!(slow.await.unwrap().unwrap().body, "done");
    let body = head.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "chunk\n".repeat(20));
    assert!(service.exited().await.success());
    assert_eq!(service.closing("/stream/20").await["outcome"], "ok");
}

#[tokio::test]
async fn an_idle_connection_holds_nothing_up() {
    let mut service = Service::start(&[]).await;
    let _silent = TcpStream::connect(service.addr).await.unwrap();
    let mut idle = Connection::http1(service.addr).await;
    idle.get("/hello/ann").await.unwrap();
    let began = Instant::now();
    service.signal("TERM");
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    timeout(Duration::from_secs(5), idle.closed)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn what_outlives_the_grace_is_cut() {
    let mut service = Service::start(&[("BELLWETHER_GRACE", "2s")]).await;
    let mut hanging = Connection::http1(service.addr).await;
    let hanging = tokio::spawn(async move { hanging.get("/hang").await });
    get(service.addr, "/hello/ann").await;
    let began = Instant::now();
    service.signal("TERM");
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() >= Duration::from_millis(1_500),
        "{:?}",
        began.elapsed()
    );
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    assert!(hanging.await.unwrap().is_err());
    let cut = service.line(|line| line.get("connections").is_some()).await;
    assert_eq!(
        (&cut["connections"], &cut["level"]),
        (&1.into(), &"WARN".into())
    );
    assert_eq!(service.closing("/hang").await["outcome"], "timeout");
}

#[tokio::test]
async fn an_interrupt_skips_the_delay() {
    let mut service = Service::start(&[("BELLWETHER_DRAIN_DELAY", "9s")]).await;
    let began = Instant::now();
    service.signal("INT");
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut service = Service::start(&[("BELLWETHER_DRAIN_DELAY", "9s")]).await;
    let began = Instant::now();
    service.signal("TERM");
    unready(service.addr).await;
    service.signal("TERM");
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn on_cloud_run_the_port_is_its_own_and_nothing_waits_for_balancers() {
    let env = [(RUN, "1"), ("K_SERVICE", "orders"), ("PORT", "0")];
    let mut service = Service::start_bare(&env).await;
    // Of all interfaces, on the port given: here any that is free.
    assert!(service.addr.ip().is_unspecified() && service.addr.port() != 8080);
    service.addr.set_ip([127, 0, 0, 1].into());
    let started = service.line(|line| line["message"] == "started").await;
    assert_eq!(started["grace_seconds"], 9.0);
    assert_eq!(started["drain_delay_seconds"], 0.0);
    let mut slow = Connection::http1(service.addr).await;
    let slow = tokio::spawn(async move { slow.get("/slow/700").await });
    assert_eq!(get(service.addr, "/hello/ann").await.status, 200);
    let began = Instant::now();
    service.signal("TERM");
    assert_eq!(slow.await.unwrap().unwrap().body, "done");
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(service.closing("/slow/700").await["outcome"], "ok");
}

#[tokio::test]
async fn http2_connections_are_told_to_go_away() {
    let mut service = Service::start(&[("BELLWETHER_DRAIN_DELAY", "5s")]).await;
    let mut connection = Connection::http2(service.addr).await;
    let uri = format!("http://{}/slow/500", service.addr);
    let last = tokio::spawn(async move {
        let last = connection.get(&uri).await;
        (last, connection.closed.await)
    });
    let mut other = Connection::http2(service.addr).await;
    let uri = format!("http://{}/hello/ann", service.addr);
    other.get(&uri).await.unwrap();
    let began = Instant::now();
    service.signal("TERM");
    // What is under way is answered, then the connection ends: long before the delay is over.
    let (last, closed) = last.await.unwrap();
    assert_eq!(last.unwrap().body, "done");
    closed.unwrap().unwrap();
    other.closed.await.unwrap().unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert!(service.exited().await.success());
}

#[tokio::test]
async fn an_upgraded_connection_is_waited_for() {
    let mut service = Service::start(&[]).await;
    let mut stream = TcpStream::connect(service.addr).await.unwrap();
    let upgrade = "GET /upgrade HTTP/1.1\r\nhost: orders.test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    assert_eq!(service.closing("/upgrade").await["outcome"], "upgraded");
    let mut idle = Connection::http1(service.addr).await;
    idle.get("/hello/ann").await.unwrap();
    service.signal("TERM");
    // Quiet for as long as this one, which is closed for it.
    idle.closed.await.unwrap().unwrap();
    stream.write_all(b"still here").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.ends_with("still here"), "{answer}");
    assert!(service.exited().await.success());
}

#[tokio::test]
async fn a_service_with_its_own_server_drains_with_the_kit_s_signal() {
    let env = [(OWN_SERVER, "1"), ("BELLWETHER_DRAIN_DELAY", "500ms")];
    let mut service = Service::start(&env).await;
    while status(service.addr, "/readyz").await != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(get(service.addr, "/hello/ann").await.status, 200);
    assert_eq!(
        service.closing("/hello/ann").await["http.route"],
        "/hello/{name}"
    );
    service.signal("TERM");
    unready(service.addr).await;
    assert!(get(service.addr, "/hello/bob").await.closes());
    assert!(service.exited().await.success());
    service.line(|line| line["message"] == "stopped").await;
    let probes = |line: &serde_json::Value| line["url.path"] == "/readyz";
    assert!(!service.lines().iter().any(probes));
}

#[tokio::test]
async fn a_signal_before_the_server_runs_is_heeded() {
    let env = [
        (OWN_SERVER, "1"),
        (EARLY_SIGNAL, "1"),
        ("BELLWETHER_DRAIN_DELAY", "0s"),
    ];
    let mut service = Service::start(&env).await;
    assert!(service.exited().await.success());
    service.line(|line| line["message"] == "stopped").await;
}

#[tokio::test]
async fn a_service_with_its_own_server_gives_up_in_time() {
    let env = [
        (OWN_SERVER, "1"),
        ("BELLWETHER_DRAIN_DELAY", "0s"),
        ("BELLWETHER_GRACE", "2s"),
    ];
    let mut service = Service::start(&env).await;
    let mut hanging = TcpStream::connect(service.addr).await.unwrap();
    let head = "GET /hang HTTP/1.1\r\nhost: a\r\n\r\n";
    hanging.write_all(head.as_bytes()).await.unwrap();
    // Answered on a younger connection: the older one is being served.
    get(service.addr, "/hello/ann").await;
    let began = Instant::now();
    service.signal("TERM");
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "requests have time"
    );
    assert!(began.elapsed() < Duration::from_secs(10));
    service.line(|line| line["message"] == "stopped").await;
}
