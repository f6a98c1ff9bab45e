//! What the mutex of the log in memory guards: the records, and where each reader is. Plain data and moves, no
//! waiting and no telling; `log` adds both.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{
    Full, MAX_RECORDS, Notice, OnFull, RECORD_OVERHEAD, Read, ReaderConfig, ReaderId, Record,
};
use crate::signal::{BySignal, Items, Signal};
use crate::status::ExporterStatus;

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
    /// The first record that it wants and that is neither acknowledged nor pushed out.
    position: u64,
    /// The first record of each signal that is not acknowledged: one may be ahead of the others.
    acknowledged: BySignal<u64>,
    /// What was handed out last was of this signal.
    sending: Signal,
    /// First record not handed out: those of `sending` from `position` on to here are being sent.
    handed: u64,
    /// Pushed out while being sent: lost, unless an acknowledgement says otherwise. Not charged to the cap;
    /// no more than what is being sent.
    held: VecDeque<Held>,
    /// What of the record that goes out in parts is counted already; nothing of one in `held`.
    told: Option<Held>,
    unsent_bytes: usize,
    /// Items lost since dropping began, while it goes on.
    episode: Option<Items>,
    on_full: OnFull,
    /// Looks ahead for another reader: what it loses is nobody's loss.
    scout: bool,
    status: Arc<ExporterStatus>,
}

/// Items of one record.
#[derive(Clone, Copy, Debug)]
struct Held {
    sequence: u64,
    items: Items,
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
        signal: Signal,
        bytes: Bytes,
        items: u64,
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
        if !self.readers.iter().any(|reader| reader.takes(signal)) {
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
        for reader in self
            .readers
            .iter_mut()
            .filter(|reader| reader.takes(signal))
        {
            reader.unsent_bytes += bytes.len();
        }
        self.records.push_back(Record {
            sequence: self.next_sequence,
            signal,
            bytes,
            items,
            arrived_unix_nano,
        });
        self.next_sequence += 1;
        self.pass();
        self.publish();
        Ok(notices)
    }

    pub(super) fn add_reader(&mut self, config: ReaderConfig) -> ReaderId {
        let id = ReaderId(self.next_reader);
        self.next_reader += 1;
        self.readers.push(Reader {
            id,
            position: self.next_sequence,
            acknowledged: BySignal::default(),
            sending: Signal::default(),
            handed: self.next_sequence,
            held: VecDeque::new(),
            told: None,
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
        let id = ReaderId(self.next_reader);
        self.next_reader += 1;
        let scout = self.reader(of).map(|of| Reader {
            id,
            handed: of.position,
            held: VecDeque::new(),
            told: None,
            episode: None,
            on_full: OnFull::DropOldest,
            scout: true,
            status: Arc::new(ExporterStatus {
                signals: of.status.signals,
                ..ExporterStatus::default()
            }),
            ..*of
        });
        self.readers.extend(scout);
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
        let unsent = self.unsent(id);
        let Some(index) = self.readers.iter().position(|reader| reader.id == id) else {
            return;
        };
        let mut reader = self.readers.swap_remove(index);
        reader.status.dropped().add(unsent);
        reader.unsent_bytes = 0;
        reader.publish(None);
        self.free();
    }

    /// Records of one signal: that of the first one that is wanted.
    pub(super) fn read(&mut self, id: ReaderId, max_bytes: usize) -> Read {
        let first = self.first_sequence();
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else {
            return Read::End;
        };
        // Asked for again without an acknowledgement: what was pushed out meanwhile cannot come again.
        let lost = reader.held.drain(..).map(|held| held.items).sum();
        reader.lose(lost);
        let position = offset(first, reader.position);
        let Some(oldest) = self.records.get(position) else {
            reader.handed = reader.position;
            return if self.closed {
                Read::End
            } else {
                Read::Nothing
            };
        };
        reader.sending = oldest.signal;
        let from = self.records.iter().skip(position);
        Read::Records(reader.hand_out(from, max_bytes))
    }

    /// Further records of the signal that was read last, behind record `after` of it: what was handed out up to there is
    /// still being sent, and what was handed out behind it is not.
    pub(super) fn read_on(&mut self, id: ReaderId, after: u64, max_bytes: usize) -> Vec<Record> {
        let first = self.first_sequence();
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else {
            return Vec::new();
        };
        reader.take_back(after);
        let from = offset(first, reader.handed.max(reader.position));
        reader.hand_out(self.records.iter().skip(from), max_bytes)
    }

    /// Bytes that the reader has not acknowledged.
    pub(super) fn unsent_bytes(&self, id: ReaderId) -> u64 {
        self.reader(id)
            .map_or(0, |reader| reader.unsent_bytes as u64)
    }

    /// `items` more of record `sequence` are counted by the exporter already.
    pub(super) fn told(&mut self, id: ReaderId, sequence: u64, items: Items) {
        if let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) {
            reader.tell(sequence, items);
        }
    }

    /// Settles what was handed out last, up to `sequence`.
    pub(super) fn ack(&mut self, id: ReaderId, sequence: u64) -> Vec<Notice> {
        let mut notices = Vec::new();
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else {
            return notices;
        };
        while (reader.held.front()).is_some_and(|held| held.sequence <= sequence) {
            reader.held.pop_front();
        }
        reader.told.take_if(|told| told.sequence <= sequence);
        let past = sequence.saturating_add(1).min(self.next_sequence);
        let acknowledged = reader.acknowledged.of_mut(reader.sending);
        *acknowledged = past.max(*acknowledged);
        self.pass();
        let limit = self.limit;
        // Not only when all is sent: an exporter that keeps up with a backlog drops nothing either.
        if let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id)
            && reader.unsent_bytes <= limit / 2
            && let Some(items) = reader.episode.take()
        {
            let exporter = reader.status.name.clone();
            notices.push(Notice::Recovered { exporter, items });
        }
        self.free();
        self.publish();
        notices
    }

