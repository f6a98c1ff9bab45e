//! Base-2 exponential histogram over nanoseconds (OpenTelemetry metrics data model, "ExponentialHistogram",
//! scale 5), and its packed form. Every latency the views show comes from here.
//!
//! Bucket `i` holds `base^i < v <= base^(i+1)` with `base = 2^(1/32)`; zero has a bucket of its own. Merging adds
//! counts, so it is exact: any merge of slots gives the very buckets one histogram of all samples would have.

use super::{packed, varint};

/// Keys run from 0 (the zero bucket) to this (the bucket of `u64::MAX`).
const MAX_KEY: u16 = 64 * SUB as u16 + 1;
/// Buckets to a power of two: `2^SCALE`.
const SUB: usize = 32;

/// `UPPER[k]` is the smallest integer above `2^63 * 2^(k/32)`: a value normalised to `[2^63, 2^64)` lies above the
/// `k`-th boundary exactly when it is at least `UPPER[k]`, because no boundary but the first is an integer.
const UPPER: [u64; SUB] = [
    0x8000000000000001,
    0x82cd8698ac2ba1d8,
    0x85aac367cc487b15,
    0x88980e8092da8528,
    0x8b95c1e3ea8bd6e7,
    0x8ea4398b45cd53c1,
    0x91c3d373ab11c337,
    0x94f4efa8fef70962,
    0x9837f0518db8a970,
    0x9b8d39b9d54e5539,
    0x9ef5326091a111ae,
    0xa27043030c496819,
    0xa5fed6a9b15138eb,
    0xa9a15ab4ea7c0ef9,
    0xad583eea42a14ac7,
    0xb123f581d2ac2590,
    0xb504f333f9de6485,
    0xb8fbaf4762fb9eea,
    0xbd08a39f580c36bf,
    0xc12c4cca66709457,
    0xc5672a115506dade,
    0xc9b9bd866e2f27a3,
    0xce248c151f8480e4,
    0xd2a81d91f12ae45b,
    0xd744fccad69d6af5,
    0xdbfbb797daf23756,
    0xe0ccdeec2a94e112,
    0xe5b906e77c8348a9,
    0xeac0c6e7dd24392f,
    0xefe4b99bdcdaf5cc,
    0xf5257d152486cc2d,
    0xfa83b2db722a033b,
];

/// For the six bits below the leading one: how many boundaries lie at or below the start of that 64th. Boundaries are
/// at least 0.0219 * 2^63 apart and a 64th is 0.0157 * 2^63 wide, so one comparison settles the rest.
const BELOW: [u8; 64] = boundaries_below();

/// A histogram that is being counted into, or merged into. A dense run of buckets from the lowest to the highest in
/// use: latencies of one operation lie close together, and counting is one indexed addition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    first: u16,
    buckets: Vec<u64>,
    count: u64,
    min: u64,
    max: u64,
    /// Wider than the values: many long calls add up to more than 64 bits of nanoseconds. Packing drops it.
    sum: u128,
}

impl Histogram {
    /// Counts one value, in nanoseconds.
    #[cfg(test)]
    pub(crate) fn record(&mut self, nanos: u64) {
        self.record_times(nanos, 1);
    }

    /// Counts one value, in nanoseconds, as so many, at least one.
    #[inline]
    pub(crate) fn record_times(&mut self, nanos: u64, times: u32) {
        self.widen_range(nanos, nanos);
        self.sum += u128::from(nanos) * u128::from(times);
        self.add(key(nanos), u64::from(times));
    }

