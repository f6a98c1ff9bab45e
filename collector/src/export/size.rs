//! How large a request may be for one peer, learnt from its refusals. Called by `peer`.

use std::time::Duration;

use tokio::time::Instant;

/// Below this a refusal is believed to have another reason than the size.
const LEAST_BYTES: usize = 16 * 1024;

/// A peer may have been given another limit, or may have been replaced: so often a larger request is tried.
const TRY_LARGER_EVERY: Duration = Duration::from_secs(600);

/// A limit in bytes.
#[derive(Debug)]
pub(super) struct SizeLimit {
    most: usize,
    now: usize,
    shrunk_at: Option<Instant>,
}

impl SizeLimit {
    /// At most `most` bytes, whatever a peer would take.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            now: most,
            shrunk_at: None,
        }
    }

    /// The limit in force.
    pub(super) fn bytes(&self) -> usize {
        self.now
    }

    /// A request of `length` bytes was too large; whether a smaller one is worth trying.
    pub(super) fn refused(&mut self, length: usize) -> bool {
        if length < LEAST_BYTES {
            return false;
        }
        // A span that alone has more says nothing about less.
        if length <= self.now {
            self.now = length / 2;
            self.shrunk_at = Some(Instant::now());
        }
        true
    }

    /// A request was taken.
    pub(super) fn taken(&mut self) {
        if (self.shrunk_at).is_some_and(|at| at.elapsed() >= TRY_LARGER_EVERY) {
            self.now = self.now.saturating_mul(2).min(self.most);
            self.shrunk_at = (self.now < self.most).then(Instant::now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_halves_down_to_a_bound_and_recovers_slowly() {
        let mut limit = SizeLimit::new(1 << 20);
        limit.taken();
        assert_eq!(limit.bytes(), 1 << 20);
        assert!(limit.refused(1 << 20));
        assert!(limit.refused(300_000));
        assert_eq!(limit.bytes(), 150_000);
        assert!(limit.refused(900_000), "one that was too large anyway");
        assert_eq!(limit.bytes(), 150_000);
        assert!(!limit.refused(LEAST_BYTES - 1));
        assert_eq!(limit.bytes(), 150_000);
        limit.taken();
        assert_eq!(limit.bytes(), 150_000, "too early");
        for expected in [300_000, 600_000, 1 << 20, 1 << 20] {
            tokio::time::advance(TRY_LARGER_EVERY).await;
            limit.taken();
            assert_eq!(limit.bytes(), expected);
            limit.taken();
            assert_eq!(limit.bytes(), expected);
        }
    }
}
