//! A kept trace as Zipkin answers it: its spans as JSON, oldest first, each once. Called by `mod` and `search`.

use super::answer::MOST_BYTES;
use super::span::{self, Span, TooLarge};
use crate::views::KeptSpans;

/// A trace's spans, as far as they were read: when each began, and its JSON.
#[derive(Default)]
pub(super) struct Text {
    spans: Vec<(u64, Vec<u8>)>,
    bytes: usize,
}

impl Text {
    /// # Errors
    /// [`TooLarge`]: with this one the trace would be more than an answer may be.
    pub(super) fn push(&mut self, span: &Span) -> Result<(), TooLarge> {
        let json = serde_json::to_vec(span).map_err(|_| TooLarge)?;
        self.bytes += json.len() + size_of::<(u64, Vec<u8>)>();
        if self.bytes > MOST_BYTES {
            return Err(TooLarge);
        }
        self.spans.push((span.timestamp, json));
        Ok(())
    }

    /// The trace as an array. Senders send again what they had no answer for: spans that are the same in everything are
    /// one, as they are in Zipkin.
    pub(super) fn into_json(mut self) -> Vec<u8> {
        self.spans.sort_unstable();
        self.spans.dedup();
        let mut json = Vec::with_capacity(self.bytes);
        json.push(b'[');
        for (_, span) in self.spans {
            if json.len() > 1 {
                json.push(b',');
            }
            json.extend_from_slice(&span);
        }
        json.push(b']');
        json
    }
}

/// All of a trace.
///
/// # Errors
/// [`TooLarge`].
pub(super) fn json(kept: &KeptSpans) -> Result<Vec<u8>, TooLarge> {
    let mut text = Text::default();
    span::read(kept, |span| text.push(&span))?;
    Ok(text.into_json())
}
