//! The buffers in which a thread makes its lines, kept between lines so that none allocates. Used by
//! `logger` and `span_values`.

use std::cell::Cell;

use super::clock::Clock;
use super::fields::Keys;
use super::key::KeyCache;
use super::room::Page;

/// What a thread keeps after a long line; a thread pool's idle threads must not hoard.
const KEPT_BYTES: usize = 16 * 1024;

/// One thread's buffers.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) out: Vec<u8>,
    pub(super) keys: Keys,
    pub(super) cache: KeyCache,
    pub(super) clock: Clock,
    pub(super) page: Page,
}

thread_local! {
    // Boxed: it is taken out and put back for each line.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Runs `make` with this thread's buffers, emptied.
///
/// The buffers are taken out of their place meanwhile: a value whose formatting itself logs finds the
/// place empty and gets new buffers, as does a thread that is being torn down.
pub(super) fn with<R>(make: impl FnOnce(&mut Scratch) -> R) -> R {
    let kept = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let mut scratch = kept.unwrap_or_default();
    scratch.out.clear();
    scratch.keys.clear();
    let made = make(&mut scratch);
    if scratch.out.capacity() > KEPT_BYTES {
        scratch.out.clear();
        scratch.out.shrink_to(KEPT_BYTES);
    }
    // Fails only while the thread is being torn down, when nothing needs the buffers any more.
    let _ = SCRATCH.try_with(|place| place.set(Some(scratch)));
    made
}
