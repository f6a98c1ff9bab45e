//! How a number stands to the same one of the window before: an arrow, by how much, and whether that matters. Called by
//! `columns` for tables, by the page of a service for its figures, and by `edge_change` for gaps.

use maud::{Markup, html};

use super::columns::Column;
use super::format::duration;
use crate::views::report::Figures;

/// With fewer spans than this a change may be chance: it is shown, but neither in colour nor among the first.
const FEW: u64 = 20;
/// Two percentiles that are each within 1.1 % may differ by twice that while nothing has changed.
const SAME: f64 = 0.025;
/// From this on a change of a rate or a latency is worth a look, …
const TELLING: f64 = 0.2;
/// … and from this on one of the error ratio.
const TELLING_ERRORS: f64 = 0.001;

/// A change of one column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    text: String,
    was: String,
    class: &'static str,
    /// How far it stands from no change: the more, the higher its row when the table is sorted by it.
    pub(super) size: f64,
}

/// The change of a column; `None` where there is nothing to compare, or the column is not compared.
pub(super) fn change(column: Column, now: &Figures, before: &Figures) -> Option<Change> {
    let most = now.samples.max(before.samples);
    let least = now.samples.min(before.samples);
    let (was, is) = (column.number(before)?, column.number(now)?);
    let was_text = column.text(before);
    match column {
        Column::Rate if most > 0 => Some(of_rate(was, is, most < FEW, was_text)),
        // Without any, there is nothing to say.
        Column::Errors if least > 0 && was + is > 0.0 => {
            Some(of_errors(was, is, least < FEW, was_text))
        }
        Column::P50 | Column::P95 | Column::P99 => Some(of_latency(was, is, least < FEW, was_text)),
        _ => None,
    }
}

/// The change of a network gap, in seconds, of at least so many calls in either window.
pub(super) fn of_gap(was: f64, is: f64, calls: u64) -> Change {
    of_latency(was, is, calls < FEW, duration(was))
}

/// A change as it stands beside its number.
pub(super) fn shown(change: &Change) -> Markup {
    html! { span.change.(change.class) title={ "was " (change.was) } { (change.text) } }
}

/// More and less are as much of a change.
fn of_rate(was: f64, is: f64, few: bool, was_text: String) -> Change {
    let size = (is / was).ln().abs();
    Change {
        text: if was == 0.0 {
            "new".to_owned()
        } else {
            by_ratio(is / was)
        },
        was: was_text,
        class: if size > (1.0 + TELLING).ln() && !few {
            "telling"
        } else {
            ""
        },
        size: if few { 0.0 } else { size },
    }
}

/// Rising is worse.
fn of_latency(was: f64, is: f64, few: bool, was_text: String) -> Change {
    // A latency of nothing is no measure for another.
    let share = if was > 0.0 { is / was } else { 1.0 };
    Change {
        text: by_ratio(share),
        was: was_text,
        class: if share > 1.0 + TELLING && !few {
            "warn"
        } else {
            ""
        },
        size: if few || share == 0.0 { 0.0 } else { share.ln() },
    }
}

/// A share of a share would be read wrongly, so that what was is told instead.
fn of_errors(was: f64, is: f64, few: bool, was_text: String) -> Change {
    let text = match is.total_cmp(&was) {
        std::cmp::Ordering::Less => format!("▼ was\u{a0}{was_text}"),
        std::cmp::Ordering::Equal => "=".to_owned(),
        std::cmp::Ordering::Greater => format!("▲ was\u{a0}{was_text}"),
    };
    let by = is - was;
    Change {
        text,
        was: was_text,
        class: if by >= TELLING_ERRORS && !few {
            "bad"
        } else {
            ""
        },
        size: if few { 0.0 } else { by },
    }
}

/// `▲ 20 %`, `▼ 50 %`, from twice on `▲ 2.4×`, and `=` for next to nothing.
fn by_ratio(share: f64) -> String {
    let by = share - 1.0;
    if by.abs() < SAME {
        "=".to_owned()
    } else if share >= 1_000.0 {
        "▲ >\u{a0}999×".to_owned()
    } else if share >= 9.95 {
        format!("▲\u{a0}{share:.0}×")
    } else if share >= 2.0 {
        format!("▲\u{a0}{share:.1}×")
    } else {
        let arrow = if by > 0.0 { '▲' } else { '▼' };
        format!("{arrow}\u{a0}{:.0}\u{a0}%", by.abs() * 100.0)
    }
}

