//! A node of the map: a shape for what it is, its name, its figures. Called by `charts::graph`.

use maud::{Markup, html};

use super::{Graph, Links, Measures};
use crate::views::report::Node;
use crate::web::charts::layers::{Point, Sizes};
use crate::web::format::{coordinate, maybe_duration, rate, shorten};
use crate::web::layout::colour;

/// The node, with its figures and a link around it.
pub(super) fn node_box(
    graph: &Graph<'_>,
    node: &Node,
    centre: Point,
    measures: &Measures,
    links: &Links<'_>,
) -> Markup {
    let sizes = &measures.sizes;
    let left = centre.x - sizes.node_width / 2.0;
    let top = centre.y - sizes.node_height / 2.0;
    let figures = graph
        .services
        .get(&node.id)
        .filter(|_| node.kind == "service");
    html! {
        a href=((links.node)(node)) data-key={ "node " (node.id) } {
            g.node.(node.kind).focus[graph.focus == Some(node.id.as_str())]
                transform={ "translate(" (coordinate(left)) " " (coordinate(top)) ")" } {
                title { (node.id) }
                (shape(node, sizes))
                text.name x="16" y="20" { (shorten(&node.id, measures.letters)) }
                text.under x="16" y="36" {
                    @if let Some(figures) = figures {
                        (rate(figures.rate)) " · p99 " (maybe_duration(figures.latency.p99))
                    } @else {
                        (kind_name(node.kind))
                    }
                }
            }
        }
    }
}

/// Each kind of node has a shape of its own: colour alone would not do.
fn shape(node: &Node, sizes: &Sizes) -> Markup {
    let (w, h) = (sizes.node_width, sizes.node_height);
    match node.kind {
        "database" => html! {
            path.box d={ "M0 6C0 -2 " (w) " -2 " (w) " 6V" (h - 6.0) "C" (w) " " (h + 2.0) " 0 " (h + 2.0) " 0 " (h - 6.0) "Z" } {}
            path.rim d={ "M0 6C0 14 " (w) " 14 " (w) " 6" } {}
        },
        "queue" => html! {
            path.box d={ "M8 0H" (w - 8.0) "C" (w + 2.0) " 0 " (w + 2.0) " " (h) " " (w - 8.0) " " (h) "H8C-2 " (h) " -2 0 8 0Z" } {}
            path.rim d={ "M" (w - 8.0) " 0C" (w - 16.0) " 0 " (w - 16.0) " " (h) " " (w - 8.0) " " (h) } {}
        },
        "service" => html! {
            rect.box width=(w) height=(h) rx="6" {}
            rect.stripe.(colour(&node.id)) width="6" height=(h) rx="3" {}
        },
        _ => html! { rect.box.dashed width=(w) height=(h) rx="20" {} },
    }
}

/// What a kind of node is called.
pub(in crate::web) fn kind_name(kind: &str) -> &str {
    match kind {
        "external" => "outside host",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::charts::graph::Screen;

    #[test]
    fn kinds_differ_by_shape() {
        let shapes: Vec<String> = ["service", "database", "queue", "external"]
            .into_iter()
            .map(|kind| {
                let node = Node {
                    id: "x".to_owned(),
                    kind,
                };
                shape(&node, &Measures::new(Screen::Wide, 1, false).sizes).into_string()
            })
            .collect();
        let distinct: std::collections::BTreeSet<_> = shapes.iter().collect();
        assert_eq!(distinct.len(), 4);
    }
}
