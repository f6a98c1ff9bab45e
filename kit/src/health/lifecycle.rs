//! starting → ready → draining → cutting → stopped: the one state that probes, `http` and `serve` read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum State {
    Starting,
    Ready,
    Draining,
    /// Out of time: what is still in flight is being cut.
    Cutting,
    Stopped,
}

/// The shared state; moves forward only.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle(Arc<AtomicU8>);

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(State::Starting as u8)))
    }

    pub(crate) fn state(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Starting,
            1 => State::Ready,
            2 => State::Draining,
            3 => State::Cutting,
            _ => State::Stopped,
        }
    }

    /// Moves on to `state`; a move backwards is ignored.
    pub(crate) fn advance(&self, state: State) {
        self.0.fetch_max(state as u8, Ordering::AcqRel);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.state() >= State::Draining
    }

    /// Whether a request that ends now without its answer was ended by this side.
    pub(crate) fn is_cutting(&self) -> bool {
        self.state() >= State::Cutting
    }
}
