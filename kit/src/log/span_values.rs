//! The fields of a span. Their values are kept as they came, since few spans are ever looked at: lines have them
//! rendered, once, when the first event inside the span is written, and the exporter makes attributes of them on a
//! thread of its own. Kept with each span by `span`.

use std::sync::{Arc, OnceLock};

use tracing::Metadata;
use tracing::field::Visit;
use tracing::span::{Attributes, Record};

use super::fields::SpanFields;
use super::format::Format;
use super::kept::{self, Entry};
use super::scratch;
use super::value::Value;

/// What the values of one span may take, in bytes: as much as 32 texts, so many fields has a span, of 4 KiB each.
/// More than a line has room for.
const MAX_SPAN_BYTES: usize = 128 * 1024;

/// The values that a span was recorded with, shared by the span and its exporter.
#[derive(Clone, Debug)]
pub(crate) struct SpanValues {
    metadata: &'static Metadata<'static>,
    bytes: Arc<[u8]>,
}

impl SpanValues {
    /// Formats what is to be formatted: code of the user's, which may log in its turn.
    pub(crate) fn of(attributes: &Attributes<'_>) -> Self {
        let record = |visit: &mut dyn Visit| attributes.record(visit);
        Self {
            metadata: attributes.metadata(),
            bytes: kept::with(MAX_SPAN_BYTES, record, |bytes| Arc::from(bytes)),
        }
    }

    /// The same of values recorded later to the span of this call site.
    pub(crate) fn later(metadata: &'static Metadata<'static>, values: &Record<'_>) -> Self {
        let record = |visit: &mut dyn Visit| values.record(visit);
        Self {
            metadata,
            bytes: kept::with(MAX_SPAN_BYTES, record, |bytes| Arc::from(bytes)),
        }
    }

    /// Calls `each` with the name and the value of each field. Fields may share a name.
    pub(crate) fn each<'a>(&'a self, each: impl FnMut(&'static str, &Value<'a>)) {
        kept::decode(self.metadata, &self.bytes, each);
    }

    /// The same for each name: with the value of the last field that has it.
    pub(crate) fn last_of_each_name(&self, mut each: impl FnMut(&'static str, &Value<'_>)) {
        let mut all: Vec<(&'static str, Value<'_>)> = Vec::new();
        self.each(
            |name, value| match all.iter_mut().find(|(key, _)| *key == name) {
                Some((_, present)) => *present = *value,
                None => all.push((name, *value)),
            },
        );
        for (name, value) in &all {
            each(name, value);
        }
    }

    /// The same values, of texts no more than `bytes` bytes.
    pub(crate) fn cut(&self, bytes: usize) -> Self {
        if self.bytes.len() <= bytes {
            return self.clone();
        }
        self.refilled(|out| {
            for entry in kept::entries(&self.bytes) {
                entry.copy_within(bytes, out);
            }
        })
    }

    /// The values with those recorded later, which replace the ones of the same field.
    fn and_later(&self, later: &Self) -> Self {
        self.refilled(|out| {
            let mut keep = |entry: Entry<'_>| {
                entry.copy_within(MAX_SPAN_BYTES.saturating_sub(out.len()), out);
            };
            for entry in kept::entries(&self.bytes) {
                keep(later.find(entry.index).unwrap_or(entry));
            }
            kept::entries(&later.bytes)
                .filter(|entry| self.find(entry.index).is_none())
                .for_each(keep);
        })
    }

    fn find(&self, index: u16) -> Option<Entry<'_>> {
        kept::entries(&self.bytes).find(|entry| entry.index == index)
    }

    fn refilled(&self, fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self {
            metadata: self.metadata,
            bytes: kept::in_buffer(fill, |bytes| Arc::from(bytes)),
        }
    }

    fn render(&self, format: Format) -> SpanFields {
        scratch::with(|scratch| {
            let keys = scratch.cache.of(format);
            let count = self.metadata.fields().len();
            let mut fields = SpanFields::with_capacity(count, self.bytes.len());
            self.each(|name, value| fields.add(keys, name, value));
            fields
        })
    }
}

/// A span's values, with what lines have of them.
#[derive(Debug)]
pub(crate) struct SpanText {
    values: SpanValues,
    format: Format,
    /// Boxed: most spans have none.
    written: OnceLock<Box<SpanFields>>,
}

impl SpanText {
    pub(crate) fn new(values: SpanValues, format: Format) -> Self {
        Self {
            values,
            format,
            written: OnceLock::new(),
        }
    }

    /// Takes over values recorded later: they replace those of the same name.
    pub(crate) fn record(&mut self, later: &SpanValues) {
        self.values = self.values.and_later(later);
        if let Some(written) = self.written.get_mut() {
            written.merge(&later.render(self.format));
        }
    }

    /// As they were recorded, for the exporter.
    pub(crate) fn values(&self) -> &SpanValues {
        &self.values
    }

