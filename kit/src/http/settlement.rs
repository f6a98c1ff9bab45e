//! The settlement of an exchange: its line, its metrics and its span, made of the same numbers. Called by
//! `tracked`, once for each request.

use std::time::Duration;

use super::exchange::{Ended, Exchange, Known};
use super::grpc::{self, Rpc, Told};
use super::routes::Route;
use super::{Outcome, Telemetry, server_span};
use crate::log::{RequestLine, RpcLine};
use crate::metrics::{BodySizes, Exemplar, RpcLabels, ServerLabels};

impl Exchange {
    /// The end: everything that is told of a request is told here.
    pub(super) fn settle(self, outcome: Outcome) {
        let Self {
            telemetry,
            mut known,
        } = self;
        let duration = known.start.elapsed();
        // Whoever sees one of the records below finds the request no longer in flight.
        if let Some(active) = known.active.take() {
            active.ended_after(duration);
        }
        drop(known.permit.take());
        let ended = known.ended(&telemetry, outcome);
        let spans = telemetry.spans().filter(|_| known.context.sampled());
        let exemplar = spans.map(|_| Exemplar {
            trace_id: known.context.trace_id,
            span_id: known.context.span_id,
        });
        known.measure(&telemetry, &ended, duration, exemplar);
        telemetry.logger.request(&known.line(&ended, duration));
        if let Some(spans) = spans {
            spans.push(server_span::record(known, ended, duration));
        }
    }
}

impl Known {
    fn ended(&self, telemetry: &Telemetry, outcome: Outcome) -> Ended {
        let told = self
            .rpc
            .as_deref()
            .map(|rpc| self.told(rpc, telemetry, outcome));
        let error_type = match &told {
            Some(told) if outcome == Outcome::Error => Some(told.status.as_str()),
            _ => outcome.error_type(self.status),
        };
        Ended {
            outcome,
            error_type,
            told,
        }
    }

    fn told(&self, rpc: &Rpc, telemetry: &Telemetry, outcome: Outcome) -> Told {
        let cut = telemetry.lifecycle.is_cutting();
        let path = self.texts.path();
        Told {
            method: rpc.settled_method(&telemetry.methods, path, self.route_path(), outcome),
            status: rpc.status_of(outcome, self.status, cut),
        }
    }

    fn line<'a>(&'a self, ended: &'a Ended, duration: Duration) -> RequestLine<'a> {
        let (path, user_agent) = self.texts.received();
        RequestLine {
            context: &self.context,
            at: self.started_at.saturating_add(duration),
            outcome: ended.outcome,
            method: self.method.as_str(),
            route: self.route.as_deref().map(Route::text),
            path,
            rpc: ended.told.as_ref().map(|told| RpcLine {
                system: grpc::SYSTEM,
                method: told.method(),
                status: told.status.as_str(),
            }),
            status: self.status.map(|status| status.as_u16()),
            duration,
            time_to_first_byte: self.time_to_first_byte,
            response_body_size: self.sent_bytes,
            client_address: self.caller.address,
            user_agent,
            version: self.version,
            error_type: ended.error_type,
            error: self.error.as_deref(),
            shown: &self.shown,
        }
    }

    fn measure(
        &self,
        telemetry: &Telemetry,
        ended: &Ended,
        duration: Duration,
        exemplar: Option<Exemplar>,
    ) {
        if let Some(told) = &ended.told {
            let labels = RpcLabels {
                system: grpc::SYSTEM,
                method: told.method(),
                status: told.status.as_str(),
                error_type: ended.error_type,
                server: None,
            };
            return telemetry.rpc.served(labels, duration, exemplar);
        }
        let labels = ServerLabels {
            method: self.method.as_str(),
            scheme: self.scheme,
            route: self.route.as_deref().map(Route::path),
            status: self.status.map(|status| status.as_u16()),
            error_type: ended.error_type,
            recent: self.route.as_deref().map(Route::series),
        };
        let sizes = BodySizes {
            request: self.received_bytes,
            response: self.sent_bytes,
        };
        telemetry.server.settled(labels, duration, sizes, exemplar);
    }

    fn route_path(&self) -> Option<&str> {
        self.route.as_deref().map(|route| &**route.path())
    }
}
