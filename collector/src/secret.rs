//! Values that are secret: where they come from, and what is shown of them. Used for the headers of exporters and for the
//! tokens that receivers ask for.
//!
//! `${NAME}` is an environment variable, `${file:PATH}` the content of a file without the white space at its end, `$${`
//! stands for `${`; everything else is what it is. Variables are read once, files again whenever they are asked for.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";

const MOST_FILE_BYTES: u64 = 64 * 1024;

/// What stands before a reference to a secret and is none itself.
const SCHEMES: [&str; 3] = ["", "Bearer ", "Basic "];

/// Reads an environment variable.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A secret whose variables have been read, and whose files are read each time.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<Piece>);

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    File(String),
}

enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
    File(&'a str),
}

impl Secret {
    /// `template` with its variables in place.
    ///
    /// # Errors
    /// What is wrong, without anything of a secret.
    pub fn resolve(template: &str, variable: Variable<'_>) -> Result<Self, String> {
        let pieces = parts(template)?.into_iter().map(|part| match part {
            Part::Text(text) => Ok(Piece::Text(text.to_owned())),
            Part::Variable(name) => Ok(Piece::Text(of_variable(name, variable)?)),
            Part::File(path) => Ok(Piece::File(path.to_owned())),
        });
        Ok(Self(pieces.collect::<Result<_, String>>()?))
    }

    /// The value, with the files as they are now. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read, or is empty.
    pub fn read(&self) -> Result<String, String> {
        let mut value = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => value.push_str(text),
                Piece::File(path) => value.push_str(&of_file(path)?),
            }
        }
        Ok(value)
    }

    /// The files it is made of.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::File(path) => Some(PathBuf::from(path)),
        })
    }
}

/// Says nothing of it.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// What may be shown of `template`: where its secret comes from, or nothing of it.
pub fn shown(template: &str) -> &str {
    let parts = parts(template).unwrap_or_default();
    let text: String = parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text) => Some(*text),
            Part::Variable(_) | Part::File(_) => None,
        })
        .collect();
    let refers = parts.iter().any(|part| !matches!(part, Part::Text(_)));
    if refers && SCHEMES.contains(&&*text) {
        template
    } else {
        HIDDEN
    }
}

/// Whether `template` is one reference and nothing else, so that no secret stands in it.
pub fn is_reference(template: &str) -> bool {
    matches!(
        parts(template).as_deref(),
        Ok([
            Part::Text(""),
            Part::Variable(_) | Part::File(_),
            Part::Text("")
        ])
    )
}

fn parts(template: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find("${") {
        let (before, after) = (
            rest.get(..at).unwrap_or(""),
            rest.get(at + 2..).unwrap_or(""),
        );
        if let Some(before) = before.strip_suffix('$') {
            parts.extend([Part::Text(before), Part::Text("${")]);
            rest = after;
            continue;
        }
        let (name, after) = after
            .split_once('}')
            .ok_or("`${` needs its `}` (`$${` stands for `${`)")?;
        parts.extend([Part::Text(before), reference(name)?]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

fn reference(name: &str) -> Result<Part<'_>, String> {
    if let Some(path) = name.strip_prefix("file:") {
        return Ok(Part::File(path));
    }
    let mut letters = name.bytes();
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = letters.next().is_some_and(first)
        && letters.all(|byte| first(byte) || byte.is_ascii_digit());
    if is_name {
        Ok(Part::Variable(name))
    } else {
        // Not repeated: who wrote it may have put the secret itself there.
        Err("in `${…}` the name of a variable or file:PATH is needed".to_owned())
    }
}

fn of_variable(name: &str, variable: Variable<'_>) -> Result<String, String> {
    let value = variable(name).ok_or(format!("the environment variable {name} is not set"))?;
    let value = value
        .into_string()
        .map_err(|_| format!("the environment variable {name} is no UTF-8 text"))?;
    filled(value.trim(), &format!("the environment variable {name}"))
}

fn of_file(path: &str) -> Result<String, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MOST_FILE_BYTES).read_to_string(&mut text))
        .map_err(|error| format!("{path} cannot be read: {error}"))?;
    filled(text.trim_end(), path)
}

fn filled(value: &str, place: &str) -> Result<String, String> {
    if value.is_empty() {
        Err(format!("{place} is empty"))
    } else {
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use proptest::prelude::*;

    use super::*;

    fn variable(name: &str) -> Option<OsString> {
        match name {
            "TOKEN" => Some("s3cret".into()),
            "EMPTY" => Some(" ".into()),
            _ => None,
        }
    }

    fn check(template: &str, expected: Result<&str, &str>) {
        let value = Secret::resolve(template, &variable).and_then(|secret| secret.read());
        match (value, expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{template}"),
            (Err(text), Err(part)) => assert!(text.contains(part), "{template}: {text}"),
            (got, expected) => panic!("{template}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn references_are_put_in_place() {
        check("plain $5 } {x}", Ok("plain $5 } {x}"));
        check("Bearer ${TOKEN}", Ok("Bearer s3cret"));
        check("${TOKEN}${TOKEN}.", Ok("s3crets3cret."));
        check("a$${TOKEN}b", Ok("a${TOKEN}b"));
        check("${NOBODY}", Err("NOBODY is not set"));
        check("${EMPTY}", Err("EMPTY is empty"));
        check("${TOKEN", Err("needs its `}`"));
        check("${a b}", Err("the name of a variable"));
        check("${}", Err("the name of a variable"));
        check("${9}", Err("the name of a variable"));
        check(
            "${file:/nonexistent/x}",
            Err("/nonexistent/x cannot be read"),
        );
    }

    #[test]
    fn a_file_gives_its_content_without_the_line_feed() {
        let path = std::env::temp_dir().join(format!("bellwether-secret-{}", std::process::id()));
        std::fs::write(&path, "s3cret\n").unwrap();
        check(
            &format!("Basic ${{file:{}}}", path.display()),
            Ok("Basic s3cret"),
        );
        std::fs::write(&path, "\n").unwrap();
        check(&format!("${{file:{}}}", path.display()), Err("is empty"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn only_where_a_secret_comes_from_is_shown() {
        for told in ["${TOKEN}", "Bearer ${TOKEN}", "Basic ${file:/run/token}"] {
            assert_eq!(shown(told), told);
        }
        for hidden in [
            "s3cret",
            "",
            "Bearer s3cret",
            "s3${TOKEN}",
            "${TOKEN}cret",
            "${",
            "a$${TOKEN}",
        ] {
            assert_eq!(shown(hidden), HIDDEN, "{hidden}");
        }
    }

    #[test]
    fn a_reference_stands_alone() {
        for reference in ["${TOKEN}", "${file:/run/token}"] {
            assert!(is_reference(reference), "{reference}");
        }
        for other in [
            "",
            "s3cret",
            "Bearer ${TOKEN}",
            "${TOKEN}${TOKEN}",
            "$${TOKEN}",
            "${",
        ] {
            assert!(!is_reference(other), "{other}");
        }
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let secret = Secret::resolve("Bearer ${TOKEN} or s3cret", &variable).unwrap();
        assert_eq!(format!("{secret:?}"), HIDDEN);
    }

    proptest! {
        #[test]
        fn any_text_is_resolved_or_refused_without_telling_it(text in "[$}{TOKEN:file/ ]{0,20}") {
            let _ = Secret::resolve(&text, &|_| None).and_then(|secret| secret.read());
            let escaped = Secret::resolve(&text.replace("${", "$${"), &|_| None);
            prop_assert!(escaped.is_ok());
        }
    }
}
