//! One field value as `tracing` gives it, and the visitor that collects them. Used by the formats.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};

/// How many causes of an error are told; a chain that runs in a circle ends here too.
const MAX_CAUSES: usize = 16;

/// A field's value: numbers and booleans keep their type, all else is text.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    /// `%` and `?` fields, which `tracing` hands over alike.
    Debug(&'a dyn fmt::Debug),
    Error(&'a (dyn Error + 'static)),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Bool(bool),
}

impl Value<'_> {
    /// Whether JSON can write the value as a number or a boolean: readers keep integers of at most
    /// 64 bits, and JSON has no NaN and no infinity (RFC 8259 §6).
    pub(super) fn is_literal(&self) -> bool {
        match *self {
            Self::Text(_) | Self::Debug(_) | Self::Error(_) => false,
            Self::I64(_) | Self::U64(_) | Self::Bool(_) => true,
            Self::I128(number) => i64::try_from(number).is_ok() || u64::try_from(number).is_ok(),
            Self::U128(number) => u64::try_from(number).is_ok(),
            Self::F64(number) => number.is_finite(),
        }
    }

    /// Writes the value as text, errors with their causes.
    pub(super) fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match *self {
            Self::Text(text) => out.write_str(text),
            Self::Debug(value) => write!(out, "{value:?}"),
            Self::Error(error) => write_causes(out, error),
            Self::I64(number) => out.write_str(itoa::Buffer::new().format(number)),
            Self::U64(number) => out.write_str(itoa::Buffer::new().format(number)),
            Self::I128(number) => out.write_str(itoa::Buffer::new().format(number)),
            Self::U128(number) => out.write_str(itoa::Buffer::new().format(number)),
            Self::F64(number) => write_float(out, number),
            Self::Bool(value) => out.write_str(if value { "true" } else { "false" }),
        }
    }
}

fn write_causes(out: &mut impl fmt::Write, error: &dyn Error) -> fmt::Result {
    write!(out, "{error}")?;
    let mut cause = error.source();
    for _ in 0..MAX_CAUSES {
        let Some(error) = cause else { break };
        write!(out, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

/// Non-finite numbers are named as in the JSON mapping of Protocol Buffers, which OTLP/JSON follows.
fn write_float(out: &mut impl fmt::Write, number: f64) -> fmt::Result {
    if number.is_finite() {
        out.write_str(ryu::Buffer::new().format_finite(number))
    } else if number.is_nan() {
        out.write_str("NaN")
    } else if number > 0.0 {
        out.write_str("Infinity")
    } else {
        out.write_str("-Infinity")
    }
}

/// Calls a function with the name and value of each recorded field.
pub(super) struct EachField<F>(pub(super) F);

impl<F: FnMut(&'static str, Value<'_>)> Visit for EachField<F> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        (self.0)(field.name(), Value::Debug(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        (self.0)(field.name(), Value::Error(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        (self.0)(field.name(), Value::Text(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        (self.0)(field.name(), Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        (self.0)(field.name(), Value::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        (self.0)(field.name(), Value::I128(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        (self.0)(field.name(), Value::U128(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        (self.0)(field.name(), Value::F64(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        (self.0)(field.name(), Value::Bool(value));
    }
}
