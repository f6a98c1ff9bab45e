//! The packed form of a histogram's buckets, in which closed slots are kept: eight neighbours at a time, their counts in
//! as many bits as the largest of the eight needs. Written and read back by `histogram`.
//!
//! A slot of 64 buckets takes some 40 bytes like this and is added up at a nanosecond a bucket. One width for all of them
//! takes a quarter more, because few are as full as those in the middle; a number of bytes for each bucket takes three
//! times as much and as long, which is felt where a thousand edges over an hour are asked for.

use super::varint;

/// Buckets that are written together: of any width they are whole bytes.
const GROUP: usize = 8;
/// What four bits say of a group: how many bits each of its counts takes, which is how many bytes they take together.
const WIDTHS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 64];
/// Stands where two groups' widths would: the next byte says how many groups are empty.
const EMPTY: u8 = 0;

/// Appends `buckets`, the first of which has the number `first`.
pub(super) fn write(out: &mut Vec<u8>, first: u16, buckets: &[u64]) {
    let used = |&count: &u64| count > 0;
    let ends = buckets.iter().position(used);
    let Some((lowest, highest)) = ends.zip(buckets.iter().rposition(used)) else {
        varint::write(out, 0);
        return;
    };
    let before = usize::from(first);
    let mut group = (before + lowest) / GROUP;
    let behind = (before + highest) / GROUP + 1;
    varint::write(out, (behind - group) as u64);
    varint::write(out, group as u64);
    let counts = |group: usize| -> [u64; GROUP] {
        std::array::from_fn(|place| {
            let bucket = (group * GROUP + place).checked_sub(before);
            let count = bucket.and_then(|bucket| buckets.get(bucket));
            count.copied().unwrap_or(0)
        })
    };
    while group < behind {
        let empty = (group..behind).take_while(|&group| counts(group) == [0; GROUP]);
        match empty.take(usize::from(u8::MAX)).count() {
            // The last group is not empty.
            0 | 1 => {
                let two = [counts(group), counts(group + 1)];
                let [low, high] = two.map(head);
                out.push(low | high << 4);
                write_counts(out, two[0], low);
                write_counts(out, two[1], high);
                group += 2;
            }
            empty => {
                out.extend([EMPTY, empty as u8]);
                group += empty;
            }
        }
    }
}

/// Adds packed counts to the buckets that `reach` gives for the number of the first one and how many there are; fewer take
/// what is theirs. Moves `packed` past them; all counts together.
pub(super) fn add<'a>(
    packed: &mut &[u8],
    reach: impl FnOnce(usize, usize) -> &'a mut [u64],
) -> u64 {
    let of = |groups: u64| usize::try_from(groups).map_or(usize::MAX, |n| n.saturating_mul(GROUP));
    let length = of(varint::read(packed));
    if length == 0 {
        return 0;
    }
    let mut buckets = reach(of(varint::read(packed)), length);
    let (mut left, mut all) = (length / GROUP, 0_u64);
    while left > 0
        && let Some(heads) = take(packed)
    {
        if heads == EMPTY {
            let empty = usize::from(take(packed).unwrap_or(0));
            left = left.saturating_sub(empty);
            cut(&mut buckets, empty * GROUP);
            continue;
        }
        for head in [heads & 15, heads >> 4] {
            left = left.saturating_sub(1);
            all = all.saturating_add(add_counts(packed, head, cut(&mut buckets, GROUP)));
        }
    }
    all
}

/// What says how wide the counts are written.
fn head(counts: [u64; GROUP]) -> u8 {
    let all = counts.iter().fold(0, |all, count| all | count);
    let bits = u64::BITS - all.leading_zeros();
    // None needs more than the last of them.
    WIDTHS.partition_point(|&width| u32::from(width) < bits) as u8
}

fn width(head: u8) -> usize {
    WIDTHS.get(usize::from(head)).copied().unwrap_or(0).into()
}

