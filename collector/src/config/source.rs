//! Where values come from, and what is said of those that are not allowed. Used throughout `config`.

use std::fmt;
use std::rc::Rc;

/// Longer texts are cut where they are told.
const LONGEST_TOLD: usize = 200;

/// Faults beyond so many are only counted.
const MOST_TOLD: usize = 100;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `--web`.
    Flag(&'static str),
    /// The whole name, as `BELLWETHER_WEB`.
    Variable(String),
    File {
        /// As it was named on the command line.
        file: Rc<str>,
        /// Counted from 1; 0 is all of it.
        line: usize,
        /// The key with those around it (`exporters[1].timeout`); empty for the document.
        path: String,
    },
}

/// A text and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) source: Source,
    pub(super) value: String,
}

/// Everything that is not allowed, told at once.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

/// One line of it.
#[derive(Debug)]
struct Fault {
    source: Source,
    /// What is wrong with it, and what is allowed.
    text: String,
}

impl Source {
    /// Without the key: `--web`, `BELLWETHER_WEB`, `collector.yaml:7`.
    pub(super) fn origin(&self) -> String {
        match self {
            Self::Flag(flag) => format!("--{flag}"),
            Self::Variable(name) => name.clone(),
            Self::File { file, line: 0, .. } => file.to_string(),
            Self::File { file, line, .. } => format!("{file}:{line}"),
        }
    }

    fn line(&self) -> usize {
        match self {
            Self::Flag(_) | Self::Variable(_) => 0,
            Self::File { line, .. } => *line,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())?;
        match self {
            Self::File { path, .. } if !path.is_empty() => write!(f, ": {path}"),
            _ => Ok(()),
        }
    }
}

impl Faults {
    /// `value`, which may hold a credential in a URL, is not allowed at `source`; `allowed` is.
    pub(super) fn add(&mut self, source: Source, value: &str, allowed: impl fmt::Display) {
        let value = told(value);
        self.say(source, format!("{value:?} is not allowed: {allowed}"));
    }

    /// A fault in other words, which must not repeat a secret.
    pub(super) fn say(&mut self, source: Source, text: impl Into<String>) {
        let text = text.into();
        self.0.push(Fault { source, text });
    }

    /// A setting as `read` reads it, whose error says what is allowed; `None` and a fault when it fails.
    pub(super) fn checked<T>(
        &mut self,
        setting: Option<Setting>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let setting = setting?;
        match read(&setting.value) {
            Ok(value) => Some(value),
            Err(allowed) => {
                self.add(setting.source, &setting.value, allowed);
                None
            }
        }
    }

    /// One line each, those of the file in its order; empty when all is well.
    pub(super) fn lines(mut self) -> Vec<String> {
        self.0.sort_by_key(|fault| fault.source.line());
        let mut lines: Vec<String> = self
            .0
            .iter()
            .take(MOST_TOLD)
            .map(Fault::to_string)
            .collect();
        let more = self.0.len() - lines.len();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.text)
    }
}

/// `text` without what would break a line.
pub(super) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// `text` as it may be told: cut, and without what stands in a URL before an `@` or after a `?`.
pub(super) fn told(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(at) = text.rfind('@') {
        let begin = text.get(..at).and_then(|before| before.find("://"));
        text.replace_range(begin.map_or(0, |scheme| scheme + 3)..at, "***");
    }
    if let Some(query) = text.find('?') {
        text.replace_range(query + 1.., "***");
    }
    match text.char_indices().nth(LONGEST_TOLD) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_told() {
        let check = |text: &str, expected: &str| assert_eq!(told(text), expected);
        check("otlp+grpc://tempo:4317", "otlp+grpc://tempo:4317");
        check("otlp+grpc://me:secret@tempo", "otlp+grpc://***@tempo");
        check("otlp+grpc://me:s@ec@ret@tempo/", "otlp+grpc://***@tempo/");
        check("me:secret@tempo", "***@tempo");
        check("otlp+http://a/b?key=secret", "otlp+http://a/b?***");
        check(&"é".repeat(300), &format!("{}…", "é".repeat(200)));
    }

    #[test]
    fn faults_stand_in_the_order_of_the_file_after_those_of_the_command_line() {
        let file: Rc<str> = "c.yaml".into();
        let at = |line| Source::File {
            file: Rc::clone(&file),
            line,
            path: String::new(),
        };
        let mut faults = Faults::default();
        for line in (1..=150).rev() {
            faults.add(at(line), "x", "y");
        }
        faults.add(Source::Flag("web"), "x", "y");
        let lines = faults.lines();
        assert_eq!(lines.len(), 101);
        assert_eq!(lines[0], "--web: \"x\" is not allowed: y");
        assert_eq!(lines[1], "c.yaml:1: \"x\" is not allowed: y");
        assert_eq!(lines[100], "and 51 more");
    }
}
