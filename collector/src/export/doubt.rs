//! Tells a Zipkin whose storage is down, which passes, from one whose storage cannot take what is in a request, which
//! would be asked the same for ever. Both answer 500; but while a storage is up it takes other spans. Called by `peer`.

use std::time::Duration;

use bytes::Bytes;
use rand::seq::IteratorRandom;
use tokio::time::Instant;

use super::split::{Limits, Part, Parts};
use crate::signal::Signal;
use crate::wire::walk;

/// A storage may fail so often in a row before the request itself is doubted.
const FAILURES: u32 = 5;

/// So often a request has to fail, each time after another span was taken, before that is a refusal.
pub(super) const PROOFS: u32 = 3;

/// So long a doubt is not begun anew: the parts of a request that was refused are tried one after another.
const LASTS: Duration = Duration::from_secs(60);

/// What is known of one peer's storage.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Requests in a row that it failed on.
    failures: u32,
    /// One span that it took while it failed on others, and when.
    known_good: Option<(Bytes, Instant)>,
}

impl Doubt {
    /// A request was taken.
    pub(super) fn taken(&mut self) {
        self.failures = 0;
    }

    /// The storage failed on a request: whether it may be the request's fault.
    pub(super) fn failed(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.known_good = self
            .known_good
            .take()
            .filter(|(_, at)| at.elapsed() < LASTS);
        self.failures > FAILURES || self.known_good.is_some()
    }

    /// One span to try the storage with, beside `batches`: one that it took, or else any of them, since an offender may
    /// be anywhere. `None` when that would be all of them.
    pub(super) fn probe(&self, batches: &[Bytes]) -> Option<Bytes> {
        match &self.known_good {
            Some((span, _)) => Some(span.clone()),
            None => any_span(batches),
        }
    }

    /// What became of the probe.
    pub(super) fn probed(&mut self, span: Bytes, is_taken: bool) {
        self.known_good = is_taken.then(|| (span, Instant::now()));
    }
}

/// A request of one span of several.
fn any_span(batches: &[Bytes]) -> Option<Bytes> {
    let spans = batches.iter().flat_map(|batch| {
        let mut spans = 0;
        // What was walked when it came has no fault.
        let _ = walk(batch, |_| spans += 1);
        (0..spans).map(move |number| (batch, number))
    });
    let of_two = spans.clone().take(2).count() == 2;
    let (batch, number) = spans.choose(&mut rand::rng()).filter(|_| of_two)?;
    let one = Limits {
        bytes: usize::MAX,
        items: 1,
        item_bytes: usize::MAX,
    };
    match Parts::new(Signal::Traces, batch, number, one).next()? {
        Part::Request { pieces, .. } => Some(pieces.concat().into()),
        Part::Unfit { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::test_support::request;

    fn spans(batch: &[u8]) -> u64 {
        let mut spans = 0;
        walk(batch, |_| spans += 1).unwrap();
        spans
    }

    #[test]
    fn a_probe_is_one_span_of_several() {
        let batches = |counts: &[u64]| -> Vec<Bytes> {
            let batch = |&count: &u64| request("shop", count).into();
            counts.iter().map(batch).collect()
        };
        for counts in [&[2_u64][..], &[1, 1], &[5, 0, 3]] {
            let probe = any_span(&batches(counts)).unwrap();
            assert_eq!(spans(&probe), 1);
        }
        for counts in [&[][..], &[0], &[1], &[0, 1]] {
            assert_eq!(any_span(&batches(counts)), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn doubt_comes_with_failures_and_stays_for_a_while() {
        let mut doubt = Doubt::default();
        for _ in 0..3 {
            for _ in 0..FAILURES {
                assert!(!doubt.failed());
            }
            doubt.taken();
        }
        for _ in 0..FAILURES {
            doubt.failed();
        }
        assert!(doubt.failed());
        let span = Bytes::from_static(b"span");
        doubt.probed(span.clone(), true);
        doubt.taken();
        assert!(doubt.failed(), "the parts of what failed");
        assert_eq!(doubt.probe(&[]), Some(span.clone()));
        doubt.taken();
        tokio::time::advance(LASTS).await;
        assert!(!doubt.failed());
        doubt.probed(span, false);
        assert_eq!(doubt.probe(&[]), None);
    }
}
