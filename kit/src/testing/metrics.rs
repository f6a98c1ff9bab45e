//! A scrape taken apart: the samples of the Prometheus text format 0.0.4 as the kit writes it.

use std::collections::BTreeMap;

/// One line of a scrape.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// With its suffix: `…_total`, `…_bucket`, `…_sum`, `…_count`.
    pub name: String,
    /// `le` among them for buckets.
    pub labels: BTreeMap<String, String>,
    /// In the unit that the name ends with.
    pub value: f64,
}

impl Sample {
    pub(super) fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let has = |(key, value): &(&str, &str)| self.labels.get(*key).is_some_and(|is| is == value);
        self.name == name && labels.iter().all(has)
    }
}

/// The samples of a text that the kit wrote.
pub(super) fn parse(text: &str) -> Vec<Sample> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(sample)
        .collect()
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_end);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: value.split_whitespace().next()?.parse().ok()?,
    })
}

/// `name="value",…}`, and what follows it. Values have `\\`, `\"` and `\n` escaped.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(value) = rest.strip_prefix('}') {
            return Some((labels, value));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(name.to_owned(), value);
        rest = after;
    }
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_whatever_their_labels_hold() {
        let text = "# TYPE a counter\na_total 3\nb{} 1\nc{x=\"1\",y=\"} \\\" \\\\ \\n,\"} 2.5\nd{le=\"+Inf\"} +Inf\n";
        let samples = parse(text);
        let values: Vec<_> = samples
            .iter()
            .map(|sample| (sample.name.as_str(), sample.value))
            .collect();
        assert_eq!(
            values,
            [
                ("a_total", 3.0),
                ("b", 1.0),
                ("c", 2.5),
                ("d", f64::INFINITY)
            ]
        );
        assert!(samples[2].is("c", &[("y", "} \" \\ \n,"), ("x", "1")]));
        assert!(!samples[2].is("c", &[("x", "2")]));
        assert!(!samples[2].is("c", &[("z", "1")]));
    }
}
