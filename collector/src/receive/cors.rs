//! Which pages of browsers may send here (Fetch standard, section CORS protocol), for OTLP over HTTP and Zipkin. `config`
//! reads what is allowed, `access` asks it of each request. Without configuration nothing of it is ever said.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::net::body::Answer;

/// What browsers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages may send.
    pub origins: Vec<Origin>,
    /// Names of headers that they may send beside those every sender of spans needs.
    pub headers: Vec<HeaderName>,
    /// How long a browser may go by one answer.
    pub max_age: Duration,
}

/// Origins that are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// All.
    Any,
    /// One, as browsers write it.
    Exact(String),
    /// One name in place of the `*` below a host.
    Subdomain {
        /// `https://`
        scheme: String,
        /// `.example.com`, with its port.
        rest: String,
    },
}

/// A text that names no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write http:// or https:// and a host, with its port if it is not the scheme's own and nothing behind it, as in \
     https://shop.example.com; *. in the place of its first name (https://*.example.com), or * alone for all"
)]
pub struct NoOrigin;

/// What an answer says to a page: its origin if that is allowed, and whether it is by its name.
pub(super) struct Told(Option<(HeaderValue, bool)>);

/// What every sender of spans needs.
const ALWAYS: &str = "authorization, content-encoding, content-type";

impl Cors {
    /// The answer to a browser that asks before it sends; `None` for any other request.
    pub(super) fn preflight(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<Response<Answer>> {
        let asks = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let origin = headers.get(header::ORIGIN)?;
        if method != Method::OPTIONS || !asks {
            return None;
        }
        let mut response = Response::new(Answer::default());
        if self.allowed(origin).is_none() {
            let text = "pages of this origin may not send here (cors.origins)\n";
            response = Response::new(Answer::data(text));
            *response.status_mut() = StatusCode::FORBIDDEN;
        } else {
            *response.status_mut() = StatusCode::NO_CONTENT;
            let to = response.headers_mut();
            to.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("POST"),
            );
            to.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.allowed_headers());
            let seconds = HeaderValue::from(self.max_age.as_secs());
            to.insert(header::ACCESS_CONTROL_MAX_AGE, seconds);
        }
        let vary = "access-control-request-method, access-control-request-headers";
        let to = response.headers_mut();
        to.append(header::VARY, HeaderValue::from_static(vary));
        Some(response)
    }

    /// What answers to a page of `origin` say of it.
    pub(super) fn told(&self, origin: Option<&HeaderValue>) -> Told {
        Told(origin.and_then(|origin| self.allowed(origin)))
    }

    /// What to say to `origin` if it is allowed, and whether it is by its name.
    fn allowed(&self, origin: &HeaderValue) -> Option<(HeaderValue, bool)> {
        let text = origin.to_str().ok()?;
        if self.origins.iter().any(|allowed| allowed.names(text)) {
            // A copy: the value itself would hold the bytes of the whole head.
            let copy = HeaderValue::from_bytes(origin.as_bytes()).ok()?;
            return Some((copy, true));
        }
        let any = self.origins.contains(&Origin::Any);
        any.then(|| (HeaderValue::from_static("*"), false))
    }

    fn allowed_headers(&self) -> HeaderValue {
        let mut names = ALWAYS.to_owned();
        for name in &self.headers {
            names.push_str(", ");
            names.push_str(name.as_str());
        }
        // Names of headers are characters that a value may have.
        HeaderValue::from_str(&names).unwrap_or(HeaderValue::from_static(ALWAYS))
    }
}

impl Told {
    /// Says in an answer whether the page may read it.
    pub(super) fn put<A>(self, response: &mut Response<A>) {
        let headers = response.headers_mut();
        // A cache must not give one origin's answer to another.
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let Some((allowed, by_name)) = self.0 else {
            return;
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let retry_after = HeaderValue::from_static("retry-after");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, retry_after);
        if by_name {
            // What a page sends while it is being closed (`sendBeacon`) always comes with credentials.
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}

impl Origin {
    /// Whether it is `origin`, or the pattern of it.
    fn names(&self, origin: &str) -> bool {
        match self {
            Self::Any => false,
            Self::Exact(exact) => exact == origin,
            Self::Subdomain { scheme, rest } => {
                let name = origin
                    .strip_prefix(scheme.as_str())
                    .and_then(|host| host.strip_suffix(rest.as_str()));
                name.is_some_and(is_name)
            }
        }
    }
}

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, own_port) = [("http://", ":80"), ("https://", ":443")]
            .into_iter()
            .find(|(scheme, _)| text.starts_with(scheme))
            .ok_or(NoOrigin)?;
        let rest = text.get(scheme.len()..).unwrap_or_default();
        // Browsers leave the scheme's own port out.
        let rest = rest.strip_suffix(own_port).unwrap_or(rest);
        match rest.strip_prefix("*.") {
            Some(host) if is_host(host) && host.contains('.') => Ok(Self::Subdomain {
                scheme: scheme.to_owned(),
                rest: format!(".{host}"),
            }),
            None if is_host(rest) => Ok(Self::Exact(format!("{scheme}{rest}"))),
            _ => Err(NoOrigin),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(origin) => f.write_str(origin),
            Self::Subdomain { scheme, rest } => write!(f, "{scheme}*{rest}"),
        }
    }
}

