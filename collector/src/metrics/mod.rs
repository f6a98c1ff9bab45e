//! What `/metrics` shows of the collector beside the kit's own families: the counters of `status`, and the views as
//! Grafana's panels ask for them. Registered by `pipeline` with the kit, read at each scrape.

mod flow;
mod views;

pub use flow::FlowMetrics;
pub use views::write as write_views;
