//! The query string of a page: read with clear refusals, and written back into links so that a page's
//! whole state is its URL. Called by every page.

use std::fmt::Write as _;
use std::time::Duration;

use super::format::url_component;
use super::pairs::{self, Pairs};
use crate::views::report::Window;
use crate::views::{Range, Split};

/// The windows a page offers: what stands in the URL, what is shown, seconds.
pub(super) const WINDOWS: [(&str, &str, u64); 3] = [
    ("5m", "5 min", 300),
    ("15m", "15 min", 900),
    ("1h", "1 hour", 3600),
];

/// A search is for so many attributes at most.
pub(super) const MAX_ATTRIBUTES: usize = 10;

/// The parameters that say which time a page shows.
pub(super) const TIME: [&str; 3] = ["window", "from", "to"];

/// A page's parameters as they came; empty values count as absent, as a form sends them.
#[derive(Clone, Debug, Default)]
pub(super) struct PageQuery(Pairs);

/// A parameter that cannot be read: its name, its value, what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameter {name} cannot be {value:?}: {allowed}")]
pub(super) struct BadParameter {
    name: &'static str,
    value: String,
    allowed: &'static str,
}

/// Which way a column is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

impl PageQuery {
    pub(super) fn new(pairs: Pairs) -> Self {
        Self(pairs)
    }

    /// The first value that is not blank.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The first value that is not empty, as it came: names of services and operations may begin or end with spaces, where
    /// a line of their environment did.
    pub(super) fn name(&self, name: &str) -> Option<&str> {
        self.0.all(name).find(|value| !value.is_empty())
    }

