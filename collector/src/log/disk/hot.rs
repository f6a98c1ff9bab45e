//! The newest records of the log on disk, still in memory: what readers that keep up are given. Kept by `state`.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::log::{MAX_RECORDS, RECORD_OVERHEAD, Record};

/// Consecutive records, the last one being the log's last.
#[derive(Debug, Default)]
pub(super) struct HotRecords {
    records: VecDeque<HotRecord>,
    bytes: usize,
}

/// A record, and where on disk it ends.
#[derive(Debug)]
pub(super) struct HotRecord {
    pub(super) record: Record,
    /// The segment's id.
    pub(super) segment: u64,
    pub(super) end: u64,
}

/// Bytes that a batch counts as in memory.
pub(super) fn memory_cost(bytes: &Bytes) -> usize {
    bytes.len() + RECORD_OVERHEAD
}

impl HotRecords {
    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, record: HotRecord) {
        self.bytes += memory_cost(&record.record.bytes);
        self.records.push_back(record);
    }

    /// Lets go of the oldest ones: while there are more than `most_bytes`, for they are on disk, and those before
    /// `needed`.
    pub(super) fn cool(&mut self, most_bytes: usize, needed: u64) {
        while let Some(oldest) = self.records.front()
            && (self.bytes > most_bytes || oldest.record.sequence < needed)
        {
            self.bytes -= memory_cost(&oldest.record.bytes);
            self.records.pop_front();
        }
    }

    /// The record that is `sequence`, if it is here.
    pub(super) fn get(&self, sequence: u64) -> Option<&HotRecord> {
        self.from(sequence)?.next()
    }

    /// The records from `sequence` on, as many as fit `max_bytes` together but at least one; `None` when the first of
    /// them is not here.
    pub(super) fn read(&self, sequence: u64, max_bytes: usize) -> Option<Vec<&HotRecord>> {
        let mut bytes = 0_usize;
        let fit = self.from(sequence)?.take(MAX_RECORDS).enumerate();
        let fit = fit.take_while(|(index, hot)| {
            bytes = bytes.saturating_add(hot.record.bytes.len());
            *index == 0 || bytes <= max_bytes
        });
        Some(fit.map(|(_, hot)| hot).collect())
    }

    fn from(&self, sequence: u64) -> Option<impl Iterator<Item = &HotRecord>> {
        let first = self.records.front()?.record.sequence;
        let skipped = usize::try_from(sequence.checked_sub(first)?).ok()?;
        (skipped < self.records.len()).then(|| self.records.range(skipped..))
    }
}
