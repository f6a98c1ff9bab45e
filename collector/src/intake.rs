//! Admission of one batch: walk, append, count. Called by `receive` for every body, whatever its protocol. Logs and metrics
//! are checked, counted and appended; only traces are viewed.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use crate::log::{BatchLog, Full, compact};
use crate::signal::Signal;
use crate::status::{ReceiverStatus, add, now_unix_nano};
use crate::views::Views;
use crate::wire::{SpanRef, WireError, count_data_points, count_log_records, walk};

/// Spans given to the views at once. Bounds the memory that a body of many tiny spans can cost: a
/// [`SpanRef`] is larger than the smallest span.
const SPANS_AT_ONCE: usize = 4_096;

/// A span's usual least size in bytes, for a first guess at how many there are.
const SMALL_SPAN_BYTES: usize = 128;

/// Takes batches; cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    log: BatchLog,
    views: Arc<Views>,
}

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Malformed: never send it again. 400 / `INVALID_ARGUMENT`.
    #[error("malformed {}: {fault}", request_name(*.signal))]
    Malformed {
        /// What it should have been of.
        signal: Signal,
        /// What is wrong with it.
        fault: WireError,
    },
    /// Larger than the whole log: never send it again like this. 413 / `RESOURCE_EXHAUSTED`.
    #[error(transparent)]
    TooLarge(Full),
    /// No room now, or a disk that does not take it: send it again later. 503 / `UNAVAILABLE`.
    #[error(transparent)]
    Full(Full),
}

impl Intake {
    /// Takes batches into `log` and `views`.
    pub fn new(log: BatchLog, views: Arc<Views>) -> Self {
        Self { log, views }
    }

    /// Takes a batch into log and views; the number of items in it. Returns when the log has it as safe as it promises.
    ///
    /// # Errors
    /// [`Refused`]; nothing was kept or counted then, except in `status`.
    pub async fn admit(
        &self,
        signal: Signal,
        batch: Bytes,
        status: &ReceiverStatus,
    ) -> Result<u64, Refused> {
        let batch = compact(batch);
        let taken = match signal {
            Signal::Traces => self.take_spans(&batch).await,
            Signal::Logs => self.take(signal, batch, count_log_records).await,
            Signal::Metrics => self.take(signal, batch, count_data_points).await,
        };
        match &taken {
            Ok(items) => {
                add(&status.accepted_batches, 1);
                add(status.accepted().of(signal), *items);
            }
            Err(refused) => {
                add(refused.counter(status), 1);
                status.last_error.set(refused.to_string());
            }
        }
        taken
    }

    /// Takes what is not viewed.
    async fn take(
        &self,
        signal: Signal,
        batch: Bytes,
        count: fn(&[u8]) -> Result<u64, WireError>,
    ) -> Result<u64, Refused> {
        let items = count(&batch).map_err(|fault| Refused::malformed(signal, fault))?;
        if items > 0 {
            self.log.append(signal, batch, items).await?;
        }
        Ok(items)
    }

    async fn take_spans(&self, batch: &Bytes) -> Result<u64, Refused> {
        let guess = batch.len() / SMALL_SPAN_BYTES;
        let mut spans = Vec::with_capacity(guess.min(SPANS_AT_ONCE));
        let total = walk(batch, |span| {
            if spans.len() < SPANS_AT_ONCE {
                spans.push(span);
            }
        });
        let total = total.map_err(|fault| Refused::malformed(Signal::Traces, fault))?;
        if total == 0 {
            return Ok(0);
        }
        if self.log.is_on_disk() {
            spare_memory(&mut spans, batch.len());
        }
        let appended = self.log.append(Signal::Traces, batch.clone(), total as u64);
        appended.await?;
        // Counted only now: a batch that is refused comes again.
        let arrived = now_unix_nano();
        self.views.count(&spans, arrived);
        if total > spans.len() {
            self.count_rest(batch, spans, arrived);
        }
        Ok(total as u64)
    }

    /// Counts the spans behind the first ones, which `piece` holds, by walking the batch again in pieces of
    /// [`SPANS_AT_ONCE`].
    fn count_rest<'a>(&self, batch: &'a [u8], mut piece: Vec<SpanRef<'a>>, arrived: u64) {
        let counted = piece.len();
        piece.clear();
        let mut index = 0;
        // It was walked to its end before.
        let _ = walk(batch, |span| {
            if index >= counted {
                piece.push(span);
            }
            index += 1;
            if piece.len() == SPANS_AT_ONCE {
                self.views.count(&piece, arrived);
                piece.clear();
            }
        });
        if !piece.is_empty() {
            self.views.count(&piece, arrived);
        }
    }
}

