//! What a scrape of 100,000 series costs, and what it costs the requests meanwhile. See README.md.

mod cost;
mod delay;

use std::process::{Command, ExitCode};
use std::time::Duration;

use bellwether::Kit;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

const SERIES: usize = 100_000;
const CHILD: &str = "measure";

type Orders = Family<Vec<(&'static str, String)>, Counter>;

/// Starts itself again, since the kit reads its environment: no lines, no spans.
fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == CHILD) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let kit = {
            let _inside = runtime.enter();
            Kit::from_env("checkout").and_then(bellwether::KitBuilder::start)
        };
        let kit = kit.expect("a kit");
        kit.registry().register("orders", "Orders taken", orders());
        cost::print(&kit);
        delay::print(&kit, runtime);
        return ExitCode::SUCCESS;
    }
    let program = std::env::current_exe().unwrap_or_default();
    let status = Command::new(program)
        .arg(CHILD)
        .env("RUST_LOG", "off")
        .env("OTEL_TRACES_EXPORTER", "none")
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn orders() -> Orders {
    let orders = Orders::default();
    for customer in 0..SERIES {
        let labels = vec![
            ("region", "eu-west-1".to_owned()),
            ("customer", customer.to_string()),
        ];
        orders.get_or_create(&labels).inc_by(customer as u64);
    }
    orders
}

/// The value that so many in a hundred are not above.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
