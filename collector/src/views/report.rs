//! What the views answer: the JSON API's objects, which the pages render too. Durations are seconds.

use serde::Serialize;

/// The window an answer covers, as rounded outward to slots. RFC 3339, UTC.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Window {
    /// Its start.
    pub from: String,
    /// Its end.
    pub to: String,
    /// Its length in seconds, the divisor of every rate; not in the JSON.
    #[serde(skip)]
    pub seconds: f64,
}

/// Every list of the API.
#[derive(Clone, Debug, Serialize)]
pub struct List<T> {
    /// What it covers.
    pub window: Window,
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts; always null while lists come whole.
    pub next: Option<String>,
}

/// A list of the API whose rows are compared with the window before.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedList<T> {
    /// What it covers.
    pub window: Window,
    /// What that is compared with: as long, and just before it. Null when the collector has not been up for so long, or
    /// keeps no more.
    pub previous: Option<Window>,
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts; always null while lists come whole.
    pub next: Option<String>,
}

/// What was measured of spans in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Spans; where their senders sample and say how much, estimated from those that came.
    pub count: u64,
    /// Spans that came.
    pub samples: u64,
    /// Count per second.
    pub rate: f64,
    /// Failed ÷ all; 0 without data.
    pub error_ratio: f64,
    /// How long they took.
    #[serde(flatten)]
    pub latency: Latency,
}

/// Latency of a set of entry spans; `None` (null) without data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// The largest, exact.
    pub max: Option<f64>,
}

/// A row of `/api/v1/services`: a service, or with `split` a version or an instance of one.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceReport {
    /// `service.name`.
    pub service: String,
    /// `service.version` of its newest span.
    pub version: Option<String>,
    /// How many versions sent entry spans within the retention, as far as they are counted apart.
    pub versions: usize,
    /// `service.instance.id`; only with `split=instance`, and null when there is none.
    pub instance: Option<String>,
    /// Of its entry spans.
    #[serde(flatten)]
    pub now: Figures,
    /// The same of the window before; null when there is none.
    pub previous: Option<Figures>,
    /// The course within the window.
    pub spark: Spark,
}

/// A small time series, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Spark {
    /// Seconds between two points.
    pub step_seconds: f64,
    /// Entry spans per second.
    pub rate: Vec<f64>,
    /// 99th percentile; null without data.
    pub p99: Vec<Option<f64>>,
}

/// A row of `/api/v1/services/{name}/operations`.
#[derive(Clone, Debug, Serialize)]
pub struct OperationReport {
    /// Its service.
    pub service: String,
    /// Span name.
    pub operation: String,
    /// `server`, `client`, `internal`, `producer`, `consumer`.
    pub kind: &'static str,
    /// Of its spans.
    #[serde(flatten)]
    pub now: Figures,
    /// The same of the window before; null when there is none.
    pub previous: Option<Figures>,
    /// Share (0–1) of the time of the service's entry spans; 0 for others.
    pub impact: f64,
    /// The course within the window.
    pub spark: Spark,
}

/// `/api/v1/services/{name}/heatmap`: how many spans took how long, over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heatmap {
    /// What it covers.
    pub window: Window,
    /// Seconds between two columns.
    pub step_seconds: f64,
    /// When each column begins. RFC 3339, UTC.
    pub times: Vec<String>,
    /// Where the rows of latency part, seconds, rising: row `i` holds what took longer than `bounds[i]` and at most
    /// `bounds[i + 1]`.
    pub bounds: Vec<f64>,
    /// Spans by column and row.
    pub counts: Vec<Vec<u64>>,
    /// The id of a kept trace by column and row; null where none is kept.
    pub exemplars: Vec<Vec<Option<String>>>,
    /// The whole nanoseconds of each row, first and last; not in the JSON.
    #[serde(skip)]
    pub nanos: Vec<(u64, u64)>,
}

/// A row of `/api/v1/services/{name}/critical-path`: where the time of an entry operation's requests goes. From a fair
/// sample of them.
#[derive(Clone, Debug, Serialize)]
pub struct CriticalPathReport {
    /// Span name.
    pub operation: String,
    /// Requests of the sample.
    pub requests: usize,
    /// Those up to the median.
    pub typical: Cohort,
    /// Those from the 95th percentile on.
    pub slow: Cohort,
    /// What their critical paths are made of, what makes the slow ones slow first.
    pub parts: Vec<PathPart>,
}

