//! The parameters of Zipkin's questions, read as Zipkin reads them: the first of a name counts, others than the known ones
//! are passed over. Called by `mod`.

use std::collections::HashSet;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::answer::{Failure, bad_request};
use super::search::Search;
use crate::status::now_unix_nano;
use crate::web::pairs::Pairs;

/// Zipkin's own default.
const DEFAULT_LIMIT: u64 = 10;
/// More traces are not answered with, whatever is asked for.
const MOST_TRACES: usize = 1_000;
/// Zipkin's numbers are signed, of 32 bits and of 64.
const MOST_LIMIT: u64 = i32::MAX as u64;
const MOST_NUMBER: u64 = i64::MAX as u64;
/// Zipkin's own default, a day in milliseconds.
const DEFAULT_LOOKBACK: u64 = 86_400_000;
/// More conditions are not told apart: the last one has the rest of the text.
const MOST_CONDITIONS: usize = 100;

/// A question's parameters.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(Pairs);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let pairs = Pairs::of(parts).map(Self);
        pairs.map_err(|why| bad_request(format!("the query string cannot be read: {why}")))
    }
}

impl Params {
    /// # Errors
    /// It is not there; it may be empty.
    pub(super) fn required(&self, name: &str) -> Result<&str, Failure> {
        self.0.first(name).ok_or_else(|| missing(name))
    }

    /// `endTs` less `lookback`, and `endTs`: Unix milliseconds. `now` stands for an `endTs` that is not there.
    ///
    /// # Errors
    /// What is no whole number above 0, and an end that nothing says.
    pub(super) fn range(&self, now: Option<u64>) -> Result<(u64, u64), Failure> {
        let end = self.number("endTs")?.or(now);
        let end = end.ok_or_else(|| missing("endTs"))?;
        let lookback = self.number("lookback")?.unwrap_or(DEFAULT_LOOKBACK);
        Ok((end.saturating_sub(lookback), end))
    }

    /// Which traces to answer with.
    ///
    /// # Errors
    /// What cannot be read, and a longest duration without a shortest one or below it.
    pub(super) fn search(&self) -> Result<Search, Failure> {
        let (begin, end) = self.range(Some(now_unix_nano() / 1_000_000))?;
        // An empty one is no default, as with Zipkin.
        let limit = match self.0.first("limit") {
            Some(limit) => positive("limit", limit, MOST_LIMIT)?,
            None => DEFAULT_LIMIT,
        };
        Ok(Search {
            service: self.name("serviceName"),
            remote_service: self.name("remoteServiceName"),
            span_name: self.name("spanName").filter(|name| name != "all"),
            annotations: conditions(self.0.first("annotationQuery").unwrap_or_default()),
            duration: self.duration()?,
            begin: begin.saturating_mul(1_000),
            end: end.saturating_mul(1_000),
            limit: usize::try_from(limit)
                .unwrap_or(MOST_TRACES)
                .min(MOST_TRACES),
        })
    }

    fn duration(&self) -> Result<Option<(u64, u64)>, Failure> {
        match (self.number("minDuration")?, self.number("maxDuration")?) {
            (None, None) => Ok(None),
            (Some(least), None) => Ok(Some((least, u64::MAX))),
            (Some(least), Some(most)) if most >= least => Ok(Some((least, most))),
            (Some(_), Some(_)) => Err(bad_request("maxDuration must not be below minDuration")),
            (None, Some(_)) => Err(bad_request("maxDuration is only taken with minDuration")),
        }
    }

    /// In lower case; an empty one is none.
    fn name(&self, name: &str) -> Option<String> {
        let name = self.0.first(name).filter(|name| !name.is_empty())?;
        Some(name.to_lowercase())
    }

    /// An empty one is none.
    fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let text = self.0.first(name).filter(|text| !text.is_empty());
        text.map(|text| positive(name, text, MOST_NUMBER))
            .transpose()
    }
}

fn missing(name: &str) -> Failure {
    bad_request(format!("the parameter {name} is missing"))
}

/// A whole number from 1 to `most`.
fn positive(name: &str, text: &str, most: u64) -> Result<u64, Failure> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| {
        bad_request(format!(
            "{name} must be a whole number from 1 to {most}, not {text:?}"
        ))
    })
}

/// `error and http.method=GET`: tags with their values, or names of tags or annotations with none. Of a tag that is there
/// twice the last value counts.
fn conditions(text: &str) -> Vec<(String, String)> {
    let mut conditions: Vec<(String, String)> = Vec::new();
    let texts = text.splitn(MOST_CONDITIONS, " and ");
    for condition in texts.filter(|_| !text.is_empty()) {
        let (key, value) = condition.split_once('=').unwrap_or((condition, ""));
        let (key, value) = (trim(key), trim(value));
        match conditions.iter_mut().find(|(known, _)| known == key) {
            None => conditions.push((key.to_owned(), value.to_owned())),
            Some((_, known)) if condition.contains('=') => value.clone_into(known),
            // The name alone says less than what is known already.
            Some(_) => {}
        }
    }
    conditions
}

/// Without what Java takes for white space.
fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// A trace id of 1 to 32 digits.
///
/// # Errors
/// It is empty, longer, zero, or has other characters: upper case is none of Zipkin's.
pub(super) fn trace_id(text: &str) -> Result<[u8; 16], Failure> {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = (1..=32).contains(&text.len()) && text.bytes().all(is_digit);
    let id = digits
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten();
    let id = id.filter(|&id| id != 0).map(u128::to_be_bytes);
    id.ok_or_else(|| {
        bad_request(format!(
            "a trace id has 1 to 32 digits of lower-case hex that are not all zero, which {text:?} has not"
        ))
    })
}

/// Of `traceMany`: several ids, no two the same.
///
/// # Errors
/// As [`trace_id`]; only one, one twice, or more than 1,000.
pub(super) fn trace_ids(text: &str) -> Result<Vec<[u8; 16]>, Failure> {
    let mut ids = Vec::new();
    let mut known = HashSet::new();
    for text in text.split(',') {
        let id = trace_id(text)?;
        if !known.insert(id) {
            return Err(bad_request(format!("the trace id {text} is there twice")));
        }
        if ids.len() == MOST_TRACES {
            return Err(bad_request(format!(
                "more than {MOST_TRACES} trace ids are too many at once"
            )));
        }
        ids.push(id);
    }
    match ids.len() {
        1 => Err(bad_request("a single trace is at /api/v2/trace/{traceId}")),
        _ => Ok(ids),
    }
}
