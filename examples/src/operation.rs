//! One operation as a service: `POST /add {"a":1,"b":2}` answers `{"result":3}`. The same function is
//! called in process by the monolith.

use std::time::Duration;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// What a calculator can do with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Operation {
    /// a + b
    Add,
    /// a − b
    Subtract,
    /// a × b
    Multiply,
    /// a ÷ b
    Divide,
}

/// Why there is no result; the caller's fault, so a 422.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// Divisor is zero.
    #[error("division by zero")]
    DivisionByZero,
    /// Beyond what a 64-bit float holds.
    #[error("the result is too large")]
    Overflow,
}

/// The body of a call.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Operands {
    /// The left one.
    pub a: f64,
    /// The right one.
    pub b: f64,
}

/// The body of an answer.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Answer {
    /// The result.
    pub result: f64,
}

/// Faults put in on purpose, for the demo: a dependency that is slow now and then, or fails.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Faults {
    /// Share of the calls, 0–1, that wait for `slow_ms`.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub slow_share: f64,
    /// How long such a call waits, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub slow_ms: u64,
    /// Share of the calls, 0–1, that fail.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub fail_share: f64,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
    }
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide];

    /// The name of its service and of its path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
        }
    }

    /// The operation itself.
    ///
    /// # Errors
    /// [`OperationError`] where there is no finite result.
    pub fn apply(self, a: f64, b: f64) -> Result<f64, OperationError> {
        let result = match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide if b == 0.0 => return Err(OperationError::DivisionByZero),
            Self::Divide => a / b,
        };
        result
            .is_finite()
            .then_some(result)
            .ok_or(OperationError::Overflow)
    }

    /// The operation as a service of its own.
    pub fn router(self, faults: Faults) -> Router {
        Router::new()
            .route(&format!("/{}", self.name()), post(answer))
            .with_state(Service {
                operation: self,
                faults,
            })
    }
}

#[derive(Clone, Copy)]
struct Service {
    operation: Operation,
    faults: Faults,
}

async fn answer(
    State(service): State<Service>,
    operands: Result<Json<Operands>, JsonRejection>,
) -> Result<Json<Answer>, ApiError> {
    let Json(Operands { a, b }) = operands?;
    if rand::random_bool(service.faults.slow_share) {
        wait_for_rounding_table(Duration::from_millis(service.faults.slow_ms)).await;
    }
    if rand::random_bool(service.faults.fail_share) {
        return Err(ApiError::Internal(
            "the rounding table is locked".to_owned(),
        ));
    }
    let result = service.operation.apply(a, b)?;
    tracing::debug!(a, b, result, "operation done");
    Ok(Json(Answer { result }))
}

/// Stands for any slow dependency; its span shows in the waterfall where the time went.
#[tracing::instrument(level = "info", skip_all)]
async fn wait_for_rounding_table(delay: Duration) {
    tokio::time::sleep(delay).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_finite_or_refused() {
        assert_eq!(Operation::Add.apply(1.0, 2.0), Ok(3.0));
        assert_eq!(Operation::Divide.apply(1.0, 4.0), Ok(0.25));
        assert_eq!(
            Operation::Divide.apply(1.0, 0.0),
            Err(OperationError::DivisionByZero)
        );
        assert_eq!(
            Operation::Divide.apply(0.0, -0.0),
            Err(OperationError::DivisionByZero)
        );
        assert_eq!(
            Operation::Multiply.apply(1e308, 10.0),
            Err(OperationError::Overflow)
        );
    }
}
