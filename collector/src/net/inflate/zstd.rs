//! Zstandard (RFC 8878): frames one behind the other, with or without a size, some perhaps to be skipped. Called by
//! `inflate`.

use zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall;
use zstd_safe::{DCtx, decompress_bound, get_error_name, is_error_kind};

use super::{Output, Stopped, corrupt};
use crate::budget::Budget;
use crate::net::body::{BodyError, Held};

/// Spans seldom become more; what does, has to grow into it. Four bytes of a frame can promise 128 KiB, or any size.
const RATIO_AT_FIRST: usize = 32;

pub(super) fn inflate(
    decompressor: &mut DCtx<'_>,
    body: &[u8],
    limit: usize,
    budget: &Budget,
) -> Result<Held, BodyError> {
    if body.is_empty() {
        return Err(corrupt("zstd", "it is empty"));
    }
    // Exact where the frames tell their sizes; else that of their blocks, of which only the last is usually not full.
    let bound = decompress_bound(body)
        .map_err(|_| corrupt("zstd", "it is cut off, or not made of zstd's frames"))?;
    let bound = usize::try_from(bound).unwrap_or(usize::MAX);
    let expected = bound.min(body.len().saturating_mul(RATIO_AT_FIRST));
    let mut output = Output::new("zstd", expected, limit, budget)?;
    output.fill(|space| {
        decompressor.decompress(space, body).map_err(|error| {
            if is_error_kind(error, ZSTD_error_dstSize_tooSmall) {
                Stopped::Full
            } else {
                Stopped::Corrupt(get_error_name(error))
            }
        })
    })?;
    Ok(output.finish())
}
