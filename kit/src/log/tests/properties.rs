//! Any event in any nesting of spans, in each structured format: one line, that parses, names nothing twice,
//! keeps types, and has the kit's values under the kit's names.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Value as Json, json};
use tracing::callsite::{Callsite, Identifier};
use tracing::field::{self, FieldSet, Value};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Span};

use super::{captured, head, request_context};
use crate::context::Scoped;
use crate::log::format::Head;
use crate::log::{Format, Logger};

/// Fields of one event or span.
const FIELDS: usize = 5;

/// As a call site of `tracing`'s macros would be, with names that those cannot write.
struct Site(Metadata<'static>);

impl Site {
    fn leak(kind: Kind, names: Vec<String>) -> &'static Metadata<'static> {
        /// Identifies a site before that knows its own place.
        struct Id;
        impl Callsite for Id {
            fn set_interest(&self, _: Interest) {}
            fn metadata(&self) -> &Metadata<'_> {
                unreachable!("only an identity")
            }
        }
        let names = names.into_iter().map(|name| &*name.leak());
        let names: &'static [&'static str] = Vec::leak(names.collect());
        // Not zero-sized, so that each has an address of its own.
        let id: &'static (Id, u8) = Box::leak(Box::new((Id, 0)));
        let fields = FieldSet::new(names, Identifier(&id.0));
        let site = Self(Metadata::new(
            "site",
            "shop",
            Level::WARN,
            Some("src/shop.rs"),
            Some(7),
            Some("shop"),
            fields,
            kind,
        ));
        &Box::leak(Box::new(site)).0
    }
}

/// A field's value, as a user may log it.
#[derive(Clone, Debug)]
enum Logged {
    Nothing,
    Text(String),
    Debug(String),
    Error(Vec<String>),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Bool(bool),
}

/// An error and its causes.
#[derive(Debug)]
struct Chain(String, Option<Box<Self>>);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Chain {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.1.as_deref()?;
        Some(cause)
    }
}

impl Logged {
    fn value(&self) -> Option<Box<dyn Value>> {
        Some(match self.clone() {
            Self::Nothing => return None,
            Self::Text(text) => Box::new(text),
            Self::Debug(text) => Box::new(field::debug(text)),
            Self::Error(texts) => {
                let chain = texts
                    .into_iter()
                    .rev()
                    .fold(None, |cause, text| Some(Box::new(Chain(text, cause))));
                let error: Box<dyn Error + 'static> = chain?;
                Box::new(error)
            }
            Self::I64(number) => Box::new(number),
            Self::U64(number) => Box::new(number),
            Self::I128(number) => Box::new(number),
            Self::U128(number) => Box::new(number),
            Self::F64(number) => Box::new(number),
            Self::Bool(value) => Box::new(value),
        })
    }

    /// What a reader of the line finds; `None` when the field has no value.
    fn expected(&self) -> Option<Json> {
        Some(match self {
            Self::Nothing => return None,
            Self::Text(text) => json!(text),
            Self::Debug(text) => json!(format!("{text:?}")),
            Self::Error(texts) if texts.is_empty() => return None,
            Self::Error(texts) => json!(texts.join(": ")),
            Self::I64(number) => json!(number),
            Self::U64(number) => json!(number),
            Self::I128(number) => integer(&number.to_string()),
            Self::U128(number) => integer(&number.to_string()),
            Self::F64(number) if number.is_nan() => json!("NaN"),
            Self::F64(number) if *number == f64::INFINITY => json!("Infinity"),
            Self::F64(number) if *number == f64::NEG_INFINITY => json!("-Infinity"),
            Self::F64(number) => json!(number),
            Self::Bool(value) => json!(value),
        })
    }
}

/// A number where 64 bits suffice.
fn integer(digits: &str) -> Json {
    let signed = digits.parse::<i64>().map(|number| json!(number));
    let number = signed.or_else(|_| digits.parse::<u64>().map(|number| json!(number)));
    number.unwrap_or(json!(digits))
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\\x00-\\x7f]{0,40}", "[a-c]{0,3}"]
}

