//! Thousands of requests that say much in their heads and never go on: HTTP/2 has many of them on each connection, and a
//! byte stand for a line.

use std::io::Write as _;
use std::net::TcpStream;

use super::flood::Watch;
use super::process::{Collector, post, wait_for};
use super::{batch, metric};

const LIMIT: u64 = 64;
const MIB: u64 = 1 << 20;
/// As many as there may be at that limit, but for some of those that ask how it is.
const CONNECTIONS: usize = 120;
const STREAMS: u32 = 100;
/// The least of them that a connection may have; what is beyond is refused by HTTP/2 itself.
const LEAST_STREAMS: usize = 8;

/// What of a limit is for the binary that is shipped: one that was not optimized has 15 MiB more of code.
fn allowed() -> u64 {
    (LIMIT + if cfg!(debug_assertions) { 24 } else { 0 }) * MIB
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A line of a head as it is (RFC 7541, section 6.2.2), or to be remembered as the first one (6.2.1).
fn line(first: u8, name: &str, value: &str) -> Vec<u8> {
    let mut line = vec![first];
    for text in [name, value] {
        match text.len() {
            length @ 0..127 => line.push(length as u8),
            // Two bytes of seven bits each behind the full prefix (5.1).
            length => line.extend([127, (length - 127) as u8 | 128, ((length - 127) >> 7) as u8]),
        }
        line.extend(text.as_bytes());
    }
    line
}

const AS_IT_IS: u8 = 0x00;
const REMEMBERED: u8 = 0x40;
const THE_REMEMBERED: u8 = 0xbe;

/// Heads of nearly 16 KiB each: as they are, and of a line that is said again and again.
fn heads(path: &str, content_type: &str) -> [[Vec<u8>; 2]; 2] {
    // `:method: POST`, `:scheme: http`.
    let mut start = vec![0x83, 0x86];
    start.extend(line(AS_IT_IS, ":path", path));
    start.extend(line(AS_IT_IS, ":authority", "a"));
    start.extend(line(AS_IT_IS, "content-type", content_type));
    let long = (0..4).flat_map(|n| line(AS_IT_IS, &format!("h{n}"), &"x".repeat(3_700)));
    let long: Vec<u8> = start.iter().copied().chain(long).collect();
    let again = [THE_REMEMBERED; 440];
    let first = [&start[..], &line(REMEMBERED, "a", ""), &again].concat();
    [[long.clone(), long], [first, [&start[..], &again].concat()]]
}

fn flood(address: &str, [first, others]: &[Vec<u8>; 2]) -> TcpStream {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const END_HEADERS: u8 = 4;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    for stream in 0..STREAMS {
        let head = if stream == 0 { first } else { others };
        bytes.extend(frame(HEADERS, END_HEADERS, 1 + 2 * stream, head));
    }
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(&bytes).unwrap();
    connection
}

#[test]
fn heads_without_bodies_do_not_break_the_memory_limit() {
    let limit = format!("{LIMIT}MiB");
    let collector = Collector::start(&["--memory-limit", &limit]);
    let watch = Watch::start(&collector);
    let grpc = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let ports = [
        (
            "otlp-http",
            collector.http_address(),
            "/v1/traces",
            "application/x-protobuf",
        ),
        (
            "otlp-grpc",
            collector.grpc_address(),
            grpc,
            "application/grpc",
        ),
    ];
    for (protocol, address, path, content_type) in ports {
        for heads in heads(path, content_type) {
            let refused =
                format!("bellwether_receiver_refused_batches_total{{protocol=\"{protocol}\"}}");
            let refused = || metric(&collector, &refused).unwrap_or_default();
            let before = refused();
            let open: Vec<_> = (0..CONNECTIONS).map(|_| flood(address, &heads)).collect();
            wait_for("most of them to be refused", || {
                refused() - before > 0.7 * (CONNECTIONS * LEAST_STREAMS) as f64
            });
            drop(open);
            wait_for("the others to be given up", || {
                post(&collector.traces(), &batch("cart", 1)).0 == 200
            });
        }
    }
    assert!(watch.most() <= allowed(), "{} bytes", watch.most());
    println!(
        "flood of heads, limit {LIMIT} MiB: peak {} MiB",
        watch.most() / MIB
    );
    drop(watch);
    collector.stop();
}
