//! What Zipkin's format cannot hold of OTLP's spans is what docs/formats.md says, and its traps have the tests that it
//! names.

use std::collections::BTreeSet;

use bellwether_tests::raw_sink::RawSinks;
use bellwether_tests::rich::{self, START, attribute, resource_spans, text};
use bellwether_tests::system::Collector;
use bellwether_tests::wait::wait_for;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};
use prost::Message;

use super::{PROTOBUF, decoded, send};

/// Something that a span may have, by OTLP to a Zipkin and from there by OTLP again.
struct Trait {
    name: &'static str,
    /// What Zipkin shows, as docs/formats.md has it.
    as_zipkin: &'static str,
    /// Whether it is the same afterwards.
    comes_back: bool,
    set: fn(&mut ResourceSpans),
}

impl Trait {
    const fn kept(
        name: &'static str,
        as_zipkin: &'static str,
        set: fn(&mut ResourceSpans),
    ) -> Self {
        Self {
            name,
            as_zipkin,
            comes_back: true,
            set,
        }
    }

    const fn changed(
        name: &'static str,
        as_zipkin: &'static str,
        set: fn(&mut ResourceSpans),
    ) -> Self {
        Self {
            comes_back: false,
            ..Self::kept(name, as_zipkin, set)
        }
    }
}

fn span_of(of: &mut ResourceSpans) -> &mut Span {
    &mut of.scope_spans[0].spans[0]
}

fn put(of: &mut ResourceSpans, value: impl Into<Option<Any>>) {
    span_of(of).attributes = vec![attribute("key", value)];
}

fn put_event(of: &mut ResourceSpans, event: Event) {
    span_of(of).events = vec![Event {
        time_unix_nano: START,
        name: "event".into(),
        ..event
    }];
}

fn put_link(of: &mut ResourceSpans, link: Link) {
    span_of(of).links = vec![Link {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        ..link
    }];
}

fn put_status(of: &mut ResourceSpans, code: StatusCode, message: &str) {
    let message = message.to_owned();
    span_of(of).status = Some(Status {
        code: code.into(),
        message,
    });
}

const TRAITS: &[Trait] = &[
    Trait::kept(
        "trace id, span id, name, service, times in whole microseconds",
        "as they are",
        |_| (),
    ),
    Trait::kept("parent span id", "`parentId`", |of| {
        span_of(of).parent_span_id = vec![9; 8];
    }),
    Trait::kept("kind `CLIENT`, `PRODUCER`, `CONSUMER`", "`kind`", |of| {
        span_of(of).kind = SpanKind::Producer.into();
    }),
    Trait::kept("kind `INTERNAL`", "no kind", |of| {
        span_of(of).kind = SpanKind::Internal.into();
    }),
    Trait::changed("no kind", "no kind, read as `INTERNAL`", |of| {
        span_of(of).kind = 0;
    }),
    Trait::changed("nanoseconds below a microsecond", "cut off", |of| {
        span_of(of).end_time_unix_nano += 1;
    }),
    Trait::changed("a duration below a microsecond", "1", |of| {
        span_of(of).end_time_unix_nano = START;
    }),
    Trait::kept("no end", "no `duration`", |of| {
        span_of(of).end_time_unix_nano = 0;
    }),
    Trait::changed("an end before the start", "no `duration`", |of| {
        span_of(of).end_time_unix_nano = 1_000;
    }),
    Trait::changed("an end without a start", "neither", |of| {
        span_of(of).start_time_unix_nano = 0;
    }),
    Trait::kept("an attribute's text", "a tag", |of| {
        put(of, Any::StringValue("Größe ✓\n".into()));
    }),
    Trait::kept("an empty text", "an empty tag", |of| {
        put(of, Any::StringValue(String::new()));
    }),
    Trait::changed("a boolean or number", "its text", |of| {
        put(of, Any::IntValue(-7));
    }),
    Trait::changed("bytes", "base64", |of| put(of, Any::BytesValue(vec![1, 2]))),
    Trait::changed("a list or map", "JSON", |of| {
        put(of, rich::list(vec![Some(Any::IntValue(1))]));
    }),
    Trait::changed("an attribute without a value", "an empty tag", |of| {
        put(of, None);
    }),
    Trait::changed(
        "an attribute `error`",
        "left out: to Zipkin it is a failure",
        |of| {
            span_of(of).attributes = vec![text("error", "no")];
        },
    ),
    Trait::changed(
        "a resource's other attributes",
        "tags of each span that has none of that name",
        |of| {
            let resource = of.resource.as_mut().expect("a resource");
            resource.attributes.push(text("region", "eu"));
        },
    ),
    Trait::changed(
        "a resource's dropped attributes, schema URLs",
        "left out",
        |of| {
            of.schema_url = "https://example.org".to_owned();
        },
    ),
    Trait::kept(
        "scope name and version",
        "tags `otel.scope.name`, `otel.scope.version`",
        |of| {
            let scope = of.scope_spans[0].scope.insert(Default::default());
            scope.name = "tests".to_owned();
            scope.version = "1.2".to_owned();
        },
    ),
    Trait::changed("scope attributes", "left out", |of| {
        let scope = of.scope_spans[0].scope.insert(Default::default());
        scope.attributes = vec![text("key", "value")];
    }),
    Trait::kept("an event", "an annotation", |of| {
        put_event(of, Event::default());
    }),
    Trait::kept(
        "an event's texts, booleans, numbers, lists and maps",
        "JSON behind its name",
        |of| {
            let list = rich::list(vec![None, Some(Any::DoubleValue(0.5))]);
            let attributes = vec![attribute("list", list), attribute("zero", Any::IntValue(0))];
            put_event(
                of,
                Event {
                    attributes,
                    ..Event::default()
                },
            );
        },
    ),
    Trait::changed(
        "an event's bytes, NaN and infinities",
        "texts in that JSON",
        |of| {
            let attributes = vec![attribute("nan", Any::DoubleValue(f64::NAN))];
            put_event(
                of,
                Event {
                    attributes,
                    ..Event::default()
                },
            );
        },
    ),
    Trait::changed("an event without a time", "the span's start", |of| {
        span_of(of).events = vec![Event {
            name: "event".into(),
            ..Event::default()
        }];
    }),
    Trait::changed("an event's dropped attributes", "left out", |of| {
        put_event(
            of,
            Event {
                dropped_attributes_count: 1,
                ..Event::default()
            },
        );
    }),
    Trait::kept(
        "a link, its attributes as an event's, trace state and dropped attributes",
        "a tag `otlp.link.N`",
        |of| {
            let attributes = vec![text("key", "|{")];
            put_link(
                of,
                Link {
                    trace_state: "a=b|c".into(),
                    attributes,
                    dropped_attributes_count: 2,
                    ..Link::default()
                },
            );
        },
    ),
    Trait::changed("a link's flags", "left out", |of| {
        put_link(
            of,
            Link {
                flags: 1,
                ..Link::default()
            },
        );
    }),
    Trait::kept("trace state", "a tag `w3c.tracestate`", |of| {
        span_of(of).trace_state = "ot=th:8".into();
    }),
    Trait::changed("flags", "left out", |of| span_of(of).flags = 1),
    Trait::kept(
        "dropped attributes, events and links",
        "tags `otel.dropped_…_count`",
        |of| {
            let span = span_of(of);
            span.dropped_attributes_count = 1;
            span.dropped_events_count = 2;
            span.dropped_links_count = u32::MAX;
        },
    ),
    Trait::kept("status `OK`", "a tag `otel.status_code`", |of| {
        put_status(of, StatusCode::Ok, "");
    }),
    Trait::kept(
        "status `ERROR`, with or without a message",
        "tags `otel.status_code` and `error`",
        |of| {
            put_status(of, StatusCode::Error, "boom");
        },
    ),
    Trait::changed("a message of another status", "left out", |of| {
        put_status(of, StatusCode::Ok, "fine");
    }),
];

