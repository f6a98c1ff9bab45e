//! Decimal digits of a fixed number, zeros in front: times and durations of every request are written of them.
//! Used by `log` and `http`, where a formatter costs several times as much.

/// The last `N` digits of `number`.
pub(crate) fn padded<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

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
