//! The protobuf wire format, read in place: tags, varints, lengths, skipping. Used by every file of `wire`.
//! Strict where prost is strict: a known field with another wire type is a fault, not an unknown field.

use super::WireError;

/// Deepest nesting of groups (and, in `json`, of values) that is read.
pub(super) const MAX_DEPTH: usize = 32;

const LONGEST_VARINT: usize = 10;

/// A position in a message. `bytes` starts where the request starts and ends where the message ends, so that
/// `position` is the offset that errors name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// The wire types that are in use, as the low three bits of a tag.
pub(super) mod wire_type {
    pub(in crate::wire) const VARINT: u32 = 0;
    pub(in crate::wire) const FIXED64: u32 = 1;
    pub(in crate::wire) const LEN: u32 = 2;
    pub(in crate::wire) const GROUP: u32 = 3;
    pub(in crate::wire) const END_GROUP: u32 = 4;
    pub(in crate::wire) const FIXED32: u32 = 5;
}

/// The tag of a length-delimited field.
pub(super) const fn len_tag(field: u32) -> u32 {
    field << 3 | wire_type::LEN
}

/// The tag of a varint field.
pub(super) const fn varint_tag(field: u32) -> u32 {
    field << 3 | wire_type::VARINT
}

/// The tag of a fixed64 (or double) field.
pub(super) const fn fixed64_tag(field: u32) -> u32 {
    field << 3 | wire_type::FIXED64
}

/// The tag of a fixed32 field.
pub(super) const fn fixed32_tag(field: u32) -> u32 {
    field << 3 | wire_type::FIXED32
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Offset of the next byte.
    #[inline]
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The bytes that are left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// The bytes between an earlier position and this one.
    pub(super) fn since(&self, earlier: usize) -> &'a [u8] {
        self.bytes.get(earlier..self.position).unwrap_or_default()
    }

    /// The next tag; `None` at the end of the message.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<Option<u32>, WireError> {
        match self.bytes.get(self.position) {
            None => Ok(None),
            // The whole tag in one byte: fields 1 to 15.
            Some(&byte @ 8..0x80) => {
                self.position += 1;
                Ok(Some(u32::from(byte)))
            }
            Some(_) => self.long_tag().map(Some),
        }
    }

    #[cold]
    fn long_tag(&mut self) -> Result<u32, WireError> {
        let at = self.position;
        match u32::try_from(self.varint()?) {
            Ok(tag) if tag >= 8 => Ok(tag),
            _ => Err(WireError::Tag { at }),
        }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        match self.bytes.get(self.position) {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let at = self.position;
        let mut value = 0;
        for (index, &byte) in self.rest().iter().take(LONGEST_VARINT).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                // The tenth byte has room for the 64th bit alone.
                if index + 1 == LONGEST_VARINT && byte > 1 {
                    return Err(WireError::Varint { at });
                }
                self.position += index + 1;
                return Ok(value);
            }
        }
        Err(if self.rest().len() < LONGEST_VARINT {
            WireError::Truncated { at }
        } else {
            WireError::Varint { at }
        })
    }

    #[inline]
    pub(super) fn fixed64(&mut self) -> Result<u64, WireError> {
        let at = self.position;
        let Some(&bytes) = self
            .bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk::<8>())
        else {
            return Err(WireError::Truncated { at });
        };
        self.position += 8;
        Ok(u64::from_le_bytes(bytes))
    }

    /// A length-delimited field's content as a message to read; moves past it.
    #[inline]
    pub(super) fn message(&mut self) -> Result<Self, WireError> {
        let at = self.position;
        let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let start = self.position;
        let Some(bytes) = start.checked_add(len).and_then(|end| self.bytes.get(..end)) else {
            return Err(WireError::Truncated { at });
        };
        self.position = bytes.len();
        Ok(Self {
            bytes,
            position: start,
        })
    }

    /// A length-delimited field's content.
    #[inline]
    pub(super) fn len_bytes(&mut self) -> Result<&'a [u8], WireError> {
        Ok(self.message()?.rest())
    }

    /// A length-delimited field's content as text.
    #[inline]
    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, WireError> {
        let at = self.position;
        std::str::from_utf8(self.len_bytes()?).map_err(|_| WireError::Utf8 { field, at })
    }

    /// Skips the field that `tag` began; faults when it is one of the `known` first field numbers, for then
    /// only its wire type can be wrong.
    pub(super) fn skip_unknown(&mut self, tag: u32, known: u32) -> Result<(), WireError> {
        if tag >> 3 <= known {
            return Err(WireError::WireType {
                field: tag >> 3,
                at: self.position,
            });
        }
        self.skip(tag, MAX_DEPTH)
    }

    /// Skips a varint whose wire type was checked.
    #[inline]
    pub(super) fn skip_varint(&mut self) -> Result<(), WireError> {
        self.varint().map(drop)
    }

    /// Skips a length-delimited field whose wire type was checked.
    #[inline]
    pub(super) fn skip_len(&mut self) -> Result<(), WireError> {
        self.message().map(drop)
    }

    /// Skips the field that `tag` began.
    pub(super) fn skip(&mut self, tag: u32, depth: usize) -> Result<(), WireError> {
        match tag & 7 {
            wire_type::VARINT => self.skip_varint(),
            wire_type::FIXED64 => self.fixed64().map(drop),
            wire_type::LEN => self.skip_len(),
            wire_type::GROUP => self.skip_group(tag >> 3, depth),
            wire_type::FIXED32 => self.skip_fixed32(),
            _ => Err(WireError::Tag { at: self.position }),
        }
    }

    pub(super) fn skip_fixed32(&mut self) -> Result<(), WireError> {
        if self.rest().len() < 4 {
            return Err(WireError::Truncated { at: self.position });
        }
        self.position += 4;
        Ok(())
    }

    fn skip_group(&mut self, field: u32, depth: usize) -> Result<(), WireError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(WireError::TooDeep { at: self.position });
        };
        loop {
            let at = self.position;
            let tag = self.tag()?.ok_or(WireError::Truncated { at })?;
            if tag & 7 != wire_type::END_GROUP {
                self.skip(tag, depth)?;
            } else if tag >> 3 == field {
                return Ok(());
            } else {
                return Err(WireError::Tag { at });
            }
        }
    }
}