    /// Every value of a parameter that is not blank.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let values = self.0.all(name).map(str::trim);
        values.filter(|value| !value.is_empty())
    }

    /// A parameter that cannot be what it is.
    pub(super) fn bad(&self, name: &'static str, allowed: &'static str) -> BadParameter {
        bad(name, self.get(name).unwrap_or_default(), allowed)
    }

    /// A value and another that contradict each other.
    pub(super) fn contradiction(&self, [low, _]: [&'static str; 2]) -> BadParameter {
        self.bad(low, "it must not be more than the upper bound beside it")
    }

    /// A link to `path` with these parameters, some of them changed or (`None`) left out.
    pub(super) fn link(&self, path: &str, changes: &[(&str, Option<&str>)]) -> String {
        let kept = self.0.iter().filter(|(key, value)| {
            !value.is_empty() && !changes.iter().any(|(name, _)| name == key)
        });
        let changed = changes
            .iter()
            .filter_map(|(name, value)| value.map(|value| (*name, value)));
        let mut out = path.to_owned();
        for (index, (name, value)) in kept.chain(changed).enumerate() {
            let mark = if index == 0 { '?' } else { '&' };
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "{mark}{}={}",
                url_component(name),
                url_component(value)
            );
        }
        out
    }

    /// Only the window, for a link to another page.
    pub(super) fn link_keeping_window(&self, path: &str) -> String {
        self.link_elsewhere(path, &[])
    }

    /// A link to another page at the same time, with these parameters.
    pub(super) fn link_elsewhere(&self, path: &str, pairs: &[(&str, Option<&str>)]) -> String {
        let time = TIME.map(|name| (name, self.get(name)));
        PageQuery::default().link(path, &[pairs, &time].concat())
    }

    /// A link to what this page shows now, that goes on showing it.
    pub(super) fn link_to_stay(&self, path: &str, window: &Window) -> String {
        let (from, to) = (Some(window.from.as_str()), Some(window.to.as_str()));
        self.link(path, &[("window", None), ("from", from), ("to", to)])
    }

    /// Whether the page shows a time that stays, and not the last minutes.
    pub(super) fn is_fixed(&self) -> bool {
        self.get("from").is_some() || self.get("to").is_some()
    }

    /// `window`: the last so long, 5 minutes when absent.
    ///
    /// # Errors
    /// Anything but a number of seconds, minutes or hours from 10 s to 24 h.
    pub(super) fn window(&self) -> Result<Duration, BadParameter> {
        let Some(text) = self.get("window") else {
            return Ok(Duration::from_secs(300));
        };
        parse_duration(text)
            .filter(|length| (10.0..=86_400.0).contains(&length.as_secs_f64()))
            .ok_or_else(|| {
                self.bad(
                    "window",
                    "say 5m, 15m, 1h or another length from 10s to 24h",
                )
            })
    }

    /// `from` and `to` where they are given, else [`PageQuery::window`], as the views take it.
    ///
    /// # Errors
    /// What cannot be read, half a range, an empty one.
    pub(super) fn range(&self) -> Result<Range, BadParameter> {
        let bad = |name, allowed| self.bad(name, allowed);
        let time = |name| {
            let text = self
                .get(name)
                .ok_or_else(|| bad(name, "from and to belong together, as RFC 3339 times"))?;
            pairs::time(text)
                .ok_or_else(|| bad(name, "say an RFC 3339 time such as 2026-01-31T12:00:00Z"))
        };
        if !self.is_fixed() {
            return self.window().map(Range::Last);
        }
        if self.get("window").is_some() {
            return Err(bad("window", "from and to say the time already"));
        }
        let (from, to) = (time("from")?, time("to")?);
        if from < to {
            Ok(Range::Between(from, to))
        } else {
            Err(bad("to", "it must lie after from"))
        }
    }

    /// Whether a window told is shorter than the one asked for, because nothing older is known: windows do not
    /// begin before the collector did, nor before what memory holds. Rounding only ever lengthens them.
    pub(super) fn is_shortened(&self, told: &Window) -> bool {
        !self.is_fixed()
            && self
                .window()
                .is_ok_and(|asked| told.seconds < asked.as_secs_f64())
    }

    /// A latency such as `250us`, `100ms`, `1.5s`; a bare number is seconds, as in the JSON API.
    pub(super) fn latency(&self, name: &'static str) -> Result<Option<Duration>, BadParameter> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        parse_duration(text)
            .map(Some)
            .ok_or_else(|| self.bad(name, "say a duration such as 250us, 100ms or 1.5s"))
    }

    /// Every `attr`: an attribute's key and value, apart at the first colon.
    pub(super) fn attributes(&self) -> Result<Vec<(String, String)>, BadParameter> {
        let given = self.all("attr").map(|text| {
            let allowed = "say key:value, such as http.response.status_code:500";
            pairs::attribute(text).ok_or_else(|| bad("attr", text, allowed))
        });
        let attributes: Vec<_> = given.collect::<Result<_, _>>()?;
        match self.all("attr").nth(MAX_ATTRIBUTES) {
            None => Ok(attributes),
            Some(one_more) => Err(bad(
                "attr",
                one_more,
                "at most 10 attributes are looked for at once",
            )),
        }
    }

    /// One of a few words; the default when absent.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &'static str,
        choices: &[(&str, T)],
        default: T,
        allowed: &'static str,
    ) -> Result<T, BadParameter> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, choice)| *choice)
            .ok_or_else(|| self.bad(name, allowed))
    }

    /// `split`: `version` or `instance`; services as a whole when absent.
    ///
    /// # Errors
    /// Anything else.
    pub(super) fn split(&self) -> Result<Option<Split>, BadParameter> {
        let choices = [
            ("version", Some(Split::Version)),
            ("instance", Some(Split::Instance)),
        ];
        self.choice("split", &choices, None, "say version or instance")
    }

    /// A [name](Self::name) that has to be there.
    ///
    /// # Errors
    /// It is absent or empty.
    pub(super) fn required(
        &self,
        name: &'static str,
        allowed: &'static str,
    ) -> Result<&str, BadParameter> {
        self.name(name).ok_or_else(|| self.bad(name, allowed))
    }

    /// `dir`: `asc` or `desc`.
    pub(super) fn direction(&self, default: Direction) -> Result<Direction, BadParameter> {
        self.choice(
            "dir",
            &[
                ("asc", Direction::Ascending),
                ("desc", Direction::Descending),
            ],
            default,
            "say asc or desc",
        )
    }

    /// A whole number from 1 to `max`; `default` when absent.
    ///
    /// # Errors
    /// Anything else, with what is `allowed` in words.
    pub(super) fn number(
        &self,
        name: &'static str,
        default: usize,
        max: usize,
        allowed: &'static str,
    ) -> Result<usize, BadParameter> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        let number = text.parse().ok();
        number
            .filter(|number| (1..=max).contains(number))
            .ok_or_else(|| self.bad(name, allowed))
    }
}

impl Direction {
    /// The value of `aria-sort`.
    pub(super) fn aria(self) -> &'static str {
        match self {
            Self::Ascending => "ascending",
            Self::Descending => "descending",
        }
    }

    /// The value of `dir`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }

    pub(super) fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }

    /// Applies the direction to an ascending comparison.
    pub(super) fn apply(self, ascending: std::cmp::Ordering) -> std::cmp::Ordering {
        match self {
            Self::Ascending => ascending,
            Self::Descending => ascending.reverse(),
        }
    }
}

