//! Bodies of every encoding: whole, in pieces, cut, damaged, and made to take more memory than there is.

use super::*;
use libdeflater::{CompressionLvl, Compressor};
use proptest::prelude::*;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

const LIMIT: usize = 64 * 1024;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(data.len())];
    let len = compressor.gzip_compress(data, &mut out).unwrap();
    out.truncate(len);
    out
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.zlib_compress_bound(data.len())];
    let len = compressor.zlib_compress(data, &mut out).unwrap();
    out.truncate(len);
    out
}

/// Deflate with nothing around it.
fn bare(data: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.deflate_compress_bound(data.len())];
    let len = compressor.deflate_compress(data, &mut out).unwrap();
    out.truncate(len);
    out
}

fn zstd_with(parameters: &[CParameter], data: &[u8]) -> Vec<u8> {
    let mut compressor = CCtx::create();
    for parameter in parameters {
        compressor.set_parameter(*parameter).unwrap();
    }
    let mut out = vec![0; zstd_safe::compress_bound(data.len())];
    let len = compressor.compress2(&mut out[..], data).unwrap();
    out.truncate(len);
    out
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd_with(&[], data)
}

/// As a sender writes it that does not know how much will come: no size in the frame, a block for each piece.
fn zstd_in_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut compressor = CCtx::create();
    let checksum = CParameter::ChecksumFlag(true);
    compressor.set_parameter(checksum).unwrap();
    let mut out = vec![0; 1 << 20];
    let mut output = OutBuffer::around(&mut out[..]);
    for piece in pieces {
        let mut input = InBuffer::around(piece);
        while input.pos() < piece.len() {
            compressor.compress_stream(&mut output, &mut input).unwrap();
        }
        while compressor.flush_stream(&mut output).unwrap() > 0 {}
    }
    while compressor.end_stream(&mut output).unwrap() > 0 {}
    let len = output.pos();
    out.truncate(len);
    out
}

/// A frame that decoders skip (RFC 8878, section 3.1.2).
fn skippable(content: &[u8]) -> Vec<u8> {
    let magic = 0x184d_2a57_u32.to_le_bytes();
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&magic[..], &length, content].concat()
}

fn run(body: &[u8], encoding: Encoding, budget: &Budget) -> Result<Vec<u8>, BodyError> {
    let held = Held {
        bytes: body.to_vec().into(),
        reservation: budget.reserve(0).unwrap(),
    };
    let made = inflate(held, encoding, LIMIT, budget)?;
    assert_eq!(budget.used(), made.bytes.len(), "reserved is what is held");
    Ok(made.bytes.to_vec())
}

fn check(body: &[u8], encoding: Encoding, expected: Result<&[u8], &str>) {
    let budget = Budget::new(LIMIT * 2);
    match (run(body, encoding, &budget), expected) {
        (Ok(got), Ok(expected)) => assert!(got == expected, "other bytes came out"),
        (Err(error), Err(part)) => {
            let text = error.to_string();
            assert!(text.contains(part), "`{text}` lacks `{part}`");
        }
        (got, expected) => panic!("{:?}, expected {:?}", got.map(|b| b.len()), expected),
    }
    assert_eq!(budget.used(), 0);
}

#[test]
fn members_one_after_another() {
    use Encoding::Gzip;
    let long = b"spans ".repeat(1000);
    check(&gzip(b""), Gzip, Ok(b""));
    check(&gzip(&long), Gzip, Ok(&long));
    check(&[gzip(b""), gzip(b"")].concat(), Gzip, Ok(b""));
    check(&[gzip(b"a"), gzip(b"b")].concat(), Gzip, Ok(b"ab"));
    check(
        &[gzip(&long), gzip(b"b"), gzip(b"")].concat(),
        Gzip,
        Ok(&[&long[..], b"b"].concat()),
    );
    // The same member twice: the last trailer is the first one's too.
    check(
        &[gzip(&long), gzip(&long)].concat(),
        Gzip,
        Ok(&long.repeat(2)),
    );
    // A member whose data holds its own trailer's bytes would be found too early.
    check(&gzip(&[0; 9000]), Gzip, Ok(&[0; 9000]));
}

