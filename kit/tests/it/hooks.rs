//! What a service has done around its drain.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Connection, get};
use crate::service::{HOOKS, Service, text};

#[tokio::test]
async fn hooks_run_in_their_order_and_within_the_grace() {
    let env = [(HOOKS, "1000"), ("BELLWETHER_GRACE", "5s")];
    let mut service = Service::start(&env).await;
    let mut slow = Connection::http1(service.addr).await;
    let slow = tokio::spawn(async move { slow.get("/slow/1500").await });
    get(service.addr, "/hello/ann").await;
    let began = Instant::now();
    service.signal("TERM");
    // No drain delay, yet the service is reachable for as long as it is being deregistered.
    service.line(|line| line["message"] == "draining").await;
    assert_eq!(get(service.addr, "/hello/late").await.status, 200);
    let failed = service.line(|line| line["hook"] == "deregister").await;
    assert_eq!(
        (&failed["level"], &failed["moment"], &failed["error"]),
        (
            &"WARN".into(),
            &"drain".into(),
            &"the registry is gone".into()
        )
    );
    assert_eq!(slow.await.unwrap().unwrap().body, "done");
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() < Duration::from_millis(9_500),
        "{:?}",
        began.elapsed()
    );

    let lines = service.lines();
    let at = |what: &str, wanted: &dyn Fn(&Value) -> bool| {
        let at = lines.iter().position(wanted);
        at.unwrap_or_else(|| panic!("no {what} in {lines:#?}"))
    };
    let hook = |name: &'static str| move |line: &Value| line["hook"] == name;
    let order = [
        at("deregister", &hook("deregister")),
        at("the last request", &|line| line["url.path"] == "/slow/1500"),
        at("pool", &|line| line["message"] == "closing the pool"),
        at("pool's end", &hook("pool")),
        at("stuck", &hook("stuck")),
        at("stopped", &|line| line["message"] == "stopped"),
    ];
    assert!(order.is_sorted(), "{order:?} in {lines:#?}");
    let stuck = &lines[order[4]];
    assert_eq!(text(stuck, "error"), "its time was up");
}

#[tokio::test]
async fn a_second_signal_waits_for_no_hook() {
    let mut service = Service::start(&[(HOOKS, "60000")]).await;
    let began = Instant::now();
    service.signal("TERM");
    service.line(|line| line["message"] == "draining").await;
    service.signal("TERM");
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}
