//! What each exporter is told to leave out, checked. Called by `exporters`.

use std::time::Duration;

use super::given::GivenExporter;
use super::source::{Faults, Setting};
use super::value;
use crate::export::{DEFAULT_DECISION_WAIT, Ratio, Sampling, Tail};

/// The key of the routes and names to leave out, which takes several.
pub(super) const DROP: &str = "sampling.drop";

const MOST_NAMES: usize = 64;
const LONGEST_NAME: usize = 200;

const LEAST_SLOW: Duration = Duration::from_millis(1);
const MOST_SLOW: Duration = Duration::from_secs(3_600);
const LEAST_WAIT: Duration = Duration::from_millis(100);
const MOST_WAIT: Duration = Duration::from_secs(600);

/// `for_all` is the ratio of exporters that have none of their own.
pub(super) fn resolve(
    given: &GivenExporter,
    for_all: Option<&Setting>,
    faults: &mut Faults,
) -> Sampling {
    let ratio_setting = given.one("sampling.ratio").or_else(|| for_all.cloned());
    // A fault of the ratio for all is told once, by whoever reads it for all.
    let ratio = match given.one("sampling.ratio") {
        Some(own) => faults.checked(Some(own), ratio),
        None => for_all.and_then(|setting| ratio(&setting.value).ok()),
    };
    let sampling = Sampling {
        ratio: ratio.unwrap_or_default(),
        drop_health_checks: faults
            .checked(given.one("sampling.drop_health_checks"), yes_or_no)
            .unwrap_or_default(),
        drop: names(&given.drop, faults),
        tail: tail(given, faults),
    };
    let rule = RULES.iter().find_map(|key| given.one(key));
    match (ratio_setting, rule) {
        // Nothing would ever be sent.
        (Some(setting), None) if ratio == Some(Ratio::NONE) => {
            let allowed = "more than 0 is needed, or one of sampling.keep_errors, keep_slower_than and keep_slowest";
            faults.add(setting.source, &setting.value, allowed);
        }
        // Nothing would ever be left out; a ratio that could not be read is a fault already.
        (setting, Some(rule))
            if sampling.tail.is_some()
                && sampling.ratio == Ratio::ALL
                && setting.is_some() == ratio.is_some() =>
        {
            let text = "all traces are kept anyway; give sampling.ratio, below 1, for those that no rule keeps";
            faults.say(rule.source, text);
        }
        _ => {}
    }
    sampling
}

/// Rules about whole traces.
const RULES: [&str; 3] = [
    "sampling.keep_errors",
    "sampling.keep_slower_than",
    "sampling.keep_slowest",
];

/// `None` unless there is a rule.
fn tail(given: &GivenExporter, faults: &mut Faults) -> Option<Tail> {
    let [errors, slower_than, slowest] = RULES.map(|key| given.one(key));
    let wait = given.one("sampling.decision_wait");
    let keep_errors = faults.checked(errors, yes_or_no).unwrap_or_default();
    let keep_slower_than = faults.checked(slower_than, |text| {
        value::duration_within(text, LEAST_SLOW, MOST_SLOW)
    });
    let keep_slowest = faults.checked(slowest, small_share);
    let decision_wait = faults.checked(wait.clone(), |text| {
        value::duration_within(text, LEAST_WAIT, MOST_WAIT)
    });
    if !keep_errors && keep_slower_than.is_none() && keep_slowest.is_none() {
        let is_alone = RULES.iter().all(|key| given.one(key).is_none());
        if let Some(wait) = wait.filter(|_| is_alone) {
            let allowed = "only together with keep_errors, keep_slower_than or keep_slowest";
            faults.add(wait.source, &wait.value, allowed);
        }
        return None;
    }
    Some(Tail {
        keep_errors,
        keep_slower_than,
        keep_slowest,
        decision_wait: decision_wait.unwrap_or(DEFAULT_DECISION_WAIT),
        ..Tail::default()
    })
}

fn names(settings: &[Setting], faults: &mut Faults) -> Vec<String> {
    if let Some(beyond) = settings.get(MOST_NAMES) {
        let text = format!("at most {MOST_NAMES} routes and names are allowed");
        faults.say(beyond.source.clone(), text);
    }
    let settings = settings.iter().take(MOST_NAMES);
    settings
        .filter_map(|setting| faults.checked(Some(setting.clone()), name))
        .collect()
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (1..=LONGEST_NAME).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(format!("1 to {LONGEST_NAME} characters are needed"))
    }
}

/// A share of traces.
pub(super) fn ratio(text: &str) -> Result<Ratio, String> {
    let allowed = "write a share from 0 to 1, as 0.25, with at most nine decimals";
    Ratio::parse(text.trim()).ok_or_else(|| allowed.to_owned())
}

fn small_share(text: &str) -> Result<Ratio, String> {
    let half = Ratio::parse("0.5").unwrap_or_default();
    let ratio = Ratio::parse(text.trim()).filter(|&ratio| ratio > Ratio::NONE && ratio <= half);
    ratio.ok_or_else(|| {
        "write a share above 0 and up to 0.5, as 0.01 for the slowest hundredth".to_owned()
    })
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}
