//! The HTTP client that OTLP goes through: hyper with an explicit connector, so that no feature of
//! another crate can exchange it. `otlp` sends through it, and the exporter library with an observer beside it,
//! which keeps what that does not tell.

use std::error::Error;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};

use super::partial_success;
use super::{ExportConfig, Protocol};

/// How the collector's side of the last request looked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted {
        rejected: u64,
        message: String,
    },
    Status(StatusCode),
    /// No answer; the error with its causes.
    Network(String),
}

/// Keeps the last answer until it is taken.
#[derive(Debug, Default)]
pub(super) struct Observer(Mutex<Option<Answer>>);

impl Observer {
    pub(super) fn take(&self) -> Option<Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn saw(&self, answer: Answer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

/// A client that adds the configured headers.
#[derive(Debug)]
pub(super) struct Client {
    hyper: Hyper,
    headers: HeaderMap,
}

/// A client for the exporter library that reports to an [`Observer`].
#[derive(Debug)]
pub(super) struct ObservedClient {
    client: Client,
    json: bool,
    observer: Arc<Observer>,
}

#[derive(Debug)]
enum Hyper {
    Plain(HyperClient<HttpConnector>),
    #[cfg(feature = "tls")]
    Tls(HyperClient<hyper_rustls::HttpsConnector<HttpConnector>>),
}

impl Answer {
    /// What a request came to; `json` says how an answer is encoded.
    pub(super) fn of(result: &Result<Response<Bytes>, HttpError>, json: bool) -> Self {
        match result {
            Ok(response) if response.status().is_success() => {
                let (rejected, message) =
                    partial_success::read(response.body(), json).unwrap_or_default();
                Self::Accepted { rejected, message }
            }
            Ok(response) => Self::Status(response.status()),
            Err(error) => Self::Network(chain(error.as_ref())),
        }
    }
}

impl Client {
    /// # Errors
    ///
    /// When the URL is `https://` and the system's root certificates cannot be read.
    pub(super) fn new(config: &ExportConfig) -> Result<Self, String> {
        Ok(Self {
            hyper: Hyper::new(config)?,
            headers: config.headers.iter().cloned().collect(),
        })
    }

    /// # Errors
    ///
    /// When no answer came within the configured time-out, or one that is too long to be one.
    pub(super) async fn send(
        &self,
        mut request: Request<Bytes>,
    ) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        match &self.hyper {
            Hyper::Plain(client) => client.send_bytes(request).await,
            #[cfg(feature = "tls")]
            Hyper::Tls(client) => client.send_bytes(request).await,
        }
    }
}

impl ObservedClient {
    /// # Errors
    ///
    /// As [`Client::new`].
    pub(super) fn new(config: &ExportConfig, observer: Arc<Observer>) -> Result<Self, String> {
        Ok(Self {
            client: Client::new(config)?,
            json: config.protocol == Protocol::HttpJson,
            observer,
        })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let result = self.client.send(request).await;
        self.observer.saw(Answer::of(&result, self.json));
        result
    }
}

impl HttpClient for ObservedClient {
    // The trait is an `async_trait`; this is what that macro makes of `async fn send_bytes`.
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}

impl Hyper {
    fn new(config: &ExportConfig) -> Result<Self, String> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        #[cfg(feature = "tls")]
        if config.url().starts_with("https://") {
            connector.enforce_http(false);
            // A named provider: the process default is ambiguous as soon as another crate brings one.
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let connector = hyper_rustls::HttpsConnectorBuilder::new()
                .with_provider_and_native_roots(provider)
                .map_err(|error| format!("the system's root certificates cannot be used: {error}"))?
                .https_only()
                .enable_http1()
                .wrap_connector(connector);
            return Ok(Self::Tls(HyperClient::new(connector, config.timeout, None)));
        }
        Ok(Self::Plain(HyperClient::new(
            connector,
            config.timeout,
            None,
        )))
    }
}

/// The error and its causes, outermost first; a cause that an outer text already ends with is not repeated.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}
