//! Several requests under way at once: worked by a peer whose answers come late, in any order and of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::worker_tests::{bind, until};
use super::{Config, Retry, Target, Worker};
use crate::log::disk::{DiskConfig, Durability};
use crate::log::{BatchLog, Cursor, OnFull, ReaderConfig};
use crate::net::body::Answer;
use crate::net::grpc;
use crate::net::rpc_status::{Code, RpcStatus};
use crate::net::server;
use crate::signal::Signal;
use crate::status::{ExporterStatus, LogStatus};
use crate::wire::test_support;

const PATIENCE: Duration = Duration::from_secs(30);

/// The peer's: exporters learn it, so that a few hundred batches are many requests.
const LARGEST_REQUEST: usize = 20_000;

const SPANS: u64 = 3;

/// How a request is answered that has no poison in it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Take,
    TakeAllButOne,
    Busy,
    BusyFor(&'static str),
    Refuse,
    Hang,
}

#[derive(Default)]
struct Heard {
    requests: usize,
    under_way: usize,
    most_under_way: usize,
    /// Spans taken, by service, and requests that held them.
    taken: BTreeMap<String, u64>,
    rejected: u64,
    connections: BTreeSet<SocketAddr>,
    /// Items sent by the exporter's word that were not taken yet.
    told_too_early: u64,
    last_came: Option<Instant>,
    /// Between two requests.
    longest_pause: Duration,
}

/// Answers the `n`-th request (from 0) as the `n`-th of the script says, after so many milliseconds; later ones are taken.
struct Peer {
    url: String,
    heard: Arc<Mutex<Heard>>,
    server: AbortHandle,
}

