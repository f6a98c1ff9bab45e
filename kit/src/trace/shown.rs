//! What a span shows of itself outside: its attributes as plain values, without secrets. Every span that leaves comes
//! by here, on the exporter's thread only, so it costs no request anything.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use super::record::{SpanRecord, SpanStatus, ValueRef};
use crate::redact::{self, REDACTED};

/// The value of an attribute as it may be seen.
#[derive(Debug)]
pub(super) enum Shown<'a> {
    Text(Cow<'a, str>),
    Texts(Vec<Cow<'a, str>>),
    Address(IpAddr),
    Int(i64),
    Float(f64),
    Bool(bool),
}

/// Which attribute names are secrets'. A name is looked at once: names are static, so where it lies tells which it is.
#[derive(Debug, Default)]
pub(super) struct SecretNames(HashMap<(usize, usize), bool, foldhash::fast::RandomState>);

/// No program has so many names; a bound, should one make them up.
const MAX_NAMES: usize = 4_096;

impl SecretNames {
    fn hold(&mut self, name: &'static str) -> bool {
        let place = (name.as_ptr().addr(), name.len());
        if let Some(known) = self.0.get(&place) {
            return *known;
        }
        let secret = redact::is_secret(name);
        if self.0.len() < MAX_NAMES {
            self.0.insert(place, secret);
        }
        secret
    }
}

/// Calls `put` with each attribute of a span, in their order.
pub(super) fn attributes(
    record: &SpanRecord,
    secret: &mut SecretNames,
    put: &mut dyn FnMut(&'static str, Shown<'_>),
) {
    let attributes = &record.attributes;
    attributes.each(&mut |name, value| put(name, shown(name, value, secret)));
}

/// Why the span failed; `None` when it did not.
pub(super) fn error(record: &SpanRecord) -> Option<Cow<'_, str>> {
    match &record.status {
        SpanStatus::Unset => None,
        SpanStatus::Error(description) => Some(clean(Cow::Borrowed(description))),
    }
}

/// The value, unless its name is a secret's; a boolean (`has_password`) gives nothing away.
fn shown<'a>(name: &'static str, value: ValueRef<'a>, secret: &mut SecretNames) -> Shown<'a> {
    match value {
        ValueRef::Bool(flag) => Shown::Bool(flag),
        _ if secret.hold(name) => Shown::Text(Cow::Borrowed(REDACTED)),
        ValueRef::Word(word) => Shown::Text(Cow::Borrowed(word)),
        ValueRef::Text(text) => text_of(text),
        ValueRef::Texts(texts) => {
            let texts = texts.iter().map(|text| clean(Cow::Borrowed(text)));
            Shown::Texts(texts.collect())
        }
        ValueRef::Bytes(text) => Shown::Text(clean(lossy(text))),
        ValueRef::Address(address) => Shown::Address(address),
        ValueRef::Int(number) => Shown::Int(number),
        ValueRef::Float(number) => Shown::Float(number),
    }
}

fn text_of(text: &str) -> Shown<'_> {
    Shown::Text(clean(Cow::Borrowed(text)))
}

fn clean(text: Cow<'_, str>) -> Cow<'_, str> {
    match redact::in_text(&text) {
        Some(clean) => Cow::Owned(clean),
        None => text,
    }
}

/// Checked before it is replaced: nearly all is valid, and a check of the whole is the faster one.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_by_where_it_lies_and_how_long_it_is() {
        const NAME: &str = "user.tokens";
        let mut secret = SecretNames::default();
        for _ in 0..2 {
            assert!(!secret.hold(NAME));
            assert!(secret.hold(&NAME[..10]), "user.token");
            assert!(secret.hold(&NAME[5..10]), "token");
            assert!(!secret.hold(&NAME[..4]), "user");
        }
    }

    #[test]
    fn names_without_end_are_not_kept_but_judged() {
        const WORDS: &str = "token, secret and password, each of which stands in here, among many more words that give \
                             nothing away at all";
        let mut secret = SecretNames::default();
        for start in 0..WORDS.len() {
            for end in start..WORDS.len() {
                secret.hold(&WORDS[start..end]);
            }
        }
        assert_eq!(secret.0.len(), MAX_NAMES);
        assert!(secret.hold("bearer") && !secret.hold("bear"));
    }
}
