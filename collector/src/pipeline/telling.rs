//! What the log is told of the start and of an end that was cut short. Called by `pipeline`.

use std::sync::atomic::Ordering;

use super::bind::Bound;
use super::{GRPC, HTTP, ZIPKIN};
use crate::config::{self, Config};
use crate::status::{Locks, Status};

/// Default listeners that somebody else has the port of.
pub(super) fn tell_left_out(listeners: [(&'static str, &Bound); 4]) {
    for (protocol, bound) in listeners {
        if let Err(reason) = bound {
            tracing::warn!(
                protocol,
                reason,
                "this default listener is left out; ask for another port by its flag"
            );
        }
    }
}

/// A second signal cuts the drain short: what that costs is told.
pub(super) fn tell_unsent(status: &Status) {
    for exporter in &status.exporters {
        let bytes = exporter.queue_bytes.load(Ordering::Relaxed);
        if bytes > 0 && status.log.is_some() {
            tracing::info!(
                exporter = exporter.name,
                bytes,
                "stopped at once: what this exporter had not sent stays in the data directory"
            );
        } else if bytes > 0 {
            tracing::warn!(
                exporter = exporter.name,
                bytes,
                "stopped at once: what this exporter had not sent is lost"
            );
        }
    }
}

/// One line that a person and a program can read: the addresses as bound, port 0 resolved.
pub(super) fn tell_started(config: &Config, bound: [&Bound; 4]) {
    let [otlp_grpc, otlp_http, zipkin, web] = bound.map(|bound| {
        let listening = bound.as_ref().ok()?;
        Some(listening.address.as_str())
    });
    let export: Vec<_> = config
        .export
        .iter()
        .map(|export| export.name.as_str())
        .collect();
    let disk = config.storage.disk.as_ref();
    // Which receivers have a lock; nothing when none has.
    let with = |has: fn(&Locks) -> bool| {
        let locks = [GRPC, HTTP, ZIPKIN].into_iter().zip(&config.access.locks);
        let names: Vec<_> = locks
            .filter(|(_, locks)| has(locks))
            .map(|(name, _)| name)
            .collect();
        Some(names.join(",")).filter(|names| !names.is_empty())
    };
    tracing::info!(
        otlp_grpc,
        otlp_http,
        zipkin,
        web,
        export = export.join(","),
        tls = with(|locks| locks.tls),
        client_certificates = with(|locks| locks.client_certificates),
        tokens = with(|locks| locks.tokens),
        data_dir = disk.map(|disk| disk.directory.display().to_string()),
        durability = disk.map(|disk| disk.durability.name()),
        data_limit_bytes = disk.map(|disk| disk.limit),
        memory_limit_bytes = config.memory.limit,
        retention_seconds = config.retention.as_secs(),
        "collector started"
    );
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for warning in config::misspelt(variables) {
        tracing::warn!("{warning}");
    }
}
