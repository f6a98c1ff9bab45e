//! `GET /map`: who calls whom, and the network gap of every edge: drawn, and as a table.

mod shown;

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use self::shown::{Asked, Focus, Shown};
use super::charts::graph::{Graph, Links, graph, kind_name};
use super::edge_change::{Before, compared};
use super::edge_table::{meaning, table};
use super::format::{count, counted};
use super::layout::{
    Frame, Tab, edge_path, filter_box, overflow_note, page as frame_page, service_name,
    service_path, window_choice,
};
use super::query::{BadParameter, PageQuery, TIME};
use super::{Web, empty, live, rendered};
use crate::views::report::{Edge, Figures, Map, Node, Window};

/// More edges than this are not drawn, the busiest go first; the table has them all.
const DRAWN_EDGES: usize = 120;
/// Nodes without a drawn edge beyond this many are told, not drawn.
const DRAWN_NODES: usize = 100;
/// So many names are offered to look at.
const OFFERED: usize = 300;

/// The handler.
pub(super) async fn page(State(web): State<Web>, query: PageQuery) -> Response {
    rendered(move || Ok(render(&web, &query)?.into_response())).await
}

fn render(web: &Web, query: &PageQuery) -> Result<Markup, BadParameter> {
    let version = live::version(web);
    let range = query.range()?;
    let asked = Asked::read(query)?;
    let main = if web.views.spans_counted() == 0 {
        empty::nothing_ever(&web.status)
    } else {
        // The edges of two windows are twice the work: it is done where they are sorted by what changed.
        let before = asked
            .sorting
            .by_change()
            .and_then(|_| web.views.map_before(range));
        let previous = web.views.previous(range);
        let seen = Seen {
            map: &web.views.map(range),
            before: &Before::of(before.as_ref()),
            previous: previous.as_ref(),
            services: &web.views.service_figures(range),
            cut_short: web.views.calls_cut_short(),
        };
        content(&asked, &seen)
    };
    let frame = Frame {
        title: "Map",
        tab: Tab::Map,
        live: Some(version),
        query,
    };
    Ok(frame_page(&frame, &main))
}

/// What the page shows something of.
struct Seen<'a> {
    map: &'a Map,
    before: &'a Before<'a>,
    /// `None` when there is no window before.
    previous: Option<&'a Window>,
    services: &'a BTreeMap<String, Figures>,
    /// Calls since the start that could not wait for their other span.
    cut_short: u64,
}

fn content(asked: &Asked<'_>, seen: &Seen<'_>) -> Markup {
    let (query, map) = (asked.query, seen.map);
    let focus = Focus::of(query.name("focus"), &map.nodes);
    let on = match &focus {
        Focus::On(id) => Some(*id),
        _ => None,
    };
    let shown = Shown::of(asked, on, map);
    html! {
        div.heading {
            h1 { "Map" }
            (window_choice(query, "/map", &map.window))
            (find_box(query, &map.nodes))
            (filter_box(query, "/map", "Filter edges", "edges"))
        }
        @match &focus {
            Focus::None => {}
            Focus::On(id) => { (focus_bar(query, id, &shown.nodes)) }
            Focus::Several(alike) => { (choice_of(query, alike)) }
        }
        @if map.nodes.is_empty() || (on.is_some() && shown.nodes.is_empty()) {
            (empty::nothing_in_range(query, "/map", &map.window))
        } @else {
            (cut_short_note(seen.cut_short))
            (picture(asked, on, &shown, seen))
        }
    }
}

