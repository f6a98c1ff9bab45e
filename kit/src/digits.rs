//! Decimal digits: times, durations and sizes of every request are written of them. Used by `log`, where a
//! formatter costs several times as much.

/// How many digits come out of one look.
const EIGHT: usize = 8;

/// The numbers that have no more digits than that are below.
const TEN_TO_THE_EIGHT: u32 = 100_000_000;

/// A zero in ASCII in each byte.
const ASCII: u64 = u64::MAX / 0xff * b'0' as u64;

/// The last nine digits of `number`, zeros in front, and how many zeros stand behind the others.
pub(crate) fn nine(number: u32) -> ([u8; 9], usize) {
    let last = eight(number % TEN_TO_THE_EIGHT);
    let first = number / TEN_TO_THE_EIGHT % 10;
    let mut digits = [b'0' + first as u8; 9];
    digits[1..].copy_from_slice(&(last | ASCII).to_le_bytes());
    let behind = last.leading_zeros() / u8::BITS + u32::from(last == 0 && first == 0);
    (digits, behind as usize)
}

/// The digits of a number below 100,000,000, and how many there are; what stands behind them means nothing.
pub(crate) fn short(number: u64) -> Option<([u8; EIGHT], usize)> {
    let number = u32::try_from(number).ok()?;
    if number >= TEN_TO_THE_EIGHT {
        return None;
    }
    let digits = eight(number);
    // One stays, whatever it is.
    let in_front = (digits | 1 << (u64::BITS - 1)).trailing_zeros() / u8::BITS;
    let text = (digits | ASCII) >> (in_front * u8::BITS);
    Some((text.to_le_bytes(), EIGHT - in_front as usize))
}

/// A digit a byte, the first in the lowest. All parts of the word are divided at once: in halves of four digits, then
/// quarters of two. Each division is a multiplication by an inverse that is exact for what comes to it.
fn eight(number: u32) -> u64 {
    let halves = u64::from(number / 10_000) | u64::from(number % 10_000) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let quarters = hundreds | (halves - hundreds * 100) << 16;
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (quarters - tens * 10) << 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zeros_stand_in_front_and_what_is_too_long_loses_its_front() {
        assert_eq!(nine(0), (*b"000000000", 9));
        assert_eq!(nine(7_000_010), (*b"007000010", 1));
        assert_eq!(nine(300_000_000), (*b"300000000", 8));
        assert_eq!(nine(999_999_999), (*b"999999999", 0));
        assert_eq!(nine(u32::MAX), (*b"294967295", 0));
    }

    #[test]
    fn each_part_is_divided_right() {
        // The parts do not touch each other, so all that each may be is all there is.
        for part in 0..10_000 {
            for number in [part, part * 10_000, part * 10_000 + 9_999 - part] {
                assert_eq!(nine(number).0, *format!("{number:09}").as_bytes());
            }
        }
    }

    fn check(number: u64) {
        let (digits, len) = short(number).unwrap();
        assert_eq!(
            std::str::from_utf8(&digits[..len]),
            Ok(&*number.to_string())
        );
    }

    #[test]
    fn short_numbers_have_no_zeros_in_front() {
        (0..2_000).for_each(check);
        for digits in 1..8 {
            check(10_u64.pow(digits) - 1);
            check(10_u64.pow(digits));
        }
        check(99_999_999);
        for long in [100_000_000, u64::from(u32::MAX) + 1, u64::MAX] {
            assert_eq!(short(long), None);
        }
    }

    proptest! {
        #[test]
        fn any_number_is_written_as_its_digits(number in 0..1_000_000_000_u32) {
            let (digits, behind) = nine(number);
            let expected = format!("{number:09}");
            prop_assert_eq!(&digits[..], expected.as_bytes());
            prop_assert_eq!(9 - behind, expected.trim_end_matches('0').len());
        }
    }
}
