//! Floods of lines from one call site: beyond a number a second they are held back, counted, and told of in
//! one line. Used by `control`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Event, Metadata};

use super::Logger;
use super::clock;
use super::format::{Head, Message, push_text};
use super::logger::Counts;
use super::sites::{CallSites, Site};
use super::value::Value;

/// How much of a message is told, in bytes.
const MAX_MESSAGE_BYTES: usize = 512;

/// The limit, and who went beyond it.
#[derive(Debug)]
pub(super) struct Floods {
    limit: u32,
    counts: Arc<Counts>,
    /// At most one for each call site that has a place.
    untold: Mutex<Vec<Flood>>,
}

/// A call site with lines held back; its site counts them.
#[derive(Debug)]
struct Flood {
    metadata: &'static Metadata<'static>,
    /// Of the first line held back.
    message: String,
}

impl Floods {
    pub(super) fn new(limit: u32, counts: Arc<Counts>) -> Self {
        Self {
            limit,
            counts,
            untold: Mutex::default(),
        }
    }

    /// Whether a line of the call site may be written now.
    pub(super) fn admit(&self, site: &Site, since_epoch: Duration) -> bool {
        // Seconds are told apart by their lower half: the next one alike is 136 years away.
        site.admit(self.limit, since_epoch.as_secs() as u32)
    }

    /// Counts a line that is not written. Gives when to [`tell`](Self::tell) if nobody was to tell yet: at
    /// the end of the second.
    pub(super) fn hold_back(
        &self,
        site: &Site,
        event: &Event<'_>,
        since_epoch: Duration,
    ) -> Option<Instant> {
        self.counts.rate_limited();
        if !site.suppress() {
            return None;
        }
        let flood = Flood {
            metadata: event.metadata(),
            message: message(event),
        };
        self.untold().push(flood);
        let passed = Duration::from_nanos(since_epoch.subsec_nanos().into());
        Some(Instant::now() + (Duration::from_secs(1) - passed))
    }

    /// Writes a line for each call site with lines held back.
    pub(super) fn tell(&self, logger: &Logger, sites: &CallSites) {
        let untold = std::mem::take(&mut *self.untold());
        for flood in untold {
            let repeated = sites.find(flood.metadata).map_or(0, Site::take_repeated);
            if repeated > 0 {
                flood.tell(logger, repeated);
            }
        }
    }

    fn untold(&self) -> MutexGuard<'_, Vec<Flood>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flood {
    fn tell(&self, logger: &Logger, repeated: u32) {
        let metadata = self.metadata;
        let text = format!("repeated {repeated} times: {}", self.message);
        let head = Head {
            at: clock::now(),
            level: *metadata.level(),
            target: metadata.target(),
            message: Message::Text(&text),
            ids: None,
        };
        logger.write(&head, |line| {
            line.field("repeated", &Value::U64(repeated.into()));
            if let Some(file) = metadata.file() {
                line.field("code.file.path", &Value::Text(file));
            }
            if let Some(number) = metadata.line() {
                line.field("code.line.number", &Value::U64(number.into()));
            }
        });
    }
}

/// The beginning of an event's message.
fn message(event: &Event<'_>) -> String {
    let mut beginning = Vec::new();
    Message::Event(event).unredacted(|message| {
        push_text(&mut beginning, MAX_MESSAGE_BYTES, |out| message.write(out));
    });
    String::from_utf8(beginning).unwrap_or_default()
}
