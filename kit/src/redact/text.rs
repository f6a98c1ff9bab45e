//! Secrets within texts: the credentials of a URL, and the token behind `Bearer` or `Basic`. Looked for in what a
//! format has written of a value, which is bytes, and in exported attributes: whatever formatted them, nothing
//! gets past.
//!
//! Most values have neither `@` with a colon nor `Be` nor `Ba`, and knowing that is all that they cost.

use std::ops::Range;

use super::REDACTED;

/// Replaces the secrets in the value that was written at the end of `out`, from `start` on. Escapes stay whole,
/// and nothing that ends a value is taken out: no quote but one with a backslash, no white space, no control
/// character.
pub(crate) fn in_value(out: &mut Vec<u8>, start: usize) {
    // `a://b@c` is the shortest.
    if out.len() < start + 7 {
        return;
    }
    if out.get(start..).is_some_and(may_be_marked) {
        clean(out, start);
    }
}

#[inline(never)]
fn clean(out: &mut Vec<u8>, start: usize) {
    let value = out.get(start..).unwrap_or_default();
    if !(is_marked(value) && is_suspicious(value)) {
        return;
    }
    if let Some(secret) = next(value, 0) {
        let clean = without(value, secret);
        out.truncate(start);
        out.extend_from_slice(&clean);
    }
}

/// The text without its secrets, when it has some.
pub(crate) fn in_text(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let suspicious = may_be_marked(bytes) && is_marked(bytes) && is_suspicious(bytes);
    let secret = suspicious.then(|| next(bytes, 0)).flatten()?;
    let clean = without(bytes, secret);
    // Cut at ASCII characters only, so it is text still.
    Some(String::from_utf8_lossy(&clean).into_owned())
}

/// Whether a byte is `@`, or the `B` of a scheme. Looks at eight at a time; the last eight may overlap those before them.
#[inline]
fn may_be_marked(bytes: &[u8]) -> bool {
    match bytes.last_chunk() {
        Some(last) => {
            let (words, _) = bytes.as_chunks();
            words.iter().any(may_have_mark) || may_have_mark(last)
        }
        None => bytes.iter().any(is_mark),
    }
}

/// Whether a text has the marks of a secret: `@` and a colon, or how a scheme begins. Never says no when it has, and
/// hardly ever yes when it has not.
fn is_marked(bytes: &[u8]) -> bool {
    match bytes.last_chunk() {
        Some(last) => {
            let (words, _) = bytes.as_chunks();
            let marks = words.iter().map(Marks::of).fold(Marks::of(last), Marks::or);
            marks.at != 0 && marks.colon != 0 || marks.scheme != 0
        }
        None => bytes.iter().any(is_mark),
    }
}

/// Which of some bytes have a mark, as their high bits; a byte behind one that has may seem to have it too.
#[derive(Clone, Copy)]
struct Marks {
    at: u64,
    colon: u64,
    /// `B` with `e` or `a` behind it, or at the end of a word, where that is not known.
    scheme: u64,
}

impl Marks {
    #[inline]
    fn of(word: &[u8; 8]) -> Self {
        let word = u64::from_le_bytes(*word);
        let behind = word >> u8::BITS | u64::from(b'e') << (u64::BITS - u8::BITS);
        // The two differ in one bit.
        let e_or_a = behind | (EACH * 0x04);
        Self {
            at: equal(word, b'@'),
            colon: equal(word, b':'),
            scheme: equal(word, b'B') & equal(e_or_a, b'e'),
        }
    }

    fn any(self) -> bool {
        (self.at | self.scheme) != 0
    }

    #[inline]
    fn or(self, other: Self) -> Self {
        Self {
            at: self.at | other.at,
            colon: self.colon | other.colon,
            scheme: self.scheme | other.scheme,
        }
    }
}

/// A one in each byte.
const EACH: u64 = u64::MAX / 0xff;

/// The high bits of the bytes that equal `byte`: they are zero in the difference, and a zero is what borrows when one
/// is subtracted.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    let zero = word ^ (EACH * u64::from(byte));
    zero.wrapping_sub(EACH) & !zero & (EACH * 0x80)
}

/// Whether a text with such a mark may have a secret, which mail addresses and most words with a B have not: one
/// pass tells.
fn is_suspicious(text: &[u8]) -> bool {
    let mut rest = text;
    let mut in_url = false;
    while let [byte, after @ ..] = rest {
        match byte {
            b':' => in_url |= after.starts_with(b"//"),
            b'@' if in_url => return true,
            b'B' if matches!(after.first(), Some(b'e' | b'a')) => return true,
            _ => {}
        }
        rest = after;
    }
    false
}

