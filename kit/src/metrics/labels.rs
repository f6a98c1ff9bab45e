//! Label sets as text: escaped once, when a series begins, and copied by every scrape.

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

    /// Names and values as they were before they were escaped, for formats that need no escapes.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, String)> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            let (name, quoted) = rest.split_once("=\"")?;
            let (value, after) = unescape(quoted);
            rest = after;
            Some((name.trim_start_matches(','), value))
        })
    }
}

/// The text up to the closing quote, and what follows that.
fn unescape(quoted: &str) -> (String, &str) {
    let mut value = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
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
    (value, characters.as_str())
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
        let pairs = [
            ("a", "x\\y\"z\nw"),
            ("b", ""),
            ("c", "\",d=\"\\"),
            ("e", "é\u{2028}"),
        ];
        let put = |text: LabelText, (name, value): &(&str, &str)| text.with(name, value);
        let text = pairs.iter().fold(LabelText::default(), put);
        let read: Vec<_> = text.pairs().collect();
        assert_eq!(read, pairs.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(LabelText::default().pairs().count(), 0);
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
