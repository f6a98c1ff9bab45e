//! Request bodies as one gzip member or one zstd frame: many readers stop at the end of the first. Called by `peer`.

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use libdeflater::CompressionLvl;
use zstd_safe::{CCtx, CParameter};

use super::config::Compression;

/// The fastest of both, for spans are so repetitive that more work saves little: of a shop's, gzip leaves 11.6 % at
/// 0.7 GB/s (at level 6, 11.1 % at half the speed), zstd 10.3 % at 1.4 GB/s (at level 3, as much at 1 GB/s and with twice
/// the memory).
const LEVEL: i32 = 1;

/// A compressor; it keeps its tables between bodies, at most 0.6 MiB.
pub(super) enum Compressor {
    Gzip(libdeflater::Compressor),
    Zstd(CCtx<'static>),
}

impl Compressor {
    /// `None` where nothing is to be compressed.
    pub(super) fn new(compression: Compression) -> Option<Self> {
        match compression {
            Compression::None => None,
            Compression::Gzip => {
                let level = CompressionLvl::new(LEVEL).unwrap_or_default();
                Some(Self::Gzip(libdeflater::Compressor::new(level)))
            }
            Compression::Zstd => {
                let mut compressor = CCtx::create();
                // Both are always allowed before the first body.
                let _ = compressor.set_parameter(CParameter::CompressionLevel(LEVEL));
                let _ = compressor.set_parameter(CParameter::ChecksumFlag(true));
                Some(Self::Zstd(compressor))
            }
        }
    }

    /// What headers call it.
    pub(super) fn encoding(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip(_) => "gzip",
            Self::Zstd(_) => "zstd",
        })
    }

    /// `pieces` one after another, compressed; `None` if the library cannot, which its own bound on the size of the
    /// outcome rules out. Needs that bound beside the pieces, and a copy of them unless there is only one.
    pub(super) fn compress(&mut self, pieces: &[Bytes]) -> Option<Bytes> {
        let joined;
        let whole = match pieces {
            [one] => one,
            several => {
                joined = several.concat();
                &joined[..]
            }
        };
        let bound = match self {
            Self::Gzip(compressor) => compressor.gzip_compress_bound(whole.len()),
            Self::Zstd(_) => zstd_safe::compress_bound(whole.len()),
        };
        let mut out = vec![0; bound];
        let length = match self {
            Self::Gzip(compressor) => compressor.gzip_compress(whole, &mut out).ok()?,
            Self::Zstd(compressor) => compressor.compress2(&mut out[..], whole).ok()?,
        };
        out.truncate(length);
        // What waits to be sent may wait long, and the bound was a guess.
        out.shrink_to_fit();
        Some(out.into())
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::net::body::Held;
    use crate::net::encoding::Encoding;
    use crate::net::inflate::inflate;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    fn inflated(encoding: Encoding, bytes: Bytes) -> Bytes {
        let budget = Budget::new(2 * LIMIT);
        let reservation = budget.reserve(0).unwrap();
        let body = Held { bytes, reservation };
        inflate(body, encoding, LIMIT, &budget).unwrap().bytes
    }

    proptest! {
        #[test]
        fn one_body_holds_all_pieces(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2_000), 0..4),
            repeated in 1..50_usize,
        ) {
            let pieces: Vec<Bytes> = pieces.iter().map(|piece| piece.repeat(repeated).into()).collect();
            for (compression, encoding) in [
                (Compression::Gzip, Encoding::Gzip),
                (Compression::Zstd, Encoding::Zstd),
            ] {
                let mut compressor = Compressor::new(compression).unwrap();
                let body = compressor.compress(&pieces).unwrap();
                prop_assert_eq!(inflated(encoding, body), pieces.concat());
                let again = compressor.compress(&pieces[..pieces.len().min(1)]).unwrap();
                prop_assert_eq!(inflated(encoding, again), pieces.first().cloned().unwrap_or_default());
            }
        }
    }

    #[test]
    fn tables_stay_as_small_as_reckoned() {
        let Some(Compressor::Zstd(compressor)) = &mut Compressor::new(Compression::Zstd) else {
            panic!("zstd was asked for")
        };
        let body: Vec<u8> = (0..4 << 20)
            .map(|at: u32| (at.wrapping_mul(at) >> 13) as u8)
            .collect();
        let mut out = vec![0; zstd_safe::compress_bound(body.len())];
        compressor.compress2(&mut out[..], &body).unwrap();
        let most = super::super::peer::TABLE_BYTES;
        assert!(compressor.sizeof() <= most, "{}", compressor.sizeof());
    }
}
