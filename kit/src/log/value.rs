//! One field value as `tracing` gives it, and the visitor that collects them. Used by the formats.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tracing::field::{Field, Visit};

/// How many causes of an error are told; a chain that runs in a circle ends here too.
const MAX_CAUSES: usize = 16;

/// A field's value: numbers and booleans keep their type, all else is text.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    /// `%` and `?` fields, which `tracing` hands over alike.
    Debug(&'a dyn fmt::Debug),
    /// What one of those was formatted to before.
    Formatted(&'a str),
    Error(&'a (dyn Error + 'static)),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Bool(bool),
    /// In seconds; exact, unlike a float.
    Seconds(Duration),
    Address(IpAddr),
}

impl Value<'_> {
    /// Whether JSON can write the value as a number or a boolean: readers keep integers of at most
    /// 64 bits, and JSON has no NaN and no infinity (RFC 8259 §6).
    pub(super) fn is_literal(&self) -> bool {
        match *self {
            Self::Text(_)
            | Self::Debug(_)
            | Self::Formatted(_)
            | Self::Error(_)
            | Self::Address(_) => false,
            Self::I64(_) | Self::U64(_) | Self::Bool(_) | Self::Seconds(_) => true,
            Self::I128(number) => i64::try_from(number).is_ok() || u64::try_from(number).is_ok(),
            Self::U128(number) => u64::try_from(number).is_ok(),
            Self::F64(number) => number.is_finite(),
        }
    }

    /// Whether the value may be any text of any length: it must be escaped and cut.
    pub(super) fn is_free(&self) -> bool {
        matches!(
            self,
            Self::Text(_) | Self::Debug(_) | Self::Formatted(_) | Self::Error(_)
        )
    }

    /// Writes the value as text, errors with their causes.
    pub(crate) fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match *self {
            Self::Text(text) | Self::Formatted(text) => out.write_str(text),
            Self::Debug(value) => write!(out, "{value:?}"),
            Self::Error(error) => write_causes(out, error),
            Self::I64(number) => out.write_str(itoa::Buffer::new().format(number)),
            Self::U64(number) => out.write_str(itoa::Buffer::new().format(number)),
            Self::I128(number) => out.write_str(itoa::Buffer::new().format(number)),
            Self::U128(number) => out.write_str(itoa::Buffer::new().format(number)),
            Self::F64(number) => write_float(out, number),
            Self::Bool(value) => out.write_str(if value { "true" } else { "false" }),
            Self::Seconds(duration) => write_seconds(out, duration),
            Self::Address(IpAddr::V4(address)) => write_ipv4(out, address),
            Self::Address(IpAddr::V6(address)) => write!(out, "{address}"),
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

/// Seconds with a fraction of one to nine digits.
fn write_seconds(out: &mut impl fmt::Write, duration: Duration) -> fmt::Result {
    out.write_str(itoa::Buffer::new().format(duration.as_secs()))?;
    // The leading one keeps the zeros behind the point.
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(1_000_000_000 + duration.subsec_nanos());
    let fraction = digits.get(1..).unwrap_or("0").trim_end_matches('0');
    out.write_str(".")?;
    out.write_str(if fraction.is_empty() { "0" } else { fraction })
}

/// The standard library pads, which costs ten times as much.
fn write_ipv4(out: &mut impl fmt::Write, address: Ipv4Addr) -> fmt::Result {
    let [a, b, c, d] = address.octets();
    out.write_str(itoa::Buffer::new().format(a))?;
    for octet in [b, c, d] {
        out.write_str(".")?;
        out.write_str(itoa::Buffer::new().format(octet))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value<'_>, expected: &str) {
        let mut out = String::new();
        value.write(&mut out).unwrap();
        assert_eq!(out, expected);
    }

    #[test]
    fn writes_durations_in_seconds() {
        check(Value::Seconds(Duration::ZERO), "0.0");
        check(Value::Seconds(Duration::from_nanos(1)), "0.000000001");
        check(Value::Seconds(Duration::from_millis(12_500)), "12.5");
        check(Value::Seconds(Duration::from_secs(60)), "60.0");
        check(
            Value::Seconds(Duration::MAX),
            "18446744073709551615.999999999",
        );
    }

    #[test]
    fn writes_addresses() {
        for address in ["0.0.0.0", "127.0.0.1", "255.10.100.9", "::1", "2001:db8::a"] {
            check(Value::Address(address.parse().unwrap()), address);
        }
    }

    #[test]
    fn writes_floats_as_short_as_they_can_be_read_back() {
        check(Value::F64(0.1), "0.1");
        check(Value::F64(-0.0), "-0.0");
        check(Value::F64(1e300), "1e300");
        check(Value::F64(f64::NEG_INFINITY), "-Infinity");
    }

    #[test]
    fn an_error_that_is_its_own_cause_ends() {
        #[derive(Debug)]
        struct Circular;
        impl fmt::Display for Circular {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("again")
            }
        }
        impl Error for Circular {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(self)
            }
        }
        check(
            Value::Error(&Circular),
            &["again"; MAX_CAUSES + 1].join(": "),
        );
    }
}
