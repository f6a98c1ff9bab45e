//! The receivers as a stage of the pipeline: their counters, and each protocol served at its listener.

use std::sync::Arc;

use axum::Router;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bind::{Bound, Listening};
use super::guards::LiveGuards;
use super::{GRPC, HTTP};
use crate::budget::Budget;
use crate::intake::Intake;
use crate::net::server;
use crate::receive::{Others, Receiver, otlp_grpc, otlp_http, zipkin};
use crate::signal::{Signal, Signals};
use crate::status::{Locks, ReceiverStatus, Status};

/// The counters of a receiver, whether it listens or not.
pub(super) fn receiver_status(
    (protocol, bound, locks): (&'static str, &Bound, Locks),
) -> Arc<ReceiverStatus> {
    let status = match bound {
        Ok(listening) => ReceiverStatus::listening(protocol, listening.address.clone()),
        Err(reason) => ReceiverStatus::left_out(protocol, reason.clone()),
    };
    Arc::new(status.with_locks(locks))
}

/// Starts a receiver on each listener that there is; they stop when `closed` turns true.
pub(super) fn start_receivers(
    bound: [Bound; 3],
    config: &server::Config,
    guards: &LiveGuards,
    status: &Status,
    (intake, answers): (&Intake, &Router),
    [bodies, requests]: [&Budget; 2],
    closed: &watch::Receiver<bool>,
) -> JoinSet<usize> {
    let [otlp_grpc, otlp_http, zipkin] = bound.each_ref().map(|bound| {
        let listening = bound.as_ref().ok()?;
        Some(listening.address.clone())
    });
    let others = Arc::new(Others {
        otlp_grpc,
        otlp_http,
        zipkin,
    });
    let takes = taken_signals(status);
    let mut receivers = JoinSet::new();
    for (bound, status) in bound.into_iter().zip(&status.receivers) {
        let Ok(Listening { listener, .. }) = bound else {
            continue;
        };
        let receiver = Receiver {
            intake: intake.clone(),
            takes,
            budget: bodies.clone(),
            requests: requests.clone(),
            status: Arc::clone(status),
            access: guards.access(status.locks),
            others: Arc::clone(&others),
        };
        let config = guards.listener(config, status);
        let mut closed = closed.clone();
        let stop = async move { drop(closed.wait_for(|&closed| closed).await) };
        match status.protocol {
            GRPC => receivers.spawn(otlp_grpc::serve(listener, receiver, config, stop)),
            HTTP => receivers.spawn(otlp_http::serve(listener, receiver, config, stop)),
            _ => {
                let answers = answers.clone();
                receivers.spawn(zipkin::serve(listener, receiver, answers, config, stop))
            }
        };
    }
    receivers
}

/// What is of use to anybody: traces to the views, and whatever an exporter takes.
fn taken_signals(status: &Status) -> Signals {
    let exporters = status.exporters.iter();
    let exported = exporters.flat_map(|exporter| exporter.signals.iter());
    exported.chain([Signal::Traces]).collect()
}
