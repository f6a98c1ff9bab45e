//! Gzip (RFC 1952): members one behind the other, each of which tells its size at its end. Called by `inflate`.

use libdeflater::{Decompressor, crc32};
use memchr::memmem;

use super::{Output, corrupt};
use crate::budget::Budget;
use crate::net::body::{BodyError, Held};

/// A member is at least this long: header, empty block, trailer.
const MIN_MEMBER_BYTES: usize = BEFORE_TRAILER + TRAILER;
const BEFORE_TRAILER: usize = 12;
const TRAILER: usize = 8;

/// Deflate cannot do better, so a larger size told by a body is a lie.
const MAX_RATIO: usize = 1032;

/// Nobody but an attacker sends more; each costs a search of its own.
const MAX_MEMBERS: usize = 256;

/// Places where a member may end that are tried before the body is called corrupt.
const MAX_END_TRIALS: usize = 16;

pub(super) fn inflate(
    decompressor: &mut Decompressor,
    mut body: &[u8],
    limit: usize,
    budget: &Budget,
) -> Result<Held, BodyError> {
    let told = body
        .last_chunk()
        .filter(|_| body.len() >= MIN_MEMBER_BYTES)
        .map(|size| u32::from_le_bytes(*size) as usize)
        .ok_or_else(|| corrupt("gzip", "it is too short to be one"))?;
    let most = body.len().saturating_mul(MAX_RATIO);
    if told > limit && told <= most {
        return Err(BodyError::TooLarge { limit });
    }
    let mut output = Output::new("gzip", told.min(most), limit, budget)?;
    for _ in 0..MAX_MEMBERS {
        let start = output.filled;
        output.fill(|space| Ok(decompressor.gzip_decompress(body, space)?))?;
        let end = member_end(decompressor, body, &mut output, start)
            .ok_or_else(|| corrupt("gzip", "the end of a member is ambiguous"))?;
        body = body.get(end..).unwrap_or_default();
        if body.is_empty() {
            return Ok(output.finish());
        }
    }
    Err(corrupt("gzip", "it has too many members"))
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
    let mut trailer = [0; TRAILER];
    let (checksum, size) = trailer.split_at_mut(4);
    checksum.copy_from_slice(&crc32(member).to_le_bytes());
    size.copy_from_slice(&(member.len() as u32).to_le_bytes());
    let finder = memmem::Finder::new(&trailer);
    let mut from = BEFORE_TRAILER;
    for trial in 0..MAX_END_TRIALS {
        let at = from + finder.find(body.get(from..)?)?;
        let end = at + TRAILER;
        // A trial that failed may have written over the output.
        let is_untouched = trial == 0;
        if end == body.len() && is_untouched {
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
