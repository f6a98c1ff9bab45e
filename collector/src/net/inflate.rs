//! Decompression of bodies, bounded before it starts: a body that would not fit the limit or the budget is
//! refused without allocating for it. Called by `receive` and by the gRPC framing.

use std::cell::RefCell;

use http::HeaderValue;
use libdeflater::{DecompressionError, Decompressor, adler32, crc32};
use memchr::memmem;

use super::body::{BodyError, Held, no_room};
use crate::budget::{Budget, Reservation};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952, of one or more members.
    Gzip,
    /// `deflate` of RFC 9110: zlib, RFC 1950.
    Deflate,
}

/// A member of a gzip body is at least this long: header, empty block, trailer.
const MIN_MEMBER_BYTES: usize = GZIP_BEFORE_TRAILER + GZIP_TRAILER;
const GZIP_BEFORE_TRAILER: usize = 12;
const GZIP_TRAILER: usize = 8;

/// Deflate cannot do better, so a larger size told by a body is a lie.
const MAX_RATIO: usize = 1032;

/// Nobody but an attacker sends more; each costs a search of its own.
const MAX_MEMBERS: usize = 256;

/// Places where a member may end that are tried before the body is called corrupt.
const MAX_END_TRIALS: usize = 16;

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

impl Encoding {
    /// The value of `Content-Encoding` or `grpc-encoding`; `None` for one that is not taken.
    pub fn parse(header: Option<&HeaderValue>) -> Option<Self> {
        let Some(header) = header else {
            return Some(Self::Identity);
        };
        let name = header.to_str().ok()?.trim();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if name.is_empty() || is("identity") {
            Some(Self::Identity)
        } else if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("deflate") {
            Some(Self::Deflate)
        } else {
            None
        }
    }
}

/// Decompresses a body; one that is not compressed is given back as it is.
///
/// # Errors
/// [`BodyError::TooLarge`] over `limit` decompressed bytes, [`BodyError::NoRoom`] when `budget` has no room for
/// them, [`BodyError::Corrupt`] otherwise.
pub fn inflate(
    body: Held,
    encoding: Encoding,
    limit: usize,
    budget: &Budget,
) -> Result<Held, BodyError> {
    // Beside the body itself, more than this will never have room.
    let limit = limit.min(budget.limit().saturating_sub(body.reservation.bytes()));
    match encoding {
        Encoding::Identity => Ok(body),
        Encoding::Gzip => {
            DECOMPRESSOR.with_borrow_mut(|with| gunzip(with, &body.bytes, limit, budget))
        }
        Encoding::Deflate => {
            DECOMPRESSOR.with_borrow_mut(|with| unzlib(with, &body.bytes, limit, budget))
        }
    }
}

fn gunzip(
    decompressor: &mut Decompressor,
    mut body: &[u8],
    limit: usize,
    budget: &Budget,
) -> Result<Held, BodyError> {
    let corrupt = |reason| BodyError::Corrupt {
        encoding: "gzip",
        reason,
    };
    let told = body
        .last_chunk()
        .filter(|_| body.len() >= MIN_MEMBER_BYTES)
        .map(|size| u32::from_le_bytes(*size) as usize)
        .ok_or_else(|| corrupt("it is too short to be one"))?;
    if told > limit && told <= body.len().saturating_mul(MAX_RATIO) {
        return Err(BodyError::TooLarge { limit });
    }
    let mut output = Output::new("gzip", told, body.len(), limit, budget)?;
    for _ in 0..MAX_MEMBERS {
        let start = output.filled;
        output.fill(|space| decompressor.gzip_decompress(body, space))?;
        let end = member_end(decompressor, body, &mut output, start)
            .ok_or_else(|| corrupt("the end of a member is ambiguous"))?;
        body = body.get(end..).unwrap_or_default();
        if body.is_empty() {
            return Ok(output.finish());
        }
    }
    Err(corrupt("it has too many members"))
}

/// Where the member ends whose output starts at `start`. The decompressor does not tell, but it has checked that
/// the member ends in a trailer of the checksum and length of its output. So where the body holds those eight
/// bytes only at its very end, the member ends there; anywhere else, the shortest prefix that is still a whole
/// member is the member.
fn member_end(
    decompressor: &mut Decompressor,
    body: &[u8],
    output: &mut Output<'_>,
    start: usize,
) -> Option<usize> {
    let member = output.since(start);
    let mut trailer = [0; GZIP_TRAILER];
    let (checksum, size) = trailer.split_at_mut(4);
    checksum.copy_from_slice(&crc32(member).to_le_bytes());
    size.copy_from_slice(&(member.len() as u32).to_le_bytes());
    let finder = memmem::Finder::new(&trailer);
    let mut from = GZIP_BEFORE_TRAILER;
    for _ in 0..MAX_END_TRIALS {
        let at = from + finder.find(body.get(from..)?)?;
        let end = at + GZIP_TRAILER;
        if end == body.len() {
            return Some(end);
        }
        let whole = decompressor.gzip_decompress(body.get(..end)?, output.since(start));
        if whole.is_ok() {
            return Some(end);
        }
        from = at + 1;
    }
    None
}