#[test]
fn deflate_with_zlib_around_it_and_without() {
    use Encoding::Deflate;
    let long = b"spans ".repeat(1000);
    for data in [&b""[..], b"a", &long, &[0; 9000], &[0xff; LIMIT]] {
        check(&zlib(data), Deflate, Ok(data));
        check(&bare(data), Deflate, Ok(data));
    }
    // Stored, not compressed, in one block: as near to a zlib header as an encoder comes.
    let stored = [&[1, 3, 0, 0xfc, 0xff][..], b"abc"].concat();
    check(&stored, Deflate, Ok(b"abc"));
    check(
        &[&stored[..], b"d"].concat(),
        Deflate,
        Err("bytes follow its end"),
    );
    check(&bare(&long).repeat(2), Deflate, Err("bytes follow its end"));
    check(&bare(&long)[..10], Deflate, Err("deflate body is corrupt"));
}

#[test]
fn frames_one_after_another() {
    use Encoding::Zstd;
    let long = b"spans ".repeat(10_000);
    check(&zstd(b""), Zstd, Ok(b""));
    check(&zstd(&long), Zstd, Ok(&long));
    check(&zstd_in_pieces(long.chunks(700)), Zstd, Ok(&long));
    check(&[zstd(b"a"), zstd(b"b")].concat(), Zstd, Ok(b"ab"));
    check(&skippable(b"for somebody else"), Zstd, Ok(b""));
    let mixed = [
        skippable(b""),
        zstd_in_pieces([&b"a"[..], b"b"].into_iter()),
        skippable(&[7; 300]),
        zstd(&long),
        zstd(b""),
    ];
    check(&mixed.concat(), Zstd, Ok(&[b"ab", &long[..]].concat()));
}

#[test]
fn a_large_window_costs_no_memory() {
    // A frame that tells no size and asks for a window of 2 GiB, and one block of it, stored.
    let head = [&b"\x28\xb5\x2f\xfd"[..], &[0, (31 - 10) << 3]].concat();
    let body = [&head[..], &[5 << 3 | 1, 0, 0], b"spans"].concat();
    let budget = Budget::new(body.len() * 32);
    assert_eq!(run(&body, Encoding::Zstd, &budget).unwrap(), b"spans");
}

#[test]
fn corrupt_bodies() {
    use Encoding::{Deflate, Gzip, Zstd};
    let good = gzip(b"spans spans spans");
    check(b"", Gzip, Err("too short"));
    check(
        b"\x0a\x05hello, this is no gzip",
        Gzip,
        Err("data or checksum"),
    );
    check(&good[..good.len() - 1], Gzip, Err("gzip body is corrupt"));
    check(
        &[&good[..], b"junk after the end of it"].concat(),
        Gzip,
        Err("corrupt"),
    );
    check(&gzip(b"a").repeat(300), Gzip, Err("too many members"));
    let mut wrong_sum = good.clone();
    wrong_sum[good.len() - 6] ^= 1;
    check(&wrong_sum, Gzip, Err("data or checksum"));
    check(b"", Deflate, Err("corrupt"));
    check(
        &[&zlib(b"a")[..], b"junk"].concat(),
        Deflate,
        Err("follow its end"),
    );

    let good = zstd_with(&[CParameter::ChecksumFlag(true)], b"spans spans spans");
    check(b"", Zstd, Err("it is empty"));
    check(b"\x0a\x05hello, this is no zstd", Zstd, Err("not made of"));
    check(&good[..good.len() - 1], Zstd, Err("it is cut off"));
    check(&[&good[..], b"junk"].concat(), Zstd, Err("not made of"));
    let mut wrong_sum = good.clone();
    wrong_sum[good.len() - 1] ^= 1;
    check(&wrong_sum, Zstd, Err("doesn't match checksum"));
    let mut other_size = good;
    other_size[5] += 1;
    check(&other_size, Zstd, Err("zstd body is corrupt"));
    // It needs dictionary 7.
    let with_dictionary = b"\x28\xb5\x2f\xfd\x21\x07\x01\x09\0\0a";
    check(with_dictionary, Zstd, Err("Dictionary"));
}

