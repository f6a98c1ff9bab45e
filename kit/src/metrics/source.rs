//! Families that a service makes anew for every scrape, and that prometheus-client's registry cannot hold: histograms
//! with exemplars whose native buckets stand beside the classic ones. Taken by `Kit::collect`, asked by `Metrics::render`.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::Exemplar;
use super::histogram::{BucketView, Seen};
use super::labels::LabelText;
use super::native::NativeView;
use super::text::{Kind, Text};
use crate::context::{SpanId, TraceId};

/// What a source of [`Kit::collect`](crate::Kit::collect) writes its families to: a family, then its samples, then
/// the next one. A family's name must not be that of another one of the service's.
///
/// Names of families and labels are `[a-zA-Z_][a-zA-Z0-9_]*`; whatever else there is in one becomes `_`. Values of
/// labels are any text; control characters in them are shown as `\u{1}`, for Prometheus stumbles over some.
#[derive(Debug)]
pub struct Exposition<'a>(&'a mut Text);

/// One series of a histogram: what [`Exposition::distribution`] writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// All values added up.
    pub sum: f64,
    /// How many values.
    pub count: u64,
    /// The classic buckets, lowest first; the one for everything above the last bound needs none.
    pub buckets: Vec<ClassicBucket>,
    /// An exemplar above the last bound.
    pub above: Option<Measured>,
    /// Of the native buckets, from -4 to 8.
    pub schema: i32,
    /// The native buckets that have any value: index and count, lowest first. Bucket `i` ends at, and includes,
    /// 2^(i · 2^-schema). The counts add up to `count`. Shown in protobuf alone.
    pub native: Vec<(i32, u64)>,
}

/// A classic bucket of a [`Distribution`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassicBucket {
    /// Inclusive.
    pub bound: f64,
    /// Values in it and in all below it.
    pub cumulative: u64,
    /// One of its values.
    pub exemplar: Option<Measured>,
}

/// A value that belongs to a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// As in `traceparent`; with zeros alone there is no exemplar.
    pub trace_id: [u8; 16],
    /// As in `traceparent`; with zeros alone there is no exemplar.
    pub span_id: [u8; 8],
    /// What was measured.
    pub value: f64,
    /// When.
    pub at: SystemTime,
}

impl Exposition<'_> {
    /// Begins a family of counters. `name` ends neither in `_total` nor in a colon; `help` is one line.
    pub fn counter(&mut self, name: &str, help: &str) {
        self.0.family(&valid(name), Kind::Counter, None, help);
    }

    /// Begins a family of histograms. A name that ends in its unit says so: `Some("seconds")`.
    pub fn histogram(&mut self, name: &str, unit: Option<&str>, help: &str) {
        self.0.family(&valid(name), Kind::Histogram, unit, help);
    }

    /// A series of a family of counters: names and values of its labels, and its value.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.0.sample(&text(labels), value);
    }

    /// A series of a family of histograms.
    pub fn distribution(&mut self, labels: &[(&str, &str)], distribution: &Distribution) {
        let above = ClassicBucket {
            bound: f64::INFINITY,
            cumulative: distribution.count,
            exemplar: distribution.above,
        };
        let buckets = distribution.buckets.iter().chain([&above]);
        let buckets: Vec<_> = buckets.map(BucketView::from).collect();
        let native = NativeView::of(distribution.schema, &distribution.native);
        self.0
            .distribution(&text(labels), distribution.sum, &buckets, &native);
    }
}

impl From<&ClassicBucket> for BucketView {
    fn from(bucket: &ClassicBucket) -> Self {
        Self {
            bound: bucket.bound,
            cumulative: bucket.cumulative,
            exemplar: bucket.exemplar.and_then(|measured| {
                Some(Seen {
                    trace: Exemplar {
                        trace_id: TraceId::from_bytes(measured.trace_id)?,
                        span_id: SpanId::from_bytes(measured.span_id)?,
                    },
                    seconds: measured.value,
                    at: measured.at,
                })
            }),
        }
    }
}

/// What [`Kit::collect`](crate::Kit::collect) was given.
#[derive(Default)]
pub(super) struct Sources(Mutex<Vec<Arc<Source>>>);

type Source = dyn Fn(&mut Exposition<'_>) + Send + Sync;

impl Sources {
    pub(super) fn add(&self, source: impl Fn(&mut Exposition<'_>) + Send + Sync + 'static) {
        self.all().push(Arc::new(source));
    }

    /// Has every source write its families. None of them is waited for under the lock.
    pub(super) fn write(&self, text: &mut Text) {
        let sources = self.all().clone();
        for source in sources {
            source(&mut Exposition(text));
        }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Source>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

fn text(labels: &[(&str, &str)]) -> LabelText {
    labels
        .iter()
        .fold(LabelText::default(), |text, (name, value)| {
            text.with(&valid(name), &shown(value))
        })
}

fn valid(name: &str) -> Cow<'_, str> {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let mut bytes = name.bytes();
    if bytes.next().is_some_and(letter) && bytes.all(|byte| letter(byte) || byte.is_ascii_digit()) {
        return name.into();
    }
    super::labels::label_name(name).into()
}

fn shown(value: &str) -> Cow<'_, str> {
    // A line's end is escaped by every format.
    let hidden = |character: char| character.is_control() && character != '\n';
    if !value.contains(hidden) {
        return value.into();
    }
    value
        .chars()
        .fold(String::new(), |mut shown, character| {
            if hidden(character) {
                shown.extend(character.escape_unicode());
            } else {
                shown.push(character);
            }
            shown
        })
        .into()
}
