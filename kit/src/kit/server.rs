//! What the kit does for axum services: routes, the server, the admin address, `run`.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::routing::MethodRouter;
use tokio::net::TcpListener;

use super::{Kit, mount, scrape};
use crate::error::Error;
use crate::health::{Audience, Probe, State};
use crate::serve;

impl Kit {
    /// Puts the whole middleware around `app` and the probe routes, and `/metrics` unless there is an admin
    /// address, beside it. A path that the service has a route for stays the service's, with a warning.
    pub fn wrap(&self, app: Router) -> Router {
        let owner = mount::Owner::of(&app);
        let app = mount::beside(app.layer(self.layer()), &owner, self.mounted());
        // Else axum makes a route of its handler and puts the layer on it anew for each request.
        app.with_state(())
    }

    /// The probe routes, and `/metrics` unless there is an admin address: for services that put
    /// [`layer`](Self::layer) on by themselves. They are no traffic, wherever they are mounted.
    ///
    /// A service that owns its server:
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use axum::{Router, routing::get};
    /// use bellwether::Kit;
    /// use tokio::net::TcpListener;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let kit = Kit::from_env("orders")?
    /// #   .traces(false).drain_delay(std::time::Duration::ZERO)
    ///     .start()?;
    /// let app = Router::new()
    ///     .route("/orders/{id}", get(|| async { "an order" }))
    ///     .merge(kit.routes())
    ///     .layer(kit.layer()) // after the routes, so that it is around all of them
    ///     // Who calls: without it no caller is trusted, and `client.address` is unknown.
    ///     .into_make_service_with_connect_info::<SocketAddr>();
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # kit.shutdown();
    /// let server = axum::serve(listener, app).with_graceful_shutdown(kit.shutdown_signal());
    /// tokio::select! {
    ///     ended = server.into_future() => ended?,
    ///     () = kit.cut_signal() => {} // it would wait for its last request however long that takes
    /// }
    /// kit.finish().await; // last: sends the spans and lines that are left
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The grace is then the service's to keep: [`cut_signal`](Self::cut_signal) says when to give up.
    pub fn routes(&self) -> Router {
        self.mounted()
            .into_iter()
            .fold(Router::new(), |router, (path, handler)| {
                router.route(path, handler)
            })
    }

    /// Serves `app` on `listener` until SIGTERM, SIGINT or [`shutdown`](Self::shutdown), then drains:
    /// unready at once; still serving for the drain delay and the hooks of [`on_drain`](Self::on_drain), while
    /// connections are told to close; then no new connections; requests in flight and upgraded connections
    /// finish, or are cut when their time is up; the hooks of [`on_stop`](Self::on_stop); spans and lines are
    /// flushed. The grace (`BELLWETHER_GRACE`) is for all of it: its last fifth, at most 5 s, is the flush's.
    /// A second signal ends all of it at once. A kit serves one listener: what is flushed at its end is
    /// the whole process's.
    ///
    /// # Errors
    ///
    /// [`Error::Serve`] when the operating system refuses the signal handlers.
    pub async fn serve(&self, listener: TcpListener, app: Router) -> Result<(), Error> {
        let shutdown = &self.0.shutdown;
        shutdown.watch_signals().map_err(Error::Serve)?;
        shutdown.lifecycle().advance(State::Ready);
        let address = listener.local_addr().map_err(Error::Serve)?;
        tracing::info!(target: "bellwether::serve", %address, "listening");
        let gauge = self.0.metrics.connections();
        let cut = serve::run(listener, app, shutdown, gauge).await;
        if cut > 0 {
            tracing::warn!(
                target: "bellwether::serve",
                connections = cut,
                "cut what was still in flight: its time was up"
            );
        }
        self.finish().await;
        Ok(())
    }

    fn mounted(&self) -> Vec<(&str, MethodRouter)> {
        let paths = &self.0.config.paths;
        let mut routes = Vec::new();
        for (path, probe) in Probe::paths(paths) {
            routes.push((path, probe.handler(self.0.health.clone(), Audience::Public)));
        }
        if self.0.admin.is_none() {
            for path in paths.metrics() {
                routes.push((path, scrape::handler(self.0.metrics.clone())));
            }
        }
        routes
    }
}

/// A whole service in one call: the kit from the environment, `app` wrapped, served on `PORT` (8080) of all
/// interfaces until a signal, drained and flushed.
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> Result<(), bellwether::Error> {
/// use axum::{Router, routing::get};
///
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// bellwether::run("checkout", app).await
/// # }
/// ```
///
/// # Errors
///
/// Those of [`Kit::from_env`], [`KitBuilder::start`](super::KitBuilder::start) and [`Kit::serve`], and
/// [`Error::Bind`] for the port.
pub async fn run(service: &str, app: Router) -> Result<(), Error> {
    let kit = Kit::from_env(service)?.start()?;
    // All interfaces: probes and load balancers come from outside the container.
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, kit.0.config.port));
    let listener = TcpListener::bind(address).await;
    let listener = match listener {
        Ok(listener) => listener,
        Err(source) => {
            kit.finish().await;
            let address = address.to_string();
            return Err(Error::Bind { address, source });
        }
    };
    let app = kit.wrap(app);
    kit.serve(listener, app).await
}
