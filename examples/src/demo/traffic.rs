//! The demo's callers: a steady mix of expressions over HTTP, a few of them wrong, each with a request id
//! of its own as a client or load balancer would give it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rand::Rng;
use tokio::time::MissedTickBehavior;

/// Expressions with how often each is sent, of 100.
const MIX: [(&str, u32); 9] = [
    ("(A+B)*C", 30),
    ("A*B+C*D", 18),
    ("A/B", 14),
    ("A-B", 12),
    ("((A+B)*(C+D))/E", 10),
    ("A+B+C+D", 8),
    ("(A*B)/(C-C)", 4),
    ("A+*B", 2),
    ("A*(B-C)/D", 2),
];

/// Sends `rate` requests a second until aborted: at fixed times, not after each answer, so that a slow
/// service sees the load it would see in earnest. Counts into `answered`.
pub(super) async fn send(port: u16, rate: u32, answered: Arc<AtomicU64>) {
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        tokio::spawn(send_one(client.clone(), port, answered.clone()));
    }
}

async fn send_one(client: Client<HttpConnector, Full<Bytes>>, port: u16, answered: Arc<AtomicU64>) {
    let body = serde_json::json!({ "expression": random_expression() }).to_string();
    let request = Request::post(format!("http://127.0.0.1:{port}/calculate"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, "bellwether-demo")
        .header(
            "x-request-id",
            format!("demo-{:08x}", rand::random::<u32>()),
        )
        .body(Full::from(body));
    // A failed call shows in the collector; here it only does not count as answered.
    let Ok(request) = request else { return };
    if let Ok(response) = client.request(request).await
        && response.into_body().collect().await.is_ok()
    {
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

fn random_expression() -> String {
    let mut random = rand::rng();
    let mut pick = random.random_range(0..MIX.iter().map(|(_, share)| share).sum());
    let template = MIX.iter().find(|(_, share)| {
        let found = pick < *share;
        pick = pick.saturating_sub(*share);
        found
    });
    let mut expression = template
        .map_or(MIX[0].0, |(template, _)| template)
        .to_owned();
    for name in ["A", "B", "C", "D", "E"] {
        let number = random.random_range(1..100_u32);
        expression = expression.replace(name, &number.to_string());
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Expression;

    #[test]
    fn the_mix_adds_up_and_only_the_broken_one_fails_to_parse() {
        assert_eq!(MIX.iter().map(|(_, share)| share).sum::<u32>(), 100);
        for (template, _) in MIX {
            let text = template.replace(['A', 'B', 'C', 'D', 'E'], "7");
            assert_eq!(
                Expression::parse(&text).is_err(),
                template == "A+*B",
                "{template}"
            );
        }
    }
}
