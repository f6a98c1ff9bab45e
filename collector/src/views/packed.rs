//! The packed form of a histogram's buckets, in which closed slots are kept: runs of neighbours, each count in as many bits
//! as the largest one needs. Written and read back by `histogram`.
//!
//! A slot of 64 buckets takes some 40 bytes like this and is added up at a nanosecond a bucket; a number of bytes for each
//! bucket takes three times as much of both, which is felt where a thousand edges over an hour are asked for.

use super::varint;

/// So many empty buckets between two others are written too; more of them begin a new run, which takes two bytes.
const MAX_HOLE: usize = 6;
/// Counts of more bits are written in 64.
const MAX_NARROW: u32 = 32;

/// Appends `buckets`, the first of which has the number `first`.
pub(super) fn write(out: &mut Vec<u8>, first: u16, buckets: &[u64]) {
    let runs = runs(buckets);
    let largest = buckets.iter().copied().max().unwrap_or(0);
    let width = match u64::BITS - largest.leading_zeros() {
        narrow @ ..=MAX_NARROW => narrow.max(1),
        _ => u64::BITS,
    };
    varint::write(out, runs.len() as u64);
    if runs.is_empty() {
        return;
    }
    varint::write(out, u64::from(width));
    let mut reached = 0;
    for &(from, to) in &runs {
        varint::write(out, u64::from(first) + from as u64 - reached);
        varint::write(out, (to - from) as u64);
        write_counts(out, buckets.get(from..to).unwrap_or_default(), width);
        reached = u64::from(first) + to as u64;
    }
}

/// Shows each run, the number of its first bucket and its counts, and moves `packed` past them all.
pub(super) fn read(packed: &mut &[u8], mut show: impl FnMut(u64, Counts<'_>)) {
    let runs = varint::read(packed);
    if runs == 0 {
        return;
    }
    let width = varint::read(packed).clamp(1, u64::from(u64::BITS)) as usize;
    let mut reached = 0_u64;
    for _ in 0..runs {
        let first = reached.saturating_add(varint::read(packed));
        let length = usize::try_from(varint::read(packed)).unwrap_or(usize::MAX);
        let bytes = length.saturating_mul(width).div_ceil(8);
        // Fewer than told only where they were not written by the function above.
        let (bytes, rest) = packed.split_at(bytes.min(packed.len()));
        let length = length.min(bytes.len() * 8 / width);
        *packed = rest;
        let counts = Counts {
            bytes,
            width,
            length,
        };
        show(first, counts);
        reached = first.saturating_add(length as u64);
        if packed.is_empty() {
            break;
        }
    }
}

/// The counts of a run.
#[derive(Debug)]
pub(super) struct Counts<'a> {
    bytes: &'a [u8],
    width: usize,
    length: usize,
}

impl Counts<'_> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Adds each to a bucket; all of them together.
    pub(super) fn add_to(&self, buckets: &mut [u64]) -> u64 {
        // A word holds so many whole counts wherever in its first byte they begin.
        let at_once = ((u64::BITS as usize - 7) / self.width).max(1);
        let mask = u64::MAX >> (u64::BITS as usize - self.width);
        let (mut bit, mut all) = (0, 0_u64);
        let length = buckets.len().min(self.length);
        let buckets = buckets.get_mut(..length).unwrap_or_default();
        for few in buckets.chunks_mut(at_once) {
            let mut word = word(self.bytes, bit / 8) >> (bit % 8);
            bit += few.len() * self.width;
            for bucket in few {
                let count = word & mask;
                word = word.checked_shr(self.width as u32).unwrap_or(0);
                *bucket = bucket.saturating_add(count);
                all = all.saturating_add(count);
            }
        }
        all
    }
}

/// Eight bytes from `at` on, zeros for those that are missing.
#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => {
            let mut word = [0; 8];
            for (byte, rest) in word.iter_mut().zip(rest) {
                *byte = *rest;
            }
            u64::from_le_bytes(word)
        }
    }
}

fn write_counts(out: &mut Vec<u8>, counts: &[u64], width: u32) {
    let (mut word, mut filled) = (0_u64, 0);
    for count in counts {
        word |= count << filled;
        filled += width;
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(word as u8);
    }
}

/// The ends of the runs, each from a bucket in use to behind another one.
fn runs(buckets: &[u64]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in buckets.iter().enumerate().filter(|&(_, &count)| count > 0) {
        match runs.last_mut() {
            Some((_, to)) if at <= *to + MAX_HOLE => *to = at + 1,
            _ => runs.push((at, at + 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn packed(first: u16, buckets: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, first, buckets);
        bytes
    }

    fn unpacked(mut bytes: &[u8]) -> (Vec<(u64, u64)>, &[u8]) {
        let mut found = Vec::new();
        read(&mut bytes, |first, counts| {
            let mut buckets = vec![0; counts.len()];
            let all = counts.add_to(&mut buckets);
            let sum = buckets
                .iter()
                .fold(0, |sum: u64, &count| sum.saturating_add(count));
            assert_eq!(all, sum);
            found.extend((first..).zip(buckets).filter(|&(_, count)| count > 0));
        });
        (found, bytes)
    }

    /// Buckets with holes of any size, and counts of any width.
    fn buckets() -> impl Strategy<Value = Vec<u64>> {
        let count = prop_oneof![
            4 => Just(0),
            4 => 0..20_u64,
            1 => any::<u64>(),
            1 => (0..64_u32).prop_map(|bit| 1 << bit),
        ];
        let narrow = prop_oneof![Just(0), 0..4_u64];
        prop_oneof![vec(count, 0..200), vec(narrow, 0..200)]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(first in any::<u16>(), buckets in buckets(), behind in vec(any::<u8>(), 0..9)) {
            let mut bytes = packed(first, &buckets);
            bytes.extend(&behind);
            let (found, rest) = unpacked(&bytes);
            let wanted = (u64::from(first)..).zip(buckets).filter(|&(_, count)| count > 0);
            prop_assert_eq!(found, wanted.collect::<Vec<_>>());
            prop_assert_eq!(rest, behind);
        }

        #[test]
        fn any_bytes_are_read(bytes in vec(any::<u8>(), 0..64)) {
            unpacked(&bytes);
        }
    }

    #[test]
    fn bits_are_as_many_as_the_largest_count_needs() {
        let size = |buckets: &[u64]| packed(700, buckets).len();
        // Runs, width, the first one's number in two bytes, its length.
        const HEAD: usize = 5;
        assert_eq!(size(&[1; 64]), HEAD + 8);
        assert_eq!(size(&[7; 64]), HEAD + 24);
        assert_eq!(size(&[u64::MAX; 4]), HEAD + 32);
        let apart = |hole: usize| [&[1][..], &vec![0; hole], &[1]].concat();
        assert_eq!(size(&apart(MAX_HOLE)), HEAD + 1);
        assert_eq!(size(&apart(1_000)), HEAD + 1 + 4, "a hole takes no room");
    }
}
