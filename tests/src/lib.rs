//! What the end-to-end tests share: child processes, HTTP, waiting, peers. The tests are in `tests/it`.

pub mod bodies;
pub mod cases;
pub mod front;
pub mod http;
pub mod load;
pub mod otelcol;
pub mod peers;
pub mod pod;
pub mod process;
pub mod prometheus;
pub mod raw_sink;
pub mod rich;
pub mod sink;
pub mod system;
pub mod wait;
pub mod zipkin;
