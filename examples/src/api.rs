//! The API in front: `POST /calculate {"expression":"(1+2)*3"}` answers
//! `{"expression":"(1+2)*3","result":9.0}`.

use std::pin::Pin;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::expression::Expression;
use crate::operation::Operands;
use crate::operations::Operations;

/// The API, on operations that run wherever `operations` says.
pub fn router(operations: Operations) -> Router {
    Router::new()
        .route("/calculate", post(calculate))
        .with_state(operations)
}

#[derive(Deserialize)]
struct Question {
    expression: String,
}

#[derive(Serialize)]
struct Calculated {
    expression: String,
    result: f64,
}

async fn calculate(
    State(operations): State<Operations>,
    question: Result<Json<Question>, JsonRejection>,
) -> Result<Json<Calculated>, ApiError> {
    let Json(Question { expression }) = question?;
    let parsed = Expression::parse(&expression)?;
    let result = evaluate(&operations, &parsed).await?;
    tracing::info!(expression, result, "calculated");
    Ok(Json(Calculated { expression, result }))
}

/// Both sides of an operation are evaluated at the same time; a boxed future because it recurses (its depth
/// is bounded by the parser).
fn evaluate<'a>(
    operations: &'a Operations,
    expression: &'a Expression,
) -> Pin<Box<dyn Future<Output = Result<f64, ApiError>> + Send + 'a>> {
    Box::pin(async move {
        match expression {
            Expression::Number(number) => Ok(*number),
            Expression::Apply(operation, left, right) => {
                let (a, b) =
                    tokio::try_join!(evaluate(operations, left), evaluate(operations, right))?;
                operations.run(*operation, Operands { a, b }).await
            }
        }
    })
}
