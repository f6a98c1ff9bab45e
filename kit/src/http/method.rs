//! The request method as spans and metrics name it: known, or `_OTHER` (HTTP semantic conventions), so
//! that no caller can invent series.

use ::http::Method;

/// RFC 9110, PATCH (RFC 5789) and QUERY; `Other` for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownMethod {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    Query,
    Other,
}

impl KnownMethod {
    pub(super) const COUNT: usize = Self::Other as usize + 1;

    pub(super) fn of(method: &Method) -> Self {
        match method.as_str() {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "PATCH" => Self::Patch,
            "QUERY" => Self::Query,
            _ => Self::Other,
        }
    }

    /// `http.request.method`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Query => "QUERY",
            Self::Other => "_OTHER",
        }
    }

    /// The method part of a span name: `HTTP` stands for unknown ones.
    pub(super) const fn span_name(self) -> &'static str {
        match self {
            Self::Other => "HTTP",
            known => known.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_methods_keep_their_name_and_others_share_one() {
        for known in [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::CONNECT,
            Method::OPTIONS,
            Method::TRACE,
            Method::PATCH,
            Method::from_bytes(b"QUERY").unwrap(),
        ] {
            let method = KnownMethod::of(&known);
            assert_eq!(method.as_str(), known.as_str());
            assert_eq!(method.span_name(), known.as_str());
        }
        for other in ["get", "BREW", "_OTHER"] {
            let method = KnownMethod::of(&Method::from_bytes(other.as_bytes()).unwrap());
            assert_eq!((method.as_str(), method.span_name()), ("_OTHER", "HTTP"));
        }
    }
}
