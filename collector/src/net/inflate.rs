//! Decompression of bodies, bounded before it starts: a body that would not fit the limit or the budget is
//! refused without allocating for it. Called by `receive` and by the gRPC framing.
//!
//! Each body is decompressed in one go into one buffer, which is reserved first and doubled when it was too small. What
//! comes out is its own window, so a body that asks for a large one (zstd's may be 2 GiB) costs no memory for it.

mod deflate;
mod gzip;
#[cfg(test)]
mod tests;
mod zstd;

use std::cell::RefCell;

use libdeflater::{DecompressionError, Decompressor};
use zstd_safe::DCtx;

use super::body::{BodyError, Held, no_room};
use super::encoding::Encoding;
use crate::budget::{Budget, Reservation};

thread_local! {
    // Each thread that uses them has its own, of less than 100 KiB.
    static DEFLATE: RefCell<Decompressor> = RefCell::new(Decompressor::new());
    static ZSTD: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
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
    let bytes = &body.bytes[..];
    match encoding {
        Encoding::Identity => Ok(body),
        Encoding::Gzip => DEFLATE.with_borrow_mut(|with| gzip::inflate(with, bytes, limit, budget)),
        Encoding::Deflate => {
            DEFLATE.with_borrow_mut(|with| deflate::inflate(with, bytes, limit, budget))
        }
        Encoding::Zstd => ZSTD.with_borrow_mut(|with| zstd::inflate(with, bytes, limit, budget)),
    }
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

/// Why a decompressor stopped.
enum Stopped {
    /// The space was too small.
    Full,
    /// The body is not what it should be.
    Corrupt(&'static str),
}

impl<'a> Output<'a> {
    /// Space for `expected` bytes, or for `limit` if that is less.
    fn new(
        encoding: &'static str,
        expected: usize,
        limit: usize,
        budget: &'a Budget,
    ) -> Result<Self, BodyError> {
        let size = expected.min(limit);
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
        mut decompress: impl FnMut(&mut [u8]) -> Result<usize, Stopped>,
    ) -> Result<(), BodyError> {
        loop {
            match decompress(self.space.get_mut(self.filled..).unwrap_or_default()) {
                Ok(written) => {
                    self.filled += written;
                    return Ok(());
                }
                Err(Stopped::Full) => self.grow()?,
                Err(Stopped::Corrupt(reason)) => return Err(corrupt(self.encoding, reason)),
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
        self.reservation.shrink_to(self.filled);
        Held {
            bytes: self.space.into(),
            reservation: self.reservation,
        }
    }
}

fn corrupt(encoding: &'static str, reason: &'static str) -> BodyError {
    BodyError::Corrupt { encoding, reason }
}

impl From<DecompressionError> for Stopped {
    fn from(error: DecompressionError) -> Self {
        match error {
            DecompressionError::InsufficientSpace => Self::Full,
            DecompressionError::BadData => Self::Corrupt("its data or checksum is wrong"),
        }
    }
}
