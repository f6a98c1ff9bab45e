//! Decimal digits of a fixed number, zeros in front: times and durations of every request are written of them.
//! Used by `log` and `http`, where a formatter costs several times as much.

/// The last `N` digits of `number`.
pub(crate) fn padded<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    let (rest, pairs) = digits.as_rchunks_mut();
    for pair in pairs.iter_mut().rev() {
        *pair = PAIRS[(number % 100) as usize];
        number /= 100;
    }
    if let Some(digit) = rest.last_mut() {
        *digit = b'0' + (number % 10) as u8;
    }
    digits
}

/// The two digits of the numbers below 100: half as many divisions.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_stand_in_front_and_what_is_too_long_loses_its_front() {
        assert_eq!(padded::<9>(0), *b"000000000");
        assert_eq!(padded::<9>(7_000_010), *b"007000010");
        assert_eq!(padded::<9>(999_999_999), *b"999999999");
        assert_eq!(padded::<6>(u32::MAX), *b"967295");
        assert_eq!(padded::<0>(1), *b"");
    }
}