/// Some of an operation's requests.
#[derive(Clone, Debug, Serialize)]
pub struct Cohort {
    /// Requests of the sample.
    pub requests: usize,
    /// Their mean duration.
    pub seconds: f64,
    /// Some of their traces; those may have had to go meanwhile.
    pub examples: Vec<String>,
}

/// A part of critical paths, in seconds on average. The parts of a cohort add up to its duration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathPart {
    /// `work` of a service; `call`: to what makes no spans, network included; `network` between two services.
    pub kind: &'static str,
    /// The service at work, the peer of the call, or the client.
    pub service: String,
    /// Span name; of the network the server.
    pub operation: String,
    /// Of typical requests.
    pub typical: f64,
    /// Of slow requests.
    pub slow: f64,
    /// Slow − typical.
    pub difference: f64,
}

/// What most of a trace's time was spent in: the largest part of its critical path.
#[derive(Clone, Debug, PartialEq)]
pub struct LargestPart {
    /// As that of [`PathPart`], and so are `service` and `operation`.
    pub kind: &'static str,
    /// The service at work, the peer of the call, or the client.
    pub service: String,
    /// Span name; of the network the server.
    pub operation: String,
    /// Seconds.
    pub seconds: f64,
    /// Of the duration that the critical path explains, 0–1.
    pub share: f64,
}

/// `/api/v1/map`.
#[derive(Clone, Debug, Serialize)]
pub struct Map {
    /// What it covers.
    pub window: Window,
    /// Services and what they talk to.
    pub nodes: Vec<Node>,
    /// Who calls whom.
    pub edges: Vec<Edge>,
}

/// A node of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Unique: the service's name, or `postgres:orders` and the like.
    pub id: String,
    /// `service`, `database`, `queue`, `external`.
    pub kind: &'static str,
}

/// An edge of the map. Percentiles are `None` (null) without data.
#[derive(Clone, Debug, Serialize)]
pub struct Edge {
    /// Calling node.
    pub client: String,
    /// Called node.
    pub server: String,
    /// What the client calls it, where that is another name: `10.0.0.7:8080`. Null when no client span came before its
    /// server span.
    pub called_as: Option<String>,
    /// Calls in the window; where their senders sample and say how much, estimated from those that came, as are all counts.
    pub count: u64,
    /// Calls that came.
    pub samples: u64,
    /// Per second.
    pub rate: f64,
    /// Failed ÷ all, as the caller saw it.
    pub error_ratio: f64,
    /// Client span durations of paired calls.
    pub client_p50: Option<f64>,
    /// 90th percentile.
    pub client_p90: Option<f64>,
    /// 99th percentile.
    pub client_p99: Option<f64>,
    /// Server span durations of paired calls.
    pub server_p50: Option<f64>,
    /// 90th percentile.
    pub server_p90: Option<f64>,
    /// 99th percentile.
    pub server_p99: Option<f64>,
    /// Client − server of the same call.
    pub gap_p50: Option<f64>,
    /// 90th percentile.
    pub gap_p90: Option<f64>,
    /// 99th percentile.
    pub gap_p99: Option<f64>,
    /// Calls whose client and server spans both came.
    pub paired: u64,
    /// Client spans whose server span did not come.
    pub unpaired: u64,
    /// Of these, failed ones: most never reached the server.
    pub unpaired_failed: u64,
    /// Of these, calls whose server told its own time in its answer, so that the client knew the gap
    /// (`bellwether.network.gap`).
    pub told: u64,
    /// The gaps told; not in `gap_p50` and the others, which are measured by two spans.
    pub told_gap_p50: Option<f64>,
    /// 90th percentile.
    pub told_gap_p90: Option<f64>,
    /// 99th percentile.
    pub told_gap_p99: Option<f64>,
    /// Paired calls whose server span is the longer one; not in the gap percentiles.
    pub negative: u64,
    /// Calls with several server spans under one client span; not in the gap percentiles.
    pub retried: u64,
    /// Messages (PRODUCER to CONSUMER); not in the gap percentiles.
    #[serde(rename = "async")]
    pub asynchronous: u64,
}

/// `/api/v1/edges?client=&server=`: one edge of the map.
#[derive(Clone, Debug, Serialize)]
pub struct EdgeReport {
    /// What it covers.
    pub window: Window,
    /// What the called node is: `service`, `database`, `queue`, `external`.
    pub server_kind: &'static str,
    /// Its row on the map.
    #[serde(flatten)]
    pub edge: Edge,
    /// How its calls' durations are spread.
    pub distribution: Distribution,
    /// Traces to look at, of those that are kept.
    pub examples: Examples,
}

