//! The headers that an exporter was told to send, with values from files read again as those change. `config` checks
//! them, `peer` sends them.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::secret::Secret;

const MOST_BYTES: usize = 8 * 1024;

/// Names and where their values come from. Each name stands once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, Secret)>);

impl Headers {
    /// Adds a header whose name is not there yet.
    pub fn push(&mut self, name: HeaderName, value: Secret) {
        self.0.push((name, value));
    }

    /// Whether a header of this name is there.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// All of them, with the files as they are now; values are marked sensitive. Blocks.
    ///
    /// # Errors
    /// The first value that cannot be had or sent, without anything of it.
    pub fn read(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::with_capacity(self.0.len());
        for (name, secret) in &self.0 {
            let value = value(secret).map_err(|error| format!("header {name}: {error}"))?;
            headers.insert(name.clone(), value);
        }
        Ok(headers)
    }

    fn has_files(&self) -> bool {
        self.0
            .iter()
            .any(|(_, value)| value.files().next().is_some())
    }
}

/// The value of a header, with the files as they are now; marked sensitive. Blocks.
///
/// # Errors
/// A file that cannot be read, or bytes that no header may have.
pub fn value(secret: &Secret) -> Result<HeaderValue, String> {
    let text = secret.read()?;
    let text = text.trim();
    if text.is_empty() {
        return Err("the value is empty; give one, or leave the header out".to_owned());
    }
    if text.len() > MOST_BYTES {
        return Err(format!("the value is longer than {MOST_BYTES} bytes"));
    }
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let mut value = HeaderValue::from_str(text)
        .ok()
        .filter(|_| visible)
        .ok_or("the value has characters that no header may have: ASCII on one line is allowed")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The headers in force: those of files are looked at now and then, and at once when the peer refused them.
#[derive(Debug)]
pub(super) struct LiveHeaders {
    headers: Headers,
    in_force: HeaderMap,
    every: Duration,
    /// When the files were read; `None` before the first time, and once they shall be read at once.
    read_at: Option<Instant>,
    told: bool,
}

impl LiveHeaders {
    /// Nothing is read before the first [`refresh`](Self::refresh).
    pub(super) fn new(headers: Headers, every: Duration) -> Self {
        Self {
            headers,
            in_force: HeaderMap::new(),
            every,
            read_at: None,
            told: false,
        }
    }

    /// Reads the files again at the next [`refresh`](Self::refresh), whenever the last time was.
    pub(super) fn suspect(&mut self) {
        if self.headers.has_files() {
            self.read_at = None;
        }
    }

    /// The headers, if they are others than at the last call. Files that cannot be used at the moment leave those in force
    /// that were read last, which is told once.
    pub(super) async fn refresh(&mut self, exporter: &str) -> Option<HeaderMap> {
        let is_due = match self.read_at {
            None => true,
            Some(at) => self.headers.has_files() && at.elapsed() >= self.every,
        };
        if !is_due {
            return None;
        }
        let is_first = self.in_force.is_empty();
        self.read_at = Some(Instant::now());
        let headers = self.headers.clone();
        let read = tokio::task::spawn_blocking(move || headers.read()).await;
        match read.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(headers) if headers == self.in_force => self.told = false,
            Ok(headers) => {
                if !is_first {
                    tracing::info!(exporter, "headers have new values from their files");
                }
                self.told = false;
                self.in_force = headers.clone();
                return Some(headers);
            }
            Err(error) if !std::mem::replace(&mut self.told, true) => {
                tracing::warn!(
                    exporter,
                    error,
                    "headers cannot be read from their files; the last good ones are sent on"
                );
            }
            Err(_) => {}
        }
        None
    }
}
