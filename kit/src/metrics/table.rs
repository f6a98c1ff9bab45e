//! The series of one metric: found without a lock or an allocation once known, and bounded in number, so
//! that no scanner of paths or hosts can fill the memory of a service or of its Prometheus.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};

use super::labels::LabelText;

/// The most series one metric has, the overflow series aside (OpenTelemetry SDK specification, "Cardinality
/// limits": 2,000 by default).
pub(crate) const SERIES_LIMIT: usize = 2_000;

/// The label of the series that stands for all beyond the limit (same specification).
const OVERFLOW: &str = "otel_metric_overflow";

/// A label set as the request path has it, borrowed; hashes as the key it stands for.
pub(crate) trait Labels<K>: Hash + Equivalent<K> {
    fn to_key(&self) -> K;
    fn to_text(&self) -> LabelText;
}

/// A value per label set. Reads see a snapshot; a new label set copies the table, which is rare and soon
/// over, since the label sets of a service are few and the table is bounded.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    metric: &'static str,
    limit: usize,
    make: fn() -> V,
    series: ArcSwap<HashMap<K, Arc<Series<V>>, RandomState>>,
    growing: Mutex<()>,
    overflow: OnceLock<Arc<Series<V>>>,
    overflowed: AtomicU64,
}

/// One series: its labels, ready to be written, and what it measured.
#[derive(Debug)]
pub(crate) struct Series<V> {
    pub(crate) labels: LabelText,
    pub(crate) value: V,
}

/// The series that one place asks for again and again: found by comparing a few keys, without a hash.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    first: [OnceLock<(K, Arc<Series<V>>)>; 4],
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self {
            first: Default::default(),
        }
    }
}

impl<K: PartialEq, V> Recent<K, V> {
    /// The series of `key`, if it was among the first asked for.
    pub(super) fn get(&self, key: &K) -> Option<&Arc<Series<V>>> {
        let known = self.first.iter().map_while(OnceLock::get);
        let mut found = known.filter(|(known, _)| known == key);
        found.next().map(|(_, series)| series)
    }

    /// Remembers a series while there is room.
    pub(super) fn keep(&self, key: K, series: &Arc<Series<V>>) {
        let mut entry = Some((key, Arc::clone(series)));
        for place in &self.first {
            if let Some(new) = entry.take()
                && let Err(new) = place.set(new)
            {
                entry = Some(new);
            }
        }
    }
}

impl<K: Clone + Eq + Hash, V> Table<K, V> {
    /// `metric` is the full name, for the counter of measurements beyond the limit.
    pub(crate) fn new(metric: &'static str, make: fn() -> V) -> Self {
        Self::with_limit(metric, make, SERIES_LIMIT)
    }

    fn with_limit(metric: &'static str, make: fn() -> V, limit: usize) -> Self {
        Self {
            metric,
            limit,
            make,
            series: ArcSwap::default(),
            growing: Mutex::new(()),
            overflow: OnceLock::new(),
            overflowed: AtomicU64::new(0),
        }
    }

    pub(crate) fn metric(&self) -> &'static str {
        self.metric
    }

    /// Measurements that went to the overflow series.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Shows the series of `labels` to `act`, begun if it is new.
    pub(crate) fn with<R>(
        &self,
        labels: &impl Labels<K>,
        act: impl FnOnce(&Arc<Series<V>>) -> R,
    ) -> R {
        let series = self.series.load();
        if let Some(known) = series.get(labels) {
            return act(known);
        }
        let full = series.len() >= self.limit;
        drop(series);
        if full {
            return act(self.overflow());
        }
        match self.grow(labels) {
            Some(new) => act(&new),
            None => act(self.overflow()),
        }
    }

    /// Whether `series` stands for all beyond the limit.
    pub(super) fn is_overflow(&self, series: &Arc<Series<V>>) -> bool {
        let overflow = self.overflow.get();
        overflow.is_some_and(|overflow| Arc::ptr_eq(overflow, series))
    }

    /// All series in the order of their labels.
    pub(crate) fn all(&self) -> Vec<Arc<Series<V>>> {
        let mut all: Vec<_> = self.series.load().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.labels.as_str().cmp(b.labels.as_str()));
        all.extend(self.overflow.get().cloned());
        all
    }

    #[cold]
    fn grow(&self, labels: &impl Labels<K>) -> Option<Arc<Series<V>>> {
        let _one_at_a_time = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.series.load();
        if let Some(meanwhile) = current.get(labels) {
            return Some(Arc::clone(meanwhile));
        }
        if current.len() >= self.limit {
            return None;
        }
        let new = Arc::new(Series {
            labels: labels.to_text(),
            value: (self.make)(),
        });
        let mut next = HashMap::clone(&current);
        next.insert(labels.to_key(), Arc::clone(&new));
        self.series.store(Arc::new(next));
        Some(new)
    }

    fn overflow(&self) -> &Arc<Series<V>> {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        self.overflow.get_or_init(|| {
            Arc::new(Series {
                labels: LabelText::default().with(OVERFLOW, "true"),
                value: (self.make)(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Key(String);

    #[derive(Hash)]
    struct Borrowed<'a>(&'a str);

    impl Equivalent<Key> for Borrowed<'_> {
        fn equivalent(&self, key: &Key) -> bool {
            self.0 == key.0
        }
    }

    impl Labels<Key> for Borrowed<'_> {
        fn to_key(&self) -> Key {
            Key(self.0.to_owned())
        }

        fn to_text(&self) -> LabelText {
            LabelText::default().with("name", self.0)
        }
    }

    fn count(table: &Table<Key, AtomicU64>, name: &str) {
        table.with(&Borrowed(name), |series| {
            series.value.fetch_add(1, Ordering::Relaxed)
        });
    }

    fn shown(table: &Table<Key, AtomicU64>) -> Vec<String> {
        table
            .all()
            .iter()
            .map(|series| {
                let value = series.value.load(Ordering::Relaxed);
                format!("{} {value}", series.labels.as_str())
            })
            .collect()
    }

    #[test]
    fn beyond_the_limit_one_series_takes_all_and_is_counted() {
        let table = Table::with_limit("m", AtomicU64::default, 2);
        for name in ["b", "a", "b", "c", "d", "a"] {
            count(&table, name);
        }
        assert_eq!(
            shown(&table),
            [
                "name=\"a\" 2",
                "name=\"b\" 2",
                "otel_metric_overflow=\"true\" 2"
            ]
        );
        assert_eq!(table.overflowed(), 2);
    }

    #[test]
    fn without_overflow_there_is_no_such_series() {
        let table = Table::new("m", AtomicU64::default);
        count(&table, "a");
        assert_eq!(shown(&table), ["name=\"a\" 1"]);
        assert_eq!(table.overflowed(), 0);
    }

    #[test]
    fn threads_that_meet_new_labels_at_once_lose_nothing() {
        let table = Table::with_limit("m", AtomicU64::default, 50);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for name in 0..100 {
                        count(&table, &name.to_string());
                    }
                });
            }
        });
        let all = table.all();
        let total: u64 = all
            .iter()
            .map(|series| series.value.load(Ordering::Relaxed))
            .sum();
        assert_eq!(all.len(), 51);
        assert_eq!(total, 400);
        assert_eq!(table.overflowed(), 200);
    }
}
