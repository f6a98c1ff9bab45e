//! A span as Zipkin has it once it has taken it in. It is read from the JSON that the Zipkin exporter would send, and
//! made what Zipkin's own reader makes of that (zipkin2.Span, zipkin2.Endpoint): so our answers are those of a Zipkin
//! behind the exporter. Called by `trace`, `links` and `names`.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::views::KeptSpans;
use crate::wire::SpanRef;
use crate::wire::zipkin::SpanEncoder;

/// Largest JSON of one span that is read.
const MOST_SPAN_BYTES: usize = 8 * 1024 * 1024;

/// Zipkin's `Span`; what is empty, zero or false is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Span {
    /// 16 or 32 digits.
    pub(super) trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_id: Option<String>,
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<Kind>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) name: String,
    /// Unix microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) timestamp: u64,
    /// Microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) duration: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) local_endpoint: Endpoint,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) remote_endpoint: Endpoint,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) annotations: Vec<Annotation>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    debug: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Kind {
    Client,
    Server,
    Producer,
    Consumer,
}

/// One side of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Endpoint {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) service_name: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) ipv4: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) ipv6: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) port: u16,
}

/// Something that happened; in order of time, then of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Annotation {
    /// Unix microseconds.
    timestamp: u64,
    pub(super) value: String,
}

/// A span is too large to be read as Zipkin's: more than 8 MiB of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Hands each span of a kept trace to `take`, one at a time: only what is taken of it is held.
///
/// # Errors
/// [`TooLarge`], or what `take` fails with.
pub(super) fn read(
    kept: &KeptSpans,
    mut take: impl FnMut(Span) -> Result<(), TooLarge>,
) -> Result<(), TooLarge> {
    let mut encoder = SpanEncoder::default();
    kept.spans()
        .try_for_each(|span| take(Span::read(&mut encoder, &span)?))
}

impl Span {
    fn read<'a>(encoder: &mut SpanEncoder<'a>, span: &SpanRef<'a>) -> Result<Self, TooLarge> {
        let json = encoder.encode(span, MOST_SPAN_BYTES).ok_or(TooLarge)?;
        // It fails on no JSON that the encoder writes, and if it did, the trace would be left out like one too large.
        let span: Self = serde_json::from_slice(&json).map_err(|_| TooLarge)?;
        Ok(span.taken_in())
    }

    /// What Zipkin changes as it takes a span in.
    fn taken_in(mut self) -> Self {
        let low = self.trace_id.strip_prefix("0000000000000000");
        if let Some(low) = low.filter(|low| low.len() == 16) {
            self.trace_id = low.to_owned();
        }
        // One that names itself its parent is a root.
        self.parent_id = self.parent_id.filter(|parent| *parent != self.id);
        self.name = self.name.to_lowercase();
        self.local_endpoint = self.local_endpoint.taken_in();
        self.remote_endpoint = self.remote_endpoint.taken_in();
        self.annotations.sort_unstable();
        self.annotations.dedup();
        self
    }
}

impl Endpoint {
    /// Names are in lower case; an IPv6 address is written in its shortest form, or as the IPv4 address in it when it is
    /// spelt so.
    fn taken_in(mut self) -> Self {
        self.service_name = self.service_name.to_lowercase();
        if let Some((_, embedded)) = self
            .ipv6
            .rsplit_once(':')
            .filter(|(_, v4)| v4.contains('.'))
        {
            self.ipv4 = embedded.to_owned();
            self.ipv6.clear();
        } else if let Ok(address) = self.ipv6.parse::<Ipv6Addr>() {
            self.ipv6 = address.to_string();
        }
        self
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
