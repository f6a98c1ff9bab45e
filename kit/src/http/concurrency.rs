//! The concurrency limit (`BELLWETHER_CONCURRENCY_LIMIT`): counts requests until they have settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many requests may be in flight at once; clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct ConcurrencyLimit {
    limit: usize,
    in_flight: Arc<AtomicUsize>,
}

/// The place of one request; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<AtomicUsize>);

impl ConcurrencyLimit {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            in_flight: Arc::default(),
        }
    }

    /// `None` when the limit is reached.
    pub(super) fn try_acquire(&self) -> Option<Permit> {
        self.in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_flight| {
                (in_flight < self.limit).then_some(in_flight + 1)
            })
            .ok()
            .map(|_| Permit(Arc::clone(&self.in_flight)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let limit = ConcurrencyLimit::new(2);
        let shared = limit.clone();
        let (first, second) = (limit.try_acquire(), shared.try_acquire());
        assert!(first.is_some() && second.is_some());
        assert!(limit.try_acquire().is_none() && shared.try_acquire().is_none());
        drop(first);
        let third = limit.try_acquire();
        assert!(third.is_some() && limit.try_acquire().is_none());
        assert!(ConcurrencyLimit::new(0).try_acquire().is_none());
    }
}
