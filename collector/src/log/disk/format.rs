//! The bytes of a segment: a header, then records, each behind a header of its own. All numbers are
//! little-endian. Written by `writer`, read by `scan`.
//!
//! Every checksum of a segment is seeded by its nonce, so that nothing which an earlier use left in a recycled file,
//! and nothing that a sender puts into its spans, passes for a record.
//!
//! Version 2 has a record's signal in the top byte of its count of items, where version 1, which had traces only, has
//! zero: both are read. A signal that this version does not know comes in a version that it does not know either, whose
//! files are left alone and told.

use super::Pending;
use crate::signal::Signal;

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER: usize = 48;
/// Bytes before each record's payload.
pub(super) const RECORD_HEADER: usize = 44;

/// No id and no sequence comes as far: a file that names a greater one is spoilt, or none of ours.
pub(super) const MOST: u64 = u64::MAX / 2;

const MAGIC: [u8; 8] = *b"bwseg\r\n\0";
const VERSION: u32 = 2;
const OLDEST_VERSION: u32 = 1;

/// Where a record's signal begins in its count of items, in bits.
const SIGNAL_SHIFT: u32 = 56;

/// What a segment's first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Names the file; grows from segment to segment and is never used again.
    pub(super) id: u64,
    /// Random; seeds the checksums.
    pub(super) nonce: u64,
    /// The sequence of the first record. Records of the segment before that reach it are superseded.
    pub(super) first_sequence: u64,
    /// When it was begun, Unix nanoseconds.
    pub(super) begun_unix_nano: u64,
}

/// Why a file does not begin as a segment of this version does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("it does not begin as a segment of a batch log does")]
    Foreign,
    #[error("it is of version {0} of the format, which this version of Bellwether does not read")]
    Version(u32),
    #[error("its header does not match its checksum, or names what cannot be")]
    Damaged,
}

/// What stands before a record's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// Bytes of the payload.
    pub(super) length: u32,
    pub(super) payload_crc: u32,
    /// Position in the log; grows by one a record.
    pub(super) sequence: u64,
    /// The first sequence that was written and synced together with this one: all before it had been answered.
    pub(super) group: u64,
    /// Arrival, Unix nanoseconds.
    pub(super) arrived_unix_nano: u64,
    pub(super) signal: Signal,
    /// Spans, log records or data points, below 2^56.
    pub(super) items: u64,
}

/// The seed of a segment's checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u32);

impl SegmentHeader {
    pub(super) fn key(&self) -> Key {
        Key(crc32c::crc32c(&self.nonce.to_le_bytes()))
    }

    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        let (start, rest) = bytes.split_at_mut(16);
        let numbers = [
            self.id,
            self.nonce,
            self.first_sequence,
            self.begun_unix_nano,
        ];
        put(rest, numbers.map(u64::to_le_bytes).as_flattened());
        let crc = crc32c::crc32c(rest).to_le_bytes();
        put(start, &[&MAGIC[..], &VERSION.to_le_bytes(), &crc].concat());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER]) -> Result<Self, HeaderError> {
        let mut fields = Fields(bytes);
        if fields.take() != MAGIC {
            return Err(HeaderError::Foreign);
        }
        let version = fields.u32();
        if !(OLDEST_VERSION..=VERSION).contains(&version) {
            return Err(HeaderError::Version(version));
        }
        if fields.u32() != crc32c::crc32c(fields.0) {
            return Err(HeaderError::Damaged);
        }
        let header = Self {
            id: fields.u64(),
            nonce: fields.u64(),
            first_sequence: fields.u64(),
            begun_unix_nano: fields.u64(),
        };
        match header.first_sequence {
            ..MOST => Ok(header),
            MOST.. => Err(HeaderError::Damaged),
        }
    }
}

impl RecordHeader {
    /// Of the batch that becomes record `sequence`; `None` for one that is too long to be a record.
    pub(super) fn of(batch: &Pending, sequence: u64, group: u64) -> Option<Self> {
        Some(Self {
            length: u32::try_from(batch.bytes.len()).ok()?,
            payload_crc: crc32c::crc32c(&batch.bytes),
            sequence,
            group,
            arrived_unix_nano: batch.arrived_unix_nano,
            signal: batch.signal,
            items: batch.items,
        })
    }

