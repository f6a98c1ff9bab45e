//! A logger that keeps its lines in place of writing them out: for `testing`, and for this crate's own tests.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Format, Logger};

/// Longer than any sink thread needs to come round, were the machine ever so busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a logger that was made by [`Logger::captured`] wrote.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    logger: Logger,
    written: Written,
}

type Written = Arc<Mutex<Vec<u8>>>;

impl Logger {
    /// A logger that keeps its lines.
    ///
    /// # Errors
    /// When the sink's thread cannot be started.
    pub(crate) fn captured(format: Format, service: &str) -> io::Result<(Self, Captured)> {
        let written = Written::default();
        let writer = Box::new(Keep(Arc::clone(&written)));
        let logger = Self::to_writer(format, service, writer)?;
        let captured = Captured {
            logger: logger.clone(),
            written,
        };
        Ok((logger, captured))
    }
}

impl Captured {
    /// Every line written so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.logger.flush(PATIENCE);
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&written);
        text.lines().map(str::to_owned).collect()
    }

    /// Every line written so far, parsed.
    ///
    /// # Panics
    /// When a line is not JSON: its logger has another format.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.lines().iter().map(parse).collect()
    }
}

struct Keep(Written);

impl Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
