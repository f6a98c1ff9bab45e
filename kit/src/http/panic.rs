//! Panics of handlers and bodies: caught, never passed on to the server. The hook of `log` tells of them before
//! they come here.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::log::{Watch, panic_text};

/// Runs `work`; of a panic the text is returned.
#[inline]
pub(super) fn catch(work: impl FnOnce()) -> Result<(), String> {
    let _watch = Watch::begin();
    catch_unwind(AssertUnwindSafe(work)).map_err(text_of)
}

#[cold]
fn text_of(payload: Box<dyn Any + Send>) -> String {
    let message = super::text::clip(panic_text(&*payload)).to_owned();
    free(payload);
    message
}

/// Payloads may be of any type, and a panic of their own drop must not get past [`catch`] either.
fn free(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Nobody knows where that chain would end, so it ends here: what was thrown is leaked.
        let _leaked = ManuallyDrop::new(another);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_panics_while_it_is_dropped_is_caught_too() {
        struct Panics;

        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("again");
            }
        }

        let caught = catch(|| std::panic::panic_any(Panics));
        assert_eq!(caught.unwrap_err(), "a panic without a text");
    }
}