    /// Adds all of another histogram's values.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.widen_range(other.min, other.max);
        self.sum += other.sum;
        for (key, count) in other.occupied() {
            self.add(key, count);
        }
    }

    /// Values counted.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The largest value, exact, in nanoseconds; `None` without data.
    pub(crate) fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// All values added up, exact, in nanoseconds, but for those that were packed.
    pub(crate) fn sum(&self) -> u128 {
        self.sum
    }

    /// Heap bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<u64>()
    }

    /// The value of nearest rank `ceil(count * permille / 1000)`, in nanoseconds; `None` without data.
    ///
    /// Its bucket is known exactly, its place in it is not. With `lo` and `hi` the bucket's ends, the answer is
    /// `2·lo·hi / (lo + hi)`, whose relative error is worst at the ends and equal there: from `v = lo` it is
    /// `(hi − lo) / (lo + hi)`, from `v = hi` it is the same. With `hi = lo · 2^(1/32)` that is
    /// `(2^(1/32) − 1) / (2^(1/32) + 1) = 1.083 %`. Clamping to the exact least and largest value only brings the
    /// answer nearer, since the true value lies between them.
    pub(crate) fn percentile(&self, permille: u32) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = (u128::from(self.count) * u128::from(permille)).div_ceil(1000);
        let rank = rank.clamp(1, u128::from(self.count));
        let mut seen = 0;
        for (key, count) in self.occupied() {
            seen += u128::from(count);
            if seen >= rank {
                return Some(midpoint(key).max(self.min as f64).min(self.max as f64));
            }
        }
        Some(self.max as f64)
    }

    /// The buckets in use: OpenTelemetry's index, and how many values. Zeros stand in the bucket of one nanosecond.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        self.occupied()
            .map(|(key, count)| (bucket_index(key), count))
    }

    /// Appends the packed form: some bits for each occupied bucket.
    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        packed::write(out, self.first, &self.buckets);
        if self.count > 0 {
            varint::write(out, self.max);
            varint::write(out, self.max - self.min);
        }
    }

    /// Adds the values of a packed histogram and moves `packed` past it.
    pub(crate) fn merge_packed(&mut self, packed: &mut &[u8]) {
        let added = packed::add(packed, |first, length| {
            let first = u16::try_from(first).unwrap_or(u16::MAX).min(MAX_KEY);
            self.reach_by_octaves(first, length.min(usize::from(MAX_KEY)))
        });
        if added > 0 {
            let max = varint::read(packed);
            let min = max.saturating_sub(varint::read(packed));
            self.widen_range(min, max);
            self.count = self.count.saturating_add(added);
        }
    }

    fn widen_range(&mut self, min: u64, max: u64) {
        let empty = self.count == 0;
        self.min = if empty { min } else { self.min.min(min) };
        self.max = if empty { max } else { self.max.max(max) };
    }

    fn occupied(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        (self.first..)
            .zip(&self.buckets)
            .filter_map(|(key, &count)| (count > 0).then_some((key, count)))
    }

    fn add(&mut self, key: u16, count: u64) {
        self.count = self.count.saturating_add(count);
        // A key below the first wraps to far beyond the last.
        if let Some(bucket) = self
            .buckets
            .get_mut(usize::from(key.wrapping_sub(self.first)))
        {
            *bucket = bucket.saturating_add(count);
        } else {
            self.add_outside(key, count);
        }
    }

    /// The same where more is to be added up: what is made is so much that it will hardly have to grow again.
    fn reach_by_octaves(&mut self, first: u16, length: usize) -> &mut [u64] {
        let low = first - first % SUB as u16;
        let before = usize::from(first - low);
        let buckets = self.reach(low, (before + length).next_multiple_of(SUB));
        buckets.get_mut(before..).unwrap_or_default()
    }

    /// So many buckets from `first` on, made where there are none; none beyond the last key.
    fn reach(&mut self, first: u16, length: usize) -> &mut [u64] {
        let last = usize::from(first) + length.min(usize::from(MAX_KEY - first) + 1);
        if self.buckets.is_empty() {
            self.first = first;
        } else if first < self.first {
            let missing = usize::from(self.first - first);
            self.make_room(missing);
            self.buckets.splice(..0, std::iter::repeat_n(0, missing));
            self.first = first;
        }
        let (from, to) = (
            usize::from(first - self.first),
            last - usize::from(self.first),
        );
        if self.buckets.len() < to {
            self.make_room(to - self.buckets.len());
            self.buckets.resize(to, 0);
        }
        self.buckets.get_mut(from..to).unwrap_or_default()
    }

    /// Half an octave at a time, not as much again: each row has some that are being counted into.
    fn make_room(&mut self, more: usize) {
        if self.buckets.capacity() - self.buckets.len() < more {
            self.buckets.reserve_exact(more.next_multiple_of(SUB / 2));
        }
    }

    #[cold]
    fn add_outside(&mut self, key: u16, count: u64) {
        if let [bucket] = self.reach(key, 1) {
            *bucket = bucket.saturating_add(count);
        }
    }
}

