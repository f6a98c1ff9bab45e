//! The peer of one exporter: turns records into a request in its protocol, sends it and says what became of
//! it. Called by the worker.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::compress::Compressor;
use super::config::Config;
use super::doubt::{Doubt, PROOFS};
use super::headers::LiveHeaders;
use super::outcome::Outcome;
use super::request::Request;
use super::size::SizeLimit;
use super::split::Limits;
use super::target::TargetKind;
use crate::net::client::{Client, Endpoint, Pieces, Protocol};
use crate::net::grpc;
use crate::signal::{BySignal, Signal};
use crate::wire::zipkin::{self, EncodeError};

const USER_AGENT: &str = concat!("bellwether-collector/", env!("CARGO_PKG_VERSION"));

/// gRPC's default limit is 4 MiB for a message; merged requests stay a little below.
const MAX_OTLP_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;

/// Of a compressor. Where bodies are compressed, `config` reckons with 8 MiB in each exporter's hand: a record that is a
/// request by itself and what it becomes, beside these tables; or several records, the same in one piece, and that
/// compressed.
pub(super) const TABLE_BYTES: usize = 640 * 1024;

/// As JSON it usually becomes two to four times as large; Zipkin takes 10 MiB by default.
const MAX_ZIPKIN_BYTES: usize = 1024 * 1024;

/// Where it becomes more, less of it goes at once: `config` reckons with so much in each exporter's hand.
const MAX_JSON_BYTES: usize = 4 * 1024 * 1024;

/// The same where both it and what it is compressed to are in hand.
const MAX_COMPRESSED_JSON_BYTES: usize = 3 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Peer {
    /// The exporter's, for what it tells.
    name: String,
    kind: TargetKind,
    paths: BySignal<String>,
    given: LiveHeaders,
    /// Those given and its own, as they are sent; without what tells of compression.
    headers: HeaderMap,
    compressing: Option<Compressing>,
    client: Client,
    max_items: u64,
    /// Of what is sent, before it is compressed.
    size: SizeLimit,
    /// The last request's: new memory of that size costs a fifth of what a span does, for the system clears each page.
    last_json: Bytes,
    doubt: Doubt,
}

#[derive(Debug)]
struct Compressing {
    compressor: Compressor,
    /// The peer has taken a request in it.
    is_proven: bool,
}

impl Peer {
    pub(super) fn new(config: Config) -> Self {
        let target = config.target;
        let protocol = match target.kind {
            TargetKind::OtlpGrpc => Protocol::Http2,
            TargetKind::OtlpHttp | TargetKind::Zipkin => Protocol::Http1,
        };
        let compressing = Compressor::new(config.compression).map(|compressor| Compressing {
            compressor,
            is_proven: false,
        });
        let max_sent = match target.kind {
            TargetKind::OtlpGrpc | TargetKind::OtlpHttp => MAX_OTLP_BYTES,
            TargetKind::Zipkin if compressing.is_some() => MAX_COMPRESSED_JSON_BYTES,
            TargetKind::Zipkin => MAX_JSON_BYTES,
        };
        Self {
            name: config.name,
            kind: target.kind,
            paths: BySignal {
                traces: target.path_of(Signal::Traces),
                logs: target.path_of(Signal::Logs),
                metrics: target.path_of(Signal::Metrics),
            },
            given: LiveHeaders::new(config.headers, config.reload_interval),
            headers: with_own(HeaderMap::new(), target.kind),
            compressing,
            client: Client::new(Endpoint {
                host: target.host,
                port: target.port,
                protocol,
                tls: target.tls.then_some(config.tls),
                timeout: config.timeout,
            }),
            max_items: u64::MAX,
            size: SizeLimit::new(max_sent),
            last_json: Bytes::new(),
            doubt: Doubt::default(),
        }
    }

    /// What one request is made of at most, in OTLP; less after [`Outcome::TooLarge`].
    pub(super) fn limits(&self) -> Limits {
        Limits {
            bytes: self.max_bytes().min(self.size.bytes()),
            items: self.max_items,
            // What a peer of OTLP takes is for it to say.
            item_bytes: match self.kind {
                TargetKind::OtlpGrpc | TargetKind::OtlpHttp => usize::MAX,
                TargetKind::Zipkin => MAX_JSON_BYTES,
            },
        }
    }

    /// Bytes of OTLP that there is memory for in one request.
    fn max_bytes(&self) -> usize {
        match self.kind {
            TargetKind::Zipkin => MAX_ZIPKIN_BYTES,
            TargetKind::OtlpGrpc | TargetKind::OtlpHttp if self.compressing.is_some() => {
                MAX_OTLP_BYTES - TABLE_BYTES
            }
            TargetKind::OtlpGrpc | TargetKind::OtlpHttp => MAX_OTLP_BYTES,
        }
    }

