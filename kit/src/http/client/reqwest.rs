//! The client layer for reqwest, as a middleware of `reqwest-middleware`. Made by `Kit::reqwest_middleware`.

use std::fmt;
use std::mem;
use std::sync::Arc;

use ::http::{Extensions, Request, Response};
use ::reqwest::{Body, ResponseBuilderExt as _, Url};
use reqwest_middleware::{Error, Middleware, Next, Result};

use super::failure::{self, Failure, causes};
use super::{Call, ClientBody, OpenCall};
use crate::http::Telemetry;
use crate::http::text::clip;

/// Makes calls of a reqwest client carry the current request's ids and settle, at the end of their response's
/// body, into a span and metrics: what [`ClientLayer`](crate::ClientLayer) does for other clients.
///
/// ```
/// use bellwether::Kit;
/// use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
///
/// fn http_client(kit: &Kit) -> ClientWithMiddleware {
///     ClientBuilder::new(reqwest::Client::new())
///         .with(kit.reqwest_middleware())
///         .build()
/// }
///
/// async fn stock(client: &ClientWithMiddleware) -> reqwest_middleware::Result<String> {
///     let response = client.get("http://127.0.0.1:8081/stock/7").send().await?;
///     Ok(response.text().await?)
/// }
/// ```
///
/// Added after a middleware that retries, it makes a span of each attempt; before it, one of them all.
/// Redirects that reqwest follows are part of the call that led to them.
#[derive(Clone)]
pub struct ReqwestMiddleware {
    telemetry: Arc<Telemetry>,
}

impl ReqwestMiddleware {
    pub(crate) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { telemetry }
    }
}

#[async_trait::async_trait]
impl Middleware for ReqwestMiddleware {
    async fn handle(
        &self,
        mut request: ::reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<::reqwest::Response> {
        let mut call = OpenCall::new(begin(&self.telemetry, &mut request));
        match next.run(request, extensions).await {
            Ok(response) => Ok(with_call(call, response)),
            Err(error) => {
                call.settle_failed(failure(&error));
                Err(error)
            }
        }
    }
}

/// The call as `http` has it; the headers go there and come back with the request's identity.
fn begin(telemetry: &Arc<Telemetry>, request: &mut ::reqwest::Request) -> Box<Call> {
    let mut twin = Request::new(());
    *twin.method_mut() = request.method().clone();
    // Every URL that reqwest sends is a URI; were one not, the call would have no address.
    *twin.uri_mut() = request.url().as_str().parse().unwrap_or_default();
    *twin.headers_mut() = mem::take(request.headers_mut());
    let call = Call::begin(telemetry, &twin);
    call.inject(twin.headers_mut());
    *request.headers_mut() = mem::take(twin.headers_mut());
    call
}

/// The response, whose body now ends the call. Going through `http`'s type, reqwest's loses its URL unless told.
fn with_call(mut call: OpenCall, response: ::reqwest::Response) -> ::reqwest::Response {
    let url = response.url().clone();
    let (mut parts, body) = Response::from(response).into_parts();
    call.head(parts.status, &parts.headers);
    if http_body::Body::is_end_stream(&body) {
        call.complete();
    }
    parts.extensions.extend(with_url(url));
    Response::from_parts(parts, Body::wrap(ClientBody::new(call, body))).into()
}

fn with_url(url: Url) -> Extensions {
    let response = Response::builder().url(url).body(());
    response
        .map(|response| response.into_parts().0.extensions)
        .unwrap_or_default()
}

fn failure(error: &Error) -> Failure {
    let kind = match of_reqwest(error) {
        Some(error) if error.is_timeout() => failure::TIMEOUT,
        Some(error) if error.is_connect() => failure::CONNECT,
        Some(_) => failure::TRANSPORT,
        None => "middleware_error",
    };
    Failure::new(kind, clip(&cause(error)).to_owned())
}

/// The error of reqwest's own, which a middleware that retries, say, puts into one of its own.
fn of_reqwest(error: &Error) -> Option<&::reqwest::Error> {
    match error {
        Error::Reqwest(error) => Some(error),
        Error::Middleware(error) => error.chain().find_map(|cause| {
            let nested = cause.downcast_ref::<Error>().and_then(of_reqwest);
            nested.or_else(|| cause.downcast_ref())
        }),
    }
}

/// The text of the last cause that is not reqwest's own error, bare or wrapped: that has the URL in it, query
/// and all.
fn cause(error: &Error) -> String {
    let first: &(dyn std::error::Error + 'static) = match error {
        Error::Reqwest(error) => error,
        Error::Middleware(error) => error.as_ref(),
    };
    let last = causes(first)
        .filter(|cause| !cause.is::<::reqwest::Error>() && !cause.is::<Error>())
        .last();
    last.map_or_else(|| "the call failed".to_owned(), ToString::to_string)
}

impl fmt::Debug for ReqwestMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestMiddleware").finish_non_exhaustive()
    }
}
