//! The transcoders against prost and serde, on bodies of every shape.

mod json_reader;
mod otlp;
mod signals;
mod zipkin;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::TranscodeError;

/// What was made, decoded by prost; it must also be what the walk takes.
fn decoded(made: Result<Vec<u8>, TranscodeError>) -> ExportTraceServiceRequest {
    let bytes = made.unwrap();
    let walked = crate::wire::walk(&bytes, |_| ());
    let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    let scopes = request
        .resource_spans
        .iter()
        .flat_map(|group| &group.scope_spans);
    let spans: usize = scopes.map(|scope| scope.spans.len()).sum();
    assert_eq!(walked, Ok(spans));
    request
}
