//! Field names as the formats write them, each rendered once a thread. Used by `line` and `fields`.

use super::format::Format;
use crate::redact;

/// A field's name as a format writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// The user's name is one of the format's own: written `fields.NAME`.
    pub(super) renamed: bool,
    /// Which of the bits of a set of names is this one's.
    bit: u8,
}

impl Key {
    /// A user's `fields.level` is the same key as a user's `level`, since that is what it becomes.
    pub(super) fn new(format: Format, name: &'static str) -> Self {
        let name = format.own_name(name);
        let reserved = match name.strip_prefix("fields.") {
            Some(rest) if format.is_reserved(rest) => Some(rest),
            _ if format.is_reserved(name) => Some(name),
            _ => None,
        };
        let name = reserved.unwrap_or(name);
        Self {
            name,
            renamed: reserved.is_some(),
            bit: bit(name),
        }
    }

    pub(super) fn bits(self) -> Bits {
        1 << self.bit
    }
}

/// A set of names, of which each has one of the bits: names with different bits differ, so most need no comparison.
pub(super) type Bits = u128;

const fn bit(name: &str) -> u8 {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return 0;
    };
    let hash = first.wrapping_mul(5) ^ last.wrapping_mul(11) ^ (bytes.len() as u8).wrapping_mul(23);
    hash % Bits::BITS as u8
}

/// Names known when the kit is built, such as those that a format has itself.
pub(super) struct NameSet {
    names: &'static [&'static str],
    bits: Bits,
}

impl NameSet {
    pub(super) const fn new(names: &'static [&'static str]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < names.len() {
            bits |= 1 << bit(names[at]);
            at += 1;
        }
        Self { names, bits }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.bits & (1 << bit(name)) != 0 && self.names.contains(&name)
    }
}

/// How many names a thread remembers: one for each value of the byte that places them.
const PLACES: usize = 1 << u8::BITS;

/// A key with the bytes that stand before its value.
#[derive(Debug)]
pub(super) struct WrittenKey {
    pub(super) key: Key,
    pub(super) bytes: Vec<u8>,
    pub(super) care: Care,
    /// What was asked for.
    name: &'static str,
}

/// The keys that a thread wrote last, of the format that it wrote in.
#[derive(Debug, Default)]
pub(super) struct KeyCache(Option<WrittenKeys>);

impl KeyCache {
    /// The keys of `format`; those of another are forgotten, which hardly any process has.
    pub(super) fn of(&mut self, format: Format) -> &mut WrittenKeys {
        if self.0.as_ref().is_none_or(|keys| keys.format != format) {
            self.0 = Some(WrittenKeys::new(format));
        }
        self.0.get_or_insert_with(|| WrittenKeys::new(format))
    }
}

/// Keys of one format. Names are static, so where one lies in memory says which it is: it need not be escaped, or
/// looked for among the reserved and the secret ones, again.
#[derive(Debug)]
pub(super) struct WrittenKeys {
    pub(super) format: Format,
    /// Each name has one place; of those that share it the last one is remembered.
    places: Box<[Option<WrittenKey>; PLACES]>,
}

impl WrittenKeys {
    #[cold]
    fn new(format: Format) -> Self {
        Self {
            format,
            places: Box::new([const { None }; PLACES]),
        }
    }

    #[inline]
    pub(super) fn get(&mut self, name: &'static str) -> &WrittenKey {
        let place = &mut self.places[usize::from(place(name))];
        if !place.as_ref().is_some_and(|key| key.is(name)) {
            *place = None;
        }
        place.get_or_insert_with(|| WrittenKey::new(self.format, name))
    }
}

/// What becomes of the secrets among a name's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// All values are secrets: none is written.
    Hidden,
    /// Secrets within texts are taken out.
    Searched,
    /// The kit writes all values itself, and none is anybody's text.
    Harmless,
}

impl WrittenKey {
    /// For values that the kit makes itself: numbers, and words of its own.
    pub(super) fn harmless(format: Format, name: &'static str) -> Self {
        Self {
            care: Care::Harmless,
            ..Self::new(format, name)
        }
    }

    #[cold]
    pub(super) fn new(format: Format, name: &'static str) -> Self {
        let key = Key::new(format, name);
        let mut bytes = Vec::new();
        format.key(&mut bytes, key);
        Self {
            key,
            bytes,
            care: if redact::is_secret(name) {
                Care::Hidden
            } else {
                Care::Searched
            },
            name,
        }
    }

    fn is(&self, name: &'static str) -> bool {
        std::ptr::eq(self.name, name)
    }
}

fn place(name: &'static str) -> u8 {
    let address = name.as_ptr().addr();
    (address ^ (address >> u8::BITS) ^ name.len()) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_share_a_place_are_told_apart() {
        let mut cache = KeyCache::default();
        let names: Vec<&'static str> = (0..1000)
            .map(|number| &*format!("key{number}").leak())
            .collect();
        for name in names.iter().chain(&names) {
            for format in [Format::Json, Format::Pretty { ansi: false }] {
                let written = cache.of(format).get(name);
                let text = std::str::from_utf8(&written.bytes).unwrap();
                let expected = match format {
                    Format::Pretty { .. } => format!(" {name}="),
                    _ => format!(",\"{name}\":"),
                };
                assert_eq!((text, written.key.name), (&*expected, *name));
            }
        }
    }

    #[test]
    fn a_name_inside_another_is_another() {
        let whole: &'static str = "abc";
        let mut cache = KeyCache::default();
        for name in [whole, &whole[..2], &whole[..1], &whole[1..]] {
            assert_eq!(cache.of(Format::Json).get(name).key.name, name);
        }
    }
}
