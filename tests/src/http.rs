//! HTTP as the tests speak it: blocking, every status an answer, JSON at hand.

use std::time::Duration;

use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    headers: ureq::http::HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }
}

/// A GET; `None` when there was no answer at all.
pub fn get(url: &str) -> Option<Answer> {
    get_with(url, &[])
}

/// A GET with headers.
pub fn get_with(url: &str, headers: &[(&str, &str)]) -> Option<Answer> {
    let request = headers
        .iter()
        .fold(agent().get(url), |request, (name, value)| {
            request.header(*name, *value)
        });
    answer(request.call())
}

/// A POST with headers.
pub fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
    let request = headers
        .iter()
        .fold(agent().post(url), |request, (name, value)| {
            request.header(*name, *value)
        });
    answer(request.send(body))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into()
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Option<Answer> {
    let mut response = result.ok()?;
    let body = response
        .body_mut()
        .with_config()
        .limit(64 << 20)
        .read_to_vec()
        .ok()?;
    Some(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body,
    })
}
