//! The receivers: OTLP over gRPC and over HTTP, each a service that `net` serves.
