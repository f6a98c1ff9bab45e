//! Finds variables that were meant for the kit and are spelt wrong: nobody reads them, so nothing else would
//! tell. Used by `Config::from_process_env`.

/// The kit's own variables, but for `PORT`: anything is near a name of four letters.
pub(super) const OURS: [&str; 21] = [
    "BELLWETHER_ADMIN_ADDR",
    "BELLWETHER_CONCURRENCY_LIMIT",
    "BELLWETHER_DRAIN_DELAY",
    "BELLWETHER_GRACE",
    "BELLWETHER_LIVENESS_TIMEOUT",
    "BELLWETHER_LIVE_PATH",
    "BELLWETHER_LOG_FORMAT",
    "BELLWETHER_LOG_QUERY_KEYS",
    "BELLWETHER_LOG_RATE_LIMIT",
    "BELLWETHER_LOG_REQUEST_HEADERS",
    "BELLWETHER_LOG_RESPONSE_HEADERS",
    "BELLWETHER_METRICS_PATH",
    "BELLWETHER_READY_PATH",
    "BELLWETHER_RECORDER",
    "BELLWETHER_RECORDER_BYTES",
    "BELLWETHER_RECORDER_SLOW",
    "BELLWETHER_REDACT",
    "BELLWETHER_REQUEST_ID_HEADER",
    "BELLWETHER_REQUEST_TIMEOUT",
    "BELLWETHER_STARTUP_PATH",
    "BELLWETHER_TRUST",
];

/// As many letters may be wrong, missing or too many. Names farther off are somebody else's, such as the
/// collector's.
const NEAR: usize = 2;

/// A warning for a name that is nearly one of ours.
pub(super) fn warning(name: &str) -> Option<String> {
    if OURS.contains(&name) {
        return None;
    }
    let distances = OURS.map(|known| (distance(name, known), known));
    let (nearest, known) = distances.into_iter().min()?;
    (nearest <= NEAR).then(|| format!("{name} is not known and is ignored: did you mean {known}?"))
}

/// Levenshtein's, in bytes; no more than a bound that is beyond [`NEAR`] when the lengths tell enough.
fn distance(name: &str, known: &str) -> usize {
    if name.len().abs_diff(known.len()) > NEAR {
        return NEAR + 1;
    }
    // A row of the matrix: the distance of what was read of `name` to each beginning of `known`.
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (read, letter) in name.bytes().enumerate() {
        let mut diagonal = read;
        let mut left = read + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (above, other) in row.iter().skip(1).zip(known.bytes()) {
            left = (left + 1)
                .min(above + 1)
                .min(diagonal + usize::from(letter != other));
            next.push(left);
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_told_with_the_one_meant() {
        fn check(name: &str, meant: &str) {
            let warning = warning(name).unwrap_or_else(|| panic!("{name} is left alone"));
            assert!(warning.contains(name) && warning.ends_with(&format!("{meant}?")));
        }
        check("BELLWETHER_DRAIN_DELY", "BELLWETHER_DRAIN_DELAY");
        check("BELLWETHER_DRAINDELAY", "BELLWETHER_DRAIN_DELAY");
        check("BELLWETHER_TRUSTED", "BELLWETHER_TRUST");
        check("BELLWETHER_GRAEC", "BELLWETHER_GRACE");
        check("BELWETHER_GRACE", "BELLWETHER_GRACE");
        check("BELLWETHER_LOGFORMAT", "BELLWETHER_LOG_FORMAT");
        check(
            "BELLWETHER_CONCURRENCY_LIMITS",
            "BELLWETHER_CONCURRENCY_LIMIT",
        );
        check("BELLWETHER_REQUEST_TIMEOUTS", "BELLWETHER_REQUEST_TIMEOUT");
    }

    #[test]
    fn names_of_ours_of_the_collector_and_of_others_are_left_alone() {
        let collector = [
            "CONFIG",
            "DATA_DIR",
            "DURABILITY",
            "EXPORT",
            "LISTEN",
            "MEMORY_LIMIT",
            "OTLP_GRPC",
            "OTLP_HTTP",
            "RETENTION",
            "WEB",
            "WEB_HOST",
            "ZIPKIN",
        ];
        let collector = collector.map(|name| format!("BELLWETHER_{name}"));
        let others = [
            "PATH",
            "",
            "BELLWETHER_",
            "BELLWETHER_DELAY",
            "BELLWETHER_CACHE",
            "bellwether_grace",
        ];
        let all = OURS.iter().chain(&others).copied();
        for name in all.chain(collector.iter().map(String::as_str)) {
            assert_eq!(warning(name), None, "{name}");
        }
        assert_eq!(warning(&"x".repeat(100_000)), None);
        assert_eq!(warning("BELLWETHER_ÜRÄCE"), None);
    }

    #[test]
    fn distances_are_those_of_the_textbook() {
        fn check(one: &str, other: &str, expected: usize) {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
        check("", "", 0);
        check("", "ab", 2);
        check("kitten", "sitting", 3);
        check("flaw", "lawn", 2);
        check("delay", "dealy", 2);
        check("same", "same", 0);
        check("short", "much longer", NEAR + 1);
    }
}
