//! W3C `tracestate`, level 2: what travels beside `traceparent`. Read by `propagation`, changed where a sampling
//! decision is made, passed on by the client layer and exported with each span.

use ::http::HeaderValue;

use super::{Randomness, Threshold};

/// A `tracestate` within the specification's limits, passed on as it came but for our own entry, `ot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceState(HeaderValue);

impl TraceState {
    /// Vendors should pass on at least this many bytes (§3.3.1.5); of longer lists whole entries are left out.
    const MAX_LEN: usize = 512;
    /// §3.3.1.1.
    const MAX_MEMBERS: usize = 32;
    /// More than the grammar can fill: 32 entries of a key and a value of 256 bytes each.
    const MAX_READ: usize = Self::MAX_MEMBERS * 2 * 260;
    /// Entries longer than this go first (§3.3.1.5).
    const LONG_MEMBER: usize = 128;

    /// Several headers are one list (§3.3). `None` when a member is malformed, a key there twice, or the list
    /// empty or of too many members: the whole header is then ignored.
    pub(crate) fn parse<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Option<Self> {
        let first = values.next()?.as_bytes();
        let Some(second) = values.next() else {
            return Self::read(first);
        };
        let mut list = first.to_vec();
        for value in std::iter::once(second).chain(values) {
            list.push(b',');
            list.extend_from_slice(value.as_bytes());
            if list.len() > Self::MAX_READ {
                return None;
            }
        }
        Self::read(&list)
    }

    fn read(list: &[u8]) -> Option<Self> {
        // What a service with this kit sends for a trace that is kept whole.
        if list == KEPT_WHOLE.as_bytes() {
            return Some(Self::kept_whole());
        }
        let members = checked_members(list)?;
        if list.len() <= Self::MAX_LEN {
            return HeaderValue::from_bytes(list).ok().map(Self);
        }
        Self::of_members(members)
    }

    /// `ot=th:0`, without allocating.
    fn kept_whole() -> Self {
        Self(KEPT_WHOLE)
    }

    /// The state of a trace that was kept by this threshold: `th` of the `ot` entry, which moves to the front
    /// when that changes it (§3.5). `state` is the parent's.
    pub(crate) fn kept_by(threshold: Threshold, state: Option<Self>) -> Option<Self> {
        match state {
            Some(state) if state.threshold() == Some(threshold) => Some(state),
            Some(state) => state.with_threshold(Some(threshold)),
            None if threshold == Threshold::ALWAYS => Some(Self::kept_whole()),
            None => {
                let entry = format!("ot=th:{}", threshold.to_text());
                HeaderValue::try_from(entry).ok().map(Self)
            }
        }
    }

    /// The state of a trace that is not kept: it has no threshold.
    pub(crate) fn not_kept(state: Option<Self>) -> Option<Self> {
        match state {
            Some(state) if state.ot("th").is_some() => state.with_threshold(None),
            state => state,
        }
    }

    /// `rv` of the `ot` entry: randomness of a trace whose id has none.
    pub(crate) fn randomness(&self) -> Option<Randomness> {
        self.ot("rv").and_then(Randomness::parse)
    }

    fn threshold(&self) -> Option<Threshold> {
        self.ot("th").and_then(Threshold::parse)
    }

    pub(crate) fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// A sub-key's value in the `ot` entry (`ot=th:8;rv:…`).
    fn ot(&self, key: &str) -> Option<&[u8]> {
        let (_, value) = members(self.0.as_bytes())
            .filter_map(halves)
            .find(|(key, _)| *key == b"ot")?;
        sub_keys(value).find_map(|sub_key| sub_key.strip_prefix(key.as_bytes())?.strip_prefix(b":"))
    }

