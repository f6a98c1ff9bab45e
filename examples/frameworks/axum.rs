//! Bellwether in an axum service with nested routers: the whole route, `/api/users/{id}`, names its requests.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use bellwether::Kit;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kit = Kit::from_env("users")?.start()?;
    let users = Router::new().route("/{id}", get(user));
    let app = Router::new().nest("/api/users", users);
    // Around all of it, and the probes and `/metrics` beside it.
    let app = kit.wrap(app);
    let listener = TcpListener::bind(("127.0.0.1", kit.port())).await?;
    kit.serve(listener, app).await?;
    Ok(())
}

async fn user(Path(id): Path<u32>) -> Result<String, StatusCode> {
    tracing::info!(id, "looking for a user");
    match id {
        7 => Ok("Ann\n".to_owned()),
        _ => Err(StatusCode::NOT_FOUND),
    }
}