/// Whether a byte is one that secrets are looked for by: a text without any has none.
pub(crate) fn is_mark(byte: &u8) -> bool {
    matches!(byte, b'@' | b'B')
}

/// Whether one of eight bytes is `@`, or `B` where a scheme may begin.
#[inline]
pub(crate) fn may_have_mark(word: &[u8; 8]) -> bool {
    // They differ in one bit.
    let any = equal(u64::from_le_bytes(*word) | (EACH * 0x02), b'B');
    any != 0 && Marks::of(word).any()
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
    let (mut floor, mut at) = (from, from);
    loop {
        at += text.get(at..)?.iter().position(is_mark)?;
        let found = if text.get(at) == Some(&b'B') {
            token(text, at)
        } else {
            // Each byte is looked at by one `@` only, however many there are.
            credentials(text, std::mem::replace(&mut floor, at + 1), at)
        };
        if found.is_some() {
            return found;
        }
        at += 1;
    }
}

/// The token of `Bearer TOKEN` (RFC 6750) or `Basic TOKEN` (RFC 7617) that begins at `at`.
fn token(text: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    if before.is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
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
    let word = floor + word_start(before);
    let start = authorities(text.get(word..at)?)
        .find(|(_, authority)| is_user_info(authority))
        .map(|(start, _)| word + start)?;
    Some(start..last_at(text, at))
}

/// Where the last word of a text begins.
fn word_start(text: &[u8]) -> usize {
    for (at, byte) in text.iter().enumerate().rev() {
        // Nothing but these may be a stop.
        if matches!(byte, 0..=b' ' | b'"' | 0x7f) && is_stop(text, at) {
            return at + 1;
        }
    }
    0
}

/// What follows each `://`, with where it begins.
fn authorities(word: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    word.windows(3)
        .enumerate()
        .filter(|(_, window)| *window == b"://")
        .filter_map(|(at, _)| Some((at + 3, word.get(at + 3..)?)))
}

/// The longest beginning of `text` that is at most `max` bytes long and ends between characters. Where the cut
/// goes through the credentials of a URL, they are left out, since they are known by what follows them.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = text.get(..end).unwrap_or_default();
    if end == text.len() {
        return kept;
    }
    let secret = unfinished(kept.as_bytes());
    secret.and_then(|at| kept.get(..at)).unwrap_or(kept)
}

/// Where credentials begin that a cut at the end of `text` has left without their `@`: nothing behind may stay.
pub(crate) fn unfinished(text: &[u8]) -> Option<usize> {
    let word = word_start(text);
    authorities(text.get(word..)?)
        .find(|(_, authority)| {
            // Without a colon it is a host, for all that can be known. Digits behind it may be a port, or half a
            // password.
            authority.contains(&b':') && is_user_info(authority)
        })
        .map(|(start, _)| word + start)
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
        check("http://user:123", Some("http://"));
        check("http://user:", Some("http://"));
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
            let mut line = b"see http://u:p@h ".to_vec();
            let start = line.len();
            serde_json::to_writer(&mut line, &values).unwrap();
            in_value(&mut line, start);
            prop_assert_eq!(&line[..start], b"see http://u:p@h ");
            let clean: Vec<String> = serde_json::from_slice(&line[start..]).unwrap();
            prop_assert_eq!(clean.len(), values.len());
        }

        #[test]
        fn what_may_be_a_mark_is_seen_wherever_it_is(text in "[ -~é]{0,40}") {
            if text.contains('@') || text.contains("Be") || text.contains("Ba") {
                prop_assert!(may_be_marked(text.as_bytes()), "{}", text);
            }
            if !text.contains(['@', 'B']) {
                prop_assert!(!may_be_marked(text.as_bytes()), "{}", text);
            }
        }

        #[test]
        fn marks_are_seen_wherever_they_are(before in "[ -~é]{0,20}", after in "[ -~é]{0,20}") {
            for mark in ["Be", "Ba", ":@", "@:"] {
                let text = format!("{before}{mark}{after}");
                prop_assert!(is_marked(text.as_bytes()), "{}", text);
            }
            for [mark, other] in [["@", "B"], [":", "B"]] {
                let text = format!("{before}{after}").replace(mark, "A").replace(other, "A");
                prop_assert!(text.len() < 8 || !is_marked(text.as_bytes()), "{}", text);
            }
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
