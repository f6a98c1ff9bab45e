//! Status codes as text that lives for ever: `error.type` of failed requests and calls.

use ::http::StatusCode;

/// The three digits of `status`.
pub(super) fn status_text(status: StatusCode) -> &'static str {
    usize::from(status.as_u16())
        .checked_sub(FIRST)
        .and_then(|index| DIGITS.get(index))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .unwrap_or("_OTHER")
}

/// `StatusCode` reaches from 100 to 999.
const FIRST: usize = 100;

static DIGITS: [[u8; 3]; 900] = {
    let mut table = [[0; 3]; 900];
    let mut index = 0;
    while index < table.len() {
        let code = index + FIRST;
        table[index] = [
            b'0' + (code / 100) as u8,
            b'0' + (code / 10 % 10) as u8,
            b'0' + (code % 10) as u8,
        ];
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_digits() {
        for code in 100..=999 {
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(status_text(status), code.to_string());
        }
    }
}
