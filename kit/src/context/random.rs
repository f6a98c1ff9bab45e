//! Random bits for ids: a small generator a thread, which the operating system seeds. Ids are to be unique and trace
//! ids evenly spread, as samplers compare them; none is a secret, since all of them stand in headers. So no request
//! pays for a cipher.

use std::cell::RefCell;

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

thread_local! {
    static GENERATOR: RefCell<SmallRng> = RefCell::new(SmallRng::from_os_rng());
}

/// `N` times 64 random bits.
#[inline]
pub(super) fn words<const N: usize>() -> [u64; N] {
    GENERATOR.with_borrow_mut(|generator| std::array::from_fn(|_| generator.next_u64()))
}
