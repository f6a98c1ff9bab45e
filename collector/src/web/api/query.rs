//! The parameters of the API's questions: every one that cannot be read, and every one that is not known, is refused
//! by name.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::answer::{Failure, bad_request};
use crate::status::now_unix_nano;
use crate::views::{Order, Range, Split, TraceQuery};
use crate::web::pairs::{self, Pairs, attribute};
use crate::web::query::{MAX_ATTRIBUTES, TIME};

const DEFAULT_WINDOW: Duration = Duration::from_secs(300);
/// The parameter that may be there several times.
const REPEATABLE: &str = "attr";

/// A question's parameters.
#[derive(Clone, Debug, Default)]
pub(super) struct ApiQuery(Pairs);

impl<S: Send + Sync> FromRequestParts<S> for ApiQuery {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let pairs = Pairs::of(parts).map(Self);
        pairs.map_err(|why| bad_request(format!("the query string cannot be read: {why}")))
    }
}

impl ApiQuery {
    /// # Errors
    /// A parameter that is not among the `allowed` ones, or is there twice and may not be.
    pub(super) fn only(&self, allowed: &[&str]) -> Result<(), Failure> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            if !allowed.contains(&name) {
                let allowed = match allowed {
                    [] => "none is".to_owned(),
                    allowed => format!("{} are", allowed.join(", ")),
                };
                return Err(bad_request(format!(
                    "the parameter {name:?} is not known; {allowed} allowed here"
                )));
            }
            let is_again = self.0.iter().take(at).any(|(before, _)| before == name);
            if is_again && name != REPEATABLE {
                return Err(bad_request(format!("the parameter {name} is there twice")));
            }
        }
        Ok(())
    }

    /// The time of a question that takes the parameters `others`, too: `window`, or `from` and `to`; the last 5 minutes
    /// when nothing is said.
    ///
    /// # Errors
    /// As [`ApiQuery::only`]; what cannot be read, is empty, or reaches farther back than the retention.
    pub(super) fn range_and(&self, others: &[&str], retention: Duration) -> Result<Range, Failure> {
        self.only(&[&TIME, others].concat())?;
        let (window, from, to) = (self.get("window"), self.time("from")?, self.time("to")?);
        match (window, from, to) {
            (None, None, None) => Ok(Range::Last(DEFAULT_WINDOW.min(retention))),
            (Some(window), None, None) => {
                let allowed = format!(
                    "a length such as 30s, 5m or 1h, up to the retention of {}s",
                    retention.as_secs()
                );
                let length =
                    duration(window).filter(|&length| !length.is_zero() && length <= retention);
                length
                    .map(Range::Last)
                    .ok_or_else(|| refused("window", window, &allowed))
            }
            (None, Some(from), to) => {
                let to = to.unwrap_or_else(now_unix_nano);
                if from >= to {
                    return Err(bad_request(
                        "the parameter from must lie before to (without to: before now)".to_owned(),
                    ));
                }
                Ok(Range::Between(from, to))
            }
            (None, None, Some(_)) => Err(bad_request(
                "the parameter to needs from beside it".to_owned(),
            )),
            (Some(_), ..) => Err(bad_request(
                "the parameters window and from/to exclude each other".to_owned(),
            )),
        }
    }

    /// What services are split by.
    ///
    /// # Errors
    /// Anything but `version` and `instance`.
    pub(super) fn split(&self) -> Result<Option<Split>, Failure> {
        self.read("split", split, "version or instance")
    }

    /// Which traces to list.
    ///
    /// # Errors
    /// What cannot be read.
    pub(super) fn traces(
        &self,
        default_limit: usize,
        max_limit: usize,
    ) -> Result<TraceQuery, Failure> {
        let limit = match self.get("limit") {
            None => default_limit,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=max_limit).contains(limit))
                .ok_or_else(|| {
                    refused(
                        "limit",
                        text,
                        &format!("a whole number from 1 to {max_limit}"),
                    )
                })?,
        };
        let query = TraceQuery {
            service: self.get("service").map(str::to_owned),
            operation: self.get("operation").map(str::to_owned),
            min: self.read("min", duration, DURATIONS)?,
            max: self.read("max", duration, DURATIONS)?,
            span_min: self.read("span_min", duration, DURATIONS)?,
            span_max: self.read("span_max", duration, DURATIONS)?,
            error: self.read("error", |text| text.parse().ok(), "true or false")?,
            attributes: self.attributes()?,
            order: self
                .read("order", order, "newest or slowest")?
                .unwrap_or_default(),
            limit,
        };
        match query.contradiction() {
            None => Ok(query),
            Some([low, high]) => Err(bad_request(format!(
                "the parameter {low} must not be more than {high}: nothing lies between them"
            ))),
        }
    }

    /// Every `attr`.
    fn attributes(&self) -> Result<Vec<(String, String)>, Failure> {
        let read = self.0.all(REPEATABLE).map(|text| {
            attribute(text)
                .ok_or_else(|| refused(REPEATABLE, text, "KEY:VALUE, such as http.route:/cart"))
        });
        let attributes: Vec<_> = read.collect::<Result<_, _>>()?;
        if attributes.len() > MAX_ATTRIBUTES {
            return Err(bad_request(format!(
                "the parameter attr is there {} times; at most {MAX_ATTRIBUTES} are allowed",
                attributes.len()
            )));
        }
        Ok(attributes)
    }

    /// A parameter as it came.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.first(name)
    }

    /// A parameter that has to be there.
    ///
    /// # Errors
    /// It is absent or empty.
    pub(super) fn required(&self, name: &str) -> Result<String, Failure> {
        let given = self.get(name).filter(|value| !value.is_empty());
        let given = given.map(str::to_owned);
        given.ok_or_else(|| bad_request(format!("the parameter {name} is needed")))
    }

    fn read<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        allowed: &str,
    ) -> Result<Option<T>, Failure> {
        let value = self.get(name);
        value
            .map(|text| read(text).ok_or_else(|| refused(name, text, allowed)))
            .transpose()
    }

    fn time(&self, name: &str) -> Result<Option<u64>, Failure> {
        self.read(
            name,
            pairs::time,
            "an RFC 3339 time such as 2026-01-31T12:00:00Z",
        )
    }
}

const DURATIONS: &str = "a duration such as 250us, 100ms, 1.5s, or a number of seconds";

/// A trace id as it stands in a path.
///
/// # Errors
/// Anything but 32 hex digits.
pub(super) fn trace_id(text: &str) -> Result<[u8; 16], Failure> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = digits
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten();
    id.map(u128::to_be_bytes)
        .ok_or_else(|| refused("trace_id", text, "32 hex digits"))
}

fn refused(name: &str, value: &str, allowed: &str) -> Failure {
    bad_request(format!(
        "the parameter {name} cannot be {value:?}; allowed is {allowed}"
    ))
}

fn split(text: &str) -> Option<Split> {
    match text {
        "version" => Some(Split::Version),
        "instance" => Some(Split::Instance),
        _ => None,
    }
}

fn order(text: &str) -> Option<Order> {
    match text {
        "newest" => Some(Order::Newest),
        "slowest" => Some(Order::Slowest),
        _ => None,
    }
}

/// A number with a unit (`ns`, `us`, `ms`, `s`, `m`, `h`), or of seconds.
fn duration(text: &str) -> Option<Duration> {
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit_at)?;
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = plain.then(|| number.parse().ok()).flatten()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}