/// The rows of the table under a heading of docs/formats.md.
pub(super) fn documented(heading: &str) -> BTreeSet<String> {
    let document = include_str!("../../../../docs/formats.md");
    let (_, section) = document.split_once(heading).expect("the heading");
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(str::to_owned).collect()
}

#[test]
fn what_zipkins_format_cannot_hold_is_what_the_documentation_says() {
    let last = RawSinks::start();
    let behind = Collector::start(&[&last.http_url]);
    let zipkin = format!("zipkin+http://127.0.0.1:{}", behind.zipkin);
    let collector = Collector::start(&[&zipkin]);
    let mut rows = BTreeSet::new();
    for (trace_id, of) in (1..).zip(TRAITS) {
        let mut sent = resource_spans("shop", rich::span(trace_id, 1, of.name));
        (of.set)(&mut sent);
        let request = ExportTraceServiceRequest {
            resource_spans: vec![sent.clone()],
        };
        send(
            collector.otlp_http,
            "/v1/traces",
            &PROTOBUF,
            &request.encode_to_vec(),
        );
        let came = wait_for(of.name, || {
            let bodies = last.http().into_iter();
            let mut groups = bodies.flat_map(|body| decoded(&body).resource_spans);
            groups.find(|of| of.scope_spans[0].spans[0].trace_id == trace_id.to_be_bytes())
        });
        assert_eq!(
            came == sent,
            of.comes_back,
            "{}: {sent:#?}\ncame as {came:#?}",
            of.name
        );
        let comes_back = if of.comes_back { "yes" } else { "no" };
        rows.insert(format!("| {} | {} | {comes_back} |", of.name, of.as_zipkin));
    }
    assert_eq!(documented("## OTLP to Zipkin"), rows);
}

#[test]
fn every_trap_has_the_tests_that_the_documentation_names() {
    const SOURCES: [&str; 7] = [
        include_str!("mod.rs"),
        include_str!("zipkin.rs"),
        include_str!("../otelcol.rs"),
        include_str!("../../../../collector/src/wire/transcode/tests/zipkin.rs"),
        include_str!("../../../../collector/src/wire/zipkin/tests.rs"),
        include_str!("../../../../collector/src/views/halves.rs"),
        include_str!("../../../../collector/src/receive/tests/zipkin.rs"),
    ];
    let rows = documented("## Traps");
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let tests = row
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        for test in tests.split(',') {
            let function = format!("fn {}(", test.trim().trim_matches('`'));
            let is_there = SOURCES.iter().any(|source| source.contains(&function));
            assert!(is_there, "{test} is no test");
        }
    }
}
