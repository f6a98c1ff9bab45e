//! An OTLP peer over HTTP that notes every span id it takes, and of all signals the bytes; it can be told to take none, or to
//! take its time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

/// A running peer; its connections end with those who made them.
pub(crate) struct Sink {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    refusing: AtomicBool,
    /// Time it takes for a span, nanoseconds.
    pace: AtomicU64,
    /// From the start of the first span of a request, when that was not long ago, to its arrival here.
    delays: Mutex<Vec<Duration>>,
    /// How often each span came.
    taken: Mutex<BTreeMap<u64, u32>>,
    /// The `tracestate` that each span came with last.
    states: Mutex<BTreeMap<u64, String>>,
    /// Whether nothing is kept but ids.
    ids_alone: AtomicBool,
    /// Whether not even those.
    count_alone: AtomicBool,
    /// Spans that came.
    spans: AtomicU64,
    /// What came to each path, in pieces of one resource.
    pieces: Mutex<BTreeMap<String, BTreeSet<Vec<u8>>>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// One that keeps nothing but ids, for much load.
    pub(crate) fn of_ids() -> Self {
        let sink = Self::start();
        sink.state.ids_alone.store(true, Ordering::SeqCst);
        sink
    }

    /// One that only counts, for much load over a long time.
    pub(crate) fn counting() -> Self {
        let sink = Self::of_ids();
        sink.state.count_alone.store(true, Ordering::SeqCst);
        sink
    }

    /// Spans that came, however often each.
    pub(crate) fn spans(&self) -> u64 {
        self.state.spans.load(Ordering::SeqCst)
    }

    pub(crate) fn listen(listener: TcpListener) -> Self {
        let sink = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let state = Arc::clone(&sink.state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&state));
                // A collector that is killed hangs up in the middle of anything.
                std::thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        sink
    }

    /// For `--export`.
    pub(crate) fn url(&self) -> String {
        format!("otlp+http://{}", self.address)
    }

    /// Whether it answers with 503 from now on.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.state.refusing.store(refusing, Ordering::SeqCst);
    }

    /// How long it takes for each span from now on.
    pub(crate) fn pace(&self, of_a_span: Duration) {
        let nanos = of_a_span.as_nanos() as u64;
        self.state.pace.store(nanos, Ordering::SeqCst);
    }

    /// From the start of the oldest span of each batch to its arrival, in ascending order.
    pub(crate) fn delays(&self) -> Vec<Duration> {
        let mut delays = self.state.delays.lock().unwrap().clone();
        delays.sort_unstable();
        delays
    }

    /// How often each span came.
    pub(crate) fn taken(&self) -> BTreeMap<u64, u32> {
        self.state.taken.lock().unwrap().clone()
    }

    /// The `tracestate` that each span came with last.
    pub(crate) fn states(&self) -> BTreeMap<u64, String> {
        self.state.states.lock().unwrap().clone()
    }

    /// What came to a path, as requests of one resource each.
    pub(crate) fn pieces(&self, path: &str) -> BTreeSet<Vec<u8>> {
        let pieces = self.state.pieces.lock().unwrap();
        pieces.get(path).cloned().unwrap_or_default()
    }

    /// Of `expected`, how many have not come.
    pub(crate) fn lacks<'a>(&self, expected: impl IntoIterator<Item = &'a u64>) -> usize {
        let taken = self.state.taken.lock().unwrap();
        let lacks = |id: &&u64| !taken.contains_key(id);
        expected.into_iter().filter(lacks).count()
    }
}

fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let (mut length, mut path) = (0, None);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            path = path.or_else(|| line.split(' ').nth(1).map(str::to_owned));
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if state.refusing.load(Ordering::SeqCst) {
            writer.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        }
        let path = path.unwrap_or_default();
        let is_traces = path == "/v1/traces";
        let request = if is_traces { &body[..] } else { &[] };
        let Ok(request) = ExportTraceServiceRequest::decode(request) else {
            writer.write_all(b"HTTP/1.1 400 Bad\r\ncontent-length: 13\r\n\r\nnot protobuf!")?;
            continue;
        };
        if !state.ids_alone.load(Ordering::SeqCst) {
            let mut noted = state.pieces.lock().unwrap();
            noted.entry(path).or_default().extend(pieces(&body));
        }
        let scopes = request.resource_spans.iter().flat_map(|r| &r.scope_spans);
        let spans: usize = scopes.map(|scope| scope.spans.len()).sum();
        state.spans.fetch_add(spans as u64, Ordering::SeqCst);
        if !state.count_alone.load(Ordering::SeqCst) {
            state.note_delays(&request);
            state.note_ids(request);
        }
        let pause = state.pace.load(Ordering::SeqCst) * spans as u64;
        std::thread::park_timeout(Duration::from_nanos(pause));
        writer.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )?;
    }
}

impl State {
    fn note_ids(&self, request: ExportTraceServiceRequest) {
        let scopes = request
            .resource_spans
            .into_iter()
            .flat_map(|r| r.scope_spans);
        let mut taken = self.taken.lock().unwrap();
        for span in scopes.flat_map(|scope| scope.spans) {
            let id = u64::from_be_bytes(span.span_id.try_into().unwrap());
            *taken.entry(id).or_default() += 1;
            if !span.trace_state.is_empty() {
                let mut states = self.states.lock().unwrap();
                states.insert(id, span.trace_state);
            }
        }
    }

    /// Of each batch in a merged request.
    fn note_delays(&self, request: &ExportTraceServiceRequest) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut delays = self.delays.lock().unwrap();
        for resource_spans in &request.resource_spans {
            let first = resource_spans.scope_spans.first();
            let first = first.and_then(|scope| scope.spans.first());
            let Some(started) = first.map(|span| Duration::from_nanos(span.start_time_unix_nano))
            else {
                continue;
            };
            if now.saturating_sub(started) < Duration::from_secs(3_600) {
                delays.push(now.saturating_sub(started));
            }
        }
    }
}

/// A merged request as requests of one resource each; those are its only field.
fn pieces(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while !body.is_empty() {
        assert_eq!(body[0], 1 << 3 | 2);
        let mut rest = &body[1..];
        let length = prost::encoding::decode_varint(&mut rest).unwrap();
        let end = body.len() - rest.len() + length as usize;
        let (piece, behind) = body.split_at(end);
        pieces.push(piece.to_vec());
        body = behind;
    }
    pieces
}
