//! The query string as it came: what the parameters of pages, of the API and of Zipkin's questions are read from.

use axum::extract::Query;
use axum::http::request::Parts;

use crate::views::rfc3339;

/// Names and values, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// # Errors
    /// Why the query string of the request cannot be read, in words.
    pub(super) fn of(request: &Parts) -> Result<Self, String> {
        let pairs = Query::try_from_uri(&request.uri);
        pairs
            .map(|Query(pairs)| Self(pairs))
            .map_err(|error| error.body_text())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The values of one name.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.iter().filter(move |(key, _)| *key == name);
        named.map(|(_, value)| value)
    }

    /// The first value of a name; it may be empty.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }
}

#[cfg(test)]
impl From<&[(&str, &str)]> for Pairs {
    fn from(pairs: &[(&str, &str)]) -> Self {
        let owned = pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Self(owned.collect())
    }
}

/// An RFC 3339 time as Unix nanoseconds; a plus sign that was not escaped has arrived as a space.
pub(super) fn time(text: &str) -> Option<u64> {
    rfc3339::parse(text).or_else(|| rfc3339::parse(&text.replace(' ', "+")))
}

/// `key:value`, apart at the first colon.
pub(super) fn attribute(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once(':')?;
    (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
}
