//! Zipkin's protobuf, made of the JSON that says the same.

use serde_json::Value;

/// `ListOfSpans` of zipkin-api's zipkin.proto.
///
/// # Panics
/// When they are no spans.
pub fn zipkin_protobuf(spans: &[Value]) -> Vec<u8> {
    let mut list = Vec::new();
    for span in spans {
        put_message(&mut list, 1, &zipkin_span(span));
    }
    list
}

fn put_message(out: &mut Vec<u8>, field: u32, message: &[u8]) {
    prost::encoding::bytes::encode(field, &message.to_vec(), out);
}

fn zipkin_span(span: &Value) -> Vec<u8> {
    use prost::encoding::{bool, fixed64, int32, string, uint64};
    let mut out = Vec::new();
    for (field, name) in [(1, "traceId"), (2, "parentId"), (3, "id")] {
        if let Some(id) = span[name].as_str() {
            let id = u64::from_str_radix(id, 16).expect("hex digits");
            put_message(&mut out, field, &id.to_be_bytes());
        }
    }
    let kinds = ["", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"];
    let kind = kinds.iter().position(|kind| span["kind"] == **kind);
    int32::encode(4, &(kind.unwrap_or_default() as i32), &mut out);
    string::encode(
        5,
        &span["name"].as_str().unwrap_or_default().to_owned(),
        &mut out,
    );
    fixed64::encode(6, &span["timestamp"].as_u64().unwrap_or_default(), &mut out);
    uint64::encode(7, &span["duration"].as_u64().unwrap_or_default(), &mut out);
    for (field, name) in [(8, "localEndpoint"), (9, "remoteEndpoint")] {
        if span[name].is_object() {
            put_message(&mut out, field, &zipkin_endpoint(&span[name]));
        }
    }
    for annotation in span["annotations"].as_array().into_iter().flatten() {
        let mut message = Vec::new();
        fixed64::encode(
            1,
            &annotation["timestamp"].as_u64().expect("a time"),
            &mut message,
        );
        string::encode(
            2,
            &annotation["value"].as_str().expect("a text").to_owned(),
            &mut message,
        );
        put_message(&mut out, 10, &message);
    }
    for (key, value) in span["tags"].as_object().into_iter().flatten() {
        let mut entry = Vec::new();
        string::encode(1, key, &mut entry);
        string::encode(2, &value.as_str().expect("a text").to_owned(), &mut entry);
        put_message(&mut out, 11, &entry);
    }
    bool::encode(12, &(span["debug"] == true), &mut out);
    bool::encode(13, &(span["shared"] == true), &mut out);
    out
}

fn zipkin_endpoint(endpoint: &Value) -> Vec<u8> {
    use prost::encoding::{int32, string};
    let mut out = Vec::new();
    let text = |name: &str| endpoint[name].as_str();
    string::encode(
        1,
        &text("serviceName").unwrap_or_default().to_owned(),
        &mut out,
    );
    if let Some(address) = text("ipv4") {
        let address: std::net::Ipv4Addr = address.parse().expect("an address");
        put_message(&mut out, 2, &address.octets());
    }
    if let Some(address) = text("ipv6") {
        let address: std::net::Ipv6Addr = address.parse().expect("an address");
        put_message(&mut out, 3, &address.octets());
    }
    int32::encode(
        4,
        &(endpoint["port"].as_i64().unwrap_or_default() as i32),
        &mut out,
    );
    out
}
