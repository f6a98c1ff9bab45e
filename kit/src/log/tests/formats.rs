//! Any name and any value in each format: what is written can be read back, or at least does no harm.

use proptest::prelude::*;
use serde_json::json;

use super::{PRETTY, head, request_context};
use crate::log::format::{Head, Ids};
use crate::log::value::Value;
use crate::log::{Format, Logger};

#[test]
fn pretty_lines_read_well() {
    let (logger, captured) = Logger::capture(PRETTY, "checkout");
    let context = request_context();
    let ids = Some(Ids {
        context: &context,
        span_id: context.span_id,
    });
    logger.write(
        &Head {
            ids,
            ..head("paid")
        },
        |line| {
            line.field("user", &Value::Text("ann b"));
            line.field("amount", &Value::F64(1.5));
            line.field("message", &Value::Bool(true));
        },
    );
    let expected = r#"2026-11-22T15:46:14.123Z  INFO shop: paid user="ann b" amount=1.5 fields.message=true trace=4bf92f35"#;
    assert_eq!(captured.lines(), [expected]);
}

#[test]
fn pretty_lines_have_colours_when_asked_for() {
    let (logger, captured) = Logger::capture(Format::Pretty { ansi: true }, "checkout");
    logger.write(&head("paid"), |line| line.field("a", &Value::I64(1)));
    let expected = "\x1b[2m2026-11-22T15:46:14.123Z\x1b[0m  \x1b[32mINFO\x1b[0m \x1b[2mshop:\x1b[0m paid \x1b[2ma=\x1b[0m1";
    assert_eq!(captured.lines(), [expected]);
}

fn any_value() -> impl Strategy<Value = OwnedValue> {
    prop_oneof![
        any::<String>().prop_map(OwnedValue::Text),
        "[\\x00-\\x7f]*".prop_map(OwnedValue::Text),
        any::<i64>().prop_map(OwnedValue::I64),
        any::<u64>().prop_map(OwnedValue::U64),
        any::<i128>().prop_map(OwnedValue::I128),
        any::<u128>().prop_map(OwnedValue::U128),
        any::<f64>().prop_map(OwnedValue::F64),
        any::<bool>().prop_map(OwnedValue::Bool),
    ]
}

#[derive(Clone, Debug)]
enum OwnedValue {
    Text(String),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Bool(bool),
}

impl OwnedValue {
    fn borrow(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::I64(number) => Value::I64(*number),
            Self::U64(number) => Value::U64(*number),
            Self::I128(number) => Value::I128(*number),
            Self::U128(number) => Value::U128(*number),
            Self::F64(number) => Value::F64(*number),
            Self::Bool(value) => Value::Bool(*value),
        }
    }

    fn expected(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => json!(text),
            Self::I64(number) => json!(number),
            Self::U64(number) => json!(number),
            Self::I128(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => json!(number),
                (_, Ok(number)) => json!(number),
                _ => json!(number.to_string()),
            },
            Self::U128(number) => {
                u64::try_from(*number).map_or(json!(number.to_string()), |number| json!(number))
            }
            Self::F64(number) if number.is_finite() => json!(number),
            Self::F64(number) if number.is_nan() => json!("NaN"),
            Self::F64(number) if *number > 0.0 => json!("Infinity"),
            Self::F64(_) => json!("-Infinity"),
            Self::Bool(value) => json!(value),
        }
    }
}

/// Equal, floats to what `serde_json` reads without its feature `float_roundtrip`.
fn same(read: &serde_json::Value, written: &serde_json::Value) -> bool {
    if !written.is_f64() {
        return read == written;
    }
    let (Some(read), Some(written)) = (read.as_f64(), written.as_f64()) else {
        return false;
    };
    read == written || ((read - written) / written).abs() < 1e-14
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "(fields\\.)?(timestamp|level|message|target|service\\.name|trace_id|request_id)",
        "[a-c]",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_line_parses_and_keeps_its_values(
        message in any::<String>(),
        fields in proptest::collection::vec((any_name(), any_value()), 0..8),
    ) {
        let (logger, captured) = Logger::capture(Format::Json, &message);
        let leaked = |name: &String| -> &'static str { name.clone().leak() };
        logger.write(&head(&message), |line| {
            for (name, value) in &fields {
                line.field(leaked(name), &value.borrow());
            }
        });
        let lines = captured.lines();
        prop_assert_eq!(lines.len(), 1);
        let line: serde_json::Map<_, _> = serde_json::from_str(&lines[0]).unwrap();
        prop_assert_eq!(&line["message"], &json!(message));
        prop_assert_eq!(&line["service.name"], &json!(message));
        prop_assert_eq!(&line["level"], "INFO");
        let mut expected = std::collections::HashMap::new();
        for (name, value) in &fields {
            let name = name.strip_prefix("fields.").filter(|rest| Format::Json.is_reserved(rest)).unwrap_or(name);
            let name = if Format::Json.is_reserved(name) { format!("fields.{name}") } else { name.to_owned() };
            expected.entry(name).or_insert(value.expected());
        }
        prop_assert_eq!(line.len(), 5 + expected.len());
        for (name, value) in expected {
            prop_assert!(same(&line[&name], &value), "{name}: {} is not {value}", line[&name]);
        }
    }

    #[test]
    fn no_pretty_line_can_be_broken_or_steer_a_terminal(
        message in any::<String>(),
        name in any::<String>(),
        value in prop_oneof![any::<String>(), "[\\x00-\\x1f\\x7f-\\x9f\u{202a}-\u{202e}\"\\\\]*"],
    ) {
        let (logger, captured) = Logger::capture(PRETTY, "checkout");
        logger.write(&head(&message), |line| {
            line.field(name.leak(), &Value::Text(&value));
            line.field("shown", &Value::Debug(&format_args!("{value}")));
        });
        let lines = captured.lines();
        prop_assert_eq!(lines.len(), 1);
        let steers = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        prop_assert!(!lines[0].contains(steers), "{:?}", lines[0]);
    }
}
