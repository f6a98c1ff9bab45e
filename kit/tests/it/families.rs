//! The metrics beside those of requests: sizes, connections, what the service runs in, and how full it is.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Connection, get, get_with};
use crate::service::Service;

/// Nothing here takes longer, however busy the machine: a mean of 15 seconds takes two of those to turn.
const DEADLINE: Duration = Duration::from_secs(60);
const ADMIN: (&str, &str) = ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0");

/// A scrape by the admin address, whose connections are not the service's.
struct Scrape(String);

impl Scrape {
    async fn of(admin: SocketAddr) -> Self {
        let accept = ("accept", "application/openmetrics-text; version=1.0.0");
        Self(get_with(admin, "/metrics", &[accept]).await.body)
    }

    fn find(&self, sample: &str) -> Option<f64> {
        let line = self
            .0
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
        Some(line.split(' ').next().unwrap().parse().unwrap())
    }

    fn value(&self, sample: &str) -> f64 {
        self.find(sample)
            .unwrap_or_else(|| panic!("no {sample} in {}", self.0))
    }
}

/// Scrapes until a sample is as wanted.
async fn until(admin: SocketAddr, sample: &str, wanted: impl Fn(f64) -> bool) -> Scrape {
    let began = Instant::now();
    loop {
        let scrape = Scrape::of(admin).await;
        let found = scrape.find(sample);
        if found.is_some_and(&wanted) {
            return scrape;
        }
        assert!(began.elapsed() < DEADLINE, "{sample} stays at {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a request's bytes and returns the connection once the answer's head has come.
async fn raw(addr: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream
}

#[tokio::test]
async fn bodies_are_measured_on_both_sides() {
    // How much a caller sends is no matter of trust.
    tokio::join!(sizes_of("private"), sizes_of("none"));
}

async fn sizes_of(trust: &str) {
    let service = Service::start(&[ADMIN, ("BELLWETHER_TRUST", trust)]).await;
    let admin = service.admin().await;
    let echo = |size: usize| {
        let body = Full::new(Bytes::from(vec![b'x'; size]));
        Request::post("/echo")
            .header("host", "orders.test")
            .body(body)
            .unwrap()
    };
    let mut http1 = Connection::http1(service.addr).await;
    http1.send(echo(64)).await.unwrap();
    http1.send(echo(1_000)).await.unwrap();
    let mut http2 = Connection::http2(service.addr).await;
    http2.send(echo(100_000)).await.unwrap();
    // Nobody says how long this one is.
    let chunked = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n";
    raw(service.addr, chunked).await;
    get(service.addr, "/hello/ann").await;

    let of = |route: &str, method: &str| {
        format!(
            "http_request_method=\"{method}\",url_scheme=\"http\",http_route=\"{route}\",\
             http_response_status_code=\"200\""
        )
    };
    let (echo, hello) = (of("/echo", "POST"), of("/hello/{name}", "GET"));
    let duration = "http_server_request_duration_seconds";
    until(admin, &format!("{duration}_count{{{echo}}}"), |count| {
        count == 4.0
    })
    .await;
    let scrape = until(admin, &format!("{duration}_count{{{hello}}}"), |count| {
        count == 1.0
    })
    .await;
    for (side, count, sum, small) in [
        ("request", 3.0, 101_064.0, 1.0),
        ("response", 4.0, 101_069.0, 2.0),
    ] {
        let name = format!("http_server_{side}_body_size_bytes");
        assert_eq!(
            scrape.value(&format!("{name}_count{{{echo}}}")),
            count,
            "{side}"
        );
        assert_eq!(
            scrape.value(&format!("{name}_sum{{{echo}}}")),
            sum,
            "{side}"
        );
        let bucket = format!("{name}_bucket{{{echo},le=\"64.0\"}}");
        assert_eq!(scrape.value(&bucket), small, "{side}");
    }
    let size = |side| {
        scrape.find(&format!(
            "http_server_{side}_body_size_bytes_sum{{{hello}}}"
        ))
    };
    assert_eq!((size("request"), size("response")), (None, Some(9.0)));
}

#[tokio::test]
async fn connections_are_counted_by_what_they_speak_until_they_close() {
    let service = Service::start(&[ADMIN]).await;
    let admin = service.admin().await;
    let open = |protocol| format!("bellwether_connections{{protocol=\"{protocol}\"}}");
    let (unknown, http1) = (open("unknown"), open("http1"));
    let (http2, upgraded) = (open("http2"), open("upgraded"));

    let silent = TcpStream::connect(service.addr).await.unwrap();
    until(admin, &unknown, |count| count == 1.0).await;
    let mut old = Connection::http1(service.addr).await;
    old.get("/hello/ann").await.unwrap();
    let mut new = Connection::http2(service.addr).await;
    new.get("/hello/ann").await.unwrap();
    new.get("/hello/bob").await.unwrap();
    let upgrade =
        "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let mut socket = raw(service.addr, upgrade).await;
    socket.write_all(b"ping").await.unwrap();
    socket.read_exact(&mut [0; 4]).await.unwrap();
    let scrape = Scrape::of(admin).await;
    let counts = [&unknown, &http1, &http2, &upgraded].map(|sample| scrape.value(sample));
    assert_eq!(counts, [1.0; 4]);

    drop((silent, old, new));
    for sample in [&unknown, &http1, &http2] {
        until(admin, sample, |count| count == 0.0).await;
    }
    assert_eq!(Scrape::of(admin).await.value(&upgraded), 1.0);
    drop(socket);
    until(admin, &upgraded, |count| count == 0.0).await;
}

#[tokio::test]
async fn a_server_of_the_services_own_has_no_connections_to_count() {
    let service = Service::start(&[ADMIN, (crate::service::OWN_SERVER, "1")]).await;
    let scrape = Scrape::of(service.admin().await).await;
    assert!(!scrape.0.contains("bellwether_connections"));
    scrape.value("tokio_workers");
}

#[tokio::test]
async fn what_a_service_runs_in_is_told() {
    let service = Service::start(&[ADMIN]).await;
    let admin = service.admin().await;
    let build = format!(
        "bellwether_build_info{{version=\"{}\",os=\"{}\",arch=\"{}\"}}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let before = Scrape::of(admin).await;
    assert_eq!(before.value(&build), 1.0);
    assert_eq!(before.value("tokio_workers"), 2.0);
    assert!(before.value("tokio_alive_tasks") >= 1.0);
    assert!(before.value("tokio_global_queue_depth") >= 0.0);

    let held = twenty(service.addr).await;
    let hog = tokio::spawn(get(service.addr, "/compute"));
    let busy = "tokio_worker_busy_seconds_total";
    let more = before.value(busy) + 0.2;
    let after = until(admin, busy, |seconds| seconds > more).await;
    assert!(after.value("tokio_worker_parks_total") > before.value("tokio_worker_parks_total"));
    assert!(after.value("tokio_alive_tasks") >= before.value("tokio_alive_tasks") + 20.0);
    hog.abort();
    if cfg!(target_os = "linux") {
        processes(&before, &after);
    }
    drop(held);
}

/// Twenty connections that are served.
async fn twenty(addr: SocketAddr) -> Vec<Connection> {
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::http1(addr).await;
        connection.get("/hello/ann").await.unwrap();
        connections.push(connection);
    }
    connections
}

fn processes(before: &Scrape, after: &Scrape) {
    let fds = "process_open_fds";
    assert!(after.value(fds) >= before.value(fds) + 20.0);
    assert!(after.value(fds) <= after.value("process_max_fds"));
    let cpu = "process_cpu_seconds_total";
    assert!(after.value(cpu) > before.value(cpu));
    let mebibyte = f64::from(1 << 20);
    let resident = after.value("process_resident_memory_bytes");
    assert!((mebibyte..1_024.0 * mebibyte).contains(&resident));
    assert!(after.value("process_virtual_memory_bytes") > resident);
    // Two workers, the test's own two, and the kit's.
    assert!((4.0..64.0).contains(&after.value("process_threads")));
    let start = "process_start_time_seconds";
    assert_eq!(before.value(start), after.value(start));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let age = now.as_secs_f64() - after.value(start);
    assert!((-2.0..3_600.0).contains(&age), "{age}");
}

#[tokio::test]
async fn saturation_tells_the_full_from_the_idle() {
    let limited = [ADMIN, ("BELLWETHER_CONCURRENCY_LIMIT", "8")];
    let (idle, computing, hanging) = tokio::join!(
        Service::start(&limited),
        Service::start(&limited),
        Service::start(&limited),
    );
    let (idle_admin, computing_admin, hanging_admin) =
        tokio::join!(idle.admin(), computing.admin(), hanging.admin());
    let ratio = "bellwether_saturation_ratio";
    let component =
        |resource| format!("bellwether_saturation_component_ratio{{resource=\"{resource}\"}}");

    // Two of eight places, and both workers.
    let hogs: Vec<_> = (0..2)
        .map(|_| tokio::spawn(get(computing.addr, "/compute")))
        .collect();
    // All eight places, and no worker.
    let hung: Vec<_> = (0..8)
        .map(|_| tokio::spawn(get(hanging.addr, "/hang")))
        .collect();
    let (idle, computing, hanging) = tokio::join!(
        until(idle_admin, ratio, |share| share < 0.1),
        until(computing_admin, ratio, |share| share > 0.9),
        until(hanging_admin, ratio, |share| share > 0.9),
    );
    for resource in ["concurrency", "runtime", "queue"] {
        assert!(idle.value(&component(resource)) < 0.1, "{resource}");
    }
    assert!(computing.value(&component("runtime")) > 0.9);
    assert!(computing.value(&component("concurrency")) < 0.3);
    assert!(hanging.value(&component("concurrency")) > 0.9);
    assert!(hanging.value(&component("runtime")) < 0.5);
    hogs.iter().chain(&hung).for_each(|task| task.abort());
}

#[tokio::test]
async fn without_a_limit_concurrency_is_no_component() {
    let service = Service::start(&[ADMIN]).await;
    let ratio = "bellwether_saturation_ratio";
    let scrape = until(service.admin().await, ratio, |share| share <= 1.0).await;
    assert!(!scrape.0.contains("resource=\"concurrency\""));
    assert!(scrape.0.contains("resource=\"runtime\""));
}
