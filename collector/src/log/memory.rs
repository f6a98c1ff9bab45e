//! What the mutex of the log in memory guards: the records, and where each reader is. Plain data and moves, no
//! waiting and no telling; `log` adds both.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{
    Full, MAX_RECORDS, Notice, OnFull, RECORD_OVERHEAD, Read, ReaderConfig, ReaderId, Record,
};
use crate::status::{ExporterStatus, add};

#[derive(Debug)]
pub(super) struct State {
    limit: usize,
    used: usize,
    /// Consecutive sequences, the last one being `next_sequence - 1`.
    records: VecDeque<Record>,
    next_sequence: u64,
    readers: Vec<Reader>,
    next_reader: u64,
    closed: bool,
}

#[derive(Debug)]
struct Reader {
    id: ReaderId,
    /// First record neither acknowledged nor pushed out.
    position: u64,
    /// First record not handed out: those from `position` on to here are being sent.
    handed: u64,
    /// Pushed out while being sent: lost, unless an acknowledgement says otherwise. Not charged to the cap;
    /// no more than one answer's worth.
    held: VecDeque<Held>,
    unsent_bytes: usize,
    /// Spans lost since dropping began, while it goes on.
    episode: Option<u64>,
    on_full: OnFull,
    /// Looks ahead for another reader: what it loses is nobody's loss.
    scout: bool,
    status: Arc<ExporterStatus>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    sequence: u64,
    spans: u64,
}

impl State {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            records: VecDeque::new(),
            next_sequence: 0,
            readers: Vec::new(),
            next_reader: 0,
            closed: false,
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn append(
        &mut self,
        bytes: Bytes,
        spans: u64,
        arrived_unix_nano: u64,
    ) -> Result<Vec<Notice>, Full> {
        if self.closed {
            return Err(Full::Closed);
        }
        let cost = cost(&bytes);
        if cost > self.limit {
            return Err(Full::TooLarge {
                bytes: cost,
                limit: self.limit,
            });
        }
        let mut notices = Vec::new();
        if self.readers.is_empty() {
            return Ok(notices);
        }
        if !self.can_make_room(cost) {
            let limit = self.limit as u64;
            return Err(Full::Now { limit });
        }
        while self.used + cost > self.limit {
            self.drop_oldest(&mut notices);
        }
        self.used += cost;
        for reader in &mut self.readers {
            reader.unsent_bytes += bytes.len();
        }
        self.records.push_back(Record {
            sequence: self.next_sequence,
            bytes,
            spans,
            arrived_unix_nano,
        });
        self.next_sequence += 1;
        self.publish();
        Ok(notices)
    }

    pub(super) fn add_reader(&mut self, config: ReaderConfig) -> ReaderId {
        let id = ReaderId(self.next_reader);
        self.next_reader += 1;
        self.readers.push(Reader {
            id,
            position: self.next_sequence,
            handed: self.next_sequence,
            held: VecDeque::new(),
            unsent_bytes: 0,
            episode: None,
            on_full: config.on_full,
            scout: false,
            status: config.status,
        });
        id
    }

