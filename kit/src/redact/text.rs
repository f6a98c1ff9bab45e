//! Secrets within texts: the credentials of a URL, and the token behind `Bearer` or `Basic`. Looked for in
//! finished lines and exported attributes, which are bytes: whatever wrote them, nothing gets past.
//!
//! The scan of a text without `@` and `B` is all that most texts cost.

use std::ops::Range;

use memchr::{memchr2_iter, memmem};

use super::REDACTED;

/// Replaces the secrets in a finished line. What is replaced lies within one value: neither a quote that ends a
/// JSON string nor white space nor a control character is part of it.
pub(crate) fn in_line(line: &mut Vec<u8>) {
    if let Some(secret) = next(line, 0) {
        *line = without(line, secret);
    }
}

/// The text without its secrets, when it has some.
pub(crate) fn in_text(text: &str) -> Option<String> {
    let secret = next(text.as_bytes(), 0)?;
    let clean = without(text.as_bytes(), secret);
    // Cut at ASCII characters only, so it is text still.
    Some(String::from_utf8_lossy(&clean).into_owned())
}

#[cold]
fn without(text: &[u8], first: Range<usize>) -> Vec<u8> {
    let mut clean = Vec::with_capacity(text.len() + REDACTED.len());
    let mut copied = 0;
    let mut secret = Some(first);
    while let Some(Range { start, end }) = secret {
        clean.extend_from_slice(text.get(copied..start).unwrap_or_default());
        clean.extend_from_slice(REDACTED.as_bytes());
        copied = end;
        secret = next(text, end);
    }
    clean.extend_from_slice(text.get(copied..).unwrap_or_default());
    clean
}

/// Where the first secret at or behind `from` lies.
fn next(text: &[u8], from: usize) -> Option<Range<usize>> {
    let rest = text.get(from..)?;
    let mut floor = from;
    memchr2_iter(b'@', b'B', rest).find_map(|at| {
        let at = from + at;
        if text.get(at) == Some(&b'B') {
            return token(text, at);
        }
        let found = credentials(text, floor, at);
        // Each byte is looked at by one `@` only, however many there are.
        floor = at + 1;
        found
    })
}

/// The token of `Bearer TOKEN` (RFC 6750) or `Basic TOKEN` (RFC 7617) that begins at `at`.
fn token(text: &[u8], at: usize) -> Option<Range<usize>> {
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    if before.is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let rest = text.get(at..)?;
    let bearer = rest.starts_with(b"Bearer ");
    if !bearer && !rest.starts_with(b"Basic ") {
        return None;
    }
    let start = at + if bearer { 7 } else { 6 };
    let token = text.get(start..)?;
    let ends = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'' | b'\\' | b',');
    let len = token.iter().position(ends).unwrap_or(token.len());
    let token = token.get(..len)?;
    // “Basic plan”: words are no base64 of a name and a password, which nearly always has one of these.
    let basic = || {
        let telling =
            |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase() || *byte == b'=';
        token.iter().any(telling)
    };
    let is_secret = !token.is_empty() && token != REDACTED.as_bytes() && (bearer || basic());
    is_secret.then_some(start..start + len)
}

/// The user and password of a URL (RFC 3986 §3.2.1) that the `@` at `at` ends; looked for from `floor` on.
fn credentials(text: &[u8], floor: usize, at: usize) -> Option<Range<usize>> {
    let before = text.get(floor..at)?;
    let stop = (0..before.len())
        .rev()
        .find(|place| is_stop(before, *place));
    let word = floor + stop.map_or(0, |stop| stop + 1);
    let word_text = text.get(word..at)?;
    let start = memmem::find_iter(word_text, b"://")
        .map(|scheme_end| scheme_end + 3)
        .find(|start| word_text.get(*start..).is_some_and(is_user_info))?;
    Some(word + start..last_at(text, at))
}

/// Where credentials begin that a cut at the end of `text` has left without their `@`: nothing behind may stay.
pub(crate) fn unfinished(text: &[u8]) -> Option<usize> {
    let stop = (0..text.len()).rev().find(|place| is_stop(text, *place));
    let word = stop.map_or(0, |stop| stop + 1);
    let word_text = text.get(word..)?;
    memmem::find_iter(word_text, b"://")
        .map(|scheme_end| scheme_end + 3)
        .find(|start| {
            let rest = word_text.get(*start..).unwrap_or_default();
            // Without a colon it is a host, for all that can be known.
            rest.contains(&b':') && is_user_info(rest) && !is_host_and_port(rest)
        })
        .map(|start| word + start)
}

fn is_host_and_port(authority: &[u8]) -> bool {
    let mut parts = authority.splitn(2, |byte| *byte == b':');
    parts
        .nth(1)
        .is_some_and(|port| port.iter().all(u8::is_ascii_digit))
}

/// Whether what stands between `://` and `@` are credentials. In a password, a character that RFC 3986 has
/// escaped is no end, since who logs a URL with it in wants it hidden all the more: only `host:8080/…@…` is
/// taken for a path.
fn is_user_info(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| is_delimiter(*byte)) else {
        return !text.is_empty();
    };
    let authority = text.get(..end).unwrap_or_default();
    let mut parts = authority.splitn(2, |byte| *byte == b':');
    let port = parts.nth(1).unwrap_or_default();
    !port.iter().all(u8::is_ascii_digit)
}