    fn with_threshold(&self, threshold: Option<Threshold>) -> Option<Self> {
        let mut ot = threshold.map_or_else(Vec::new, |threshold| {
            format!("ot=th:{}", threshold.to_text()).into_bytes()
        });
        let mut others = Vec::new();
        for member in members(self.0.as_bytes()) {
            match halves(member) {
                Some((b"ot", value)) => {
                    for sub_key in sub_keys(value).filter(|sub_key| !sub_key.starts_with(b"th:")) {
                        ot.extend_from_slice(if ot.is_empty() { b"ot=" } else { b";" });
                        ot.extend_from_slice(sub_key);
                    }
                }
                _ => others.push(member),
            }
        }
        // The grammar's limit on a value; the rest of the entry is nothing that we know.
        if ot.len() > b"ot=".len() + MAX_VALUE {
            ot = threshold.map_or_else(Vec::new, |threshold| {
                format!("ot=th:{}", threshold.to_text()).into_bytes()
            });
        }
        let front = Some(ot.as_slice()).filter(|ot| !ot.is_empty());
        Self::of_members(front.into_iter().chain(others).collect())
    }

    /// Entries that are too many are cut from the right; of too long a list first those that are long
    /// (§3.3.1.5). The first one stays: what was changed last stands there.
    fn of_members(mut members: Vec<&[u8]>) -> Option<Self> {
        members.truncate(Self::MAX_MEMBERS);
        while joined_len(&members) > Self::MAX_LEN {
            let long = |member: &&[u8]| member.len() > Self::LONG_MEMBER;
            let cut = members.iter().skip(1).rposition(long).map(|at| at + 1);
            match cut {
                Some(cut) => drop(members.remove(cut)),
                None => drop(members.pop()?),
            }
        }
        if members.is_empty() {
            return None;
        }
        HeaderValue::try_from(members.join(&b',')).ok().map(Self)
    }
}

const KEPT_WHOLE: HeaderValue = HeaderValue::from_static("ot=th:0");

/// The longest key and value (§3.3.1.3), in bytes.
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// The members of a list that is valid as a whole.
fn checked_members(list: &[u8]) -> Option<Vec<&[u8]>> {
    let mut checked: Vec<(&[u8], &[u8])> = Vec::new();
    for member in members(list) {
        let (key, value) = halves(member)?;
        let twice = || checked.iter().any(|(other, _)| *other == key);
        if checked.len() == TraceState::MAX_MEMBERS || !is_key(key) || !is_value(value) || twice() {
            return None;
        }
        checked.push((key, member));
    }
    let members = checked
        .into_iter()
        .map(|(_, member)| member)
        .collect::<Vec<_>>();
    (!members.is_empty()).then_some(members)
}

/// Empty ones are allowed and mean nothing (§3.3.1.1).
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

fn halves(member: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = member.split_at(at);
    Some((key, value.get(1..)?))
}

fn sub_keys(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b';')
        // Blanks may stand within a value, not at its end: what is cut off must not leave them there.
        .map(<[u8]>::trim_ascii)
        .filter(|sub_key| !sub_key.is_empty())
}

fn joined_len(members: &[&[u8]]) -> usize {
    let commas = members.len().saturating_sub(1);
    members.iter().map(|member| member.len()).sum::<usize>() + commas
}

fn is_key(key: &[u8]) -> bool {
    let opens = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= MAX_KEY
        && key.first().is_some_and(opens)
        && key
            .iter()
            .all(|byte| opens(byte) || b"_-*/@".contains(byte))
}

