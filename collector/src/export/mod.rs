//! The exporters: one worker each, reading the batch log at its own pace.

mod target;

pub use target::{Target, TargetError, TargetKind};
