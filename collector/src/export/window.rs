//! The requests of one exporter that are under way at once, in the order of their records: however their answers come,
//! they are settled from the first one on. Kept by the worker.
//!
//! All of them are of one signal. Once one of them is not simply taken no more are begun; when the others have ended,
//! the worker goes on one by one from the first that was not taken, and [`Window::narrow`] tells it which records behind
//! that were taken already.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::outcome::Outcome;
use crate::log::Record;
use crate::net::rpc_status::PartialSuccess;
use crate::signal::Signal;

/// What a request comes to.
pub(super) type Answer = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One exporter's.
#[derive(Debug)]
pub(super) struct Window {
    most: usize,
    requests: VecDeque<Underway>,
    signal: Signal,
    /// Requests since nothing was under way.
    begun: usize,
    /// Records of other signals may lie between those that were begun: they are to have their turn.
    others_wait: bool,
    /// No more are to be begun before all of these have ended.
    closed: bool,
}

#[derive(Debug)]
struct Underway {
    last: u64,
    items: u64,
    bytes: u64,
    state: State,
}

enum State {
    Sent(Answer),
    Ended(Outcome),
}

/// A request that was taken, with all before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its last record.
    pub(super) last: u64,
    pub(super) items: u64,
    pub(super) partial: PartialSuccess,
}

impl Window {
    /// For at most so many requests at once.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            requests: VecDeque::new(),
            signal: Signal::default(),
            begun: 0,
            others_wait: false,
            closed: false,
        }
    }

    /// Begins anew, with requests of `signal`; nothing is under way.
    pub(super) fn open(&mut self, signal: Signal) {
        *self = Self {
            signal,
            ..Self::new(self.most)
        };
    }

    /// Lets what is under way end, and begins nothing more.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Notes a request that is made of `records`. It is sent by whoever waits with [`look`](Self::look) or
    /// [`change`](Self::change).
    pub(super) fn begin(&mut self, records: &[Record], answer: Answer) {
        self.push(records, State::Sent(answer));
    }

    /// Notes that a request of `records` came to nothing before it was sent.
    pub(super) fn begin_failed(&mut self, records: &[Record], outcome: Outcome) {
        self.push(records, State::Ended(outcome));
        self.closed = true;
    }

    fn push(&mut self, records: &[Record], state: State) {
        let Some(last) = records.last() else {
            return;
        };
        let before = self.requests.back().map(|request| request.last);
        let sequences = before.into_iter().chain(records.iter().map(|r| r.sequence));
        self.others_wait |= !is_consecutive(sequences);
        self.begun += 1;
        self.requests.push_back(Underway {
            last: last.sequence,
            items: records.iter().map(|record| record.items).sum(),
            bytes: records.iter().map(|record| record.bytes.len() as u64).sum(),
            state,
        });
    }

    /// Behind which record one more request may begin now.
    pub(super) fn room_behind(&self) -> Option<u64> {
        let others_turn = self.others_wait && self.begun >= self.most;
        let has_room = self.requests.len() < self.most && !self.closed && !others_turn;
        let last = self.requests.back().filter(|_| has_room)?;
        Some(last.last)
    }

    /// Bytes of records that are not settled.
    pub(super) fn bytes(&self) -> u64 {
        self.requests.iter().map(|request| request.bytes).sum()
    }

    /// Requests that are not answered.
    pub(super) fn under_way(&self) -> usize {
        let is_sent = |request: &&Underway| matches!(request.state, State::Sent(_));
        self.requests.iter().filter(is_sent).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Gives every request its turn, and does not wait for any. May be cancelled.
    pub(super) async fn look(&mut self) {
        std::future::poll_fn(|context| {
            self.poll(context);
            Poll::Ready(())
        })
        .await;
    }

    /// Waits until a request has ended. May be cancelled.
    pub(super) async fn change(&mut self) {
        std::future::poll_fn(|context| match self.poll(context) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Whether any has ended now.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        let mut ended = false;
        for request in &mut self.requests {
            if let State::Sent(answer) = &mut request.state
                && let Poll::Ready(outcome) = answer.as_mut().poll(context)
            {
                self.closed |= !matches!(outcome, Outcome::Taken(_));
                request.state = State::Ended(outcome);
                ended = true;
            }
        }
        ended
    }

    /// The first one, if it was taken: it is settled then.
    pub(super) fn pop_taken(&mut self) -> Option<Taken> {
        let Some(Underway {
            state: State::Ended(Outcome::Taken(partial)),
            last,
            items,
            ..
        }) = self.requests.front_mut()
        else {
            return None;
        };
        let taken = Taken {
            last: *last,
            items: *items,
            partial: std::mem::take(partial),
        };
        self.requests.pop_front();
        Some(taken)
    }

    /// What became of those that were not taken.
    pub(super) fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.requests
            .iter()
            .filter_map(|request| match &request.state {
                State::Ended(outcome) if !matches!(outcome, Outcome::Taken(_)) => Some(outcome),
                _ => None,
            })
    }

    /// Cuts `records`, which come again, down to those of the first request that is not settled. What the peer said if it
    /// took that one: they are settled then. Nothing is under way.
    pub(super) fn narrow(
        &mut self,
        signal: Signal,
        records: &mut Vec<Record>,
    ) -> Option<PartialSuccess> {
        let first = records.first().map(|record| record.sequence)?;
        if signal != self.signal {
            return None;
        }
        while self
            .requests
            .front()
            .is_some_and(|request| request.last < first)
        {
            self.requests.pop_front();
        }
        let request = self.requests.front_mut()?;
        records.retain(|record| record.sequence <= request.last);
        match &mut request.state {
            // Told once, even if the records come in two parts.
            State::Ended(Outcome::Taken(partial)) => Some(std::mem::take(partial)),
            _ => None,
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(_) => f.write_str("Sent"),
            Self::Ended(outcome) => f.debug_tuple("Ended").field(outcome).finish(),
        }
    }
}

/// Whether each number is the next one after that before it.
fn is_consecutive(numbers: impl Iterator<Item = u64>) -> bool {
    let mut before: Option<u64> = None;
    numbers.into_iter().all(|number| {
        let follows = before.is_none_or(|before| before.checked_add(1) == Some(number));
        before = Some(number);
        follows
    })
}
