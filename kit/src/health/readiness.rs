//! What probes are told: the lifecycle and the checks' last results, as one verdict.

use std::sync::Arc;

use super::runner::Entry;
use super::{Checks, Lifecycle, State};

/// The state that probes read: cheap to clone, never waits.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) checks: Arc<Checks>,
}

impl Health {
    /// `Err` with a short reason while traffic should go elsewhere.
    pub(crate) fn ready(&self, exclude: &[String]) -> Result<(), String> {
        match self.lifecycle.state() {
            State::Starting => return Err("starting".to_owned()),
            State::Ready => {}
            State::Draining | State::Cutting | State::Stopped => {
                return Err("draining".to_owned());
            }
        }
        let blocking = self.critical(exclude).find_map(|entry| match entry.last() {
            None => Some(format!("check {} has not run yet", entry.name)),
            Some(last) if !last.passing => Some(format!("check {} failing", entry.name)),
            Some(_) => None,
        });
        blocking.map_or(Ok(()), Err)
    }

    /// The last verdict on a check, before its first run not the best; `None` when there is no such check.
    #[cfg(feature = "tonic")]
    pub(super) fn is_passing(&self, check: &str) -> Option<bool> {
        let entry = self.checks.entries().find(|entry| entry.name == check)?;
        Some(entry.last().is_some_and(|last| last.passing))
    }

    /// `Err` until the service has started.
    #[cfg(feature = "axum")]
    pub(crate) fn started(&self) -> Result<(), String> {
        match self.lifecycle.state() {
            State::Starting => Err("starting".to_owned()),
            State::Ready | State::Draining | State::Cutting | State::Stopped => Ok(()),
        }
    }

    /// The checks that a probe did not exclude.
    pub(super) fn included<'a>(&'a self, exclude: &'a [String]) -> impl Iterator<Item = &'a Entry> {
        self.checks
            .entries()
            .filter(move |entry| !exclude.contains(&entry.name))
    }

    fn critical<'a>(&'a self, exclude: &'a [String]) -> impl Iterator<Item = &'a Entry> {
        self.included(exclude).filter(|entry| entry.critical)
    }
}
