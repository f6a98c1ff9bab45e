//! A trace on one axis of time: where each span's bar stands, which part of a client's bar is network, where
//! the critical path runs. Pure; called by the page of a trace and its chart.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::views::report::{Trace, TraceSpan};

/// A trace, laid on one axis.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    /// Earliest start, Unix nanoseconds.
    pub(super) start_unix_nano: u64,
    /// Earliest start to latest end, seconds.
    pub(super) seconds: f64,
    /// One for each span, in the order of the trace.
    pub(super) rows: Vec<Row<'a>>,
    /// Who the time of the critical path was spent in, the largest first.
    pub(super) spent: Vec<Spent<'a>>,
    /// Seconds of network in all calls of which both sides are known.
    pub(super) network_seconds: f64,
}

/// A span's place. Shares are of the whole axis, 0–1.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) span: &'a TraceSpan,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Stretches of the critical path inside this span.
    pub(super) critical: Vec<(f64, f64)>,
    pub(super) gap: Gap,
    /// Whom a client span calls, where that is known: its own name is often the method alone.
    pub(super) target: Option<Cow<'a, str>>,
    /// It names a parent that is not in the trace.
    pub(super) parent_missing: bool,
    /// It starts before or ends after its parent.
    pub(super) outside: Option<Outside>,
}

/// How a span lies outside its parent, by so many seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outside {
    /// Only clocks that disagree explain that.
    Before(f64),
    /// That, or work that goes on after the answer.
    After(f64),
}

/// What is known of the network around a client span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gap {
    /// No client span, or no server span under it.
    None,
    /// Client − server.
    Known {
        seconds: f64,
        /// Where the server span stands inside the client's, as told by the two clocks; shares of the axis.
        server: (f64, f64),
    },
    /// The server span is the longer one, by so many seconds.
    Negative(f64),
    /// So many server spans under one client span.
    Retried(usize),
}

/// A part of the critical path.
#[derive(Debug, PartialEq)]
pub(super) struct Spent<'a> {
    /// The service; `None` for the network between services.
    pub(super) service: Option<&'a str>,
    pub(super) seconds: f64,
    /// Of the critical path, 0–1.
    pub(super) share: f64,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(trace: &'a Trace) -> Self {
        let axis = Axis::of(trace);
        let by_id: HashMap<&str, &TraceSpan> = trace
            .spans
            .iter()
            .map(|span| (span.span_id.as_str(), span))
            .collect();
        let servers = servers_by_client(trace);
        let mut critical: HashMap<&str, Vec<(f64, f64)>> = HashMap::new();
        for segment in &trace.critical_path {
            critical.entry(&segment.span_id).or_default().push((
                axis.share(nanos(&segment.from_unix_nano)),
                axis.share(nanos(&segment.to_unix_nano)),
            ));
        }
        let mut row = |span: &'a TraceSpan| {
            let named = span.parent_span_id.as_deref();
            let parent = named.and_then(|id| by_id.get(id).copied());
            Row {
                span,
                from: axis.share(nanos(&span.start_unix_nano)),
                to: axis.share(nanos(&span.end_unix_nano)),
                critical: critical.remove(span.span_id.as_str()).unwrap_or_default(),
                gap: gap(span, &servers, &axis),
                target: target(span, &servers),
                parent_missing: named.is_some() && parent.is_none(),
                outside: parent.and_then(|parent| outside(span, parent)),
            }
        };
        let rows: Vec<Row<'a>> = trace.spans.iter().map(&mut row).collect();
        Self {
            start_unix_nano: axis.start,
            seconds: axis.length as f64 / 1e9,
            spent: spent(trace, &rows),
            network_seconds: rows.iter().map(|row| row.gap.seconds()).sum(),
            rows,
        }
    }
}

impl Gap {
    /// The gap, 0 where there is none.
    fn seconds(self) -> f64 {
        match self {
            Self::Known { seconds, .. } => seconds,
            Self::None | Self::Negative(_) | Self::Retried(_) => 0.0,
        }
    }
}

