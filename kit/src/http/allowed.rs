//! What closing line and server span may show of headers and query strings: what operators name, and nothing
//! unless they do. Used by `exchange`, which notes it, and by `config`, which reads the names.

use std::borrow::Cow;

use ::http::header::HeaderValue;
use ::http::{HeaderMap, HeaderName, Uri};

use super::text::{MAX_TEXT, clip, clip_bytes};
use crate::config::percent_decode;
use crate::redact::{self, REDACTED};
use crate::trace::{TakeAttribute, ValueRef};

/// How many values of one header are shown.
const MAX_VALUES: usize = 8;

/// What all of a request's headers may add to its line and span, in bytes.
const MAX_BYTES: usize = 8 * 1024;

const QUERY: &str = "url.query";

/// The names that operators allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllowLists {
    /// `BELLWETHER_LOG_REQUEST_HEADERS`.
    pub(crate) request_headers: Vec<HeaderName>,
    /// `BELLWETHER_LOG_RESPONSE_HEADERS`.
    pub(crate) response_headers: Vec<HeaderName>,
    /// `BELLWETHER_LOG_QUERY_KEYS`.
    pub(crate) query_keys: Vec<String>,
}

/// The lists, made ready for requests.
#[derive(Debug)]
pub(crate) struct Allowed {
    request_headers: Vec<AllowedHeader>,
    response_headers: Vec<AllowedHeader>,
    query_keys: Vec<AllowedKey>,
}

#[derive(Debug)]
struct AllowedHeader {
    name: HeaderName,
    /// `http.request.header.NAME` or `http.response.header.NAME` (HTTP semantic conventions).
    attribute: &'static str,
    /// Allowed and secret: that it was there is all that is shown.
    secret: bool,
}

#[derive(Debug)]
struct AllowedKey {
    name: String,
    secret: bool,
}

/// A header or the query, as line and span show it.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) key: &'static str,
    /// One for the query, one for each header line of the name.
    values: Vec<String>,
}

impl Allowed {
    /// `None` when nothing is allowed, which costs a request one branch.
    pub(crate) fn new(lists: &AllowLists) -> Option<Self> {
        if *lists == AllowLists::default() {
            return None;
        }
        let headers = |prefix: &str, names: &[HeaderName]| {
            let header = |name: &HeaderName| AllowedHeader::new(prefix, name);
            names.iter().map(header).collect()
        };
        let key = |name: &String| AllowedKey {
            secret: redact::is_secret(name),
            name: name.clone(),
        };
        Some(Self {
            request_headers: headers("http.request.header", &lists.request_headers),
            response_headers: headers("http.response.header", &lists.response_headers),
            query_keys: lists.query_keys.iter().map(key).collect(),
        })
    }

    pub(crate) fn of_request(&self, uri: &Uri, headers: &HeaderMap, shown: &mut Vec<Shown>) {
        shown.extend(uri.query().and_then(|query| self.query(query)));
        add(&self.request_headers, headers, shown);
    }

    pub(crate) fn of_response(&self, headers: &HeaderMap, shown: &mut Vec<Shown>) {
        add(&self.response_headers, headers, shown);
    }

    /// The allowed pairs in their order, at most [`MAX_TEXT`] bytes of them.
    fn query(&self, query: &str) -> Option<Shown> {
        let mut text = String::new();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(allowed) = self.query_key(key) else {
                continue;
            };
            let value = if allowed.secret { REDACTED } else { value };
            // A value that is cut would be another value.
            if text.len() + key.len() + value.len() + 2 > MAX_TEXT {
                break;
            }
            text.push_str(if text.is_empty() { "" } else { "&" });
            text.push_str(key);
            if pair.contains('=') {
                text.push('=');
                text.push_str(value);
            }
        }
        (!text.is_empty()).then(|| Shown {
            key: QUERY,
            values: vec![text],
        })
    }

    fn query_key(&self, key: &str) -> Option<&AllowedKey> {
        let decoded = if key.contains('%') {
            percent_decode(key).map_or(Cow::Borrowed(key), Cow::Owned)
        } else {
            Cow::Borrowed(key)
        };
        self.query_keys
            .iter()
            .find(|allowed| allowed.name == *decoded)
    }
}

impl AllowedHeader {
    fn new(prefix: &str, name: &HeaderName) -> Self {
        Self {
            // Kept for good, as the names of `tracing` fields are: once for each name of a bounded list.
            attribute: format!("{prefix}.{name}").leak(),
            secret: redact::is_secret(name.as_str()),
            name: name.clone(),
        }
    }

    fn text(&self, value: &HeaderValue) -> String {
        if self.secret || value.is_sensitive() {
            return REDACTED.to_owned();
        }
        String::from_utf8_lossy(clip_bytes(value.as_bytes())).into_owned()
    }
}

