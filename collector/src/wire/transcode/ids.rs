//! Ids in hex, as JSON has them. Used by `otlp_json` and `zipkin`.

use super::json_text::shown;

/// Exactly `2 * N` hex digits.
pub(super) fn hex_id<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut id = [0; N];
    // All digits at once: a byte that is none leaves bits that no digit has.
    let mut seen = 0;
    for (byte, &[high, low]) in id.iter_mut().zip(pairs) {
        let [high, low] = [high, low].map(|digit| HEX_DIGITS[usize::from(digit)]);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    (seen < 16).then_some(id)
}

/// As many hex digits as there are, `2 * N` at most; fewer are padded on the left.
pub(super) fn padded_id<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() > N * 2 {
        return None;
    }
    let mut id = [0; N];
    let pairs = digits.rchunks(2);
    for (byte, pair) in id.iter_mut().rev().zip(pairs) {
        *byte = pair
            .iter()
            .try_fold(0, |value, &digit| Some(value << 4 | hex_digit(digit)?))?;
    }
    Some(id)
}

/// A hex digit's value.
#[inline]
fn hex_digit(digit: u8) -> Option<u8> {
    let value = HEX_DIGITS[usize::from(digit)];
    (value < 16).then_some(value)
}

/// The value of each byte as a hex digit; 0xff for those that are none.
static HEX_DIGITS: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        let digit = b"0123456789abcdef"[value];
        digits[digit as usize] = value as u8;
        digits[digit.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    digits
};

/// What is wrong with an id. Plain ProtoJSON libraries write bytes, and so ids, as base64.
pub(super) fn not_hex(text: &str, name: &str, bytes: usize) -> String {
    let base64_length = bytes.div_ceil(3) * 4;
    let unpadded = text.trim_end_matches('=').len();
    let is_base64 = matches!(text.len(), length if length == base64_length || length == unpadded)
        && unpadded == (bytes * 4).div_ceil(3);
    let found = if is_base64 {
        "looks like base64"
    } else {
        "is not that"
    };
    format!(
        "`{name}` is {} hex digits in OTLP/JSON; `{}` {found}",
        bytes * 2,
        shown(text)
    )
}
