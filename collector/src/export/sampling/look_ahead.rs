//! Reads the log ahead of an exporter that samples whole traces, and says how far it may send: up to where every
//! trace's time is over. The log is the only buffer; here are a few marks in it. Used by `Sampler`.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::config::Tail;
use super::tail::{Traces, nanos};
use super::unwanted::Unwanted;
use crate::log::{Cursor, Record};
use crate::signal::Signal;
use crate::status::now_unix_nano;

/// Bytes read ahead at once: less than a request has, since it is held beside one.
const READ_BYTES: usize = 1024 * 1024;

/// Marks to one wait: a record is sent so much later than it might be, at most.
const MARKS: u32 = 32;

/// One exporter's.
#[derive(Debug)]
pub(super) struct LookAhead {
    scout: Cursor,
    wait: Duration,
    /// What was read and not sent yet, oldest first.
    marks: VecDeque<Mark>,
    /// The latest arrival that was read, Unix nanoseconds.
    read_to_unix_nano: u64,
    /// Traces in the index that stem from records that were sent.
    settled_traces: u64,
    /// The log is closed, and all of it was read.
    ended: bool,
    /// What may be sent, until it was: a decision is not taken back.
    due: Option<Due>,
}

/// Up to where the exporter may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The last record.
    pub(super) sequence: u64,
    /// Why its traces are decided before their time; `None` when they are not.
    pub(super) early: Option<Early>,
}

/// Why traces are decided early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// What waits takes half of what the log may hold.
    LogFills,
    /// Undecided traces take most of the index.
    IndexFills,
    /// The collector stops.
    Stopping,
}

/// Records that came within a short time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    last_sequence: u64,
    /// Of the first and the last record: Unix nanoseconds, and when they were read.
    first_unix_nano: u64,
    last_unix_nano: u64,
    first_read: Instant,
    last_read: Instant,
    /// Traces noted up to its end.
    traces: u64,
}

/// What to do next.
enum Step {
    Send(Due),
    Read,
    /// For a record, or until then.
    Wait(Option<Instant>),
}

impl LookAhead {
    /// Ahead of `cursor`, from where that is.
    pub(super) fn of(cursor: &Cursor, tail: &Tail) -> Self {
        Self {
            scout: cursor.scout(),
            wait: tail.decision_wait,
            marks: VecDeque::new(),
            read_to_unix_nano: 0,
            settled_traces: 0,
            ended: false,
            due: None,
        }
    }

    /// Reads ahead into `traces` until something may be sent by `cursor`. `None` when everything may, since the log has
    /// ended. May be cancelled.
    pub(super) async fn due(
        &mut self,
        cursor: &Cursor,
        traces: &mut Traces,
        unwanted: Option<&Unwanted>,
    ) -> Option<Due> {
        loop {
            match self.step(cursor, traces) {
                Step::Send(due) => {
                    self.due = Some(due);
                    return self.due;
                }
                Step::Read => self.read(traces, unwanted).await,
                Step::Wait(_) if self.ended => return None,
                Step::Wait(until) => tokio::select! {
                    biased;
                    () = self.scout.ready() => self.read(traces, unwanted).await,
                    () = at(until) => {}
                },
            }
        }
    }

    /// Everything up to `sequence` was sent, or is gone.
    pub(super) fn settled(&mut self, sequence: u64) {
        while let Some(mark) = self.marks.front()
            && mark.last_sequence <= sequence
        {
            self.settled_traces = mark.traces;
            self.marks.pop_front();
        }
        self.due = self.due.filter(|due| due.sequence > sequence);
    }

    fn step(&self, cursor: &Cursor, traces: &Traces) -> Step {
        if let Some(due) = self.due {
            return Step::Send(due);
        }
        let Some(first) = self.marks.front() else {
            return if self.scout.has_more() {
                Step::Read
            } else {
                Step::Wait(None)
            };
        };
        let send = |early| {
            let sequence = first.last_sequence;
            Step::Send(Due { sequence, early })
        };
        let wait = nanos(self.wait);
        let over_unix_nano = first.last_unix_nano.saturating_add(wait);
        // All that came before the last of these traces is decided was read.
        if self.read_to_unix_nano >= over_unix_nano {
            return send(None);
        }
        if traces.index().is_short_of_room(self.settled_traces) {
            return send(Some(Early::IndexFills));
        }
        if self.scout.has_more() {
            return Step::Read;
        }
        // A clock that was set back must not make this longer than the wait.
        let left = over_unix_nano.saturating_sub(now_unix_nano());
        let over = (first.last_read + self.wait).min(Instant::now() + Duration::from_nanos(left));
        if over <= Instant::now() {
            send(None)
        } else if self.ended {
            send(Some(Early::Stopping))
        } else if cursor.is_pressed() {
            send(Some(Early::LogFills))
        } else {
            Step::Wait(Some(over))
        }
    }

    /// Not to be cancelled while the scout reads from a disk: it may hold what the sender needs.
    async fn read(&mut self, traces: &mut Traces, unwanted: Option<&Unwanted>) {
        let Some(records) = self.scout.next(READ_BYTES).await else {
            self.ended = true;
            return;
        };
        let mut noted = None;
        for record in &records {
            if record.signal == Signal::Traces {
                traces.note(record, unwanted);
            }
            self.mark(record, traces.index().inserted());
            noted = Some(record.sequence);
            // The others come again when there is room.
            if traces.index().is_short_of_room(self.settled_traces) {
                break;
            }
        }
        if let Some(sequence) = noted {
            self.scout.ack(sequence);
        }
    }

    fn mark(&mut self, record: &Record, traces: u64) {
        let now = Instant::now();
        let arrived = record.arrived_unix_nano;
        self.read_to_unix_nano = self.read_to_unix_nano.max(arrived);
        let span = self.wait / MARKS;
        match self.marks.back_mut() {
            Some(mark)
                if arrived < mark.first_unix_nano.saturating_add(nanos(span))
                    && now < mark.first_read + span =>
            {
                // Signals come apart, so that one of them may be ahead.
                mark.last_sequence = mark.last_sequence.max(record.sequence);
                mark.last_unix_nano = mark.last_unix_nano.max(arrived);
                mark.last_read = now;
                mark.traces = traces;
            }
            _ => self.marks.push_back(Mark {
                last_sequence: record.sequence,
                first_unix_nano: arrived,
                last_unix_nano: arrived,
                first_read: now,
                last_read: now,
                traces,
            }),
        }
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