    pub(super) fn encode(&self, key: Key) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        let (crc, rest) = bytes.split_at_mut(4);
        let (short, long) = rest.split_at_mut(8);
        put(
            short,
            [self.length, self.payload_crc]
                .map(u32::to_le_bytes)
                .as_flattened(),
        );
        let numbers = [
            self.sequence,
            self.group,
            self.arrived_unix_nano,
            signal_number(self.signal) << SIGNAL_SHIFT | self.items,
        ];
        put(long, numbers.map(u64::to_le_bytes).as_flattened());
        put(crc, &crc32c::crc32c_append(key.0, rest).to_le_bytes());
        bytes
    }

    /// `None` for bytes that are no header of this segment. What it tells can be trusted.
    pub(super) fn decode(bytes: &[u8; RECORD_HEADER], key: Key) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.u32() != crc32c::crc32c_append(key.0, fields.0) {
            return None;
        }
        let [length, payload_crc] = [fields.u32(), fields.u32()];
        let [sequence, group, arrived_unix_nano, counted] = std::array::from_fn(|_| fields.u64());
        let number = counted >> SIGNAL_SHIFT;
        let mut signals = Signal::ALL.into_iter();
        Some(Self {
            length,
            payload_crc,
            sequence,
            group,
            arrived_unix_nano,
            signal: signals.find(|&signal| signal_number(signal) == number)?,
            items: counted & ((1 << SIGNAL_SHIFT) - 1),
        })
    }

    /// The sequence that `bytes` name if they are a record's header, without a look at the checksum.
    pub(super) fn claimed_sequence(bytes: &[u8; RECORD_HEADER]) -> u64 {
        let mut fields = Fields(bytes);
        let _: [u8; 12] = fields.take();
        fields.u64()
    }

    /// Bytes of header and payload.
    pub(super) fn whole(&self) -> u64 {
        RECORD_HEADER as u64 + u64::from(self.length)
    }

    pub(super) fn matches(&self, payload: &[u8]) -> bool {
        self.payload_crc == crc32c::crc32c(payload)
    }
}

/// A signal as it stands on disk: never changed, and no new one without a new version of the format.
fn signal_number(signal: Signal) -> u64 {
    match signal {
        Signal::Traces => 0,
        Signal::Logs => 1,
        Signal::Metrics => 2,
    }
}

/// Copies as much of `from` as `to` holds; here both have the same length.
fn put(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Numbers one after another; past the end they are 0.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEGMENT: SegmentHeader = SegmentHeader {
        id: 7,
        nonce: 0x1234_5678_9abc_def0,
        first_sequence: 41,
        begun_unix_nano: 5,
    };

    #[test]
    fn a_segments_header_tells_what_is_wrong_with_it() {
        let good = SEGMENT.encode();
        assert_eq!(SegmentHeader::decode(&good), Ok(SEGMENT));
        let check = |at: usize, expected: HeaderError| {
            let mut bytes = good;
            bytes[at] ^= 1;
            assert_eq!(SegmentHeader::decode(&bytes), Err(expected), "byte {at}");
        };
        for at in 0..8 {
            check(at, HeaderError::Foreign);
        }
        check(8, HeaderError::Version(VERSION ^ 1));
        let mut older = good;
        older[8] = OLDEST_VERSION as u8;
        assert_eq!(SegmentHeader::decode(&older), Ok(SEGMENT));
        for at in 12..SEGMENT_HEADER {
            check(at, HeaderError::Damaged);
        }
        let beyond = SegmentHeader {
            first_sequence: MOST,
            ..SEGMENT
        };
        let decoded = SegmentHeader::decode(&beyond.encode());
        assert_eq!(decoded, Err(HeaderError::Damaged));
    }

    proptest! {
        #[test]
        fn a_records_header_is_read_back_or_not_at_all(
            (length, payload_crc, sequence, group) in any::<(u32, u32, u64, u64)>(),
            items in 0..1_u64 << SIGNAL_SHIFT,
            signal in prop::sample::select(Signal::ALL.to_vec()),
            at in 0..RECORD_HEADER,
            bit in 0..8_u32,
        ) {
            let header = RecordHeader {
                length, payload_crc, sequence, group, arrived_unix_nano: 9, signal, items,
            };
            let key = SEGMENT.key();
            let mut bytes = header.encode(key);
            prop_assert_eq!(RecordHeader::decode(&bytes, key), Some(header));
            prop_assert_eq!(RecordHeader::claimed_sequence(&bytes), sequence);
            let other = SegmentHeader { nonce: 1, ..SEGMENT }.key();
            prop_assert_eq!(RecordHeader::decode(&bytes, other), None);
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(RecordHeader::decode(&bytes, key), None);
        }
    }

    /// A record of version 1 as it stands on disk, and of one whose signal nobody knows.
    #[test]
    fn without_a_signal_it_is_traces_and_with_an_unknown_one_it_is_none() {
        let key = SEGMENT.key();
        let record = |last: [u8; 8]| {
            let mut bytes = [0; RECORD_HEADER];
            bytes[RECORD_HEADER - 8..].copy_from_slice(&last);
            let crc = crc32c::crc32c_append(key.0, &bytes[4..]);
            bytes[..4].copy_from_slice(&crc.to_le_bytes());
            RecordHeader::decode(&bytes, key)
        };
        let known = |header: RecordHeader| (header.signal, header.items);
        let of_version_1 = 77_u64.to_le_bytes();
        assert_eq!(record(of_version_1).map(known), Some((Signal::Traces, 77)));
        assert_eq!(
            record([9, 0, 0, 0, 0, 0, 0, 2]).map(known),
            Some((Signal::Metrics, 9))
        );
        assert_eq!(record([9, 0, 0, 0, 0, 0, 0, 3]), None);
    }
}