fn write_counts(out: &mut Vec<u8>, counts: [u64; GROUP], head: u8) {
    let (mut word, mut filled) = (0_u64, 0);
    for count in counts.iter().filter(|_| head > 0) {
        // 64 bits begin with a byte, and less than a byte before them leaves room for all others.
        word |= count << filled;
        filled += width(head);
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
}

#[inline]
fn add_counts(packed: &mut &[u8], head: u8, buckets: &mut [u64]) -> u64 {
    let width = width(head);
    if width == 0 {
        return 0;
    }
    let bytes = packed.get(..width).unwrap_or(packed);
    let mask = u64::MAX >> (u64::BITS as usize - width);
    let mut all = 0_u64;
    let mut add = |bucket: &mut u64, count: u64| {
        *bucket = bucket.saturating_add(count);
        all = all.saturating_add(count);
    };
    if width <= GROUP {
        let mut word = word(bytes, 0);
        for bucket in buckets {
            add(bucket, word & mask);
            word >>= width;
        }
    } else {
        for (at, bucket) in buckets.iter_mut().enumerate() {
            let bit = at * width;
            add(bucket, word(bytes, bit / 8) >> (bit % 8) & mask);
        }
    }
    *packed = packed.get(width..).unwrap_or_default();
    all
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

fn take(packed: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = packed.split_first()?;
    *packed = rest;
    Some(byte)
}

/// So many from the front, which are left out of the rest.
fn cut<'a>(buckets: &mut &'a mut [u64], length: usize) -> &'a mut [u64] {
    let all = std::mem::take(buckets);
    let (front, rest) = all.split_at_mut(length.min(all.len()));
    *buckets = rest;
    front
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

    /// Number and count of each bucket in use, and the bytes behind.
    fn unpacked(mut bytes: &[u8]) -> (Vec<(usize, u64)>, &[u8]) {
        let (mut start, mut buckets) = (0, Vec::new());
        let all = add(&mut bytes, |first, length| {
            start = first;
            buckets.resize(length.min(70_000), 0);
            &mut buckets
        });
        let sum = buckets.iter().copied().fold(0, u64::saturating_add);
        assert_eq!(all, sum);
        let found = buckets.into_iter().enumerate();
        let found = found.filter(|&(_, count)| count > 0);
        let found = found.map(|(at, count)| (start.saturating_add(at), count));
        (found.collect(), bytes)
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
            let wanted = (usize::from(first)..).zip(buckets).filter(|&(_, count)| count > 0);
            prop_assert_eq!(found, wanted.collect::<Vec<_>>());
            prop_assert_eq!(rest, behind);
        }

        #[test]
        fn any_bytes_are_read(bytes in vec(any::<u8>(), 0..64)) {
            unpacked(&bytes);
        }
    }

    #[test]
    fn bits_are_as_many_as_the_largest_of_eight_counts_needs() {
        let size = |buckets: &[u64]| packed(704, buckets).len();
        // Groups, the first one's number, and half a byte for each.
        const HEAD: usize = 2;
        assert_eq!(size(&[1; 64]), HEAD + 4 + 8);
        assert_eq!(size(&[7; 64]), HEAD + 4 + 24);
        assert_eq!(size(&[[1; 8], [300; 8]].concat()), HEAD + 1 + 1 + 10);
        assert_eq!(size(&[u64::MAX; 4]), HEAD + 1 + 64);
        let apart = |groups: usize| [&[1; 8][..], &vec![0; groups * 8], &[1; 8]].concat();
        assert_eq!(size(&apart(1)), HEAD + 2 + 2);
        // Two bytes say how many there are; one more of the head is for as many groups.
        assert_eq!(size(&apart(200)), HEAD + 1 + 2 + 2 + 2);
    }

    #[test]
    fn fewer_buckets_take_what_is_theirs() {
        let bytes = packed(0, &[3; 24]);
        let (mut rest, mut buckets) = (bytes.as_slice(), [1; 10]);
        assert_eq!(add(&mut rest, |_, _| &mut buckets), 30);
        assert_eq!((rest, buckets), (&[][..], [4; 10]));
    }
}
