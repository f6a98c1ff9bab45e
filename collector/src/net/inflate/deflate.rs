//! `deflate`: zlib (RFC 1950), and what some clients send under that name, deflate with nothing around it (RFC 1951).
//! Called by `inflate`.

use libdeflater::{Decompressor, adler32};

use super::{Output, Stopped, corrupt};
use crate::budget::Budget;
use crate::net::body::{BodyError, Held};

/// What spans become usually; neither form tells a size.
const USUAL_RATIO: usize = 6;

const TRAILING: &str = "bytes follow its end";

pub(super) fn inflate(
    decompressor: &mut Decompressor,
    body: &[u8],
    limit: usize,
    budget: &Budget,
) -> Result<Held, BodyError> {
    let expected = body.len().saturating_mul(USUAL_RATIO);
    let mut output = Output::new("deflate", expected, limit, budget)?;
    if !is_zlib(body) {
        output.fill(|space| bare(decompressor, body, space))?;
        return Ok(output.finish());
    }
    output.fill(|space| Ok(decompressor.zlib_decompress(body, space)?))?;
    let checksum = body.last_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    if checksum != Some(adler32(output.since(0))) {
        return Err(corrupt("deflate", TRAILING));
    }
    Ok(output.finish())
}

/// Whether the first two bytes are a header of zlib's: deflate as the method, a checksum, and no dictionary. No encoder
/// begins bare deflate so: a block of stored bytes, the bits up to the next byte not being zeros.
fn is_zlib(body: &[u8]) -> bool {
    const DEFLATE: u8 = 8;
    const DICTIONARY: u8 = 1 << 5;
    body.first_chunk().is_some_and(|header: &[u8; 2]| {
        let [method, flags] = *header;
        method & 0x0f == DEFLATE
            && u16::from_be_bytes(*header).is_multiple_of(31)
            && flags & DICTIONARY == 0
    })
}

/// Without a checksum at its end, only that the last byte is needed tells that nothing follows.
fn bare(decompressor: &mut Decompressor, body: &[u8], space: &mut [u8]) -> Result<usize, Stopped> {
    let Some((_, all_but_last)) = body.split_last() else {
        return Err(Stopped::Corrupt("it is empty"));
    };
    if decompressor.deflate_decompress(all_but_last, space).is_ok() {
        return Err(Stopped::Corrupt(TRAILING));
    }
    Ok(decompressor.deflate_decompress(body, space)?)
}
