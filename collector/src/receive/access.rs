//! Which requests are heard: asked of every head before a byte of its body is read. Stands before each receiver's own answer.

use std::pin::pin;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::Body;

use super::Receiver;
use super::cors::{Cors, Told};
use super::http::{Failure, Form};
use super::tokens::Tokens;
use crate::budget::Reservation;
use crate::net::body::{Answer, discard};
use crate::net::grpc::RETRY_AFTER;
use crate::net::reload::Live;
use crate::net::rpc_status::{Code, RpcStatus};
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

/// What a request costs while it is under way, its body aside: a stream of HTTP/2, a task, what waits for a disk.
pub const REQUEST_BYTES: usize = 8 * 1024;

/// A request whose head was looked at, and is held no more: what thousands of heads say would be more memory than all bodies
/// may have, and HTTP/2 lets a few bytes stand for a head of 16 KiB.
pub(super) struct Attended<T, B> {
    looked: Result<Admitted<T>, Refusal>,
    body: B,
    told: Option<Told>,
}

/// What a receiver is to those who knock.
pub(super) struct Port<T> {
    /// How it tells its senders what went wrong.
    pub(super) form: fn(&Parts) -> Form,
    /// Checks everything else that can be told from the head of a request.
    pub(super) look: fn(&Receiver, &Parts) -> Result<T, Refusal>,
    /// Whether pages of the origins that may send have a use for it: what spans say is not for every page that sends some.
    pub(super) is_for_pages: bool,
}

struct Admitted<T> {
    accepted: T,
    _room: Reservation,
}

/// The answer to a request that its head alone refuses.
pub(super) struct Refusal {
    response: Box<Response<Answer>>,
    /// Bytes of its body to read and drop at most, so that the sender reads the answer.
    discard: usize,
    _room: Option<Reservation>,
}

impl Refusal {
    pub(super) fn new(response: Response<Answer>, discard: usize) -> Self {
        Self {
            response: Box::new(response),
            discard,
            _room: None,
        }
    }
}

/// Looks at the head of `request` at once: whether there is room for it, whether it may come in, then what `port` says of
/// it. A browser's question whether it may send is answered here, too: it comes without a token.
pub(super) fn attend<B, T>(
    receiver: &Receiver,
    request: Request<B>,
    port: &Port<T>,
) -> Attended<T, B> {
    let (head, body) = request.into_parts();
    let cors = receiver.access.cors.as_ref();
    let cors = cors.filter(|_| port.is_for_pages);
    let preflight = cors.and_then(|cors| cors.preflight(&head.method, &head.headers));
    let looked = match preflight {
        Some(response) => Err(Refusal::new(response, 0)),
        None => admit(receiver, &head, port),
    };
    let told = cors.map(|cors| cors.told(head.headers.get(header::ORIGIN)));
    Attended { looked, body, told }
}

fn admit<T>(receiver: &Receiver, head: &Parts, port: &Port<T>) -> Result<Admitted<T>, Refusal> {
    let Some(room) = receiver.requests.reserve(REQUEST_BYTES) else {
        return Err(crowded(receiver, head, (port.form)(head)));
    };
    let tokens = receiver.access.tokens.as_ref();
    let is_let_in = tokens.is_none_or(|tokens| tokens.now().let_in(&head.headers));
    let looked = if is_let_in {
        (port.look)(receiver, head)
    } else {
        Err(denied(receiver, head, (port.form)(head)))
    };
    match looked {
        Ok(accepted) => Ok(Admitted {
            accepted,
            _room: room,
        }),
        Err(refusal) => Err(Refusal {
            _room: Some(room),
            ..refusal
        }),
    }
}

impl<T, B> Attended<T, B>
where
    B: Body<Data = Bytes>,
{
    /// The answer, which `take` gives to a request that was let in.
    pub(super) async fn answer<F, A>(self, take: impl FnOnce(T, B) -> F) -> Response<A>
    where
        F: Future<Output = Response<A>>,
        A: From<Answer>,
    {
        let mut response = match self.looked {
            // In an allocation of its own: of those that are refused there may be many at once, and they shall be small.
            Ok(Admitted { accepted, _room }) => Box::pin(take(accepted, self.body)).await,
            Err(refusal) => {
                if refusal.discard > 0 {
                    discard(pin!(self.body), refusal.discard).await;
                }
                refusal.response.map(A::from)
            }
        };
        if let Some(told) = self.told {
            told.put(&mut response);
        }
        response
    }
}

/// The refusal of a request for which there is no room. One of many over HTTP/2 is not waited for: to answer it before its end
/// costs its connection nothing there.
pub(super) fn crowded(receiver: &Receiver, head: &Parts, form: Form) -> Refusal {
    let text = "as many requests are under way as the memory limit allows; send this one again";
    let status = RpcStatus::unavailable(text, RETRY_AFTER);
    // Who only asks loses no spans.
    if head.method != Method::GET {
        receiver.count_refusal(&status);
    }
    let discard = match head.version {
        Version::HTTP_2 => 0,
        _ => MOST_DISCARDED_BYTES,
    };
    Refusal::new(form.answer(&Failure::from(status)), discard)
}

/// The refusal of a request without a token, counted and now and then told.
fn denied(receiver: &Receiver, head: &Parts, form: Form) -> Refusal {
    let text = match head.headers.get(header::AUTHORIZATION) {
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
    let failure = Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, text)
        .allow(header::WWW_AUTHENTICATE, "Bearer");
    Refusal::new(form.answer(&failure), MOST_DISCARDED_BYTES)
}
