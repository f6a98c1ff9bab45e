//! Panics: a hook writes one line for each, whatever thread or task it happens in. `kit` installs it; `http`
//! marks what it catches.
//!
//! The line is written past `tracing`: a subscriber that is in the middle of something when a value's
//! formatting panics must not be entered again, and a panic in a hook aborts the process. So no filter hides
//! it, as none hides the standard library's text.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::panic::PanicHookInfo;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::Span;
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::Logger;
use super::fields::SpanFields;
use super::panic_line::PanicLine;
use crate::context::SpanIdentity;
use crate::span::Carried;

/// What a line gets to be written before a panic that may end the process goes on.
const FLUSH: Duration = Duration::from_millis(500);

/// How long to wait for what the spans say: microseconds, unless the panicking thread holds one of their locks.
const LOOK_UP: Duration = Duration::from_millis(100);

/// The farthest spans that a panic's line has fields of.
const MAX_SPANS: usize = 64;

/// Whom the hook writes for: the kit started last.
static TELLER: Mutex<Option<Teller>> = Mutex::new(None);

thread_local! {
    /// Whom it writes for on this thread, rather.
    static HERE: RefCell<Option<Teller>> = const { RefCell::new(None) };
}

#[derive(Clone, Debug)]
struct Teller {
    logger: Logger,
    backtraces: bool,
    /// Its lines are kept, not written: a failed assertion must show in the test's own output, too.
    is_test: bool,
}

/// Writes a line to `logger` for every panic from now on, with a backtrace if `backtraces`.
///
/// A hook that the service has set runs after that. The standard library's own, which prints text to stderr,
/// runs only beside lines for human readers: a panic is one structured line, not that and loose text.
pub(crate) fn tell_panics(logger: &Logger, backtraces: bool) {
    *TELLER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Teller {
        logger: logger.clone(),
        backtraces,
        is_test: false,
    });
    install();
}

/// The same for the panics of this thread alone, as `testing` wants it: other tests have kits of their own, and
/// the standard library's hook runs as well. Ends when dropped.
pub(crate) fn tell_panics_here(logger: &Logger, backtraces: bool) -> ToldHere {
    let before = HERE.replace(Some(Teller {
        logger: logger.clone(),
        backtraces,
        is_test: true,
    }));
    install();
    ToldHere {
        before,
        _of_this_thread: PhantomData,
    }
}

/// While this lives, the panics of its thread are told to a logger of their own.
#[derive(Debug)]
pub(crate) struct ToldHere {
    /// Whom they were told to before.
    before: Option<Teller>,
    _of_this_thread: PhantomData<*const ()>,
}

impl Drop for ToldHere {
    fn drop(&mut self) {
        // Fails only while the thread is being torn down, when there is nobody to tell any more.
        let _ = HERE.try_with(|here| here.replace(self.before.take()));
    }
}

fn teller() -> Option<Teller> {
    let here = HERE.try_with(|here| here.try_borrow().ok()?.clone());
    here.ok().flatten().or_else(|| {
        TELLER
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    })
}

fn install() {
    static INSTALLED: Once = Once::new();
    // The hook cannot be changed by a thread that is panicking.
    if thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let next = std::panic::take_hook();
        let is_standard = is_standard(&*next);
        std::panic::set_hook(Box::new(move |info| {
            let told = tell(info);
            if !(told && is_standard) {
                next(info);
            }
        }));
    });
}

type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// Whether a hook just taken is the standard library's: taken again, it is that for sure.
fn is_standard(taken: &Hook) -> bool {
    let standard = std::panic::take_hook();
    // Of two hooks without state only the code differs.
    std::ptr::eq(taken, &*standard)
}

/// Writes the line. True when it need not be told in another way.
fn tell(info: &PanicHookInfo<'_>) -> bool {
    if LOOKING_UP.get() {
        return true;
    }
    let Some(teller) = teller() else {
        return false;
    };
    let Teller {
        logger, backtraces, ..
    } = teller;
    let backtrace = backtraces.then(Backtrace::force_capture);
    let (identity, spans) = surroundings();
    let thread = thread::current();
    logger.panic(&PanicLine {
        text: text(info.payload()),
        location: info.location(),
        thread: thread.name(),
        backtrace: backtrace.as_ref(),
        identity: identity.as_ref(),
        spans: &spans,
    });
    let caught = WATCHES.get() > 0 && !TOLD.replace(true) && cfg!(panic = "unwind");
    if !caught {
        // The process may be over before the sink's thread runs again.
        logger.flush(FLUSH);
    }
    logger.format().is_structured() && !teller.is_test
}

/// What a panic said, if it said it as the macros do.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}

thread_local! {
    static WATCHES: Cell<usize> = const { Cell::new(0) };
    /// Whether a panic was told since the outermost watch began: the second may be of a drop while the
    /// first unwinds, which aborts.
    static TOLD: Cell<bool> = const { Cell::new(false) };
    static LOOKING_UP: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread as inside something that catches panics, also while unwinding out of it: their lines need
/// not be waited for.
#[derive(Debug)]
pub(crate) struct Watch;

impl Watch {
    pub(crate) fn begin() -> Self {
        WATCHES.set(WATCHES.get() + 1);
        Self
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHES.set(WATCHES.get().saturating_sub(1));
        TOLD.set(false);
    }
}

/// The request, and the fields of the spans, that the panicking thread is in.
fn surroundings() -> (Option<SpanIdentity>, Vec<SpanFields>) {
    let span = Span::current();
    let (identity, spans) = if span.is_disabled() {
        Default::default()
    } else {
        look_up(span).unwrap_or_default()
    };
    (identity.or_else(SpanIdentity::of_request), spans)
}

/// Asks the spans on a thread of its own. This one may hold a lock of theirs, and a lock that is poisoned
/// panics: in a hook the one would last for ever and the other abort.
fn look_up(span: Span) -> Option<(Option<SpanIdentity>, Vec<SpanFields>)> {
    let (answer, answered) = sync_channel(1);
    let work = move || {
        LOOKING_UP.set(true);
        if let Some(found) = around(&span) {
            // Nobody listens any more when the answer took too long.
            let _ = answer.send(found);
        }
    };
    let name = "bellwether-panic".to_owned();
    let _detached = thread::Builder::new().name(name).spawn(work).ok()?;
    answered.recv_timeout(LOOK_UP).ok()
}

fn around(span: &Span) -> Option<(Option<SpanIdentity>, Vec<SpanFields>)> {
    span.with_subscriber(|(id, dispatch)| {
        let scope = dispatch.downcast_ref::<Registry>()?.span(id)?.scope();
        let mut identity = None;
        let mut fields = Vec::new();
        for span in scope.take(MAX_SPANS) {
            let extensions = span.extensions();
            if let Some(carried) = extensions.get::<Carried>() {
                identity = identity.or_else(|| carried.identity().cloned());
                fields.push(carried.fields.written().clone());
            }
        }
        Some((identity, fields))
    })?
}
