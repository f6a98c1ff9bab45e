//! The reader of JSON against serde_json.

use proptest::prelude::*;
use serde_json::Value;

use crate::wire::transcode::json_reader::{JsonReader, JsonResult, MAX_DEPTH};

/// Any JSON value as serde_json has it, read by this reader.
fn value(json: &mut JsonReader<'_>) -> JsonResult<Value> {
    Ok(match json.peek() {
        Some(b'"') => Value::from(json.string()?),
        Some(b'{') => {
            let mut object = serde_json::Map::new();
            json.object(|json, name| {
                object.insert(name.into_owned(), value(json)?);
                Ok(())
            })?;
            Value::Object(object)
        }
        Some(b'[') => {
            let mut array = Vec::new();
            json.array(|json| {
                array.push(value(json)?);
                Ok(())
            })?;
            Value::Array(array)
        }
        Some(b't' | b'f') => Value::from(json.boolean()?),
        Some(b'n') => json.null().map(|_| Value::Null)?,
        _ => json.double().map(|_| Value::from(0))?,
    })
}

fn read(text: &str) -> JsonResult<Value> {
    let mut json = JsonReader::new(text);
    let value = value(&mut json)?;
    json.end()?;
    Ok(value)
}

fn skipped(text: &str) -> bool {
    let mut json = JsonReader::new(text);
    json.skip().and_then(|()| json.end()).is_ok()
}

/// The same value without null members, which this reader does not hand on, and with every number as 0: serde_json
/// reads them less exactly than this reader.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(_) => Value::from(0),
        Value::Array(array) => array.into_iter().map(plain).collect(),
        Value::Object(object) => Value::Object(
            object
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, plain(value)))
                .collect(),
        ),
        other => other,
    }
}

fn check(text: &str) {
    let theirs: Result<Value, _> = serde_json::from_str(text);
    let ours = read(text);
    assert_eq!(skipped(text), theirs.is_ok(), "skipping {text:?}");
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, plain(theirs), "{text:?}"),
        (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("{text:?}: {ours:?}, serde_json: {theirs:?}"),
    }
}

#[test]
fn texts_and_faults_are_those_of_the_grammar() {
    for text in [
        "",
        " ",
        "nul",
        "nulls",
        "true",
        "tru",
        "false ",
        "\"\"",
        "\"",
        "\"a",
        "\"a\\",
        "\"\\u00e4\\n\\/\\b\\f\\r\\t\\\"\\\\\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "\"\\x\"",
        "\"12345678\u{1f}\"",
        "\"a\tb\"",
        "\"123\u{1f}4567890\"",
        "\"1234567\u{7f}ä\"",
        "0",
        "-0",
        "00",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.5e",
        "1.5e+",
        "1.5e+7",
        "-1E-2",
        "Infinity",
        "[]",
        "[1,]",
        "[1 2]",
        "[[[{}]]]",
        "[",
        "{}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{\"a\":null,\"b\":[null]}",
        "{\"a\":{\"b\":\"c\"},\"d\":[]} x",
        "{\"a\":1}}",
    ] {
        check(text);
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    assert!(skipped(&nested(MAX_DEPTH)));
    assert!(!skipped(&nested(MAX_DEPTH + 1)));
    assert!(!skipped(&"{\"a\":".repeat(1_000_000)));
}

#[test]
fn whole_numbers_in_every_spelling() {
    let check = |text: &str, expected: Option<i64>| {
        assert_eq!(JsonReader::new(text).integer().ok(), expected, "{text}");
    };
    check("7", Some(7));
    check("\"-7\"", Some(-7));
    check("\"9223372036854775807\"", Some(i64::MAX));
    check("-9223372036854775808", Some(i64::MIN));
    check("9223372036854775808", None);
    check("1.5e3", Some(1500));
    check("\"2.0\"", Some(2));
    check("2.5", None);
    check("\"+2\"", None);
    check("\"\"", None);
    check("\" 2\"", None);
    check("1e40", None);
    check("true", None);
    // Beyond what a double holds.
    check("\"9007199254740993.0\"", Some(9_007_199_254_740_993));
    check("922337203685477580.7e1", Some(i64::MAX));
    check("-9223372036854775808.000", Some(i64::MIN));
    check("9223372036854775807.5", None);
    check("1e-1", None);
    check("0.001e3", Some(1));
    check("100e-2", Some(1));
    check("0e99999999999999999999", Some(0));
    check("1e99999999999999999999", None);
    check("1e-99999999999999999999", None);
    check("-0.0", Some(0));
    let mut json = JsonReader::new("18446744073709551615");
    assert_eq!(json.integer::<u64>().unwrap(), u64::MAX);
    assert!(JsonReader::new("-1").integer::<u64>().is_err());
}

#[test]
fn what_is_passed_over_may_be_of_any_length() {
    let long = format!("\"{}\"", "\\n".repeat(300_000));
    assert!(skipped(&long));
    assert!(skipped(&format!("{{{long}:[{long}]}}")));
    assert!(JsonReader::new(&long).string().is_err(), "it is not copied");
}

#[test]
fn doubles_by_name_and_in_quotes() {
    let double = |text: &str| JsonReader::new(text).double();
    assert!(double("\"NaN\"").unwrap().is_nan());
    assert_eq!(double("\"-Infinity\"").unwrap(), f64::NEG_INFINITY);
    assert_eq!(double("\"0.25\"").unwrap(), 0.25);
    for wrong in ["\"nan\"", "\"inf\"", "\"\"", "\"1.\"", "1e999", "null"] {
        assert!(double(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert!(skipped("\u{feff}{}"));
    assert!(!skipped("{}\u{feff}"));
}

proptest! {
    #[test]
    fn any_text_is_read_as_serde_json_reads_it(text in "[\\[\\]{}:,\"\\\\untrfalse0-9.eE+ a\u{e4}\n-]{0,24}") {
        check(&text);
    }

    #[test]
    fn any_string_comes_back(text in any::<String>()) {
        check(&serde_json::to_string(&text).unwrap());
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        check(&format!("\"{escaped}\""));
    }

    #[test]
    fn any_whole_number_comes_back_from_any_place_of_its_point(number: i64, places in 0..30_usize) {
        let digits = format!("{:0>30}", number.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = if number < 0 { "-" } else { "" };
        let point = if places > 0 { "." } else { "" };
        let text = format!("{sign}{whole}{point}{fraction}e{places}");
        prop_assert_eq!(JsonReader::new(&text).integer::<i64>().ok(), Some(number), "{}", text);
    }

    #[test]
    fn any_double_comes_back(double in any::<f64>()) {
        let text = serde_json::to_string(&double).unwrap();
        check(&text);
        if double.is_finite() {
            prop_assert_eq!(JsonReader::new(&text).double().unwrap(), double);
        }
    }
}
