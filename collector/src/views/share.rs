//! Which share of new traces is kept while more come than the store has room for. Asked by `traces`.

/// A trace should stay at least so long, for its last spans to come.
const MIN_STAY_NANOS: u64 = 30_000_000_000;
const NANOS_A_SECOND: u64 = 1_000_000_000;
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
}

impl Default for Share {
    fn default() -> Self {
        Self {
            threshold: ALL,
            adjusted_unix_nano: 0,
            taken: 0,
        }
    }
}

impl Share {
    /// Whether a new trace whose id has this hash is taken.
    pub(super) fn takes(&self, hash: u64) -> bool {
        hash >> 32 < self.threshold
    }

    /// So many bytes more were taken.
    pub(super) fn add(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Once a second: takes so much that half of the store would last for [`MIN_STAY_NANOS`]. When half of the store was
    /// filled in less, a flood begins, and that is as much as a whole second may bring: what it began with must not be
    /// pushed out by the rest of it.
    pub(super) fn adjust(&mut self, now_unix_nano: u64, limit: usize) {
        let elapsed = now_unix_nano.saturating_sub(self.adjusted_unix_nano);
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
    }
}
