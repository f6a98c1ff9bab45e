//! The spans of one body: gathered one by one, told apart where two share an id, then written service by service. Fed
//! by `json` and `protobuf`.

use std::borrow::Cow;
use std::mem;

use super::attribute::put_text;
use super::span::Draft;
use crate::wire::span::SpanKind;
use crate::wire::transcode::TranscodeError;
use crate::wire::transcode::proto_writer::{Expected, ProtoWriter};

/// Services and scopes among the last of which a span's is looked for. Bodies come from one process and have a few; of
/// more, one may be written twice, which is as good.
const GROUPS_LOOKED_AT: usize = 16;

/// The id of a shared span before its server half got one of its own, as 16 hex digits.
pub(super) const SHARED_ID: &str = "zipkin.id";
/// The parent id before it was changed, as 16 hex digits.
pub(super) const PARENT_ID: &str = "zipkin.parent_id";

/// Spans gathered so far.
pub(super) struct Batch<'a> {
    /// The fields of every span but its ids, one span after another.
    pub(super) fields: ProtoWriter,
    spans: Vec<Entry>,
    groups: Vec<Group<'a>>,
    /// Bytes of the names in `groups` that had to be copied.
    copied: usize,
    /// Bytes that gathering and writing may take together.
    limit: usize,
}

/// One span, beside its fields.
#[derive(Clone, Copy)]
struct Entry {
    trace_id: [u8; 16],
    id: [u8; 8],
    /// Zeros for a root.
    parent_id: [u8; 8],
    group: u32,
    /// Where its fields begin.
    start: u32,
    /// Where they end.
    end: u32,
    kind: SpanKind,
    shared: bool,
    /// What becomes of its ids.
    ids: Ids,
}

#[derive(Clone, Copy, PartialEq)]
enum Ids {
    AsTheyCame,
    /// The server half of a span that it shares with its client: gets an id of its own, below the client half.
    ServerHalf,
    /// A child of such a half.
    BelowServerHalf,
}

/// Spans of one service and scope.
#[derive(PartialEq)]
struct Group<'a> {
    service: Cow<'a, str>,
    scope_name: Cow<'a, str>,
    scope_version: Cow<'a, str>,
}

impl<'a> Batch<'a> {
    /// For a body of `body` bytes; `limit` bytes may be used beside it.
    pub(super) fn new(body: usize, limit: usize) -> Self {
        // Offsets are kept in 32 bits.
        let limit = limit.min(u32::MAX as usize);
        Self {
            fields: ProtoWriter::new(body / 2, limit),
            spans: Vec::new(),
            groups: Vec::new(),
            copied: 0,
            limit,
        }
    }

    /// How many spans there are.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether more was taken than may be; what was gathered is of no use then.
    pub(super) fn is_too_large(&self) -> bool {
        self.fields.has_overflowed() || self.used() > self.limit
    }