    /// As [`limits`](Self::limits), of a request that is made of several records, which are put into one piece before they
    /// are compressed.
    pub(super) fn max_merged_bytes(&self) -> usize {
        let most = match self.kind {
            TargetKind::OtlpGrpc | TargetKind::OtlpHttp if self.compressing.is_some() => {
                self.max_bytes() / 3 * 2
            }
            _ => self.max_bytes(),
        };
        most.min(self.size.bytes())
    }

    /// The pieces of one batch as batches to send: what is read to be written anew is read whole.
    pub(super) fn batches(&self, pieces: Vec<Bytes>) -> Vec<Bytes> {
        match self.kind {
            TargetKind::Zipkin if pieces.len() > 1 => vec![pieces.concat().into()],
            _ => pieces,
        }
    }

    /// Sends `batches`, which are of `signal`, as one request. A peer that cannot read how it is compressed gets it as it
    /// is, then and from then on.
    pub(super) async fn send(&mut self, signal: Signal, batches: Vec<Bytes>) -> Outcome {
        self.refresh_headers().await;
        let again = match self.kind {
            TargetKind::Zipkin => batches.clone(),
            TargetKind::OtlpGrpc | TargetKind::OtlpHttp => Vec::new(),
        };
        let outcome = match self.send_in_its_encoding(signal, batches).await {
            Outcome::Denied {
                reason,
                perhaps_by_content,
            } => self.denied(signal, reason, perhaps_by_content).await,
            outcome if is_doubtful(&outcome) => self.doubted(signal, again, outcome).await,
            outcome => outcome,
        };
        if !matches!(outcome, Outcome::Taken(_)) {
            // A peer that is away for long must not keep memory from those that are there.
            self.last_json = Bytes::new();
        }
        outcome
    }

    /// A storage that fails passes, and what is to be sent waits. One that takes other spans while it fails on these would
    /// be asked the same for ever: that is a refusal.
    async fn doubted(&mut self, signal: Signal, batches: Vec<Bytes>, first: Outcome) -> Outcome {
        let mut outcome = first;
        if !self.doubt.failed() {
            return outcome;
        }
        for _ in 0..PROOFS {
            let Some(probe) = self.doubt.probe(&batches) else {
                return outcome;
            };
            let (probed, _) = self.attempt(signal, vec![probe.clone()], false).await;
            let is_taken = matches!(probed, Outcome::Taken(_));
            self.doubt.probed(probe, is_taken);
            if !is_taken {
                return outcome;
            }
            outcome = self.send_in_its_encoding(signal, batches.clone()).await;
            if !is_doubtful(&outcome) {
                return outcome;
            }
        }
        match outcome {
            Outcome::Retry { reason, .. } => {
                refused(format!("{reason}; it took other spans meanwhile"))
            }
            outcome => outcome,
        }
    }

    /// Makes one of several requests that are under way at once, or says why it cannot be. A peer that has taken nothing yet
    /// is [`send`](Self::send)-ed to first, which finds out what it can read.
    pub(super) async fn begin(
        &mut self,
        signal: Signal,
        batches: Vec<Bytes>,
    ) -> Result<Request, Outcome> {
        self.refresh_headers().await;
        let compressed = self.compressing.is_some() && self.is_usual(&batches);
        self.request(signal, batches, compressed)
    }

    /// One of several requests was taken. What was not is sent again alone, and learnt from then.
    pub(super) fn took_one(&mut self) {
        self.size.taken();
        self.doubt.taken();
    }

    async fn refresh_headers(&mut self) {
        if let Some(given) = self.given.refresh(&self.name).await {
            self.headers = with_own(given, self.kind);
        }
    }

    /// Whether there is memory for the compressed form, too: an item that alone is larger goes as it is.
    fn is_usual(&self, batches: &[Bytes]) -> bool {
        batches.iter().map(Bytes::len).sum::<usize>() <= self.max_bytes()
    }

    /// Wrong credentials are for people to mend, and may be in the middle of a rotation: batches wait for that, as they do
    /// for a peer that is down. A proxy that dislikes one batch answers with the same 403, though, and must not hold the
    /// others back for good: it takes an empty request.
    async fn denied(
        &mut self,
        signal: Signal,
        reason: String,
        perhaps_by_content: bool,
    ) -> Outcome {
        if perhaps_by_content {
            let (probe, _) = self.attempt(signal, Vec::new(), false).await;
            if matches!(probe, Outcome::Taken(_) | Outcome::Refused { .. }) {
                let by_content = true;
                return Outcome::Refused { reason, by_content };
            }
        }
        // A certificate that was rotated meanwhile is shown by a new connection only.
        self.client.disconnect();
        self.given.suspect();
        Outcome::Denied {
            reason,
            perhaps_by_content,
        }
    }