fn picture(asked: &Asked<'_>, focus: Option<&str>, shown: &Shown<'_>, seen: &Seen<'_>) -> Markup {
    let query = asked.query;
    let known = seen.map.edges.len();
    let mut rows = shown.edges.clone();
    asked.sorting.sort(&mut rows, seen.before);
    html! {
        p.legend {
            span {
                b.gap { "↔ network gap" }
                " is the caller's time less the server's own, call by call: what the way there and back costs. "
                "No clocks are compared. An edge opens its calls."
            }
        }
        @if !shown.nodes.is_empty() { (drawing(query, focus, &shown.nodes, &shown.edges, seen.services)) }
        (quiet_note(asked, shown.hidden))
        @if !rows.is_empty() {
            section {
                h2 { "Edges" }
                (compared(query, asked.sorting.by_change(), &seen.map.window, seen.previous))
                (table(query, asked.sorting, &rows, seen.before))
                (overflow_note(rows.iter().flat_map(|edge| [edge.client.as_str(), edge.server.as_str()])))
            }
            section {
                h2 { "What the counts mean" }
                (meaning())
                (shapes())
            }
        } @else if known > 0 && query.get("q").is_some() {
            (empty::filter_hides_all(query, "/map", known, "edge"))
        }
        p.hidden-note data-empty-for="edges" hidden { "The filter hides every edge." }
    }
}

/// Says that calls may stand in the wrong column, and what to do about it.
fn cut_short_note(calls: u64) -> Markup {
    html! {
        @if calls > 0 {
            p.warn {
                "More calls were under way than there is room for: " (counted(calls, "call"))
                " since the start did not get the full minute to wait for their other span. Where spans come late, "
                "some of them are shown as unpaired. Give the collector more memory (" code { "--memory-limit" } ")."
            }
        }
    }
}

/// Says what is not shown, and how to see it.
fn quiet_note(asked: &Asked<'_>, hidden: usize) -> Markup {
    let busy = asked.query.link("/map", &[("edges", None)]);
    html! {
        @if hidden > 0 {
            p.muted.quiet {
                (counted(hidden as u64, "quiet edge")) " not shown: each without a failed call and under 1 % of the calls that its client makes and its server gets. "
                a href=(asked.query.link("/map", &[("edges", Some("all"))])) { "Show all edges" }
            }
        } @else if asked.all {
            p.muted.quiet { "All edges are shown. " a href=(busy) { "Leave out quiet ones" } }
        }
    }
}

/// Where a name is typed to look at its neighbourhood; works without script.
fn find_box(query: &PageQuery, nodes: &[Node]) -> Markup {
    html! {
        form.find method="get" action="/map" {
            @for name in TIME.into_iter().chain(["sort", "dir", "edges"]) {
                @if let Some(value) = query.get(name) { input type="hidden" name=(name) value=(value); }
            }
            input type="search" name="focus" list="nodes" value=(query.get("focus").unwrap_or_default())
                placeholder="Look at a service" aria-label="Look at a service" autocomplete="off";
            button type="submit" { "Look" }
            datalist #nodes {
                @for node in nodes.iter().take(OFFERED) { option value=(node.id) {} }
            }
        }
    }
}

fn choice_of(query: &PageQuery, alike: &[&str]) -> Markup {
    html! {
        p.focus-bar {
            "Several have that in their names: "
            @for id in alike.iter().take(OFFERED) {
                a.button href=(query.link("/map", &[("focus", Some(id))])) { (service_name(id)) }
            }
            a.button href=(query.link("/map", &[("focus", None)])) { "Whole map" }
        }
    }
}

fn focus_bar(query: &PageQuery, focus: &str, nodes: &[&Node]) -> Markup {
    let is_service = nodes
        .iter()
        .any(|node| node.id == focus && node.kind == "service");
    html! {
        p.focus-bar {
            @if nodes.is_empty() { "Nothing is known of " b { bdi { (focus) } } " in this range. " }
            @else { "The neighbourhood of " b { (service_name(focus)) } " " }
            @if is_service {
                a.button href=(query.link_keeping_window(&service_path(focus))) { "Open the service" }
            }
            a.button href=(query.link("/map", &[("focus", None)])) { "Whole map" }
        }
    }
}