fn any_logged() -> impl Strategy<Value = Logged> {
    prop_oneof![
        Just(Logged::Nothing),
        any_text().prop_map(Logged::Text),
        any_text().prop_map(Logged::Debug),
        proptest::collection::vec(any_text(), 1..4).prop_map(Logged::Error),
        any::<i64>().prop_map(Logged::I64),
        any::<u64>().prop_map(Logged::U64),
        any::<i128>().prop_map(Logged::I128),
        any::<i64>().prop_map(|number| Logged::I128(number.into())),
        any::<u128>().prop_map(Logged::U128),
        any::<u64>().prop_map(|number| Logged::U128(number.into())),
        any::<f64>().prop_map(Logged::F64),
        Just(Logged::F64(f64::NAN)),
        Just(Logged::F64(f64::INFINITY)),
        Just(Logged::F64(f64::NEG_INFINITY)),
        any::<bool>().prop_map(Logged::Bool),
    ]
}

/// Each format's names of its own, and what a user's field of that name becomes. Written out once more, so
/// that none can be lost unseen.
const JSON: &str =
    "timestamp level message target service.name trace_id span_id trace_flags request_id";
const GCP: &str = "severity time message target serviceContext logging.googleapis.com/trace \
    logging.googleapis.com/spanId logging.googleapis.com/trace_sampled request_id \
    logging.googleapis.com/sourceLocation httpRequest @type stack_trace timestamp timestampSeconds \
    timestampNanos logging.googleapis.com/insertId logging.googleapis.com/labels \
    logging.googleapis.com/operation";
const ECS: &str = "@timestamp log.level message ecs.version log.logger log.origin log.origin.file \
    log.origin.file.name log.origin.file.line service.name service.version service.environment service.node \
    service.node.name event.dataset trace.id transaction.id span.id http.request.id agent client cloud \
    container data_stream destination device dll dns ecs email event faas file group host http labels log \
    network observer orchestrator organization package process registry related rule server service source \
    span threat tls trace transaction url user user_agent volume vulnerability";
const ECS_NAMES: [(&str, &str); 7] = [
    ("error", "error.message"),
    ("exception.message", "error.message"),
    ("exception.type", "error.type"),
    ("exception.stacktrace", "error.stack_trace"),
    ("http.request.body.size", "http.request.body.bytes"),
    ("http.response.body.size", "http.response.body.bytes"),
    ("thread.name", "process.thread.name"),
];

fn reserved(format: Format) -> impl Iterator<Item = &'static str> {
    let names = match format {
        Format::Json => JSON,
        Format::Gcp => GCP,
        Format::Ecs => ECS,
        Format::Pretty { .. } => "message",
    };
    names.split_whitespace()
}

/// Where a reader finds a user's field of this name.
fn key(format: Format, name: &str) -> String {
    let renamed = ECS_NAMES.iter().find(|(theirs, _)| *theirs == name);
    if let (Format::Ecs, Some((_, ours))) = (format, renamed) {
        return (*ours).to_owned();
    }
    if reserved(format).any(|own| own == name) {
        return format!("fields.{name}");
    }
    name.to_owned()
}

fn any_name() -> impl Strategy<Value = String> {
    let all = [JSON, GCP, ECS].join(" ");
    let mut reserved: Vec<String> = all.split_whitespace().map(str::to_owned).collect();
    reserved.extend(ECS_NAMES.map(|(name, _)| name.to_owned()));
    reserved.extend(ECS_NAMES.map(|(_, name)| name.to_owned()));
    let reserved = proptest::sample::select(reserved);
    prop_oneof![
        any_text(),
        "[a-c]",
        reserved.clone(),
        reserved.prop_map(|name| format!("fields.{name}")),
        Just("dropped_attributes_count".to_owned()),
    ]
}

