//! What surrounds an event: the request that it belongs to, and the fields of its spans, put together once for all
//! events of one place. Used by `events`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fields::SpanFields;
use super::format::{Format, Ids};
use super::place::Place;
use crate::context::{self, SpanIdentity};

/// What all spans of an event may take, in bytes with what it takes to keep them: more than a line has room for.
const MAX_BYTES: usize = 512 * 1024;

/// What a thread keeps of them.
const KEPT_BYTES: usize = 16 * 1024;

/// Counts the changes of fields of any span: what was put together before may have changed.
static CHANGES: AtomicU64 = AtomicU64::new(0);

static NEXT_LAYER: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LAST: Cell<Option<Box<Surroundings>>> = const { Cell::new(None) };
}

/// A layer, of which a process may have several: each has spans of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LayerId(u64);

impl LayerId {
    pub(super) fn new() -> Self {
        Self(NEXT_LAYER.fetch_add(1, Ordering::Relaxed))
    }
}

/// A span's fields have changed.
pub(super) fn changed() {
    CHANGES.fetch_add(1, Ordering::Relaxed);
}

/// The surroundings of an event.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// What they were put together for: `None` when they hold for no other event.
    of: Option<(LayerId, Place)>,
    changes: u64,
    /// Whose line it is.
    identity: Option<SpanIdentity>,
    /// What the format writes of the request and its span.
    ids: Vec<u8>,
    /// The request is the one that the thread works for: no span belongs to any.
    is_of_thread: bool,
    /// The fields of all spans; of a name that several have, the nearest one's.
    pub(super) fields: SpanFields,
}

/// Calls `act` with the surroundings of an event of this layer and place, which `look` puts together when those of the
/// event before do not hold. Without a place they are of this event alone.
///
/// As in [`scratch`](super::scratch), a value that logs while it is formatted finds none and looks anew.
pub(super) fn with(
    layer: LayerId,
    place: Option<Place>,
    look: impl FnOnce(&mut Surroundings),
    act: impl FnOnce(&Surroundings),
) {
    let kept = LAST.try_with(Cell::take).unwrap_or_default();
    let mut around = kept.unwrap_or_default();
    if !around.hold(layer, place) {
        around.clear();
        // Before the look: what changes meanwhile is looked for again.
        around.changes = CHANGES.load(Ordering::Relaxed);
        look(&mut around);
        around.of = place.map(|place| (layer, place));
    }
    act(&around);
    if around.fields.memory() > KEPT_BYTES {
        return;
    }
    // Fails only while the thread is being torn down, when nothing needs it any more.
    let _ = LAST.try_with(|last| last.set(Some(around)));
}

impl Surroundings {
    /// Takes in a span that is farther out than those before.
    pub(super) fn span(&mut self, identity: Option<&SpanIdentity>, fields: &SpanFields) {
        if self.identity.is_none() {
            self.identity = identity.cloned();
        }
        self.fields.absorb(fields, MAX_BYTES);
    }

    /// Takes it that all spans are in: who belongs to none of a request's belongs to the thread's.
    pub(super) fn end(&mut self, format: Format) {
        if self.identity.is_none() {
            self.is_of_thread = true;
            self.identity = SpanIdentity::of_request();
        }
        if let Some(identity) = &self.identity {
            format.ids(&mut self.ids, identity);
        }
    }

    /// The request and the span that the event belongs to.
    pub(super) fn ids(&self) -> Option<Ids<'_>> {
        let identity = self.identity.as_ref()?;
        Some(Ids {
            context: &identity.context,
            span_id: identity.span_id,
            written: &self.ids,
        })
    }

    fn hold(&self, layer: LayerId, place: Option<Place>) -> bool {
        place.is_some_and(|place| self.of == Some((layer, place)))
            && self.changes == CHANGES.load(Ordering::Relaxed)
            && (!self.is_of_thread || self.is_of_current())
    }

    /// Whether the thread still works for the request that it worked for then. It is kept, so no other can be where
    /// it is in memory.
    fn is_of_current(&self) -> bool {
        let kept = self.identity.as_ref().map(|identity| &identity.context);
        let same = context::with_current(|current| {
            kept.is_some_and(|context| Arc::ptr_eq(context, current))
        });
        same.unwrap_or(kept.is_none())
    }

    fn clear(&mut self) {
        self.of = None;
        self.identity = None;
        self.ids.clear();
        self.is_of_thread = false;
        self.fields.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::place;
    use super::*;

    /// How often the spans are looked at for two events of these layers and places.
    fn looks(events: [(LayerId, Option<Place>); 2]) -> u32 {
        let looks = Cell::new(0);
        for (layer, place) in events {
            with(layer, place, |_| looks.set(looks.get() + 1), |_| ());
        }
        looks.get()
    }

    #[test]
    fn events_of_one_layer_and_place_share_one_look() {
        let (layer, here) = (LayerId::new(), Some(place::now()));
        // Another test's span may change its fields meanwhile.
        assert!((0..1_000).any(|_| looks([(layer, here); 2]) < 2));
        assert_eq!(looks([(LayerId::new(), here), (LayerId::new(), here)]), 2);
        assert_eq!(looks([(layer, None); 2]), 2);
        let changing = Cell::new(0);
        for _ in 0..2 {
            changed();
            with(layer, here, |_| changing.set(changing.get() + 1), |_| ());
        }
        assert_eq!(changing.get(), 2);
    }

    #[test]
    fn an_event_within_an_event_looks_anew_and_leaves_the_outer_one_alone() {
        let (layer, here) = (LayerId::new(), Some(place::now()));
        let ids = |around: &Surroundings| around.ids().is_some();
        let mut inner = false;
        with(
            layer,
            here,
            |around| around.end(Format::Json),
            |outer| {
                with(
                    layer,
                    here,
                    |_| inner = true,
                    |around| assert!(!ids(around)),
                );
                assert!(!ids(outer));
            },
        );
        assert!(inner);
    }
}
