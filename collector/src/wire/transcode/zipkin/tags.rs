//! Tags: most are attributes as they are, some stand for a field of OTLP (trace/sdk_exporters/zipkin.md).

use std::borrow::Cow;

use super::annotation::put_link;
use super::attribute::put_text;
use super::span::Draft;
use crate::wire::span::StatusCode;
use crate::wire::transcode::proto_writer::ProtoWriter;

/// What a tag stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tag {
    /// Itself.
    Attribute,
    Error,
    StatusCode,
    StatusMessage,
    ScopeName,
    ScopeVersion,
    TraceState,
    /// A count in this field of `Span`.
    Dropped(u32),
    Link,
}

impl Tag {
    /// What `key` stands for.
    #[inline]
    pub(super) fn of(key: &str) -> Self {
        match key.as_bytes().first() {
            Some(b'e' | b'o' | b'w') => Self::of_special(key),
            _ => Self::Attribute,
        }
    }

    fn of_special(key: &str) -> Self {
        match key {
            "error" => Self::Error,
            "otel.status_code" => Self::StatusCode,
            // The OpenTelemetry Collector has its message here, and only `true` as `error`.
            "otel.status_description" => Self::StatusMessage,
            // The second ones are from before the specification said scope.
            "otel.scope.name" | "otel.library.name" => Self::ScopeName,
            "otel.scope.version" | "otel.library.version" => Self::ScopeVersion,
            "w3c.tracestate" => Self::TraceState,
            "otel.dropped_attributes_count" => Self::Dropped(10),
            "otel.dropped_events_count" => Self::Dropped(12),
            "otel.dropped_links_count" => Self::Dropped(14),
            _ if key.starts_with("otlp.link.") => Self::Link,
            _ => Self::Attribute,
        }
    }
}

/// Takes a tag whose value is a text. One that cannot be what its key stands for is an attribute.
pub(super) fn put_tag<'a>(
    tag: Tag,
    key: &str,
    value: Cow<'a, str>,
    span: &mut Draft<'a>,
    out: &mut ProtoWriter,
) {
    let is_taken = match tag {
        Tag::Attribute => false,
        Tag::Error => {
            span.error = Some(value).filter(|value| value != "false");
            return;
        }
        Tag::StatusMessage => {
            span.status_message = value;
            return;
        }
        Tag::ScopeName => {
            span.scope_name = value;
            return;
        }
        Tag::ScopeVersion => {
            span.scope_version = value;
            return;
        }
        Tag::StatusCode => status_code(&value).map(|code| span.status = code).is_some(),
        Tag::TraceState => {
            out.text(3, &value);
            true
        }
        Tag::Dropped(field) => match value.parse::<u32>() {
            Ok(count) if !value.starts_with('+') => {
                out.number(field, u64::from(count));
                true
            }
            _ => false,
        },
        Tag::Link => put_link(&value, out),
    };
    if !is_taken {
        put_text(out, 9, key, &value);
    }
}

/// By its name, in any case, or by that of the .proto file: exporters write all of them.
fn status_code(value: &str) -> Option<StatusCode> {
    let name = value.strip_prefix("STATUS_CODE_").unwrap_or(value);
    let names = [
        ("UNSET", StatusCode::Unset),
        ("OK", StatusCode::Ok),
        ("ERROR", StatusCode::Error),
    ];
    let known = names
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, code)| code)
}
