//! A service's entry spans apart by version, or by instance: a row for each. Owned by `services`, which says what follows
//! and counts.
//!
//! Most services run one version. Then the row of that version is the service's own, and nothing is counted twice. When
//! spans of a second one come, the first is given the service's row as it stands, and from then
//! on each counts apart; when only one is left within the retention, its row is the service's again.

use std::sync::Arc;

use super::clock::{Clock, Compared};
use super::figures::{Counted, Pair, Row};
use super::names::cut;
use super::report::ServiceReport;

/// So many values have rows of their own, the rest of a service share one.
pub const MAX_PARTS: usize = 20;
/// Take what is beyond that, or beyond the rows of all services together.
const OTHER_VERSIONS: &str = "(other versions)";
const OTHER_INSTANCES: &str = "(other instances)";

/// By what a service is split; the values are those of its resource attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// `service.version`.
    Version,
    /// `service.instance.id`.
    Instance,
}

/// What tells the spans of a resource from others of their service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) version: Option<Arc<str>>,
    pub(crate) instance: Option<Arc<str>>,
}

/// The parts of one service by one attribute.
#[derive(Debug)]
pub(crate) struct Parts {
    by: Split,
    parts: Vec<Part>,
    /// The part of the spans that come now.
    at: usize,
}

#[derive(Debug)]
struct Part {
    /// The newest of its spans; of instances the version may change.
    origin: Origin,
    /// Empty while the part is alone.
    row: Row,
}

impl Split {
    /// What tells parts apart.
    fn key(self, origin: &Origin) -> Option<&str> {
        match self {
            Self::Version => origin.version.as_deref(),
            Self::Instance => origin.instance.as_deref(),
        }
    }

    /// Whether a row is that of all which have none of their own.
    pub fn is_other(self, part: &ServiceReport) -> bool {
        match self {
            Self::Version => part.version.as_deref() == Some(OTHER_VERSIONS),
            Self::Instance => part.instance.as_deref() == Some(OTHER_INSTANCES),
        }
    }

    /// Where those without a row of their own are.
    fn other(self) -> Origin {
        match self {
            Self::Version => Origin {
                version: Some(OTHER_VERSIONS.into()),
                instance: None,
            },
            Self::Instance => Origin {
                version: None,
                instance: Some(OTHER_INSTANCES.into()),
            },
        }
    }

    /// What of an origin is told of its part.
    fn told(self, origin: &Origin) -> Origin {
        Origin {
            version: origin.version.clone(),
            instance: origin.instance.clone().filter(|_| self == Self::Instance),
        }
    }
}

impl Origin {
    /// From the values of a resource; an empty one counts as absent.
    pub(crate) fn new(version: Option<&str>, instance: Option<&str>) -> Self {
        let own = |text: Option<&str>| {
            text.filter(|text| !text.is_empty())
                .map(|text| cut(text).into())
        };
        Self {
            version: own(version),
            instance: own(instance),
        }
    }

    /// Without the instance: a service has many.
    pub(crate) fn of_service(&self) -> Self {
        Split::Version.told(self)
    }
}

impl Parts {
    pub(crate) fn by(by: Split) -> Self {
        Self {
            by,
            parts: Vec::new(),
            at: 0,
        }
    }

    /// Spans of `origin` follow. `whole` is the service's row so far; with `room` another row may be made.
    pub(crate) fn turn_to(&mut self, origin: &Origin, whole: &Row, room: bool) {
        if self.find(self.by.key(origin)) {
            self.keep_version(origin);
        } else if self.is_alone() && whole.is_empty() {
            self.parts.clear();
            self.push(self.by.told(origin));
        } else if room && self.parts.len() < MAX_PARTS {
            self.part_from(whole);
            self.push(self.by.told(origin));
        } else {
            self.turn_to_other();
        }
    }

    /// Counts a span of the origin turned to last.
    #[inline]
    pub(crate) fn count(&mut self, span: Counted, slot: u32) {
        if !self.is_alone()
            && let Some(part) = self.parts.get_mut(self.at)
        {
            span.into(&mut part.row, slot);
        }
    }

    /// Closes slots and drops the parts without any; the next span has to be turned to again.
    pub(crate) fn roll(&mut self, clock: &Clock) {
        if self.is_alone() {
            return;
        }
        self.parts.retain_mut(|part| {
            part.row.roll(clock, |_, _| {});
            !part.row.is_empty()
        });
        if let [alone] = self.parts.as_mut_slice() {
            alone.row = Row::default();
        }
    }

    /// Rows made beside the service's own.
    pub(crate) fn rows(&self) -> usize {
        if self.is_alone() { 0 } else { self.parts.len() }
    }

    /// Heap bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        let rows = self.parts.iter().map(|part| part.row.bytes());
        self.parts.capacity() * size_of::<Part>() + rows.sum::<usize>()
    }

    /// What the parts hold; those without spans in the range are left out.
    pub(crate) fn snapshots(&self, whole: &Row, windows: Compared) -> Vec<(Origin, Pair)> {
        let alone = self.is_alone();
        let pairs = self.parts.iter().map(|part| {
            let row = if alone { whole } else { &part.row };
            (part.origin.clone(), Pair::of(row, windows))
        });
        pairs.filter(|(_, pair)| !pair.now.is_empty()).collect()
    }

    fn is_alone(&self) -> bool {
        self.parts.len() < 2
    }

    fn find(&mut self, key: Option<&str>) -> bool {
        let by = self.by;
        let found = self
            .parts
            .iter()
            .position(|part| by.key(&part.origin) == key);
        self.at = found.unwrap_or(self.at);
        found.is_some()
    }

    fn keep_version(&mut self, origin: &Origin) {
        if let Some(part) = self.parts.get_mut(self.at)
            && part.origin.version != origin.version
        {
            part.origin.version.clone_from(&origin.version);
        }
    }

    /// Gives the part that was alone so far what the service has counted.
    fn part_from(&mut self, whole: &Row) {
        if let [alone] = self.parts.as_mut_slice() {
            alone.row = whole.clone();
        }
    }

    fn push(&mut self, origin: Origin) {
        self.at = self.parts.len();
        self.parts.push(Part {
            origin,
            row: Row::default(),
        });
    }

    /// Without room even for a second row all of the service is there.
    fn turn_to_other(&mut self) {
        let other = self.by.other();
        if let [alone] = self.parts.as_mut_slice() {
            alone.origin = other;
        } else if !self.find(self.by.key(&other)) {
            self.push(other);
        }
    }
}
