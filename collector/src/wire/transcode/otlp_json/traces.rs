//! Spans in OTLP/JSON (trace.proto).

use super::fields::{Seen, span_field};
use super::{Json, Lists, Request};
use crate::wire::transcode::json_reader::JsonResult;
use crate::wire::transcode::proto_writer::Expected;

pub(super) const LISTS: Lists = Lists {
    item: "span",
    resources: ["resourceSpans", "resource_spans"],
    scopes: ["scopeSpans", "scope_spans"],
    elements: ["spans", "spans"],
    element: Request::span,
};

impl Request {
    fn span(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let Some(number) = span_field(&name) else {
                return json.skip();
            };
            seen.first(number, json)?;
            match number {
                1 => self.id::<16>(json, 1, "traceId"),
                2 => self.id::<8>(json, 2, "spanId"),
                3 | 5 => self.text(json, number),
                4 => self.id::<8>(json, 4, "parentSpanId"),
                6 => self.enumeration(json, 6, "kind"),
                7 | 8 => self.time(json, number),
                9 => self.attributes(json, 9, 0),
                11 => self.messages(json, 11, Expected::Small, Self::event),
                13 => self.messages(json, 13, Expected::Small, Self::link),
                15 => self.message(json, 15, Expected::Small, Self::status),
                16 => self.flags(json, 16),
                _ => self.count(json, number),
            }
        })?;
        self.items += 1;
        Ok(())
    }

    /// `Span.Event`.
    fn event(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let number = match &*name {
                "timeUnixNano" | "time_unix_nano" => 1,
                "name" => 2,
                "attributes" => 3,
                "droppedAttributesCount" | "dropped_attributes_count" => 4,
                _ => return json.skip(),
            };
            seen.first(number, json)?;
            match number {
                1 => self.time(json, 1),
                2 => self.text(json, 2),
                3 => self.attributes(json, 3, 0),
                _ => self.count(json, number),
            }
        })
    }

    /// `Span.Link`.
    fn link(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let number = match &*name {
                "traceId" | "trace_id" => 1,
                "spanId" | "span_id" => 2,
                "traceState" | "trace_state" => 3,
                "attributes" => 4,
                "droppedAttributesCount" | "dropped_attributes_count" => 5,
                "flags" => 6,
                _ => return json.skip(),
            };
            seen.first(number, json)?;
            match number {
                1 => self.id::<16>(json, 1, "traceId"),
                2 => self.id::<8>(json, 2, "spanId"),
                3 => self.text(json, 3),
                4 => self.attributes(json, 4, 0),
                6 => self.flags(json, 6),
                _ => self.count(json, number),
            }
        })
    }

    fn status(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "message" => {
                seen.first(2, json)?;
                self.text(json, 2)
            }
            "code" => {
                seen.first(3, json)?;
                self.enumeration(json, 3, "code")
            }
            _ => json.skip(),
        })
    }
}
