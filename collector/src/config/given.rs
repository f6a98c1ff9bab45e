//! What was asked for, as texts: flags beat variables beat the file. Made for `Config` to check and for
//! `print` to tell where each value came from.

use std::collections::BTreeMap;

use super::args::Flags;
use super::file;
use super::settings::{CONFIG, Key, SETTINGS, Takes};
use super::source::{Faults, Setting, Source};

/// Every setting that was given. Not to be printed as a whole: it holds headers as they were written.
#[derive(Default)]
pub(super) struct Given {
    /// By the key of the file.
    pub(super) settings: BTreeMap<&'static str, Vec<Setting>>,
    pub(super) exporters: Vec<GivenExporter>,
}

/// One exporter as given: in the file with any of its keys, elsewhere with its URL alone.
pub(super) struct GivenExporter {
    /// Where it begins.
    pub(super) source: Source,
    /// By key, those within others joined by dots.
    pub(super) settings: BTreeMap<&'static str, Setting>,
    /// Name and value; a name may stand twice here.
    pub(super) headers: Vec<(String, Setting)>,
    /// What stands under `sampling.drop`.
    pub(super) drop: Vec<Setting>,
    /// What it is to take, one or more; `None` when that is not said.
    pub(super) signals: Option<Vec<Setting>>,
}

pub(super) use crate::secret::Variable;

impl Given {
    /// From the command line, the environment, and the file that one of them names.
    pub(super) fn read(flags: &Flags, variable: Variable<'_>, faults: &mut Faults) -> Self {
        let named = one_of(&CONFIG, flags, variable, faults);
        let mut given = named.map_or_else(Self::default, |setting| {
            file::read(&setting.value, Some(setting.source), faults)
        });
        for key in SETTINGS {
            let settings = match key.takes {
                Takes::One => one_of(key, flags, variable, faults).into_iter().collect(),
                Takes::Several | Takes::Exporters => several_of(key, flags, variable, faults),
            };
            if settings.is_empty() {
                continue;
            }
            if key.takes == Takes::Exporters {
                given.exporters = settings.into_iter().map(GivenExporter::of_url).collect();
            } else {
                given.settings.insert(key.key, settings);
            }
        }
        given
    }

    /// The value of a key that takes one.
    pub(super) fn one(&self, key: &str) -> Option<Setting> {
        self.settings.get(key)?.first().cloned()
    }

    /// The values of a key that takes several.
    pub(super) fn several(&self, key: &str) -> Vec<Setting> {
        self.settings.get(key).cloned().unwrap_or_default()
    }
}

impl GivenExporter {
    pub(super) fn of_url(url: Setting) -> Self {
        Self {
            source: url.source.clone(),
            settings: BTreeMap::from([("url", url)]),
            headers: Vec::new(),
            drop: Vec::new(),
            signals: None,
        }
    }

    pub(super) fn one(&self, key: &str) -> Option<Setting> {
        self.settings.get(key).cloned()
    }
}

fn one_of(
    key: &'static Key,
    flags: &Flags,
    variable: Variable<'_>,
    faults: &mut Faults,
) -> Option<Setting> {
    flags
        .all(key)
        .next()
        .or_else(|| of_variable(key, variable, faults))
}

fn several_of(
    key: &'static Key,
    flags: &Flags,
    variable: Variable<'_>,
    faults: &mut Faults,
) -> Vec<Setting> {
    let typed: Vec<_> = flags.all(key).collect();
    if typed.is_empty() {
        let all = of_variable(key, variable, faults);
        all.iter().flat_map(Setting::split).collect()
    } else {
        typed
    }
}

/// An empty variable is none.
fn of_variable(key: &'static Key, variable: Variable<'_>, faults: &mut Faults) -> Option<Setting> {
    let name = key.variable();
    let found = variable(&name)?.into_string();
    let source = Source::Variable(name);
    match found {
        Ok(value) if value.trim().is_empty() => None,
        Ok(value) => Some(Setting { source, value }),
        Err(value) => {
            faults.add(source, &value.to_string_lossy(), "UTF-8 text is needed");
            None
        }
    }
}

impl Setting {
    /// The values in a variable that may hold several, separated by commas.
    fn split(&self) -> impl Iterator<Item = Self> {
        let values = self.value.split(',').map(str::trim);
        values.filter(|value| !value.is_empty()).map(|value| Self {
            source: self.source.clone(),
            value: value.to_owned(),
        })
    }
}
