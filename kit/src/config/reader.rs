//! Reads variables one by one and gathers what is wrong with them: faults for ours, warnings for the
//! specification's.

use std::str::FromStr;
use std::time::Duration;

use super::source::Sources;
use super::text::{DURATION_FORMS, parse_duration};
use crate::redact;

/// How variables are looked up: the process environment, or a test's table.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment with what was found wrong in it so far.
pub(super) struct Reader<'a> {
    lookup: Lookup<'a>,
    /// Our own variables that could not be read: the service does not start.
    pub(super) faults: Vec<String>,
    /// `OTEL_*` variables that could not be read: told and ignored (OpenTelemetry, "Environment variable
    /// specification").
    pub(super) warnings: Vec<String>,
    /// The variables whose values are in force.
    pub(super) sources: Sources,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Self {
            lookup,
            faults: Vec::new(),
            warnings: Vec::new(),
            sources: Sources::default(),
        }
    }

    /// The value, trimmed; empty is unset.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.value(name).inspect(|_| self.sources.read.push(name))
    }

    fn value(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// A variable of ours; `parse` says what is allowed when it refuses a value.
    pub(super) fn ours<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(name)?;
        match parse(&value) {
            Ok(parsed) => {
                self.sources.read.push(name);
                Some(parsed)
            }
            Err(allowed) => {
                // Printed where no line is looked through: who starts the service reads it on stderr.
                let value = redact::in_text(&value).unwrap_or(value);
                self.faults.push(format!("{name}={value:?}: {allowed}"));
                None
            }
        }
    }

    /// A duration of ours, such as `25s`.
    pub(super) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        self.ours(name, |value| {
            parse_duration(value).ok_or_else(|| format!("must be {DURATION_FORMS}"))
        })
    }

    /// A variable of the specification's, from the first of `names` that is set.
    pub(super) fn theirs<T>(
        &mut self,
        names: &[&'static str],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        for name in names {
            let Some(value) = self.value(name) else {
                continue;
            };
            match parse(&value) {
                Ok(parsed) => {
                    self.sources.read.push(name);
                    return Some(parsed);
                }
                // Headers carry credentials more often than not.
                Err(allowed) if name.ends_with("_HEADERS") => self.warn(name, "…", &allowed),
                Err(allowed) => self.warn(name, &value, &allowed),
            }
        }
        None
    }

    /// A number of the specification's.
    pub(super) fn number<T: FromStr>(&mut self, names: &[&'static str]) -> Option<T> {
        self.theirs(names, |value| {
            value
                .parse()
                .map_err(|_| "must be a whole number from 0".to_owned())
        })
    }

    /// A duration of the specification's: milliseconds, without a unit.
    pub(super) fn millis(&mut self, names: &[&'static str]) -> Option<Duration> {
        self.number(names).map(Duration::from_millis)
    }

    pub(super) fn warn(&mut self, name: &str, value: &str, allowed: &str) {
        self.warnings
            .push(format!("{name}={value:?} is ignored: {allowed}"));
    }
}
