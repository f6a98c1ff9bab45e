//! The items of a request, each with the messages around it, found in the bytes of any signal. Read by `split`.

use crate::net::proto::{Fields, Value, fields};
use crate::signal::Signal;

/// The fields in which the messages are that lead from a request to its items; the same for every signal down to the
/// scope, and data points are below their metric and its kind of data.
pub(super) type Levels = &'static [&'static [u32]];

pub(super) fn levels(signal: Signal) -> Levels {
    const IN_SCOPES: Levels = &[&[1], &[2], &[2]];
    match signal {
        Signal::Traces | Signal::Logs => IN_SCOPES,
        Signal::Metrics => &[&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]],
    }
}

/// Messages around an item, at the most: resource, scope, metric, its data.
pub(super) const MOST_AROUND: usize = 4;

/// A field that is a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) number: u32,
    pub(super) bytes: &'a [u8],
}

/// An item, and the messages around it, the outermost first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) around: [Message<'a>; MOST_AROUND],
    pub(super) item: Message<'a>,
}

/// The items of a request, in order.
pub(super) struct Items<'a> {
    levels: Levels,
    /// Messages that are being read, the outermost, which is the request, first.
    open: Vec<Fields<'a>>,
    around: [Message<'a>; MOST_AROUND],
}

impl<'a> Items<'a> {
    /// Those of `request`, whose items are so deep.
    pub(super) fn of(request: &'a [u8], levels: Levels) -> Self {
        Self {
            levels,
            open: vec![fields(request)],
            around: Default::default(),
        }
    }
}

impl Place<'_> {
    /// How many of the messages around two items are the same, from the outermost on.
    pub(super) fn shared(&self, other: Place<'_>) -> usize {
        let both = self.around.iter().zip(other.around);
        let same = both.take_while(|(own, other)| {
            own.number > 0 && std::ptr::eq(own.bytes.as_ptr(), other.bytes.as_ptr())
        });
        same.count()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Place<'a>;

    fn next(&mut self) -> Option<Place<'a>> {
        loop {
            let level = self.open.len().checked_sub(1)?;
            let wanted = self.levels.get(level)?;
            let Some(message) = self.open.last_mut()?.find_map(|field| match field {
                (number, Value::Bytes(bytes)) if wanted.contains(&number) => {
                    Some(Message { number, bytes })
                }
                _ => None,
            }) else {
                self.open.pop();
                continue;
            };
            if level + 1 == self.levels.len() {
                return Some(Place {
                    around: self.around,
                    item: message,
                });
            }
            *self.around.get_mut(level)? = message;
            self.open.push(fields(message.bytes));
        }
    }
}
