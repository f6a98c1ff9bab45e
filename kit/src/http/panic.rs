//! Panics of handlers and bodies: caught, told once with the request's ids, never passed on to the server.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

/// Runs `work`; a panic is logged at ERROR (target `bellwether::panic`) and its text returned.
pub(super) fn catch<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    let _watch = Watch::begin();
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let message = message(&*payload);
        let (file, line) = LOCATION.try_with(RefCell::take).ok().flatten().unzip();
        tracing::error!(
            target: "bellwether::panic",
            { exception.message = message, code.file.path = file, code.line.number = line },
            "handler panicked"
        );
        free(payload);
        message
    })
}

/// Payloads may be of any type, and a panic of their own drop must not get past [`catch`] either.
fn free(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Nobody knows where that chain would end, so it ends here: what was thrown is leaked.
        let _leaked = ManuallyDrop::new(another);
    }
}

/// A panic's payload does not say where it happened, its hook does. Puts a hook before the one in force
/// that notes the place of panics we are going to catch and changes nothing else.
pub(super) fn install_location_hook() {
    static INSTALLED: Once = Once::new();
    // The hook cannot be changed by a thread that is panicking.
    if std::thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            note_location(info);
            next(info);
        }));
    });
}

thread_local! {
    static WATCHING: Cell<usize> = const { Cell::new(0) };
    static LOCATION: RefCell<Option<(String, u32)>> = const { RefCell::new(None) };
}

fn note_location(info: &PanicHookInfo<'_>) {
    let watching = WATCHING.try_with(Cell::get).unwrap_or(0) > 0;
    if let (true, Some(location)) = (watching, info.location()) {
        let noted = (location.file().to_owned(), location.line());
        let _ = LOCATION.try_with(|slot| slot.replace(Some(noted)));
    }
}

/// Marks the thread as inside [`catch`], also while unwinding out of it.
struct Watch;

impl Watch {
    fn begin() -> Self {
        WATCHING.set(WATCHING.get() + 1);
        Self
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHING.set(WATCHING.get().saturating_sub(1));
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text");
    super::text::clip(text).to_owned()
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
