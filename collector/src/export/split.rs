//! Cuts one batch that is larger than a peer takes into requests of fewer items. Called by the worker; the only
//! place that builds OTLP anew, and rarely. One pass over the batch makes all its requests, each in memory of its own
//! size.

mod items;

use std::iter::Peekable;

use bytes::Bytes;

use items::{Items, Levels, MOST_AROUND, Place, levels};

use crate::net::proto::{Value, fields, put_bytes_field, put_head, put_varint_field};
use crate::signal::Signal;

/// Tag and length of one message, at the most.
const HEAD_BYTES: usize = 6;

/// How large a request may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes; an item that alone has more goes alone.
    pub(super) bytes: usize,
    /// Spans, log records or data points; at least one goes.
    pub(super) items: u64,
    /// Bytes of an item that goes alone.
    pub(super) item_bytes: usize,
}

/// A part of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A request of the batch's signal.
    Request {
        /// Its bytes, in pieces.
        pieces: Vec<Bytes>,
        /// Spans, log records or data points in it.
        items: u64,
    },
    /// Items that are not sent, since they or what would have to be repeated with them are too large.
    Unfit {
        /// How many.
        items: u64,
        /// Why.
        reason: String,
    },
}

/// The parts of one batch, in order.
pub(super) struct Parts<'a> {
    request: &'a Bytes,
    limits: Limits,
    levels: Levels,
    items: Peekable<Items<'a>>,
    /// The last item of the parts before.
    last: Option<Place<'a>>,
    envelopes: [Envelope<'a>; MOST_AROUND],
}

/// A message around items, without what it holds of them: every request repeats it.
#[derive(Default)]
struct Envelope<'a> {
    of: &'a [u8],
    /// Its bytes, as far as they fit a request.
    bytes: Vec<u8>,
    /// How many it has.
    length: usize,
}

impl<'a> Parts<'a> {
    /// The parts of `request`, which is of `signal`, from item number `from` on.
    pub(super) fn new(signal: Signal, request: &'a Bytes, from: u64, limits: Limits) -> Self {
        let levels = levels(signal);
        let mut items = Items::of(request, levels);
        let last = (0..from).map_while(|_| items.next()).last();
        Self {
            request,
            limits,
            levels,
            items: items.peekable(),
            last,
            envelopes: Default::default(),
        }
    }

    /// Puts at most so many items in a request from now on.
    pub(super) fn limit_items(&mut self, items: u64) {
        self.limits.items = items;
    }

    /// Measures what is around an item, once for all items in it.
    fn enter(&mut self, place: Place<'a>) {
        let below = self.levels.iter().skip(1);
        for ((envelope, message), below) in self.envelopes.iter_mut().zip(place.around).zip(below) {
            if !std::ptr::eq(envelope.of, message.bytes) {
                *envelope = Envelope::of(message.bytes, below, self.limits.bytes);
            }
        }
    }

    /// The items that cannot go since an envelope they share is too large for a request, or too large to be sent again
    /// with each few of them: from half a request on, more would be repeated than is new.
    fn unfit(&mut self, place: Place<'a>) -> Option<Part> {
        let most = self.limits.bytes;
        let shared = self.last.map_or(0, |last| last.shared(place));
        let mut length = 0;
        let depth = self
            .envelopes
            .iter()
            .enumerate()
            .find_map(|(level, envelope)| {
                length += envelope.length;
                let allowed = if level < shared { most / 2 } else { most };
                (length > allowed).then_some(level + 1)
            })?;
        let mut items = 0;
        while let Some(skipped) = self.items.next_if(|next| next.shared(place) >= depth) {
            self.last = Some(skipped);
            items += 1;
        }
        let reason = format!(
            "what is around these items, such as their resource and scope, has {length} bytes: too many to be sent with \
             each part of a batch that does not fit one request of {most} bytes"
        );
        Some(Part::Unfit { items, reason })
    }

