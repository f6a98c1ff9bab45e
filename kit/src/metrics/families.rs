//! A prometheus-client registry as that crate writes it, OpenMetrics text, read back by family and by sample: for the
//! formats that it has not. Read by `exposition` and `protobuf`.

use std::iter;

use super::labels;

/// A family and its samples.
#[derive(Debug, PartialEq)]
pub(super) struct Family<'a> {
    /// With its unit, without `_total` or `_info`.
    pub(super) name: &'a str,
    pub(super) kind: &'a str,
    pub(super) unit: Option<&'a str>,
    /// As it was registered: prometheus-client escapes no help, which may have several lines.
    pub(super) help: &'a str,
    /// Lines, each with its end.
    samples: &'a str,
}

/// A line of a family.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'a> {
    /// What the name has beyond its family's: `_total`, `_bucket`, ….
    pub(super) suffix: &'a str,
    /// Without the braces.
    pub(super) labels: &'a str,
    pub(super) value: &'a str,
    /// What follows ` # `.
    pub(super) exemplar: Option<&'a str>,
}

/// The families of a registry. The last one is none if the text is not prometheus-client's.
pub(super) fn of(open_metrics: &str) -> impl Iterator<Item = Option<Family<'_>>> {
    let mut rest = open_metrics;
    iter::from_fn(move || {
        (!rest.is_empty()).then(|| {
            let (family, after) = Family::split_off(rest).unzip();
            rest = after.unwrap_or_default();
            family
        })
    })
}

impl<'a> Family<'a> {
    /// The lines of the samples.
    pub(super) fn lines(&self) -> impl Iterator<Item = &'a str> {
        self.samples.split_terminator('\n')
    }

    /// The parts of one of the lines; none if it is not of this family.
    pub(super) fn sample(&self, line: &'a str) -> Option<Sample<'a>> {
        let rest = line.strip_prefix(self.name)?;
        let (suffix, rest) = rest.split_at(rest.find(['{', ' '])?);
        let (labels, rest) = labels::split_off(rest)?;
        let rest = rest.strip_prefix(' ')?;
        let (value, exemplar) = match rest.split_once(" # ") {
            Some((value, exemplar)) => (value, Some(exemplar)),
            None => (rest, None),
        };
        Some(Sample {
            suffix,
            labels,
            value,
            exemplar,
        })
    }

    /// The first family, and what follows it. The order of `HELP`, `TYPE` and `UNIT` is the crate's.
    fn split_off(text: &'a str) -> Option<(Self, &'a str)> {
        let (told, rest) = text.strip_prefix("# HELP ")?.split_once("\n# TYPE ")?;
        let (of, rest) = rest.split_once('\n')?;
        let (name, kind) = of.rsplit_once(' ')?;
        let help = told.strip_prefix(name)?.strip_prefix(' ')?;
        let (unit, rest) = match rest.strip_prefix("# UNIT ") {
            Some(rest) => {
                let (of, rest) = rest.split_once('\n')?;
                (Some(of.strip_prefix(name)?.strip_prefix(' ')?), rest)
            }
            None => (None, rest),
        };
        // A collector may begin a family and give it no sample. No line of a sample begins so: a label's value has
        // its ends of lines escaped.
        let end = if rest.starts_with("# HELP ") {
            0
        } else {
            rest.find("\n# HELP ").map_or(rest.len(), |at| at + 1)
        };
        let (samples, rest) = rest.split_at(end);
        let family = Self {
            name,
            kind,
            unit,
            help,
            samples,
        };
        Some((family, rest))
    }
}
