//! The names a line has, and a span's fields as finished bytes. Used by `line` and `span_values`.

use super::key::{Bits, Key, WrittenKeys};
use super::value::Value;

/// What one span's fields may take, in bytes of a line.
const MAX_SPAN_BYTES: usize = 32 * 1024;

/// The names that a line has so far.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: Vec<Key>,
    bits: Bits,
}

impl Keys {
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.bits = 0;
    }

    /// False when the line has the name already.
    pub(super) fn insert(&mut self, key: Key) -> bool {
        if self.contains(key) {
            return false;
        }
        self.keys.push(key);
        self.bits |= key.bits();
        true
    }

    fn contains(&self, key: Key) -> bool {
        self.bits & key.bits() != 0 && self.keys.iter().any(|known| known.name == key.name)
    }
}

/// A span's fields, each rendered once, when it was recorded; events copy the bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct SpanFields {
    /// The rendered fields, one behind the other.
    bytes: Vec<u8>,
    fields: Vec<Rendered>,
    bits: Bits,
    /// Values that did not fit.
    omitted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rendered {
    key: Key,
    /// Where in the bytes the field ends; it begins where the one before it ends.
    end: usize,
}

impl SpanFields {
    /// Without fields, with room for so many of which the values take `bytes`.
    pub(super) fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self {
            // Beside its value a field has its name, quotes and two more.
            bytes: Vec::with_capacity((bytes + fields * 24).min(MAX_SPAN_BYTES)),
            fields: Vec::with_capacity(fields),
            ..Self::default()
        }
    }

    /// Empty, with its memory kept.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.bits = 0;
        self.omitted = 0;
    }

    /// Bytes in use, with what it takes to keep them.
    pub(super) fn memory_used(&self) -> usize {
        self.bytes.len() + size_of_val(self.fields.as_slice())
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.fields.capacity() * size_of::<Rendered>()
    }

    /// Takes over the fields of a span farther out: those of names that are not here yet, as long as less
    /// than `limit` bytes are in use.
    pub(super) fn absorb(&mut self, farther: &Self, limit: usize) {
        self.omitted = self.omitted.saturating_add(farther.omitted);
        if self.bits & farther.bits == 0 && self.memory_used() + farther.memory_used() <= limit {
            let before = self.bytes.len();
            self.bytes.extend_from_slice(&farther.bytes);
            let moved = |field: &Rendered| Rendered {
                end: before + field.end,
                ..*field
            };
            self.fields.extend(farther.fields.iter().map(moved));
            self.bits |= farther.bits;
            return;
        }
        for (key, bytes) in farther.each() {
            if bytes.is_empty() || self.position(key).is_some() {
                continue;
            }
            if self.memory_used() + bytes.len() + size_of::<Rendered>() > limit {
                self.omitted = self.omitted.saturating_add(1);
                continue;
            }
            self.bytes.extend_from_slice(bytes);
            self.push(key);
        }
    }

    /// In bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(super) fn omitted(&self) -> u64 {
        self.omitted
    }

    /// All fields' bytes, when none of their names is among `keys`.
    pub(super) fn all_unless_known(&self, keys: &Keys) -> Option<&[u8]> {
        let known = |key: &Key| self.position(*key).is_some();
        let some_known = keys.bits & self.bits != 0 && keys.keys.iter().any(known);
        (!some_known).then_some(&*self.bytes)
    }

    /// Each field's key and bytes.
    pub(super) fn each(&self) -> impl Iterator<Item = (Key, &[u8])> {
        let mut start = 0;
        self.fields.iter().map(move |field| {
            let bytes = self.bytes.get(start..field.end).unwrap_or_default();
            start = field.end;
            (field.key, bytes)
        })
    }

    /// Renders a field of a span being created or recorded to; the first of a name counts.
    pub(super) fn add(&mut self, keys: &mut WrittenKeys, name: &'static str, value: &Value<'_>) {
        let format = keys.format;
        let written = keys.get(name);
        if self.position(written.key).is_some() {
            return;
        }
        if format.field(&mut self.bytes, written, value, MAX_SPAN_BYTES) {
            self.push(written.key);
        } else {
            self.omitted += 1;
        }
    }

    /// Takes over values recorded later: they replace those of the same name.
    pub(super) fn merge(&mut self, later: &Self) {
        self.omitted = self.omitted.saturating_add(later.omitted);
        for (key, bytes) in later.each() {
            let replaced = self.position(key);
            let room = MAX_SPAN_BYTES.saturating_sub(self.bytes.len());
            let freed = replaced.map_or(0, |at| self.range(at).len());
            let bytes = if bytes.len() <= room + freed {
                bytes
            } else {
                // The old value must go all the same: it no longer holds.
                self.omitted = self.omitted.saturating_add(1);
                &[]
            };
            match replaced {
                Some(at) => self.replace(at, bytes),
                None if bytes.is_empty() => {}
                None => {
                    self.bytes.extend_from_slice(bytes);
                    self.push(key);
                }
            }
        }
    }

    fn push(&mut self, key: Key) {
        self.bits |= key.bits();
        self.fields.push(Rendered {
            key,
            end: self.bytes.len(),
        });
    }

    fn replace(&mut self, at: usize, bytes: &[u8]) {
        let range = self.range(at);
        let (old, new) = (range.len(), bytes.len());
        self.bytes.splice(range, bytes.iter().copied());
        for field in self.fields.iter_mut().skip(at) {
            field.end = field.end + new - old;
        }
    }

    fn position(&self, key: Key) -> Option<usize> {
        if self.bits & key.bits() == 0 {
            return None;
        }
        self.fields
            .iter()
            .position(|field| field.key.name == key.name)
    }

    fn range(&self, at: usize) -> std::ops::Range<usize> {
        let end = |at: usize| self.fields.get(at).map_or(0, |field| field.end);
        at.checked_sub(1).map_or(0, end)..end(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::format::Format;
    use crate::log::key::KeyCache;

    fn shown(fields: &SpanFields) -> String {
        String::from_utf8(fields.bytes.clone()).unwrap()
    }

    fn recorded(fields: &[(&'static str, &str)]) -> SpanFields {
        let mut recorded = SpanFields::default();
        let mut cache = KeyCache::default();
        for (name, value) in fields {
            recorded.add(cache.of(Format::Json), name, &Value::Text(value));
        }
        recorded
    }

    #[test]
    fn a_later_value_replaces_and_a_new_one_appends() {
        let mut fields = recorded(&[("a", "1"), ("b", "2"), ("c", "3")]);
        fields.merge(&recorded(&[("b", "twenty"), ("d", "4")]));
        assert_eq!(shown(&fields), r#","a":"1","b":"twenty","c":"3","d":"4""#);
        fields.merge(&recorded(&[("b", ""), ("a", "one"), ("d", "four")]));
        assert_eq!(shown(&fields), r#","a":"one","b":"","c":"3","d":"four""#);
        let each: Vec<_> = fields
            .each()
            .map(|(key, bytes)| (key.name, bytes))
            .collect();
        assert_eq!(each[1], ("b", &br#","b":"""#[..]));
        assert_eq!(each[3], ("d", &br#","d":"four""#[..]));
    }

    #[test]
    fn reserved_names_and_their_renamed_selves_are_one_key() {
        let mut fields = recorded(&[("level", "1"), ("fields.level", "2"), ("fields.x", "3")]);
        assert_eq!(shown(&fields), r#","fields.level":"1","fields.x":"3""#);
        fields.merge(&recorded(&[("fields.level", "4")]));
        assert_eq!(shown(&fields), r#","fields.level":"4","fields.x":"3""#);
    }

    #[test]
    fn a_span_stays_within_its_bytes_and_counts_what_it_omits() {
        let long = "x".repeat(10_000);
        let mut fields = recorded(&[("a", &long), ("b", &long), ("c", &long), ("d", &long)]);
        for _ in 0..20 {
            fields.merge(&recorded(&[("e", &long), ("f", &long), ("g", "short")]));
        }
        assert!(fields.bytes.len() <= MAX_SPAN_BYTES);
        assert!(fields.omitted() > 0);
        assert!(shown(&fields).contains(r#""g":"short""#));
    }

    #[test]
    fn a_value_that_no_longer_fits_does_not_leave_the_old_one() {
        let long = "x".repeat(10_000);
        let mut fields = recorded(&[("a", "old"), ("b", &long), ("c", &long), ("d", &long)]);
        fields.merge(&recorded(&[("a", &long)]));
        assert!(!shown(&fields).contains("old"));
        assert_eq!(fields.omitted(), 1);
    }
}