/// While many batches wait for a disk, what was found in one must not need more memory than the batch itself, for
/// that much is reserved; tiny spans would, and are looked for again after the wait.
fn spare_memory(spans: &mut Vec<SpanRef<'_>>, batch_bytes: usize) {
    if size_of_val(&spans[..]) > batch_bytes {
        spans.clear();
    }
    spans.shrink_to_fit();
}

impl Refused {
    fn malformed(signal: Signal, fault: WireError) -> Self {
        Self::Malformed { signal, fault }
    }

    fn counter(self, status: &ReceiverStatus) -> &AtomicU64 {
        match self {
            Self::Malformed { .. } | Self::TooLarge(_) => &status.rejected_batches,
            Self::Full(_) => &status.refused_batches,
        }
    }
}

/// As the .proto files have it.
fn request_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "ExportTraceServiceRequest",
        Signal::Logs => "ExportLogsServiceRequest",
        Signal::Metrics => "ExportMetricsServiceRequest",
    }
}

impl From<Full> for Refused {
    fn from(full: Full) -> Self {
        match full {
            Full::TooLarge { .. } => Self::TooLarge(full),
            Full::Now { .. } | Full::Behind | Full::Hangs { .. } | Full::Disk(_) | Full::Closed => {
                Self::Full(full)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use futures_util::FutureExt;
    use opentelemetry_proto::tonic::trace::v1::Span;

    use super::*;
    use crate::log::disk::{DiskConfig, Durability};
    use crate::log::{Cursor, OnFull, ReaderConfig};
    use crate::signal::Items;
    use crate::status::ExporterStatus;
    use crate::views::{Config, Range};
    use crate::wire::test_support::{self, encode, resource_spans};

    struct Fixture {
        intake: Intake,
        log: BatchLog,
        exporter: Cursor,
        views: Arc<Views>,
        receiver: ReceiverStatus,
    }

    fn fixture(log_bytes: usize) -> Fixture {
        let reader = ReaderConfig {
            status: Arc::new(ExporterStatus::default()),
            on_full: OnFull::DropOldest,
        };
        let (log, mut cursors) = BatchLog::in_memory(log_bytes, vec![reader]);
        let views = Arc::new(Views::new(Config {
            retention: Duration::from_secs(3_600),
            trace_bytes: 1 << 20,
            view_bytes: 1 << 20,
        }));
        Fixture {
            intake: Intake::new(log.clone(), Arc::clone(&views)),
            log,
            exporter: cursors.pop().unwrap(),
            views,
            receiver: ReceiverStatus::listening("otlp-http", "127.0.0.1:4318".to_owned()),
        }
    }

    impl Fixture {
        fn check(&self, batch: Vec<u8>, expected: Result<u64, Refused>, counted: u64) {
            assert_eq!(self.admit(batch), expected);
            assert_eq!(self.views.spans_counted(), counted);
        }

        /// In memory it never waits.
        fn admit(&self, batch: Vec<u8>) -> Result<u64, Refused> {
            let admitted = self
                .intake
                .admit(Signal::Traces, Bytes::from(batch), &self.receiver);
            admitted.now_or_never().unwrap()
        }

        fn counts(&self) -> [u64; 4] {
            [
                &self.receiver.accepted_batches,
                &self.receiver.accepted_spans,
                &self.receiver.refused_batches,
                &self.receiver.rejected_batches,
            ]
            .map(|counter| counter.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_good_batch_is_kept_and_counted() {
        let fixture = fixture(1 << 20);
        fixture.check(test_support::request("shop", 3), Ok(3), 3);
        assert_eq!(fixture.exporter.unsent().traces, 3);
        assert_eq!(fixture.counts(), [1, 3, 0, 0]);
        let range = Range::Last(Duration::from_secs(300));
        let (_, services) = fixture.views.services(range);
        assert_eq!(services[0].service, "shop");
    }

    #[test]
    fn an_empty_batch_is_a_success_that_nobody_waits_for() {
        let fixture = fixture(1 << 20);
        fixture.check(Vec::new(), Ok(0), 0);
        assert_eq!(fixture.exporter.unsent().traces, 0);
        assert_eq!(fixture.counts(), [1, 0, 0, 0]);
    }

    #[test]
    fn logs_and_metrics_are_kept_and_counted_apart_and_not_viewed() {
        for signal in [Signal::Logs, Signal::Metrics] {
            let fixture = fixture(1 << 20);
            let admit = |batch: Vec<u8>| {
                let admitted = fixture
                    .intake
                    .admit(signal, batch.into(), &fixture.receiver);
                admitted.now_or_never().unwrap()
            };
            let batch = test_support::request_of(signal, "shop", 3);
            assert_eq!(admit(batch.clone()), Ok(3));
            assert_eq!(fixture.exporter.unsent(), Items::only(signal, 3));
            assert_eq!(fixture.receiver.accepted().load(), Items::only(signal, 3));
            assert_eq!(fixture.views.spans_counted(), 0);

            let cut = batch[..batch.len() - 1].to_vec();
            assert!(matches!(admit(cut), Err(Refused::Malformed { .. })));
            assert_eq!(admit(Vec::new()), Ok(0));
            assert_eq!(fixture.exporter.unsent(), Items::only(signal, 3));
            assert_eq!(fixture.counts(), [2, 0, 0, 1]);
        }
    }

    #[test]
    fn a_batch_of_many_spans_is_counted_in_full() {
        let fixture = fixture(1 << 24);
        let spans = 2 * SPANS_AT_ONCE as u64 + 17;
        fixture.check(test_support::request("shop", spans), Ok(spans), spans);
    }

    #[test]
    fn a_malformed_batch_counts_nowhere_but_in_the_status() {
        let fixture = fixture(1 << 20);
        let mut batch = test_support::request("shop", 3);
        batch.pop();
        let fault = walk(&batch, |_| ()).unwrap_err();
        fixture.check(batch, Err(Refused::malformed(Signal::Traces, fault)), 0);
        assert_eq!(fixture.exporter.unsent().traces, 0);
        assert_eq!(fixture.counts(), [0, 0, 0, 1]);
        let error = fixture.receiver.last_error.get().unwrap();
        assert!(error.message.contains("truncated"), "{}", error.message);
    }

    #[test]
    fn a_batch_without_room_is_not_counted() {
        let fixture = fixture(300);
        let batch = test_support::request("shop", 100);
        let answer = fixture.admit(batch);
        assert!(matches!(answer, Err(Refused::TooLarge(_))));
        fixture.log.close();
        let closed = Refused::Full(Full::Closed);
        fixture.check(test_support::request("shop", 1), Err(closed), 0);
        assert_eq!(fixture.counts(), [0, 0, 1, 1]);
    }

    #[tokio::test]
    async fn on_disk_too_all_spans_are_counted_however_small_they_are() {
        let directory = tempfile::TempDir::new().unwrap();
        let config = DiskConfig {
            directory: directory.path().to_owned(),
            durability: Durability::Synced,
            limit: 128 << 20,
            retention: Duration::from_secs(3_600),
        };
        let reader = ReaderConfig {
            status: Arc::new(ExporterStatus::default()),
            on_full: OnFull::Refuse,
        };
        let opened = BatchLog::on_disk(&config, 8 << 20, vec![reader], Arc::default());
        let (log, cursors, _) = opened.unwrap();
        let Fixture {
            views, receiver, ..
        } = fixture(0);
        let intake = Intake::new(log, Arc::clone(&views));
        let spans = SPANS_AT_ONCE as u64 + 17;
        let tiny = |id: u64| Span {
            trace_id: vec![1; 16],
            span_id: id.to_be_bytes().into(),
            ..Span::default()
        };
        let tiny = vec![resource_spans("tiny", (1..=spans).map(tiny).collect())];
        let (tiny, ordinary) = (encode(tiny), test_support::request("shop", 3));
        assert!(
            tiny.len() < spans as usize * size_of::<SpanRef<'_>>(),
            "not tiny"
        );
        for (batch, spans) in [(tiny, spans), (ordinary, 3)] {
            let answer = intake
                .admit(Signal::Traces, Bytes::from(batch), &receiver)
                .await;
            assert_eq!(answer, Ok(spans));
        }
        assert_eq!(views.spans_counted(), spans + 3);
        assert_eq!(cursors[0].unsent().traces, spans + 3);
    }
}