/// The bucket of a value: 0 for zero, else OpenTelemetry's index + 2 (the value 1 has index −1).
fn key(nanos: u64) -> u16 {
    if nanos == 0 {
        return 0;
    }
    let exponent = nanos.ilog2();
    let normalised = nanos << (63 - exponent);
    let below = BELOW[(normalised >> 57) as usize & 63];
    let boundary = UPPER[usize::from(below) & (SUB - 1)];
    // Past the last boundary the index above has wrapped to the first one, which every such value exceeds.
    let above = u16::from(usize::from(below) < SUB && normalised >= boundary);
    exponent as u16 * SUB as u16 + u16::from(below) + above + 1
}

/// OpenTelemetry's index of the bucket of a value; zero goes with one nanosecond.
pub(crate) fn index(nanos: u64) -> i32 {
    bucket_index(key(nanos))
}

/// Where the bucket of an index begins, in nanoseconds, itself not included.
pub(crate) fn lower_bound(index: i32) -> f64 {
    (f64::from(index) / SUB as f64).exp2()
}

fn bucket_index(key: u16) -> i32 {
    i32::from(key.max(1)) - 2
}

/// The value a bucket stands for, in nanoseconds: see [`Histogram::percentile`].
fn midpoint(key: u16) -> f64 {
    if key == 0 {
        return 0.0;
    }
    let low = ((f64::from(key) - 2.0) / SUB as f64).exp2();
    let high = ((f64::from(key) - 1.0) / SUB as f64).exp2();
    2.0 * low * high / (low + high)
}

