//! Kept traces through the binary: searched by page and API, linked to elsewhere.

use serde_json::Value;

use super::batch;
use super::process::{Collector, get, post};

const TRACE: &str = "00000000000000000000000000000abc";

#[test]
fn a_kept_trace_is_found_shown_and_linked_to_the_same_one_elsewhere() {
    let link = "Jaeger=http://jaeger.example/trace/{trace_id}";
    let collector = Collector::start(&["--trace-link", link]);
    assert_eq!(post(&collector.traces(), &batch("cart", 3)).0, 200);
    let found = |query: &str| {
        let (status, body) = get(&collector.web(&format!("/api/v1/traces?{query}")));
        assert_eq!(status, 200, "{query}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let items = body["items"].as_array().unwrap();
        let ids = items
            .iter()
            .map(|item| item["trace_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(
        found("service=cart&attr=service.name:cart&order=slowest"),
        [TRACE]
    );
    assert!(found("service=cart&attr=service.name:cart&attr=tier:gold").is_empty());
    let page = |path: &str, status: u16, texts: &[&str]| {
        let (answered, body) = get(&collector.web(path));
        assert_eq!(answered, status, "{path}");
        for text in texts {
            assert!(body.contains(text), "{path}: {text}");
        }
    };
    page(
        "/traces?attr=service.name:cart&attr=tier:gold",
        200,
        &["No kept trace matches", "Clear the search"],
    );
    let long_ago = "from=2001-01-01T00:00:00Z&to=2001-01-01T00:05:00Z";
    page(
        &format!("/traces?service=nobody&{long_ago}"),
        200,
        &["Nothing in these", "Show the last"],
    );
    page("/traces?min=2s&max=1s", 400, &["min cannot be"]);
    let url = format!("http://jaeger.example/trace/{TRACE}");
    page(
        &format!("/traces/{TRACE}?fold=all&find=cart"),
        200,
        &[&url, " match"],
    );
    page(
        &format!("/traces/{TRACE}?fold=here"),
        400,
        &["fold cannot be"],
    );
    let other = "b".repeat(32);
    let elsewhere = format!("http://jaeger.example/trace/{other}");
    page(&format!("/traces/{other}"), 404, &["not kept", &elsewhere]);
    collector.stop();
}

/// As a service does whose environment was written with line ends of another system.
#[test]
fn links_find_names_that_end_in_spaces_and_a_search_forgives_them() {
    let collector = Collector::start(&[]);
    for service in ["cart\r", "pay"] {
        assert_eq!(post(&collector.traces(), &batch(service, 3)).0, 200);
    }
    let finds = |path: &str, text: &str| {
        let (status, body) = get(&collector.web(path));
        assert_eq!(status, 200, "{path}");
        assert!(body.contains(text), "{path}: {body}");
    };
    let row = format!("<a class=\"service\" href=\"/traces/{TRACE}\"");
    finds(
        "/services/cart%0D",
        "/traces?service=cart%0D&amp;operation=",
    );
    finds("/traces?service=cart%0D", &row);
    finds("/traces?service=pay%20", &row);
    finds("/traces?service=cart", "No kept trace matches");
    finds("/edges?client=pay&server=cart%0D", "pay");
    collector.stop();
}
