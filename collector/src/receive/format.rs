//! The formats a batch may come in, and its way from each to OTLP protobuf within reserved memory. Used by the receivers
//! over plain HTTP.

use crate::budget::{Budget, Reservation};
use crate::net::body::{BodyError, Held, no_room};
use crate::net::rpc_status::{Code, RpcStatus};
use crate::wire::{
    MOST_MEMORY, TranscodeError, most_otlp_json, otlp_json, zipkin_json, zipkin_protobuf,
};

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Taken as it is.
    OtlpProtobuf,
    OtlpJson,
    ZipkinJson,
    ZipkinProtobuf,
}

impl Format {
    /// `body` as OTLP protobuf. Memory for it is reserved from `budget` before it is made; `body`'s own is given back
    /// after.
    ///
    /// # Errors
    /// The status to answer with.
    pub(super) fn into_otlp(self, body: Held, budget: &Budget) -> Result<Held, RpcStatus> {
        if self == Self::OtlpProtobuf {
            return Ok(body);
        }
        let [enough, most] = self.memory(body.bytes.len());
        match self.transcode(&body, enough, budget) {
            Err(Failed::Transcode(TranscodeError::TooLarge { .. })) if most > enough => {
                self.transcode(&body, most, budget)
            }
            done => done,
        }
        .map_err(RpcStatus::from)
    }

    /// Bytes that a body of `length` bytes needs beside itself: nearly always, and at the very most. Nearly always a
    /// few spans need little; the worst body needs so much that few could be under way if all were taken for such.
    fn memory(self, length: usize) -> [usize; 2] {
        const LEAST: usize = 4_096;
        let times = |factor: usize| length.saturating_mul(factor).saturating_add(LEAST);
        match self {
            Self::OtlpProtobuf => [0; 2],
            Self::OtlpJson => [most_otlp_json(length); 2],
            Self::ZipkinJson => [times(2), times(MOST_MEMORY)],
            Self::ZipkinProtobuf => [times(3), times(MOST_MEMORY)],
        }
    }

    fn transcode(self, body: &Held, memory: usize, budget: &Budget) -> Result<Held, Failed> {
        let mut reservation = reserve(memory, body, budget)?;
        let bytes = match self {
            Self::OtlpProtobuf => body.bytes.to_vec(),
            Self::OtlpJson => otlp_json(&body.bytes)?,
            Self::ZipkinJson => zipkin_json(&body.bytes, memory)?,
            Self::ZipkinProtobuf => zipkin_protobuf(&body.bytes, memory)?,
        };
        reservation.shrink_to(bytes.len());
        Ok(Held {
            bytes: bytes.into(),
            reservation,
        })
    }
}

fn reserve(bytes: usize, body: &Held, budget: &Budget) -> Result<Reservation, BodyError> {
    let limit = budget.limit().saturating_sub(body.reservation.bytes());
    if bytes > limit {
        // Beside the body itself, more than this will never have room.
        let limit = budget.limit() / (1 + bytes.div_ceil(body.bytes.len().max(1)));
        return Err(BodyError::TooLarge { limit });
    }
    budget.reserve(bytes).ok_or_else(|| no_room(bytes, budget))
}

/// Why a body did not become OTLP.
enum Failed {
    Body(BodyError),
    Transcode(TranscodeError),
}

impl From<BodyError> for Failed {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<TranscodeError> for Failed {
    fn from(error: TranscodeError) -> Self {
        Self::Transcode(error)
    }
}

impl From<Failed> for RpcStatus {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Body(error) => error.into(),
            Failed::Transcode(error @ TranscodeError::TooLarge { .. }) => {
                Self::new(Code::ResourceExhausted, error.to_string())
            }
            Failed::Transcode(error) => Self::new(Code::InvalidArgument, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_stays_reserved_and_nothing_else() {
        let budget = Budget::new(1 << 20);
        for (format, body) in [
            (Format::OtlpJson, &br#"{"resourceSpans":[{}]}"#[..]),
            (Format::ZipkinJson, br#"[{"traceId":"1","id":"1"}]"#),
            (Format::ZipkinProtobuf, b"\x0a\x06\x0a\x01\x01\x1a\x01\x01"),
        ] {
            let held = Held {
                bytes: body.into(),
                reservation: budget.reserve(body.len()).unwrap(),
            };
            let made = format.into_otlp(held, &budget).unwrap();
            assert!(!made.bytes.is_empty());
            assert_eq!(budget.used(), made.bytes.len(), "{format:?}");
            drop(made);
            assert_eq!(budget.used(), 0);
        }
    }
}
