//! Request bodies as one gzip member: most readers stop at the end of the first. Called by `peer`.

use std::fmt;

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};

/// The fastest, for spans are so repetitive that more work saves little: a shop's are left with 11.6 % at 0.7 GB/s, at
/// level 6 with 11.1 % at half the speed.
const LEVEL: i32 = 1;

/// A compressor; it keeps its tables between bodies.
pub(super) struct Gzip(Compressor);

impl Gzip {
    pub(super) fn new() -> Self {
        let level = CompressionLvl::new(LEVEL).unwrap_or_default();
        Self(Compressor::new(level))
    }

    /// `pieces` one after another, compressed; `None` if the library cannot, which its own bound on the size of the
    /// outcome rules out.
    pub(super) fn compress(&mut self, pieces: &[Bytes]) -> Option<Bytes> {
        let whole = pieces.concat();
        let mut out = vec![0; self.0.gzip_compress_bound(whole.len())];
        let length = self.0.gzip_compress(&whole, &mut out).ok()?;
        out.truncate(length);
        // What waits to be sent may wait long, and the bound was a guess.
        out.shrink_to_fit();
        Some(out.into())
    }
}

impl fmt::Debug for Gzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gzip").finish_non_exhaustive()
    }
}