fn is_value(value: &[u8]) -> bool {
    (1..=MAX_VALUE).contains(&value.len())
        && value
            .iter()
            .all(|byte| matches!(byte, 0x20..=0x7e) && !matches!(byte, b',' | b'='))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(values: &[&str]) -> Option<TraceState> {
        let values: Vec<_> = values
            .iter()
            .map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap())
            .collect();
        TraceState::parse(values.iter())
    }

    fn read(values: &[&str]) -> Option<String> {
        parse(values).map(|state| state.as_str().to_owned())
    }

    fn many(n: usize) -> String {
        (0..n).map(|i| format!("k{i}=v,")).collect()
    }

    #[test]
    fn lists_by_the_specification() {
        for (values, expected) in [
            (&["a=1"][..], Some("a=1")),
            (&["a=1 , b=2", "c=3"], Some("a=1 , b=2,c=3")),
            (&["a=1", "b=2", "", "c=3"], Some("a=1,b=2,,c=3")),
            (&["a=1,,b=2,"], Some("a=1,,b=2,")),
            (&["a=1 \t,\tb=2"], Some("a=1 \t,\tb=2")),
            (&["0tenant@sys=x y"], Some("0tenant@sys=x y")),
            (&["foo-_*/bar=~}| {!\"#"], Some("foo-_*/bar=~}| {!\"#")),
            (&["ot=th:0"], Some("ot=th:0")),
            (&[""], None),
            (&[","], None),
            (&["a"], None),
            (&["a="], None),
            (&["=1"], None),
            (&["A=1"], None),
            (&["a =1"], None),
            (&["a b=1"], None),
            (&["a.b=1"], None),
            (&["a=1=2"], None),
            (&["a=1\t2"], None),
            (&["a=é"], None),
            (&["@a=1"], None),
            (&["a=1,a=2"], None),
            (&["a=1", "b=1", "a=1"], None),
            (&["a=1,b"], None),
        ] {
            assert_eq!(read(values).as_deref(), expected, "{values:?}");
        }
        assert!(read(&[&many(32)]).is_some());
        assert!(read(&[&many(33)]).is_none());
        assert!(read(&[&many(16), &many(16)]).is_none(), "each key twice");
        assert!(read(&[&format!("{}=1", "k".repeat(256))]).is_some());
        assert!(read(&[&format!("{}=1", "k".repeat(257))]).is_none());
        assert!(read(&[&format!("a={}", "x".repeat(256))]).is_some());
        assert!(read(&[&format!("a={}", "x".repeat(257))]).is_none());
        assert!(read(&["a=1"; 9_000]).is_none());
    }

    #[test]
    fn of_a_list_that_is_too_long_whole_entries_are_left_out_long_ones_first() {
        let long = |key: char| format!("{key}={}", "x".repeat(200));
        let short = |key: char| format!("{key}={}", "x".repeat(98));
        let (a, b, c) = (long('a'), long('b'), long('c'));
        let (d, e) = (short('d'), short('e'));
        let cut = read(&[&[&*a, &b, &d, &c, &e].join(",")]).unwrap();
        assert_eq!(cut, [&*a, &d, &e].join(","));
        let shorts: Vec<String> = ('a'..='j').map(short).collect();
        let cut = read(&[&shorts.join(",")]).unwrap();
        assert_eq!(cut, shorts[..5].join(","));
    }

    /// The state after a decision, `None` being not to keep.
    fn decided(state: &str, threshold: Option<&str>) -> Option<String> {
        let state = parse(&[state]);
        let state = match threshold {
            Some(digits) => {
                TraceState::kept_by(Threshold::parse(digits.as_bytes()).unwrap(), state)
            }
            None => TraceState::not_kept(state),
        };
        state.map(|state| state.as_str().to_owned())
    }

    #[test]
    fn the_threshold_of_a_decision() {
        for (state, threshold, expected) in [
            ("", Some("0"), Some("ot=th:0")),
            ("", Some("c"), Some("ot=th:c")),
            ("", None, None),
            ("a=1,b=2", Some("0"), Some("ot=th:0,a=1,b=2")),
            ("a=1,b=2", None, Some("a=1,b=2")),
            ("a=1,ot=th:8,b=2", Some("c"), Some("ot=th:c,a=1,b=2")),
            ("a=1 , ot=th:8 ,,b=2", Some("c"), Some("ot=th:c,a=1,b=2")),
            // Nothing changes, so nothing moves.
            ("a=1,ot=th:8,b=2", Some("8"), Some("a=1,ot=th:8,b=2")),
            ("a=1,ot=th:80,b=2", Some("8"), Some("a=1,ot=th:80,b=2")),
            ("a=1,ot=rv:1,b=2", None, Some("a=1,ot=rv:1,b=2")),
            ("a=1,ot=th:8,b=2", None, Some("a=1,b=2")),
            ("ot=th:8", None, None),
            ("ot=th:8 ; ;  ", None, None),
            ("ot=th:8 ; x:y ;", None, Some("ot=x:y")),
            (
                "a=1,ot=rv:6e6d1a75832a2f;th:8;x:y",
                None,
                Some("ot=rv:6e6d1a75832a2f;x:y,a=1"),
            ),
            (
                "ot=rv:6e6d1a75832a2f;th:8;x:y",
                Some("0"),
                Some("ot=th:0;rv:6e6d1a75832a2f;x:y"),
            ),
            ("ot=what", Some("0"), Some("ot=th:0;what")),
            ("ot=th:zz", Some("0"), Some("ot=th:0")),
            ("other=th:8", Some("0"), Some("ot=th:0,other=th:8")),
        ] {
            assert_eq!(
                decided(state, threshold).as_deref(),
                expected,
                "{state:?} {threshold:?}"
            );
        }
    }

    #[test]
    fn our_entry_makes_room_for_itself() {
        let state = decided(&many(32), Some("0")).unwrap();
        assert!(
            state.starts_with("ot=th:0,k0=v,") && state.ends_with(",k30=v"),
            "{state}"
        );
        let long = format!("a={},b={}", "x".repeat(250), "y".repeat(250));
        assert_eq!(
            decided(&long, Some("0")).unwrap(),
            format!("ot=th:0,a={}", "x".repeat(250))
        );
        let full = format!("ot={}", "x".repeat(256));
        assert_eq!(decided(&full, Some("0")).unwrap(), "ot=th:0");
    }

    #[test]
    fn explicit_randomness() {
        let randomness = |state: &str| parse(&[state]).unwrap().randomness();
        let rv = Randomness::parse(b"6e6d1a75832a2f");
        assert!(rv.is_some());
        assert_eq!(randomness("a=1,ot=th:8;rv:6e6d1a75832a2f"), rv);
        assert_eq!(randomness("ot=rv:6e6d"), None);
        assert_eq!(randomness("a=rv:6e6d1a75832a2f"), None);
    }

    proptest! {
        #[test]
        fn any_list_is_dropped_or_kept_as_it_came(value in "[ -~]{0,600}|([a-c]=[0-9 ]{1,3},?){0,5}") {
            let header = HeaderValue::from_str(&value).unwrap();
            if let Some(state) = TraceState::parse([&header].into_iter())
                && value.len() <= TraceState::MAX_LEN
            {
                prop_assert_eq!(state.as_str(), value);
            }
        }

        #[test]
        fn what_a_decision_leaves_is_valid_and_tells_it(
            entries in proptest::collection::btree_map("[a-z][a-z0-9]{0,9}|ot", "[!-+.-<>-~]{1,80}|th:[0-9a-f]{1,14}(;rv:[0-9a-f]{14})?", 0..40),
            digits in "[0-9a-f]{1,14}",
        ) {
            let list: Vec<String> = entries.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let state = parse(&[&list.join(",")]);
            let threshold = Threshold::parse(digits.as_bytes()).unwrap();
            let kept = TraceState::kept_by(threshold, state.clone()).unwrap();
            prop_assert!(kept.as_str().len() <= TraceState::MAX_LEN);
            prop_assert_eq!(kept.threshold(), Some(threshold));
            prop_assert_eq!(parse(&[kept.as_str()]), Some(kept));
            if let Some(dropped) = TraceState::not_kept(state) {
                prop_assert_eq!(dropped.threshold(), None);
                prop_assert_eq!(parse(&[dropped.as_str()]), Some(dropped));
            }
        }
    }
}
