//! Names of services told apart by numbers: a question about dependencies meets the same few in every span. Called by
//! `links` and `call`.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::answer::{Full, Room};

/// A name, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Text(usize);

/// What a name takes beside its own bytes, about.
const ENTRY_BYTES: usize = 160;

#[derive(Default)]
pub(super) struct Texts {
    /// Each name as it was met and in lower case.
    known: HashMap<String, Text, RandomState>,
    texts: Vec<String>,
}

impl Texts {
    /// The number of `name`; `None` of an empty one.
    ///
    /// # Errors
    /// [`Full`]: it is a new one, and there are too many already.
    pub(super) fn find(&mut self, name: &str, room: &mut Room) -> Result<Option<Text>, Full> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(&text) = self.known.get(name) {
            return Ok(Some(text));
        }
        let lower = name.to_lowercase();
        let text = match self.known.get(&lower) {
            Some(&text) => text,
            None => {
                room.gather(2 * lower.len() + ENTRY_BYTES)?;
                let text = Text(self.texts.len());
                self.texts.push(lower.clone());
                self.known.insert(lower, text);
                text
            }
        };
        if !self.known.contains_key(name) {
            room.gather(name.len() + ENTRY_BYTES)?;
            self.known.insert(name.to_owned(), text);
        }
        Ok(Some(text))
    }

    /// A name by its number.
    pub(super) fn get(&self, Text(number): Text) -> &str {
        self.texts.get(number).map_or("", String::as_str)
    }
}
