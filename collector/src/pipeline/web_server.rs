//! The web address as a stage of the pipeline: it starts and stops the server of pages and API.

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service as _;

use super::{LAST_SHARE, join};
use crate::net::server;

/// The listener of pages and API, until it is stopped.
pub(super) struct WebServer {
    stop: watch::Sender<bool>,
    server: JoinSet<usize>,
}

impl WebServer {
    pub(super) fn start(listener: TcpListener, net: server::Config, app: Router) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let config = server::Config {
            drain: LAST_SHARE / 2,
            ..net
        };
        let handler = move |request: Request<Incoming>, peer| {
            let mut app = app.clone();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            async move {
                match app.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        };
        let mut server = JoinSet::new();
        server.spawn(async move {
            let stopped = async move { drop(stopped.wait_for(|&stopped| stopped).await) };
            server::serve(listener, handler, config, stopped).await
        });
        Self { stop, server }
    }

    /// Stops it, and waits for the answers under way.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        join(&mut self.server).await;
    }
}
