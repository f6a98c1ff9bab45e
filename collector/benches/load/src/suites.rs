//! What is measured: each suite is a table. Called by `main`.

use std::path::PathBuf;
use std::time::Duration;

use crate::machine;
use crate::run::{Cost, Cpus, Shop, Task, once};
use crate::shop::Format;
use crate::sink;
use crate::subject::{Setup, Subject};
use crate::table;

pub(crate) const SENDER: usize = 2;
pub(crate) const SINK: usize = 3;
/// The batches of a small service's SDK, of an SDK by default, and of a collector.
const BATCHES: [usize; 3] = [100, 512, 4096];
/// Sent in each run: seconds of work at the speeds that were found.
const MANY: u64 = 2_000_000;
const SOME: u64 = 1_000_000;
/// For subjects that take ten times as long.
const FEW: u64 = 500_000;

/// A table.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Given, &Cpus),
}

/// From the command line.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) bellwether: Option<PathBuf>,
    pub(crate) otelcol: Option<PathBuf>,
    pub(crate) rotel: Option<PathBuf>,
    pub(crate) runs: usize,
    /// This batch alone.
    pub(crate) batch: Option<usize>,
    /// Of the suite `paths`, those with this in their name.
    pub(crate) path: Option<String>,
    /// Where data directories are made.
    pub(crate) disk: PathBuf,
}

pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "paths",
        what: "every way through Bellwether, one core, as fast as it takes",
        run: paths,
    },
    Suite {
        name: "quick",
        what: "one run of the most common ways",
        run: quick,
    },
    Suite {
        name: "peers",
        what: "the same task for each collector, in turn, one core",
        run: peers,
    },
    Suite {
        name: "latency",
        what: "accepted batches at half of what one core takes",
        run: latency,
    },
    Suite {
        name: "small",
        what: "idle, 10,000 spans a second, and its start",
        run: small,
    },
    Suite {
        name: "cores",
        what: "two cores beside one",
        run: cores,
    },
    Suite {
        name: "far",
        what: "a backend that answers after 20 ms",
        run: far,
    },
];

impl Given {
    /// Those of these batches that are asked for.
    fn batches<'a>(&self, of: &'a [usize]) -> impl Iterator<Item = usize> + use<'a> {
        let only = self.batch;
        of.iter()
            .copied()
            .filter(move |&batch| only.is_none_or(|only| only == batch))
    }

    fn bellwether(&self, setup: Setup) -> Option<Subject> {
        let binary = self.bellwether.clone()?;
        Some(Subject::Bellwether { binary, setup })
    }

    fn synced(&self) -> Setup {
        Setup {
            disk: Some(self.disk.clone()),
            ..Setup::default()
        }
    }
}

fn task(subject: Subject, format: Format, batch: usize, spans: u64) -> Task {
    let compressed_out = match &subject {
        Subject::Bellwether { setup, .. } => setup.gzip_out,
        Subject::Otelcol { .. } => false,
        // Told not to, it does all the same.
        Subject::Rotel { .. } => true,
    };
    Task {
        subject,
        format,
        batch,
        spans,
        rate: None,
        delay: Duration::ZERO,
        compressed_out,
    }
}

fn measure(name: &str, runs: usize, task: &Task, shop: &mut Shop, cpus: &Cpus) -> Vec<Cost> {
    let costs: Vec<_> = (0..runs).map(|_| once(task, shop, cpus)).collect();
    table::row(name, &costs);
    costs
}

fn paths(given: &Given, cpus: &Cpus) {
    table::head();
    let mut shop = Shop::default();
    let gzip_out = Setup {
        gzip_out: true,
        ..Setup::default()
    };
    let zipkin_out = Setup {
        zipkin_out: true,
        ..Setup::default()
    };
    let dropping = Setup {
        drops: true,
        ..Setup::default()
    };
    let small = Setup {
        memory_limit: Some("64MiB".to_owned()),
        ..Setup::default()
    };
    for (name, setup, format, batches, spans) in [
        (
            "gRPC → gRPC",
            Setup::default(),
            Format::Grpc,
            &BATCHES[..],
            MANY,
        ),
        (
            "gRPC → gRPC, drop_oldest",
            dropping,
            Format::Grpc,
            &BATCHES[..],
            MANY,
        ),
        (
            "gRPC → gRPC, --memory-limit 64MiB",
            small,
            Format::Grpc,
            &BATCHES[..],
            MANY,
        ),
        (
            "gRPC → gRPC, synced",
            given.synced(),
            Format::Grpc,
            &BATCHES[..],
            MANY,
        ),
        (
            "HTTP → gRPC",
            Setup::default(),
            Format::Http,
            &BATCHES[..],
            MANY,
        ),
        (
            "gRPC gzip → gRPC",
            Setup::default(),
            Format::GrpcGzip,
            &BATCHES[..],
            MANY,
        ),
        (
            "gRPC gzip → gRPC gzip",
            gzip_out,
            Format::GrpcGzip,
            &BATCHES[..],
            MANY,
        ),
        (
            "OTLP JSON → gRPC",
            Setup::default(),
            Format::Json,
            &BATCHES[1..2],
            SOME,
        ),
        (
            "Zipkin JSON → gRPC",
            Setup::default(),
            Format::Zipkin,
            &BATCHES[1..2],
            SOME,
        ),
        (
            "gRPC → Zipkin JSON",
            zipkin_out,
            Format::Grpc,
            &BATCHES[1..2],
            SOME,
        ),
    ] {
        if given.path.as_ref().is_some_and(|path| !name.contains(path)) {
            continue;
        }
        for batch in given.batches(batches) {
            let Some(subject) = given.bellwether(setup.clone()) else {
                return;
            };
            let name = format!("{name}, {batch}");
            measure(
                &name,
                given.runs,
                &task(subject, format, batch, spans),
                &mut shop,
                cpus,
            );
        }
    }
}

