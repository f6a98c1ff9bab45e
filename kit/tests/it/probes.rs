//! What probes are told, and how fast, while checks hang and threads are blocked.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Answer, Connection, get};
use crate::service::{HANGING_CHECKS, Service, text};

const LIVENESS: &str = "bellwether::liveness";

/// Asks for `path` until the answer is as `wanted`; its body.
async fn ask(addr: SocketAddr, path: &str, wanted: impl Fn(&Answer) -> bool) -> String {
    let asking = async {
        loop {
            let answer = get(addr, path).await;
            if wanted(&answer) {
                return answer.body;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answered = timeout(Duration::from_secs(20), asking).await;
    answered.unwrap_or_else(|_| panic!("{path} is never answered as it should be"))
}

/// Asks until `path` is answered with `status`.
async fn until(addr: SocketAddr, path: &str, status: u16) -> String {
    ask(addr, path, |answer| answer.status == status).await
}

/// Of a metric without labels.
async fn value(admin: SocketAddr, metric: &str) -> f64 {
    let metrics = get(admin, "/metrics").await.body;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {metric} in {metrics}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn hanging_checks_delay_no_probe() {
    let env = [
        (HANGING_CHECKS, "50"),
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
    ];
    let service = Service::start(&env).await;
    let admin = service.admin().await;
    // The check that blocks its thread has been given up, so it is under way.
    ask(admin, "/readyz?verbose", |answer| {
        let report: Value = serde_json::from_str(&answer.body).unwrap();
        report["checks"]["blocking"][0]["output"] == "no answer within 20ms"
    })
    .await;
    let mut connection = Connection::http1(service.addr).await;
    let mut took = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        let answer = connection.get("/readyz").await.unwrap();
        took.push(began.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    took.sort_unstable();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!("200 probes beside 51 hanging checks: median {median:?}, longest {longest:?}");
    // The longest is the scheduler's on a busy machine; a probe that waited for a check would take its 20 ms.
    assert!(median < Duration::from_millis(10), "{took:?}");
    let metrics = get(admin, "/metrics").await.body;
    for (check, status) in [("db", "1.0"), ("hanging-0", "0.5"), ("blocking", "0.5")] {
        let sample = format!("bellwether_health_check_status{{check=\"{check}\"}} {status}\n");
        assert!(metrics.contains(&sample), "{sample} in {metrics}");
        let duration = format!("bellwether_health_check_duration_seconds{{check=\"{check}\"}} ");
        assert!(metrics.contains(&duration), "{metrics}");
    }
}

#[tokio::test]
async fn a_blocked_runtime_is_told_counted_and_not_alive() {
    let service = Service::start(&[
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
        ("BELLWETHER_LIVENESS_TIMEOUT", "900ms"),
    ])
    .await;
    let admin = service.admin().await;
    assert_eq!(get(admin, "/livez").await.status, 200);
    assert_eq!(get(service.addr, "/livez").await.status, 200);

    // The service has two workers.
    let mut blocked = JoinSet::new();
    for _ in 0..4 {
        let mut connection = Connection::http1(service.addr).await;
        blocked.spawn(async move { connection.get("/block/2500").await });
    }
    let reason = until(admin, "/livez", 503).await;
    assert!(reason.contains("has run no task"), "{reason}");
    assert_eq!(get(admin, "/readyz").await.body, reason);
    // Told while it lasts: nobody has been answered yet.
    let error = |line: &Value| line["target"] == LIVENESS && line["level"] == "ERROR";
    let error = service.line(error).await;
    assert!(error["stalled_seconds"].as_f64() >= Some(0.3), "{error}");
    assert_eq!(error["workers"], 2);
    assert_eq!(value(admin, "bellwether_runtime_stalls_total").await, 1.0);

    while let Some(answer) = blocked.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status, 200);
    }
    until(admin, "/livez", 200).await;
    let again = |line: &Value| text(line, "message") == "the runtime runs tasks again";
    assert_eq!(service.line(again).await["level"], "WARN");
    assert_eq!(get(service.addr, "/livez").await.status, 200);
}

#[tokio::test]
async fn a_blocked_worker_beside_others_is_told_and_fails_no_probe() {
    let service = Service::start(&[
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
        ("BELLWETHER_LIVENESS_TIMEOUT", "900ms"),
    ])
    .await;
    let admin = service.admin().await;
    let mut connection = Connection::http1(service.addr).await;
    let blocked = tokio::spawn(async move { connection.get("/block/2500").await });
    let partly = |line: &Value| line["target"] == LIVENESS && line["blocked"] == 1;
    let warning = service.line(partly).await;
    assert_eq!(
        (&warning["level"], &warning["workers"]),
        (&"WARN".into(), &2.into())
    );
    let gauge = "bellwether_runtime_blocked_workers";
    assert_eq!(value(admin, gauge).await, 1.0);
    assert_eq!(get(service.addr, "/livez").await.status, 200);
    assert_eq!(blocked.await.unwrap().unwrap().status, 200);
    let gone = |line: &Value| line["target"] == LIVENESS && line["level"] == "INFO";
    service.line(gone).await;
    assert_eq!(value(admin, gauge).await, 0.0);
    assert_eq!(value(admin, "bellwether_runtime_stalls_total").await, 0.0);
}

#[tokio::test]
async fn a_service_that_only_waits_is_alive() {
    let service = Service::start(&[
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
        ("BELLWETHER_LIVENESS_TIMEOUT", "600ms"),
    ])
    .await;
    let admin = service.admin().await;
    let mut connection = Connection::http1(service.addr).await;
    let waiting = tokio::spawn(async move { connection.get("/slow/1500").await });
    while !waiting.is_finished() {
        assert_eq!(get(admin, "/livez").await.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        !service
            .lines()
            .iter()
            .any(|line| line["target"] == LIVENESS)
    );
}

#[tokio::test]
async fn probes_answer_where_they_are_told_to() {
    let service = Service::start(&[
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
        ("BELLWETHER_LIVE_PATH", "/healthz"),
        ("BELLWETHER_READY_PATH", "/internal/ready"),
    ])
    .await;
    for addr in [service.addr, service.admin().await] {
        assert_eq!(get(addr, "/healthz").await.body, "ok\n");
        until(addr, "/internal/ready", 200).await;
        assert_eq!(get(addr, "/startupz").await.body, "ok\n");
        assert_eq!(get(addr, "/health/live").await.status, 404);
        assert_eq!(get(addr, "/readyz").await.status, 404);
    }
    let misspelt = get(service.addr, "/internal/ready?verbose&exclude=bd").await;
    let report: Value = serde_json::from_str(&misspelt.body).unwrap();
    assert_eq!(report["notes"][0], "there is no check \"bd\" to exclude");
}
