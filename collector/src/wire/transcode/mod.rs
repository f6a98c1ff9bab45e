//! OTLP/JSON, Zipkin JSON v2 and Zipkin protobuf, turned into the bytes of their signal's request in one pass over the
//! body. Called by `receive`; from there on such a batch is like any other.

mod base64_value;
mod ids;
mod json_number;
mod json_reader;
mod json_text;
mod otlp_json;
#[cfg(test)]
mod tests;
mod zipkin;

use super::proto_writer::{self, Expected, ProtoWriter};
use json_reader::{JsonError, JsonReader, JsonResult};
pub use otlp_json::{
    most_otlp_json, most_otlp_metrics_json, otlp_json, otlp_logs_json, otlp_metrics_json,
};
pub use zipkin::{MOST_MEMORY, zipkin_json, zipkin_protobuf};

/// Why a body could not be turned into OTLP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscodeError {
    /// Not the JSON it should be.
    #[error("line {line}, column {column} ({item} {number}, counted from 0): {reason}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is counted: spans, log records, data points.
        item: &'static str,
        /// Which of them is under way, from 0 on.
        number: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Not the protobuf it should be.
    #[error("span {span} (counted from 0): {reason}")]
    Protobuf {
        /// The span under way, from 0 on.
        span: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// As OTLP, with what is needed to make it, it would take more than it may.
    #[error("as OTLP it takes more than {limit} bytes; send less at once")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl TranscodeError {
    /// A fault in `body`, told by line, column and item.
    fn json(body: &str, (item, number): (&'static str, usize), error: JsonError) -> Self {
        let before = body.get(..error.at).unwrap_or(body);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let in_line = before.get(line_start..).unwrap_or_default();
        Self::Json {
            line: 1 + before.bytes().filter(|&byte| byte == b'\n').count(),
            column: 1 + in_line.chars().count(),
            item,
            number,
            reason: error.reason.into_owned(),
        }
    }
}

/// JSON is UTF-8 (RFC 8259, section 8.1). A fault is in the first `item`, as far as is known.
fn utf8<'a>(body: &'a [u8], item: &'static str) -> Result<&'a str, TranscodeError> {
    std::str::from_utf8(body).map_err(|error| {
        let valid = body.get(..error.valid_up_to()).unwrap_or_default();
        let error = JsonError {
            at: valid.len(),
            reason: "the body is not UTF-8".into(),
        };
        // Cut where the fault is, the body is text.
        let text = std::str::from_utf8(valid).unwrap_or_default();
        TranscodeError::json(text, (item, 0), error)
    })
}

/// Reads a text into `field`; protobuf leaves out an empty one.
#[inline]
fn copy_text(json: &mut JsonReader<'_>, out: &mut ProtoWriter, field: u32) -> JsonResult<()> {
    match json.plain_string()? {
        Some(text) => out.text(field, text),
        None => copy_escaped(json, out, field)?,
    }
    Ok(())
}

/// Reads a text into `field`, also an empty one: a member of a oneof, an element of a list.
#[inline]
fn copy_value(json: &mut JsonReader<'_>, out: &mut ProtoWriter, field: u32) -> JsonResult<()> {
    match json.plain_string()? {
        Some(text) => out.bytes(field, text.as_bytes()),
        None => copy_escaped(json, out, field)?,
    }
    Ok(())
}

fn copy_escaped(json: &mut JsonReader<'_>, out: &mut ProtoWriter, field: u32) -> JsonResult<()> {
    let text = out.open(field, Expected::Small);
    json.escaped_string(|piece| out.fields(piece.as_bytes()))?;
    out.close(text);
    Ok(())
}