    /// A reader at the place of reader `of` that counts in nobody's status.
    pub(super) fn add_scout(&mut self, of: ReaderId) -> ReaderId {
        let id = self.add_reader(ReaderConfig {
            status: Arc::default(),
            on_full: OnFull::DropOldest,
        });
        let place = self
            .reader(of)
            .map(|reader| (reader.position, reader.unsent_bytes));
        if let (Some(place), Some(scout)) = (place, self.readers.last_mut()) {
            (scout.position, scout.unsent_bytes) = place;
            scout.handed = scout.position;
            scout.scout = true;
        }
        id
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn has_more(&self, id: ReaderId) -> bool {
        self.reader(id)
            .is_some_and(|reader| reader.position < self.next_sequence)
    }

    /// Whether what the reader has not acknowledged takes more than half of the limit.
    pub(super) fn is_pressed(&self, id: ReaderId) -> bool {
        self.reader(id).is_some_and(|reader| {
            let records = offset(reader.position, self.next_sequence);
            let overhead = records.saturating_mul(RECORD_OVERHEAD);
            reader.unsent_bytes.saturating_add(overhead) > self.limit / 2
        })
    }

    /// What the reader had not sent is counted as dropped.
    pub(super) fn remove_reader(&mut self, id: ReaderId) {
        let unsent = self.unsent_spans(id);
        let Some(index) = self.readers.iter().position(|reader| reader.id == id) else {
            return;
        };
        let mut reader = self.readers.swap_remove(index);
        add(&reader.status.dropped_spans, unsent);
        reader.unsent_bytes = 0;
        reader.publish(None);
        self.free();
    }

    pub(super) fn read(&mut self, id: ReaderId, max_bytes: usize) -> Read {
        let first = self.first_sequence();
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else {
            return Read::End;
        };
        // Asked for again without an acknowledgement: what was pushed out meanwhile cannot come again.
        let lost = reader.held.drain(..).map(|held| held.spans).sum();
        add(&reader.status.dropped_spans, lost);
        reader.episode = reader.episode.map(|spans| spans + lost);
        let mut bytes = 0_usize;
        let records: Vec<_> = self
            .records
            .iter()
            .skip(offset(first, reader.position))
            .take(MAX_RECORDS)
            .enumerate()
            .take_while(|(index, record)| {
                bytes = bytes.saturating_add(record.bytes.len());
                *index == 0 || bytes <= max_bytes
            })
            .map(|(_, record)| record.clone())
            .collect();
        reader.handed = reader.position + records.len() as u64;
        if !records.is_empty() {
            Read::Records(records)
        } else if self.closed {
            Read::End
        } else {
            Read::Nothing
        }
    }

    pub(super) fn ack(&mut self, id: ReaderId, sequence: u64) -> Vec<Notice> {
        let first = self.first_sequence();
        let mut notices = Vec::new();
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else {
            return notices;
        };
        while (reader.held.front()).is_some_and(|held| held.sequence <= sequence) {
            reader.held.pop_front();
        }
        let past = sequence.saturating_add(1).min(self.next_sequence);
        if past > reader.position {
            let acknowledged = offset(first, reader.position)..offset(first, past);
            let bytes: usize = self
                .records
                .range(acknowledged)
                .map(|record| record.bytes.len())
                .sum();
            reader.unsent_bytes -= bytes;
            reader.position = past;
            reader.handed = reader.handed.max(past);
        }
        // Not only when all is sent: an exporter that keeps up with a backlog drops nothing either.
        if reader.unsent_bytes <= self.limit / 2
            && let Some(spans) = reader.episode.take()
        {
            let exporter = reader.status.name.clone();
            notices.push(Notice::Recovered { exporter, spans });
        }
        self.free();
        self.publish();
        notices
    }

    pub(super) fn unsent_spans(&self, id: ReaderId) -> u64 {
        let Some(reader) = self.reader(id) else {
            return 0;
        };
        let held: u64 = reader.held.iter().map(|held| held.spans).sum();
        let waiting = offset(self.first_sequence(), reader.position);
        let waiting = self.records.iter().skip(waiting);
        held + waiting.map(|record| record.spans).sum::<u64>()
    }

    fn reader(&self, id: ReaderId) -> Option<&Reader> {
        self.readers.iter().find(|reader| reader.id == id)
    }

    fn first_sequence(&self) -> u64 {
        self.next_sequence - self.records.len() as u64
    }

    /// Frees the records that every reader is past.
    fn free(&mut self) {
        let needed = self.readers.iter().map(|reader| reader.position).min();
        let needed = needed.unwrap_or(self.next_sequence);
        while let Some(record) = self.records.front()
            && record.sequence < needed
        {
            self.used -= cost(&record.bytes);
            self.records.pop_front();
        }
    }

    /// Whether `cost` more bytes fit once the oldest records are pushed out, as far as every reader puts up with that.
    fn can_make_room(&self, cost: usize) -> bool {
        let refusing = self
            .readers
            .iter()
            .filter(|reader| reader.on_full == OnFull::Refuse);
        let kept_from = refusing
            .map(|reader| reader.position)
            .min()
            .unwrap_or(u64::MAX);
        let mut used = self.used;
        for record in &self.records {
            if used + cost <= self.limit || record.sequence >= kept_from {
                break;
            }
            used -= self::cost(&record.bytes);
        }
        used + cost <= self.limit
    }

    /// Pushes the oldest record out and moves past it the readers that still needed it.
    fn drop_oldest(&mut self, notices: &mut Vec<Notice>) {
        let Some(record) = self.records.pop_front() else {
            return;
        };
        self.used -= cost(&record.bytes);
        for reader in &mut self.readers {
            if reader.position <= record.sequence {
                notices.extend(reader.push_out(&record));
            }
        }
    }

    fn publish(&self) {
        let first = self.first_sequence();
        for reader in &self.readers {
            reader.publish(self.records.get(offset(first, reader.position)));
        }
    }
}

impl Reader {
    fn push_out(&mut self, record: &Record) -> Option<Notice> {
        let spans = record.spans;
        self.position = record.sequence + 1;
        self.unsent_bytes -= record.bytes.len();
        if record.sequence < self.handed {
            let sequence = record.sequence;
            self.held.push_back(Held { sequence, spans });
            return None;
        }
        self.handed = self.position;
        if self.scout {
            return None;
        }
        add(&self.status.dropped_spans, spans);
        let starts = self.episode.is_none();
        *self.episode.get_or_insert(0) += spans;
        starts.then(|| Notice::Dropping {
            exporter: self.status.name.clone(),
            spans,
        })
    }

    fn publish(&self, oldest: Option<&Record>) {
        let store = |counter: &std::sync::atomic::AtomicU64, value| {
            counter.store(value, Ordering::Relaxed);
        };
        store(&self.status.queue_bytes, self.unsent_bytes as u64);
        store(
            &self.status.oldest_unix_nano,
            oldest.map_or(0, |record| record.arrived_unix_nano),
        );
    }
}

fn cost(bytes: &Bytes) -> usize {
    bytes.len() + RECORD_OVERHEAD
}

/// The index of record `sequence` when the first one is `first`; 0 for one that is gone.
fn offset(first: u64, sequence: u64) -> usize {
    usize::try_from(sequence.saturating_sub(first)).unwrap_or(usize::MAX)
}
