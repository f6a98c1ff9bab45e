//! Senders that send as fast as they are told, and a watch on what the collector takes for it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::process::Collector;

/// What every sender sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) senders: usize,
    /// Of a batch.
    pub(crate) spans: u64,
    /// Of a span's attribute.
    pub(crate) bytes: usize,
    /// From one batch of a sender to its next.
    pub(crate) every: Duration,
}

/// Senders at work, and what they met.
pub(crate) struct Load {
    tally: Arc<Tally>,
    senders: Vec<JoinHandle<()>>,
}

#[derive(Default)]
pub(crate) struct Tally {
    stop: AtomicBool,
    next_id: AtomicU64,
    accepted: Mutex<BTreeSet<u64>>,
    refused: AtomicU64,
    /// Answers that are neither a success nor a refusal that a sender retries.
    faults: Mutex<BTreeSet<String>>,
    latencies: Mutex<Vec<Duration>>,
}

/// What became of a load.
pub(crate) struct Report {
    /// Ids of the spans that were answered with success.
    pub(crate) accepted: BTreeSet<u64>,
    /// Batches refused for now.
    pub(crate) refused: u64,
    /// What no sender should meet.
    pub(crate) faults: BTreeSet<String>,
    /// Of the batches that were taken, in ascending order.
    pub(crate) latencies: Vec<Duration>,
}

impl Load {
    /// Over OTLP over HTTP.
    pub(crate) fn over_http(collector: &Collector, plan: Plan) -> Self {
        Self::over_http_from(collector, plan, 0)
    }

    /// The same, with span ids above `first`.
    pub(crate) fn over_http_from(collector: &Collector, plan: Plan, first: u64) -> Self {
        let url = collector.traces();
        Self::start(plan, first, move |tally| {
            let (agent, url) = (agent(), url.clone());
            Box::new(move |ids| {
                let body = batch(ids, plan.bytes).encode_to_vec();
                let response = agent.post(&url).content_type("application/x-protobuf");
                let Ok(mut response) = response.send(&body[..]) else {
                    return tally.fault("no answer");
                };
                let retry = response.headers().contains_key("retry-after");
                let text = response.body_mut().read_to_string().unwrap_or_default();
                match response.status().as_u16() {
                    200 => Answer::Taken,
                    503 if retry => Answer::Refused,
                    status => tally.fault(&format!("{status}: {text}")),
                }
            })
        })
    }

    /// Over OTLP over gRPC.
    pub(crate) fn over_grpc(collector: &Collector, plan: Plan) -> Self {
        Self::over_grpc_from(collector, plan, 0)
    }

    /// The same, with span ids above `first`.
    pub(crate) fn over_grpc_from(collector: &Collector, plan: Plan, first: u64) -> Self {
        let url = format!("http://{}", collector.grpc_address());
        Self::start(plan, first, move |tally| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let connecting = TraceServiceClient::connect(url.clone());
            let mut client = runtime.block_on(connecting).unwrap();
            Box::new(move |ids| {
                let exporting = client.export(batch(ids, plan.bytes));
                let Err(status) = runtime.block_on(exporting) else {
                    return Answer::Taken;
                };
                let details = String::from_utf8_lossy(status.details()).into_owned();
                match status.code() {
                    tonic::Code::Unavailable if details.contains("google.rpc.RetryInfo") => {
                        Answer::Refused
                    }
                    code => tally.fault(&format!("{code:?}: {}", status.message())),
                }
            })
        })
    }

    fn start<F>(plan: Plan, first: u64, sender: F) -> Self
    where
        F: Fn(Arc<Tally>) -> Sender + Clone + Send + 'static,
    {
        let tally = Arc::new(Tally::default());
        tally.next_id.store(first, Ordering::SeqCst);
        let start = |_| {
            let (tally, sender) = (Arc::clone(&tally), sender.clone());
            std::thread::spawn(move || tally.send(plan, sender(Arc::clone(&tally))))
        };
        let senders = (0..plan.senders).map(start).collect();
        Self { tally, senders }
    }

    /// Batches taken so far.
    pub(crate) fn taken(&self) -> usize {
        self.tally.latencies.lock().unwrap().len()
    }

    /// Batches refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.tally.refused.load(Ordering::SeqCst)
    }

    pub(crate) fn stop(self) -> Report {
        self.tally.stop.store(true, Ordering::SeqCst);
        for sender in self.senders {
            sender.thread().unpark();
            sender.join().unwrap();
        }
        let take =
            |latencies: &Mutex<Vec<Duration>>| std::mem::take(&mut *latencies.lock().unwrap());
        let mut latencies = take(&self.tally.latencies);
        latencies.sort_unstable();
        Report {
            accepted: std::mem::take(&mut self.tally.accepted.lock().unwrap()),
            refused: self.tally.refused.load(Ordering::SeqCst),
            faults: std::mem::take(&mut self.tally.faults.lock().unwrap()),
            latencies,
        }
    }
}

