//! What the requests of all signals have in common in OTLP/JSON: resources, scopes, attributes (resource.proto,
//! common.proto), and the kinds of values. Used by the files beside it.

use super::fields::{Seen, value_field};
use super::{Json, MAX_NESTING, Request};
use crate::wire::transcode::base64_value::bytes_value;
use crate::wire::transcode::ids::{hex_id, not_hex};
use crate::wire::transcode::json_reader::{JsonError, JsonResult};
use crate::wire::transcode::json_text::shown;
use crate::wire::transcode::proto_writer::Expected;
use crate::wire::transcode::{copy_text, copy_value};

impl Request {
    pub(super) fn resource(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "attributes" => {
                seen.first(1, json)?;
                self.attributes(json, 1, 0)
            }
            "droppedAttributesCount" | "dropped_attributes_count" => {
                seen.first(2, json)?;
                self.count(json, 2)
            }
            "entityRefs" | "entity_refs" => {
                seen.first(3, json)?;
                self.messages(json, 3, Expected::Small, Self::entity_ref)
            }
            _ => json.skip(),
        })
    }

    /// `EntityRef` (common.proto).
    fn entity_ref(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let number = match &*name {
                "schemaUrl" | "schema_url" => 1,
                "type" => 2,
                "idKeys" | "id_keys" => 3,
                "descriptionKeys" | "description_keys" => 4,
                _ => return json.skip(),
            };
            seen.first(number, json)?;
            if number <= 2 {
                return self.text(json, number);
            }
            json.array(|json| copy_value(json, &mut self.out, number))
        })
    }

    /// `InstrumentationScope`.
    pub(super) fn scope(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let number = match &*name {
                "name" => 1,
                "version" => 2,
                "attributes" => 3,
                "droppedAttributesCount" | "dropped_attributes_count" => 4,
                _ => return json.skip(),
            };
            seen.first(number, json)?;
            match number {
                1 | 2 => self.text(json, number),
                3 => self.attributes(json, 3, 0),
                _ => self.count(json, number),
            }
        })
    }

    /// A list of `KeyValue`s, inside `depth` lists and maps.
    pub(super) fn attributes(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        depth: usize,
    ) -> JsonResult<()> {
        self.messages(json, field, Expected::Small, |this, json| {
            this.key_value(json, depth)
        })
    }

    fn key_value(&mut self, json: &mut Json<'_>, depth: usize) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "key" => {
                seen.first(1, json)?;
                self.text(json, 1)
            }
            "value" => {
                seen.first(2, json)?;
                self.message(json, 2, Expected::Small, |this, json| {
                    this.any_value(json, depth)
                })
            }
            _ => json.skip(),
        })
    }

    /// `AnyValue`: one of its members, which is written even when it is empty.
    pub(super) fn any_value(&mut self, json: &mut Json<'_>, depth: usize) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let Some(number) = value_field(&name) else {
                return json.skip();
            };
            if seen.any() {
                return Err(json.fault("a value that has a second value"));
            }
            seen.first(number, json)?;
            match number {
                1 => return copy_value(json, &mut self.out, 1),
                2 => {
                    let value = json.boolean()?;
                    self.out.varint(2, u64::from(value));
                }
                3 => {
                    let value: i64 = json.integer()?;
                    self.out.varint(3, value.cast_unsigned());
                }
                4 => {
                    let value = json.double()?;
                    self.out.fixed64(4, value.to_bits());
                }
                7 => return bytes_value(json, &mut self.out, 7),
                _ if depth == MAX_NESTING => {
                    let reason = format!("an attribute nested deeper than {MAX_NESTING}");
                    return Err(json.fault(reason));
                }
                _ => self.message(json, number, Expected::Small, |this, json| {
                    this.list(json, number == 6, depth + 1)
                })?,
            }
            Ok(())
        })
    }

    /// `ArrayValue`, or `KeyValueList` when it `is_map`: they differ in what their `values` are.
    fn list(&mut self, json: &mut Json<'_>, is_map: bool, depth: usize) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "values" => {
                seen.first(1, json)?;
                if is_map {
                    self.attributes(json, 1, depth)
                } else {
                    self.messages(json, 1, Expected::Small, |this, json| {
                        this.any_value(json, depth)
                    })
                }
            }
            _ => json.skip(),
        })
    }

    #[inline]
    pub(super) fn message(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        expected: Expected,
        mut content: impl FnMut(&mut Self, &mut Json<'_>) -> JsonResult<()>,
    ) -> JsonResult<()> {
        let open = self.out.open(field, expected);
        content(self, json)?;
        self.out.close(open);
        Ok(())
    }

    #[inline]
    pub(super) fn messages(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        expected: Expected,
        mut content: impl FnMut(&mut Self, &mut Json<'_>) -> JsonResult<()>,
    ) -> JsonResult<()> {
        json.array(|json| self.message(json, field, expected, &mut content))
    }

    #[inline]
    pub(super) fn text(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        copy_text(json, &mut self.out, field)
    }

    /// `uint32`.
    pub(super) fn count(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        let count: u32 = json.integer()?;
        self.out.number(field, u64::from(count));
        Ok(())
    }

    /// `fixed32`.
    pub(super) fn flags(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        let flags: u32 = json.integer()?;
        if flags != 0 {
            self.out.fixed32(field, flags);
        }
        Ok(())
    }

    /// `fixed64`.
    pub(super) fn time(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        let nanos: u64 = json.integer()?;
        if nanos != 0 {
            self.out.fixed64(field, nanos);
        }
        Ok(())
    }

    /// The specification allows numbers only, and no enum of OTLP has negative ones.
    pub(super) fn enumeration(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        name: &str,
    ) -> JsonResult<()> {
        if json.peek() == Some(b'"') {
            let reason = format!("`{name}` is a text; OTLP/JSON has the enum's number there");
            return Err(json.fault(reason));
        }
        let number: i32 = json.integer()?;
        let number = u64::try_from(number)
            .map_err(|_| json.fault(format!("`{name}` is {number}; no such number is defined")))?;
        self.out.number(field, number);
        Ok(())
    }

    /// An enum by its number, or by its name, as ProtoJSON writes it for those that do not know OTLP's own rule.
    pub(super) fn named_enumeration(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        name: &str,
        by_name: fn(&str) -> Option<u64>,
    ) -> JsonResult<()> {
        if json.peek() != Some(b'"') {
            return self.enumeration(json, field, name);
        }
        let at = json.position();
        let text = json.string()?;
        let number = by_name(&text).ok_or_else(|| JsonError {
            at,
            reason: format!("`{name}` is `{}`; no such name is defined", shown(&text)).into(),
        })?;
        self.out.number(field, number);
        Ok(())
    }

    /// Hex digits in any case; an empty text is no id.
    pub(super) fn id<const N: usize>(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        name: &str,
    ) -> JsonResult<()> {
        let at = json.position();
        let text = json.string()?;
        if text.is_empty() {
            return Ok(());
        }
        let Some(id) = hex_id::<N>(&text) else {
            let reason = not_hex(&text, name, N).into();
            return Err(JsonError { at, reason });
        };
        self.out.bytes(field, &id);
        Ok(())
    }
}
