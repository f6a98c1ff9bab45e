//! Bellwether around a plain `tower` service: `kit.layer()` is a layer like any other.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use bellwether::Kit;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use tokio::net::TcpListener;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kit = Kit::from_env("greeter")?.start()?;
    let service = ServiceBuilder::new()
        .layer(kit.layer().route_hook(route))
        .service_fn(hello);
    // Any server will do; the kit's own serves routers, here of this one service and the kit's probes.
    let app = Router::new().fallback_service(service).merge(kit.routes());
    let listener = TcpListener::bind(("127.0.0.1", kit.port())).await?;
    kit.serve(listener, app).await?;
    Ok(())
}

/// The pattern that a path matches, never the path itself: it becomes a metric label.
fn route(request: &Parts) -> Option<Cow<'_, str>> {
    name(request.uri.path()).map(|_| "/hello/{name}".into())
}

fn name(path: &str) -> Option<&str> {
    path.strip_prefix("/hello/")
}

async fn hello(request: Request<Body>) -> Result<Response<String>, Infallible> {
    let Some(name) = name(request.uri().path()) else {
        let mut response = Response::new("no such page\n".to_owned());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    tracing::info!(name, "greeting");
    Ok(Response::new(format!("Hello, {name}!\n")))
}
