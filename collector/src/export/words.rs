//! A peer's own words, as they may be told in logs, status and pages: on one line, not long, and without what we sent to
//! it in secret. Called by `outcome` and `peer`.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use memchr::memmem;

use crate::net::client::Reply;
use crate::net::rpc_status::RpcStatus;

/// Characters of an answer that are told.
const LONGEST: usize = 300;

/// Header values that are shorter are no secrets, and would take words out of texts.
const SHORTEST_SECRET: usize = 6;

/// `text` on one line, and no longer than somebody reads.
pub(super) fn told(text: &str) -> String {
    let one_line = text.trim().chars().take(LONGEST);
    one_line
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// The peer's words in the body of an answer over HTTP, as far as there are any that can be read.
pub(super) fn of_body(reply: &Reply) -> String {
    if is_encoded(reply) {
        return String::new();
    }
    if has_type(reply, "application/x-protobuf") {
        return told(&RpcStatus::from_protobuf(&reply.body).message);
    }
    told(&String::from_utf8_lossy(&reply.body))
}

/// Whether an answer's body is of this media type, and can be read.
pub(super) fn is_readable(reply: &Reply, media_type: &str) -> bool {
    has_type(reply, media_type) && !is_encoded(reply)
}

/// Whether an answer is a page for people: a login, a proxy or another server speaks, not a receiver of spans.
pub(super) fn is_web_page(reply: &Reply) -> bool {
    has_type(reply, "text/html") && reply.body.trim_ascii_start().starts_with(b"<")
}

/// We ask for no encoding and read none.
fn is_encoded(reply: &Reply) -> bool {
    let encoding = reply.headers.get(header::CONTENT_ENCODING);
    encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn has_type(reply: &Reply, media_type: &str) -> bool {
    let told = reply.headers.get(header::CONTENT_TYPE);
    told.and_then(|value| value.as_bytes().get(..media_type.len()))
        .is_some_and(|told| told.eq_ignore_ascii_case(media_type.as_bytes()))
}

/// Puts asterisks wherever `reply` repeats the value of a sensitive header of those that were `sent`, or what follows
/// the scheme in it (`Bearer …`). As many as it had bytes, so that what is around it reads as before.
pub(super) fn hide(sent: &HeaderMap, reply: &mut Reply) {
    for secret in sent.values().filter(|value| value.is_sensitive()) {
        let whole = secret.as_bytes();
        let behind_scheme = memchr::memchr(b' ', whole).and_then(|at| whole.get(at + 1..));
        for secret in [Some(whole), behind_scheme].into_iter().flatten() {
            if secret.len() >= SHORTEST_SECRET {
                hide_one(secret, reply);
            }
        }
    }
}

fn hide_one(secret: &[u8], reply: &mut Reply) {
    if let Some(hidden) = without(secret, &reply.body) {
        reply.body = Bytes::from(hidden);
    }
    let values = reply
        .headers
        .values_mut()
        .chain(reply.trailers.values_mut());
    for value in values {
        let hidden = without(secret, value.as_bytes());
        if let Some(Ok(hidden)) = hidden.map(|hidden| HeaderValue::from_bytes(&hidden)) {
            *value = hidden;
        }
    }
}

/// `text` with asterisks for `secret`; `None` when it is not in it.
fn without(secret: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let mut places = memmem::find_iter(text, secret).peekable();
    places.peek()?;
    let mut hidden = text.to_vec();
    for at in places {
        if let Some(place) = hidden.get_mut(at..at + secret.len()) {
            place.fill(b'*');
        }
    }
    Some(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::rpc_status::Code;
    use http::StatusCode;

    fn reply(headers: &[(&'static str, &str)], body: &[u8]) -> Reply {
        let mut reply = Reply {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body),
            trailers: HeaderMap::new(),
        };
        for (name, value) in headers {
            reply.headers.insert(*name, value.parse().unwrap());
        }
        reply
    }

    #[test]
    fn words_are_on_one_line_and_not_long() {
        assert_eq!(told(" a\x1b[31m\r\nb\t "), "a [31m  b");
        assert_eq!(told(&"é".repeat(70_000)), "é".repeat(LONGEST));
    }

    #[test]
    fn what_cannot_be_read_is_not_told() {
        let check = |headers: &[(&'static str, &str)], body: &[u8], expected: &str| {
            assert_eq!(of_body(&reply(headers, body)), expected, "{headers:?}");
        };
        check(&[], b"why", "why");
        check(&[("content-encoding", "identity")], b"why", "why");
        check(&[("content-encoding", "gzip")], b"\x1f\x8b\x08", "");
        let status = RpcStatus::new(Code::InvalidArgument, "no").to_protobuf();
        check(&[("content-type", "Application/X-Protobuf")], &status, "no");
    }

    #[test]
    fn pages_are_known_by_what_they_are() {
        let is_page = |kind, body: &[u8]| is_web_page(&reply(&[("content-type", kind)], body));
        assert!(is_page("text/html; charset=utf-8", b"\n<!doctype html>"));
        assert!(is_page("Text/HTML", b"<html>"));
        // What frameworks say of an empty answer, too.
        assert!(!is_page("text/html", b""));
        assert!(!is_page("text/html", b"ok"));
        assert!(!is_page("application/x-protobuf", b"<"));
    }

    #[test]
    fn what_was_sent_in_secret_is_hidden_wherever_it_is_repeated() {
        let mut sent = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer s3cr3t-1"),
            ("x-key", "s3cr3t-2"),
            ("x-team", "shop"),
            ("user-agent", "bellwether"),
        ] {
            let mut value = HeaderValue::from_static(value);
            value.set_sensitive(name != "user-agent");
            sent.insert(name, value);
        }
        let text = "bellwether of shop: Bearer token s3cr3t-1 (Bearer s3cr3t-1), s3cr3t-2s3cr3t-2";
        let mut got = reply(&[("location", "/a?s3cr3t-1")], text.as_bytes());
        got.trailers
            .insert("grpc-message", "no%20s3cr3t-2!".parse().unwrap());
        hide(&sent, &mut got);
        let expected =
            "bellwether of shop: Bearer token ******** (***************), ****************";
        assert_eq!(got.body, expected);
        assert_eq!(got.headers["location"], "/a?********");
        assert_eq!(got.trailers["grpc-message"], "no%20********!");
        let length = text.len();
        assert_eq!(
            got.body.len(),
            length,
            "messages around it keep their lengths"
        );
    }
}
