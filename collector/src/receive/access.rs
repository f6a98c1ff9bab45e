//! Who may send: asked of every request before a byte of its body is read. Stands before each receiver's own answer.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;

use super::Receiver;
use super::cors::Cors;
use super::http::Failure;
use super::tokens::Tokens;
use crate::net::body::{Answer, discard};
use crate::net::grpc;
use crate::net::reload::Live;
use crate::net::rpc_status::Code;
use crate::net::seldom::Seldom;
use crate::status::add;

/// What a receiver asks of requests.
#[derive(Debug, Default)]
pub struct Access {
    /// One of these tokens; `None`: none.
    pub tokens: Option<Live<Tokens>>,
    /// Whose pages may send; `None`: nothing is said to browsers.
    pub cors: Option<Cors>,
    /// How often requests are refused is told now and then only.
    pub denied: Seldom,
}

/// Of a body that nobody reads, as much as makes it likely that its sender reads the answer.
const MOST_DISCARDED_BYTES: usize = 64 * 1024;

/// Lets `request` through to `answer`, or refuses it, which `refuse` writes. A browser's question whether it may send is
/// answered here, too: it comes without a token.
pub(super) async fn guard<B, F>(
    receiver: &Receiver,
    request: Request<B>,
    refuse: fn(&HeaderMap, &Failure) -> Response<Answer>,
    answer: impl FnOnce(Request<B>) -> F,
) -> Response<Answer>
where
    B: Body<Data = Bytes>,
    F: Future<Output = Response<Answer>>,
{
    let Some(cors) = &receiver.access.cors else {
        return with_token(receiver, request, refuse, answer).await;
    };
    if let Some(response) = cors.preflight(request.method(), request.headers()) {
        return response;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = with_token(receiver, request, refuse, answer).await;
    cors.tell(origin.as_ref(), &mut response);
    response
}

async fn with_token<B, F>(
    receiver: &Receiver,
    request: Request<B>,
    refuse: fn(&HeaderMap, &Failure) -> Response<Answer>,
    answer: impl FnOnce(Request<B>) -> F,
) -> Response<Answer>
where
    B: Body<Data = Bytes>,
    F: Future<Output = Response<Answer>>,
{
    let tokens = receiver.access.tokens.as_ref();
    if tokens.is_none_or(|tokens| tokens.now().let_in(request.headers())) {
        return answer(request).await;
    }
    let failure = denied(receiver, request.headers());
    let (head, body) = request.into_parts();
    discard(pin!(body), MOST_DISCARDED_BYTES).await;
    if grpc::is_grpc(&head.headers) {
        return grpc::failure(&failure.status);
    }
    let mut response = refuse(&head.headers, &failure);
    let scheme = HeaderValue::from_static("Bearer");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, scheme);
    response
}

/// The refusal, counted and now and then told.
fn denied(receiver: &Receiver, headers: &HeaderMap) -> Failure {
    let text = match headers.get(header::AUTHORIZATION) {
        None => "a token is needed here: send the header authorization: Bearer TOKEN",
        Some(_) => "the token is not one of those that are valid here",
    };
    add(&receiver.status.denied_requests, 1);
    receiver.status.last_error.set(text);
    if let Some(requests) = receiver.access.denied.count() {
        let protocol = receiver.status.protocol;
        tracing::warn!(
            protocol,
            requests,
            reason = text,
            "requests were refused, the last one for this reason"
        );
    }
    Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, text)
}
