//! Where operations run: in this process, or in services of their own called over HTTP through the kit's
//! client layer. `api` does not know which.

use std::collections::HashMap;
use std::sync::Arc;

use bellwether::Kit;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt};

use crate::error::ApiError;
use crate::operation::{Answer, Operands, Operation};

/// The longest answer read from an operation's service, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// The four operations, wherever they run.
#[derive(Clone, Debug)]
pub enum Operations {
    /// Function calls.
    InProcess,
    /// HTTP calls.
    Remote(Remote),
}

/// Operations behind HTTP.
#[derive(Clone, Debug)]
pub struct Remote {
    client: BoxCloneSyncService<Request<Full<Bytes>>, Response<Bytes>, BoxError>,
    services: Arc<HashMap<Operation, Uri>>,
}

impl Operations {
    /// Operations at `services`, each a URL such as `http://127.0.0.1:8081/add`; calls carry the request's
    /// id and trace context and are measured, because the client is wrapped in the kit's layer.
    pub fn remote(kit: &Kit, services: HashMap<Operation, Uri>) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let client = ServiceBuilder::new()
            .layer(kit.client_layer())
            .service(client);
        // Read within the call, so that every exchange ends where `call` ends.
        let client = client
            .map_err(BoxError::from)
            .and_then(async |response: Response<_>| {
                let (head, body) = response.into_parts();
                let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
                Ok(Response::from_parts(head, body))
            });
        Self::Remote(Remote {
            client: BoxCloneSyncService::new(client),
            services: Arc::new(services),
        })
    }

    /// Runs one operation.
    ///
    /// # Errors
    /// [`ApiError`], the same for either way of running it, and `Unavailable` over the network.
    pub async fn run(&self, operation: Operation, operands: Operands) -> Result<f64, ApiError> {
        match self {
            Self::InProcess => run_in_process(operation, operands),
            Self::Remote(remote) => remote.call(operation, operands).await,
        }
    }
}

#[tracing::instrument(level = "info", skip_all, fields(operation = operation.name()))]
fn run_in_process(operation: Operation, Operands { a, b }: Operands) -> Result<f64, ApiError> {
    Ok(operation.apply(a, b)?)
}

impl Remote {
    async fn call(&self, operation: Operation, operands: Operands) -> Result<f64, ApiError> {
        let service = operation.name();
        let unavailable = |cause: String| ApiError::Unavailable { service, cause };
        let request = self
            .request(operation, operands)
            .map_err(|e| unavailable(e.to_string()))?;
        let response = self
            .client
            .clone()
            .oneshot(request)
            .await
            .map_err(|e| unavailable(chain(&*e)))?;
        let (status, body) = (response.status(), response.body());
        if status.is_success() {
            let answer: Answer =
                serde_json::from_slice(body).map_err(|e| unavailable(e.to_string()))?;
            return Ok(answer.result);
        }
        Err(refusal(status, body).unwrap_or_else(|| unavailable(format!("answered {status}"))))
    }

    fn request(
        &self,
        operation: Operation,
        operands: Operands,
    ) -> Result<Request<Full<Bytes>>, BoxError> {
        let uri = self
            .services
            .get(&operation)
            .ok_or("its URL is not configured")?;
        Ok(Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(serde_json::to_vec(&operands)?))?)
    }
}

/// The service's own 4xx answer, to be passed on.
fn refusal(status: StatusCode, body: &[u8]) -> Option<ApiError> {
    #[derive(Deserialize)]
    struct Body {
        error: Fault,
    }
    #[derive(Deserialize)]
    struct Fault {
        code: String,
        message: String,
    }
    let Body { error } = serde_json::from_slice(body)
        .ok()
        .filter(|_| status.is_client_error())?;
    Some(ApiError::Refused {
        status,
        code: error.code,
        message: error.message,
    })
}

/// An error with its causes, which is where hyper says what really happened.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