    pub(super) fn unsent(&self, id: ReaderId) -> Items {
        let Some(reader) = self.reader(id) else {
            return Items::default();
        };
        let held = reader.held.iter().map(|held| held.items);
        let waiting = offset(self.first_sequence(), reader.position);
        let waiting = self.records.iter().skip(waiting);
        let waiting = waiting.filter(|record| reader.wants(record));
        let mut unsent: Items = held.chain(waiting.map(Record::counted)).sum();
        unsent -= reader.told.map(|told| told.items).unwrap_or_default();
        unsent
    }

    /// Moves every reader on to the next record that it wants.
    fn pass(&mut self) {
        let first = self.first_sequence();
        for reader in &mut self.readers {
            while let Some(record) = self.records.get(offset(first, reader.position))
                && !reader.wants(record)
            {
                reader.leave(record);
            }
        }
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
        self.pass();
    }

    fn publish(&self) {
        let first = self.first_sequence();
        for reader in &self.readers {
            reader.publish(self.records.get(offset(first, reader.position)));
        }
    }
}

impl Reader {
    fn takes(&self, signal: Signal) -> bool {
        self.status.signals.has(signal)
    }

    /// Whether a record from `position` on is still to be sent.
    fn wants(&self, record: &Record) -> bool {
        self.takes(record.signal) && record.sequence >= *self.acknowledged.of(record.signal)
    }

    /// Those of `records` that are sent next: of one signal, and as many as fit `max_bytes` but at least one.
    fn hand_out<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
        max_bytes: usize,
    ) -> Vec<Record> {
        let mut bytes = 0_usize;
        let records: Vec<_> = records
            .take(MAX_RECORDS)
            .filter(|record| record.signal == self.sending && self.wants(record))
            .enumerate()
            .take_while(|(index, record)| {
                bytes = bytes.saturating_add(record.bytes.len());
                *index == 0 || bytes <= max_bytes
            })
            .map(|(_, record)| record.clone())
            .collect();
        if let Some(last) = records.last() {
            self.handed = last.sequence + 1;
        }
        records
    }

    /// What was handed out behind record `after` is not being sent: what of it was pushed out meanwhile is lost.
    fn take_back(&mut self, after: u64) {
        self.handed = after.saturating_add(1);
        let kept = self.held.partition_point(|held| held.sequence <= after);
        let lost = self.held.drain(kept..).map(|held| held.items).sum();
        self.lose(lost);
    }

    /// Goes past the record at its position.
    fn leave(&mut self, record: &Record) {
        self.position = record.sequence + 1;
        if self.takes(record.signal) {
            self.unsent_bytes -= record.bytes.len();
        }
    }

    fn push_out(&mut self, record: &Record) -> Option<Notice> {
        let being_sent = record.signal == self.sending && record.sequence < self.handed;
        self.leave(record);
        if !self.wants(record) {
            return None;
        }
        let (sequence, mut items) = (record.sequence, record.counted());
        if let Some(told) = self.told.take_if(|told| told.sequence == sequence) {
            items -= told.items;
        }
        if being_sent {
            self.held.push_back(Held { sequence, items });
            return None;
        }
        if self.scout {
            return None;
        }
        let starts = self.episode.is_none();
        self.episode.get_or_insert_default();
        self.lose(items);
        starts.then(|| Notice::Dropping {
            exporter: self.status.name.clone(),
            items,
        })
    }

    fn tell(&mut self, sequence: u64, items: Items) {
        let mut held = self.held.iter_mut();
        if let Some(held) = held.find(|held| held.sequence == sequence) {
            held.items -= items;
        } else if sequence >= self.position {
            let nothing = Held {
                sequence,
                items: Items::default(),
            };
            self.told.take_if(|told| told.sequence != sequence);
            self.told.get_or_insert(nothing).items += items;
        }
    }

    fn lose(&mut self, items: Items) {
        self.status.dropped().add(items);
        if let Some(so_far) = &mut self.episode {
            *so_far += items;
        }
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
