//! One page for each thing a service gets: what it does, what it looks like, what can be set.
//!
//! | page | about |
//! | --- | --- |
//! | [`logs`] | lines, formats, levels, the recorder, secrets |
//! | [`ids`] | request ids, trace context, whom to believe, outgoing calls |
//! | [`metrics`] | every family, application metrics, formats |
//! | [`health`] | probes and dependency checks |
//! | [`shutdown`] | the drain, its numbers, long connections |
//! | [`autoscaling`] | what to scale on, with HPA and KEDA |
//! | [`migration`] | coming from tower-http, tracing-subscriber and axum-prometheus |
//! | [`features`] | what the kit has that others have or lack, and the test that shows it |

#[doc = include_str!("../docs/autoscaling.md")]
pub mod autoscaling {}
#[doc = include_str!("../docs/features.md")]
pub mod features {}
#[doc = include_str!("../docs/health.md")]
pub mod health {}
#[doc = include_str!("../docs/ids.md")]
pub mod ids {}
#[doc = include_str!("../docs/logs.md")]
pub mod logs {}
#[doc = include_str!("../docs/metrics.md")]
pub mod metrics {}
#[doc = include_str!("../docs/migration.md")]
pub mod migration {}
#[doc = include_str!("../docs/shutdown.md")]
pub mod shutdown {}