fn drawing(
    query: &PageQuery,
    focus: Option<&str>,
    nodes: &[&Node],
    edges: &[&Edge],
    services: &BTreeMap<String, Figures>,
) -> Markup {
    let mut drawn = edges.to_vec();
    drawn.sort_by_key(|edge| std::cmp::Reverse(edge.count));
    drawn.truncate(DRAWN_EDGES);
    // Back in the order of names: the drawing must not depend on which edge is busier just now.
    drawn.sort_by(|a, b| (&a.client, &a.server).cmp(&(&b.client, &b.server)));
    let mut shown: Vec<&Node> = nodes.to_vec();
    let is_joined = |node: &Node| {
        drawn
            .iter()
            .any(|edge| edge.client == node.id || edge.server == node.id)
    };
    shown.sort_by(|a, b| (!is_joined(a), &a.id).cmp(&(!is_joined(b), &b.id)));
    shown.truncate(DRAWN_NODES);
    let links = Links {
        node: &|node| query.link("/map", &[("focus", Some(&node.id))]),
        edge: &|edge| edge_path(query, &edge.client, &edge.server),
    };
    html! {
        div.scroll.drawing tabindex="0" role="region" aria-label="Map of services" {
            (graph(&Graph { nodes: &shown, edges: &drawn, services, focus }, &links))
        }
        @if drawn.len() < edges.len() || shown.len() < nodes.len() {
            p.muted {
                "Drawn are the busiest " (drawn.len()) " of " (count(edges.len() as u64)) " edges and "
                (shown.len()) " of " (count(nodes.len() as u64)) " nodes; the table has every edge."
            }
        }
    }
}