fn unzlib(
    decompressor: &mut Decompressor,
    body: &[u8],
    limit: usize,
    budget: &Budget,
) -> Result<Held, BodyError> {
    const USUAL_RATIO: usize = 6;
    let guess = body.len().saturating_mul(USUAL_RATIO);
    let mut output = Output::new("deflate", guess.min(limit), body.len(), limit, budget)?;
    output.fill(|space| decompressor.zlib_decompress(body, space))?;
    let checksum = body.last_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    if checksum != Some(adler32(output.since(0))) {
        return Err(BodyError::Corrupt {
            encoding: "deflate",
            reason: "bytes follow its end",
        });
    }
    Ok(output.finish())
}

/// Where decompressed bytes go: space that is reserved first, grown up to the limit.
struct Output<'a> {
    encoding: &'static str,
    space: Vec<u8>,
    filled: usize,
    reservation: Reservation,
    limit: usize,
    budget: &'a Budget,
}

impl<'a> Output<'a> {
    fn new(
        encoding: &'static str,
        expected: usize,
        compressed: usize,
        limit: usize,
        budget: &'a Budget,
    ) -> Result<Self, BodyError> {
        let size = expected
            .min(compressed.saturating_mul(MAX_RATIO))
            .min(limit);
        let reservation = budget.reserve(size).ok_or_else(|| no_room(size, budget))?;
        Ok(Self {
            encoding,
            space: vec![0; size],
            filled: 0,
            reservation,
            limit,
            budget,
        })
    }

    /// Lets `decompress` write behind what is there, with more space until it has enough.
    fn fill(
        &mut self,
        mut decompress: impl FnMut(&mut [u8]) -> Result<usize, DecompressionError>,
    ) -> Result<(), BodyError> {
        loop {
            match decompress(self.space.get_mut(self.filled..).unwrap_or_default()) {
                Ok(written) => {
                    self.filled += written;
                    return Ok(());
                }
                Err(DecompressionError::InsufficientSpace) => self.grow()?,
                Err(DecompressionError::BadData) => {
                    return Err(BodyError::Corrupt {
                        encoding: self.encoding,
                        reason: "its data or checksum is wrong",
                    });
                }
            }
        }
    }

    fn grow(&mut self) -> Result<(), BodyError> {
        const LEAST: usize = 4096;
        if self.space.len() >= self.limit {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        let size = self
            .space
            .len()
            .saturating_mul(2)
            .max(LEAST)
            .min(self.limit);
        if !self.reservation.grow_to(size) {
            return Err(no_room(size, self.budget));
        }
        self.space.resize(size, 0);
        Ok(())
    }

    fn since(&mut self, start: usize) -> &mut [u8] {
        self.space.get_mut(start..self.filled).unwrap_or_default()
    }

    fn finish(mut self) -> Held {
        self.space.truncate(self.filled);
        self.space.shrink_to_fit();
        Held {
            bytes: self.space.into(),
            reservation: self.reservation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdeflater::{CompressionLvl, Compressor};
    use proptest::prelude::*;

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

    fn run(body: &[u8], encoding: Encoding, budget: &Budget) -> Result<Vec<u8>, BodyError> {
        let held = Held {
            bytes: body.to_vec().into(),
            reservation: budget.reserve(0).unwrap(),
        };
        inflate(held, encoding, LIMIT, budget).map(|held| held.bytes.to_vec())
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
    fn corrupt_bodies() {
        use Encoding::{Deflate, Gzip};
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
    }

    #[test]
    fn bombs_are_refused_whatever_they_tell() {
        use Encoding::{Deflate, Gzip};
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

    #[test]
    fn encodings_by_name() {
        let parse = |name| Encoding::parse(Some(&HeaderValue::from_static(name)));
        assert_eq!(Encoding::parse(None), Some(Encoding::Identity));
        assert_eq!(parse("identity"), Some(Encoding::Identity));
        assert_eq!(parse("GZIP"), Some(Encoding::Gzip));
        assert_eq!(parse("deflate"), Some(Encoding::Deflate));
        assert_eq!(parse("zstd"), None);
        assert_eq!(parse("gzip, gzip"), None);
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(parts in prop::collection::vec(any::<Vec<u8>>(), 1..4)) {
            let budget = Budget::new(LIMIT * 2);
            let body: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
            prop_assert_eq!(run(&body, Encoding::Gzip, &budget).unwrap(), parts.concat());
            prop_assert_eq!(run(&zlib(&parts[0]), Encoding::Deflate, &budget).unwrap(), &parts[0][..]);
        }

        #[test]
        fn any_bytes_are_taken_or_refused(
            data in any::<Vec<u8>>(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let budget = Budget::new(LIMIT * 2);
            let mut body = gzip(&data);
            *at.get_mut(&mut body) = byte;
            let _ = run(&body, Encoding::Gzip, &budget);
            let _ = run(&data, Encoding::Gzip, &budget);
            let _ = run(&data, Encoding::Deflate, &budget);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