/// The last `@` of the authority that goes on behind the one at `at`: passwords may have some too.
fn last_at(text: &[u8], at: usize) -> usize {
    let mut last = at;
    for place in at + 1..text.len() {
        match text.get(place) {
            Some(b'@') => last = place,
            Some(byte) if is_delimiter(*byte) || is_stop(text, place) => break,
            _ => {}
        }
    }
    last
}

/// What ends an authority and stands unescaped in none.
fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'/' | b'?' | b'#' | b'[' | b']' | b'\\' | b'<' | b'>' | b'{' | b'}' | b'|' | b'^' | b'`'
    )
}

/// Whether no URL goes on here: white space, control characters, and quotes that no backslash escapes.
fn is_stop(text: &[u8], at: usize) -> bool {
    match text.get(at) {
        Some(b'"') => {
            let before = text.get(..at).unwrap_or_default();
            let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\');
            backslashes.count() % 2 == 0
        }
        Some(byte) => *byte <= b' ' || *byte == 0x7f,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(in_text(text).as_deref().unwrap_or(text), expected);
        assert_eq!(in_text(expected), None, "once is enough");
    }

    #[test]
    fn credentials_of_urls_are_hidden() {
        check(
            "postgres://me:pw@db/orders",
            "postgres://[redacted]@db/orders",
        );
        check(
            "cannot reach http://u:p@h:80/a?b#c: refused",
            "cannot reach http://[redacted]@h:80/a?b#c: refused",
        );
        check(
            "https://ghp_token@github.com",
            "https://[redacted]@github.com",
        );
        check("redis://:pw@cache", "redis://[redacted]@cache");
        check(
            "a://u:p@h b://u2:p2@h2",
            "a://[redacted]@h b://[redacted]@h2",
        );
        check(
            "x=http://h,y=http://u:p@h",
            "x=http://h,y=http://[redacted]@h",
        );
        check("jdbc:pg://u:p@h", "jdbc:pg://[redacted]@h");
        check(
            "ann@example.com:http://u:p@h",
            "ann@example.com:http://[redacted]@h",
        );
    }

    #[test]
    fn odd_passwords_are_hidden_whole() {
        check("http://u:p@ss@h/x", "http://[redacted]@h/x");
        check("http://ann@corp:pw@h", "http://[redacted]@h");
        check("http://u:pa/ss@h", "http://[redacted]@h");
        check("http://u:1,2&3!@h", "http://[redacted]@h");
        check("http://u:p\\\"x@h", "http://[redacted]@h");
        check("http://u:a:1/x@h", "http://[redacted]@h");
        check("http://ü:é@h", "http://[redacted]@h");
        check("http://u:p://x@h", "http://[redacted]@h");
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "",
            "@",
            "://@",
            "ann@example.com",
            "http://h/ann@example.com",
            "http://localhost:8080/users/a@b.c",
            "http://[::1]:80/a@b",
            "http://h?mail=a@b",
            "http://h and a@b",
            "\"http://h\",\"a@b\"",
            "Basic plan, Bearer ",
            "Basic authentication failed",
            "FooBearer x",
            "BBBB@@@@",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn credentials_are_hidden_although_a_cut_took_their_end() {
        let check = |text: &str, kept: Option<&str>| {
            let at = unfinished(text.as_bytes());
            assert_eq!(at.map(|at| &text[..at]), kept, "{text}");
        };
        check("see http://user:passw", Some("see http://"));
        check("http://user:pa/ss", Some("http://"));
        check("http://host", None);
        check("http://host:80", None);
        check("http://host:", None);
        check("http://host:80/a:b", None);
        check("http://user:pw@host", Some("http://"));
        check("http://user:pw then", None);
        check("", None);
    }

    #[test]
    fn tokens_behind_a_scheme_are_hidden() {
        check("Bearer abc.def", "Bearer [redacted]");
        check(
            "authorization: Bearer a-b_c, next",
            "authorization: Bearer [redacted], next",
        );
        check("{\\\"Bearer x\\\"}", "{\\\"Bearer [redacted]\\\"}");
        check("Basic dXNlcjpwdw==", "Basic [redacted]");
    }

    proptest! {
        #[test]
        fn json_stays_json(values in proptest::collection::vec("[a@:/\\\\\"{}é B.\n]{0,24}", 0..6)) {
            let mut line = serde_json::to_vec(&values).unwrap();
            in_line(&mut line);
            let clean: Vec<String> = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(clean.len(), values.len());
        }

        #[test]
        fn no_password_gets_past(
            before in "[ -~]{0,12} ",
            user in "[a-z]{0,4}",
            password in "[a-zA-Z0-9!$&'()*+,;=%._~-]{1,12}",
        ) {
            let text = format!("{before}http://{user}:{password}@host/path");
            let clean = in_text(&text).unwrap();
            prop_assert!(clean.ends_with("http://[redacted]@host/path"), "{}", clean);
        }

        #[test]
        fn any_text_is_looked_through(text in "\\PC{0,60}") {
            let _ = in_text(&text);
        }
    }
}
