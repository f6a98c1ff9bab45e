//! One part of the calculator as a process: what `bin/calculator.rs` and the demo's children run.

use std::collections::HashMap;
use std::net::SocketAddr;

use axum::Router;
use bellwether::Kit;
use clap::{Args, Subcommand};
use http::Uri;
use tokio::net::TcpListener;
use tower::BoxError;

use crate::api;
use crate::operation::{Faults, Operation};
use crate::operations::Operations;

/// Which part to run.
#[derive(Clone, Debug, Subcommand)]
pub enum Part {
    /// The API and the operations in one process.
    Monolith,
    /// The API; the operations are called over HTTP.
    Api(Box<Urls>),
    /// a + b
    Add,
    /// a − b
    Subtract,
    /// a × b
    Multiply,
    /// a ÷ b
    Divide,
}

/// Where the operations' services are.
#[derive(Clone, Debug, Args)]
pub struct Urls {
    /// The add service.
    #[arg(long, env = "ADD_URL", default_value = "http://127.0.0.1:8081/add")]
    add: Uri,
    /// The subtract service.
    #[arg(
        long,
        env = "SUBTRACT_URL",
        default_value = "http://127.0.0.1:8082/subtract"
    )]
    subtract: Uri,
    /// The multiply service.
    #[arg(
        long,
        env = "MULTIPLY_URL",
        default_value = "http://127.0.0.1:8083/multiply"
    )]
    multiply: Uri,
    /// The divide service.
    #[arg(
        long,
        env = "DIVIDE_URL",
        default_value = "http://127.0.0.1:8084/divide"
    )]
    divide: Uri,
}

impl Part {
    fn name(&self) -> &'static str {
        match self {
            Self::Monolith => "calculator",
            Self::Api(_) => "api",
            Self::Add => Operation::Add.name(),
            Self::Subtract => Operation::Subtract.name(),
            Self::Multiply => Operation::Multiply.name(),
            Self::Divide => Operation::Divide.name(),
        }
    }

    fn router(self, kit: &Kit, faults: Faults) -> Router {
        match self {
            Self::Monolith => api::router(Operations::InProcess),
            Self::Api(urls) => api::router(Operations::remote(kit, urls.by_operation())),
            Self::Add => Operation::Add.router(faults),
            Self::Subtract => Operation::Subtract.router(faults),
            Self::Multiply => Operation::Multiply.router(faults),
            Self::Divide => Operation::Divide.router(faults),
        }
    }
}

impl Urls {
    fn by_operation(self) -> HashMap<Operation, Uri> {
        HashMap::from([
            (Operation::Add, self.add),
            (Operation::Subtract, self.subtract),
            (Operation::Multiply, self.multiply),
            (Operation::Divide, self.divide),
        ])
    }
}

/// Runs `part` at `address` until it is told to stop.
///
/// # Errors
/// What the kit says of the environment or the server, or why the address cannot be listened on.
pub async fn run(part: Part, address: SocketAddr, faults: Faults) -> Result<(), BoxError> {
    let kit = Kit::from_env(part.name())?.start()?;
    let app = kit.wrap(part.router(&kit, faults));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    kit.serve(listener, app).await?;
    Ok(())
}
