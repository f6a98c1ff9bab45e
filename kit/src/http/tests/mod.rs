//! Tests of the request path as a whole: outcomes, headers, any order of events, a real server.

mod answers;
#[cfg(feature = "axum")]
mod axum_routes;
mod grpc;
mod headers;
mod interleavings;
mod outcomes;
mod sockets;
mod spawned;
mod tonic;
