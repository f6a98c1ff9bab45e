//! Which kept traces are favoured: of every operation the slowest, and the newest failed ones. Owned by `traces`, which
//! offers it each trace that ordinary ones have to make room for.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::kept::KeptTrace;
use super::services::is_entry;
use super::traces::Key;
use crate::wire::StatusCode;

/// So many slow and so many failed traces are favoured for each operation.
const FAVOURED: usize = 5;
/// Operations beyond this share one class.
const MAX_CLASSES: usize = 1_000;
/// A trace stands for at most so many operations, those whose spans came first.
const MAX_OPERATIONS: usize = 32;

/// The favoured traces by operation.
#[derive(Debug, Default)]
pub(super) struct Favoured {
    classes: HashMap<u64, Class, RandomState>,
    /// Trace ids by serial, which is the order in which the traces came.
    by_age: BTreeMap<u64, [u8; 16]>,
    /// Of the traces in it, as `traces` counts them.
    pub(super) bytes: usize,
}

/// The favoured traces of an operation.
#[derive(Debug, Default)]
struct Class {
    slow: Vec<(u64, Key)>,
    /// The oldest first.
    failed: Vec<Key>,
}

/// An operation in a trace: the most that one of its spans took, and whether one failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    class: u64,
    nanos: u64,
    failed: bool,
}

impl Favoured {
    /// What a trace stands for: its root, with all the trace's time and failures, and the entry operations of the
    /// services it went through.
    pub(super) fn operations(&self, trace: &KeptTrace) -> Vec<Taken> {
        let hasher = self.classes.hasher();
        let mut operations: Vec<Taken> = Vec::new();
        let mut take = |service: &str, name: &str, nanos: u64, failed: bool| {
            let class = hasher.hash_one((service, name));
            if let Some(taken) = operations.iter_mut().find(|taken| taken.class == class) {
                taken.nanos = taken.nanos.max(nanos);
                taken.failed |= failed;
            } else if operations.len() < MAX_OPERATIONS {
                operations.push(Taken {
                    class,
                    nanos,
                    failed,
                });
            }
        };
        if let Some(root) = trace.root() {
            let service = root.resource.service_name;
            take(service, root.name, trace.nanos(), trace.failed);
        }
        for span in trace.spans().filter(is_entry) {
            let failed = span.status == StatusCode::Error;
            let service = span.resource.service_name;
            take(service, span.name, span.duration_nanos(), failed);
        }
        operations
    }

    /// Takes a trace in where it is among the slowest or the newest failed ones. The classes that favour it now, and the
    /// traces that each of them favours no more.
    pub(super) fn offer(&mut self, key: Key, operations: &[Taken]) -> (Vec<u64>, Vec<(u64, Key)>) {
        let (mut favour, mut displaced) = (Vec::new(), Vec::new());
        for &Taken {
            class,
            nanos,
            failed,
        } in operations
        {
            let is_known = self.classes.len() < MAX_CLASSES || self.classes.contains_key(&class);
            let class = if is_known { class } else { 0 };
            // Several operations of one trace may share the class of the others.
            if favour.contains(&class) {
                continue;
            }
            match self
                .classes
                .entry(class)
                .or_default()
                .take(key, nanos, failed)
            {
                Some(gone) if gone == key => {}
                gone => {
                    favour.push(class);
                    displaced.extend(gone.map(|gone| (class, gone)));
                }
            }
        }
        if !favour.is_empty() {
            self.by_age.insert(key.1, key.0);
        }
        (favour, displaced)
    }

    /// The trace is favoured by the class no more.
    pub(super) fn leave(&mut self, class: u64, key: Key) {
        if let Some(own) = self.classes.get_mut(&class) {
            own.slow.retain(|&(_, slow)| slow != key);
            own.failed.retain(|&failed| failed != key);
            if own.slow.is_empty() && own.failed.is_empty() {
                self.classes.remove(&class);
            }
        }
    }

    /// The trace is favoured by nobody any more.
    pub(super) fn forget(&mut self, key: Key) {
        self.by_age.remove(&key.1);
    }

    /// The one that came first.
    pub(super) fn oldest(&self) -> Option<Key> {
        self.by_age().next()
    }

    /// The favoured traces, in the order in which they came.
    pub(super) fn by_age(&self) -> impl Iterator<Item = Key> {
        self.by_age
            .iter()
            .map(|(&serial, &trace_id)| (trace_id, serial))
    }
}

impl Class {
    /// Takes a trace in, and names the one that has to go for it, if any; it may be the same.
    fn take(&mut self, key: Key, nanos: u64, failed: bool) -> Option<Key> {
        if failed {
            self.failed.push(key);
            return (self.failed.len() > FAVOURED).then(|| self.failed.remove(0));
        }
        self.slow.push((nanos, key));
        let fastest = self.slow.iter().enumerate().min_by_key(|(_, slow)| **slow);
        let fastest = fastest.map(|(at, _)| at);
        (self.slow.len() > FAVOURED)
            .then(|| fastest.map(|at| self.slow.swap_remove(at).1))
            .flatten()
    }
}
