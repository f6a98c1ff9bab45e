//! The HTTP client that OTLP goes through: hyper with an explicit connector, so that no feature of
//! another crate can exchange it. `otlp` sends through it, and the exporter library with an observer beside it,
//! which keeps what that does not tell.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};

use super::otlp::read_partial_success;
use super::{ExportConfig, Protocol, fault};
use crate::connector::{self, Connector};

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
    hyper: HyperClient<Connector>,
    headers: HeaderMap,
}

/// A client for the exporter library that reports to an [`Observer`].
#[derive(Debug)]
pub(super) struct ObservedClient {
    client: Client,
    json: bool,
    observer: Arc<Observer>,
}

impl Answer {
    /// What a request came to; `json` says how an answer is encoded.
    pub(super) fn of(result: &Result<Response<Bytes>, HttpError>, json: bool) -> Self {
        match result {
            Ok(response) if response.status().is_success() => {
                let (rejected, message) =
                    read_partial_success(response.body(), json).unwrap_or_default();
                Self::Accepted { rejected, message }
            }
            Ok(response) => Self::Status(response.status()),
            Err(error) => Self::Network(fault::chain(error.as_ref())),
        }
    }
}

impl Client {
    /// # Errors
    ///
    /// When the URL is `https://` and the system's root certificates cannot be read.
    pub(super) fn new(config: &ExportConfig) -> Result<Self, String> {
        Ok(Self {
            hyper: hyper(config)?,
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
        self.hyper.send_bytes(request).await
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

fn hyper(config: &ExportConfig) -> Result<HyperClient<Connector>, String> {
    #[cfg(feature = "tls")]
    if config.url().starts_with("https://") {
        let connector = connector::tls()?;
        return Ok(HyperClient::new(connector, config.timeout, None));
    }
    let connector = connector::plain()?;
    Ok(HyperClient::new(connector, config.timeout, None))
}