/// Sends the spans of these ids.
type Sender = Box<dyn FnMut(std::ops::Range<u64>) -> Answer>;

enum Answer {
    Taken,
    Refused,
    Fault,
}

impl Tally {
    fn send(&self, plan: Plan, mut sender: Sender) {
        let mut due = Instant::now();
        while !self.stop.load(Ordering::SeqCst) {
            let first = self.next_id.fetch_add(plan.spans, Ordering::SeqCst) + 1;
            let ids = first..first + plan.spans;
            let begun = Instant::now();
            match sender(ids.clone()) {
                Answer::Taken => {
                    self.latencies.lock().unwrap().push(begun.elapsed());
                    self.accepted.lock().unwrap().extend(ids);
                }
                Answer::Refused => {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                }
                Answer::Fault => {}
            }
            due = (due + plan.every).max(begun);
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
        }
    }

    fn fault(&self, text: &str) -> Answer {
        self.faults.lock().unwrap().insert(text.to_owned());
        Answer::Fault
    }
}

/// The value below which so many of a hundred are; of none it is 0.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into()
}

/// A request whose spans start now, each in a trace of its own.
pub(crate) fn batch(ids: std::ops::Range<u64>, bytes: usize) -> ExportTraceServiceRequest {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_nanos()).unwrap();
    let text = |key: &str, value: String| KeyValue {
        key: key.into(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value)),
        }),
        ..KeyValue::default()
    };
    let span = |id: u64| Span {
        trace_id: u128::from(id).to_be_bytes().into(),
        span_id: id.to_be_bytes().into(),
        name: format!("GET /cart/{}", id % 50),
        kind: 2,
        start_time_unix_nano: now,
        end_time_unix_nano: now + 1_000_000 * (id % 100),
        attributes: vec![text("note", noise(id, bytes))],
        ..Span::default()
    };
    let resource = Resource {
        attributes: vec![text("service.name", format!("shop-{}", ids.start % 20))],
        ..Resource::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                spans: ids.map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

/// Text that no page of memory shares with another.
fn noise(seed: u64, bytes: usize) -> String {
    let mut text = seed.to_string();
    text.push_str(&"x".repeat(bytes.saturating_sub(text.len())));
    text
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).unwrap();
    out.truncate(length);
    out
}

/// Looks at a process's memory often, until dropped.
pub(crate) struct Watch {
    most: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    looking: Option<JoinHandle<()>>,
}

/// Often enough to see what one body costs.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Watch {
    pub(crate) fn start(collector: &Collector) -> Self {
        let id = collector.id();
        let (most, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (found, stopped) = (Arc::clone(&most), Arc::clone(&stop));
        let looking = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                found.fetch_max(Usage::of(id).resident_bytes, Ordering::SeqCst);
                std::thread::park_timeout(LOOK_EVERY);
            }
        });
        Self {
            most,
            stop,
            looking: Some(looking),
        }
    }

    /// The most memory so far, in bytes.
    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(looking) = self.looking.take() {
            // It panics never, and the test would have failed for another reason.
            let _ = looking.join();
        }
    }
}

/// What a process holds now; nothing once it has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) files: u64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            number.and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
        Self {
            resident_bytes: number("VmRSS:") * 1024,
            threads: number("Threads:"),
            files: files as u64,
        }
    }
}

/// Whether the long forms were asked for.
pub(crate) fn is_full() -> bool {
    std::env::var("BELLWETHER_FULL").as_deref() == Ok("1")
}

/// Says something in the test's own output, at once.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be listening.
    let _ = writeln!(out, "{text}");
}
