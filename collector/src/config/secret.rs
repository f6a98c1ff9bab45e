//! Values that are secret: where they come from, and what is shown of them. Used for the headers of exporters.
//!
//! `${NAME}` is an environment variable, `${file:PATH}` the content of a file without the white space at its end, `$${`
//! stands for `${`; everything else is what it is.

use std::fs::File;
use std::io::Read;

use super::given::Variable;

/// What is shown in the place of a secret.
pub(super) const HIDDEN: &str = "***";

const MOST_FILE_BYTES: u64 = 64 * 1024;

/// What stands before a reference to a secret and is none itself.
const SCHEMES: [&str; 3] = ["", "Bearer ", "Basic "];

enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
    File(&'a str),
}

/// `template` with everything in its place.
///
/// # Errors
/// What is wrong, without anything of a secret.
pub(super) fn resolve(template: &str, variable: Variable<'_>) -> Result<String, String> {
    let mut value = String::new();
    for part in parts(template)? {
        match part {
            Part::Text(text) => value.push_str(text),
            Part::Variable(name) => value.push_str(&of_variable(name, variable)?),
            Part::File(path) => value.push_str(&of_file(path)?),
        }
    }
    Ok(value)
}

/// What may be shown of `template`: where its secret comes from, or nothing of it.
pub(super) fn shown(template: &str) -> &str {
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
        match (resolve(template, &variable), expected) {
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

    proptest! {
        #[test]
        fn any_text_is_resolved_or_refused_without_telling_it(text in "[$}{TOKEN:file/ ]{0,20}") {
            let _ = resolve(&text, &|_| None);
            prop_assert_eq!(resolve(&text.replace("${", "$${"), &|_| None).is_ok(), true);
        }
    }
}
