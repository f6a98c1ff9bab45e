//! W3C Baggage: what callers pass along with a request, kept within limits. Taken from trusted callers by `http`,
//! passed on by the client layer, read by handlers through `CurrentRequest::baggage`.

use ::http::HeaderValue;

/// Bytes passed on; at least as many must be (§3.3.2).
const MAX_LEN: usize = 8_192;
/// Members passed on: at least 64 must be (§3.3.2), and OpenTelemetry's own libraries take so many.
const MAX_MEMBERS: usize = 180;

/// The well-formed members of all `baggage` headers, as they came: properties stay, nothing is decoded. Members
/// beyond the limits are left out whole, those in front come first. Copied: the context outlives the
/// connection's read buffer.
pub(crate) fn parse<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let mut kept = Vec::new();
    let all = values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| is_member(member));
    let mut count = 0;
    for member in all {
        let comma = usize::from(!kept.is_empty());
        if kept.len() + comma + member.len() > MAX_LEN {
            continue;
        }
        kept.extend_from_slice(&b","[..comma]);
        kept.extend_from_slice(member);
        count += 1;
        if count == MAX_MEMBERS {
            break;
        }
    }
    if kept.is_empty() {
        return None;
    }
    HeaderValue::try_from(kept).ok()
}

/// The value of a key, percent-decoded, what is not UTF-8 replaced (§3.2.2); the last one, if it is there more
/// than once.
pub(crate) fn get(baggage: &HeaderValue, key: &str) -> Option<String> {
    let members = baggage.as_bytes().split(|byte| *byte == b',');
    let value = members
        .filter_map(|member| {
            let (name, value) = key_and_value(member.split(|byte| *byte == b';').next()?)?;
            (name == key.as_bytes()).then_some(value)
        })
        .next_back()?;
    Some(decoded(value))
}

/// `key=value;property;key=value` by the grammar of §3.2.1.
fn is_member(member: &[u8]) -> bool {
    let mut parts = member.split(|byte| *byte == b';');
    let pair = |part| {
        key_and_value(part).is_some_and(|(key, value)| is_token(key) && value.iter().all(is_octet))
    };
    parts.next().is_some_and(pair)
        && parts.all(|property| pair(property) || is_token(property.trim_ascii()))
}

fn key_and_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b'=')?;
    let (key, value) = text.split_at(at);
    Some((key.trim_ascii(), value.get(1..)?.trim_ascii()))
}

/// RFC 9110 §5.6.2.
fn is_token(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(allowed)
}

/// Visible ASCII but for `"`, `,`, `;` and `\`.
fn is_octet(byte: &u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

/// A `%` without two hex digits behind it stays what it is.
fn decoded(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, behind)) = rest.split_first() {
        let escaped = match (byte, behind) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*byte));
        let read = if escaped.is_some() { 2 } else { 0 };
        rest = behind.get(read..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        let values: Vec<_> = values
            .iter()
            .map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap())
            .collect();
        parse(values.iter()).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn members_by_the_specification() {
        for (values, expected) in [
            (&["tenant=7"][..], Some("tenant=7")),
            (&["a=1 , b = 2;p;q=3", "c=4"], Some("a=1,b = 2;p;q=3,c=4")),
            (&["a="], Some("a=")),
            (&["a=1=2"], Some("a=1=2")),
            (&["a=%20x%zz"], Some("a=%20x%zz")),
            (&["bad,a=1,b c=2,=3,d=\"4\",e=5;;,f=6"], Some("a=1,f=6")),
            (&["a=é,b=1"], Some("b=1")),
            (&["a=1\t2"], None),
            (&["", ","], None),
        ] {
            assert_eq!(read(values).as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn members_beyond_the_limits_are_left_out_whole() {
        let many: String = (0..200).map(|i| format!("k{i}=v,")).collect();
        let kept = read(&[&many]).unwrap();
        assert_eq!(kept.split(',').count(), MAX_MEMBERS);
        assert!(kept.ends_with("k179=v"));
        let long = |key: &str, len| format!("{key}={}", "x".repeat(len - key.len() - 1));
        let (first, huge, exact) = (long("a", 4_000), long("b", 9_000), long("c", 4_191));
        assert_eq!(
            read(&[&first, &huge, &exact, "d=1"]).unwrap(),
            format!("{first},{exact}")
        );
    }

    #[test]
    fn values_are_read_decoded() {
        let baggage = HeaderValue::from_static("a=1;p=x,b = caf%C3%A9 ,c=%ff%2,a=2, d=x=y");
        for (key, value) in [
            ("a", Some("2")),
            ("b", Some("café")),
            ("c", Some("\u{fffd}%2")),
            ("d", Some("x=y")),
            ("p", None),
            ("", None),
        ] {
            assert_eq!(get(&baggage, key).as_deref(), value, "{key}");
        }
    }

    proptest! {
        #[test]
        fn any_baggage_is_cut_to_what_is_valid(
            values in proptest::collection::vec("[ -~\t]{0,300}|([a-z]{1,8} ?= ?[!-+]{0,9}(;[a-z]=?)?,){0,300}", 0..4),
        ) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            if let Some(kept) = read(&values) {
                prop_assert!(kept.len() <= MAX_LEN && kept.split(',').count() <= MAX_MEMBERS);
                prop_assert!(kept.split(',').all(|member| is_member(member.as_bytes())));
                prop_assert_eq!(read(&[&kept]), Some(kept));
            }
        }
    }
}
