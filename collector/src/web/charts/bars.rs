//! Bars inside a cell: one share, or a call split into server and network. Called by the pages.

use maud::{Markup, html};

use crate::web::format::percent;

/// A part of a stacked bar.
#[derive(Clone, Debug)]
pub(in crate::web) struct Part {
    /// Share of the whole, 0–1.
    pub(in crate::web) share: f64,
    /// Its class of colour.
    pub(in crate::web) class: String,
}

/// One bar, `share` (0–1) of its cell long.
pub(in crate::web) fn bar(share: f64, class: &str, title: &str) -> Markup {
    let part = Part {
        share,
        class: class.to_owned(),
    };
    stack(&[part], title)
}

/// Parts side by side, in order; what goes beyond the whole is cut off.
pub(in crate::web) fn stack(parts: &[Part], title: &str) -> Markup {
    let mut start = 0.0;
    let placed: Vec<(&Part, f64, f64)> = parts
        .iter()
        .map(|part| {
            let share = if part.share.is_nan() { 0.0 } else { part.share };
            let share = share.clamp(0.0, 1.0 - start);
            let from = start;
            start = (start + share).min(1.0);
            (part, from, share)
        })
        .collect();
    html! {
        svg.bar role="img" width="100%" height="10" {
            title { (title) }
            rect.track width="100%" height="10" rx="2" {}
            @for (part, from, share) in placed {
                rect.(part.class) x=(percent(from)) width=(percent(share)) height="10" rx="2" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::testing::{Page, assert_drawable};

    #[test]
    fn parts_follow_each_other_and_never_overflow() {
        let part = |share| Part {
            share,
            class: "x".to_owned(),
        };
        let check = |shares: &[f64], want: &[(&str, &str)]| {
            let parts: Vec<_> = shares.iter().copied().map(part).collect();
            let page = Page::parse(&stack(&parts, "title").into_string());
            assert_drawable(&page);
            let got: Vec<_> = page
                .class("x")
                .map(|rect| (rect.get("x").unwrap(), rect.get("width").unwrap()))
                .collect();
            assert_eq!(got, want, "{shares:?}");
        };
        check(
            &[0.25, 0.5],
            &[("0.000%", "25.000%"), ("25.000%", "50.000%")],
        );
        check(
            &[0.75, 0.5],
            &[("0.000%", "75.000%"), ("75.000%", "25.000%")],
        );
        check(
            &[f64::NAN, -1.0],
            &[("0.000%", "0.000%"), ("0.000%", "0.000%")],
        );
        check(&[f64::INFINITY], &[("0.000%", "100.000%")]);
    }
}
