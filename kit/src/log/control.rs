//! What may be printed, what is recorded, and what comes too often: the filter in force, changed while the
//! service runs. Made by `kit`, asked by `filter` and `events` for each event.
//!
//! What the filters say of a call site is kept with it ([`sites`](super::sites)), so an event costs one
//! look-up. A change of the filter has `tracing` ask for every call site anew.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::clock::{self, since_epoch};
use super::flood::Floods;
use super::format::{Head, Message};
use super::logger::TARGET;
use super::recorder::{Recorder, RecorderConfig};
use super::sites::{CallSites, Site};
use super::timer::{Next, Timer};
use super::value::Value;
use super::{Logger, events, records};

/// The longest that a filter of the moment may be in force.
pub(crate) const MAX_FILTER_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The filters were asked.
const KNOWN: u8 = 1;
/// The filter in force lets the call site through, wherever it is.
const PRINTED: u8 = 2;
/// It may, by the fields of the spans around it.
const ASK: u8 = 4;
/// Recorded when it is not printed.
const RECORDED: u8 = 8;
/// Held back when it comes too often.
const LIMITED: u8 = 16;

/// What the log does with what it is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogControl {
    /// As `RUST_LOG` is written.
    pub(crate) filter: String,
    pub(crate) recorder: Option<RecorderConfig>,
    /// Lines that a call site may write in a second.
    pub(crate) rate_limit: Option<u32>,
}

/// The log's control; shared by the filter, the layer and the kit.
#[derive(Debug)]
pub(crate) struct Control {
    logger: Logger,
    configured: String,
    printed: ArcSwap<Printed>,
    /// Whether that filter may look at spans' names or values: then it must hear of every span. Beside it, since
    /// every span asks, several times, and hardly any filter does.
    watches_spans: AtomicBool,
    /// Until when the filter in force is; `None`: it is the configured one, or without end. Held through
    /// each change, so that changes come one after the other.
    until: Mutex<Option<Instant>>,
    recorder: Option<Arc<Recorder>>,
    floods: Option<Floods>,
    sites: CallSites,
    timer: Timer,
}

/// The filter in force.
#[derive(Debug)]
pub(super) struct Printed {
    text: String,
    pub(super) filter: EnvFilter,
}

/// The filter in force, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilterReport {
    pub(crate) filter: String,
    pub(crate) configured: String,
    pub(crate) expires_in: Option<Duration>,
}

/// What is done with an event.
pub(super) enum Verdict<'a> {
    /// The time, since 1970.
    Print(Duration),
    Record(&'a Arc<Recorder>),
    Nothing,
}

