//! What a page says when it has nothing to show: nothing ever came, nothing in this range, or a filter
//! hides it. Called by the pages.

use maud::{Markup, html};

use super::format::{coarse, counted};
use super::query::{PageQuery, WINDOWS};
use crate::status::{Status, now_unix_nano};
use crate::views::report::Window;

/// Nothing was received since the start: how to send, with the ports that are really bound.
pub(super) fn nothing_ever(status: &Status) -> Markup {
    let grpc = address(status, "otlp-grpc");
    let http = address(status, "otlp-http");
    let zipkin = address(status, "zipkin");
    html! {
        section.welcome {
            h1 { "Waiting for the first span" }
            p.lead {
                "This collector runs and has received no span yet. "
                @match (&grpc, &http, &zipkin) {
                    (None, None, None) => { strong { "It listens on no address: " a href="/status" { "see the status" } "." } },
                    _ => { "Send it spans in one of these ways; this page fills by itself." },
                }
            }
            dl.ports {
                @if let Some(address) = &grpc { dt { "OTLP over gRPC" } dd { code { (address) } } }
                @if let Some(address) = &http { dt { "OTLP over HTTP" } dd { code { "http://" (address) "/v1/traces" } } }
                @if let Some(address) = &zipkin { dt { "Zipkin" } dd { code { "http://" (address) "/api/v2/spans" } } }
            }
            @if let Some(http) = &http { (in_rust(http)) (try_it(http)) }
            @if let Some(line) = other_languages(grpc.as_deref(), http.as_deref()) { (line) }
            section.way {
                h2 { "A demo with real traffic" }
                (command("demo", "cargo demo"))
            }
        }
    }
}

/// There are spans, but none in the chosen range.
pub(super) fn nothing_in_range(query: &PageQuery, path: &str, window: &Window) -> Markup {
    html! {
        section.empty {
            @if query.is_fixed() { h2 { "Nothing in these " (coarse(window.seconds)) } }
            @else { h2 { "Nothing in the last " (coarse(window.seconds)) } }
            @if query.is_fixed() {
                p { "From " (window.from) " to " (window.to) " no span of this came, or what came has been forgotten since." }
            } @else if query.is_shortened(window) {
                p { "Nothing older is known. Spans may be arriving with other names." }
            } @else {
                p { "Spans were received before that, or are being received with other names." }
            }
            p { (wider(query, path, window)) }
        }
    }
}

/// A button for a longer time, where that may show more.
fn wider(query: &PageQuery, path: &str, window: &Window) -> Markup {
    // Where the window already reaches back to the first thing known, a wider one shows no more.
    let wider = WINDOWS
        .iter()
        .find(|(_, _, seconds)| *seconds as f64 > window.seconds + 60.0)
        .filter(|_| !query.is_shortened(window));
    html! {
        @if let Some((value, label, _)) = wider {
            a.button href=(query.link(path, &[("window", Some(value)), ("from", None), ("to", None)])) { "Show the last " (label) }
        }
    }
}

/// Traces are kept, but the search finds none of them.
pub(super) fn no_trace_matches(query: &PageQuery, window: &Window) -> Markup {
    html! {
        section.empty {
            h2 { "No kept trace matches" }
            p {
                "Traces of this time are kept, but none that the search asks for. Kept are the newest, the slowest and the "
                "failed ones of every operation, and a random sample of all, as far as memory allows."
            }
            p {
                a.button href=(query.link_keeping_window("/traces")) { "Clear the search" } " "
                (wider(query, "/traces", window))
            }
        }
    }
}

/// There are rows, but the filter hides them all.
pub(super) fn filter_hides_all(query: &PageQuery, path: &str, rows: usize, kind: &str) -> Markup {
    html! {
        section.empty {
            h2 { "The filter hides all " (counted(rows as u64, kind)) }
            p { a.button href=(query.link(path, &[("q", None)])) { "Clear the filter" } }
        }
    }
}