/// Durations over each other: calls by steps of latency.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Distribution {
    /// Where the steps part, seconds, rising: step `i` holds what took longer than `bounds[i]` and at most
    /// `bounds[i + 1]`; the first one also what took less.
    pub bounds: Vec<f64>,
    /// Client spans of paired calls.
    pub client: Vec<u64>,
    /// Their server spans.
    pub server: Vec<u64>,
    /// Client − server of the same call.
    pub gap: Vec<u64>,
    /// Client spans without a server span.
    pub unpaired: Vec<u64>,
    /// Gaps that were told instead of measured.
    pub told_gap: Vec<u64>,
}

/// Calls of an edge in kept traces that came in the window, at most a few of each sort.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Examples {
    /// Paired, the widest gap first.
    pub widest_gap: Vec<Example>,
    /// Whatever they are, the longest for their client first.
    pub slowest: Vec<Example>,
    /// Failed as their client saw it, the latest first.
    pub failed: Vec<Example>,
    /// Without a server span, the latest first.
    pub unpaired: Vec<Example>,
    /// With the longer server span, the one that is most so first.
    pub negative: Vec<Example>,
    /// With several server spans, the latest first.
    pub retried: Vec<Example>,
    /// Messages, the latest first.
    #[serde(rename = "async")]
    pub asynchronous: Vec<Example>,
}

/// A call in a kept trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// 32 hex digits.
    pub trace_id: String,
    /// Of the client span, seconds.
    pub client: f64,
    /// Of its only server span, seconds.
    pub server: Option<f64>,
    /// Client − server, seconds; less than nothing where the server span is the longer one. Without a server span what
    /// the server told, if it did.
    pub gap: Option<f64>,
    /// As the client saw it.
    pub error: bool,
}

/// Why an edge is not on the map, or not all of its calls: an item of `/api/v1/services/{name}/doctor`. Counts are of
/// the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// Calls of `client` arrive at `server`, whose spans begin traces of their own or have other parents.
    PropagationBroken {
        /// Who calls.
        client: String,
        /// The service that is called, …
        server: String,
        /// … and what its caller calls it.
        called_as: String,
        /// Calls without a server span that did not fail.
        calls: u64,
        /// SERVER and CONSUMER spans of the server without a parent.
        roots: u64,
        /// Such spans of it whose parent is no client span that came.
        strangers: u64,
    },
    /// Spans of a server hang directly below a span of its caller that is no CLIENT span.
    CallsWithoutClientSpan {
        /// Who calls.
        client: String,
        /// Who is called.
        server: String,
        /// Kept traces in which it is so, …
        traces: u64,
        /// … of so many looked at.
        looked_at: u64,
    },
    /// Only some calls have a server span.
    SamplingMismatch {
        /// Who calls.
        client: String,
        /// Who is called.
        server: String,
        /// Calls with a server span.
        paired: u64,
        /// Calls without one that did not fail.
        unpaired: u64,
    },
    /// The caller names a server that no service is called as.
    NameMismatch {
        /// Who calls.
        client: String,
        /// What its calls name.
        called_as: String,
        /// The service whose name is nearest.
        nearest: String,
        /// Calls without a server span that did not fail.
        calls: u64,
    },
    /// Calls do not say whom they call, and no server span came.
    Nameless {
        /// Who calls.
        client: String,
        /// Calls without a server span that did not fail.
        calls: u64,
    },
    /// No span of the called service comes here.
    ServerElsewhere {
        /// Who calls.
        client: String,
        /// What its calls name.
        called_as: String,
        /// Calls without a server span that did not fail.
        calls: u64,
        /// Of these, calls whose server told its own time: it is there, and has the kit.
        told: u64,
    },
    /// Server spans name a caller's span that did not come.
    CallersElsewhere {
        /// Who is called.
        server: String,
        /// SERVER and CONSUMER spans whose parent is no client span that came.
        alone: u64,
        /// Such spans that have one.
        paired: u64,
    },
    /// The service makes no CLIENT or PRODUCER span, so that no edge leads out of it.
    NoClientSpans {
        /// The service.
        client: String,
        /// Its spans.
        spans: u64,
    },
    /// Calls could not wait for their other half as long as they should: more were under way than there is room for.
    CutShort {
        /// So many since the collector was started.
        calls: u64,
    },
}

