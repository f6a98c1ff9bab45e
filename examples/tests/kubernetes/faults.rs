//! All checks of what manifests say of each other: nothing is wrong with what is there, and each kind of fault (`faults.txt`)
//! is told.

use serde_json::Value;

use crate::manifests::{all, id, scaled_object};
use crate::{autoscaling, limits, monitors, network, references};

type Check = fn(&[Value]) -> Vec<String>;

/// Everything that does not fit.
fn faults(documents: &[Value]) -> Vec<String> {
    let checks: [Check; 15] = [
        references::selectors,
        references::ports,
        references::names,
        references::addresses,
        references::environment,
        limits::hardening,
        limits::budgets,
        limits::times,
        limits::memory,
        limits::rollouts,
        limits::sidecars,
        monitors::times_and_labels,
        monitors::jobs,
        monitors::counted_once,
        autoscaling::faults,
    ];
    let own = checks.iter().flat_map(|check| check(documents));
    own.chain(network::faults(documents)).collect()
}

#[test]
fn everything_that_is_referred_to_is_there() {
    let Some((all, _)) = all("everything_that_is_referred_to_is_there") else {
        return;
    };
    for applied in all {
        let mut faults = faults(&applied.documents);
        faults.extend(references::ways(&applied.name, &applied.documents));
        assert_eq!(faults, Vec::<String>::new(), "{}", applied.name);
    }
}

/// A line of `faults.txt`.
struct Fault<'a> {
    overlay: &'a str,
    document: &'a str,
    pointer: String,
    value: Value,
    told: &'a str,
}

impl<'a> Fault<'a> {
    fn read(line: &'a str) -> Self {
        let fields: Vec<_> = line.split(" | ").collect();
        let [overlay, document, pointer, value, told] = *fields else {
            panic!("{line}");
        };
        Self {
            overlay,
            document,
            pointer: pointer.replace("CONTAINER", "/spec/template/spec/containers/0"),
            value: serde_json::from_str(value).expect(line),
            told,
        }
    }

    fn put_into(self, documents: &mut [Value]) {
        let mut documents = documents.iter_mut();
        let spoilt = documents.find(|one| id(one) == self.document);
        let at = spoilt.and_then(|document| document.pointer_mut(&self.pointer));
        *at.unwrap_or_else(|| panic!("{}: no {}", self.document, self.pointer)) = self.value;
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let Some((all, _)) = all("what_does_not_fit_is_told") else {
        return;
    };
    let lines = include_str!("faults.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let fault = Fault::read(line);
        let (overlay, told) = (fault.overlay, fault.told);
        let applied = all.iter().find(|applied| applied.name == overlay);
        let mut documents = applied.expect("an overlay").documents.clone();
        if overlay == "scaled" {
            documents.push(scaled_object());
            assert_eq!(faults(&documents), Vec::<String>::new());
        }
        fault.put_into(&mut documents);
        let mut faults = faults(&documents);
        faults.extend(references::ways(overlay, &documents));
        assert!(
            faults.iter().any(|fault| fault.contains(told)),
            "{line}: {faults:#?}"
        );
    }
}
