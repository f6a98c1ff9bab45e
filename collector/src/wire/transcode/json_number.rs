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

/// A number's text as a whole number, however it is written; `None` when it has a fraction.
#[cold]
pub(super) fn whole(text: &str) -> Option<i128> {
    const EXACT: f64 = 1e38;
    let double = finite(text)?;
    (double.fract() == 0.0 && double.abs() < EXACT).then_some(double as i128)
}
