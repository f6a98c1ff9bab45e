//! Questions at Zipkin's port: let in as spans are, then handed to whoever answers them. Called by `zipkin`.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use tower_service::Service as _;

use super::super::Receiver;
use super::super::access::{Port, Refusal, crowded};
use super::super::http::{Failure, Form};
use super::form;
use crate::budget::Reservation;
use crate::net::body::Answer;
use crate::net::rpc_status::Code;

pub(super) const QUESTIONS: Port<Question> = Port {
    form,
    look: Question::of,
    is_for_pages: false,
};

/// What of a request asks something, in memory of its own that is reserved.
pub(super) struct Question {
    request: Box<Request<Body>>,
    _room: Reservation,
}

/// Whether a request asks for spans instead of sending some.
pub(super) fn is_question<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    matches!(*request.method(), Method::GET | Method::HEAD)
        && (path.starts_with("/api/v2/") || path.starts_with("/zipkin/"))
}

impl Question {
    fn of(receiver: &Receiver, head: &Parts) -> Result<Self, Refusal> {
        let uri = head.uri.to_string();
        // More than one is refused by who answers.
        let hosts = || head.headers.get_all(header::HOST).iter().take(2);
        let bytes = uri.len() + hosts().map(HeaderValue::len).sum::<usize>();
        let Some(room) = receiver.requests.reserve(bytes) else {
            return Err(crowded(receiver, head, form(head)));
        };
        let mut request = Request::new(Body::empty());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri.parse::<Uri>().map_err(|error| unreadable(&error))?;
        for host in hosts() {
            let host =
                HeaderValue::from_bytes(host.as_bytes()).map_err(|error| unreadable(&error))?;
            request.headers_mut().append(header::HOST, host);
        }
        Ok(Self {
            request: Box::new(request),
            _room: room,
        })
    }

    pub(super) async fn answer(self, mut answers: Router) -> Response<Body> {
        let answered: Result<_, Infallible> = answers.call(*self.request).await;
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn unreadable(error: &dyn std::error::Error) -> Refusal {
    let text = format!("the request cannot be read: {error}");
    let failure = Failure::new(http::StatusCode::BAD_REQUEST, Code::InvalidArgument, text);
    Refusal::new(Form::Text.answer(&failure), 0)
}

impl From<Answer> for Body {
    fn from(answer: Answer) -> Self {
        Self::new(answer)
    }
}
