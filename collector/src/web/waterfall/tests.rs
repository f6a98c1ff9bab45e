//! The page of a trace, as it is asked for.

use super::rows::MAX_INDENT;
use super::*;
use crate::web::fixtures;
use crate::web::testing::{Page, drawn};

fn show(trace: &Trace) -> Page {
    show_asked(trace, &[])
}

fn show_asked(trace: &Trace, pairs: &[(&str, &str)]) -> Page {
    let links = ["Jaeger=http://jaeger.example/trace/{trace_id}"
        .parse()
        .unwrap()];
    let main = content(&fixtures::query(pairs), trace, &links).unwrap();
    drawn(&main)
}

#[test]
fn every_span_has_one_row_with_a_bar_and_details() {
    let page = show(&fixtures::trace());
    assert_eq!(page.class("span").count(), 3);
    assert_eq!(page.class("span-bar").count(), 3);
    assert_eq!(page.class("critical-row").count(), 3);
    let text = page.text();
    for part in [
        "card declined",
        "http.response.status_code",
        "502",
        "exception.type",
        "Resource",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(text.contains("clock skew of <1 ms>"));
    assert!(text.contains("↔ gap 10.0 ms"));
    assert_eq!(page.count("script"), 0);
    assert!(page.texts("bdi").contains(&fixtures::HOSTILE.to_owned()));
}

#[test]
fn a_call_says_where_it_goes() {
    let page = show(&fixtures::trace());
    let targets: Vec<_> = page
        .class("target")
        .map(|target| target.text.clone())
        .collect();
    assert_eq!(targets, [" → checkout"]);
    let titles: Vec<_> = page
        .class("who")
        .filter_map(|who| who.get("title"))
        .collect();
    assert_eq!(titles[1], "gateway client of gateway → checkout");
}

#[test]
fn failures_and_missing_parents_are_told_in_words() {
    let mut trace = fixtures::trace();
    trace
        .spans
        .push(fixtures::span("x", Some("gone"), "lost", "internal", 0, 5));
    let badges: Vec<_> = show(&trace)
        .class("badge")
        .map(|badge| badge.text.clone())
        .collect();
    assert_eq!(badges, ["error", "parent missing"]);
}

#[test]
fn many_warnings_are_folded_not_lost() {
    let mut trace = fixtures::trace();
    trace.warnings = (0..9).map(|index| format!("warning {index}")).collect();
    let page = show(&trace);
    assert!(page.text().contains("5 more warnings") && page.text().contains("warning 8"));
}

#[test]
fn the_time_spent_sums_to_the_whole() {
    let page = show(&fixtures::trace());
    let section = page
        .class("spent")
        .next()
        .unwrap()
        .text
        .replace('\u{a0}', " ");
    for part in [
        "checkout 50.0 ms 50.0 %",
        "gateway 40.0 ms 40.0 %",
        "network 10.0 ms 10.0 %",
    ] {
        assert!(section.contains(part), "{part} in {section}");
    }
}

#[test]
fn an_empty_trace_and_a_deep_one_are_pages_too() {
    let mut trace = fixtures::trace();
    trace.spans.clear();
    trace.critical_path.clear();
    show(&trace);
    for depth in 0..2000_usize {
        let mut span = fixtures::span(&format!("{depth:016x}"), None, "deep", "internal", 0, 9);
        span.depth = depth;
        span.span_id = format!("{depth:016x}");
        trace.spans.push(span);
    }
    let page = show(&trace);
    assert_eq!(page.class("span").count(), 2000);
    let deepest = format!("d{MAX_INDENT}");
    assert_eq!(page.class(&deepest).count(), 2000 - MAX_INDENT);
    assert!(include_str!("../assets/bellwether.css").contains(&format!(".{deepest} ")));
}

/// A root with three children of three children each, and a root beside it.
fn tree() -> Trace {
    let mut trace = fixtures::trace();
    trace.spans.clear();
    trace.critical_path.clear();
    let depths = [0, 1, 2, 2, 2, 1, 2, 2, 2, 1, 2, 2, 2, 0];
    for (number, depth) in (1..).zip(depths) {
        let id = format!("{number:016x}");
        let mut span = fixtures::span(&id, None, "shop", "internal", 0, 9);
        span.depth = depth;
        span.operation = format!("step {number}");
        trace.spans.push(span);
    }
    trace
}

/// The numbers of the rows that are shown.
fn rows_of(page: &Page) -> Vec<u64> {
    let keys = page.class("span").filter_map(|row| row.get("data-key"));
    keys.map(|key| u64::from_str_radix(key, 16).unwrap())
        .collect()
}

fn href<'a>(page: &'a Page, text: &str) -> &'a str {
    let link = page.all("a").find(|link| link.text == text);
    link.and_then(|link| link.get("href")).unwrap_or_default()
}