fn bad(name: &'static str, value: &str, allowed: &'static str) -> BadParameter {
    BadParameter {
        name,
        value: value.to_owned(),
        allowed,
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let split = text
        .find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit.trim() {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * scale;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::rfc3339;
    use crate::web::fixtures::query;

    #[test]
    fn windows_are_read_or_refused() {
        let check = |text: &str, want: Option<u64>| {
            let got = query(&[("window", text)]).window();
            assert_eq!(got.ok(), want.map(Duration::from_secs), "{text}");
        };
        check("", Some(300));
        check("5m", Some(300));
        check("90s", Some(90));
        check("1h", Some(3600));
        check("9s", None);
        check("25h", None);
        check("-5m", None);
        check("5 parsecs", None);
        check("1e3m", None);
        check("NaN", None);
    }

    #[test]
    fn a_time_that_stays_is_read_or_refused() {
        let (from, to) = ("2026-11-22T15:41:20Z", "2026-11-22T15:46:20Z");
        let range = |pairs: &[(&str, &str)]| query(pairs).range();
        let nanos = |text| rfc3339::parse(text).unwrap();
        assert_eq!(
            range(&[("from", from), ("to", to)]),
            Ok(Range::Between(nanos(from), nanos(to)))
        );
        let offset = "2026-11-22T16:46:20 01:00";
        assert_eq!(
            range(&[("from", from), ("to", offset)]),
            Ok(Range::Between(nanos(from), nanos(to)))
        );
        let refused = |pairs: &[(&str, &str)], want: &str| {
            let text = range(pairs).unwrap_err().to_string();
            assert!(text.contains(want), "{text}");
        };
        refused(&[("from", from)], "belong together");
        refused(&[("to", to)], "belong together");
        refused(&[("from", "noon"), ("to", to)], "\"noon\"");
        refused(&[("from", to), ("to", from)], "must lie after from");
        refused(&[("from", from), ("to", to), ("window", "5m")], "already");
    }

    #[test]
    fn links_hand_the_time_on() {
        let window = crate::web::fixtures::window();
        let live = query(&[("window", "1h"), ("sort", "p99")]);
        let fixed = "from=2026-11-22T15%3A41%3A20Z&to=2026-11-22T15%3A46%3A20Z";
        let stays = live.link_to_stay("/", &window);
        assert_eq!(stays, format!("/?sort=p99&{fixed}"));
        assert_eq!(
            live.link_elsewhere("/map", &[("focus", Some("a"))]),
            "/map?focus=a&window=1h"
        );
        let there = query(&[("from", &window.from), ("to", &window.to)]);
        assert_eq!(there.link_keeping_window("/map"), format!("/map?{fixed}"));
        assert!(there.is_fixed() && !live.is_fixed());
    }

    #[test]
    fn a_refusal_names_parameter_value_and_remedy() {
        let error = query(&[("window", "soon")]).window().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("window") && text.contains("\"soon\"") && text.contains("5m"));
    }

    #[test]
    fn latencies_take_units_and_bare_seconds() {
        let check = |text: &str, want: Option<f64>| {
            let got = query(&[("min", text)]).latency("min");
            match want {
                Some(want) => assert_eq!(got.unwrap().unwrap().as_secs_f64(), want, "{text}"),
                None => assert!(got.is_err(), "{text}"),
            }
        };
        check("250us", Some(0.000_25));
        check("100ms", Some(0.1));
        check("1.5", Some(1.5));
        check("1.5 s", Some(1.5));
        check("fast", None);
        check("1..5s", None);
        check("99999999999999999999999h", None);
    }

    #[test]
    fn links_keep_the_state_and_encode_it() {
        let state = query(&[
            ("window", "1h"),
            ("q", "a&b=c"),
            ("sort", ""),
            ("dir", "asc"),
        ]);
        assert_eq!(
            state.link("/", &[("dir", Some("desc")), ("page", None)]),
            "/?window=1h&q=a%26b%3Dc&dir=desc"
        );
        assert_eq!(state.link_keeping_window("/map"), "/map?window=1h");
        assert_eq!(PageQuery::default().link("/map", &[]), "/map");
    }

    #[test]
    fn names_are_taken_as_they_came_and_words_are_trimmed() {
        let state = query(&[("server", ""), ("server", "pay\r"), ("window", " 1h ")]);
        assert_eq!(state.required("server", "say it"), Ok("pay\r"));
        assert!(state.required("client", "say it").is_err());
        assert_eq!(state.window(), Ok(Duration::from_secs(3_600)));
        assert_eq!(
            state.link("/edges", &[("window", None)]),
            "/edges?server=pay%0D"
        );
        assert_eq!(
            query(&[("client", " ")]).link("/edges", &[]),
            "/edges?client=%20"
        );
    }

    #[test]
    fn a_number_is_bounded() {
        let limit = |pairs: &[(&str, &str)]| query(pairs).number("limit", 50, 500, "say less");
        assert_eq!(limit(&[("limit", "20")]), Ok(20));
        assert_eq!(limit(&[]), Ok(50));
        for text in ["0", "501", "-1", "many"] {
            let refused = limit(&[("limit", text)]).unwrap_err().to_string();
            let want = format!("the parameter limit cannot be {text:?}: say less");
            assert_eq!(refused, want);
        }
    }
}
