//! What one exporter is told: where to send, under which name, and how. Composed by `config`, obeyed by the worker.

use std::time::Duration;

use super::headers::Headers;
use super::sampling::Sampling;
use super::target::Target;
use crate::log::OnFull;
use crate::net::client_tls::ClientTls;
use crate::signal::Signals;

/// How long a peer has to answer, unless told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many requests may be under way at once, unless told otherwise.
pub const DEFAULT_REQUESTS_IN_FLIGHT: usize = 4;

/// How often files are looked at that may be rotated, unless told otherwise.
pub const DEFAULT_RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// One exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where its batches go.
    pub target: Target,
    /// What it takes; what it does not passes it by.
    pub signals: Signals,
    /// What it is called in logs, status and metrics; unique.
    pub name: String,
    /// Sent with every request, beside the exporter's own.
    pub headers: Headers,
    /// How often the files that headers come from are read again.
    pub reload_interval: Duration,
    /// How long a request may take, from its first byte sent to its answer's last one read.
    pub timeout: Duration,
    /// How many requests may be under way at once, 1 at least; see [`most_under_way`](Self::most_under_way).
    pub requests_in_flight: usize,
    /// How bodies are compressed.
    pub compression: Compression,
    /// Whom to trust and what to show, when the target is spoken to in TLS.
    pub tls: ClientTls,
    /// How long to wait between attempts.
    pub retry: Retry,
    /// What gives way when the batches that wait for it reach the log's limit.
    pub on_full: OnFull,
    /// What is sent of the spans there are.
    pub sampling: Sampling,
    /// What asked for it (`--export`, `collector.yaml:7: exporters[0].url`).
    pub asked_by: String,
}

/// How bodies leave. A peer that cannot read how gets them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// Gzip.
    Gzip,
    /// Zstandard; only OTLP has it.
    Zstd,
}

/// Waits between attempts, before chance takes up to half off: each is twice the one before, within these bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After the first failure.
    pub first: Duration,
    /// However many there were.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// To `target` with everything else as it is by default.
    pub fn to(target: Target) -> Self {
        Self {
            name: target.to_string(),
            signals: target.kind.signals(),
            target,
            headers: Headers::default(),
            reload_interval: DEFAULT_RELOAD_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
            requests_in_flight: DEFAULT_REQUESTS_IN_FLIGHT,
            compression: Compression::None,
            tls: ClientTls::default(),
            retry: Retry::default(),
            on_full: OnFull::DropOldest,
            sampling: Sampling::default(),
            asked_by: "--export".to_owned(),
        }
    }

    /// How many requests are under way at once, at the most. One that samples goes one by one: how far it may send is
    /// decided as it goes.
    pub fn most_under_way(&self) -> usize {
        if self.sampling.is_on() {
            1
        } else {
            self.requests_in_flight.max(1)
        }
    }

    /// Requests of the largest size that it holds at once, at the most: those that are sent, what they are compressed
    /// from (the compressor's tables included), and what one is a part of.
    pub fn requests_in_hand(&self) -> usize {
        let each = match self.compression {
            Compression::None => 1,
            Compression::Gzip | Compression::Zstd => 2,
        };
        each * self.most_under_way() + usize::from(self.sampling.is_on())
    }
}