#[test]
fn bombs_are_refused_whatever_they_tell() {
    use Encoding::{Deflate, Gzip, Zstd};
    let bomb = gzip(&vec![0; LIMIT + 1]);
    check(&bomb, Gzip, Err("larger than the 65536 bytes"));
    let mut liar = bomb;
    let size_at = liar.len() - 4;
    liar[size_at..].copy_from_slice(&10u32.to_le_bytes());
    check(&liar, Gzip, Err("larger than the 65536 bytes"));
    liar[size_at..].copy_from_slice(&u32::MAX.to_le_bytes());
    check(&liar, Gzip, Err("larger than the 65536 bytes"));
    let halves = [gzip(&vec![0; LIMIT]), gzip(&vec![1; LIMIT])].concat();
    check(&halves, Gzip, Err("larger than the 65536 bytes"));
    check(&gzip(&vec![0; LIMIT]), Gzip, Ok(&vec![0; LIMIT]));
    check(
        &zlib(&vec![0; LIMIT + 1]),
        Deflate,
        Err("larger than the 65536 bytes"),
    );
    check(&zlib(&vec![0; LIMIT]), Deflate, Ok(&vec![0; LIMIT]));
    let full = vec![0; LIMIT];
    let over = [&full[..], b"0"].concat();
    check(&bare(&over), Deflate, Err("larger than the 65536 bytes"));
    for encode in [zstd, |data: &[u8]| zstd_in_pieces(data.chunks(5_000))] {
        check(&encode(&full), Zstd, Ok(&full));
        check(&encode(&over), Zstd, Err("larger than the 65536 bytes"));
        let halves = [encode(&full), encode(&full)].concat();
        check(&halves, Zstd, Err("larger than the 65536 bytes"));
    }
    // The size that a frame tells is a lie, either way.
    let mut liar = zstd(&full);
    assert_eq!(liar[4] >> 6, 1, "two bytes of size, less 256");
    for size in [[0, 0], [0xff, 0xff]] {
        liar[5..7].copy_from_slice(&size);
        check(&liar, Zstd, Err("body is"));
    }
    // Blocks of 128 KiB in four bytes each.
    let mut blocks = zstd_with(&[CParameter::ContentSizeFlag(false)], b"");
    let header = blocks.len() - 3;
    blocks.truncate(header);
    for last in [false, false, true] {
        let block = (128 << 10) << 3 | 1 << 1 | u32::from(last);
        blocks.extend(&block.to_le_bytes()[..3]);
        blocks.push(0);
    }
    check(&blocks, Zstd, Err("larger than the 65536 bytes"));
}

#[test]
fn no_room_is_refused_before_decompressing() {
    let budget = Budget::new(2000);
    let others = budget.reserve(1000).unwrap();
    let error = run(&gzip(&[7; 1001]), Encoding::Gzip, &budget).unwrap_err();
    assert!(
        matches!(error, BodyError::NoRoom { needed: 1001, .. }),
        "{error}"
    );
    drop(others);
    assert_eq!(budget.used(), 0);
    let error = run(&gzip(&[7; 2001]), Encoding::Gzip, &budget).unwrap_err();
    assert!(matches!(error, BodyError::TooLarge { .. }), "{error}");
}

type Encode = fn(&[u8]) -> Vec<u8>;

/// Every encoder there is, by its encoding.
const ENCODERS: [(Encoding, Encode); 5] = [
    (Encoding::Gzip, gzip),
    (Encoding::Deflate, zlib),
    (Encoding::Deflate, bare),
    (Encoding::Zstd, zstd),
    (Encoding::Zstd, |data| zstd_in_pieces(data.chunks(900))),
];

/// Bytes that compress well, badly, and not at all.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let runs = prop::collection::vec((any::<u8>(), 0..3_000_usize), 0..12).prop_map(|runs| {
        runs.into_iter()
            .flat_map(|(byte, n)| vec![byte; n])
            .collect()
    });
    prop_oneof![
        any::<Vec<u8>>(),
        prop::collection::vec(any::<u8>(), 0..4_000),
        runs
    ]
}

