//! Byte reservations against a limit: whoever is about to hold bytes asks first, and gives them back by
//! dropping the reservation. Used by `net` and `receive` for bodies and requests under way, by `web` for reports and answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared limit in bytes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
}

/// Bytes held against a [`Budget`] until dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit,
            used: AtomicUsize::new(0),
        }))
    }

    /// The limit, in bytes.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes reserved now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Reserves `bytes`; `None` when they do not fit now.
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        self.add(bytes).then(|| Reservation {
            budget: self.clone(),
            bytes,
        })
    }

    fn add(&self, bytes: usize) -> bool {
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes)
                    .filter(|&total| total <= self.0.limit)
            })
            .is_ok()
    }
}

impl Reservation {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows to `bytes` in all; false, with nothing changed, when they do not fit now.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let fits = more == 0 || self.budget.add(more);
        if fits {
            self.bytes += more;
        }
        fits
    }

    /// Gives back what is held beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.budget.0.used.fetch_sub(less, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_share_one_limit_and_give_back() {
        let budget = Budget::new(100);
        let mut first = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        let second = budget.reserve(40).unwrap();
        assert!(!first.grow_to(61), "nothing is left");
        assert_eq!((first.bytes(), budget.used()), (60, 100));
        drop(second);
        assert!(first.grow_to(100));
        assert!(first.grow_to(10), "shrinking is not growing");
        assert_eq!((first.bytes(), budget.used()), (100, 100));
        first.shrink_to(30);
        first.shrink_to(50);
        assert_eq!((first.bytes(), budget.used()), (30, 30));
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_size_beyond_every_limit_does_not_wrap_around() {
        let budget = Budget::new(usize::MAX);
        let _held = budget.reserve(10).unwrap();
        assert!(budget.reserve(usize::MAX).is_none());
        assert_eq!(budget.used(), 10);
    }
}