/// A host with or without a port.
fn is_host(text: &str) -> bool {
    let is_port = |port: &str| {
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        digits && port.parse::<u16>().is_ok()
    };
    // An IPv6 address has colons of its own.
    let (host, port) = match text.rfind(']') {
        Some(end) => text.split_at(end + 1),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_address = address.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_named = host.split('.').all(is_name);
    let has_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    (is_address || is_named) && has_port
}

/// One name of a host's.
fn is_name(text: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !text.is_empty() && text.bytes().all(of_name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn origins_are_written_as_browsers_do() {
        let check = |text: &str, expected: &str| {
            let origin: Origin = text.parse().unwrap();
            assert_eq!(origin.to_string(), expected);
        };
        check("*", "*");
        check(" https://Shop.Example.com ", "https://shop.example.com");
        check("https://shop.example.com:443", "https://shop.example.com");
        check("http://localhost:3000", "http://localhost:3000");
        check("http://[::1]:80", "http://[::1]");
        check("https://*.example.com:8443", "https://*.example.com:8443");
        for wrong in [
            "",
            "null",
            "shop.example.com",
            "https://",
            "https://shop.example.com/",
            "https://shop.example.com?a",
            "https://me@shop.example.com",
            "https://*",
            "https://*.com",
            "https://*.*.example.com",
            "https://shop.*.com",
            "https://a*.example.com",
            "https://a:0x50",
            "https://a:70000",
            "https://a:",
            "https://[zz]",
            "ftp://a",
        ] {
            assert_eq!(wrong.parse::<Origin>(), Err(NoOrigin), "{wrong}");
        }
    }

    #[test]
    fn a_star_stands_for_one_name() {
        let check = |pattern: &str, origin: &str, expected: bool| {
            let pattern: Origin = pattern.parse().unwrap();
            assert_eq!(pattern.names(origin), expected, "{pattern} {origin}");
        };
        check("https://*.example.com", "https://shop.example.com", true);
        check("https://*.example.com", "https://example.com", false);
        check("https://*.example.com", "https://.example.com", false);
        check("https://*.example.com", "https://a.b.example.com", false);
        check("https://*.example.com", "http://shop.example.com", false);
        check(
            "https://*.example.com",
            "https://shop.example.com:8443",
            false,
        );
        check(
            "https://*.example.com",
            "https://shop.example.com.evil",
            false,
        );
        check("https://*.example.com", "https://evil/.example.com", false);
        check("https://a.example.com", "https://a.example.com", true);
        check("https://a.example.com", "https://b.example.com", false);
    }

    fn cors(origins: &[&str]) -> Cors {
        Cors {
            origins: origins
                .iter()
                .map(|origin| origin.parse().unwrap())
                .collect(),
            headers: vec![HeaderName::from_static("x-team")],
            max_age: Duration::from_secs(600),
        }
    }

    fn preflight(origins: &[&str], origin: &str) -> Response<Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(
            header::ACCESS_CONTROL_REQUEST_METHOD,
            "POST".parse().unwrap(),
        );
        let cors = cors(origins);
        let answer = cors.preflight(&Method::OPTIONS, &headers);
        let mut answer = answer.expect("a preflight");
        cors.told(headers.get(header::ORIGIN)).put(&mut answer);
        answer
    }

    #[test]
    fn a_preflight_is_told_what_may_be_sent() {
        let response = preflight(&["https://a.example"], "https://a.example");
        assert_eq!(response.status(), 204);
        let headers = response.headers();
        assert_eq!(headers["access-control-allow-origin"], "https://a.example");
        assert_eq!(headers["access-control-allow-credentials"], "true");
        assert_eq!(headers["access-control-allow-methods"], "POST");
        let allowed = "authorization, content-encoding, content-type, x-team";
        assert_eq!(headers["access-control-allow-headers"], allowed);
        assert_eq!(headers["access-control-max-age"], "600");
        let vary: Vec<_> = headers.get_all("vary").iter().collect();
        assert_eq!(
            vary,
            [
                "access-control-request-method, access-control-request-headers",
                "origin"
            ]
        );
    }

    #[test]
    fn all_are_allowed_without_credentials_and_others_not_at_all() {
        let response = preflight(&["*"], "https://any.example");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert!(
            !response
                .headers()
                .contains_key("access-control-allow-credentials")
        );
        let response = preflight(&["*", "https://a.example"], "https://a.example");
        assert_eq!(
            response.headers()["access-control-allow-origin"],
            "https://a.example"
        );
        let response = preflight(&["https://a.example"], "https://b.example");
        assert_eq!(response.status(), 403);
        assert!(
            !response
                .headers()
                .contains_key("access-control-allow-origin")
        );
        assert_eq!(response.headers().get_all("vary").iter().count(), 2);
    }

    #[test]
    fn only_a_preflight_is_answered_so() {
        let mut headers = HeaderMap::new();
        let cors = cors(&["*"]);
        assert!(cors.preflight(&Method::OPTIONS, &headers).is_none());
        headers.insert(header::ORIGIN, "https://a.example".parse().unwrap());
        assert!(cors.preflight(&Method::OPTIONS, &headers).is_none());
        headers.insert(
            header::ACCESS_CONTROL_REQUEST_METHOD,
            "POST".parse().unwrap(),
        );
        assert!(cors.preflight(&Method::POST, &headers).is_none());
        assert!(cors.preflight(&Method::OPTIONS, &headers).is_some());
    }

    proptest! {
        #[test]
        fn any_text_is_an_origin_or_refused(text in "(https?://)?[a-z*.:\\[\\]0-9/@-]{0,30}") {
            if let Ok(origin) = text.parse::<Origin>() {
                prop_assert_eq!(origin.to_string().parse(), Ok(origin));
            }
        }
    }
}
