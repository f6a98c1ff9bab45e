//! Where a thread is: a number that no other thread has, and that changes whenever the thread enters or exits a
//! span. Two events of one place have the same spans, which need not be asked for again. Used by `events`.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many changes until a thread's numbers meet those of the thread started next: a day's worth, at ten
/// million a second.
const CHANGES: u64 = 1 << 40;

static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// 0: not asked for yet.
    static PLACE: Cell<u64> = const { Cell::new(0) };
}

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

/// Where this thread is.
pub(super) fn now() -> Place {
    let place = PLACE.get();
    if place != 0 {
        return Place(place);
    }
    let first = NEXT_THREAD
        .fetch_add(1, Ordering::Relaxed)
        .wrapping_mul(CHANGES);
    PLACE.set(first);
    Place(first)
}

/// The thread is somewhere else from now on.
pub(super) fn changed() {
    let place = PLACE.get();
    if place != 0 {
        PLACE.set(place.wrapping_add(1).max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_of_one_thread_until_it_changes() {
        let here = now();
        assert_eq!(now(), here);
        let there = std::thread::spawn(now).join().unwrap();
        assert_ne!(there, here);
        changed();
        assert_ne!(now(), here);
    }
}
