//! Replicas behind a front that goes on sending them connections for a while after SIGTERM, as a Service does until the news
//! has reached every node: as long as that takes no longer than the drain delay, no request fails and no span is lost. A few
//! rounds with a short delay; twenty with the default one, at the full rate, with `BELLWETHER_FULL=1`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bellwether_tests::front::Front;
use bellwether_tests::http::get;
use bellwether_tests::load::{Load, Plan, Report};
use bellwether_tests::sink::Sink;
use bellwether_tests::system::{Service, free_port};
use bellwether_tests::wait::wait_for;

/// How many replicas are replaced, and under what.
struct Extent {
    rounds: u32,
    delay: Duration,
    /// Up to which part of the delay endpoints stay, in percent: the short form runs beside other tests, which may keep the
    /// front's own clock waiting.
    longest: u32,
    /// Requests a second.
    rate: u32,
    /// One of so many comes by a new connection.
    renews: u64,
}

fn extent() -> Extent {
    if std::env::var("BELLWETHER_FULL").is_ok_and(|value| value == "1") {
        Extent {
            rounds: 20,
            delay: Duration::from_secs(5),
            longest: 100,
            rate: 1_000,
            renews: 10,
        }
    } else {
        Extent {
            rounds: 3,
            delay: Duration::from_secs(2),
            longest: 60,
            rate: 200,
            renews: 4,
        }
    }
}

fn start(sink: &Sink, delay: Duration) -> (Service, SocketAddr) {
    let port = free_port();
    let environment = [
        (
            "BELLWETHER_DRAIN_DELAY",
            &*format!("{}ms", delay.as_millis()),
        ),
        ("BELLWETHER_GRACE", "25s"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "50000"),
    ];
    let service = Service::start_cases_at(port, sink.endpoint(), &environment);
    (service, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Replaces two replicas in turn, each of whose endpoints stays in the list for so long after SIGTERM.
fn replace(sink: &Sink, extent: &Extent, stays: &[Duration]) -> Report {
    let Extent {
        delay,
        rate,
        renews,
        ..
    } = *extent;
    let front = Front::start();
    let mut replicas = [start(sink, delay), start(sink, delay)].map(Some);
    for (_, address) in replicas.iter().flatten() {
        front.add(*address);
    }
    let plan = Plan {
        address: front.address,
        path: "/quick",
        rate,
        connections: 20,
    };
    let load = Load::start_renewing(plan, renews);
    for (index, stays) in stays.iter().enumerate() {
        // A rolling update's surge: the new one is ready before the old one goes.
        let (new, address) = start(sink, delay);
        front.add(address);
        let old = replicas[index % 2].replace((new, address));
        let (mut old, address) = old.expect("an old replica");
        let told = Instant::now();
        front.remove_at(address, told + *stays);
        old.process.terminate();
        wait_for("readiness to turn", || {
            let answer = get(&old.url("/readyz"));
            answer
                .is_none_or(|answer| answer.status == 503)
                .then_some(())
        });
        let status = old.process.wait(Duration::from_secs(30));
        assert_eq!(status.code(), Some(0), "{:#?}", old.process.output());
        wait_for("the endpoint to go", || (!front.has(address)).then_some(()));
    }
    load.finish()
}

#[test]
fn endpoints_that_stay_up_to_the_drain_delay_cost_no_request() {
    let extent = extent();
    let sink = Sink::counting();
    let longest = extent.delay * extent.longest / 100;
    let steps = 0..extent.rounds;
    let stays: Vec<_> = steps
        .map(|step| longest * step / (extent.rounds - 1))
        .collect();
    let report = replace(&sink, &extent, &stays);
    println!(
        "{} replicas replaced, endpoints staying 0 s to {longest:?} of a delay of {:?}: {} answered, {} failed, {:.0}/s; p50 {:?}, p99 {:?}, longest {:?}",
        extent.rounds,
        extent.delay,
        report.answered,
        report.failures.len(),
        report.rate,
        report.percentile(50),
        report.percentile(99),
        report.percentile(100),
    );
    assert_eq!(report.failures, Vec::<String>::new());
    assert!(
        report.answered > u64::from(extent.rate),
        "{}",
        report.answered
    );
    wait_for("every span", || {
        (sink.count() >= report.answered).then_some(())
    });
    assert_eq!(sink.count(), report.answered, "a span for each request");
}

/// What the delay is for; and that the front would show it.
#[test]
fn an_endpoint_that_outlives_the_drain_delay_costs_requests() {
    let sink = Sink::counting();
    let extent = Extent {
        rounds: 1,
        delay: Duration::from_millis(500),
        longest: 200,
        rate: 200,
        renews: 4,
    };
    let report = replace(&sink, &extent, &[extent.delay * 2]);
    assert_ne!(report.failures, Vec::<String>::new());
}
