//! The setters for what lines and spans show, and what they never do.

use super::KitBuilder;
use crate::config::{header_names, query_keys};
use crate::redact::Names;

impl KitBuilder {
    /// The request headers whose values the closing line and the server span show, as
    /// `http.request.header.NAME`, whatever `BELLWETHER_LOG_REQUEST_HEADERS` says. At most 32 names; headers
    /// that hold secrets show `[redacted]`. A name that cannot be one is a fault of [`start`](Self::start).
    pub fn log_request_headers(self, names: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let names = list("log_request_headers", names, header_names);
        self.set("BELLWETHER_LOG_REQUEST_HEADERS", names, |config, names| {
            config.allowed.request_headers = names;
        })
    }

    /// The same for the headers of responses: `http.response.header.NAME`, whatever
    /// `BELLWETHER_LOG_RESPONSE_HEADERS` says.
    pub fn log_response_headers(self, names: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let names = list("log_response_headers", names, header_names);
        self.set("BELLWETHER_LOG_RESPONSE_HEADERS", names, |config, names| {
            config.allowed.response_headers = names;
        })
    }

    /// The keys whose pairs closing line and server span show of a query string, as `url.query`, whatever
    /// `BELLWETHER_LOG_QUERY_KEYS` says. At most 32.
    pub fn log_query_keys(self, keys: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let keys = list("log_query_keys", keys, query_keys);
        self.set("BELLWETHER_LOG_QUERY_KEYS", keys, |config, keys| {
            config.allowed.query_keys = keys;
        })
    }

    /// Names of fields, attributes, headers and query keys whose values are secrets, besides the default ones
    /// and those of `BELLWETHER_REDACT`; `-name` takes one off. They count for the whole process.
    pub fn redact(self, names: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let wishes = list("redact", names, Names::wishes);
        self.set("BELLWETHER_REDACT", wishes, |config, wishes| {
            config.redact.extend(wishes);
        })
    }
}

fn list<T>(
    setter: &str,
    names: impl IntoIterator<Item: AsRef<str>>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, String> {
    let names: Vec<String> = names
        .into_iter()
        .map(|name| name.as_ref().to_owned())
        .collect();
    let names = names.join(",");
    parse(&names).map_err(|allowed| format!("{setter}({names:?}): {allowed}"))
}