const fn boundaries_below() -> [u8; 64] {
    let mut table = [0; 64];
    let mut cell = 0;
    while cell < 64 {
        let start = (1 << 63) | ((cell as u64) << 57);
        let mut k = 0;
        while k < SUB && UPPER[k] <= start {
            k += 1;
        }
        table[cell] = k as u8;
        cell += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// `a * b`, both little-endian base 2^32.
    fn multiply(a: &[u32], b: &[u32]) -> Vec<u32> {
        let mut product = vec![0_u32; a.len() + b.len()];
        for (i, &x) in a.iter().enumerate() {
            let mut carry = 0_u64;
            for (j, &y) in b.iter().enumerate() {
                let sum = u64::from(product[i + j]) + u64::from(x) * u64::from(y) + carry;
                product[i + j] = sum as u32;
                carry = sum >> 32;
            }
            product[i + b.len()] = carry as u32;
        }
        product
    }

    /// Whether `value^32 > 2^power`, in exact integers: that is `value > 2^(power/32)`.
    fn power_exceeds(value: u64, power: u32) -> bool {
        let mut number = vec![value as u32, (value >> 32) as u32];
        for _ in 0..5 {
            number = multiply(&number, &number);
        }
        while number.last() == Some(&0) {
            number.pop();
        }
        let bits = number.len() as u32 * 32 - number.last().map_or(0, |top| top.leading_zeros());
        let is_power_of_two = number.iter().map(|word| word.count_ones()).sum::<u32>() == 1;
        bits > power + 1 || (bits == power + 1 && !is_power_of_two)
    }

    /// The bucket of `value` holds it: `2^((key-2)/32) < value <= 2^((key-1)/32)`.
    fn check_key(value: u64) {
        let key = u32::from(key(value));
        assert!(!power_exceeds(value, key - 1), "{value} above bucket {key}");
        assert!(
            key == 1 || power_exceeds(value, key - 2),
            "{value} below bucket {key}"
        );
    }

    #[test]
    fn every_border_is_exact() {
        for exponent in 0..64_u32 {
            for upper in UPPER {
                for value in [upper - 2, upper - 1, upper, upper.saturating_add(1)] {
                    check_key((value >> (63 - exponent)).max(1));
                    check_key((value >> (63 - exponent)).saturating_add(1));
                }
            }
        }
        check_key(u64::MAX);
        assert_eq!(key(0), 0);
        assert_eq!(key(u64::MAX), MAX_KEY);
    }

    fn exact(sorted: &[u64], permille: u64) -> u64 {
        let rank = (sorted.len() as u64 * permille).div_ceil(1000).max(1);
        sorted[rank as usize - 1]
    }

    fn check_percentiles(histogram: &Histogram, values: &[u64]) {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        for permille in [0, 1, 500, 900, 950, 990, 999, 1000] {
            let expected = exact(&sorted, u64::from(permille)) as f64;
            let got = histogram.percentile(permille).unwrap();
            assert!(
                (got - expected).abs() <= expected * 0.011,
                "{permille} permille of {} values: {got}, exactly {expected}",
                values.len()
            );
        }
    }

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for &value in values {
            histogram.record(value);
        }
        histogram
    }

    /// Log-normal, bimodal, heavy-tailed, constant and arbitrary latencies.
    fn latencies() -> impl Strategy<Value = Vec<u64>> {
        let normal = vec(-1.0..1.0_f64, 12).prop_map(|parts| parts.iter().sum::<f64>() / 2.0);
        let log_normal = normal.prop_map(|z| (14.0 + 1.5 * z).exp() as u64);
        let bimodal = prop_oneof![900_000_u64..1_100_000, 90_000_000_u64..110_000_000];
        let heavy = (1e-9..1.0_f64).prop_map(|u| (1e5 / u.powf(1.5)) as u64);
        prop_oneof![
            vec(log_normal, 1..300),
            vec(bimodal, 1..300),
            vec(heavy, 1..300),
            (any::<u64>(), 1..300_usize).prop_map(|(value, n)| vec![value; n]),
            vec(any::<u64>(), 1..300),
            vec(0..20_u64, 1..300),
        ]
    }

    proptest! {
        #[test]
        fn any_value_lies_in_its_bucket(value in 1_u64.., shift in 0..64_u32) {
            check_key((value >> shift).max(1));
        }

        #[test]
        fn percentiles_keep_the_bound(values in latencies()) {
            check_percentiles(&of(&values), &values);
        }

        #[test]
        fn any_merge_equals_the_whole(values in latencies(), other in latencies(), cut in 0..300_usize) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let all: Vec<u64> = values.iter().chain(&other).copied().collect();
            let mut bytes = Vec::new();
            of(right).pack(&mut bytes);
            of(&other).pack(&mut bytes);
            let mut packed = bytes.as_slice();
            let mut merged = of(left);
            merged.merge_packed(&mut packed);
            merged.merge_packed(&mut packed);
            prop_assert!(packed.is_empty());
            let whole = of(&all);
            prop_assert_eq!(
                merged.occupied().collect::<Vec<_>>(),
                whole.occupied().collect::<Vec<_>>()
            );
            prop_assert_eq!((merged.count, merged.min, merged.max),
                (whole.count, whole.min, whole.max));
            prop_assert_eq!(whole.sum(), all.iter().map(|&nanos| u128::from(nanos)).sum::<u128>());
            prop_assert_eq!(merged.sum(), of(left).sum());
            check_percentiles(&merged, &all);
            let mut unpacked = of(left);
            unpacked.merge(&of(right));
            unpacked.merge(&of(&other));
            prop_assert_eq!(unpacked.percentile(990), merged.percentile(990));
        }

        #[test]
        fn any_bytes_unpack_without_panic(bytes in vec(any::<u8>(), 0..64)) {
            let mut histogram = Histogram::default();
            histogram.merge_packed(&mut bytes.as_slice());
            let _ = histogram.percentile(500);
        }
    }

    #[test]
    fn an_empty_histogram_has_no_percentiles() {
        assert_eq!(Histogram::default().percentile(500), None);
        assert_eq!(Histogram::default().max(), None);
        assert_eq!(of(&[9]).percentile(500), Some(9.0));
    }

    #[test]
    fn a_slot_of_64_buckets_packs_small() {
        let values: Vec<u64> = (0..64)
            .flat_map(|i| vec![(1e6 * f64::from(i).exp2().powf(1.0 / 32.0)) as u64; 9])
            .collect();
        let mut bytes = Vec::new();
        of(&values).pack(&mut bytes);
        assert!(bytes.len() < 55, "{} bytes", bytes.len());
    }
}