fn in_rust(http: &str) -> Markup {
    let endpoint = if http.ends_with(":4318") {
        String::new()
    } else {
        format!("// run it with OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}\n")
    };
    html! {
        section.way {
            h2 { "A Rust service" }
            (command("rust", &format!(
                "{endpoint}let kit = bellwether::Kit::from_env(\"checkout\")?.start()?;\n\
                 let app = kit.wrap(app);\n\
                 kit.serve(listener, app).await?;"
            )))
        }
    }
}

fn other_languages(grpc: Option<&str>, http: Option<&str>) -> Option<Markup> {
    let lines: Vec<String> = [(http, "http/protobuf"), (grpc, "grpc")]
        .into_iter()
        .filter_map(|(address, protocol)| address.map(|address| (address, protocol)))
        .map(|(address, protocol)| {
            format!(
                "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{address} OTEL_EXPORTER_OTLP_PROTOCOL={protocol}"
            )
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    let text = lines.join("\n# or\n");
    Some(html! {
        section.way {
            h2 { "Any language with an OpenTelemetry SDK" }
            (command("env", &text))
        }
    })
}

fn try_it(http: &str) -> Markup {
    let body = base64(&one_span(now_unix_nano()));
    html! {
        section.way {
            h2 { "One span from the command line" }
            (command("curl", &format!(
                "echo {body} | base64 -d |\n  curl -sS --data-binary @- -H 'Content-Type: application/x-protobuf' \
                 http://{http}/v1/traces"
            )))
        }
    }
}

fn command(name: &str, text: &str) -> Markup {
    html! {
        div.command {
            pre #{ "command-" (name) } { code { (text) } }
            button.js-only type="button" data-copy={ "command-" (name) } { "Copy" }
        }
    }
}

/// The address of a protocol's receiver as a client on this machine reaches it.
fn address(status: &Status, protocol: &str) -> Option<String> {
    let receiver = status
        .receivers
        .iter()
        .find(|receiver| receiver.protocol == protocol)?;
    let address = receiver.address.as_ref().ok()?;
    // What listens on every address is reached by none of these two names.
    let port = address
        .strip_prefix("0.0.0.0:")
        .or_else(|| address.strip_prefix("[::]:"));
    Some(port.map_or_else(|| address.clone(), |port| format!("localhost:{port}")))
}

/// A whole `ExportTraceServiceRequest`: one server span of 42 ms that ended at `unix_nano`.
fn one_span(unix_nano: u64) -> Vec<u8> {
    let mut trace_id = [0x42; 16];
    trace_id[..8].copy_from_slice(&unix_nano.to_be_bytes());
    let mut span = Vec::new();
    field(&mut span, 1, &trace_id);
    field(&mut span, 2, &(unix_nano | 1).to_be_bytes());
    field(&mut span, 5, b"GET /hello");
    span.extend([0x30, 2]); // kind: SERVER
    fixed(&mut span, 7, unix_nano.saturating_sub(42_000_000));
    fixed(&mut span, 8, unix_nano);
    let mut value = Vec::new();
    field(&mut value, 1, b"hello");
    let mut attribute = Vec::new();
    field(&mut attribute, 1, b"service.name");
    field(&mut attribute, 2, &value);
    let mut resource = Vec::new();
    field(&mut resource, 1, &attribute);
    let mut scope_spans = Vec::new();
    field(&mut scope_spans, 2, &span);
    let mut resource_spans = Vec::new();
    field(&mut resource_spans, 1, &resource);
    field(&mut resource_spans, 2, &scope_spans);
    let mut request = Vec::new();
    field(&mut request, 1, &resource_spans);
    request
}

/// A length-delimited protobuf field; all lengths here take at most two bytes.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let [high, low] = u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
    if bytes.len() < 0x80 {
        out.push(low);
    } else {
        out.extend([low | 0x80, high << 1 | low >> 7]);
    }
    out.extend(bytes);
}

/// A `fixed64` protobuf field.
fn fixed(out: &mut Vec<u8>, number: u8, value: u64) {
    out.push(number << 3 | 1);
    out.extend(value.to_le_bytes());
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = chunk
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        for index in 0..4 {
            let letter = LETTERS[(three >> (18 - 6 * index) & 63) as usize];
            out.push(if index <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::ReceiverStatus;
    use crate::web::testing::Page;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;
    use std::sync::Arc;

    fn status(receivers: &[(&'static str, Result<&str, &str>)]) -> Status {
        let receiver = |(protocol, address): &(&'static str, Result<&str, &str>)| {
            Arc::new(ReceiverStatus {
                protocol,
                address: address.map(str::to_owned).map_err(str::to_owned),
                ..ReceiverStatus::listening(protocol, String::new())
            })
        };
        Status {
            receivers: receivers.iter().map(receiver).collect(),
            exporters: Vec::new(),
            log: None,
        }
    }

    fn page(receivers: &[(&'static str, Result<&str, &str>)]) -> Page {
        Page::parse(&nothing_ever(&status(receivers)).into_string())
    }

    #[test]
    fn the_ports_shown_are_the_ones_bound() {
        let page = page(&[
            ("otlp-grpc", Ok("127.0.0.1:40001")),
            ("otlp-http", Ok("0.0.0.0:40002")),
        ]);
        let text = page.text();
        assert!(text.contains("127.0.0.1:40001"));
        assert!(text.contains("http://localhost:40002/v1/traces"));
        assert!(text.contains("OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:40002"));
        assert!(!text.contains("4318") && !text.contains("0.0.0.0"));
        assert!(text.contains("kit.serve(listener, app).await?;"));
    }

    #[test]
    fn a_receiver_that_is_not_bound_is_not_recommended() {
        let text = page(&[
            ("otlp-grpc", Err("taken")),
            ("otlp-http", Ok("127.0.0.1:4318")),
        ])
        .text();
        assert!(!text.contains("PROTOCOL=grpc"));
        let text = page(&[("otlp-grpc", Err("taken"))]).text();
        assert!(text.contains("listens on no address"));
        assert!(!text.contains("curl"));
    }

    #[test]
    fn a_wider_window_is_offered_only_where_it_shows_more() {
        let check = |seconds: f64, want: bool| {
            let window = Window {
                seconds,
                ..crate::web::fixtures::window()
            };
            let markup = nothing_in_range(&PageQuery::default(), "/", &window).into_string();
            let text = Page::parse(&markup).text();
            assert_eq!(text.contains("Show the last 15 min"), want, "{text}");
            assert_eq!(text.contains("Nothing older is known"), !want, "{text}");
        };
        check(300.0, true);
        check(40.0, false);
    }

    #[test]
    fn the_command_sends_one_valid_span() {
        let request =
            ExportTraceServiceRequest::decode(one_span(1_700_000_000_000_000_123).as_slice());
        let request = request.unwrap();
        let resource_spans = &request.resource_spans[0];
        let span = &resource_spans.scope_spans[0].spans[0];
        assert_eq!(span.name, "GET /hello");
        assert_eq!(
            (span.trace_id.len(), span.span_id.len(), span.kind),
            (16, 8, 2)
        );
        assert_eq!(
            span.end_time_unix_nano - span.start_time_unix_nano,
            42_000_000
        );
        assert_eq!(
            resource_spans.resource.as_ref().unwrap().attributes[0].key,
            "service.name"
        );
    }

    #[test]
    fn base64_is_the_published_one() {
        let check = |bytes: &[u8], want: &str| assert_eq!(base64(bytes), want);
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foo", "Zm9v");
        check(b"foobar", "Zm9vYmFy");
        check(&[0xff, 0xfe, 0xfd], "//79");
    }
}