    /// Takes a span whose fields, from `start` on, are written but for those that `span` still holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn push(&mut self, start: usize, mut span: Draft<'a>) -> Result<(), String> {
        span.check()?;
        span.write_rest(&mut self.fields, start)?;
        let group = self.group(&mut span);
        let offset = |at| u32::try_from(at).unwrap_or(u32::MAX);
        // Zipkin takes such a parent for none, too.
        let is_own_parent = span.parent_id == span.id && !span.shared;
        self.spans.push(Entry {
            trace_id: span.trace_id,
            id: span.id,
            parent_id: if is_own_parent {
                [0; 8]
            } else {
                span.parent_id
            },
            group,
            start: offset(start),
            end: offset(self.fields.len()),
            kind: span.kind,
            shared: span.shared,
            ids: Ids::AsTheyCame,
        });
        Ok(())
    }

    /// The bytes of an `ExportTraceServiceRequest`.
    ///
    /// # Errors
    /// [`TranscodeError::TooLarge`].
    pub(super) fn into_request(mut self) -> Result<Vec<u8>, TranscodeError> {
        let too_large = TranscodeError::TooLarge { limit: self.limit };
        if self.is_too_large() {
            return Err(too_large);
        }
        self.tell_halves_apart();
        self.spans
            .sort_unstable_by_key(|span| (span.group, span.start));
        const IDS_BYTES: usize = 48;
        let expected = self.fields.len() + self.spans.len() * IDS_BYTES;
        let limit = self.limit.saturating_sub(self.used());
        let mut out = ProtoWriter::new(expected, limit);
        for spans in self.spans.chunk_by(|a, b| a.group == b.group) {
            self.write_group(spans, &mut out);
        }
        if out.has_overflowed() {
            return Err(too_large);
        }
        Ok(out.into_bytes())
    }

    /// Bytes held, and those for telling halves apart. A vector has up to twice the room it needs.
    fn used(&self) -> usize {
        const FOR_HALVES: usize = 2 * size_of::<u32>();
        self.fields.capacity()
            + self.spans.len() * (size_of::<Entry>() + FOR_HALVES) * 2
            + self.groups.len() * size_of::<Group<'_>>() * 2
            + self.copied
    }

    fn group(&mut self, span: &mut Draft<'a>) -> u32 {
        let group = Group {
            service: mem::take(&mut span.local.service),
            scope_name: mem::take(&mut span.scope_name),
            scope_version: mem::take(&mut span.scope_version),
        };
        let known = self.groups.iter().rev().take(GROUPS_LOOKED_AT);
        let index = match known.into_iter().position(|known| *known == group) {
            Some(back) => self.groups.len() - 1 - back,
            None => {
                self.copied += group.copied();
                self.groups.push(group);
                self.groups.len() - 1
            }
        };
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    fn service(&self, span: &Entry) -> &str {
        let group = self.groups.get(span.group as usize);
        group.map_or("", |group| &group.service)
    }

    /// Finds the server halves of shared spans and their children. A half says so by `shared`, or its client half is
    /// here, too (as zipkin2.internal.Trace has it). Children name the id that both halves had; those of the half's own
    /// service are its own.
    fn tell_halves_apart(&mut self) {
        let any = |is: fn(&Entry) -> bool| self.spans.iter().any(is);
        let has_both =
            any(|span| span.kind == SpanKind::Client) && any(|span| span.kind == SpanKind::Server);
        if !(has_both || any(|span| span.shared)) {
            return;
        }
        self.spans
            .sort_unstable_by_key(|span| (span.trace_id, span.id));
        let mut any_half = false;
        let same_id = |a: &Entry, b: &Entry| (a.trace_id, a.id) == (b.trace_id, b.id);
        for spans in self.spans.chunk_by_mut(same_id) {
            let has_client = spans.iter().any(|span| span.kind == SpanKind::Client);
            for span in spans {
                let is_half = match span.kind {
                    SpanKind::Server => span.shared || has_client,
                    SpanKind::Client | SpanKind::Producer => false,
                    _ => span.shared,
                };
                if is_half {
                    span.ids = Ids::ServerHalf;
                    any_half = true;
                }
            }
        }
        if any_half {
            self.put_children_below_halves();
        }
    }

    fn put_children_below_halves(&mut self) {
        let mut halves: Vec<u32> = (0..)
            .zip(&self.spans)
            .filter(|(_, span)| span.ids == Ids::ServerHalf)
            .map(|(index, _)| index)
            .collect();
        let half = |index: u32| {
            let span = self.spans.get(index as usize);
            span.map(|span| (span.trace_id, span.id, self.service(span)))
        };
        halves.sort_unstable_by_key(|&index| half(index));
        let is_child = |span: &Entry| {
            let parent = Some((span.trace_id, span.parent_id, self.service(span)));
            span.ids == Ids::AsTheyCame
                && halves
                    .binary_search_by(|&index| half(index).cmp(&parent))
                    .is_ok()
        };
        let children: Vec<u32> = (0..)
            .zip(&self.spans)
            .filter(|(_, span)| is_child(span))
            .map(|(index, _)| index)
            .collect();
        for index in children {
            if let Some(child) = self.spans.get_mut(index as usize) {
                child.ids = Ids::BelowServerHalf;
            }
        }
    }

    /// `ResourceSpans` of one service with one `ScopeSpans`.
    fn write_group(&self, spans: &[Entry], out: &mut ProtoWriter) {
        let first = spans.first().map(|span| span.group as usize);
        let Some(group) = first.and_then(|index| self.groups.get(index)) else {
            return;
        };
        let resource_spans = out.open(1, Expected::Large);
        if !group.service.is_empty() {
            let resource = out.open(1, Expected::Small);
            put_text(out, 1, "service.name", &group.service);
            out.close(resource);
        }
        let scope_spans = out.open(2, Expected::Large);
        if !(group.scope_name.is_empty() && group.scope_version.is_empty()) {
            let scope = out.open(1, Expected::Small);
            out.text(1, &group.scope_name);
            out.text(2, &group.scope_version);
            out.close(scope);
        }
        for span in spans {
            let message = out.open(2, Expected::Medium);
            write_ids(span, &group.service, out);
            let fields = self.fields.as_slice();
            let own = fields.get(span.start as usize..span.end as usize);
            out.fields(own.unwrap_or_default());
            out.close(message);
        }
        out.close(scope_spans);
        out.close(resource_spans);
    }
}

impl Group<'_> {
    fn copied(&self) -> usize {
        let names = [&self.service, &self.scope_name, &self.scope_version];
        let copied = names
            .into_iter()
            .filter(|name| matches!(name, Cow::Owned(_)));
        copied.map(|name| name.len()).sum()
    }
}

fn write_ids(span: &Entry, service: &str, out: &mut ProtoWriter) {
    let Entry {
        trace_id,
        id,
        parent_id,
        ..
    } = span;
    let (own_id, own_parent) = match span.ids {
        Ids::AsTheyCame => (*id, *parent_id),
        Ids::ServerHalf => (server_half_id(trace_id, id, service), *id),
        Ids::BelowServerHalf => (*id, server_half_id(trace_id, parent_id, service)),
    };
    out.bytes(1, trace_id);
    out.bytes(2, &own_id);
    if own_parent != [0; 8] {
        out.bytes(4, &own_parent);
    }
    if span.ids == Ids::ServerHalf {
        put_text(out, 9, SHARED_ID, &hex(id));
    }
    if own_parent != *parent_id && *parent_id != [0; 8] {
        put_text(out, 9, PARENT_ID, &hex(parent_id));
    }
}

/// The same for the same span whenever and wherever it comes in, so that it is not another span when it comes again:
/// FNV-1a of trace id, id and service, with its bits mixed.
fn server_half_id(trace_id: &[u8; 16], id: &[u8; 8], service: &str) -> [u8; 8] {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = trace_id.iter().chain(id).chain(service.as_bytes());
    let hash = bytes.fold(BASIS, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    let mixed = (hash ^ hash >> 32).wrapping_mul(MIX);
    // Zeros are no id.
    (mixed ^ mixed >> 29).max(1).to_be_bytes()
}

fn hex(id: &[u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(*id))
}
