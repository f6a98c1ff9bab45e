//! The configuration in force as a file that `check` takes, each value with where it came from. Called by
//! `config` for `bellwether config`.

use std::fmt::Write as _;

use super::Config;
use super::exporter_keys::EXPORTER;
use super::exporters::{HEADERS, SIGNALS};
use super::given::{Given, GivenExporter};
use super::sampling::DROP;
use super::settings::{SETTINGS, Takes};
use super::source::{Setting, one_line};
use crate::{export, secret};

const HEAD: &str = "# The configuration in force. What is secret is shown as ***, or as the reference it was given by.\n";

/// `config`, which was made of `given`.
pub(super) fn print(config: &Config, given: &Given) -> String {
    let mut out = Lines(HEAD.to_owned());
    let mut group = None;
    for key in SETTINGS {
        let values = (key.in_force)(config);
        // Of one value that is off, nothing is said.
        if values.is_empty() && key.takes == Takes::One {
            continue;
        }
        let (outer, name) = match key.key.split_once('.') {
            None => (None, key.key.to_owned()),
            Some((outer, inner)) => (Some(outer), format!("  {inner}")),
        };
        if let Some(outer) = outer.filter(|_| group != outer) {
            out.head(outer);
        }
        group = outer;
        let settings = given.several(key.key);
        match key.takes {
            Takes::One => {
                for value in &values {
                    out.value(&name, value, settings.first());
                }
            }
            _ if values.is_empty() => out.line(&format!("{name}: []"), settings.first()),
            Takes::Several => {
                out.head(&name);
                let indent = if outer.is_some() { "    " } else { "  " };
                for (index, value) in values.iter().enumerate() {
                    // Some are told in an order of their own.
                    let given = settings.iter().find(|given| given.value.trim() == value);
                    let given = given.or(settings.get(index));
                    out.line(&format!("{indent}- {}", scalar(value)), given);
                }
            }
            Takes::Exporters => {
                out.head(&name);
                for (exporter, given) in config.export.iter().zip(&given.exporters) {
                    out.exporter(exporter, given);
                }
            }
        }
    }
    out.0
}

struct Lines(String);

impl Lines {
    fn exporter(&mut self, exporter: &export::Config, given: &GivenExporter) {
        let mut indent = "  - ";
        let mut group = None;
        for key in EXPORTER {
            if key.key == HEADERS && !given.headers.is_empty() {
                self.head(&format!("{indent}{HEADERS}"));
                for (name, setting) in &given.headers {
                    let name = format!("      {}", scalar(name));
                    self.value(&name, secret::shown(&setting.value), Some(setting));
                }
            }
            let value = (key.in_force)(exporter);
            let is_list = key.key == DROP && !given.drop.is_empty();
            if value.is_none() && !is_list {
                continue;
            }
            if key.key == SIGNALS {
                let settings = given.signals.as_deref().unwrap_or_default();
                let value = value.unwrap_or_default();
                self.line(&format!("{indent}{SIGNALS}: {value}"), settings.first());
                continue;
            }
            let mut name = format!("{indent}{}", key.key);
            if let Some((outer, inner)) = key.key.split_once('.') {
                if group != Some(outer) {
                    self.head(&format!("{indent}{outer}"));
                    group = Some(outer);
                }
                name = format!("      {inner}");
            }
            match value {
                Some(value) => self.value(&name, &value, given.one(key.key).as_ref()),
                None => {
                    self.head(&name);
                    for setting in &given.drop {
                        let item = scalar(setting.value.trim());
                        self.line(&format!("        - {item}"), Some(setting));
                    }
                }
            }
            indent = "    ";
        }
    }

    fn value(&mut self, key: &str, value: &str, setting: Option<&Setting>) {
        self.line(&format!("{key}: {}", scalar(value)), setting);
    }

    fn head(&mut self, key: &str) {
        let _ = writeln!(self.0, "{key}:");
    }

    fn line(&mut self, line: &str, setting: Option<&Setting>) {
        let origin =
            setting.map_or_else(|| "default".to_owned(), |setting| setting.source.origin());
        // Writing to a string cannot fail; a file's name may hold a line feed.
        let _ = writeln!(self.0, "{line}  # {}", one_line(&origin));
    }
}

/// A text as a YAML scalar: as it is where that can mean nothing else, else in double quotes.
fn scalar(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-./:_".contains(&byte);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let ends = !text.ends_with(':');
    let is_null = text.eq_ignore_ascii_case("null");
    if begins && ends && !is_null && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            c => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}