struct Axis {
    start: u64,
    length: u64,
}

impl Axis {
    fn of(trace: &Trace) -> Self {
        let starts = trace.spans.iter().map(|span| nanos(&span.start_unix_nano));
        let ends = trace.spans.iter().map(|span| nanos(&span.end_unix_nano));
        let start = starts.min().unwrap_or(0);
        Self {
            start,
            length: ends.max().unwrap_or(0).saturating_sub(start),
        }
    }

    fn share(&self, unix_nano: u64) -> f64 {
        if self.length == 0 {
            return 0.0;
        }
        (unix_nano.saturating_sub(self.start) as f64 / self.length as f64).min(1.0)
    }
}

/// Unix nanoseconds as the report writes them; 0 for what is no number.
pub(super) fn nanos(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn servers_by_client(trace: &Trace) -> HashMap<&str, Vec<&TraceSpan>> {
    let mut servers: HashMap<&str, Vec<&TraceSpan>> = HashMap::new();
    for span in trace.spans.iter().filter(|span| span.kind == "server") {
        if let Some(parent) = &span.parent_span_id {
            servers.entry(parent).or_default().push(span);
        }
    }
    servers
}

fn gap(span: &TraceSpan, servers: &HashMap<&str, Vec<&TraceSpan>>, axis: &Axis) -> Gap {
    if span.kind != "client" {
        return Gap::None;
    }
    match servers.get(span.span_id.as_str()).map(Vec::as_slice) {
        None | Some([]) => Gap::None,
        Some([server]) => {
            let seconds = span.duration - server.duration;
            if seconds < 0.0 {
                return Gap::Negative(-seconds);
            }
            Gap::Known {
                seconds,
                server: server_share(span, server, axis),
            }
        }
        Some(several) => Gap::Retried(several.len()),
    }
}

/// Whom a client span calls: the service of the server spans under it; without any, what its attributes say, named
/// like the map's nodes. Server spans of several services under one call name nobody.
fn target<'a>(
    span: &'a TraceSpan,
    servers: &HashMap<&str, Vec<&'a TraceSpan>>,
) -> Option<Cow<'a, str>> {
    if span.kind != "client" {
        return None;
    }
    match servers.get(span.span_id.as_str()).map(Vec::as_slice) {
        None | Some([]) => peer(span),
        Some([first, others @ ..]) => others
            .iter()
            .all(|server| server.service == first.service)
            .then_some(Cow::Borrowed(first.service.as_str())),
    }
}

/// `peer.service`, else `server.address` with its port.
fn peer(span: &TraceSpan) -> Option<Cow<'_, str>> {
    let text = |key| {
        let value = span.attributes.get(key).and_then(Value::as_str);
        value.filter(|text| !text.is_empty())
    };
    if let Some(service) = text("peer.service") {
        return Some(Cow::Borrowed(service));
    }
    let address = text("server.address")?;
    Some(match span.attributes.get("server.port") {
        Some(Value::Number(port)) => Cow::Owned(format!("{address}:{port}")),
        Some(Value::String(port)) if !port.is_empty() => Cow::Owned(format!("{address}:{port}")),
        _ => Cow::Borrowed(address),
    })
}

/// Where the server's part is drawn inside the client's bar. The length is sure (each clock measured its
/// own span); the place is moved inside where the clocks disagree.
fn server_share(client: &TraceSpan, server: &TraceSpan, axis: &Axis) -> (f64, f64) {
    let (client_from, client_to) = (nanos(&client.start_unix_nano), nanos(&client.end_unix_nano));
    let (from, to) = (nanos(&server.start_unix_nano), nanos(&server.end_unix_nano));
    let length = to.saturating_sub(from);
    let latest = client_to.saturating_sub(length).max(client_from);
    let from = from.clamp(client_from, latest);
    (
        axis.share(from),
        axis.share(from.saturating_add(length).min(client_to)),
    )
}

