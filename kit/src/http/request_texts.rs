//! The texts of a request that outlive it: copied once, together, when its exchange begins.

use std::ops::Range;

use ::http::Request;

use super::caller::Present;
use super::host::{is_name_alone, split_host_port};
use super::method::KnownMethod;
use super::text::{MAX_TEXT, clip, clip_bytes};
use crate::log::Received;

/// What the log line and the span say in the request's own words, each at most [`MAX_TEXT`] bytes.
#[derive(Debug, Default)]
pub(super) struct RequestTexts {
    buffer: TextBuffer,
    path: Range<usize>,
    user_agent: Option<Range<usize>>,
    /// `None` for a request that has no span.
    span: Option<SpanTexts>,
}

/// What only a span says.
#[derive(Debug)]
struct SpanTexts {
    /// The method as received, when it is not a known one.
    method_original: Option<Range<usize>>,
    server_address: Option<Range<usize>>,
    server_port: Option<u16>,
}

impl RequestTexts {
    pub(super) fn copy<B>(&mut self, request: &Request<B>, present: &Present<'_>, for_span: bool) {
        let buffer = &mut self.buffer;
        self.path = buffer.push(clip(request.uri().path()).as_bytes());
        if let Some(agent) = present.user_agent {
            self.user_agent = Some(buffer.push(clip_bytes(agent.as_bytes())));
        }
        if for_span {
            self.span = Some(SpanTexts::copy(request, present, buffer));
        }
    }

    pub(super) fn path(&self) -> &str {
        let path = self.buffer.get(&self.path);
        std::str::from_utf8(path).unwrap_or_default()
    }

    /// Path and user agent for the log, which need not know of either that it is UTF-8.
    pub(super) fn received(&self) -> (Received<'_>, Option<Received<'_>>) {
        let Some(agent) = &self.user_agent else {
            return (Received::new(self.buffer.get(&self.path)), None);
        };
        // The first two, and nothing lies between them.
        let (path, agent) = Received::two(self.buffer.get(&(0..agent.end)), self.path.len());
        (path, Some(agent))
    }

    /// As received: it need not be UTF-8.
    pub(super) fn user_agent(&self) -> Option<&[u8]> {
        let agent = self.user_agent.as_ref()?;
        Some(self.buffer.get(agent))
    }

    /// The method as received, of a request that has a span, when it is not a known one.
    pub(super) fn method_original(&self) -> Option<&[u8]> {
        let method = self.span.as_ref()?.method_original.as_ref()?;
        Some(self.buffer.get(method))
    }

    /// Host and port that the caller asked for, of a request that has a span.
    pub(super) fn server_address(&self) -> Option<(&[u8], Option<u16>)> {
        let span = self.span.as_ref()?;
        let address = span.server_address.as_ref()?;
        Some((self.buffer.get(address), span.server_port))
    }
}

impl SpanTexts {
    fn copy<B>(request: &Request<B>, present: &Present<'_>, buffer: &mut TextBuffer) -> Self {
        let unknown = KnownMethod::of(request.method()) == KnownMethod::Other;
        let (host, port) = asked_for(request, present);
        Self {
            method_original: unknown.then(|| buffer.push(request.method().as_str().as_bytes())),
            server_address: (!host.is_empty()).then(|| buffer.push(host)),
            server_port: port,
        }
    }
}

/// The host and the port that the caller asked for: those of `:authority` or an absolute URI, else of `Host`.
fn asked_for<'a, B>(request: &'a Request<B>, present: &Present<'a>) -> (&'a [u8], Option<u16>) {
    let text = match (request.uri().authority(), present.host) {
        (Some(authority), _) => Some(authority.as_str()),
        (None, Some(host)) if is_name_alone(host.as_bytes()) => {
            return (clip_bytes(host.as_bytes()), None);
        }
        (None, host) => host.and_then(|host| host.to_str().ok()),
    };
    let (host, port) = text.map(split_host_port).unwrap_or_default();
    (clip(host).as_bytes(), port)
}

/// Texts one behind the other; those of nearly all requests fit in place.
#[derive(Debug)]
struct TextBuffer {
    short: [u8; Self::SHORT],
    len: usize,
    /// All of them, once they no longer fit in place.
    long: Vec<u8>,
}

impl TextBuffer {
    /// Room for a path, a host and the user agent of a library or of most browsers.
    const SHORT: usize = 256;

    fn push(&mut self, text: &[u8]) -> Range<usize> {
        let text = text.get(..MAX_TEXT).unwrap_or(text);
        let start = self.as_ref().len();
        let range = start..start + text.len();
        match self.short.get_mut(range.clone()) {
            Some(place) if self.long.is_empty() => {
                place.copy_from_slice(text);
                self.len = range.end;
            }
            _ => self.push_long(text),
        }
        range
    }

    #[cold]
    fn push_long(&mut self, text: &[u8]) {
        if self.long.is_empty() {
            let short = self.short.get(..self.len).unwrap_or_default();
            self.long.extend_from_slice(short);
        }
        self.long.extend_from_slice(text);
    }

    fn get(&self, range: &Range<usize>) -> &[u8] {
        self.as_ref().get(range.clone()).unwrap_or_default()
    }
}

impl Default for TextBuffer {
    fn default() -> Self {
        Self {
            short: [0; Self::SHORT],
            len: 0,
            long: Vec::new(),
        }
    }
}

impl AsRef<[u8]> for TextBuffer {
    fn as_ref(&self) -> &[u8] {
        if self.long.is_empty() {
            self.short.get(..self.len).unwrap_or_default()
        } else {
            &self.long
        }
    }
}

#[cfg(test)]
mod tests {
    use ::http::header::{HOST, USER_AGENT};

    use super::*;
    use crate::http::names::BAGGAGE;

    #[test]
    fn texts_come_back_as_they_were_in_place_or_not() {
        for agent in ["curl/8".to_owned(), "a".repeat(250), "é".repeat(MAX_TEXT)] {
            let agent = ::http::HeaderValue::from_bytes(agent.as_bytes()).unwrap();
            let request = Request::builder()
                .uri("/a/b?c")
                .method("BREW")
                .header(USER_AGENT, &agent)
                .header(HOST, "shop.example:8080")
                .body(())
                .unwrap();
            let mut texts = RequestTexts::default();
            let present = Present::of(request.headers(), &BAGGAGE);
            texts.copy(&request, &present, true);
            let kept = agent.as_bytes().get(..MAX_TEXT).unwrap_or(agent.as_bytes());
            assert_eq!(texts.path(), "/a/b");
            assert_eq!(texts.user_agent(), Some(kept));
            assert_eq!(texts.method_original(), Some(&b"BREW"[..]));
            let asked_for = (&b"shop.example"[..], Some(8080));
            assert_eq!(texts.server_address(), Some(asked_for));
        }
    }
}
