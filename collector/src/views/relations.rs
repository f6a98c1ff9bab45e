//! Whose server spans stand directly below whose other spans, in the kept traces of a service: calls that no client span
//! tells of. Made by `mod` for `doctor`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::examples::{is_client, is_server};
use super::kept::KeptTrace;
use crate::wire::SpanRef;

/// What kept traces show of a service's neighbours.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    /// Traces looked at.
    pub(crate) looked_at: u64,
    /// Services whose server span has a span of this one as its parent that is no client span, with the number of traces.
    pub(crate) below: BTreeMap<String, u64>,
    /// Services of which such a span is the parent of a server span of this one.
    pub(crate) above: BTreeMap<String, u64>,
    /// Traces in which the parent of a server span of this one is not there.
    pub(crate) parents_missing: u64,
}

impl Relations {
    /// Looks at a trace for a service.
    pub(crate) fn look_at(&mut self, trace: &KeptTrace, service: &str) {
        self.looked_at += 1;
        let by_id: HashMap<[u8; 8], SpanRef<'_>> =
            trace.spans().map(|span| (span.span_id, span)).collect();
        let (mut below, mut above, mut missing) = (BTreeSet::new(), BTreeSet::new(), false);
        for span in trace.spans().filter(is_server) {
            let Some(parent) = span.parent_span_id else {
                continue;
            };
            let server = span.resource.service_name;
            let Some(parent) = by_id.get(&parent) else {
                missing |= server == service;
                continue;
            };
            let caller = parent.resource.service_name;
            if is_client(parent) || caller == server {
                continue;
            }
            if caller == service {
                below.insert(server);
            } else if server == service {
                above.insert(caller);
            }
        }
        self.parents_missing += u64::from(missing);
        for (seen, counts) in [(below, &mut self.below), (above, &mut self.above)] {
            for name in seen {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
}