    /// Some peers say that they cannot read an encoding, and some take it for a bad request: one that has taken nothing
    /// compressed yet and refuses the first is asked again without.
    async fn send_in_its_encoding(&mut self, signal: Signal, batches: Vec<Bytes>) -> Outcome {
        let usual = self.is_usual(&batches);
        let Some(compressing) = self.compressing.as_ref().filter(|_| usual) else {
            return self.attempt(signal, batches, false).await.0;
        };
        let (is_proven, encoding) = (compressing.is_proven, compressing.compressor.encoding());
        let (outcome, may_be_read) = self.attempt(signal, batches.clone(), true).await;
        match &outcome {
            Outcome::Taken(_) => {
                if let Some(compressing) = &mut self.compressing {
                    compressing.is_proven = true;
                }
                return outcome;
            }
            Outcome::Refused { .. } if !may_be_read || !is_proven => {}
            _ => return outcome,
        }
        let (plain, _) = self.attempt(signal, batches, false).await;
        if matches!(plain, Outcome::Taken(_)) {
            self.compressing = None;
            tracing::warn!(
                exporter = self.name,
                encoding = encoding.to_str().unwrap_or_default(),
                "the peer cannot read this encoding, so requests go to it uncompressed; set its compression to another"
            );
        }
        plain
    }

    /// One attempt, and whether the peer may have read its encoding.
    async fn attempt(
        &mut self,
        signal: Signal,
        batches: Vec<Bytes>,
        compressed: bool,
    ) -> (Outcome, bool) {
        let request = match self.request(signal, batches, compressed) {
            Ok(request) => request,
            Err(refused) => return (refused, true),
        };
        let length = request.length;
        let (outcome, readable) = request.send().await;
        (self.learn(outcome, length), readable)
    }

    fn request(
        &mut self,
        signal: Signal,
        batches: Vec<Bytes>,
        compressed: bool,
    ) -> Result<Request, Outcome> {
        let (body, length) = self.body(batches, compressed)?;
        let mut headers = self.headers.clone();
        if let Some(compressing) = self.compressing.as_ref().filter(|_| compressed) {
            let name = match self.kind {
                TargetKind::OtlpGrpc => grpc::ENCODING,
                TargetKind::OtlpHttp | TargetKind::Zipkin => header::CONTENT_ENCODING,
            };
            headers.insert(name, compressing.compressor.encoding());
        }
        Ok(Request {
            client: self.client.clone(),
            kind: self.kind,
            path: self.paths.of(signal).clone(),
            headers,
            body,
            length,
        })
    }

    /// Learns from the answer to `length` bytes how many the peer takes.
    fn learn(&mut self, outcome: Outcome, length: usize) -> Outcome {
        match outcome {
            Outcome::Taken(_) => {
                self.size.taken();
                self.doubt.taken();
            }
            Outcome::TooLarge { reason } if !self.size.refused(length) => return refused(reason),
            _ => {}
        }
        outcome
    }

    /// Serialized requests one after another are one merged request, so OTLP goes out as it came in. The request's body,
    /// and how many bytes it is made of.
    fn body(&mut self, batches: Vec<Bytes>, compressed: bool) -> Result<(Pieces, usize), Outcome> {
        let pieces = match self.kind {
            TargetKind::OtlpHttp | TargetKind::OtlpGrpc => batches,
            TargetKind::Zipkin => vec![self.zipkin(&batches)?],
        };
        let whole = pieces.iter().map(Bytes::len).sum();
        let pieces = match &mut self.compressing {
            Some(compressing) if compressed => vec![
                compressing
                    .compressor
                    .compress(&pieces)
                    .ok_or_else(|| refused("the request could not be compressed".to_owned()))?,
            ],
            _ => pieces,
        };
        if self.kind != TargetKind::OtlpGrpc {
            return Ok((Pieces::new(pieces), whole));
        }
        let length = pieces.iter().map(Bytes::len).sum();
        let prefix = grpc::prefix(length, compressed)
            .ok_or_else(|| refused(format!("{length} bytes are no gRPC message")))?;
        let prefix = Bytes::copy_from_slice(&prefix);
        let pieces = Pieces::new(std::iter::once(prefix).chain(pieces));
        Ok((pieces, whole))
    }

