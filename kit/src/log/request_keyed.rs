//! The closing line in any format: by that format's own keys. Used by `logger`, where `request_json` cannot write it.

use std::net::IpAddr;
use std::time::Duration;

use super::format::Format;
use super::key::{Care, WrittenKey};
use super::line::Line;
use super::request_line::{Fields, Name, Received, RouteText};
use super::value::Value;

/// The names as a format writes them, rendered once a logger; `None` where the format says it otherwise.
pub(super) struct Keys([Option<WrittenKey>; Name::ALL.len()]);

impl Keys {
    pub(super) fn new(format: Format) -> Self {
        let mut names = Name::ALL.iter();
        Self(std::array::from_fn(|_| {
            let name = *names.next()?;
            let key = if name.is_own() {
                WrittenKey::harmless
            } else {
                WrittenKey::new
            };
            let name = name.as_str();
            (!format.says_otherwise(name)).then(|| key(format, name))
        }))
    }

    /// Whether operators have one of the fields hidden.
    pub(super) fn hide_any(&self) -> bool {
        let mut keys = self.0.iter().flatten();
        keys.any(|key| key.care == Care::Hidden)
    }

    fn get(&self, name: Name) -> Option<&WrittenKey> {
        self.0.get(name as usize)?.as_ref()
    }
}

/// A line of any format, with the keys of that format.
pub(super) struct Keyed<'a, 'l> {
    pub(super) keys: &'a Keys,
    pub(super) line: &'a mut Line<'l>,
}

impl Keyed<'_, '_> {
    fn add(&mut self, name: Name, value: &Value<'_>) {
        if let Some(key) = self.keys.get(name) {
            self.line.unique_field(key, value);
        }
    }
}

impl Fields for Keyed<'_, '_> {
    fn word(&mut self, name: Name, word: &'static str) {
        self.add(name, &Value::Text(word));
    }

    fn text(&mut self, name: Name, text: &str) {
        self.add(name, &Value::Text(text));
    }

    fn route(&mut self, route: RouteText<'_>) {
        self.add(Name::Route, &Value::Text(route.path));
    }

    fn received(&mut self, name: Name, received: Received<'_>) {
        if let Some(text) = received.text() {
            self.add(name, &Value::Text(text));
        }
    }

    fn number(&mut self, name: Name, number: u64) {
        self.add(name, &Value::U64(number));
    }

    fn seconds(&mut self, name: Name, duration: Duration) {
        self.add(name, &Value::Seconds(duration));
    }

    fn address(&mut self, name: Name, address: IpAddr) {
        self.add(name, &Value::Address(address));
    }
}
