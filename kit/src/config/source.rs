//! Where a setting comes from: what `Kit::describe` says beside each value.

use std::fmt;

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Nobody has set it.
    Default,
    /// A variable of the environment, by its name.
    Environment(&'static str),
    /// A setter of [`KitBuilder`](crate::KitBuilder), or an argument.
    Code,
    /// A variable that the platform (Cloud Run, Kubernetes) sets, by its name.
    Platform(&'static str),
}

impl Source {
    /// The variable's name, if it is one.
    #[must_use]
    pub fn variable(self) -> Option<&'static str> {
        match self {
            Self::Environment(variable) | Self::Platform(variable) => Some(variable),
            Self::Default | Self::Code => None,
        }
    }

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment(_) => "environment",
            Self::Code => "code",
            Self::Platform(_) => "platform",
        }
    }
}

/// `default`, `code`, or the variable's name.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.variable().unwrap_or(self.kind()))
    }
}

/// Which variables gave a value, and which settings the code gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(super) read: Vec<&'static str>,
    in_code: Vec<&'static str>,
}

impl Sources {
    /// The code has set what `variable` sets.
    pub(crate) fn set_in_code(&mut self, variable: &'static str) {
        self.in_code.push(variable);
    }

    /// Where a setting comes from that the first readable one of `variables` sets.
    pub(crate) fn of(&self, variables: &[&'static str]) -> Source {
        if variables.iter().any(|name| self.in_code.contains(name)) {
            return Source::Code;
        }
        match variables.iter().find(|name| self.read.contains(name)) {
            Some(platform) if platform.starts_with("K_") => Source::Platform(platform),
            Some(variable) => Source::Environment(variable),
            None => Source::Default,
        }
    }
}
