//! Which share of new traces is kept while more come than the store has room for. Asked by `traces`.

/// A trace should stay at least so long, for its last spans to come.
const MIN_STAY_NANOS: u64 = 30_000_000_000;
const NANOS_A_SECOND: u64 = 1_000_000_000;
/// Of the store may be taken in the time that a trace should stay, beyond the share.
const SPARE_SHARE: usize = 8;
/// The whole of the hashes' upper halves.
const ALL: u64 = 1 << 32;

/// The share, by the hash of the trace id: the same traces whenever it is asked.
#[derive(Debug)]
pub(super) struct Share {
    /// Of [`ALL`].
    threshold: u64,
    adjusted_unix_nano: u64,
    /// Bytes taken since then.
    taken: usize,
    /// Bytes that may still be taken beyond the share until it is adjusted again.
    spare: usize,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            threshold: ALL,
            adjusted_unix_nano: 0,
            taken: 0,
            spare: 0,
        }
    }
}

impl Share {
    /// Whether a new trace whose id has this hash is taken.
    pub(super) fn takes(&self, hash: u64) -> bool {
        self.threshold == ALL || lot(hash) >> 32 < self.threshold
    }

    /// Whether there is room for a trace beyond the share.
    pub(super) fn has_spare(&self) -> bool {
        self.spare > 0
    }

    /// So many bytes more were taken beyond the share.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.spare = self.spare.saturating_sub(bytes);
    }

    /// So many bytes more were taken.
    pub(super) fn add(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Once a second: takes so much that half of the store would last for [`MIN_STAY_NANOS`]. When half of the store was
    /// filled in less, a flood begins, and that is as much as a whole second may bring: what it began with must not be
    /// pushed out by the rest of it.
    pub(super) fn adjust(&mut self, now_unix_nano: u64, limit: usize) {
        // Either way: a clock set back must not hold the share where it is.
        let elapsed = now_unix_nano.abs_diff(self.adjusted_unix_nano);
        if elapsed < NANOS_A_SECOND && self.taken <= limit / 2 {
            return;
        }
        let elapsed = elapsed.max(NANOS_A_SECOND);
        let stay = (limit / 2) as f64 / self.taken.max(1) as f64 * elapsed as f64;
        // Whoever comes into the share or leaves it halfway is kept in part: it moves little when it need not move much.
        let factor = match stay / MIN_STAY_NANOS as f64 {
            fitting @ 0.0..0.5 => fitting,
            0.5..2.0 => 1.0,
            _ => 1.1,
        };
        self.threshold = ((self.threshold as f64 * factor) as u64).clamp(1 << 12, ALL);
        self.adjusted_unix_nano = now_unix_nano;
        self.taken = 0;
        self.spare = limit / SPARE_SHARE / (MIN_STAY_NANOS / NANOS_A_SECOND) as usize;
    }
}

/// A number drawn by a trace's hash: its upper half decides on the share, its lower one on the sample. The hash itself is
/// good for tables alone: of trace ids that are counted up, a share by it takes none in a row, or all.
pub(super) fn lot(hash: u64) -> u64 {
    let mixed = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;
    const T0: u64 = 1_700_000_000 * NANOS_A_SECOND;

    /// Of each thousand traces whose hashes are counted up, how many are taken after `bytes` came within `nanos`.
    fn taken_after(bytes: usize, nanos: u64) -> usize {
        let mut share = Share::default();
        share.adjust(T0, LIMIT);
        share.add(bytes);
        share.adjust(T0 + nanos, LIMIT);
        (0..100_000_u64).filter(|&n| share.takes(n)).count() / 100
    }

    #[test]
    fn the_share_stays_while_it_fits_and_grows_when_the_flood_is_over() {
        let mut share = Share::default();
        share.adjust(T0, LIMIT);
        let mut taken = |second: u64, bytes: usize| {
            share.add(bytes);
            share.adjust(T0 + second * NANOS_A_SECOND, LIMIT);
            (0..100_000_u64).filter(|&n| share.takes(n)).count()
        };
        let few = taken(1, LIMIT);
        assert!((1_500..1_800).contains(&few), "a 60th: {few}");
        assert_eq!(
            taken(2, LIMIT / 60),
            few,
            "half of the store lasts for 30 s"
        );
        let more = taken(3, LIMIT / 600);
        assert!(more > few + few / 20, "{more} after {few}");
    }

    #[test]
    fn a_clock_set_back_does_not_hold_the_share() {
        let mut share = Share::default();
        share.adjust(T0, LIMIT);
        share.add(LIMIT);
        share.adjust(T0 + NANOS_A_SECOND, LIMIT);
        let few = share.threshold;
        for second in 0..60 {
            share.adjust(T0 / 2 + second * NANOS_A_SECOND, LIMIT);
        }
        assert!(few < ALL / 50 && share.threshold == ALL, "{few}");
    }

    #[test]
    fn a_flood_counts_at_once_and_as_a_whole_second() {
        const INSTANT: u64 = NANOS_A_SECOND / 1_000;
        assert_eq!(taken_after(LIMIT / 2, INSTANT), 1_000, "not yet");
        // A thirtieth, for half of the store is to last for 30 s.
        let thirtieth = 32..=34;
        assert!(thirtieth.contains(&taken_after(LIMIT / 2 + 1, INSTANT)));
        assert!(thirtieth.contains(&taken_after(LIMIT / 2 + 1, NANOS_A_SECOND)));
        assert_eq!(taken_after(LIMIT / 60, NANOS_A_SECOND), 1_000, "it fits");
    }
}
