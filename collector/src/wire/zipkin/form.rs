//! The two forms that a span is written in: as it came, for whoever takes it in, or as Zipkin has it once it has taken it
//! in, which is how it answers (zipkin2.Span, zipkin2.Endpoint). Called by `mod` and `origin`.

use std::borrow::Cow;
use std::net::IpAddr;

use super::json::Json;
use super::origin::{Ids, taken_in};
use super::{annotations, put_annotation, put_event};
use crate::wire::SpanRef;

/// How a span is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it came.
    Sent,
    /// As Zipkin has it: names in lower case, an id's upper half of zeros left out, addresses in their shortest form,
    /// annotations in order and each once, nothing that is empty.
    TakenIn,
}

impl Form {
    pub(super) fn put_trace_id(self, json: &mut Json, id: &[u8; 16]) {
        let json = json.known("\"traceId\":");
        match (self, id.split_first_chunk::<8>()) {
            (Self::TakenIn, Some(([0, 0, 0, 0, 0, 0, 0, 0], low))) => {
                json.hex(low.first_chunk::<8>().unwrap_or(&[0; 8]));
            }
            _ => json.hex(id),
        }
    }

    /// The name of a span or a service, with its `key`.
    pub(super) fn put_name(self, json: &mut Json, key: &'static str, name: &str) {
        match self {
            Self::Sent => json.known(key).string(name),
            Self::TakenIn if name.is_empty() => {}
            Self::TakenIn => json.known(key).string(&lower_case(name)),
        }
    }

    /// One that names itself its parent is a root.
    pub(super) fn ids(self, ids: Ids) -> Ids {
        match self {
            Self::Sent => ids,
            Self::TakenIn => Ids {
                parent: ids.parent.filter(|&parent| parent != ids.id),
                ..ids
            },
        }
    }

    /// None is as good as zero.
    pub(super) fn duration(self, micros: Option<u64>) -> Option<u64> {
        micros.filter(|&micros| self == Self::Sent || micros > 0)
    }

    pub(super) fn put_address(self, json: &mut Json, address: Option<(IpAddr, &str)>) {
        let Some((ip, text)) = address else {
            return;
        };
        let (ip, text) = match self {
            Self::Sent => (ip, Cow::Borrowed(text)),
            Self::TakenIn => {
                let ip = taken_in((ip, text));
                (ip, Cow::Owned(ip.to_string()))
            }
        };
        match ip {
            IpAddr::V4(_) => json.known("\"ipv4\":").string(&text),
            IpAddr::V6(_) => json.known("\"ipv6\":").string(&text),
        }
    }

    pub(super) fn put_annotations(self, json: &mut Json, span: &SpanRef<'_>) {
        let before = json.len();
        json.known("\"annotations\":").open_array();
        match self {
            Self::Sent => {
                for (micros, event) in annotations(span) {
                    if json.is_full() {
                        break;
                    }
                    put_annotation(json, micros, |json| put_event(json, event));
                }
            }
            Self::TakenIn => put_in_order(json, span),
        }
        json.close_array();
        self.settle(json, before);
    }

    /// Ends a member that may have come out empty.
    pub(super) fn settle(self, json: &mut Json, before: usize) {
        if self == Self::TakenIn {
            json.drop_empty(before);
        }
    }
}

/// By time, then by text. All of it is less than `json` has room for.
fn put_in_order(json: &mut Json, span: &SpanRef<'_>) {
    let mut texts: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut room = json.nested();
    for (micros, event) in annotations(span) {
        put_event(&mut room, event);
        if room.is_full() {
            return json.give_up();
        }
        let rest = room.nested();
        texts.push((micros, std::mem::replace(&mut room, rest).into_bytes()));
    }
    texts.sort_unstable();
    texts.dedup();
    for (micros, text) in texts {
        put_annotation(json, micros, |json| json.value(&text));
    }
}

/// As Zipkin has names.
pub fn lower_case(name: &str) -> Cow<'_, str> {
    let is_lower = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if name.bytes().all(is_lower) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_lowercase())
    }
}