#[test]
fn rows_are_folded_and_unfolded_by_links() {
    let trace = tree();
    let id = |number: u64| format!("{number:016x}");
    let path = format!("/traces/{}", trace.trace_id);
    assert_eq!(rows_of(&show(&trace)), (1..=14).collect::<Vec<_>>());
    let two = format!("{},{}", id(2), id(6));
    let page = show_asked(&trace, &[("fold", &two)]);
    assert_eq!(rows_of(&page), [1, 2, 6, 10, 11, 12, 13, 14]);
    let folded: Vec<_> = page
        .class("folded")
        .map(|note| note.text.as_str())
        .collect();
    assert_eq!(folded, ["+3", "+3"]);
    let toggles: Vec<_> = page
        .class("fold")
        .filter_map(|link| Some((link.get("aria-expanded")?, link.get("href")?)))
        .collect();
    let comma = "%2C";
    let all_three = format!("{path}?fold={}{comma}{}{comma}{}", id(2), id(6), id(10));
    assert_eq!(
        toggles[1],
        ("false", format!("{path}?fold={}", id(6)).as_str())
    );
    assert_eq!(toggles[3], ("true", all_three.as_str()));
    let page = show_asked(&trace, &[("fold", "all")]);
    assert_eq!(rows_of(&page), [1, 14]);
    assert_eq!(
        href(&page, "▸"),
        format!("{path}?fold=all&unfold={}", id(1))
    );
    assert_eq!(href(&page, "Unfold all"), path);
    let page = show_asked(&trace, &[("fold", "all"), ("unfold", &id(1))]);
    assert_eq!(rows_of(&page), [1, 2, 6, 10, 14]);
    // As many as may be folded one by one: the one that was folded first gives way.
    let most: Vec<_> = (1_001..=1_200).map(id).collect();
    let page = show_asked(&trace, &[("fold", &most.join(","))]);
    let toggled = page.class("fold").find_map(|link| link.get("href"));
    let toggled = toggled.unwrap();
    assert_eq!(toggled.matches(comma).count(), 199);
    assert!(!toggled.contains(&id(1_001)) && toggled.ends_with(&id(1)));
    let many = vec![id(1); 201].join(",");
    for (name, value) in [("fold", "x"), ("fold", many.as_str()), ("first", "0")] {
        let query = fixtures::query(&[(name, value)]);
        assert!(content(&query, &trace, &[]).is_err(), "{name}={value}");
    }
}

