//! The environment as a `Config`: every fault at once for `BELLWETHER_*`, warnings for `OTEL_*`.
