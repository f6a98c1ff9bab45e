//! The formats a batch may come in, and its way from each to OTLP protobuf within reserved memory. Used by the receivers
//! over plain HTTP.

use crate::budget::{Budget, Reservation};
use crate::net::body::{BodyError, Held, no_room};
use crate::net::rpc_status::{Code, RpcStatus};
use crate::signal::Signal;
use crate::wire::{
    MOST_MEMORY, TranscodeError, most_otlp_json, most_otlp_metrics_json, otlp_json, otlp_logs_json,
    otlp_metrics_json, zipkin_json, zipkin_protobuf,
};

/// What a body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Taken as it is.
    OtlpProtobuf,
    OtlpJson,
    ZipkinJson,
    ZipkinProtobuf,
}

impl Format {
    /// `body`, which is of `signal`, as OTLP protobuf. Memory for it is reserved from `budget` before it is made;
    /// `body`'s own is given back after.
    ///
    /// # Errors
    /// The status to answer with.
    pub(super) fn into_otlp(
        self,
        signal: Signal,
        body: Held,
        budget: &Budget,
    ) -> Result<Held, RpcStatus> {
        if self == Self::OtlpProtobuf {
            return Ok(body);
        }
        let [enough, most] = self.memory(signal, body.bytes.len());
        match self.transcode(signal, &body, enough, budget) {
            Err(Failed::Transcode(TranscodeError::TooLarge { .. })) if most > enough => {
                self.transcode(signal, &body, most, budget)
            }
            done => done,
        }
        .map_err(RpcStatus::from)
    }

    /// Bytes that a body of `length` bytes needs beside itself: nearly always, and at the very most. Nearly always a
    /// few spans need little; the worst body needs so much that few could be under way if all were taken for such.
    fn memory(self, signal: Signal, length: usize) -> [usize; 2] {
        const LEAST: usize = 4_096;
        let times = |factor: usize| length.saturating_mul(factor).saturating_add(LEAST);
        match self {
            Self::OtlpProtobuf => [0; 2],
            Self::OtlpJson if signal == Signal::Metrics => {
                [most_otlp_json(length), most_otlp_metrics_json(length)]
            }
            Self::OtlpJson => [most_otlp_json(length); 2],
            Self::ZipkinJson => [times(2), times(MOST_MEMORY)],
            Self::ZipkinProtobuf => [times(3), times(MOST_MEMORY)],
        }
    }

    fn transcode(
        self,
        signal: Signal,
        body: &Held,
        memory: usize,
        budget: &Budget,
    ) -> Result<Held, Failed> {
        let mut reservation = reserve(memory, body, budget)?;
        let bytes = match self {
            Self::OtlpProtobuf => body.bytes.to_vec(),
            Self::OtlpJson => match signal {
                Signal::Traces => otlp_json(&body.bytes)?,
                Signal::Logs => otlp_logs_json(&body.bytes)?,
                Signal::Metrics => otlp_metrics_json(&body.bytes, memory)?,
            },
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
        let bounds = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"histogram":{"dataPoints":[{
            "explicitBounds":[0,1,2,3,4,5,6,7,8,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9]}]}}]}]}]}"#;
        let (traces, logs, metrics) = (Signal::Traces, Signal::Logs, Signal::Metrics);
        for (format, signal, body) in [
            (Format::OtlpJson, traces, &br#"{"resourceSpans":[{}]}"#[..]),
            (Format::OtlpJson, logs, br#"{"resourceLogs":[{}]}"#),
            // More than it was in JSON: only the second try has the memory.
            (Format::OtlpJson, metrics, bounds),
            (Format::ZipkinJson, traces, br#"[{"traceId":"1","id":"1"}]"#),
            (
                Format::ZipkinProtobuf,
                traces,
                b"\x0a\x06\x0a\x01\x01\x1a\x01\x01",
            ),
        ] {
            let held = Held {
                bytes: body.into(),
                reservation: budget.reserve(body.len()).unwrap(),
            };
            let made = format.into_otlp(signal, held, &budget).unwrap();
            assert!(!made.bytes.is_empty());
            assert!(signal != metrics || made.bytes.len() > body.len());
            assert_eq!(budget.used(), made.bytes.len(), "{format:?}");
            drop(made);
            assert_eq!(budget.used(), 0);
        }
    }
}
