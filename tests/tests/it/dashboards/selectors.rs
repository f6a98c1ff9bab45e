//! The selectors of an expression of PromQL. An alert is silent as long as all is well; what it looks at is to be there.

/// What stands before a list of labels.
const BEFORE_LABELS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const OPERATORS: [&str; 6] = ["and", "or", "unless", "offset", "bool", "atan2"];

/// Each `name{…}` and each name alone, in their order; without ranges and offsets.
pub(super) fn selectors(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = expression.trim_start();
    let mut labels_follow = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => quoted(rest),
            '(' if labels_follow => up_to(rest, ')'),
            '[' => up_to(rest, ']'),
            'a'..='z' | 'A'..='Z' | '_' | ':' | '0'..='9' => word(rest),
            other => other.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after.trim_start();
        labels_follow = BEFORE_LABELS.contains(&token);
        let is_name = first.is_ascii_alphabetic() || first == '_' || first == ':';
        // `sum by (job) (…)`, too.
        let is_call = ["(", "by ", "without "]
            .iter()
            .any(|next| rest.starts_with(next));
        if !is_name || labels_follow || is_call || OPERATORS.contains(&token) {
            continue;
        }
        let matchers = if rest.starts_with('{') {
            braces(rest)
        } else {
            0
        };
        let (matchers, after) = rest.split_at(matchers);
        found.push(format!("{token}{matchers}"));
        rest = after.trim_start();
    }
    found
}

fn word(text: &str) -> usize {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.find(|c| !part_of_word(c)).unwrap_or(text.len())
}

fn up_to(text: &str, end: char) -> usize {
    text.find(end).map_or(text.len(), |at| at + 1)
}

/// A text in quotes, which the expressions here escape nothing in.
fn quoted(text: &str) -> usize {
    text[1..].find('"').map_or(text.len(), |at| at + 2)
}

fn braces(text: &str) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes()[at] {
            b'}' => return at + 1,
            b'"' => at += quoted(&text[at..]),
            _ => at += 1,
        }
    }
    at
}

#[test]
fn names_are_told_from_functions_labels_and_durations() {
    for (expression, expected) in [
        ("up == 0", &["up"][..]),
        (
            "a:b{x=\"}\",y!=\"(\"} > 14.4 * (1 - c)",
            &["a:b{x=\"}\",y!=\"(\"}", "c"],
        ),
        (
            "sum by (job, up) (rate(a_total{reason=~\"x|y\"}[5m])) / on (job) group_left () b offset 1h",
            &["a_total{reason=~\"x|y\"}", "b"],
        ),
        (
            "sum(rate(a[1h])) by (le)\n and on (job)\n last_over_time(b[1h]) or vector(0) unless c",
            &["a", "b", "c"],
        ),
    ] {
        // A duration behind `offset` begins with a digit, and so is no name.
        assert_eq!(selectors(expression), expected, "{expression}");
    }
}
