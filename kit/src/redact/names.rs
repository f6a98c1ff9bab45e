//! The names whose values are secrets: the default ones, and what `BELLWETHER_REDACT` adds and takes off.

use std::fmt;
use std::str::FromStr;

/// Kept in lower case and without separators. A name ends with one of them as a whole word: `user.password`,
/// `DB_PASSWORD`, `x-api-key` and `accessToken` do, `tokens` and `passwordless` do not. What is commonly run
/// together (`authtoken`) stands beside its last word.
const DEFAULT: [&str; 27] = [
    "accesstoken",
    "apikey",
    "apitoken",
    "authorization",
    "authtoken",
    "bearer",
    "clientsecret",
    "connectionstring",
    "cookie",
    "credential",
    "credentials",
    "encryptionkey",
    "idtoken",
    "jwt",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "refreshtoken",
    "secret",
    "secretaccesskey",
    "secretkey",
    "session",
    "signingkey",
    "token",
];

/// How many names may be added and taken off: each is compared with every new field name.
const MAX_WISHES: usize = 64;

/// The longest name added or taken off, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Which names hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The words that a secret's name ends with.
    secret: Vec<String>,
    /// Whole names that are none, whatever they end with.
    plain: Vec<String>,
}

/// A name to add to those that hold secrets, or to take off them (`-name`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Add(String),
    Remove(String),
}

impl Names {
    /// The default names with `wishes` on top, the last of which wins.
    pub(crate) fn new(wishes: &[Wish]) -> Self {
        let mut names = Self::default();
        for wish in wishes {
            let (Wish::Add(name) | Wish::Remove(name)) = wish;
            let name = folded(name);
            names.secret.retain(|present| *present != name);
            names.plain.retain(|present| *present != name);
            match wish {
                Wish::Add(_) => names.secret.push(name),
                Wish::Remove(_) => names.plain.push(name),
            }
        }
        names
    }

    /// Reads `ssn,card_number,-session`.
    ///
    /// # Errors
    ///
    /// Says what is allowed.
    pub(crate) fn wishes(list: &str) -> Result<Vec<Wish>, String> {
        let wishes: Result<Vec<Wish>, String> = list
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::parse)
            .collect();
        let wishes = wishes?;
        if wishes.len() > MAX_WISHES {
            return Err(format!("must be at most {MAX_WISHES} names"));
        }
        Ok(wishes)
    }

    pub(super) fn hold(&self, name: &str) -> bool {
        self.secret.iter().any(|word| ends_with_word(name, word))
            && !self.plain.iter().any(|plain| is_same(name, plain))
    }
}

impl Default for Names {
    fn default() -> Self {
        Self {
            secret: DEFAULT.map(str::to_owned).into(),
            plain: Vec::new(),
        }
    }
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, wish): (_, fn(String) -> Self) = match text.strip_prefix('-') {
            Some(name) => (name, Self::Remove),
            None => (text, Self::Add),
        };
        let fits = name.len() <= MAX_NAME_BYTES
            && name.bytes().any(|byte| byte.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || is_separator(byte));
        if fits {
            Ok(wish(name.to_owned()))
        } else {
            Err(format!(
                "must be names of letters, digits, `_`, `-` and `.`, of at most {MAX_NAME_BYTES} bytes, such as \
                 ssn,card_number, or -session to take one off the default list"
            ))
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(name) => f.write_str(name),
            Self::Remove(name) => write!(f, "-{name}"),
        }
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.')
}

/// Lower case, without separators.
fn folded(name: &str) -> String {
    let kept = name.bytes().filter(|byte| !is_separator(*byte));
    kept.map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect()
}

/// Whether `name`, separators and case aside, is `folded`.
fn is_same(name: &str, folded: &str) -> bool {
    name.bytes()
        .filter(|byte| !is_separator(*byte))
        .map(|byte| byte.to_ascii_lowercase())
        .eq(folded.bytes())
}

/// Whether `name`, separators and case aside, ends with `word`, and a word begins there. Read from the end, so
/// that most names differ at the first letter.
fn ends_with_word(name: &str, word: &str) -> bool {
    let mut rest = name.as_bytes();
    let mut first = 0;
    for expected in word.bytes().rev() {
        let letters = rest.iter().rposition(|byte| !is_separator(*byte));
        let letter = letters.and_then(|at| Some((*rest.get(at)?, rest.get(..at)?)));
        match letter {
            Some((letter, before)) if letter.to_ascii_lowercase() == expected => {
                (first, rest) = (letter, before);
            }
            _ => return false,
        }
    }
    match rest.last() {
        None => true,
        Some(before) => {
            is_separator(*before) || first.is_ascii_uppercase() && !before.is_ascii_uppercase()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(list: &str) -> Names {
        Names::new(&Names::wishes(list).unwrap())
    }

    #[test]
    fn secrets_are_known_by_the_last_word_of_their_name() {
        let names = Names::default();
        for name in [
            "password",
            "Password",
            "PASSWORD",
            "user.password",
            "db_password",
            "pass-word",
            "userPassword",
            "authorization",
            "Proxy-Authorization",
            "http.request.header.authorization",
            "cookie",
            "set-cookie",
            "secret",
            "client_secret",
            "clientSecret",
            "client.secret",
            "token",
            "access_token",
            "accessToken",
            "accesstoken",
            "refresh-token",
            "id_token",
            "x-auth-token",
            "api_key",
            "apikey",
            "api.key",
            "x-api-key",
            "APIKey",
            "private_key",
            "aws_secret_access_key",
            "session",
            "credentials",
            "jwt",
        ] {
            assert!(names.hold(name), "{name}");
        }
    }

    #[test]
    fn names_that_only_resemble_a_secrets_are_left_alone() {
        let names = Names::default();
        for name in [
            "",
            "_",
            "tokens",
            "token_type",
            "gen_ai.usage.input_tokens",
            "passwordless",
            "session.id",
            "key",
            "partition_key",
            "cookies_accepted",
            "secretary",
            "obsession",
            "user",
            "http.route",
            "url.path",
            "authorized",
        ] {
            assert!(!names.hold(name), "{name}");
        }
    }

    #[test]
    fn names_are_added_and_taken_off() {
        let names = names(" ssn, card_number,-session,-page_token,");
        for name in [
            "ssn",
            "user.ssn",
            "card-number",
            "cardNumber",
            "token",
            "password",
        ] {
            assert!(names.hold(name), "{name}");
        }
        for name in ["session", "user.session", "page_token", "pageToken"] {
            assert!(!names.hold(name), "{name}");
        }
        assert!(self::names("-token,token").hold("token"));
        assert!(self::names("").hold("token"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for list in ["a b", "-", "ssn,=", "ü", "..", &"x".repeat(129)] {
            let fault = Names::wishes(list).unwrap_err();
            assert!(fault.contains("card_number"), "{list}: {fault}");
        }
        let many = vec!["x"; MAX_WISHES + 1].join(",");
        assert!(Names::wishes(&many).unwrap_err().contains("64"));
    }

    proptest! {
        #[test]
        fn any_name_has_an_answer(name in ".{0,40}", prefix in "[a-z]{0,8}") {
            let _ = Names::default().hold(&name);
            let dotted = format!("{prefix}.password");
            prop_assert!(Names::default().hold(&dotted));
        }
    }
}
