//! A line the size of a word, for a cell of a table. Called by `columns`.

use maud::{Markup, html};

use crate::web::format::{NONE, put_coordinate};

const WIDTH: f64 = 88.0;
const HEIGHT: f64 = 18.0;

/// The course of `values`, oldest first, of what `name` says (its class of colour, too); where there is no value
/// the line is broken. `show` writes one value.
pub(in crate::web) fn spark(values: &[Option<f64>], name: &str, show: fn(f64) -> String) -> Markup {
    let last = values.last().copied().flatten();
    let last = last.map_or_else(|| NONE.to_owned(), show);
    let path = line_path(values, WIDTH, HEIGHT, top(values));
    html! {
        // As wide as its cell: only the line is stretched, not its stroke.
        svg.spark.(name) role="img" width="100%" height=(HEIGHT) preserveAspectRatio="none"
            viewBox={ "-1 -1 " (WIDTH + 2.0) " " (HEIGHT + 2.0) } {
            title { (name) ", at last " (last) }
            @if !path.is_empty() { path d=(path) vector-effect="non-scaling-stroke" {} }
        }
    }
}

/// The largest value that can be drawn; 0 without any.
pub(super) fn top(values: &[Option<f64>]) -> f64 {
    drawable(values).fold(0.0, |top, (_, value)| value.max(top))
}

/// An SVG path through `values`, 0 at the bottom and `top` at the top, with a break at each gap.
pub(super) fn line_path(values: &[Option<f64>], width: f64, height: f64, top: f64) -> String {
    let step = width / (values.len().max(2) - 1) as f64;
    let mut path = String::new();
    let mut last = None;
    for (index, value) in drawable(values) {
        let y = if top > 0.0 {
            height - value / top * height
        } else {
            height
        };
        let joined = index > 0 && last == Some(index - 1);
        // A point between two gaps would be invisible without a line of no length and round ends.
        let alone = !joined && values.get(index + 1).copied().flatten().is_none();
        path.push(if joined { 'L' } else { 'M' });
        put_coordinate(&mut path, index as f64 * step);
        path.push(' ');
        put_coordinate(&mut path, y);
        if alone {
            path.push_str("h0");
        }
        last = Some(index);
    }
    path
}

fn drawable(values: &[Option<f64>]) -> impl Iterator<Item = (usize, f64)> {
    values.iter().enumerate().filter_map(|(index, value)| {
        value
            .filter(|value| value.is_finite() && *value >= 0.0)
            .map(|value| (index, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::testing::{Page, assert_drawable};

    #[test]
    fn lines_break_at_gaps_and_fit_their_box() {
        let check = |values: &[Option<f64>], want: &str| {
            assert_eq!(
                line_path(values, 10.0, 10.0, top(values)),
                want,
                "{values:?}"
            );
        };
        check(&[], "");
        check(&[None, None], "");
        check(&[Some(0.0), Some(0.0)], "M0 10L10 10");
        check(&[Some(1.0), Some(2.0), Some(0.0)], "M0 5L5 0L10 10");
        check(&[Some(1.0), None, Some(1.0)], "M0 0h0M10 0h0");
        check(&[Some(4.0)], "M0 0h0");
        check(&[Some(f64::NAN), Some(f64::INFINITY), Some(1.0)], "M10 0h0");
    }

    #[test]
    fn a_line_fills_its_cell_and_keeps_its_stroke() {
        let values = [Some(1.0), Some(2.0)];
        let page = Page::parse(&spark(&values, "rate", crate::web::format::rate).into_string());
        assert_eq!(page.attribute("svg", "width").as_deref(), Some("100%"));
        let effect = page.attribute("path", "vector-effect");
        assert_eq!(effect.as_deref(), Some("non-scaling-stroke"));
    }

    proptest::proptest! {
        #[test]
        fn any_numbers_can_be_drawn(values in proptest::collection::vec(
            proptest::option::of(proptest::num::f64::ANY), 0..40)) {
            assert_drawable(&Page::parse(&spark(&values, "rate", crate::web::format::rate).into_string()));
        }
    }
}