impl Control {
    /// Starts the thread that ends what lasts for a time only.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(logger: &Logger, config: LogControl) -> io::Result<Arc<Self>> {
        let counts = logger.counts();
        let recorder = |config| Arc::new(Recorder::new(config, Arc::clone(counts)));
        let control = Arc::new(Self {
            logger: logger.clone(),
            watches_spans: AtomicBool::new(watches_spans(&config.filter)),
            printed: ArcSwap::from_pointee(Printed::new(
                EnvFilter::new(&*with_ours(&config.filter)),
                config.filter.clone(),
            )),
            configured: config.filter,
            until: Mutex::default(),
            recorder: config.recorder.map(recorder),
            floods: config
                .rate_limit
                .map(|limit| Floods::new(limit, Arc::clone(counts))),
            sites: CallSites::default(),
            timer: Timer::default(),
        });
        let weak = Arc::downgrade(&control);
        control.timer.start(move || match weak.upgrade() {
            Some(control) => {
                control.tick();
                Next::Wait
            }
            None => Next::End,
        })?;
        Ok(control)
    }

    /// The logger that all of it goes to.
    pub(super) fn logger(&self) -> &Logger {
        &self.logger
    }

    /// Puts another filter in force, for a time or until the next change; `None` the configured one.
    ///
    /// # Errors
    /// What is wrong with the filter or the time.
    pub(crate) fn set_filter(
        &self,
        filter: Option<&str>,
        time: Option<Duration>,
    ) -> Result<(), String> {
        let text = filter.map_or(&*self.configured, str::trim);
        let parsed = match filter {
            Some(_) => parse(text)?,
            None => EnvFilter::new(&*with_ours(text)),
        };
        let allowed = Duration::from_secs(1)..=MAX_FILTER_TIME;
        if let Some(time) = time.filter(|time| !allowed.contains(time)) {
            return Err(format!(
                "{} seconds: a filter is in force for 1 to {} seconds",
                time.as_secs_f64(),
                MAX_FILTER_TIME.as_secs()
            ));
        }
        let mut until = self.until();
        *until = filter.and(time).map(|time| Instant::now() + time);
        if let Some(until) = *until {
            self.timer.at(until);
        }
        let time = filter.and(time);
        self.put_in_force(Printed::new(parsed, text.to_owned()), time, "changed");
        Ok(())
    }

    /// The filter in force.
    pub(crate) fn filter(&self) -> FilterReport {
        let until = self.until();
        FilterReport {
            filter: self.printed.load().text.clone(),
            configured: self.configured.clone(),
            expires_in: until.map(|until| until.saturating_duration_since(Instant::now())),
        }
    }

    /// Tells of every line that was held back, without waiting for the end of its second.
    pub(crate) fn tell_floods(&self) {
        if let Some(floods) = &self.floods {
            floods.tell(&self.logger, &self.sites);
        }
    }

    fn tick(&self) {
        self.tell_floods();
        let mut until = self.until();
        match *until {
            Some(due) if due <= Instant::now() => {
                *until = None;
                let configured = self.configured.clone();
                let filter = EnvFilter::new(&*with_ours(&configured));
                self.put_in_force(Printed::new(filter, configured), None, "expired");
            }
            // The timer remembers only what is due next.
            Some(due) => self.timer.at(due),
            None => {}
        }
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called with `until` locked.
    fn put_in_force(&self, printed: Printed, time: Option<Duration>, reason: &str) {
        let text = printed.text.clone();
        let old = self.printed.swap(Arc::new(printed));
        self.watches_spans
            .store(watches_spans(&text), Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
        records::follow_filter(self.printed_level());
        let head = Head {
            at: clock::now(),
            level: Level::WARN,
            target: TARGET,
            message: Message::Text("the log filter has changed"),
            ids: None,
        };
        // Written directly: whoever audits the log sees it whatever the filter.
        self.logger.write(&head, |line| {
            line.field("reason", &Value::Text(reason));
            line.field("filter.old", &Value::Text(&old.text));
            line.field("filter.new", &Value::Text(&text));
            line.field("filter.configured", &Value::Text(&self.configured));
            if let Some(time) = time {
                line.field("expires_in_seconds", &Value::Seconds(time));
            }
        });
    }

    /// The filter in force, for the spans that it may look at.
    pub(super) fn printed(&self) -> arc_swap::Guard<Arc<Printed>> {
        self.printed.load()
    }

    /// Whether the filter in force must hear of every span.
    pub(super) fn watches_spans(&self) -> bool {
        self.watches_spans.load(Ordering::Relaxed)
    }

    /// The most verbose level that anything is printed or recorded of.
    pub(super) fn max_level(&self) -> LevelFilter {
        let printed = self.printed_level();
        match &self.recorder {
            Some(recorder) if printed != LevelFilter::OFF => printed.max(recorder.max_level()),
            _ => printed,
        }
    }

    /// The most verbose level that anything is printed of.
    pub(crate) fn printed_level(&self) -> LevelFilter {
        let hint = self.printed.load().filter.max_level_hint();
        hint.unwrap_or(LevelFilter::TRACE)
    }

    /// Asks the filters of a call site, and keeps the answer with it.
    pub(super) fn register(&self, metadata: &'static Metadata<'static>) -> Interest {
        let verdict = self.judge(metadata);
        let shown = verdict & (PRINTED | ASK | RECORDED) != 0;
        // Those that nobody wants to see need no place.
        let site = if shown {
            self.sites.find_or_insert(metadata)
        } else {
            self.sites.find(metadata)
        };
        if let Some(site) = site {
            site.set_verdict(verdict);
        }
        // Recorded events do not ask first whether there is a request: nearly always there is.
        if verdict & PRINTED != 0 || verdict & (RECORDED | ASK) == RECORDED {
            Interest::always()
        } else if shown {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn judge(&self, metadata: &'static Metadata<'static>) -> u8 {
        let printed = self.printed.load();
        let interest = Layer::<Registry>::register_callsite(&printed.filter, metadata);
        let mut verdict = KNOWN;
        if interest.is_always() {
            verdict |= PRINTED;
        } else if interest.is_sometimes() {
            verdict |= ASK;
        }
        if metadata.is_event() && !is_ours(metadata.target()) {
            if self.floods.is_some() {
                verdict |= LIMITED;
            }
            if verdict & PRINTED == 0 && self.records(metadata) {
                verdict |= RECORDED;
            }
        }
        verdict
    }

    fn records(&self, metadata: &Metadata<'_>) -> bool {
        let wants = |recorder: &Arc<Recorder>| recorder.wants(metadata.target(), *metadata.level());
        metadata.is_event()
            && !records::is_record(metadata)
            && !is_ours(metadata.target())
            && self.recorder.as_ref().is_some_and(wants)
            // Who hides everything wants nothing of it later either.
            && self.printed_level() != LevelFilter::OFF
    }

    /// Whether a span or an event is printed or, for an event of a request, recorded.
    pub(super) fn enabled<S>(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let verdict = self.sites.find(metadata).map_or(0, Site::verdict);
        if verdict & PRINTED != 0 {
            return true;
        }
        // Without a place, or with metadata that are made for one question.
        let unknown = verdict & KNOWN == 0;
        if (unknown || verdict & ASK != 0) && self.is_printed(metadata, context) {
            return true;
        }
        let recorded = verdict & RECORDED != 0 || unknown && self.records(metadata);
        recorded && events::may_be_in_request(context)
    }

    /// What to do with an event that [`enabled`](Self::enabled) or its call site's interest let through.
    pub(super) fn verdict<S>(
        &self,
        event: &Event<'_>,
        at: SystemTime,
        context: &Context<'_, S>,
    ) -> Verdict<'_>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        if let Some(record) = records::metadata(event) {
            // All records of a level share one call site, so its verdict says nothing of any of them.
            return if self.is_printed(&record, context) {
                Verdict::Print(since_epoch(at))
            } else {
                Verdict::Nothing
            };
        }
        let metadata = event.metadata();
        let site = match self.sites.find(metadata) {
            Some(site) if site.verdict() & KNOWN != 0 => Some(site),
            _ => {
                self.register(metadata);
                self.sites.find(metadata)
            }
        };
        let verdict = site.map_or_else(|| self.judge(metadata), Site::verdict);
        let printed =
            verdict & PRINTED != 0 || verdict & ASK != 0 && self.is_printed(metadata, context);
        if !printed {
            return match &self.recorder {
                Some(recorder) if verdict & RECORDED != 0 => Verdict::Record(recorder),
                _ => Verdict::Nothing,
            };
        }
        let at = since_epoch(at);
        match (site, &self.floods) {
            (Some(site), Some(floods)) if verdict & LIMITED != 0 => {
                if floods.admit(site, at) {
                    return Verdict::Print(at);
                }
                if let Some(due) = floods.hold_back(site, event, at) {
                    self.timer.at(due);
                }
                Verdict::Nothing
            }
            _ => Verdict::Print(at),
        }
    }

    fn is_printed<S>(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        self.printed
            .load()
            .filter
            .enabled(metadata, context.clone())
    }
}

#[cfg(test)]
impl Control {
    /// What the requests have taken of the recorder's total.
    pub(super) fn recorded_bytes(&self) -> usize {
        self.recorder
            .as_ref()
            .map_or(0, |recorder| recorder.charged())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.tell_floods();
    }
}

impl Printed {
    fn new(filter: EnvFilter, text: String) -> Self {
        Self { text, filter }
    }
}

/// Only a directive in brackets names spans or their values; some others do, too.
fn watches_spans(filter: &str) -> bool {
    filter.contains('[')
}

/// A filter as `RUST_LOG` is written; what is wrong with it when it cannot be read. Field values are compared
/// as they are: patterns may take memory without bound, and this comes from outside.
fn parse(text: &str) -> Result<EnvFilter, String> {
    if text.is_empty() {
        return Err("an empty filter would hide everything but errors".to_owned());
    }
    EnvFilter::builder()
        .with_regex(false)
        .parse(&*with_ours(text))
        .map_err(|error| format!("{text:?}: {error}"))
}

/// A filter that names targets alone, such as `shop=debug`, says nothing of the kit: its lines, those of requests
/// above all, are shown from `info` on. One with a level for everything, or with a word on `bellwether`, is meant as it is.
fn with_ours(text: &str) -> Cow<'_, str> {
    let meant = |directive: &str| {
        directive.starts_with("bellwether")
            || directive.starts_with('[')
            || directive.parse::<LevelFilter>().is_ok()
    };
    let mut directives = text
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty());
    if directives.any(meant) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{text},bellwether=info"))
    }
}

/// The kit's own events are few, never recorded and never held back.
fn is_ours(target: &str) -> bool {
    target
        .strip_prefix("bellwether")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
