//! The same axum service, after it adopted Bellwether.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use bellwether::Kit;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kit = Kit::from_env("hello")?.start()?;
    let app = Router::new().route("/hello/{name}", get(hello));
    let app = kit.wrap(app);
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    kit.serve(listener, app).await?;
    Ok(())
}

async fn hello(Path(name): Path<String>) -> String {
    format!("Hello, {name}!")
}
