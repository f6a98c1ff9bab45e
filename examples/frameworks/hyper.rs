//! Bellwether in a service with an accept loop of its own, on hyper alone.

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::Duration;

use bellwether::{Kit, PeerAddr};
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kit = Kit::from_env("greeter")?.start()?;
    let layer = kit.layer().route_hook(route);
    let listener = TcpListener::bind(("127.0.0.1", kit.port())).await?;
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(kit.shutdown_signal());
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // No file descriptors left, say: that passes, and ends no service.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let service = ServiceBuilder::new()
            // Who calls: without it no caller is trusted.
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(PeerAddr(peer));
                request
            })
            .layer(layer.clone())
            .service_fn(hello);
        let server = Builder::new(TokioExecutor::new());
        let connection = server
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .into_owned();
        // How its requests ended is in their lines; what is left is the connection's own end.
        tokio::spawn(connections.watch(connection));
    }
    // Requests in flight finish, as long as there is time for it.
    tokio::select! {
        () = connections.shutdown() => {}
        () = kit.cut_signal() => {}
    }
    kit.finish().await;
    Ok(())
}

/// The pattern that a path matches, never the path itself: it becomes a metric label.
fn route(request: &Parts) -> Option<Cow<'_, str>> {
    let hello = request.uri.path().starts_with("/hello/");
    hello.then_some("/hello/{name}".into())
}

async fn hello(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let name = request.uri().path().trim_start_matches("/hello/");
    tracing::info!(name, "greeting");
    Ok(Response::new(format!("Hello, {name}!\n")))
}