fn quick(given: &Given, cpus: &Cpus) {
    table::head();
    let mut shop = Shop::default();
    for (name, setup) in [("memory", Setup::default()), ("synced", given.synced())] {
        for batch in given.batches(&BATCHES) {
            let Some(subject) = given.bellwether(setup.clone()) else {
                return;
            };
            let name = format!("gRPC → gRPC, {name}, {batch}");
            measure(
                &name,
                given.runs,
                &task(subject, Format::Grpc, batch, MANY),
                &mut shop,
                cpus,
            );
        }
    }
}

/// In turn, so that what else the machine does meets all of them.
fn peers(given: &Given, cpus: &Cpus) {
    let otelcol = |batch, views| {
        let binary = given.otelcol.clone()?;
        Some(Subject::Otelcol {
            binary,
            batch,
            views,
        })
    };
    let rotel = given.rotel.clone().map(|binary| Subject::Rotel { binary });
    let subjects = [
        ("Bellwether", given.bellwether(Setup::default()), MANY),
        ("OpenTelemetry Collector", otelcol(false, false), FEW),
        ("OpenTelemetry Collector, batch", otelcol(true, false), FEW),
        (
            "OpenTelemetry Collector, spanmetrics and servicegraph",
            otelcol(false, true),
            FEW,
        ),
        ("Rotel, gzip out", rotel, FEW),
    ];
    table::head();
    let mut shop = Shop::default();
    for batch in given.batches(&BATCHES) {
        let mut costs = vec![Vec::new(); subjects.len()];
        for _ in 0..given.runs {
            for ((_, subject, spans), costs) in subjects.iter().zip(&mut costs) {
                if let Some(subject) = subject {
                    costs.push(once(
                        &task(subject.clone(), Format::Grpc, batch, *spans),
                        &mut shop,
                        cpus,
                    ));
                }
            }
        }
        for ((name, _, _), costs) in subjects
            .iter()
            .zip(costs)
            .filter(|(_, costs)| !costs.is_empty())
        {
            table::row(&format!("{name}, {batch}"), &costs);
        }
    }
}

fn latency(given: &Given, cpus: &Cpus) {
    println!(
        "fdatasync of 200 KiB there: p99 {:.2} ms\n",
        machine::fdatasync_p99(&given.disk)
    );
    table::head();
    let mut shop = Shop::default();
    for (name, setup) in [("memory", Setup::default()), ("synced", given.synced())] {
        for batch in given.batches(&BATCHES) {
            let Some(subject) = given.bellwether(setup.clone()) else {
                return;
            };
            let whole = task(subject, Format::Grpc, batch, MANY);
            let most = once(&whole, &mut shop, cpus).millions_a_second * 1e6;
            let half = Task {
                rate: Some(most / 2.0),
                ..whole
            };
            measure(
                &format!("{name}, {batch}"),
                given.runs,
                &half,
                &mut shop,
                cpus,
            );
        }
    }
}

fn small(given: &Given, cpus: &Cpus) {
    let mut ready = Vec::new();
    let mut idle = Vec::new();
    for _ in 0..given.runs.max(5) {
        let Some(subject) = given.bellwether(Setup::default()) else {
            return;
        };
        let (address, _) = sink::start(cpus.sink, Duration::ZERO);
        let running = subject.start(Format::Grpc, address, &cpus.subject);
        ready.push(running.ready.as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_secs(1));
        idle.push(running.memory().0);
    }
    println!(
        "start to ready {:.0} ms, idle {:.1} MiB\n",
        machine::percentile(&mut ready, 0.5),
        machine::percentile(&mut idle, 0.5)
    );
    table::head();
    let mut shop = Shop::default();
    let Some(subject) = given.bellwether(Setup::default()) else {
        return;
    };
    for batch in given.batches(&BATCHES[..2]) {
        let steady = Task {
            rate: Some(10_000.0),
            ..task(subject.clone(), Format::Grpc, batch, 150_000)
        };
        measure(
            &format!("10,000 spans/s, {batch}"),
            given.runs,
            &steady,
            &mut shop,
            cpus,
        );
    }
}

fn cores(given: &Given, cpus: &Cpus) {
    table::head();
    let mut shop = Shop::default();
    let Some(subject) = given.bellwether(Setup::default()) else {
        return;
    };
    for (name, subject_cpus) in [("one core", vec![1]), ("two cores", vec![0, 1])] {
        let cpus = Cpus {
            subject: subject_cpus,
            ..*cpus
        };
        for batch in given.batches(&BATCHES[1..]) {
            let whole = task(subject.clone(), Format::Grpc, batch, 2 * MANY);
            measure(
                &format!("{name}, {batch}"),
                given.runs,
                &whole,
                &mut shop,
                &cpus,
            );
        }
    }
}

fn far(given: &Given, cpus: &Cpus) {
    table::head();
    let mut shop = Shop::default();
    let Some(subject) = given.bellwether(Setup::default()) else {
        return;
    };
    for (name, rate) in [
        ("as fast as it takes", None),
        ("100,000 spans/s", Some(100_000.0)),
    ] {
        for batch in given.batches(&BATCHES) {
            let spans = if rate.is_some() { FEW } else { SOME };
            let far = Task {
                delay: Duration::from_millis(20),
                rate,
                ..task(subject.clone(), Format::Grpc, batch, spans)
            };
            measure(
                &format!("{name}, {batch}"),
                given.runs,
                &far,
                &mut shop,
                cpus,
            );
        }
    }
}
