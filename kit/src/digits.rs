//! Decimal digits: times, durations, sizes and addresses of every request are written of them. Used by `log` and
//! `trace`, where a formatter costs several times as much.

/// A zero in ASCII in each byte.
const ASCII: u64 = u64::MAX / 0xff * b'0' as u64;

/// The digits of a number below 1,000,000,000, zeros in front, and how many zeros stand behind the others.
#[inline]
pub(crate) fn nine(number: u32) -> ([u8; 9], usize) {
    let (first, rest) = (number / 100_000_000, number % 100_000_000);
    let rest = digits(u64::from(rest / 10_000) | u64::from(rest % 10_000) << 32);
    let mut text = [b'0' + first as u8; 9];
    text[1..].copy_from_slice(&(rest | ASCII).to_le_bytes());
    let behind = rest.leading_zeros() / u8::BITS + u32::from(number == 0);
    (text, behind as usize)
}

/// The last `N` digits, at most nine, of a number below 1,000,000,000, zeros in front.
#[inline]
pub(crate) fn padded<const N: usize>(number: u32) -> [u8; N] {
    let (digits, _) = nine(number);
    digits.last_chunk().copied().unwrap_or([b'0'; N])
}

/// The digits of a number below 10,000, and how many there are; what stands behind them means nothing.
#[inline]
pub(crate) fn short(number: u64) -> Option<([u8; 4], usize)> {
    if number >= 10_000 {
        return None;
    }
    let digits = digits(number) as u32;
    // One stays, whatever it is.
    let in_front = (digits | 1 << (u32::BITS - 1)).trailing_zeros() / u8::BITS;
    let text = (digits | ASCII as u32) >> (in_front * u8::BITS);
    Some((text.to_le_bytes(), 4 - in_front as usize))
}

/// A digit a byte, the first in the lowest, of two numbers below 10,000 in the halves of a word. All parts of it are
/// divided at once: halves of four digits, then quarters of two. Each division is a multiplication by an inverse that
/// is exact for all that comes to it.
#[inline]
fn digits(halves: u64) -> u64 {
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let quarters = hundreds | (halves - hundreds * 100) << 16;
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (quarters - tens * 10) << 8
}

/// The digits of an octet with a dot behind them, and how many digits they are.
#[inline]
pub(crate) fn octet(octet: u8) -> ([u8; 4], usize) {
    let (text, len) = OCTETS[usize::from(octet)];
    (text, len.into())
}

/// The digits of each octet with a dot behind them, and how many digits they are.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < octets.len() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let mut at = if octet < 10 {
            2
        } else {
            (octet < 100) as usize
        };
        let mut len = 0;
        while at < digits.len() {
            octets[octet].0[len] = b'0' + digits[at] as u8;
            (at, len) = (at + 1, len + 1);
        }
        octets[octet].1 = len as u8;
        octet += 1;
    }
    octets
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zeros_in_front_stay_and_those_behind_are_counted() {
        assert_eq!(nine(0), (*b"000000000", 9));
        assert_eq!(nine(7_000_010), (*b"007000010", 1));
        assert_eq!(nine(300_000_000), (*b"300000000", 8));
        assert_eq!(nine(999_999_999), (*b"999999999", 0));
        assert_eq!(padded::<7>(7_000_010), *b"7000010");
        assert_eq!(padded::<2>(123_456_789), *b"89");
        assert_eq!(padded::<0>(1), *b"");
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

    #[test]
    fn short_numbers_have_no_zeros_in_front() {
        for number in 0..10_000 {
            let (digits, len) = short(number).unwrap();
            assert_eq!(digits[..len], *number.to_string().as_bytes());
        }
        for long in [10_000, u64::from(u32::MAX) + 1, u64::MAX] {
            assert_eq!(short(long), None);
        }
    }

    #[test]
    fn octets_have_a_dot_behind_them() {
        for number in 0..=u8::MAX {
            let (text, len) = octet(number);
            assert_eq!(text[..=len], *format!("{number}.").as_bytes());
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
