//! The outbound twin of the layer: sends a request's identity on with every call, and settles each call
//! once into a span and metrics, with the network's share of it. Made by `Kit::client_layer`.

mod body;
mod call;
mod failure;
mod future;
#[cfg(feature = "reqwest")]
mod reqwest;
mod rpc;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

pub use body::ClientBody;
use call::{Call, OpenCall};
pub use future::ClientFuture;
#[cfg(feature = "reqwest")]
pub use reqwest::ReqwestMiddleware;

use super::Telemetry;

/// Wraps an HTTP client (hyper-util's, a tonic channel): calls carry the current request's ids, are measured
/// to the end of their response, and know the network's share of their time when the server tells its own
/// (`Server-Timing`).
///
/// With hyper-util's client (features `client-legacy`, `http1` and `tokio`), made once and cloned for each
/// call:
///
/// ```
/// use bellwether::{ClientService, Kit};
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::{BodyExt, Full};
/// use hyper_util::client::legacy::{Client, connect::HttpConnector};
/// use hyper_util::rt::TokioExecutor;
/// use tower::{Layer, ServiceExt};
///
/// /// The type to name, in a struct or an axum state.
/// type HttpClient = ClientService<Client<HttpConnector, Full<Bytes>>>;
///
/// fn http_client(kit: &Kit) -> HttpClient {
///     let client = Client::builder(TokioExecutor::new()).build_http();
///     kit.client_layer().layer(client)
/// }
///
/// async fn stock(client: &HttpClient) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
///     let request = Request::get("http://127.0.0.1:8081/stock/7").body(Full::default())?;
///     let response = client.clone().oneshot(request).await?;
///     // The call ends with its body: read it, or drop it.
///     Ok(response.into_body().collect().await?.to_bytes())
/// }
/// ```
///
/// A tonic channel is wrapped alike: `CalculatorClient::with_origin(kit.client_layer().layer(channel), origin)`.
/// With `origin`, the URI that the channel connects to, spans and metrics know the server's address; from
/// `new` they do not. Calls are told of by the RPC semantic conventions, and their duration is in
/// `rpc_client_call_duration_seconds` in place of the HTTP one; every status but `OK` is a failure.
///
/// The current request is the one whose handler makes the call; a task that the handler spawns keeps it when
/// [`spawn`](crate::spawn) starts it ("Tasks of a request" in the [crate's documentation](crate)).
#[derive(Clone)]
pub struct ClientLayer {
    telemetry: Arc<Telemetry>,
}

impl ClientLayer {
    pub(crate) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { telemetry }
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientService {
            inner,
            telemetry: Arc::clone(&self.telemetry),
        }
    }
}

/// The service made by [`ClientLayer`].
#[derive(Clone)]
pub struct ClientService<S> {
    inner: S,
    telemetry: Arc<Telemetry>,
}

impl<S, B, RB> Service<Request<B>> for ClientService<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    S::Error: fmt::Display + 'static,
    RB: http_body::Body,
{
    type Response = Response<ClientBody<RB>>;
    type Error = S::Error;
    type Future = ClientFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = Call::begin(&self.telemetry, &request);
        call.inject(request.headers_mut());
        let call = OpenCall::new(call);
        ClientFuture::new(call, self.inner.call(request))
    }
}

impl fmt::Debug for ClientLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for ClientService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
