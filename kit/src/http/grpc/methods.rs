//! The methods that a server has been seen to have: only these become metric labels and span names, so that
//! no caller can invent series.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashSet;

type Names = HashSet<Arc<str>, foldhash::fast::RandomState>;

/// Names (`package.Service/Method`) seen so far; looking one up takes no lock and allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Methods(ArcSwap<Names>);

impl Methods {
    /// More than any server has; beyond it a new method is `_OTHER`.
    const MAX: usize = 1_000;

    pub(super) fn get(&self, name: &str) -> Option<Arc<str>> {
        self.0.load().get(name).cloned()
    }

    /// The server answers `grpc.health.v1`.
    #[cfg(any(feature = "tonic", test))]
    pub(crate) fn learn_health(&self) {
        for method in ["Check", "Watch"] {
            self.learn(&format!("grpc.health.v1.Health/{method}"));
        }
    }

    /// Remembers a method while there is room.
    pub(super) fn learn(&self, name: &str) -> Option<Arc<str>> {
        let new: Arc<str> = Arc::from(name);
        self.0.rcu(|names| {
            if names.len() >= Self::MAX || names.contains(name) {
                return Arc::clone(names);
            }
            let mut grown = Names::clone(names);
            grown.insert(Arc::clone(&new));
            Arc::new(grown)
        });
        self.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_kept_once_and_bounded() {
        let methods = Methods::default();
        assert_eq!(methods.get("a.B/C"), None);
        let learnt = methods.learn("a.B/C").unwrap();
        assert!(Arc::ptr_eq(&learnt, &methods.get("a.B/C").unwrap()));
        assert!(Arc::ptr_eq(&learnt, &methods.learn("a.B/C").unwrap()));
        for i in 0..Methods::MAX {
            methods.learn(&format!("a.B/M{i}"));
        }
        assert_eq!(methods.learn("a.B/Last"), None);
        assert_eq!(methods.0.load().len(), Methods::MAX);
    }
}