fn outside(span: &TraceSpan, parent: &TraceSpan) -> Option<Outside> {
    let by = |earlier: &str, later: &str| nanos(later).saturating_sub(nanos(earlier)) as f64 / 1e9;
    let before = by(&span.start_unix_nano, &parent.start_unix_nano);
    let after = by(&parent.end_unix_nano, &span.end_unix_nano);
    if before > 0.0 {
        return Some(Outside::Before(before));
    }
    // A message may well be taken after its sender has finished.
    (after > 0.0 && span.kind != "consumer").then_some(Outside::After(after))
}

fn spent<'a>(trace: &Trace, rows: &[Row<'a>]) -> Vec<Spent<'a>> {
    let by_id: HashMap<&str, &Row<'a>> = rows
        .iter()
        .map(|row| (row.span.span_id.as_str(), row))
        .collect();
    let mut sums: BTreeMap<Option<&'a str>, f64> = BTreeMap::new();
    for segment in &trace.critical_path {
        let Some(row) = by_id.get(segment.span_id.as_str()) else {
            continue;
        };
        // Time inside a client span that its server span does not cover was spent between the two.
        let service = match row.gap {
            Gap::Known { .. } => None,
            Gap::None | Gap::Negative(_) | Gap::Retried(_) => Some(row.span.service.as_str()),
        };
        let length = nanos(&segment.to_unix_nano).saturating_sub(nanos(&segment.from_unix_nano));
        *sums.entry(service).or_default() += length as f64 / 1e9;
    }
    let total: f64 = sums.values().sum();
    let mut spent: Vec<Spent<'a>> = sums
        .into_iter()
        .map(|(service, seconds)| Spent {
            service,
            seconds,
            share: if total > 0.0 { seconds / total } else { 0.0 },
        })
        .collect();
    spent.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    spent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures::{span, trace};

    fn row<'a>(timeline: &'a Timeline<'_>, id: &str) -> &'a Row<'a> {
        timeline
            .rows
            .iter()
            .find(|row| row.span.span_id == id)
            .unwrap()
    }

    #[test]
    fn the_gap_is_client_minus_server_whatever_the_clocks_say() {
        let mut trace = trace();
        let check = |trace: &Trace, want: f64| {
            let timeline = Timeline::new(trace);
            let Gap::Known { seconds, server } = row(&timeline, "c1").gap else {
                panic!("no gap");
            };
            assert!((seconds - want).abs() < 1e-12);
            let bar = row(&timeline, "c1");
            assert!(bar.from <= server.0 && server.1 <= bar.to + 1e-12);
        };
        check(&trace, 0.010);
        // The server's clock is an hour ahead: its span moves, the gap does not.
        for span in &mut trace.spans {
            if span.span_id == "s1" {
                span.start_unix_nano =
                    (nanos(&span.start_unix_nano) + 3_600_000_000_000).to_string();
                span.end_unix_nano = (nanos(&span.end_unix_nano) + 3_600_000_000_000).to_string();
            }
        }
        check(&trace, 0.010);
        let outside = row(&Timeline::new(&trace), "s1").outside;
        assert!(matches!(outside, Some(Outside::After(by)) if (by - 3_599.996).abs() < 1e-6));
    }

    #[test]
    fn several_servers_and_longer_servers_have_no_gap() {
        let mut trace = trace();
        trace
            .spans
            .push(span("s1b", Some("c1"), "checkout", "server", 30, 40));
        assert_eq!(row(&Timeline::new(&trace), "c1").gap, Gap::Retried(2));
        let mut trace = crate::web::fixtures::trace();
        for span in &mut trace.spans {
            if span.span_id == "s1" {
                span.duration = 0.2;
            }
        }
        let timeline = Timeline::new(&trace);
        assert!(matches!(row(&timeline, "c1").gap, Gap::Negative(by) if by > 0.0));
    }

    #[test]
    fn a_call_names_its_server_or_what_its_attributes_say() {
        let target = |change: &dyn Fn(&mut Trace)| {
            let mut trace = trace();
            change(&mut trace);
            let timeline = Timeline::new(&trace);
            row(&timeline, "c1").target.as_deref().map(str::to_owned)
        };
        let alone = |trace: &mut Trace, attributes: &[(&str, Value)]| {
            trace.spans.retain(|span| span.span_id != "s1");
            for (key, value) in attributes {
                trace.spans[1]
                    .attributes
                    .insert((*key).to_owned(), value.clone());
            }
        };
        let address = ("server.address", Value::from("10.0.0.7"));
        let check = |attributes: &[(&str, Value)], want: Option<&str>| {
            assert_eq!(
                target(&|trace| alone(trace, attributes)).as_deref(),
                want,
                "{attributes:?}"
            );
        };
        assert_eq!(target(&|_| {}).as_deref(), Some("checkout"));
        check(&[], None);
        check(&[("server.port", 80.into())], None);
        check(std::slice::from_ref(&address), Some("10.0.0.7"));
        check(
            &[address.clone(), ("server.port", 8081.into())],
            Some("10.0.0.7:8081"),
        );
        check(
            &[address, ("peer.service", "billing".into())],
            Some("billing"),
        );
        let two = |service: &'static str| {
            target(&move |trace| {
                let second = span("s1b", Some("c1"), service, "server", 30, 40);
                trace.spans.push(second);
            })
        };
        assert_eq!(two("checkout").as_deref(), Some("checkout"));
        assert_eq!(two("payments"), None);
        let trace = trace();
        assert_eq!(row(&Timeline::new(&trace), "s1").target, None);
    }

    #[test]
    fn a_parent_that_never_came_is_told() {
        let mut trace = trace();
        trace
            .spans
            .push(span("x", Some("gone"), "lost", "internal", 0, 5));
        let timeline = Timeline::new(&trace);
        assert!(row(&timeline, "x").parent_missing);
        assert_eq!(
            timeline
                .rows
                .iter()
                .filter(|row| row.parent_missing)
                .count(),
            1
        );
    }

    #[test]
    fn a_message_may_be_taken_after_its_sender_has_finished_and_not_before() {
        let outside = |kind, from, to| {
            let mut trace = trace();
            let taken = span("m", Some("c1"), "mailer", kind, from, to);
            trace.spans.push(taken);
            row(&Timeline::new(&trace), "m").outside
        };
        assert_eq!(outside("consumer", 50, 90), None);
        assert_eq!(outside("consumer", 10, 50), Some(Outside::Before(0.010)));
        assert_eq!(outside("internal", 50, 90), Some(Outside::After(0.010)));
        assert_eq!(outside("internal", 20, 80), None);
    }

    #[test]
    fn the_critical_path_is_split_into_services_and_network() {
        let trace = trace();
        let timeline = Timeline::new(&trace);
        let network = timeline
            .spent
            .iter()
            .find(|spent| spent.service.is_none())
            .unwrap();
        assert!((network.seconds - 0.010).abs() < 1e-9);
        let total: f64 = timeline.spent.iter().map(|spent| spent.share).sum();
        assert!((total - 1.0).abs() < 1e-9);
        assert!((timeline.network_seconds - 0.010).abs() < 1e-9);
    }

    #[test]
    fn nonsense_times_stay_on_the_axis() {
        let mut trace = trace();
        trace.spans.push(span("odd", None, "odd", "internal", 0, 0));
        let odd = trace.spans.last_mut().unwrap();
        odd.start_unix_nano = "yesterday".to_owned();
        odd.end_unix_nano = u64::MAX.to_string();
        for row in Timeline::new(&trace).rows {
            assert!((0.0..=1.0).contains(&row.from) && (0.0..=1.0).contains(&row.to));
        }
        trace.spans.clear();
        assert!(Timeline::new(&trace).rows.is_empty());
    }
}
