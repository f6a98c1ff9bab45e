//! The parts of a `tracestate` (W3C Trace Context, §3.3) and of OpenTelemetry's entry in it (`ot=th:8;rv:…`). Read by
//! `weight`, and by `export` where it samples.

/// A sub-key's value in the `ot` entry.
pub(crate) fn ot<'a>(state: &'a str, key: &str) -> Option<&'a str> {
    let value = members(state).find_map(|member| member.strip_prefix("ot="))?;
    sub_keys(value).find_map(|sub_key| sub_key.strip_prefix(key)?.strip_prefix(':'))
}

/// The members; empty ones are allowed and mean nothing (§3.3.1.1).
pub(crate) fn members(state: &str) -> impl Iterator<Item = &str> {
    let members = state.split(',').map(str::trim_ascii);
    members.filter(|member| !member.is_empty())
}

/// The sub-keys of an `ot` entry's value, each with its own value.
pub(crate) fn sub_keys(value: &str) -> impl Iterator<Item = &str> {
    let sub_keys = value.split(';').map(str::trim_ascii);
    sub_keys.filter(|sub_key| !sub_key.is_empty())
}