/// A row of `/api/v1/traces`.
#[derive(Clone, Debug, Serialize)]
pub struct TraceSummary {
    /// 32 hex digits.
    pub trace_id: String,
    /// Service of the root (or earliest) span.
    pub root_service: String,
    /// Name of the root (or earliest) span.
    pub root_operation: String,
    /// Start of the trace, Unix nanoseconds.
    pub start_unix_nano: String,
    /// Earliest start to latest end, seconds.
    pub duration: f64,
    /// Spans kept.
    pub spans: usize,
    /// Distinct services.
    pub services: usize,
    /// Any span failed.
    pub error: bool,
    /// What stands for the root has a parent that is not here: still on its way, or sent elsewhere.
    pub root_missing: bool,
}

/// `/api/v1/traces/{trace_id}`.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// 32 hex digits.
    pub trace_id: String,
    /// Earliest start to latest end, seconds.
    pub duration: f64,
    /// Depth first: a parent, then its children by start.
    pub spans: Vec<TraceSpan>,
    /// Segments that sum to the root's duration, in time order.
    pub critical_path: Vec<Segment>,
    /// Missing parents, clock skew, spans dropped: one sentence each.
    pub warnings: Vec<String>,
}

/// A span of a trace.
#[derive(Clone, Debug, Serialize)]
pub struct TraceSpan {
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits; null for a root.
    pub parent_span_id: Option<String>,
    /// Its service.
    pub service: String,
    /// Its name.
    pub operation: String,
    /// `server`, `client`, `internal`, `producer`, `consumer`.
    pub kind: &'static str,
    /// Unix nanoseconds.
    pub start_unix_nano: String,
    /// Unix nanoseconds.
    pub end_unix_nano: String,
    /// Seconds.
    pub duration: f64,
    /// Seconds not covered by its children.
    #[serde(rename = "self")]
    pub self_time: f64,
    /// `unset`, `ok`, `error`.
    pub status: &'static str,
    /// `Status.message`; empty when absent.
    pub status_message: String,
    /// As sent.
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// The resource's, as sent.
    pub resource: serde_json::Map<String, serde_json::Value>,
    /// In time order.
    pub events: Vec<TraceEvent>,
    /// To other traces.
    pub links: Vec<TraceLink>,
    /// Part of the critical path.
    pub critical: bool,
    /// Levels below the root; not in the JSON.
    #[serde(skip)]
    pub depth: usize,
}

/// An event of a span.
#[derive(Clone, Debug, Serialize)]
pub struct TraceEvent {
    /// Unix nanoseconds.
    pub time_unix_nano: String,
    /// Its name.
    pub name: String,
    /// As sent.
    pub attributes: serde_json::Map<String, serde_json::Value>,
}

/// A link of a span.
#[derive(Clone, Debug, Serialize)]
pub struct TraceLink {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
}

/// A stretch of the critical path, spent in one span.
#[derive(Clone, Debug, Serialize)]
pub struct Segment {
    /// The span that time is spent in.
    pub span_id: String,
    /// Unix nanoseconds.
    pub from_unix_nano: String,
    /// Unix nanoseconds.
    pub to_unix_nano: String,
}

/// What the views hold, and what they could not: part of `/api/v1/status`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ViewsStatus {
    /// Spans counted since the start.
    pub spans: u64,
    /// Heap bytes of histograms, edges and waiting calls, about.
    pub bytes: usize,
    /// Spans of operations beyond the cap, in rows called `(other operations)`.
    pub spans_in_overflow_operations: u64,
    /// Rows of versions and instances that services have beside their own.
    pub version_and_instance_rows: usize,
    /// Calls of edges beyond the cap, on the edge of `(other edges)`.
    pub calls_in_overflow_edges: u64,
    /// Server spans with a parent that is no client span, or whose client span never came.
    pub server_spans_without_client: u64,
    /// Calls that could not wait for their other half as long as they should.
    pub calls_cut_short: u64,
    /// Minutes given up before the retention's end, to stay within the bytes.
    pub minutes_forgotten: u64,
    /// Traces kept.
    pub traces: usize,
    /// Heap bytes of them, about.
    pub trace_bytes: usize,
    /// Spans of traces that were not taken because too many came; all are counted in the other views.
    pub spans_of_traces_not_taken: u64,
}
