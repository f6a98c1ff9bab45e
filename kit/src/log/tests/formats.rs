//! Lines for human readers: they read well, and no value in them does harm.

use proptest::prelude::*;

use super::{PRETTY, head, request_context};
use crate::log::format::{Head, Ids};
use crate::log::value::Value;
use crate::log::{Format, Logger};

#[test]
fn pretty_lines_read_well() {
    let (logger, captured) = Logger::capture(PRETTY, "checkout");
    let context = request_context();
    let ids = Some(Ids::new(&context, context.span_id));
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

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
