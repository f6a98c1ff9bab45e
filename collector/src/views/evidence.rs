//! How many server spans of each service stand alone: what `doctor` explains missing edges by. Counted by `stats`,
//! only for such spans.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::call::Alone;
use super::clock::{Clock, Slots};
use super::names::NameId;
use super::window::Series;

const ROOTS: usize = 0;
const ALONE: usize = 1;
/// Spans that came, of both sorts.
const CAME: usize = 2;
const COUNTERS: usize = 3;

/// Of every service with such spans within the retention; there are as few as there are names.
#[derive(Debug, Default)]
pub(crate) struct Evidence(HashMap<NameId, Series<COUNTERS, 0>, RandomState>);

/// SERVER and CONSUMER spans of one service whose caller's span is not here, by their weights as the calls of edges are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lone {
    /// They have no parent: they begin a trace.
    pub(crate) roots: u64,
    /// They have one, but no CLIENT or PRODUCER span came that could be it.
    pub(crate) alone: u64,
    /// Spans that came, of both sorts; fewer where their senders sample.
    pub(crate) samples: u64,
}

impl Evidence {
    /// Counts a server span without a parent.
    pub(crate) fn root(&mut self, service: NameId, weight: u32, slot: u32) {
        let counters = &mut self.0.entry(service).or_default().at(slot).counters;
        counters[ROOTS] += u64::from(weight);
        counters[CAME] += 1;
    }

    /// Counts a server span whose client span did not come, in its slot or in the oldest still open.
    pub(crate) fn alone(&mut self, span: Alone, clock: &Clock) {
        let slot = span.slot.max(clock.now().saturating_sub(1));
        let counters = &mut self.0.entry(span.service).or_default().at(slot).counters;
        counters[ALONE] += u64::from(span.weight);
        counters[CAME] += 1;
    }

    /// Closes slots and drops services without any.
    pub(crate) fn roll(&mut self, clock: &Clock) {
        self.0.retain(|_, series| {
            series.roll(clock, |_, _| ());
            !series.is_empty()
        });
    }

    /// What was counted in the range, by service.
    pub(crate) fn counted(&self, slots: Slots) -> impl Iterator<Item = (NameId, Lone)> + '_ {
        self.0.iter().map(move |(service, series)| {
            let counters = series.sum(slots).total().counters;
            let lone = Lone {
                roots: counters[ROOTS],
                alone: counters[ALONE],
                samples: counters[CAME],
            };
            (*service, lone)
        })
    }

    /// Heap bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        const ENTRY: usize = size_of::<(NameId, Series<COUNTERS, 0>)>();
        self.0.values().map(|series| ENTRY + series.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::names::{Names, NodeKind};

    #[test]
    fn spans_are_counted_for_as_long_as_they_are_remembered() {
        const SECOND: u64 = 1_000_000_000;
        let start = 1_800_000_000 * SECOND;
        let mut clock = Clock::new(10);
        clock.advance(start);
        let mut names = Names::default();
        let [cart, mail] =
            ["cart", "mail"].map(|name| names.intern(name, NodeKind::Service, clock.now()));
        let mut evidence = Evidence::default();
        evidence.root(cart, 10, clock.now());
        let alone = |service, slot| Alone {
            service,
            slot,
            weight: 3,
        };
        evidence.alone(alone(mail, clock.now()), &clock);
        let counted = |evidence: &Evidence, clock: &Clock, now| {
            let hour = std::time::Duration::from_secs(3600);
            let slots = clock.round(crate::views::Range::Last(hour), now);
            let mut counted: Vec<_> = evidence.counted(slots).collect();
            counted.sort_by_key(|(service, _)| *service);
            counted
        };
        let lone = |roots, alone, samples| Lone {
            roots,
            alone,
            samples,
        };
        // A call that waited for a minute is counted in a slot that is still open.
        clock.advance(start + 20 * SECOND);
        evidence.alone(alone(cart, clock.now() - 6), &clock);
        let all = [(cart, lone(10, 3, 2)), (mail, lone(0, 3, 1))];
        assert_eq!(counted(&evidence, &clock, start + 20 * SECOND), all);
        let held = evidence.bytes();
        let later = start + 3_600 * SECOND;
        clock.advance(later);
        evidence.roll(&clock);
        assert_eq!(counted(&evidence, &clock, later), []);
        assert!(held > 0 && evidence.bytes() == 0);
    }
}
