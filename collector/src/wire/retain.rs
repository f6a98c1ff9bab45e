//! A request with some of its spans: what stays is copied as it stands, envelopes and unknown fields included.
//! Called by `export` for sampling.

use std::borrow::Cow;

use super::proto_writer::{Expected, ProtoWriter};
use super::reader::{MAX_DEPTH, Reader, len_tag};
use super::span::{ResourceRef, ScopeRef, SpanRef};
use super::walk::{WireError, first_field, resource, scope, span, span_tag};

/// What becomes of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate<'s> {
    /// Left out.
    Drop,
    /// Stays, byte for byte.
    Keep,
    /// Stays, with this `trace_state` instead of its own; everything else byte for byte.
    KeepAs(Cow<'s, str>),
}

/// What [`retain`] makes.
#[derive(Debug, PartialEq, Eq)]
pub struct Retained {
    /// The `ExportTraceServiceRequest`; `None` when it is the given one, unchanged.
    pub bytes: Option<Vec<u8>>,
    /// Spans in it.
    pub spans: u64,
}

/// `request` without the spans whose `fate` is to be dropped, and without the scopes and resources that have none
/// left then. `fate` is asked once for each span, in order. The result is longer than `request` only by what longer
/// `trace_state`s make it.
///
/// # Errors
/// The first fault found, as in [`walk`](super::walk()).
pub fn retain<'a, 's>(
    request: &'a [u8],
    fate: impl FnMut(&SpanRef<'a>) -> Fate<'s>,
) -> Result<Retained, WireError> {
    let mut retaining = Retaining {
        fate,
        // A guess between the small shares that are usual and all of it.
        out: ProtoWriter::new(request.len() / 4, usize::MAX),
        index: 0,
        kept: 0,
        changed: false,
    };
    let mut reader = Reader::new(request);
    retaining.message(&mut reader, RESOURCE_SPANS, |retaining, message| {
        retaining.resource_spans(message)
    })?;
    Ok(Retained {
        bytes: retaining.changed.then(|| retaining.out.into_bytes()),
        spans: retaining.kept,
    })
}

/// `ExportTraceServiceRequest.resource_spans`.
const RESOURCE_SPANS: u32 = 1;
/// `ResourceSpans.scope_spans`.
const SCOPE_SPANS: u32 = 2;
/// `ScopeSpans.spans`.
const SPANS: u32 = 2;

struct Retaining<F> {
    fate: F,
    out: ProtoWriter,
    /// Spans seen.
    index: usize,
    kept: u64,
    /// Whether any span was dropped or got another `trace_state`.
    changed: bool,
}

impl<'a, 's, F: FnMut(&SpanRef<'a>) -> Fate<'s>> Retaining<F> {
    fn resource_spans(&mut self, mut reader: Reader<'a>) -> Result<(), WireError> {
        let resource = match first_field(reader)? {
            Some(message) => resource(message)?,
            None => ResourceRef::default(),
        };
        self.message(&mut reader, SCOPE_SPANS, |retaining, message| {
            retaining.scope_spans(message, resource)
        })
    }

    fn scope_spans(
        &mut self,
        mut reader: Reader<'a>,
        resource: ResourceRef<'a>,
    ) -> Result<(), WireError> {
        const SPAN: u32 = len_tag(SPANS);
        let scope = match first_field(reader)? {
            Some(message) => scope(message)?,
            None => ScopeRef::default(),
        };
        let mut at = reader.position();
        while let Some(tag) = reader.tag()? {
            if tag == SPAN {
                let span = span(reader.message()?, self.index, resource, scope)?;
                self.index += 1;
                self.span(&span, reader.since(at))?;
            } else {
                reader.skip(tag, MAX_DEPTH)?;
                self.out.fields(reader.since(at));
            }
            at = reader.position();
        }
        Ok(())
    }

    /// Copies a message's fields; each of number `inner` is a message that `copy` copies, and is left out when it has
    /// no span left.
    fn message(
        &mut self,
        reader: &mut Reader<'a>,
        inner: u32,
        mut copy: impl FnMut(&mut Self, Reader<'a>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let mut at = reader.position();
        while let Some(tag) = reader.tag()? {
            if tag == len_tag(inner) {
                let (before, kept) = (self.out.len(), self.kept);
                let open = self.out.open(inner, Expected::Large);
                copy(self, reader.message()?)?;
                if self.kept == kept {
                    self.out.truncate(before);
                } else {
                    self.out.close(open);
                }
            } else {
                reader.skip(tag, MAX_DEPTH)?;
                self.out.fields(reader.since(at));
            }
            at = reader.position();
        }
        Ok(())
    }

    /// `field` is the span with its tag and length.
    fn span(&mut self, span: &SpanRef<'a>, field: &[u8]) -> Result<(), WireError> {
        let fate = (self.fate)(span);
        self.changed |= fate != Fate::Keep;
        match fate {
            Fate::Drop => return Ok(()),
            Fate::Keep => self.out.fields(field),
            Fate::KeepAs(trace_state) => {
                let open = self.out.open(SPANS, Expected::Medium);
                without_trace_state(&mut self.out, span.raw)?;
                self.out.text(span_tag::TRACE_STATE >> 3, &trace_state);
                self.out.close(open);
            }
        }
        self.kept += 1;
        Ok(())
    }
}

/// Copies a span's fields but for its `trace_state`.
fn without_trace_state(out: &mut ProtoWriter, raw: &[u8]) -> Result<(), WireError> {
    let mut reader = Reader::new(raw);
    let mut at = 0;
    while let Some(tag) = reader.tag()? {
        reader.skip(tag, MAX_DEPTH)?;
        if tag != span_tag::TRACE_STATE {
            out.fields(reader.since(at));
        }
        at = reader.position();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::wire::any_request::any_request;
    use crate::wire::oracle::retained;
    use crate::wire::test_support::{self, field};

    fn fates() -> impl Strategy<Value = Vec<Fate<'static>>> {
        let fate = prop_oneof![
            Just(Fate::Drop),
            Just(Fate::Keep),
            "[a-z=,]{0,300}".prop_map(|state| Fate::KeepAs(state.into())),
        ];
        prop::collection::vec(fate, 40)
    }

    proptest! {
        #[test]
        fn what_stays_is_what_decoding_would_leave(request in any_request(), fates in fates()) {
            retained::check_any_bytes(&request.encode_to_vec(), &fates);
        }

        #[test]
        fn any_bytes_end(bytes in any::<Vec<u8>>(), fates in fates()) {
            retained::check_any_bytes(&bytes, &fates);
        }

        #[test]
        fn cut_requests_are_faults_or_end_at_a_field(cut in 0usize..1_000) {
            let bytes = test_support::request("shop", 10);
            let cut = &bytes[..cut.min(bytes.len())];
            let walked = crate::wire::walk(cut, |_| ());
            let retained = retain(cut, |_| Fate::Keep);
            prop_assert_eq!(walked.map(|n| n as u64), retained.map(|retained| retained.spans));
        }
    }

    #[test]
    fn spans_stay_byte_for_byte_with_what_nobody_knows() {
        // Field 1000 as a group with a string in it.
        let unknown = [0xc3, 0x3e, 0x0a, 1, b'x', 0xc4, 0x3e];
        let span = |id: u64| {
            let span = test_support::span(1, id, 0).encode_to_vec();
            field(SPANS, &[&unknown[..], &span].concat())
        };
        let scope = |spans: &[Vec<u8>]| [&unknown[..], &spans.concat(), &unknown].concat();
        let request = |spans: &[Vec<u8>]| {
            let scope = field(SCOPE_SPANS, &scope(spans));
            let resource = [&unknown[..], &scope, &unknown].concat();
            [&unknown[..], &field(RESOURCE_SPANS, &resource), &unknown].concat()
        };
        let all: Vec<_> = (1..=4).map(span).collect();
        let mut id = 0;
        let retained = retain(&request(&all), |_| {
            id += 1;
            if id % 2 == 0 { Fate::Keep } else { Fate::Drop }
        });
        let retained = retained.unwrap();
        assert_eq!(retained.spans, 2);
        let kept = [all[1].clone(), all[3].clone()];
        assert_eq!(retained.bytes, Some(request(&kept)));
    }

    #[test]
    fn only_the_trace_state_changes() {
        let with = |state: &str| {
            let mut span = test_support::span(1, 2, 3);
            span.trace_state = state.into();
            test_support::encode(vec![test_support::resource_spans("shop", vec![span])])
        };
        for before in ["", "a=1"] {
            let retained = retain(&with(before), |_| Fate::KeepAs("ot=th:8".into())).unwrap();
            let read = |bytes: &[u8]| ExportTraceServiceRequest::decode(bytes).unwrap();
            assert_eq!(read(&retained.bytes.unwrap()), read(&with("ot=th:8")));
        }
        // What nobody knows stays, too: field 1000 as a text.
        let unknown = [0xc2, 0x3e, 1, b'x'];
        let span = test_support::span(1, 2, 3).encode_to_vec();
        let request = |span: &[u8]| field(RESOURCE_SPANS, &field(SCOPE_SPANS, &field(SPANS, span)));
        let retained = retain(&request(&[&unknown[..], &span].concat()), |_| {
            Fate::KeepAs("a=1".into())
        });
        let state = field(3, b"a=1");
        let expected = request(&[&unknown[..], &span, &state].concat());
        assert_eq!(retained.unwrap().bytes, Some(expected));
    }
}
