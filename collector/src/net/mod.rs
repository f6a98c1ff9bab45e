//! Listeners and connections: hyper, gRPC framing, decompression, and the client side of the same. Called by
//! `receive` and `export`.

pub mod body;
pub mod client;
pub mod client_tls;
mod corked;
mod der;
pub mod encoding;
pub mod grpc;
pub mod inflate;
pub mod pem;
pub mod proto;
pub mod reload;
pub mod rpc_status;
pub mod seldom;
pub mod server;
pub mod server_tls;
pub mod spiffe;
