//! The texts of JSON. Used by `json_reader`; `shown` by whoever tells a fault.

/// Bytes of `\uXXXX`.
const UNIT_BYTES: usize = 6;

/// How many bytes there are before the first quote, backslash or control character. Eight at once: a byte that is
/// zero after the exclusive or, or less than a space, leaves its high bit; a borrow can only reach later bytes.
#[inline]
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let (blocks, rest) = bytes.as_chunks::<8>();
    for (index, block) in blocks.iter().enumerate() {
        let word = u64::from_le_bytes(*block);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let found = (control | quote | backslash) & HIGH;
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |&byte: &u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let within = rest.iter().position(special).unwrap_or(rest.len());
    blocks.len() * 8 + within
}

/// The character of the escape that `text` begins with, and the escape's length.
///
/// # Errors
/// What is wrong with it.
pub(super) fn escape(text: &str) -> Result<(char, usize), &'static str> {
    let character = match text.as_bytes().get(1) {
        Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(text),
        _ => return Err("a backslash that begins no escape"),
    };
    Ok((character, 2))
}

/// Characters beyond the first 65,536 stand in two code units, a surrogate pair.
fn unicode_escape(text: &str) -> Result<(char, usize), &'static str> {
    let first = code_unit(text, 0).ok_or("`\\u` needs four hex digits")?;
    let second = code_unit(text, UNIT_BYTES);
    let (code, length) = match (first, second) {
        (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) => {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            (code, 2 * UNIT_BYTES)
        }
        _ => (first, UNIT_BYTES),
    };
    let character = char::from_u32(code).ok_or("half of a surrogate pair")?;
    Ok((character, length))
}

/// The code unit of the `\uXXXX` at `at`.
fn code_unit(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + UNIT_BYTES)?.strip_prefix("\\u")?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

/// As much of a text as an error shows.
pub(super) fn shown(text: &str) -> String {
    const SHOWN: usize = 64;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
