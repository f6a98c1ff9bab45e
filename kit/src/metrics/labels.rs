//! Label sets as text: escaped once, when a series begins, and copied by every scrape; and read again, for what the
//! text of prometheus-client is turned into.

use std::borrow::Cow;
use std::iter;

/// `name="value",…` without the braces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelText(String);

impl LabelText {
    /// `name` must be a label name: `[a-zA-Z_][a-zA-Z0-9_]*`.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                character => self.0.push(character),
            }
        }
        self.0.push('"');
        self
    }

    #[must_use]
    pub(crate) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    #[must_use]
    pub(crate) fn with_number(self, name: &str, value: Option<u16>) -> Self {
        match value {
            Some(value) => self.with(name, itoa::Buffer::new().format(value)),
            None => self,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names and values of `name="value",…` as they were before they were escaped, for formats that need no escapes.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut rest = text;
    iter::from_fn(move || {
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unescape(quoted);
        rest = after;
        Some((name.trim_start_matches(','), value))
    })
}

/// `{name="value",…}` at the beginning, without the braces, and what follows it; nothing and all of `text` when it
/// begins without a brace, and none when the brace is not closed.
pub(super) fn split_off(text: &str) -> Option<(&str, &str)> {
    let Some(inner) = text.strip_prefix('{') else {
        return Some(("", text));
    };
    let (mut quoted, mut escaped) = (false, false);
    let end = inner.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'}' => return !quoted,
            _ => {}
        }
        false
    })?;
    Some((inner.get(..end)?, inner.get(end + 1..)?))
}

/// The text up to the closing quote, and what follows that.
fn unescape(quoted: &str) -> (Cow<'_, str>, &str) {
    let special = |byte| matches!(byte, b'"' | b'\\');
    let end = quoted.bytes().position(special).unwrap_or(quoted.len());
    let (plain, rest) = quoted.split_at(end);
    match rest.strip_prefix('"') {
        Some(after) => (plain.into(), after),
        None => unescape_rest(plain, rest),
    }
}

/// `unescape` from the first escape on.
fn unescape_rest<'a>(plain: &str, rest: &'a str) -> (Cow<'a, str>, &'a str) {
    let mut value = plain.to_owned();
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next().map(|escaped| match escaped {
                'n' => '\n',
                escaped => escaped,
            })),
            character => value.push(character),
        }
    }
    (value.into(), characters.as_str())
}

/// A dotted attribute name as a label name: what a label may not hold becomes `_`.
pub(crate) fn label_name(attribute: &str) -> String {
    let mut name = String::with_capacity(attribute.len() + 1);
    if attribute.starts_with(|first: char| first.is_ascii_digit()) || attribute.is_empty() {
        name.push('_');
    }
    name.extend(attribute.chars().map(|character| {
        if character.is_ascii_alphanumeric() {
            character
        } else {
            '_'
        }
    }));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_absent_ones_left_out() {
        let labels = LabelText::default()
            .with("a", "x\\y\"z\nw")
            .with_some("b", None)
            .with_some("c", Some("é"))
            .with_number("d", Some(503))
            .with_number("e", None);
        assert_eq!(labels.as_str(), "a=\"x\\\\y\\\"z\\nw\",c=\"é\",d=\"503\"");
    }

    #[test]
    fn pairs_are_what_was_put_in() {
        let put_in = [
            ("a", "x\\y\"z\nw"),
            ("b", ""),
            ("c", "\",d=\"\\"),
            ("e", "é\u{2028}"),
            ("f", "}"),
        ];
        let put = |text: LabelText, (name, value): &(&str, &str)| text.with(name, value);
        let text = put_in.iter().fold(LabelText::default(), put);
        let read: Vec<_> = pairs(text.as_str()).collect();
        assert_eq!(read, put_in.map(|(name, value)| (name, value.into())));
        assert_eq!(pairs("").count(), 0);
        let line = format!("{{{}}} 1 # {{f=\"g\"}} 2", text.as_str());
        let split = split_off(&line);
        assert_eq!(split, Some((text.as_str(), " 1 # {f=\"g\"} 2")));
    }

    #[test]
    fn labels_end_at_their_brace_or_are_none() {
        assert_eq!(split_off(" 1"), Some(("", " 1")));
        assert_eq!(split_off("{} 1"), Some(("", " 1")));
        assert_eq!(split_off("{a=\"b\" 1"), None);
        assert_eq!(split_off("{a=\"}\\\"}"), None);
    }

    #[test]
    fn names_become_valid() {
        fn check(attribute: &str, expected: &str) {
            assert_eq!(label_name(attribute), expected);
        }
        check("service.name", "service_name");
        check("k8s.pod-name", "k8s_pod_name");
        check("9lives", "_9lives");
        check("größe", "gr__e");
        check("", "_");
    }
}
