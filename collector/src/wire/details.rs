//! What a span has beside the fields that `walk` reads, in one pass over its bytes. Read by `zipkin`.

use super::WireError;
use super::attributes::{KeyValueRef, key_value};
use super::reader::{MAX_DEPTH, Reader};
use super::span::SpanRef;
use super::walk::span_tag;

/// A field of a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detail<'a> {
    /// One of its attributes.
    Attribute(KeyValueRef<'a>),
    /// `trace_state`; empty when it is no text. The last one counts.
    TraceState(&'a str),
    /// There is an event: [`SpanRef::events`] reads them.
    Event,
    /// There is a link: [`SpanRef::links`] reads them.
    Link,
    /// `dropped_attributes_count`.
    DroppedAttributes(u64),
    /// `dropped_events_count`.
    DroppedEvents(u64),
    /// `dropped_links_count`.
    DroppedLinks(u64),
}

/// The details of a span, read as the iterator advances: an attribute that is not a valid `KeyValue` is skipped, bytes
/// that are no protobuf end the iteration.
#[derive(Clone, Debug)]
pub struct Details<'a>(Reader<'a>);

impl<'a> SpanRef<'a> {
    /// All its details, in the order of its bytes.
    pub fn details(&self) -> Details<'a> {
        Details(Reader::new(self.raw))
    }
}

impl<'a> Iterator for Details<'a> {
    type Item = Detail<'a>;

    fn next(&mut self) -> Option<Detail<'a>> {
        let detail = self.read();
        detail.unwrap_or_else(|_| {
            self.0 = Reader::new(&[]);
            None
        })
    }
}

impl<'a> Details<'a> {
    fn read(&mut self) -> Result<Option<Detail<'a>>, WireError> {
        while let Some(tag) = self.0.tag()? {
            return Ok(Some(match tag {
                span_tag::ATTRIBUTES => match key_value(self.0.message()?) {
                    Ok(attribute) => Detail::Attribute(attribute),
                    Err(_) => continue,
                },
                span_tag::TRACE_STATE => {
                    let text = std::str::from_utf8(self.0.len_bytes()?);
                    Detail::TraceState(text.unwrap_or_default())
                }
                span_tag::EVENTS => {
                    self.0.skip_len()?;
                    Detail::Event
                }
                span_tag::LINKS => {
                    self.0.skip_len()?;
                    Detail::Link
                }
                span_tag::DROPPED_ATTRIBUTES => Detail::DroppedAttributes(self.0.varint()?),
                span_tag::DROPPED_EVENTS => Detail::DroppedEvents(self.0.varint()?),
                span_tag::DROPPED_LINKS => Detail::DroppedLinks(self.0.varint()?),
                _ => {
                    self.0.skip(tag, MAX_DEPTH)?;
                    continue;
                }
            }));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::wire::any_request::any_request;
    use crate::wire::walk;

    fn count(span: &SpanRef<'_>, of: fn(&Detail<'_>) -> bool) -> usize {
        span.details().filter(of).count()
    }

    proptest! {
        #[test]
        fn details_are_what_each_field_says_by_itself(request in any_request()) {
            let bytes = request.encode_to_vec();
            let groups = request.resource_spans.iter();
            let scopes = groups.flat_map(|group| &group.scope_spans);
            let mut spans = scopes.flat_map(|scope| &scope.spans);
            walk(&bytes, |span| {
                let attributes = span.details().filter_map(|detail| match detail {
                    Detail::Attribute(attribute) => Some(attribute),
                    _ => None,
                });
                assert!(attributes.eq(span.attributes()));
                let told = spans.next().unwrap();
                assert_eq!(count(&span, |detail| *detail == Detail::Event), told.events.len());
                assert_eq!(count(&span, |detail| *detail == Detail::Link), told.links.len());
                let mut dropped = [0; 3];
                let mut trace_state = "";
                for detail in span.details() {
                    match detail {
                        Detail::TraceState(text) => trace_state = text,
                        Detail::DroppedAttributes(count) => dropped[0] = count,
                        Detail::DroppedEvents(count) => dropped[1] = count,
                        Detail::DroppedLinks(count) => dropped[2] = count,
                        _ => {}
                    }
                }
                let counts = [
                    told.dropped_attributes_count,
                    told.dropped_events_count,
                    told.dropped_links_count,
                ];
                assert_eq!(dropped, counts.map(u64::from));
                assert_eq!(trace_state, told.trace_state);
            })
            .unwrap();
        }

        #[test]
        fn any_bytes_end(bytes in any::<Vec<u8>>()) {
            prop_assert!(Details(Reader::new(&bytes)).count() <= bytes.len());
        }
    }
}