/// `estimated from 1 in 10`, where the senders have kept only some of what is counted.
pub(super) fn estimated(count: u64, samples: u64) -> Option<String> {
    if samples == 0 || samples >= count {
        return None;
    }
    let one_in = count as f64 / samples as f64;
    let one_in = if one_in < 9.95 {
        format!("{one_in:.1}")
    } else {
        format!("{one_in:.0}")
    };
    let one_in = one_in.strip_suffix(".0").unwrap_or(&one_in);
    Some(format!("estimated from 1\u{a0}in\u{a0}{one_in} on average"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::report::Latency;

    fn figures(count: u64, rate: f64, error_ratio: f64, p99: f64) -> Figures {
        Figures {
            count,
            samples: count,
            rate,
            error_ratio,
            latency: Latency {
                p99: Some(p99),
                ..Latency::default()
            },
        }
    }

    /// Its text and class, of what was and what is.
    fn check(column: Column, was: Figures, is: Figures, want: Option<(&str, &str)>) {
        let got = change(column, &is, &was);
        let got = got.map(|change| (change.text.replace('\u{a0}', " "), change.class));
        let want = want.map(|(text, class)| (text.to_owned(), class));
        assert_eq!(got, want, "{column:?} {was:?} {is:?}");
    }

    #[test]
    fn rates_rise_fall_appear_and_end() {
        let rate = |was: f64, is: f64, want| {
            let of = |rate: f64| figures((rate * 100.0) as u64, rate, 0.0, 1.0);
            check(Column::Rate, of(was), of(is), want);
        };
        rate(10.0, 10.2, Some(("=", "")));
        rate(10.0, 11.0, Some(("▲ 10 %", "")));
        rate(10.0, 15.0, Some(("▲ 50 %", "telling")));
        rate(10.0, 34.0, Some(("▲ 3.4×", "telling")));
        rate(1.0, 120.0, Some(("▲ 120×", "telling")));
        rate(1.0, 5_000.0, Some(("▲ > 999×", "telling")));
        rate(10.0, 5.0, Some(("▼ 50 %", "telling")));
        rate(10.0, 0.0, Some(("▼ 100 %", "telling")));
        rate(0.0, 10.0, Some(("new", "telling")));
        rate(0.0, 0.0, None);
        // A handful of requests says nothing.
        rate(0.05, 0.1, Some(("▲ 2.0×", "")));
    }

    #[test]
    fn slower_is_worse_and_faster_is_not() {
        let p99 = |was, is, want| {
            let of = |p99| figures(100, 1.0, 0.0, p99);
            check(Column::P99, of(was), of(is), want);
        };
        p99(0.1, 0.13, Some(("▲ 30 %", "warn")));
        p99(0.1, 0.05, Some(("▼ 50 %", "")));
        p99(0.1, 0.102, Some(("=", "")));
        p99(0.0, 0.1, Some(("=", "")));
        let few = figures(19, 1.0, 0.0, 0.5);
        check(
            Column::P99,
            figures(100, 1.0, 0.0, 0.1),
            few,
            Some(("▲ 5.0×", "")),
        );
        check(Column::P50, few, few, None);
        check(Column::Max, few, few, None);
    }

    #[test]
    fn errors_tell_what_they_were() {
        let errors = |was, is, want| {
            let of = |ratio| figures(1_000, 1.0, ratio, 1.0);
            check(Column::Errors, of(was), of(is), want);
        };
        errors(0.01, 0.025, Some(("▲ was 1.00 %", "bad")));
        errors(0.0, 0.000_5, Some(("▲ was 0 %", "")));
        errors(0.025, 0.01, Some(("▼ was 2.50 %", "")));
        errors(0.02, 0.02, Some(("=", "")));
        errors(0.0, 0.0, None);
        let none = Figures::default();
        check(Column::Errors, none, figures(100, 1.0, 0.5, 1.0), None);
    }

    #[test]
    fn the_largest_change_is_the_largest_size() {
        let size = |column, was, is| change(column, &is, &was).unwrap().size;
        let at = |rate| figures(1_000, rate, 0.0, 1.0);
        assert!(size(Column::Rate, at(10.0), at(1.0)) > size(Column::Rate, at(10.0), at(20.0)));
        let p99 = |p99| figures(1_000, 1.0, 0.0, p99);
        assert!(size(Column::P99, p99(1.0), p99(2.0)) > size(Column::P99, p99(2.0), p99(1.0)));
        let errors = |ratio| figures(1_000, 1.0, ratio, 1.0);
        assert!(size(Column::Errors, errors(0.1), errors(0.2)) > 0.0);
        let few = |rate| figures(10, rate, 0.0, 1.0);
        assert_eq!(size(Column::Rate, few(1.0), few(9.0)), 0.0);
    }

    #[test]
    fn an_estimate_says_of_how_many() {
        let of = |count, samples| {
            let now = Figures {
                count,
                samples,
                ..Figures::default()
            };
            estimated(now.count, now.samples).map(|text| text.replace('\u{a0}', " "))
        };
        let says = |one_in: &str| Some(format!("estimated from 1 in {one_in} on average"));
        assert_eq!(of(1_000, 100), says("10"));
        assert_eq!(of(333, 100), says("3.3"));
        assert_eq!(of(20_000, 7), says("2857"));
        assert_eq!(of(100, 100), None);
        assert_eq!(of(0, 0), None);
    }
}
