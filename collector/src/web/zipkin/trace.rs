//! A kept trace as Zipkin answers it: its spans as JSON, oldest first, each once. Called by `mod` and `search`.

use super::answer::{Array, Full};
use crate::views::KeptTrace;
use crate::wire::SpanRef;
use crate::wire::zipkin::SpanEncoder;

/// Appends the spans of a trace. Senders send again what they had no answer for: spans whose bytes are the same are one, as
/// they are in Zipkin.
///
/// # Errors
/// [`Full`]: not all of them are appended.
pub(super) fn put(kept: &KeptTrace, answer: &mut Array) -> Result<(), Full> {
    let mut spans: Vec<SpanRef<'_>> = kept.spans().collect();
    // The bytes only where the rest is the same.
    spans.sort_by(|a, b| {
        let begun = |span: &SpanRef<'_>| (span.start_unix_nano / 1_000, span.span_id);
        begun(a)
            .cmp(&begun(b))
            .then_with(|| all_of_it(a).cmp(&all_of_it(b)))
    });
    spans.dedup_by(|a, b| all_of_it(a) == all_of_it(b));
    let mut encoder = SpanEncoder::default();
    for span in &spans {
        let left = answer.left();
        let json = encoder.encode(span, left);
        answer.push(json.ok_or(Full::TooLarge {
            most: answer.most(),
        })?)?;
    }
    Ok(())
}

fn all_of_it<'a>(span: &SpanRef<'a>) -> [&'a [u8]; 3] {
    [span.raw, span.resource.raw, span.scope.raw]
}
