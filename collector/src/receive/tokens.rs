//! Bearer tokens (RFC 6750) that requests have to carry. `config` names where they come from, `pipeline` has their files
//! watched, `access` asks for them.

use std::path::PathBuf;

use http::{HeaderMap, header};
use subtle::{Choice, ConstantTimeEq as _};

use crate::secret::Secret;

/// A shorter one could be guessed.
const LEAST_BYTES: usize = 16;
const MOST_BYTES: usize = 4096;
const MOST_TOKENS: usize = 64;

/// Where tokens come from: each source has one or several, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSources(Vec<Secret>);

/// The tokens in force; any of them lets a request in.
pub struct Tokens(Vec<String>);

impl TokenSources {
    /// Tokens of all `sources`.
    pub fn new(sources: Vec<Secret>) -> Self {
        Self(sources)
    }

    /// Whether no token is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The files they come from.
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.iter().flat_map(Secret::files).collect()
    }

    /// The tokens as they are now. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read, or what is no token, without anything of it.
    pub fn load(&self) -> Result<Tokens, String> {
        let mut tokens = Vec::new();
        for source in &self.0 {
            tokens.extend(tokens_of(source)?);
        }
        if tokens.len() > MOST_TOKENS {
            return Err(format!("at most {MOST_TOKENS} tokens are allowed"));
        }
        Ok(Tokens(tokens))
    }
}

/// The tokens of one source, at least one. Blocks.
///
/// # Errors
/// As [`TokenSources::load`].
pub fn tokens_of(source: &Secret) -> Result<Vec<String>, String> {
    let text = source.read()?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_token = |line: &str| {
        (LEAST_BYTES..=MOST_BYTES).contains(&line.len())
            && line.bytes().all(|byte| byte.is_ascii_graphic())
    };
    lines
        .map(|line| {
            is_token(line).then(|| line.to_owned()).ok_or_else(|| {
                format!(
                    "a token of {LEAST_BYTES} to {MOST_BYTES} visible ASCII characters is needed, one on each line"
                )
            })
        })
        .collect()
}

impl Tokens {
    /// Whether a request with these headers has one of them. How long that takes tells nothing of any but its length.
    pub(super) fn let_in(&self, headers: &HeaderMap) -> bool {
        let Some(given) = bearer(headers) else {
            return false;
        };
        let mut is_one = Choice::from(0);
        for token in &self.0 {
            is_one |= token.as_bytes().ct_eq(given);
        }
        is_one.into()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    const SCHEME: &str = "bearer ";
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    // Two of them could mean anything.
    let is_alone = values.next().is_none();
    (is_alone && scheme.eq_ignore_ascii_case(SCHEME.as_bytes())).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    const OLD: &str = "0123456789abcdef";
    const NEW: &str = "fedcba9876543210";

    fn tokens(text: &str) -> Result<Tokens, String> {
        let variable = |_: &str| Some(OsString::from(text));
        let source = Secret::resolve("${TOKENS}", &variable)?;
        TokenSources::new(vec![source]).load()
    }

    fn check(values: &[&str], expected: bool) {
        let tokens = tokens(&format!("{OLD}\r\n\n  {NEW}\n")).unwrap();
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        assert_eq!(tokens.let_in(&headers), expected, "{values:?}");
    }

    #[test]
    fn each_of_several_tokens_lets_in_and_nothing_else() {
        check(&["Bearer 0123456789abcdef"], true);
        check(&["bearer  fedcba9876543210 "], true);
        for wrong in [
            "0123456789abcdef",
            "Basic 0123456789abcdef",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef, Bearer fedcba9876543210",
        ] {
            check(&[wrong], false);
        }
        check(&[], false);
        check(
            &["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"],
            false,
        );
    }

    #[test]
    fn what_is_no_token_is_refused_without_telling_it() {
        for wrong in [
            "shortsecret",
            "with a space in it",
            "with\u{e4}umlauts-in-it",
            &"x".repeat(4097),
        ] {
            let error = tokens(&format!("{OLD}\n{wrong}")).err().unwrap();
            assert!(error.contains("16 to 4096 visible ASCII"), "{error}");
            assert!(!error.contains(wrong), "{error}");
        }
        let many = format!("{OLD}\n").repeat(65);
        assert_eq!(
            tokens(&many).err().unwrap(),
            "at most 64 tokens are allowed"
        );
    }
}
