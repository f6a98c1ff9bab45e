//! What each reader of the log on disk is given next, and what becomes of what was read for it.

use super::super::readers::{Place, Reader};
use super::super::scan::{Ask, Damage};
use super::{State, advance};
use crate::log::{Notice, Read, ReaderId, Record};
use crate::status::add;

/// What a reader finds.
#[derive(Debug)]
pub(in crate::log::disk) enum Next {
    Here(Read),
    /// It must be read from this file first.
    OnDisk(Ask),
}

impl State {
    /// Records of one signal: that of the first one that is wanted.
    pub(in crate::log::disk) fn read(&mut self, id: ReaderId, max_bytes: usize) -> Next {
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else {
            return Next::Here(Read::End);
        };
        loop {
            reader.ask_again();
            advance(reader, &self.segments);
            if reader.unsent.records == 0 {
                let end = self.is_closed();
                return Next::Here(if end { Read::End } else { Read::Nothing });
            }
            let place = reader.place;
            let Some(found) = self.hot.read(place.sequence, max_bytes) else {
                return Next::OnDisk(Ask {
                    id: place.segment,
                    span: self.segments.span(place, self.next_sequence),
                    max_bytes,
                    any_size: false,
                });
            };
            for hot in &found {
                reader.hand(&hot.record, hot.segment, hot.end);
            }
            reader.begin(&self.segments);
            let records = found.into_iter().map(|hot| &hot.record);
            let records: Vec<_> = records.filter(|record| reader.sends(record)).collect();
            if !records.is_empty() {
                return Next::Here(Read::Records(records.into_iter().cloned().collect()));
            }
        }
    }

    /// Further records of the signal that was read last, behind record `after` of it: what was handed out up to there is
    /// still being sent, and what was handed out behind it is not.
    pub(in crate::log::disk) fn read_on(
        &mut self,
        id: ReaderId,
        after: u64,
        max_bytes: usize,
    ) -> Next {
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else {
            return Next::Here(Read::End);
        };
        let Some(mut place) = reader.take_back(after) else {
            return Next::Here(Read::Nothing);
        };
        if place.sequence >= self.next_sequence {
            return Next::Here(Read::Nothing);
        }
        if let Some(found) = self.hot.read(place.sequence, max_bytes) {
            for hot in &found {
                reader.hand(&hot.record, hot.segment, hot.end);
            }
            let records = found.into_iter().map(|hot| &hot.record);
            let records = records.filter(|record| reader.sends(record));
            return Next::Here(Read::Records(records.cloned().collect()));
        }
        while let Some(next) = self.segments.after(place.segment)
            && place.sequence >= next.first_sequence
        {
            place = Place::beginning(next, place.sequence);
        }
        Next::OnDisk(Ask {
            id: place.segment,
            span: self.segments.span(place, self.next_sequence),
            max_bytes,
            any_size: false,
        })
    }

    /// Hands out what was read from disk for [`read_on`](Self::read_on), unless the cap moved the reader on meanwhile.
    pub(in crate::log::disk) fn found_on(
        &mut self,
        id: ReaderId,
        ask: &Ask,
        found: Vec<(Record, u64)>,
    ) -> Vec<Record> {
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else {
            return Vec::new();
        };
        let after = ask.span.expected.checked_sub(1);
        if after.is_none_or(|after| reader.take_back(after).is_none()) {
            return Vec::new();
        }
        for (record, end) in &found {
            reader.hand(record, ask.id, *end);
        }
        let records = found.into_iter().map(|(record, _)| record);
        records.filter(|record| reader.sends(record)).collect()
    }

    /// Hands out what was read from disk, unless the reader was moved on meanwhile or wants none of it: `None` then. Where
    /// nothing more can be read, the reader leaves the segment, and what it still wanted of it is lost; not while the
    /// segment grows, for what came since has not been looked at.
    pub(in crate::log::disk) fn found(
        &mut self,
        id: ReaderId,
        ask: &Ask,
        found: Vec<(Record, u64)>,
        damage: Damage,
    ) -> (Option<Vec<Record>>, Vec<Notice>) {
        let mut notices = Vec::new();
        let asked = Place {
            sequence: ask.span.expected,
            segment: ask.id,
            offset: ask.span.at,
        };
        let still_there = |reader: &&mut Reader| reader.id == id && reader.place == asked;
        let grown = self.segments.span(asked, self.next_sequence).end > ask.span.end;
        let moved = self.readers.iter_mut().find(still_there).is_none();
        if moved || (found.is_empty() && grown) {
            return (None, notices);
        }
        if (damage.bytes > 0 || found.is_empty()) && self.mark_damaged(ask.id) {
            notices.push(Notice::Damaged {
                segment: ask.id,
                offset: damage.at.max(ask.span.at),
                records: damage.records,
            });
        }
        let Some(reader) = self.readers.iter_mut().find(still_there) else {
            return (None, notices);
        };
        if found.is_empty() {
            let lost = reader.leave(&self.segments);
            // A scout's exporter comes here itself.
            if !reader.scout {
                notices.push(Notice::Unreadable {
                    exporter: reader.status.name.clone(),
                    segment: ask.id,
                    records: lost.records,
                    items: lost.items,
                });
            }
            self.free();
            self.publish();
            return (None, notices);
        }
        for (record, end) in &found {
            reader.hand(record, ask.id, *end);
        }
        reader.begin(&self.segments);
        let records = found.into_iter().map(|(record, _)| record);
        let records: Vec<_> = records.filter(|record| reader.sends(record)).collect();
        // Behind the last record that it wants there is nothing to look for.
        advance(reader, &self.segments);
        (Some(records).filter(|records| !records.is_empty()), notices)
    }

    /// Notes that a part of a segment cannot be read; whether that is news.
    fn mark_damaged(&mut self, id: u64) -> bool {
        let news = self.segments.mark_damaged(id);
        add(&self.status.damaged_segments, u64::from(news));
        news
    }
}
