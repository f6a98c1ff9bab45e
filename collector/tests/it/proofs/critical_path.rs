//! Critical paths of random traces, parallel children included, against what is found nanosecond by nanosecond.

use proptest::prelude::*;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use super::happened::{Happened, SERVICES, Shape, request};
use super::{Random, SECOND, Subject, cases, minutes_ago};

/// Times so short that spans often begin and end together.
const SHAPE: Shape = Shape {
    magnitude: 6,
    parallel: true,
    given_up: true,
    retries: true,
};

/// A span's times, by its sender's clock, and its children in order of arrival.
pub(super) struct Timed {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) children: Vec<usize>,
}

/// The span that each nanosecond below `root` is spent in, from its start on: of its children the last one to finish by
/// then was waited for, and what was before that one began is looked at in the same way.
pub(super) fn owners(spans: &[Timed], root: usize) -> Vec<usize> {
    let (start, end) = (spans[root].start, spans[root].end);
    let mut owners = vec![root; (end - start) as usize];
    fill(spans, root, (start, end), start, &mut owners);
    owners
}

fn fill(spans: &[Timed], span: usize, (from, to): (u64, u64), zero: u64, owners: &mut [usize]) {
    owners[(from - zero) as usize..(to - zero) as usize].fill(span);
    let inside = |child: &usize| (spans[*child].start.max(from), spans[*child].end.min(to));
    let children = spans[span].children.iter();
    let mut children: Vec<_> = children.map(|child| (inside(child), *child)).collect();
    children.retain(|((start, end), _)| start < end);
    let mut until = to;
    // Of those that finish together the one that began first, of such twins the one that came first.
    while let Some(&((start, end), child)) = children
        .iter()
        .filter(|((_, end), _)| *end <= until)
        .min_by_key(|((start, end), child)| (u64::MAX - end, *start, *child))
    {
        fill(spans, child, (start, end), zero, owners);
        until = start;
    }
}

/// The trace with its spans in another order, some of them lost, on clocks that are off.
fn sent(random: &mut Random, skewed: bool) -> (Vec<Happened>, Vec<usize>, [u64; 4]) {
    let spans = request(random, SHAPE);
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.retain(|&place| place == 0 || random.random_range(0..12) > 0);
    order.shuffle(random);
    let offsets = [0; 4].map(|_: i32| {
        if skewed {
            random.random_range(0..40)
        } else {
            0
        }
    });
    (spans, order, offsets)
}

fn check(trace: &Value, spans: &[Happened], order: &[usize], offsets: [u64; 4], epoch: u64) {
    let place_of = |place: usize| order.iter().position(|&other| other == place);
    let timed = order.iter().map(|&place| {
        let span = &spans[place];
        let offset = epoch + offsets[span.service];
        let children = (0..order.len()).filter(|&at| spans[order[at]].parent == Some(place));
        Timed {
            start: offset + span.start,
            end: offset + span.end,
            children: children.collect(),
        }
    });
    let timed: Vec<_> = timed.collect();
    let root = place_of(0).unwrap();
    let owners = owners(&timed, root);
    let text = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let mut at = timed[root].start;
    for segment in trace["critical_path"].as_array().unwrap() {
        let (from, to) = (
            text(&segment["from_unix_nano"]),
            text(&segment["to_unix_nano"]),
        );
        assert!(from == at && from < to, "a hole or an overlap at {at}");
        let id = u64::from_str_radix(segment["span_id"].as_str().unwrap(), 16).unwrap();
        let owner = place_of(id as usize - 1).unwrap();
        for nano in from..to {
            let wanted = owners[(nano - timed[root].start) as usize];
            assert_eq!(wanted, owner, "at {} ns", nano - timed[root].start);
        }
        at = to;
    }
    // That the segments add up to the root's duration.
    assert_eq!(at, timed[root].end);
    for span in trace["spans"].as_array().unwrap() {
        let id = u64::from_str_radix(span["span_id"].as_str().unwrap(), 16).unwrap();
        let on_path = owners.contains(&place_of(id as usize - 1).unwrap());
        assert_eq!(span["critical"], on_path, "{span}");
    }
}

proptest! {
    #![proptest_config(cases(150))]
    #[test]
    fn the_path_is_the_one_found_nanosecond_by_nanosecond(seed in any::<u64>(), skewed in any::<bool>()) {
        let subject = Subject::new();
        let mut random = Random::seed_from_u64(seed);
        let epoch = minutes_ago(2);
        for number in 1..10 {
            let (spans, order, offsets) = sent(&mut random, skewed);
            for (second, &place) in (0..).zip(&order) {
                let span = &spans[place];
                let sent = span.sent(number, place, epoch + offsets[span.service]);
                let request = super::request([(SERVICES[span.service].to_owned(), vec![sent])]);
                subject.take(&request, epoch + second * SECOND / 10);
            }
            let trace = subject.ask(&format!("/api/v1/traces/{number:032x}"));
            prop_assert_eq!(trace["spans"].as_array().unwrap().len(), order.len());
            check(&trace, &spans, &order, offsets, epoch);
        }
    }
}
