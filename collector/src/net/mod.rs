//! Listeners and connections: hyper, gRPC framing, decompression, and the client side of the same. Called by
//! `receive` and `export`.

pub mod body;
pub mod client;
pub mod client_tls;
pub mod encoding;
pub mod grpc;
pub mod inflate;
pub mod proto;
pub mod rpc_status;
pub mod server;