fn add(allowed: &[AllowedHeader], headers: &HeaderMap, shown: &mut Vec<Shown>) {
    let mut room = MAX_BYTES.saturating_sub(shown.iter().map(Shown::len).sum());
    for header in allowed {
        let mut values = Vec::new();
        for value in headers.get_all(&header.name).iter().take(MAX_VALUES) {
            let text = header.text(value);
            match room.checked_sub(text.len()) {
                Some(left) => room = left,
                None => break,
            }
            values.push(text);
        }
        if !values.is_empty() {
            shown.push(Shown {
                key: header.attribute,
                values,
            });
        }
    }
}

impl Shown {
    fn len(&self) -> usize {
        self.values.iter().map(String::len).sum()
    }

    /// As the line has it: header lines of one name are one list (RFC 9110 §5.3).
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self.values.as_slice() {
            [one] => Cow::Borrowed(one),
            values => Cow::Owned(clip(&values.join(", ")).to_owned()),
        }
    }

    /// As the span has it: headers are arrays of strings (HTTP semantic conventions).
    pub(super) fn put_attribute(&self, put: &mut TakeAttribute<'_>) {
        if self.key == QUERY {
            put(self.key, ValueRef::Text(&self.text()));
        } else {
            put(self.key, ValueRef::Texts(&self.values));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(headers: &[&str], keys: &[&str]) -> Allowed {
        let names: Vec<HeaderName> = headers.iter().map(|name| name.parse().unwrap()).collect();
        let lists = AllowLists {
            request_headers: names.clone(),
            response_headers: names,
            query_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        Allowed::new(&lists).unwrap()
    }

    fn query(keys: &[&str], query: &str) -> Option<String> {
        let shown = allowed(&[], keys).query(query)?;
        Some(shown.text().into_owned())
    }

    #[test]
    fn nothing_is_allowed_unless_it_is_named() {
        assert!(Allowed::new(&AllowLists::default()).is_none());
    }

    #[test]
    fn a_query_keeps_its_allowed_pairs_in_order() {
        let keys = ["page", "sort by", "token", "flag"];
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(query(&keys, text).as_deref(), expected, "{text}");
        };
        check(
            "sort%20by=b&user=ann&page=2&page=3",
            Some("sort%20by=b&page=2&page=3"),
        );
        check("flag&page=", Some("flag&page="));
        check("token=abc&page=1", Some("token=[redacted]&page=1"));
        check("user=ann", None);
        check("PAGE=1&pages=2", None);
        check("", None);
        check("&&=&%zz=1", None);
        let long = format!("page=1&page={}", "x".repeat(MAX_TEXT));
        check(&long, Some("page=1"));
    }

    #[test]
    fn headers_are_shown_by_name_and_secret_ones_never() {
        let allowed = allowed(&["X-Tenant", "authorization", "x-blob"], &[]);
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &[u8]| {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        };
        put("x-tenant", b"a, b");
        put("x-tenant", b"c\xff");
        put("authorization", b"Bearer s3cret");
        put("x-other", b"s3cret");
        let mut sensitive = HeaderValue::from_static("s3cret");
        sensitive.set_sensitive(true);
        headers.append("x-blob", sensitive);
        let mut shown = Vec::new();
        allowed.of_response(&headers, &mut shown);
        let texts: Vec<_> = shown
            .iter()
            .map(|shown| (shown.key, shown.text()))
            .collect();
        assert_eq!(
            texts,
            [
                ("http.response.header.x-tenant", "a, b, c\u{fffd}".into()),
                ("http.response.header.authorization", "[redacted]".into()),
                ("http.response.header.x-blob", "[redacted]".into()),
            ]
        );
        shown[0].put_attribute(&mut |_, tenants| {
            assert!(matches!(tenants, ValueRef::Texts(values) if values == ["a, b", "c\u{fffd}"]));
        });
    }

    #[test]
    fn what_headers_add_is_bounded() {
        let names: Vec<String> = (0..32).map(|number| format!("x-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let allowed = allowed(&names, &["q"]);
        let mut headers = HeaderMap::new();
        for name in &names {
            for _ in 0..20 {
                let value = HeaderValue::from_str(&"v".repeat(4_000)).unwrap();
                headers.append(name.parse::<HeaderName>().unwrap(), value);
            }
        }
        let uri = format!("/?q={}", "x".repeat(900)).parse().unwrap();
        let mut shown = Vec::new();
        allowed.of_request(&uri, &headers, &mut shown);
        allowed.of_response(&headers, &mut shown);
        let bytes: usize = shown.iter().map(Shown::len).sum();
        assert!(
            (MAX_BYTES - MAX_TEXT..=MAX_BYTES).contains(&bytes),
            "{bytes}"
        );
        assert!(shown.iter().all(|shown| shown.text().len() <= MAX_TEXT));
    }
}
