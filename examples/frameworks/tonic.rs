//! Bellwether in a gRPC service on tonic's own server, with `grpc.health.v1.Health` for Kubernetes' probes.

use std::net::{IpAddr, SocketAddr};

use bellwether::Kit;
use bellwether_examples::calculator_v1::calculator_server::{
    Calculator, CalculatorServer, SERVICE_NAME,
};
use bellwether_examples::calculator_v1::{Operands, Sum};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kit = Kit::from_env("calculator")?.start()?;
    // A container wants 0.0.0.0.
    let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let address = SocketAddr::new(host.parse::<IpAddr>()?, kit.port());
    let server = Server::builder()
        .layer(kit.layer())
        .add_service(kit.grpc_health().service(SERVICE_NAME))
        .add_service(CalculatorServer::new(Adder))
        .serve_with_shutdown(address, kit.shutdown_signal());
    tokio::select! {
        ended = server => ended?,
        // Callers whose calls do not end are no reason to lose what there is to send.
        () = kit.cut_signal() => {}
    }
    // Last: sends the spans and lines that are left.
    kit.finish().await;
    Ok(())
}

struct Adder;

#[tonic::async_trait]
impl Calculator for Adder {
    async fn add(&self, request: Request<Operands>) -> Result<Response<Sum>, Status> {
        let Operands { left, right } = request.into_inner();
        let value = left + right;
        if !value.is_finite() {
            return Err(Status::out_of_range(format!(
                "{left} + {right} is too large"
            )));
        }
        tracing::info!(left, right, value, "added");
        Ok(Response::new(Sum { value }))
    }
}
