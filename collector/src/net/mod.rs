//! Listeners and connections: hyper, gRPC framing, decompression, and the client side of the same.
