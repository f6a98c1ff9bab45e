//! What one exporter is told to send of what it could. Composed by `config`, obeyed by `Sampler`.

use std::time::Duration;

/// How long a trace is waited for before it is decided, unless told otherwise.
pub const DEFAULT_DECISION_WAIT: Duration = Duration::from_secs(10);

/// A trace's place in the index of tail sampling, in bytes; see [`Tail::index_bytes`].
const DEFAULT_INDEX_BYTES: usize = 1024 * 1024;

/// What to send; everything by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// Of all traces, or with `tail` of those that no rule of it keeps.
    pub ratio: Ratio,
    /// Whether to leave out the server spans of health checks.
    pub drop_health_checks: bool,
    /// Routes, paths and names of further server spans to leave out.
    pub drop: Vec<String>,
    /// Rules that need to see whole traces.
    pub tail: Option<Tail>,
}

/// Rules about whole traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Keeps traces with a span that failed.
    pub keep_errors: bool,
    /// Keeps traces with an entry span that took longer.
    pub keep_slower_than: Option<Duration>,
    /// Keeps traces with an entry span among this share of the slowest of its operation.
    pub keep_slowest: Option<Ratio>,
    /// From a trace's first span to its decision.
    pub decision_wait: Duration,
    /// Most bytes that what is known of traces and operations may take.
    pub index_bytes: usize,
}

/// A share, 0 to 1, exact to nine decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio {
    billionths: u32,
}

const BILLION: u32 = 1_000_000_000;
const DECIMALS: usize = 9;

impl Sampling {
    /// Whether anything is left out at all.
    pub fn is_on(&self) -> bool {
        self.ratio < Ratio::ALL || self.drops()
    }

    /// Whether any server span is unwanted.
    pub fn drops(&self) -> bool {
        self.drop_health_checks || !self.drop.is_empty()
    }
}

impl std::fmt::Display for Sampling {
    /// In words, for people: `failed traces, 10 % of the others; no health checks`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut kept = Vec::new();
        if let Some(tail) = &self.tail {
            kept.extend(tail.keep_errors.then(|| "failed traces".to_owned()));
            let slower = tail.keep_slower_than;
            kept.extend(slower.map(|than| format!("those slower than {than:?}")));
            let slowest = tail.keep_slowest;
            kept.extend(
                slowest.map(|share| format!("the slowest {} of each operation", share.percent())),
            );
        }
        kept.push(match (self.ratio, &self.tail) {
            (Ratio::ALL, None) => "all traces".to_owned(),
            (ratio, None) => format!("{} of all traces", ratio.percent()),
            (Ratio::NONE, Some(_)) => "none of the others".to_owned(),
            (ratio, Some(_)) => format!("{} of the others", ratio.percent()),
        });
        f.write_str(&kept.join(", "))?;
        if let Some(tail) = &self.tail {
            write!(
                f,
                ", decided {:?} after their first span",
                tail.decision_wait
            )?;
        }
        f.write_str(match (self.drop_health_checks, self.drop.is_empty()) {
            (false, true) => "",
            (true, true) => "; no health checks",
            (false, false) => "; without some routes",
            (true, false) => "; no health checks, and without some routes",
        })
    }
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            keep_errors: false,
            keep_slower_than: None,
            keep_slowest: None,
            decision_wait: DEFAULT_DECISION_WAIT,
            index_bytes: DEFAULT_INDEX_BYTES,
        }
    }
}

impl Ratio {
    /// Everything.
    pub const ALL: Self = Self {
        billionths: BILLION,
    };
    /// Nothing.
    pub const NONE: Self = Self { billionths: 0 };

    /// Reads `0.25`, `1` or `.5`: digits with at most nine decimals. `None` for anything else, and beyond 1.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let begins = !whole.is_empty() || text.starts_with('.');
        let is_number = begins && digits(whole) && digits(decimals) && !decimals.is_empty();
        if !is_number || decimals.len() > DECIMALS || whole.len() > DECIMALS {
            return None;
        }
        let whole: u32 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let decimals: u32 = format!("{decimals:0<DECIMALS$}").parse().ok()?;
        let billionths = whole.checked_mul(BILLION)?.checked_add(decimals)?;
        (billionths <= BILLION).then_some(Self { billionths })
    }

    /// 0.0 to 1.0.
    pub fn as_f64(self) -> f64 {
        f64::from(self.billionths) / f64::from(BILLION)
    }

    /// As people say it: `2.5 %`.
    fn percent(self) -> String {
        format!(
            "{} %",
            f64::from(self.billionths) / f64::from(BILLION / 100)
        )
    }

    /// This share of `count`, rounded down.
    pub(super) fn of(self, count: u64) -> u64 {
        let part = u128::from(count) * u128::from(self.billionths) / u128::from(BILLION);
        u64::try_from(part).unwrap_or(count)
    }
}

impl Default for Ratio {
    fn default() -> Self {
        Self::ALL
    }
}

impl std::fmt::Display for Ratio {
    /// As [`Ratio::parse`] reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, decimals) = (self.billionths / BILLION, self.billionths % BILLION);
        let text = format!("{whole}.{decimals:0DECIMALS$}");
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ratios_are_numbers_from_0_to_1() {
        let check = |text: &str, expected: Option<u32>| {
            let read = Ratio::parse(text).map(|ratio| ratio.billionths);
            assert_eq!(read, expected, "{text:?}");
        };
        check("1", Some(BILLION));
        check("0", Some(0));
        check("0.25", Some(BILLION / 4));
        check(".5", Some(BILLION / 2));
        check("1.000000000", Some(BILLION));
        check("0.000000001", Some(1));
        for wrong in [
            "",
            ".",
            "1.",
            "-1",
            "+1",
            "1.1",
            "2",
            "1e-3",
            "0,5",
            "10%",
            "0.0000000001",
            "NaN",
            "99999999999",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_is_sent_is_told_in_words() {
        let check = |sampling: Sampling, expected: &str| assert_eq!(sampling.to_string(), expected);
        let ratio = |text| Ratio::parse(text).unwrap();
        check(Sampling::default(), "all traces");
        let head = Sampling {
            ratio: ratio("0.025"),
            drop_health_checks: true,
            ..Sampling::default()
        };
        check(head, "2.5 % of all traces; no health checks");
        let tail = Tail {
            keep_errors: true,
            keep_slower_than: Some(Duration::from_millis(1_500)),
            keep_slowest: Some(ratio("0.01")),
            ..Tail::default()
        };
        let tail = Sampling {
            ratio: Ratio::NONE,
            drop: vec!["/ping".to_owned()],
            tail: Some(tail),
            ..Sampling::default()
        };
        check(
            tail,
            "failed traces, those slower than 1.5s, the slowest 1 % of each operation, none of the others, decided 10s \
             after their first span; without some routes",
        );
    }

    #[test]
    fn a_share_of_a_count_is_rounded_down() {
        let ratio = Ratio::parse("0.01").unwrap();
        for (count, expected) in [
            (0, 0),
            (99, 0),
            (100, 1),
            (199, 1),
            (u64::MAX, u64::MAX / 100),
        ] {
            assert_eq!(ratio.of(count), expected, "{count}");
        }
        assert_eq!(Ratio::ALL.of(7), 7);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(billionths in 0..=BILLION) {
            let ratio = Ratio { billionths };
            prop_assert_eq!(Ratio::parse(&ratio.to_string()), Some(ratio));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,20}") {
            prop_assert!(Ratio::parse(&text).is_none_or(|ratio| ratio <= Ratio::ALL));
        }
    }
}
