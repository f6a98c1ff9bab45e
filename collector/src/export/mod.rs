//! The exporters: one worker each, reading the batch log at its own pace.