proptest! {
    #[test]
    fn what_is_compressed_comes_back(parts in prop::collection::vec(data(), 1..3)) {
        let budget = Budget::new(LIMIT * 4);
        for (encoding, encode) in ENCODERS {
            let body = encode(&parts[0]);
            prop_assert_eq!(run(&body, encoding, &budget).unwrap(), &parts[0][..]);
            if encoding != Encoding::Deflate {
                let body: Vec<u8> = parts.iter().flat_map(|part| encode(part)).collect();
                let whole = parts.concat();
                match run(&body, encoding, &budget) {
                    Ok(all) => prop_assert_eq!(all, whole),
                    Err(error) => prop_assert!(whole.len() > LIMIT, "{}", error),
                }
            }
            prop_assert_eq!(budget.used(), 0);
        }
    }

    #[test]
    fn what_is_cut_or_changed_never_passes_for_something_else(
        data in data(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let budget = Budget::new(LIMIT * 4);
        let checked = [CParameter::ChecksumFlag(true)];
        for (encoding, body) in [
            (Encoding::Gzip, gzip(&data)),
            (Encoding::Deflate, zlib(&data)),
            (Encoding::Zstd, zstd_with(&checked, &data)),
        ] {
            let cut = &body[..at.index(body.len())];
            prop_assert!(run(cut, encoding, &budget).is_err(), "{encoding:?}");
            let mut changed = body;
            *at.get_mut(&mut changed) ^= 1 << bit;
            if let Ok(same) = run(&changed, encoding, &budget) {
                // A bit of the head that says nothing of the content.
                prop_assert_eq!(same, &data[..], "{:?}", encoding);
            }
            prop_assert_eq!(budget.used(), 0);
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(data in any::<Vec<u8>>()) {
        let budget = Budget::new(LIMIT * 2);
        for (encoding, head) in [
            (Encoding::Gzip, &b"\x1f\x8b\x08\0"[..]),
            (Encoding::Deflate, b"\x78\x9c"),
            (Encoding::Deflate, b""),
            (Encoding::Zstd, b"\x28\xb5\x2f\xfd"),
            (Encoding::Zstd, b""),
        ] {
            let _ = run(&[head, &data].concat(), encoding, &budget);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}

/// Deflate of literals alone, in one block whose codes are the literals' own bits: a byte behind the first five, which are
/// `0xff` to fill up a byte of the head, is in the stream as it is, but for the order of its bits.
fn literally(data: &[u8]) -> Vec<u8> {
    let mut bits = Vec::new();
    let mut put = |value: u32, count: u32| bits.extend((0..count).map(|bit| value >> bit & 1 == 1));
    // The last block, with codes of its own: as few as there may be, and the lengths of their lengths.
    put(0b101, 3);
    put(0, 10);
    put(3, 4);
    [0, 0, 0, 2, 1, 0, 2]
        .into_iter()
        .for_each(|length| put(length, 3));
    // Eight bits for 0 to 254, nine for 255 and the end, none for a distance.
    (0..255).for_each(|_| put(0, 1));
    put(0b1111, 4);
    put(0b01, 2);
    for &byte in data {
        match byte {
            255 => put(0b0_1111_1111, 9),
            byte => put(byte.reverse_bits().into(), 8),
        }
    }
    put(0b1_1111_1111, 9);
    let byte = |bits: &[bool]| {
        bits.iter()
            .rev()
            .fold(0, |byte, bit| byte << 1 | u8::from(*bit))
    };
    bits.chunks(8).map(byte).collect()
}

/// What follows `data` so that the checksum of both is `wanted`.
fn patch(data: &[u8], wanted: u32) -> [u8; 4] {
    let step = |byte: u32| (0..8).fold(byte, |crc, _| (crc >> 1) ^ ((crc & 1) * 0xedb8_8320));
    let back = |crc: u32| {
        let byte = (0..256)
            .find(|&byte| step(byte) >> 24 == crc >> 24)
            .unwrap();
        (crc ^ step(byte)) << 8 | byte
    };
    let before = (0..4).fold(!wanted, |crc, _| back(crc));
    (before ^ !libdeflater::crc32(data)).to_le_bytes()
}

#[test]
fn a_trailer_in_the_middle_of_a_member_spoils_nothing() {
    const CHECKSUM: u32 = 0x1122_3344;
    let mut data = vec![0xff; 5];
    let length = 5 + 8 + 40 + 4_u32;
    let trailer = [CHECKSUM.to_le_bytes(), length.to_le_bytes()].concat();
    data.extend(trailer.iter().map(|byte| byte.reverse_bits()));
    data.extend(b"what would be written over while looking");
    data.extend(patch(&data, CHECKSUM));
    assert_eq!(libdeflater::crc32(&data), CHECKSUM);
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let body = [&head[..], &literally(&data), &trailer].concat();
    assert_eq!(body.windows(8).filter(|bytes| *bytes == trailer).count(), 2);
    check(&body, Encoding::Gzip, Ok(&data));
    check(&body.repeat(2), Encoding::Gzip, Ok(&data.repeat(2)));
}