    /// The fields as lines have them. Runs no code of the user's, so a lock may be held.
    pub(super) fn written(&self) -> &SpanFields {
        self.written
            .get_or_init(|| Box::new(self.values.render(self.format)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fmt;

    use tracing::{field, info, info_span};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
    use tracing_subscriber::registry::Registry;

    use super::*;
    use crate::log::Format;
    use crate::log::tests::captured;

    /// The values that the first span of `act` begins with, and those recorded to it later.
    fn values(act: impl FnOnce()) -> (SpanValues, Vec<SpanValues>) {
        #[derive(Default)]
        struct Taken(std::sync::Mutex<Vec<SpanValues>>);
        impl<S: tracing::Subscriber> Layer<S> for &'static Taken {
            fn on_new_span(&self, attributes: &Attributes<'_>, _: &tracing::Id, _: Context<'_, S>) {
                self.0.lock().unwrap().push(SpanValues::of(attributes));
            }
            fn on_record(&self, _: &tracing::Id, values: &Record<'_>, _: Context<'_, S>) {
                let mut taken = self.0.lock().unwrap();
                let later = SpanValues::later(taken[0].metadata, values);
                taken.push(later);
            }
        }
        let taken: &'static Taken = Box::leak(Box::default());
        tracing::subscriber::with_default(Registry::default().with(taken), act);
        let mut taken = taken.0.lock().unwrap();
        (taken.remove(0), taken.split_off(0))
    }

    fn shown(values: &SpanValues) -> Vec<String> {
        let mut shown = Vec::new();
        values.each(|name, value| {
            let mut text = format!("{name}=");
            value.write(&mut text).unwrap();
            shown.push(text);
        });
        shown
    }

    #[test]
    fn each_kind_of_value_comes_back_as_it_was() {
        let (values, _) = values(|| {
            info_span!(
                "span",
                text = "é",
                empty = "",
                debug = ?Some(1),
                int = i64::MIN,
                uint = u64::MAX,
                long = i128::MIN,
                ulong = u128::MAX,
                float = -0.5,
                flag = true,
                none = field::Empty,
            );
        });
        let expected = "text=é empty= debug=Some(1) int=-9223372036854775808 uint=18446744073709551615 \
            long=-170141183460469231731687303715884105728 \
            ulong=340282366920938463463374607431768211455 float=-0.5 flag=true";
        assert_eq!(shown(&values).join(" "), expected);
    }

    #[test]
    fn a_later_value_takes_the_place_of_the_one_before_and_a_new_one_comes_last() {
        let (first, later) = values(|| {
            let span = info_span!("span", late = field::Empty, a = "1", b = 2, c = true);
            span.record("b", "twenty")
                .record("late", 1.5)
                .record("a", "");
        });
        let all = later.iter().fold(first, |all, later| all.and_later(later));
        assert_eq!(shown(&all), ["a=", "b=twenty", "c=true", "late=1.5"]);
    }

    #[test]
    fn a_span_stays_within_its_bytes_whatever_is_recorded() {
        let long = "é".repeat(50_000);
        let (first, later) = values(|| {
            let span = info_span!(
                "span",
                a = long,
                b = long,
                c = long,
                d = long,
                e = long,
                f = long,
                g = long,
                h = field::Empty,
                i = field::Empty,
                j = field::Empty,
                last = 1
            );
            for name in ["h", "i", "j", "h", "last"] {
                span.record(name, &*long);
            }
        });
        let mut all = first;
        for later in &later {
            all = all.and_later(later);
            assert!(
                all.bytes.len() <= MAX_SPAN_BYTES + 200,
                "{}",
                all.bytes.len()
            );
        }
        assert_eq!(shown(&all).len(), 11);
        assert!(shown(&all)[0].ends_with("…[truncated]"));
    }

    #[test]
    fn what_is_cut_keeps_no_half_of_a_secret() {
        let (values, _) = values(|| {
            let url = format!("{} http://me:hunter2@h/", "x".repeat(4_080));
            info_span!("span", url, short = "http://me:hunter2@h/", debug = ?"é".repeat(9_000), n = 1);
        });
        let cut = shown(&values.cut(4_096));
        assert_eq!(
            cut[0].trim_start_matches(['u', 'r', 'l', '=', 'x']),
            " http://"
        );
        assert_eq!(cut[1], "short=http://me:hunter2@h/");
        assert!((4_095..=4_096).contains(&(cut[2].len() - "debug=".len())));
        assert_eq!(cut[3], "n=1");
    }

    #[test]
    fn a_value_is_formatted_once_when_it_is_recorded() {
        thread_local! {
            static FORMATTED: Cell<u32> = const { Cell::new(0) };
        }
        struct Counts;
        impl fmt::Debug for Counts {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                FORMATTED.set(FORMATTED.get() + 1);
                f.write_str("counted")
            }
        }
        let lines = captured(Format::Json, || {
            let span = info_span!("span", value = ?Counts, late = field::Empty).entered();
            assert_eq!(FORMATTED.get(), 1);
            info!("first");
            info!("second");
            span.record("late", field::debug(Counts));
            assert_eq!(FORMATTED.get(), 2);
            info!("third");
        });
        assert_eq!(FORMATTED.get(), 2);
        for line in lines.json() {
            assert_eq!(line["value"], "counted");
        }
        assert_eq!(lines.json()[2]["late"], "counted");
    }

    #[test]
    fn lines_are_the_same_whether_values_were_recorded_before_the_first_or_behind_it() {
        let lines = |early: bool| {
            let lines = captured(Format::Json, || {
                let span = info_span!("span", a = "1", b = "2", late = field::Empty).entered();
                if early {
                    info!("rendered");
                }
                span.record("late", "x\ny").record("a", "one");
                info!("told");
            });
            let line = lines.lines().pop().unwrap();
            line.split_once("told").unwrap().1.to_owned()
        };
        assert_eq!(lines(true), lines(false));
        assert!(
            lines(false).ends_with(r#","a":"one","b":"2","late":"x\ny"}"#),
            "{}",
            lines(false)
        );
    }
}