fn shapes() -> Markup {
    html! {
        p.muted {
            "Shapes: a box is a service, a cylinder a " (kind_name("database")) ", a pipe a " (kind_name("queue"))
            ", a dashed box an " (kind_name("external")) " that sends no spans here."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::{Page, drawn};

    fn show(pairs: &[(&str, &str)], map: &Map) -> Page {
        show_when(pairs, map, None, 0)
    }

    fn compare(pairs: &[(&str, &str)], map: &Map, before: Option<&Map>) -> Page {
        show_when(pairs, map, before, 0)
    }

    fn show_when(pairs: &[(&str, &str)], map: &Map, before: Option<&Map>, cut_short: u64) -> Page {
        let query = fixtures::query(pairs);
        let asked = Asked::read(&query).unwrap();
        let seen = Seen {
            map,
            before: &Before::of(before),
            previous: before.map(|map| &map.window),
            services: &fixtures::figures_by_name(),
            cut_short,
        };
        drawn(&content(&asked, &seen))
    }

    #[test]
    fn the_table_has_every_edge_of_the_drawing_and_its_numbers() {
        let page = show(&[], &fixtures::map());
        assert_eq!(page.class("edge").count(), 2 * 2);
        let rows: Vec<_> = page
            .all("tr")
            .filter(|row| row.get("data-row").is_some())
            .map(|row| row.text.replace('\u{a0}', " "))
            .collect();
        assert_eq!(rows.len(), 2);
        for number in [
            "1.20 ms", "4.00 ms", "9.80 ms", "13.2 ms", "106 ms", "96.0 ms", "880", "12",
        ] {
            assert!(rows[0].contains(number), "{number} in {}", rows[0]);
        }
        assert!(rows[1].contains("no server span"));
        assert!(page.text().contains("network: 9.09 % of the median call"));
    }

    #[test]
    fn calls_that_could_not_wait_are_told_with_what_helps() {
        let text = show_when(&[], &fixtures::map(), None, 1_234).text();
        for part in [
            "More calls were under way than there is room for",
            "1,234 calls since the start did not get the full minute",
            "shown as unpaired",
            "--memory-limit",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!show(&[], &fixtures::map()).text().contains("under way"));
    }

    #[test]
    fn lone_services_are_on_the_map() {
        let page = show(&[], &fixtures::map());
        let nodes: Vec<_> = page.class("name").map(|name| name.text.clone()).collect();
        assert!(nodes.contains(&"mailer".to_owned()));
        assert!(page.text().contains("no calls between services seen"));
    }

    #[test]
    fn a_focus_leaves_the_neighbours() {
        let page = show(&[("focus", "gateway")], &fixtures::map());
        // Drawn for wide and for narrow screens.
        assert_eq!(page.class("edge").count(), 2);
        assert_eq!(page.class("node").count(), 2 * 2);
        assert!(page.text().contains("The neighbourhood of gateway"));
        let page = show(&[("focus", "nobody")], &fixtures::map());
        assert!(page.text().contains("Nothing is known of nobody"));
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut map = fixtures::map();
        map.edges.push(fixtures::edge(fixtures::HOSTILE, "gateway"));
        map.nodes.push(Node {
            id: fixtures::HOSTILE.to_owned(),
            kind: "service",
        });
        let page = show(&[("focus", fixtures::HOSTILE)], &map);
        assert_eq!(page.count("script"), 0);
        assert!(page.texts("bdi").contains(&fixtures::HOSTILE.to_owned()));
    }

    #[test]
    fn a_crowded_map_draws_the_busiest_and_says_so() {
        let mut map = fixtures::map();
        for index in 0..300 {
            let id = format!("service-{index}");
            map.edges.push(fixtures::edge("gateway", &id));
            map.nodes.push(Node {
                id,
                kind: "service",
            });
        }
        let page = show(&[], &map);
        assert!(page.class("edge").count() <= DRAWN_EDGES);
        assert!(page.text().contains("of 302 edges"));
    }

    fn rows(page: &Page) -> Vec<String> {
        let rows = page.all("tr").filter_map(|row| row.get("data-key"));
        rows.map(str::to_owned).collect()
    }

    #[test]
    fn quiet_edges_are_hidden_counted_and_shown_on_demand() {
        let mut map = fixtures::map();
        let mut add = |client: &str, server: &str, count, error_ratio| {
            let mut edge = fixtures::edge(client, server);
            (edge.count, edge.error_ratio) = (count, error_ratio);
            map.edges.push(edge);
        };
        // 8 of 908 calls that mailer makes, and 8 of 908 that checkout gets.
        add("mailer", "checkout", 8, 0.0);
        add("mailer", "gateway", 900, 0.0);
        // As few, but some fail; and as few, but all that its server gets.
        add("mailer", "postgres:orders", 8, 0.1);
        add("gateway", "mailer", 8, 0.0);
        let quiet = "mailer → checkout".to_owned();
        let page = show(&[], &map);
        assert_eq!(rows(&page).len(), 5, "{:?}", rows(&page));
        assert!(!rows(&page).contains(&quiet));
        assert_eq!(
            page.class("edge").count(),
            2 * 5,
            "the drawing has the same rows"
        );
        assert!(page.text().contains("1 quiet edge not shown"));
        let all = page.all("a").find(|link| link.text == "Show all edges");
        assert_eq!(all.unwrap().get("href"), Some("/map?edges=all"));
        let page = show(&[("edges", "all")], &map);
        assert!(rows(&page).contains(&quiet));
        assert_eq!(page.class("edge").count(), 2 * 6);
        assert!(page.text().contains("Leave out quiet ones"));
        assert!(rows(&show(&[("focus", "mailer")], &map)).contains(&quiet));
    }

    #[test]
    fn a_filter_leaves_the_same_edges_in_drawing_and_table() {
        let page = show(&[("q", "POSTGRES")], &fixtures::map());
        assert_eq!(rows(&page), ["checkout → postgres:orders"]);
        assert_eq!(page.class("edge").count(), 2);
        assert_eq!(page.class("node").count(), 2 * 2);
        // A lone service is found, too.
        let page = show(&[("q", "mail")], &fixtures::map());
        assert_eq!(page.class("node").count(), 2);
        assert!(page.text().contains("hides all 2 edges"));
    }

    #[test]
    fn rows_are_sorted_as_asked() {
        let by = |pairs: &[(&str, &str)]| {
            let mut map = fixtures::map();
            map.edges[1].rate = 9.0;
            let page = show(pairs, &map);
            let sorted = page
                .all("th")
                .filter_map(|th| Some((th.text.clone(), th.get("aria-sort")?.to_owned())));
            (rows(&page)[0].clone(), sorted.collect::<Vec<_>>())
        };
        let (first, sorted) = by(&[]);
        assert_eq!((first.as_str(), sorted.len()), ("gateway → checkout", 1));
        let (first, sorted) = by(&[("sort", "rate")]);
        assert_eq!(first, "checkout → postgres:orders");
        assert_eq!(sorted, [("Rate".to_owned(), "descending".to_owned())]);
        assert_eq!(by(&[("sort", "client")]).0, "checkout → postgres:orders");
        assert_eq!(
            by(&[("sort", "client"), ("dir", "desc")]).0,
            "gateway → checkout"
        );
        assert_eq!(by(&[("sort", "unpaired")]).0, "checkout → postgres:orders");
    }

    #[test]
    fn the_gap_that_has_grown_most_stands_first() {
        let edge = |server: &str, gap| Edge {
            gap_p50: Some(gap),
            ..fixtures::edge("gateway", server)
        };
        let of = |edges: &[(&str, f64)]| Map {
            edges: edges
                .iter()
                .map(|&(server, gap)| edge(server, gap))
                .collect(),
            ..fixtures::map()
        };
        let before = of(&[("checkout", 0.009), ("mailer", 0.001)]);
        let map = of(&[("checkout", 0.009), ("mailer", 0.003), ("new", 0.5)]);
        let grown = [("sort", "gap_p50-change")];
        let page = compare(&grown, &map, Some(&before));
        assert_eq!(rows(&page)[0], "gateway → mailer");
        let text = page.text().replace('\u{a0}', " ");
        assert!(text.contains("3.00 ms ▲ 3.0×"), "{text}");
        assert!(text.contains("Whose network gap has grown"), "{text}");
        let links = page
            .all("a")
            .filter(|link| link.get("aria-current").is_some());
        let links: Vec<_> = links.filter_map(|link| link.get("href")).collect();
        assert!(links.contains(&"/map?sort=gap_p50-change"), "{links:?}");
        let last = compare(&[grown[0], ("dir", "asc")], &map, Some(&before));
        assert_eq!(rows(&last)[2], "gateway → mailer");
        let alone = show(&grown, &map).text();
        assert!(alone.contains("What changed is not known"), "{alone}");
    }

    #[test]
    fn part_of_a_name_finds_its_node_or_offers_those_that_have_it() {
        let page = show(&[("focus", " GATE ")], &fixtures::map());
        assert!(page.text().contains("The neighbourhood of gateway"));
        let page = show(&[("focus", "e")], &fixtures::map());
        assert!(page.text().contains("Several have that in their names"));
        let links: Vec<_> = page.all("a").filter_map(|link| link.get("href")).collect();
        assert!(links.contains(&"/map?focus=mailer"), "{links:?}");
        assert_eq!(page.class("edge").count(), 2 * 2, "the whole map meanwhile");
    }

    #[test]
    fn an_edge_opens_its_page_from_the_drawing_and_from_the_table() {
        let page = show(&[("window", "1h")], &fixtures::map());
        let want = "/edges?client=gateway&server=checkout&window=1h";
        let links = page.all("a").filter(|link| link.get("href") == Some(want));
        // Line and label, twice drawn, and two cells.
        assert_eq!(links.count(), 2 * 2 + 2);
    }

    #[test]
    fn a_gap_that_was_told_stands_where_none_was_measured() {
        let mut map = fixtures::map();
        let edge = &mut map.edges[1];
        edge.told = 90;
        (edge.told_gap_p50, edge.told_gap_p90, edge.told_gap_p99) =
            (Some(0.002), Some(0.003), Some(0.004));
        let text = show(&[], &map).text();
        assert!(text.contains("↔ 2.00 mstold"), "{text}");
        assert!(
            text.contains("told by server") && text.contains("3.00 ms"),
            "{text}"
        );
        assert!(!text.contains("no server span"));
    }
}