    /// An item that alone is larger than a request should be: its own bytes are not copied.
    fn alone(&self, place: Place<'a>) -> Part {
        let (bytes, most) = (place.item.bytes.len(), self.limits.item_bytes);
        if bytes > most {
            let reason = format!("an item of {bytes} bytes; at most {most} are sent at once");
            return Part::Unfit { items: 1, reason };
        }
        let item_head = head(place.item.number, bytes);
        let mut length = item_head.len() + bytes;
        let around = place.around.iter().zip(&self.envelopes);
        let mut before: Vec<_> = around
            .filter(|(message, _)| message.number > 0)
            .rev()
            .map(|(message, envelope)| {
                let head = head(message.number, envelope.length + length);
                length += head.len() + envelope.length;
                [head, envelope.bytes.clone()].concat()
            })
            .collect();
        before.reverse();
        before.push(item_head);
        Part::Request {
            pieces: vec![
                before.concat().into(),
                self.request.slice_ref(place.item.bytes),
            ],
            items: 1,
        }
    }
}

impl Iterator for Parts<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let first = *self.items.peek()?;
        self.enter(first);
        if let Some(unfit) = self.unfit(first) {
            return Some(unfit);
        }
        let mut request = Request::default();
        while let Some(&place) = self.items.peek() {
            self.enter(place);
            let fits = request.length_with(place, &self.envelopes) <= self.limits.bytes;
            if request.items == 0 && !fits {
                self.items.next();
                self.last = Some(place);
                return Some(self.alone(place));
            }
            if request.items > 0 && (!fits || request.items >= self.limits.items) {
                break;
            }
            request.push(place, &self.envelopes);
            self.items.next();
        }
        self.last = request.last;
        Some(request.finish())
    }
}

impl<'a> Envelope<'a> {
    /// Of a message whose fields `inner` hold the items; at most `most` bytes of it are kept.
    fn of(of: &'a [u8], inner: &[u32], most: usize) -> Self {
        let mut envelope = Self {
            of,
            bytes: Vec::new(),
            length: 0,
        };
        let mut head = Vec::new();
        for (number, value) in fields(of) {
            head.clear();
            let content: &[u8] = match value {
                Value::Bytes(bytes) if !inner.contains(&number) => {
                    put_head(&mut head, number, bytes.len());
                    bytes
                }
                Value::Varint(value) => {
                    put_varint_field(&mut head, number, value);
                    &[]
                }
                Value::Bytes(_) | Value::Skipped => continue,
            };
            envelope.length += head.len() + content.len();
            if envelope.length <= most {
                envelope.bytes.extend_from_slice(&head);
                envelope.bytes.extend_from_slice(content);
            }
        }
        envelope
    }
}

/// A request under way. A message that is open in it has no head yet.
#[derive(Default)]
struct Request<'a> {
    bytes: Vec<u8>,
    items: u64,
    last: Option<Place<'a>>,
    /// The messages that are open, the outermost first: their field, and where they start.
    open: Vec<(u32, usize)>,
}

impl<'a> Request<'a> {
    fn shared(&self, place: Place<'a>) -> usize {
        self.last.map_or(0, |last| last.shared(place))
    }

    /// How long it is with one more item, at the most.
    fn length_with(&self, place: Place<'a>, envelopes: &[Envelope<'_>]) -> usize {
        let new = envelopes.iter().skip(self.shared(place));
        let around: usize = new.map(|envelope| envelope.length).sum();
        // Of the item and of everything around it, twice: what is open has no head yet.
        let heads = (2 * MOST_AROUND + 1) * HEAD_BYTES;
        self.bytes.len() + around + heads + place.item.bytes.len()
    }

    fn push(&mut self, place: Place<'a>, envelopes: &[Envelope<'_>]) {
        let shared = self.shared(place);
        self.close_down_to(shared);
        let around = place.around.iter().zip(envelopes).skip(shared);
        for (message, envelope) in around.filter(|(message, _)| message.number > 0) {
            self.open.push((message.number, self.bytes.len()));
            self.bytes.extend_from_slice(&envelope.bytes);
        }
        put_bytes_field(&mut self.bytes, place.item.number, place.item.bytes);
        self.items += 1;
        self.last = Some(place);
    }

    fn close_down_to(&mut self, depth: usize) {
        while self.open.len() > depth
            && let Some((number, start)) = self.open.pop()
        {
            let head = head(number, self.bytes.len() - start);
            self.bytes.splice(start..start, head);
        }
    }

    fn finish(mut self) -> Part {
        self.close_down_to(0);
        Part::Request {
            pieces: vec![self.bytes.into()],
            items: self.items,
        }
    }
}

fn head(number: u32, length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    put_head(&mut head, number, length);
    head
}

#[cfg(test)]
mod tests;
