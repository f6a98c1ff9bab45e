//! A kept trace as Zipkin answers it: its spans as JSON, in order of arrival, each once. Called by `mod` and `search`.

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
    let spans: Vec<SpanRef<'_>> = kept.spans().collect();
    let came_before = came_before(&spans);
    let once = spans.iter().zip(came_before);
    let mut encoder = SpanEncoder::default();
    for (span, _) in once.filter(|(_, came_before)| !came_before) {
        let left = answer.left();
        let json = encoder.encode(span, left);
        answer.push(json.ok_or(Full::TooLarge {
            most: answer.most(),
        })?)?;
    }
    Ok(())
}

/// Of each span, whether the same came before.
fn came_before(spans: &[SpanRef<'_>]) -> Vec<bool> {
    let mut ordered: Vec<_> = spans.iter().enumerate().collect();
    // The bytes are only looked at where the ids are the same.
    ordered.sort_by_key(|(_, span)| (span.span_id, all_of_it(span)));
    let mut came_before = vec![false; spans.len()];
    for pair in ordered.windows(2) {
        if let [(_, one), (at, other)] = pair
            && all_of_it(one) == all_of_it(other)
            && let Some(came_before) = came_before.get_mut(*at)
        {
            *came_before = true;
        }
    }
    came_before
}

fn all_of_it<'a>(span: &SpanRef<'a>) -> [&'a [u8]; 3] {
    [span.raw, span.resource.raw, span.scope.raw]
}
