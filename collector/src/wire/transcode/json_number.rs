//! The numbers of JSON. Used by `json_reader`.

/// The length of the number that `bytes` begin with; 0 when they begin with none.
pub(super) fn number_length(bytes: &[u8]) -> usize {
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(sign);
    if whole == 0 || (whole > 1 && bytes.get(sign) == Some(&b'0')) {
        return 0;
    }
    let mut length = sign + whole;
    if bytes.get(length) == Some(&b'.') {
        match digits(length + 1) {
            0 => return 0,
            fraction => length += 1 + fraction,
        }
    }
    if let Some(b'e' | b'E') = bytes.get(length) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        match digits(length + 1 + sign) {
            0 => return 0,
            exponent => length += 1 + sign + exponent,
        }
    }
    length
}

/// A number's text as a double; `None` when it is no number or too large.
pub(super) fn finite(text: &str) -> Option<f64> {
    let whole = !text.is_empty() && number_length(text.as_bytes()) == text.len();
    text.parse()
        .ok()
        .filter(|double: &f64| whole && double.is_finite())
}

/// The whole part of a number's text, exact however it is written (a double holds 53 bits only), and whether it has
/// a fraction beside it; `None` when it is no number. One beyond 128 bits is the last one within.
#[cold]
pub(super) fn exact(text: &str) -> Option<(i128, bool)> {
    if text.is_empty() || number_length(text.as_bytes()) != text.len() {
        return None;
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (whole, is_negative) = match whole.strip_prefix('-') {
        Some(whole) => (whole, true),
        None => (whole, false),
    };
    let many = if exponent.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    // Where the point is after the exponent has moved it.
    let point = i64::try_from(whole.len()).ok()?;
    let point = point.saturating_add(exponent.parse().unwrap_or(many));
    let digits = || whole.bytes().chain(fraction.bytes());
    let before = usize::try_from(point.max(0)).ok()?;
    let value = shifted(digits().take(before), before)?;
    let has_fraction = digits().skip(before).any(|digit| digit != b'0');
    Some((if is_negative { -value } else { value }, has_fraction))
}

/// The number that `digits` and as many zeros as make up `length` stand for, or the largest there is.
fn shifted(digits: impl Iterator<Item = u8>, length: usize) -> Option<i128> {
    let mut value = 0_i128;
    let mut missing = length;
    for digit in digits {
        value = value
            .saturating_mul(10)
            .saturating_add(i128::from(digit.checked_sub(b'0')?));
        missing = missing.checked_sub(1)?;
    }
    // From here on it is zero, or grows until it cannot grow any more.
    while missing > 0 && value != 0 && value != i128::MAX {
        value = value.saturating_mul(10);
        missing -= 1;
    }
    Some(value)
}
