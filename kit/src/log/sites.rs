//! What is known of each call site: what the filters say of it, and how often it spoke this second. A table
//! of fixed size without locks; used by `control`, on the way of every event.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use tracing::Metadata;

/// How many call sites have a place. Those beyond are judged anew for each event and are not limited.
const PLACES: usize = 1 << PLACES_LOG2;
const PLACES_LOG2: u32 = 12;

/// How many places are tried for a call site; more would make a full table slow.
const PROBES: usize = 8;

/// Call sites by the address of their metadata, which are static: an address says which it is for ever.
#[derive(Debug)]
pub(super) struct CallSites {
    places: Box<[Place]>,
}

#[derive(Debug, Default)]
struct Place {
    /// 0: free. Never free again.
    address: AtomicUsize,
    site: Site,
}

/// One call site.
#[derive(Debug, Default)]
pub(super) struct Site {
    /// What the filters say; 0 until they were asked.
    verdict: AtomicU8,
    /// Lines not written since somebody last told of them.
    repeated: AtomicU32,
    /// The second in which the site spoke last (upper half) and how often in it (lower half).
    window: AtomicU64,
}

impl Default for CallSites {
    fn default() -> Self {
        Self {
            places: (0..PLACES).map(|_| Place::default()).collect(),
        }
    }
}

impl CallSites {
    pub(super) fn find(&self, metadata: &Metadata<'_>) -> Option<&Site> {
        let address = address(metadata);
        for place in self.probes(address) {
            match place.address.load(Ordering::Acquire) {
                found if found == address => return Some(&place.site),
                0 => return None,
                _ => {}
            }
        }
        None
    }

    /// Nothing when the places that the call site might have are taken.
    pub(super) fn find_or_insert(&self, metadata: &'static Metadata<'static>) -> Option<&Site> {
        let address = address(metadata);
        for place in self.probes(address) {
            let taken =
                place
                    .address
                    .compare_exchange(0, address, Ordering::AcqRel, Ordering::Acquire);
            match taken {
                Ok(_) => return Some(&place.site),
                Err(found) if found == address => return Some(&place.site),
                Err(_) => {}
            }
        }
        None
    }

    fn probes(&self, address: usize) -> impl Iterator<Item = &Place> {
        // Fibonacci hashing: the upper bits of the product depend on all of the address.
        let spread = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let first = (spread >> (u64::BITS - PLACES_LOG2)) as usize;
        (first..first + PROBES).filter_map(|at| self.places.get(at % PLACES))
    }
}

fn address(metadata: &Metadata<'_>) -> usize {
    std::ptr::from_ref(metadata).addr()
}

impl Site {
    pub(super) fn verdict(&self) -> u8 {
        self.verdict.load(Ordering::Relaxed)
    }

    pub(super) fn set_verdict(&self, verdict: u8) {
        self.verdict.store(verdict, Ordering::Relaxed);
    }

    /// Whether one more line fits into `second`, in which at most `limit` do.
    pub(super) fn admit(&self, limit: u32, second: u32) -> bool {
        let seen = self.window.load(Ordering::Relaxed);
        let window = (seen >> u32::BITS) as u32;
        // Who read the clock just before the second changed does not turn it back.
        if window == second || window == second.wrapping_add(1) {
            return self.count_up() < limit;
        }
        let begun = u64::from(second) << u32::BITS | 1;
        let turned =
            self.window
                .compare_exchange(seen, begun, Ordering::Relaxed, Ordering::Relaxed);
        turned.is_ok() || self.count_up() < limit
    }

    /// Counts a line and gives how many there were before.
    fn count_up(&self) -> u32 {
        self.window.fetch_add(1, Ordering::Relaxed) as u32
    }

    /// Notes a line that is not written; true for the first since somebody last told of them.
    pub(super) fn suppress(&self) -> bool {
        self.repeated.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// How many lines were not written since this was last asked.
    pub(super) fn take_repeated(&self) -> u32 {
        self.repeated.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use tracing::callsite::{Callsite, Identifier};
    use tracing::field::FieldSet;
    use tracing::metadata::Kind;
    use tracing::{Level, subscriber::Interest};

    use super::*;

    struct Nowhere;

    impl Callsite for Nowhere {
        fn set_interest(&self, _: Interest) {}
        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody registers it")
        }
    }

    static NOWHERE: Nowhere = Nowhere;

    fn metadata() -> &'static Metadata<'static> {
        let fields = FieldSet::new(&[], Identifier(&NOWHERE));
        Box::leak(Box::new(Metadata::new(
            "event",
            "shop",
            Level::INFO,
            None,
            None,
            None,
            fields,
            Kind::EVENT,
        )))
    }

    #[test]
    fn each_call_site_has_its_own_place_until_there_is_none() {
        let sites = CallSites::default();
        let all: Vec<_> = (0..2 * PLACES).map(|_| metadata()).collect();
        let mut placed = 0;
        for (number, metadata) in all.iter().enumerate() {
            assert!(sites.find(metadata).is_none());
            if let Some(site) = sites.find_or_insert(metadata) {
                assert_eq!(site.take_repeated(), 0, "somebody else's");
                site.repeated.store(number as u32 + 1, Ordering::Relaxed);
                placed += 1;
            }
        }
        assert!((PLACES / 2..=PLACES).contains(&placed), "{placed}");
        for (number, metadata) in all.iter().enumerate() {
            if let Some(site) = sites.find(metadata) {
                assert_eq!(site.take_repeated(), number as u32 + 1);
                placed -= 1;
            }
        }
        assert_eq!(placed, 0);
    }

    #[test]
    fn a_second_has_room_for_its_limit() {
        let site = Site::default();
        let admitted = |second, times: u32| (0..times).filter(|_| site.admit(3, second)).count();
        assert_eq!(admitted(100, 5), 3);
        assert_eq!(admitted(101, 2), 2);
        // A thread that looked at the clock before the others.
        assert_eq!(admitted(100, 5), 1);
        // The clock was set back.
        assert_eq!(admitted(50, 5), 3);
        assert_eq!(admitted(u32::MAX, 5), 3);
        assert_eq!(admitted(0, 5), 3);
    }

    #[test]
    fn many_threads_share_a_second() {
        let site = Site::default();
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        admitted.fetch_add(site.admit(1_000, 7).into(), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 1_000);
    }
}