    /// The memory of the last request's JSON, unless that is still being sent or is much more than these bytes need: after
    /// a burst none is kept that is not used.
    fn memory_for(&mut self, bytes: usize) -> Vec<u8> {
        let last = std::mem::take(&mut self.last_json);
        let free = last.try_into_mut().ok();
        let fits = free.filter(|memory| memory.capacity() / 8 <= bytes);
        // What is in it would be copied along.
        let cleared = fits.map(|mut memory| {
            memory.clear();
            memory
        });
        cleared.map(Vec::from).unwrap_or_default()
    }

    /// How many spans make a request of JSON is learnt: what would have fitted after one that was too large, and twice
    /// as many again where that leaves room.
    fn zipkin(&mut self, batches: &[Bytes]) -> Result<Bytes, Outcome> {
        let limit = self.size.bytes();
        let memory = self.memory_for(zipkin::expected_bytes(batches));
        match zipkin::encode(batches, limit, memory) {
            Ok(json) => {
                if json.len() <= limit / 4 {
                    self.max_items = self.max_items.saturating_mul(2);
                }
                self.last_json = json.into();
                Ok(self.last_json.clone())
            }
            Err(error @ EncodeError::TooLarge { fits, .. }) => {
                self.max_items = fits.max(1);
                let reason = error.to_string();
                Err(Outcome::TooLarge { reason })
            }
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// `headers` and those that every request to such a peer has.
fn with_own(mut headers: HeaderMap, kind: TargetKind) -> HeaderMap {
    let content_type = match kind {
        TargetKind::OtlpGrpc => "application/grpc",
        TargetKind::OtlpHttp => "application/x-protobuf",
        TargetKind::Zipkin => "application/json",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers
        .entry(header::USER_AGENT)
        .or_insert(HeaderValue::from_static(USER_AGENT));
    if kind == TargetKind::OtlpGrpc {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    headers
}

/// Whether an answer leaves open if it is about the peer or about what is in the request.
fn is_doubtful(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Retry {
            perhaps_by_content: true,
            ..
        }
    )
}

fn refused(reason: String) -> Outcome {
    Outcome::Refused {
        reason,
        by_content: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Compression, Config, Target};
    use crate::wire::test_support;

    const REQUEST: usize = 4 * 1024 * 1024;

    #[test]
    fn what_is_in_hand_is_what_the_memory_limit_is_shared_out_by() {
        for (url, compression) in [
            ("otlp+grpc://a", Compression::None),
            ("otlp+grpc://a", Compression::Gzip),
            ("otlp+http://a", Compression::Zstd),
        ] {
            let config = Config {
                compression,
                ..Config::to(Target::parse(url).unwrap())
            };
            let most = config.requests_in_hand() * REQUEST;
            let peer = Peer::new(config);
            let bound = zstd_safe::compress_bound(peer.max_bytes());
            let (one, several) = match compression {
                Compression::None => (peer.max_bytes(), peer.max_merged_bytes()),
                _ => (
                    peer.max_bytes() + bound + TABLE_BYTES,
                    peer.max_merged_bytes() * 3 + TABLE_BYTES,
                ),
            };
            assert!(one <= most && several <= most, "{one} {several} of {most}");
        }
        let json = MAX_ZIPKIN_BYTES + 2 * MAX_COMPRESSED_JSON_BYTES + TABLE_BYTES;
        assert!(json <= 2 * REQUEST);
    }

    #[test]
    fn json_is_written_where_the_last_was_unless_that_is_in_use_or_far_larger() {
        let mut peer = Peer::new(Config::to(Target::parse("zipkin+http://a").unwrap()));
        let mut json = |spans| {
            let batch = test_support::request("shop", spans);
            peer.zipkin(&[batch.into()]).unwrap()
        };
        let first = json(1_000);
        let place = first.as_ptr();
        drop(first);
        let second = json(900);
        assert_eq!(second.as_ptr(), place);
        let beside = json(900);
        assert_eq!(beside, second);
        let (length, memory) = (beside.len(), beside.as_ptr());
        drop(beside);
        let few = json(1);
        assert_ne!(few.as_ptr(), memory);
        drop(few);
        let held = peer.last_json.try_into_mut().unwrap();
        assert!(held.capacity() < length / 8, "{}", held.capacity());
    }

    #[tokio::test]
    async fn what_a_peer_that_is_away_did_not_take_holds_no_memory() {
        let mut peer = Peer::new(Config::to(
            Target::parse("zipkin+http://127.0.0.1:1").unwrap(),
        ));
        let batch = test_support::request("shop", 10).into();
        let outcome = peer.send(Signal::Traces, vec![batch]).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        assert!(peer.last_json.is_empty());
    }
}