impl Peer {
    async fn start(
        scheme: &str,
        script: Vec<(Verdict, u64)>,
        status: &Arc<ExporterStatus>,
    ) -> Self {
        let (listener, address) = bind().await;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let hearing = Arc::clone(&heard);
        let (script, status) = (Arc::new(script), Arc::clone(status));
        let handler = move |request: Request<Incoming>, from| {
            let (heard, script, status) = (
                Arc::clone(&hearing),
                Arc::clone(&script),
                Arc::clone(&status),
            );
            async move { answer(request, from, &heard, &script, &status).await }
        };
        let config = server::Config::default();
        let serving = server::serve(listener, handler, config, std::future::pending());
        Self {
            url: format!("{scheme}://{address}"),
            heard,
            server: tokio::spawn(serving).abort_handle(),
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    from: SocketAddr,
    heard: &Mutex<Heard>,
    script: &[(Verdict, u64)],
    status: &ExporterStatus,
) -> Response<Answer> {
    let (head, body) = request.into_parts();
    let is_grpc = grpc::is_grpc(&head.headers);
    let Ok(body) = body.collect().await else {
        return Response::new(Answer::default());
    };
    let mut body = body.to_bytes();
    if is_grpc {
        body = body.slice(5..);
    }
    let number = {
        let mut heard = heard.lock().unwrap();
        heard.requests += 1;
        heard.under_way += 1;
        heard.most_under_way = heard.most_under_way.max(heard.under_way);
        heard.connections.insert(from);
        let pause = heard
            .last_came
            .replace(Instant::now())
            .map(|last| last.elapsed());
        heard.longest_pause = heard.longest_pause.max(pause.unwrap_or_default());
        let taken: u64 = heard.taken.values().sum();
        let told = status.sent_spans.load(Ordering::Relaxed);
        heard.told_too_early += told.saturating_sub(taken);
        heard.requests - 1
    };
    let (verdict, delay) = script.get(number).copied().unwrap_or((Verdict::Take, 1));
    tokio::time::sleep(Duration::from_millis(delay)).await;
    if verdict == Verdict::Hang {
        tokio::time::sleep(PATIENCE).await;
    }
    let mut heard = heard.lock().unwrap();
    heard.under_way -= 1;
    heard.say(verdict, &body, is_grpc)
}

impl Heard {
    fn say(&mut self, verdict: Verdict, body: &Bytes, is_grpc: bool) -> Response<Answer> {
        let services = services(body);
        if body.len() > LARGEST_REQUEST {
            return refusal(is_grpc, 413, Code::ResourceExhausted, None);
        }
        if services.keys().any(|service| service.contains("poison")) {
            return refusal(is_grpc, 400, Code::InvalidArgument, None);
        }
        match verdict {
            Verdict::Busy | Verdict::Hang => refusal(is_grpc, 503, Code::Unavailable, None),
            Verdict::BusyFor(seconds) => refusal(is_grpc, 503, Code::Unavailable, Some(seconds)),
            // One batch alone is not to blame: it is taken then.
            Verdict::Refuse if services.len() > 1 => {
                refusal(is_grpc, 400, Code::InvalidArgument, None)
            }
            Verdict::Take | Verdict::TakeAllButOne | Verdict::Refuse => {
                let rejected = i64::from(verdict == Verdict::TakeAllButOne);
                self.rejected += rejected as u64;
                for (service, spans) in services {
                    *self.taken.entry(service).or_default() += spans;
                }
                taken(is_grpc, rejected)
            }
        }
    }
}

/// Spans by service.
fn services(body: &Bytes) -> BTreeMap<String, u64> {
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let mut services = BTreeMap::new();
    for group in request.resource_spans {
        let name = format!("{:?}", group.resource.unwrap().attributes[0].value);
        let spans = group
            .scope_spans
            .iter()
            .map(|scope| scope.spans.len() as u64);
        *services.entry(name).or_default() += spans.sum::<u64>();
    }
    services
}

fn taken(is_grpc: bool, rejected_spans: i64) -> Response<Answer> {
    let message = ExportTraceServiceResponse {
        partial_success: (rejected_spans > 0).then(|| ExportTracePartialSuccess {
            rejected_spans,
            error_message: "too old".to_owned(),
        }),
    };
    let message = message.encode_to_vec();
    if is_grpc {
        let prefix = grpc::prefix(message.len(), false).unwrap();
        return grpc::success([&prefix[..], &message].concat().into());
    }
    let mut response = Response::new(Answer::data(message));
    let kind = "application/x-protobuf".parse().unwrap();
    response.headers_mut().insert("content-type", kind);
    response
}

fn refusal(
    is_grpc: bool,
    status: u16,
    code: Code,
    after: Option<&'static str>,
) -> Response<Answer> {
    if is_grpc {
        let mut status = RpcStatus::new(code, "not so");
        status.retry_after = after.map(|after| Duration::from_secs(after.parse().unwrap()));
        return grpc::failure(&status);
    }
    let mut response = Response::new(Answer::data("not so"));
    *response.status_mut() = status.try_into().unwrap();
    if let Some(after) = after {
        let after = after.parse().unwrap();
        response.headers_mut().insert("retry-after", after);
    }
    response
}

/// A worker at a peer.
struct Rig {
    log: BatchLog,
    status: Arc<ExporterStatus>,
    peer: Peer,
    drain: watch::Sender<Option<Instant>>,
    worker: JoinHandle<()>,
}

fn batch(number: usize) -> Bytes {
    let name = match number {
        n if n % 50 == 49 => format!("poison-{n}"),
        n => format!("service-{n}-{}", "x".repeat(900)),
    };
    test_support::request(&name, SPANS).into()
}

fn is_poison(number: usize) -> bool {
    number % 50 == 49
}

impl Rig {
    async fn start(
        scheme: &str,
        most: usize,
        script: Vec<(Verdict, u64)>,
        log: impl FnOnce(ReaderConfig) -> (BatchLog, Cursor),
    ) -> Self {
        let hangs = script.iter().any(|(verdict, _)| *verdict == Verdict::Hang);
        let status = Arc::new(ExporterStatus::named("several"));
        let peer = Peer::start(scheme, script, &status).await;
        let config = Config {
            requests_in_flight: most,
            timeout: if hangs {
                Duration::from_millis(500)
            } else {
                PATIENCE
            },
            retry: Retry {
                first: Duration::from_millis(1),
                longest: Duration::from_millis(4),
            },
            ..Config::to(Target::parse(&peer.url).unwrap())
        };
        let (log, cursor) = log(ReaderConfig {
            status: Arc::clone(&status),
            on_full: OnFull::DropOldest,
        });
        let (drain, drained) = watch::channel(None);
        let worker = Worker::new(config, Arc::clone(&status), drained);
        Self {
            worker: tokio::spawn(worker.run(cursor)),
            log,
            status,
            peer,
            drain,
        }
    }

    async fn append(&self, numbers: std::ops::Range<usize>, signal: Signal) {
        for number in numbers {
            let items = SPANS;
            self.log.append(signal, batch(number), items).await.unwrap();
        }
    }

    async fn finish(&mut self) {
        self.log.close();
        let worker = tokio::time::timeout(PATIENCE, &mut self.worker);
        worker.await.expect("the worker ends in time").unwrap();
    }

    /// Sent, set aside, dropped.
    fn counts(&self) -> [u64; 3] {
        let status = &self.status;
        [status.sent(), status.set_aside(), status.dropped()].map(|count| count.load().traces)
    }
}

fn in_memory(limit: usize) -> impl FnOnce(ReaderConfig) -> (BatchLog, Cursor) {
    move |reader| {
        let (log, mut cursors) = BatchLog::in_memory(limit, vec![reader]);
        (log, cursors.pop().unwrap())
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        12 => Just(Verdict::Take),
        1 => Just(Verdict::TakeAllButOne),
        2 => Just(Verdict::Busy),
        1 => Just(Verdict::BusyFor("0")),
        1 => Just(Verdict::Refuse),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the answers are and whenever they come, each batch is taken once or set aside, nothing is told before it is
    /// so, and no more are under way than were asked for.
    #[test]
    fn each_batch_has_one_fate(
        is_grpc: bool,
        most in 1..=8_usize,
        batches in 1..160_usize,
        script in vec((verdict(), 0..6_u64), 0..60),
    ) {
        runtime().block_on(async {
            let scheme = if is_grpc { "otlp+grpc" } else { "otlp+http" };
            let mut rig = Rig::start(scheme, most, script, in_memory(1 << 20)).await;
            rig.append(0..batches, Signal::Traces).await;
            rig.finish().await;
            let poisoned = (0..batches).filter(|&number| is_poison(number)).count() as u64;
            let good = batches as u64 - poisoned;
            let heard = rig.peer.heard();
            assert!(heard.taken.values().all(|&spans| spans == SPANS), "{:?}", heard.taken);
            assert_eq!(heard.taken.len() as u64, good);
            assert_eq!(heard.told_too_early, 0);
            assert!(heard.most_under_way <= most, "{}", heard.most_under_way);
            let expected = [good * SPANS - heard.rejected, poisoned * SPANS + heard.rejected, 0];
            assert_eq!(rig.counts(), expected);
            let under_way = rig.status.under_way_requests.load(Ordering::Relaxed);
            assert_eq!(under_way, 0);
        });
    }

    /// The same where the log pushes records out meanwhile, and where the worker is stopped in the middle, also in the middle
    /// of the search for a refused span.
    #[test]
    fn what_is_pushed_out_or_left_is_counted_once(
        most in 1..=8_usize,
        limit in 20_000..120_000_usize,
        stop_after in prop::option::of(0..40_u64),
        script in vec((verdict(), 0..6_u64), 0..40),
    ) {
        runtime().block_on(async {
            let mut rig = Rig::start("otlp+http", most, script, in_memory(limit)).await;
            for part in 0..8 {
                rig.append(part * 40..part * 40 + 40, Signal::Traces).await;
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            if let Some(millis) = stop_after {
                let deadline = Instant::now() + Duration::from_millis(millis);
                rig.drain.send_replace(Some(deadline));
            }
            rig.finish().await;
            let counts = rig.counts();
            assert_eq!(counts.iter().sum::<u64>(), 320 * SPANS, "{counts:?}");
            let heard = rig.peer.heard();
            assert!(heard.taken.values().all(|&spans| spans <= SPANS));
            let taken: u64 = heard.taken.values().sum();
            assert!(counts[0] <= taken, "{counts:?} of {taken}");
            assert_eq!(heard.told_too_early, 0);
        });
    }
}

/// Every answer takes as long as it takes to have others beside it.
fn slow() -> Vec<(Verdict, u64)> {
    vec![(Verdict::Take, 40); 400]
}

async fn check_most(scheme: &str, most: usize, signal: Signal, expected: usize) -> usize {
    let mut rig = Rig::start(scheme, most, slow(), in_memory(4 << 20)).await;
    rig.append(0..49, signal).await;
    // The peer's limit is known.
    let learnt = Arc::clone(&rig.status);
    until(|| learnt.sent_requests.load(Ordering::Relaxed) > 0).await;
    rig.append(50..99, signal).await;
    rig.append(100..149, signal).await;
    rig.finish().await;
    let heard = rig.peer.heard();
    assert_eq!(heard.most_under_way, expected, "{scheme} {signal:?}");
    heard.connections.len()
}

#[tokio::test]
async fn as_many_are_under_way_as_were_asked_for() {
    assert_eq!(check_most("otlp+grpc", 4, Signal::Traces, 4).await, 1);
    assert_eq!(check_most("otlp+http", 3, Signal::Traces, 3).await, 3);
    assert_eq!(check_most("otlp+http", 1, Signal::Traces, 1).await, 1);
}

#[tokio::test]
async fn few_records_that_came_meanwhile_go_together() {
    let mut rig = Rig::start("otlp+grpc", 8, slow(), in_memory(4 << 20)).await;
    rig.append(0..1, Signal::Traces).await;
    let status = Arc::clone(&rig.status);
    until(|| status.sent_requests.load(Ordering::Relaxed) == 1).await;
    rig.append(1..2, Signal::Traces).await;
    let heard = Arc::clone(&rig.peer.heard);
    until(|| heard.lock().unwrap().requests == 2).await;
    rig.append(2..10, Signal::Traces).await;
    rig.finish().await;
    let heard = rig.peer.heard();
    assert_eq!((heard.most_under_way, heard.requests), (1, 3));
}

#[tokio::test]
async fn data_points_arrive_in_their_order() {
    // What they are does not matter to this peer.
    check_most("otlp+http", 4, Signal::Logs, 4).await;
    check_most("otlp+http", 4, Signal::Metrics, 1).await;
}

async fn append_many(rig: &Rig) {
    for part in 0..3 {
        rig.append(part * 50..part * 50 + 49, Signal::Traces).await;
    }
}

#[tokio::test]
async fn what_a_peer_asks_for_holds_all_of_them_back() {
    let mut script = vec![(Verdict::Take, 5); 12];
    script.push((Verdict::BusyFor("1"), 5));
    let mut rig = Rig::start("otlp+grpc", 4, script, in_memory(4 << 20)).await;
    append_many(&rig).await;
    rig.finish().await;
    assert_eq!(rig.counts(), [147 * SPANS, 0, 0]);
    let heard = rig.peer.heard();
    assert!(heard.most_under_way > 1);
    assert!(
        heard.longest_pause >= Duration::from_secs(1),
        "{:?}",
        heard.longest_pause
    );
}

#[tokio::test]
async fn a_peer_that_hangs_midway_gets_the_rest_when_it_answers_again() {
    let mut script = vec![(Verdict::Take, 5); 10];
    script.extend([(Verdict::Hang, 0), (Verdict::Take, 0), (Verdict::Hang, 0)]);
    let mut rig = Rig::start("otlp+grpc", 4, script, in_memory(4 << 20)).await;
    append_many(&rig).await;
    rig.finish().await;
    assert_eq!(rig.counts(), [147 * SPANS, 0, 0]);
    assert!(
        rig.status
            .last_error
            .get()
            .unwrap()
            .message
            .contains("did not answer within")
    );
}

#[tokio::test]
async fn a_backlog_in_files_goes_out_several_at_once() {
    let directory = tempfile::TempDir::new().unwrap();
    let config = DiskConfig {
        directory: directory.path().to_owned(),
        durability: Durability::Received,
        limit: 64 << 20,
        retention: Duration::from_secs(3_600),
    };
    let log = |reader| {
        let status = Arc::new(LogStatus::default());
        // Memory for a few batches: nearly all of them are read back.
        let (log, mut cursors, _) =
            BatchLog::on_disk(&config, 16 << 10, vec![reader], status).unwrap();
        (log, cursors.pop().unwrap())
    };
    let mut rig = Rig::start("otlp+grpc", 4, slow(), log).await;
    for part in 0..10 {
        rig.append(part * 50..part * 50 + 49, Signal::Traces).await;
    }
    rig.finish().await;
    assert_eq!(rig.counts(), [490 * SPANS, 0, 0]);
    let heard = rig.peer.heard();
    assert_eq!(heard.most_under_way, 4);
    assert!(heard.taken.values().all(|&spans| spans == SPANS));
}
