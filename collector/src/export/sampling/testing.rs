//! What the tests of sampling share.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::{Ratio, Sampler, Sampling, Tail};
use crate::log::{BatchLog, Cursor, Full, OnFull, ReaderConfig, Record};
use crate::signal::Signal;
use crate::status::ExporterStatus;
use crate::wire::test_support::{encode, resource_spans};
use crate::wire::{SpanRef, walk};

/// What `read` makes of `span`, sent by the service `shop`.
pub(super) fn span_ref<T>(span: &Span, read: impl Fn(&SpanRef<'_>) -> T) -> T {
    let mut made = None;
    walk(&batch(std::slice::from_ref(span)), |span| {
        made = Some(read(&span));
    })
    .unwrap();
    made.unwrap()
}

/// `span` with status ERROR.
pub(super) fn failed(span: Span) -> Span {
    let status = Some(Status {
        code: 2,
        ..Status::default()
    });
    Span { status, ..span }
}

/// `span` of so many milliseconds.
pub(super) fn lasting(span: Span, millis: u64) -> Span {
    let end_time_unix_nano = span.start_time_unix_nano + millis * 1_000_000;
    Span {
        end_time_unix_nano,
        ..span
    }
}

/// A batch of one service.
pub(super) fn batch(spans: &[Span]) -> Vec<u8> {
    encode(vec![resource_spans("shop", spans.to_vec())])
}

/// Failed traces, and none of the others.
pub(super) fn errors_only() -> Sampling {
    Sampling {
        ratio: Ratio::NONE,
        tail: Some(Tail {
            keep_errors: true,
            ..Tail::default()
        }),
        ..Sampling::default()
    }
}

/// One exporter's sampler with its cursor.
pub(super) struct Exporter {
    pub(super) cursor: Cursor,
    pub(super) sampler: Sampler,
    pub(super) status: Arc<ExporterStatus>,
}

/// A log of at most `limit` bytes with an exporter for each policy.
pub(super) fn exporters(
    limit: usize,
    on_full: OnFull,
    policies: &[Sampling],
) -> (BatchLog, Vec<Exporter>) {
    let statuses: Vec<_> = policies.iter().map(|_| Arc::default()).collect();
    let readers = statuses.iter().map(|status| ReaderConfig {
        status: Arc::clone(status),
        on_full,
    });
    let (log, cursors) = BatchLog::in_memory(limit, readers.collect());
    let all = cursors.into_iter().zip(policies).zip(statuses);
    let exporters = all.map(|((cursor, policy), status)| Exporter {
        sampler: Sampler::new(policy, Arc::clone(&status), &cursor).unwrap(),
        cursor,
        status,
    });
    (log, exporters.collect())
}

/// In memory an append never waits.
pub(super) fn append(log: &BatchLog, spans: &[Span]) -> Result<(), Full> {
    let bytes = Bytes::from(batch(spans));
    log.append(Signal::Traces, bytes, spans.len() as u64)
        .now_or_never()
        .unwrap()
}

impl Exporter {
    pub(super) async fn next(&mut self) -> Option<Vec<Record>> {
        self.sampler.next(&mut self.cursor, 4 << 20).await
    }

    /// As the worker does it.
    pub(super) fn settle(&mut self, records: &[Record]) {
        let last = records.last().unwrap().sequence;
        self.sampler.settled(last);
        self.cursor.ack(last);
    }

    /// Span ids of all that is sent until the log's end.
    pub(super) async fn rest(&mut self) -> BTreeSet<u64> {
        let mut sent = BTreeSet::new();
        while let Some(records) = self.next().await {
            for id in ids(&records) {
                assert!(sent.insert(id), "{id} came twice");
            }
            self.settle(&records);
        }
        sent
    }
}

/// Span ids, in order.
pub(super) fn ids(records: &[Record]) -> Vec<u64> {
    let mut ids = Vec::new();
    for record in records {
        let spans = walk(&record.bytes, |span| {
            ids.push(u64::from_be_bytes(span.span_id));
        });
        assert_eq!(spans, Ok(record.items as usize));
    }
    ids
}