type Fields = Vec<(String, Logged)>;

fn any_fields() -> impl Strategy<Value = Fields> {
    proptest::collection::vec((any_name(), any_logged()), FIELDS)
}

/// Calls `with` with a site of these fields and their values.
fn with_site<R>(
    kind: Kind,
    fields: &Fields,
    with: impl FnOnce(&'static Metadata<'static>, &field::ValueSet<'_>) -> R,
) -> R {
    let site = Site::leak(kind, fields.iter().map(|(name, _)| name.clone()).collect());
    let values: Vec<_> = fields.iter().map(|(_, value)| value.value()).collect();
    let names: Vec<_> = site.fields().iter().collect();
    let pairs: [_; FIELDS] = std::array::from_fn(|at| (&names[at], values[at].as_deref()));
    with(site, &site.fields().value_set(&pairs))
}

/// The only line that the event writes inside the spans, outermost first.
fn line_of(format: Format, request: bool, spans: &[Fields], event: &Fields) -> String {
    let captured = captured(format, || {
        let _scope = request.then(|| Scoped::enter(request_context()));
        let mut entered = Vec::new();
        for span in spans {
            let span = with_site(Kind::SPAN, span, Span::new);
            entered.push(span.entered());
        }
        with_site(Kind::EVENT, event, |site, values| {
            Event::dispatch(site, values);
        });
        // As guards that end in reverse order.
        while entered.pop().is_some() {}
    });
    let lines = captured.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.into_iter().next().unwrap()
}

/// The line's members; an error when a key is there twice, which a map would hide.
fn members(line: &str) -> Result<BTreeMap<String, Json>, serde_json::Error> {
    struct Unique;
    impl<'de> Visitor<'de> for Unique {
        type Value = BTreeMap<String, Json>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object that names nothing twice")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, Json>()? {
                if let Some(first) = members.insert(key.clone(), value) {
                    let twice = format!("{key} is there twice, first as {first}");
                    return Err(serde::de::Error::custom(twice));
                }
            }
            Ok(members)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let members = deserializer.deserialize_map(Unique)?;
    deserializer.end()?;
    Ok(members)
}

/// What the user's fields come to: the event's before its spans', the nearest span's first. In a span the first
/// of a name counts, as it does in an event.
fn expected(format: Format, spans: &[Fields], event: &Fields) -> BTreeMap<String, Json> {
    let mut expected = BTreeMap::new();
    for (fields, of_event) in
        std::iter::once((event, true)).chain(spans.iter().rev().map(|span| (span, false)))
    {
        for (name, value) in fields {
            if let (Some(value), false) = (value.expected(), of_event && name == "message") {
                expected.entry(key(format, name)).or_insert(value);
            }
        }
    }
    expected
}

/// Whether the line has the event's message. The macros write but one; of several all are written.
fn is_message(members: &BTreeMap<String, Json>, event: &Fields) -> bool {
    let said: Vec<_> = event
        .iter()
        .filter(|(name, _)| name == "message")
        .filter_map(|(_, value)| value.expected())
        .map(|value| value.as_str().map_or(value.to_string(), str::to_owned))
        .collect();
    // Numbers are written as text; which digits a float has is another test's matter.
    let floats = event
        .iter()
        .any(|(name, value)| name == "message" && matches!(value, Logged::F64(_)));
    floats || members["message"] == said.concat()
}

fn kits_own(format: Format, request: bool) -> Vec<(&'static str, Json)> {
    let mut own = match format {
        Format::Json => vec![
            ("level", json!("WARN")),
            ("service.name", json!("check \"out\"")),
        ],
        Format::Gcp => vec![
            ("severity", json!("WARNING")),
            ("serviceContext", json!({"service": "check \"out\""})),
            (
                "logging.googleapis.com/sourceLocation",
                json!({"file": "src/shop.rs", "line": "7", "function": "shop"}),
            ),
        ],
        Format::Ecs => vec![
            ("log.level", json!("warn")),
            ("ecs.version", json!("8.11.0")),
            ("service.name", json!("check \"out\"")),
            ("event.dataset", json!("check \"out\".log")),
            ("log.origin.file.name", json!("src/shop.rs")),
            ("log.origin.file.line", json!(7)),
        ],
        Format::Pretty { .. } => unreachable!("not structured"),
    };
    let (target, ids): (_, &[(&str, Json)]) = match format {
        Format::Ecs => (
            "log.logger",
            &[
                ("trace.id", json!(super::TRACE_ID)),
                ("transaction.id", json!(super::SPAN_ID)),
                ("span.id", json!(super::SPAN_ID)),
                ("http.request.id", json!("a\"b")),
            ],
        ),
        Format::Gcp => (
            "target",
            &[
                ("logging.googleapis.com/trace", json!(super::TRACE_ID)),
                ("logging.googleapis.com/spanId", json!(super::SPAN_ID)),
                ("logging.googleapis.com/trace_sampled", json!(true)),
                ("request_id", json!("a\"b")),
            ],
        ),
        _ => (
            "target",
            &[
                ("trace_id", json!(super::TRACE_ID)),
                ("span_id", json!(super::SPAN_ID)),
                ("trace_flags", json!("03")),
                ("request_id", json!("a\"b")),
            ],
        ),
    };
    own.push((target, json!("shop")));
    own.extend(ids.iter().filter(|_| request).cloned());
    own
}

/// Equal, floats to what `serde_json` reads without its feature `float_roundtrip`.
fn same(read: &Json, written: &Json) -> bool {
    match (read.as_f64(), written.as_f64()) {
        (Some(read), Some(number)) if written.is_f64() => {
            read == number || ((read - number) / number).abs() < 1e-14
        }
        _ => read == written,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_event_in_any_spans_is_one_line_that_says_what_was_logged(
        event in any_fields(),
        spans in proptest::collection::vec(any_fields(), 0..6),
        request in any::<bool>(),
    ) {
        for format in [Format::Json, Format::Gcp, Format::Ecs] {
            let line = line_of(format, request, &spans, &event);
            let mut members = members(&line).map_err(|error| {
                TestCaseError::fail(format!("{format:?}: {error}: {line}"))
            })?;
            for (name, value) in expected(format, &spans, &event) {
                let read = members.remove(&name);
                prop_assert!(
                    read.as_ref().is_some_and(|read| same(read, &value)),
                    "{format:?}: {name:?} is {read:?}, not {value}: {line}"
                );
            }
            for (name, value) in kits_own(format, request) {
                prop_assert_eq!(members.remove(name), Some(value), "{:?} {}: {}", format, name, line);
            }
            prop_assert!(is_message(&members, &event), "{format:?}: {line}");
            members.remove("message");
            let time = ["timestamp", "time", "@timestamp"].map(|name| members.remove(name));
            prop_assert_eq!(time.iter().flatten().count(), 1);
            prop_assert!(members.is_empty(), "{format:?}: {members:?} in {line}");
        }
    }

    #[test]
    fn any_service_target_and_message_are_told_as_they_are(name in any_text()) {
        for format in [Format::Json, Format::Gcp, Format::Ecs] {
            let (logger, captured) = Logger::capture(format, &name);
            logger.write(&Head { target: &name, ..head(&name) }, |_| {});
            let lines = captured.lines();
            prop_assert_eq!(lines.len(), 1);
            let line: Json = serde_json::from_str(&lines[0]).unwrap();
            let (service, target) = match format {
                Format::Gcp => (&line["serviceContext"]["service"], "target"),
                Format::Ecs => (&line["service.name"], "log.logger"),
                _ => (&line["service.name"], "target"),
            };
            prop_assert_eq!(service, &json!(name));
            prop_assert_eq!(&line[target], &json!(name));
            prop_assert_eq!(&line["message"], &json!(name));
        }
    }
}
