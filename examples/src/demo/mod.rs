//! The demo: starts the collector and the calculator's services as child processes, sends them traffic,
//! shows what the collector sees. Called by `bin/demo.rs` through `cli`.

pub mod children;
pub mod cli;
mod collector;
mod link;
mod ports;
mod summary;
mod traffic;

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use children::Children;
use collector::Collector;
use ports::Ports;
use tokio::signal::unix::{SignalKind, signal};
use tower::BoxError;

/// How long to wait for a child to answer on its port, and for all of them to end.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// How long the last spans may take to arrive before the summary is made.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// What was asked for on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// End after so long; `None`: on Ctrl-C.
    pub duration: Option<Duration>,
    /// Requests per second.
    pub rate: u32,
}

/// Runs the demo to its end.
///
/// # Errors
/// A child that does not start, or no span that came through.
pub async fn run(options: Options) -> Result<(), BoxError> {
    let ports = Ports::choose()?;
    let mut children = Children::new()?;
    let outcome = run_with(options, &ports, &mut children).await;
    let stopped = children.stop(STOP_LIMIT).await;
    outcome.and(stopped)
}

async fn run_with(
    options: Options,
    ports: &Ports,
    children: &mut Children,
) -> Result<(), BoxError> {
    let collector = Collector::at(ports.web);
    children.start_all(ports)?;
    let _link = link::start(ports.link, ports.divide, link::DELAY).await?;
    children
        .wait_until_ready(&ports.to_probe(), START_LIMIT)
        .await?;
    print_welcome(ports, children);

    let answered = Arc::new(AtomicU64::new(0));
    let traffic = tokio::spawn(traffic::send(ports.api, options.rate, answered.clone()));
    tokio::select! {
        () = watch(&collector) => {}
        () = sleep_or_forever(options.duration) => {}
        stopped = told_to_stop() => stopped?,
        failed = children.wait_for_failure() => return Err(failed.into()),
    }
    traffic.abort();
    finish(&collector, answered.load(Ordering::Relaxed)).await
}

/// Ctrl-C, or SIGTERM from whoever started the demo in the background.
async fn told_to_stop() -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}

async fn sleep_or_forever(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

fn print_welcome(ports: &Ports, children: &Children) {
    println!("Bellwether is running: the collector and five calculator services.\n");
    println!("  pages        http://127.0.0.1:{}/map", ports.web);
    println!(
        "  calculator   curl -s http://127.0.0.1:{}/calculate \\",
        ports.api
    );
    println!(
        "                 -H 'content-type: application/json' -d '{{\"expression\":\"(1+2)*3\"}}'"
    );
    println!(
        "  probes       http://127.0.0.1:{}/readyz?verbose",
        ports.api
    );
    println!("  metrics      http://127.0.0.1:{}/metrics", ports.api);
    println!("  JSON logs    {}", children.log_directory().display());
    println!(
        "\nPut in on purpose: 2 % of the multiply calls are slow, 2 % of the subtract calls fail, and divide\nsits behind a link of {} ms each way. Some divisions are by zero: a 422, which fails its caller\nbut not the service that answered.",
        link::DELAY.as_millis()
    );
    if !ports.taken.is_empty() {
        println!(
            "Taken already, so other ports are used instead of: {:?}.",
            ports.taken
        );
    }
    println!("Ctrl-C ends it, and removes the logs.\n");
}

/// Shows one line that is rewritten every second; on a terminal only.
async fn watch(collector: &Collector) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        if !std::io::stdout().is_terminal() {
            continue;
        }
        if let Ok(services) = collector.services().await {
            print!("\r\x1b[2K{}", summary::line(&services));
            // A terminal that went away is no reason to stop the services.
            let _ = std::io::stdout().flush();
        }
    }
}

async fn finish(collector: &Collector, answered: u64) -> Result<(), BoxError> {
    let services = collector.services_once_settled(SETTLE_LIMIT).await?;
    let map = collector.map().await?;
    println!("\n{}", summary::tables(&services, &map, answered));
    if services.iter().all(|service| service.count == 0) {
        return Err("no span came through; see the JSON logs named above".into());
    }
    Ok(())
}
