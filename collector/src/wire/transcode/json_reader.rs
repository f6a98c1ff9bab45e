//! Reads JSON (RFC 8259) piece by piece: texts borrow from the body, nothing is kept, nesting is bounded. Used by the
//! JSON transcoders. Its own and not serde's, because a visitor for each message would be several times the code, and
//! because a fault is to be told with its place; a test compares it with serde_json.

use std::borrow::Cow;
use std::str::FromStr;

use super::json_number::{exact, finite, number_length};
use super::json_text::{escape, plain_length, shown};

/// Deepest nesting of objects and arrays. What OTLP may nest is bounded far lower, by `otlp_json`.
pub(super) const MAX_DEPTH: usize = 192;

/// Longest text that is copied to take its escapes out where no buffer is there for it: names of members, ids and the
/// like. A few of them are held at a time.
const MAX_COPIED_BYTES: usize = 1 << 18;

/// Where and why a body is not what it should be.
#[derive(Debug)]
pub(super) struct JsonError {
    /// Offset of the byte that was not expected.
    pub(super) at: usize,
    /// What is wrong with it.
    pub(super) reason: Cow<'static, str>,
}

pub(super) type JsonResult<T> = Result<T, JsonError>;

/// A position in a JSON text.
#[derive(Debug)]
pub(super) struct JsonReader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> JsonReader<'a> {
    /// Starts at the beginning of `text`, after a byte order mark if it has one.
    pub(super) fn new(text: &'a str) -> Self {
        let mark = '\u{feff}';
        Self {
            text,
            at: if text.starts_with(mark) {
                mark.len_utf8()
            } else {
                0
            },
            depth: 0,
        }
    }

    /// Offset of what comes next, past white space.
    pub(super) fn position(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// A fault at the next byte.
    pub(super) fn fault(&self, reason: impl Into<Cow<'static, str>>) -> JsonError {
        JsonError {
            at: self.at,
            reason: reason.into(),
        }
    }

    /// The first byte of what comes next, past white space; `None` at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        match self.text.as_bytes().get(self.at) {
            Some(&byte) if byte > b' ' => Some(byte),
            _ => self.peek_past_space(),
        }
    }

    fn peek_past_space(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Calls `member` for each member of an object that is not null, with its name; `member` reads its value.
    #[inline]
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> JsonResult<()>,
    ) -> JsonResult<()> {
        self.members(|json, name| {
            if json.null()? {
                return Ok(());
            }
            member(json, name)
        })
    }

    /// As [`object`](Self::object), with the members that are null.
    #[inline]
    pub(super) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> JsonResult<()>,
    ) -> JsonResult<()> {
        self.entries(b'{', b'}', |json| {
            let name = json.string()?;
            json.colon()?;
            member(json, name)
        })
    }

    /// Reads what stands between a name and its value.
    #[inline]
    pub(super) fn colon(&mut self) -> JsonResult<()> {
        if self.take(b':') {
            Ok(())
        } else {
            Err(self.unexpected("`:`"))
        }
    }

    /// Calls `element` for each element of an array, which reads it.
    #[inline]
    pub(super) fn array(
        &mut self,
        element: impl FnMut(&mut Self) -> JsonResult<()>,
    ) -> JsonResult<()> {
        self.entries(b'[', b']', element)
    }

    /// Calls `entry` for each of what stands between two brackets, separated by commas.
    #[inline]
    fn entries(
        &mut self,
        open: u8,
        close: u8,
        mut entry: impl FnMut(&mut Self) -> JsonResult<()>,
    ) -> JsonResult<()> {
        self.open(open)?;
        if self.take(close) {
            self.depth -= 1;
            return Ok(());
        }
        loop {
            entry(self)?;
            if self.take(close) {
                self.depth -= 1;
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.unexpected(match close {
                    b'}' => "`,` or `}`",
                    _ => "`,` or `]`",
                }));
            }
        }
    }

    /// Reads a null; false, with nothing read, when it is something else.
    #[inline]
    pub(super) fn null(&mut self) -> JsonResult<bool> {
        if self.peek() == Some(b'n') {
            self.literal("null").map(|()| true)
        } else {
            Ok(false)
        }
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(&mut self) -> JsonResult<bool> {
        match self.peek() {
            Some(b't') => self.literal("true").map(|()| true),
            Some(b'f') => self.literal("false").map(|()| false),
            _ => Err(self.unexpected("true or false")),
        }
    }

    /// Reads a text; borrowed unless it has escapes, and then of [`MAX_COPIED_BYTES`] at most.
    #[inline]
    pub(super) fn string(&mut self) -> JsonResult<Cow<'a, str>> {
        match self.plain_string()? {
            Some(text) => Ok(Cow::Borrowed(text)),
            None => self.copied_string().map(Cow::Owned),
        }
    }

    /// Reads a text without escapes; `None`, with nothing read, for one that has some.
    #[inline]
    pub(super) fn plain_string(&mut self) -> JsonResult<Option<&'a str>> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a text in quotes"));
        }
        let start = self.at + 1;
        let run = self.plain_run(start);
        if self.text.as_bytes().get(start + run.len()) != Some(&b'"') {
            return Ok(None);
        }
        self.at = start + run.len() + 1;
        Ok(Some(run))
    }

    /// Reads a text that has escapes, giving it to `sink` in pieces.
    pub(super) fn escaped_string(&mut self, mut sink: impl FnMut(&str)) -> JsonResult<()> {
        self.at += 1;
        loop {
            let run = self.plain_run(self.at);
            sink(run);
            self.at += run.len();
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    let (character, length) = escape(rest).map_err(|reason| self.fault(reason))?;
                    sink(character.encode_utf8(&mut [0; 4]));
                    self.at += length;
                }
                Some(_) => return Err(self.fault("a control character inside a text")),
                None => return Err(self.fault("the text ends inside quotes")),
            }
        }
    }

    fn skip_string(&mut self) -> JsonResult<()> {
        match self.plain_string()? {
            Some(_) => Ok(()),
            None => self.escaped_string(|_| ()),
        }
    }

    /// Reads a number as it stands there.
    pub(super) fn number(&mut self) -> JsonResult<&'a str> {
        self.peek();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = number_length(rest.as_bytes());
        let (number, _) = rest.split_at_checked(length).unwrap_or_default();
        if number.is_empty() {
            return Err(self.unexpected("a number"));
        }
        self.at += length;
        Ok(number)
    }

    /// Reads a whole number, which may stand in quotes (ProtoJSON, 64-bit types) and may be written with a fraction
    /// of zeros or an exponent.
    #[inline]
    pub(super) fn integer<T: FromStr + TryFrom<i128>>(&mut self) -> JsonResult<T> {
        let (at, text) = self.number_text()?;
        let plain = || text.parse().ok().filter(|_| !text.starts_with('+'));
        plain()
            .or_else(|| {
                let (whole, has_fraction) = exact(&text)?;
                T::try_from(whole).ok().filter(|_| !has_fraction)
            })
            .ok_or_else(|| JsonError {
                at,
                reason: format!(
                    "`{}` is no whole number in the range of its field",
                    shown(&text)
                )
                .into(),
            })
    }

    /// Reads a number, which may stand in quotes, as it stands there, with its place. What is in quotes may turn out to
    /// be no number.
    #[inline]
    pub(super) fn number_text(&mut self) -> JsonResult<(usize, Cow<'a, str>)> {
        let quoted = self.peek() == Some(b'"');
        let at = self.at;
        let text = if quoted {
            self.string()?
        } else {
            Cow::Borrowed(self.number()?)
        };
        Ok((at, text))
    }

    /// Reads a number, or `"NaN"`, `"Infinity"`, `"-Infinity"` or a number in quotes (ProtoJSON, double).
    pub(super) fn double(&mut self) -> JsonResult<f64> {
        let (at, text) = self.number_text()?;
        match &*text {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            text => Self::double_at(at, text),
        }
    }

    /// The double that `text`, read at `at`, is.
    pub(super) fn double_at(at: usize, text: &str) -> JsonResult<f64> {
        finite(text).ok_or_else(|| JsonError {
            at,
            reason: format!("`{}` is no number in the range of a double", shown(text)).into(),
        })
    }

    /// Reads over any value. Nothing of it is kept, so its texts and names may be of any length.
    pub(super) fn skip(&mut self) -> JsonResult<()> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'{') => self.entries(b'{', b'}', |json| {
                json.skip_string()?;
                json.colon()?;
                json.skip()
            }),
            Some(b'[') => self.array(Self::skip),
            Some(b't' | b'f') => self.boolean().map(drop),
            Some(b'n') => self.null().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Faults when anything but white space is left.
    pub(super) fn end(&mut self) -> JsonResult<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault("something follows the end of the JSON text")),
        }
    }

    fn open(&mut self, bracket: u8) -> JsonResult<()> {
        if !self.take(bracket) {
            return Err(self.unexpected(match bracket {
                b'{' => "an object",
                _ => "an array",
            }));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn literal(&mut self, word: &'static str) -> JsonResult<()> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.unexpected(word));
        }
        self.at += word.len();
        Ok(())
    }

    #[cold]
    fn unexpected(&mut self, expected: &'static str) -> JsonError {
        let found = match self.peek() {
            None => Cow::Borrowed("the text ends"),
            Some(b'"') => Cow::Borrowed("there is a text"),
            Some(b'{') => Cow::Borrowed("there is an object"),
            Some(b'[') => Cow::Borrowed("there is an array"),
            Some(byte) if byte.is_ascii_graphic() => {
                Cow::Owned(format!("there is `{}`", char::from(byte)))
            }
            Some(byte) => Cow::Owned(format!("there is byte {byte:#04x}")),
        };
        self.fault(format!("{found} where {expected} is expected"))
    }

    /// What stands from `start` to the next quote, backslash, control character or the end.
    #[inline]
    fn plain_run(&self, start: usize) -> &'a str {
        let rest = self.text.get(start..).unwrap_or_default();
        // What ends it is ASCII, so this cuts no character in two.
        rest.get(..plain_length(rest.as_bytes()))
            .unwrap_or_default()
    }

    #[cold]
    fn copied_string(&mut self) -> JsonResult<String> {
        let start = self.at;
        let mut text = String::new();
        self.escaped_string(|piece| {
            if text.len() <= MAX_COPIED_BYTES {
                text.push_str(piece);
            }
        })?;
        if text.len() > MAX_COPIED_BYTES {
            return Err(JsonError {
                at: start,
                reason: format!("a text with escapes of more than {MAX_COPIED_BYTES} bytes").into(),
            });
        }
        Ok(text)
    }
}