#[test]
fn what_is_looked_for_is_counted_marked_and_never_folded_away() {
    let mut trace = tree();
    let page = show_asked(&trace, &[("find", "STEP 1"), ("fold", "all")]);
    // 1, and 10 to 14.
    assert_eq!(rows_of(&page), [1, 2, 6, 10, 11, 12, 13, 14]);
    assert_eq!(page.class("hit").count(), 6);
    assert_eq!(page.texts("mark"), ["step 1"; 6]);
    let text = page.text();
    assert!(text.contains("6 of 14 spans match "), "{text}");
    assert!(href(&page, "Next").ends_with(&format!("#span-{:016x}", 1)));
    let attributes = &mut trace.spans[7].attributes;
    attributes.insert("db.statement".to_owned(), "SELECT 1 FROM Carts".into());
    let page = show_asked(&trace, &[("find", "from carts")]);
    let found: Vec<_> = page
        .class("found")
        .map(|found| found.text.as_str())
        .collect();
    assert_eq!(found, ["db.statement: SELECT 1 FROM Carts"]);
    assert!(page.text().contains("1 of 14 spans matches"));
    let page = show_asked(&trace, &[("find", fixtures::HOSTILE)]);
    assert!(page.text().contains("No span has it"));
    assert_eq!(
        page.all("input").last().unwrap().get("value"),
        Some(fixtures::HOSTILE)
    );
}

#[test]
fn a_page_is_bounded_in_rows_and_details_and_leads_to_the_rest() {
    let mut trace = tree();
    let one = trace.spans[13].clone();
    for number in 15..=5_000_u64 {
        let mut span = one.clone();
        span.span_id = format!("{number:016x}");
        span.attributes
            .insert("note".to_owned(), "x".repeat(1_000).into());
        trace.spans.push(span);
    }
    let markup = |pairs: &[(&str, &str)]| {
        content(&fixtures::query(pairs), &trace, &[])
            .unwrap()
            .into_string()
    };
    let first = markup(&[]);
    assert!(first.len() < 2_800_000, "{}", first.len());
    let page = Page::parse(&format!("<main>{first}</main>"));
    assert_eq!(rows_of(&page), (1..=2_000).collect::<Vec<_>>());
    let path = format!("/traces/{}", trace.trace_id);
    assert_eq!(href(&page, "Further rows"), format!("{path}?first=2001"));
    let more = format!("{path}?span={:016x}#span-{:016x}", 2_000, 2_000);
    let links: Vec<_> = page
        .all("a")
        .filter(|link| link.get("data-more").is_some())
        .collect();
    // Some 1.5 kB each: the first few have room.
    assert!(
        links.len() > 1_800 && links.len() < 1_950,
        "{}",
        links.len()
    );
    assert_eq!(links.last().unwrap().get("href"), Some(more.as_str()));
    let last = format!("{:016x}", 5_000);
    let page = Page::parse(&format!(
        "<main>{}</main>",
        markup(&[("first", "4001"), ("span", &last)])
    ));
    assert_eq!(rows_of(&page), (4_001..=5_000).collect::<Vec<_>>());
    let open: Vec<_> = page
        .class("span")
        .filter(|row| row.get("open").is_some())
        .collect();
    assert_eq!(open.len(), 1);
    assert!(open[0].text.contains("xxx"));
    // What is found beyond the page is on the page that the link leads to.
    let page = Page::parse(&format!("<main>{}</main>", markup(&[("find", &last)])));
    assert_eq!(
        href(&page, "Next"),
        format!("{path}?find={last}&first=4001#span-{last}")
    );
}

#[test]
fn a_trace_leads_to_the_same_one_elsewhere() {
    let trace = fixtures::trace();
    let page = show(&trace);
    let link = page.class("elsewhere").next().unwrap();
    assert_eq!(
        link.get("href"),
        Some(&*format!("http://jaeger.example/trace/{}", trace.trace_id))
    );
    assert_eq!(link.get("rel"), Some("noopener noreferrer"));
    assert!(link.text.contains("Jaeger"));
}

#[test]
fn trace_ids_are_read_strictly() {
    let check = |text: &str, want: bool| assert_eq!(parse_trace_id(text).is_some(), want, "{text}");
    check(&"a".repeat(32), true);
    check(&"AB".repeat(16), true);
    check(&"0".repeat(32), false);
    check(&"a".repeat(31), false);
    check(&format!("+{}", "a".repeat(31)), false);
    check(&"é".repeat(16), false);
}
