//! Variable-length integers (LEB128) of the packed slots that `histogram` and `window` write and read back.

/// Appends a number in 7-bit groups, least significant first.
pub(super) fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a number and moves `bytes` past it; what is missing at the end of the bytes counts as zero.
pub(super) fn read(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    let mut shift = 0;
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(values in proptest::collection::vec(any::<u64>(), 0..20)) {
            let mut bytes = Vec::new();
            values.iter().for_each(|&value| write(&mut bytes, value));
            let mut rest = bytes.as_slice();
            for value in values {
                prop_assert_eq!(read(&mut rest), value);
            }
            prop_assert!(rest.is_empty());
        }
    }
}
