//! Explains by numbers why edges are missing around a service, or hold fewer calls than they should. Asked by `mod` with
//! the map of a window; the tests build each situation from spans.
//!
//! Calls that failed are left out: who was never reached makes no span. So is what may be chance, below [`FEW`] calls or
//! [`SHARE`] of them. Numbers are estimates where senders sample, as on the map; what is few is not.

use std::collections::BTreeMap;

use super::evidence::Lone;
use super::nearest::{Likeness, is_internal, nearest};
use super::peer::UNKNOWN;
use super::relations::Relations;
use super::report::{Edge, Finding, Map};

/// Fewer calls prove nothing.
const FEW: u64 = 5;
/// Nor does a smaller share of them: spans are lost now and then.
const SHARE: f64 = 0.05;

/// What is known of a service and its window.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) service: &'a str,
    pub(crate) map: &'a Map,
    /// Its spans, …
    pub(crate) spans: u64,
    /// … and those that are CLIENT or PRODUCER spans.
    pub(crate) client_spans: u64,
    /// Of every service: its server spans without a caller's.
    pub(crate) lone: BTreeMap<String, Lone>,
    /// Whose spans its kept traces show above and below its own.
    pub(crate) relations: Relations,
    /// Calls settled before their time since the collector was started.
    pub(crate) cut_short: u64,
}

/// What is wrong, the surest first; nothing for a service that all is well with.
pub(crate) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let out = case
        .map
        .edges
        .iter()
        .filter(|edge| edge.client == case.service);
    findings.extend(out.filter_map(|edge| case.call_out(edge)));
    findings.extend(case.calls_in());
    findings.extend(case.hanging());
    findings.extend(case.callers_elsewhere());
    if case.client_spans == 0 && case.spans >= FEW && case.relations.below.is_empty() {
        findings.push(Finding::NoClientSpans {
            client: case.service.to_owned(),
            spans: case.spans,
        });
    }
    if case.cut_short > 0 && !findings.is_empty() {
        findings.push(Finding::CutShort {
            calls: case.cut_short,
        });
    }
    findings.sort_by_key(|finding| (rank(finding), std::cmp::Reverse(weight(finding))));
    findings
}

/// The service that a caller's name means, and how that is known.
struct Meant<'a> {
    server: &'a str,
    sure: bool,
}

impl Case<'_> {
    /// What is wrong with an edge out of the service.
    fn call_out(&self, edge: &Edge) -> Option<Finding> {
        let silent = silent(edge);
        if is_few(silent, edge.samples, edge.count) || self.kind(&edge.server) == Some("database") {
            return None;
        }
        if edge.server == UNKNOWN {
            return Some(Finding::Nameless {
                client: edge.client.clone(),
                calls: silent,
            });
        }
        let Some(meant) = self.meant(edge) else {
            return self.elsewhere(edge, silent);
        };
        // The calls of both names: those whose server spans came stand on the edge to the service itself.
        let paired = self.answered(&edge.client, meant.server);
        if paired > 0 {
            return is_news(silent, paired).then(|| Finding::SamplingMismatch {
                client: edge.client.clone(),
                server: meant.server.to_owned(),
                paired,
                unpaired: silent,
            });
        }
        if !meant.sure {
            return Some(Finding::NameMismatch {
                client: edge.client.clone(),
                called_as: edge.server.clone(),
                nearest: meant.server.to_owned(),
                calls: silent,
            });
        }
        self.broken(edge, meant.server, silent)
            .or_else(|| self.elsewhere(edge, silent))
    }

    /// Calls of others to this service that arrive without their trace.
    fn calls_in(&self) -> Vec<Finding> {
        let edges = self
            .map
            .edges
            .iter()
            .filter(|edge| edge.client != self.service);
        let unanswered = edges.filter(|edge| !is_few(silent(edge), edge.samples, edge.count));
        let here = unanswered.filter(|edge| {
            let meant = self.meant(edge);
            meant.is_some_and(|meant| meant.sure && meant.server == self.service)
                && self.answered(&edge.client, self.service) == 0
        });
        here.filter_map(|edge| self.broken(edge, self.service, silent(edge)))
            .collect()
    }

    fn broken(&self, edge: &Edge, server: &str, calls: u64) -> Option<Finding> {
        let lone = self.lone.get(server).copied().unwrap_or_default();
        (lone.samples >= FEW).then(|| Finding::PropagationBroken {
            client: edge.client.clone(),
            server: server.to_owned(),
            called_as: edge.server.clone(),
            calls,
            roots: lone.roots,
            strangers: lone.alone,
        })
    }

    /// An outside host is no fault; one that told its time, or that is of the own network, is somebody's service.
    fn elsewhere(&self, edge: &Edge, calls: u64) -> Option<Finding> {
        let is_own = self.kind(&edge.server) != Some("queue") && is_internal(&edge.server);
        (edge.told > 0 || is_own).then(|| Finding::ServerElsewhere {
            client: edge.client.clone(),
            called_as: edge.server.clone(),
            calls,
            told: edge.told,
        })
    }

    /// Server spans below spans that are no client spans.
    fn hanging(&self) -> Vec<Finding> {
        let finding = |client: &str, server: &str, traces: u64| Finding::CallsWithoutClientSpan {
            client: client.to_owned(),
            server: server.to_owned(),
            traces,
            looked_at: self.relations.looked_at,
        };
        let below = self.relations.below.iter();
        let below = below.map(|(server, &traces)| finding(self.service, server, traces));
        let above = self.relations.above.iter();
        let above = above.map(|(client, &traces)| finding(client, self.service, traces));
        below.chain(above).collect()
    }

    fn callers_elsewhere(&self) -> Option<Finding> {
        let lone = self.lone.get(self.service)?;
        let alone = lone.alone;
        let into = self
            .map
            .edges
            .iter()
            .filter(|edge| edge.server == self.service);
        let paired = into.map(answered).sum();
        // Where the parents are here, they are no client spans, and told of as what they are where they are others'.
        let explained = self.relations.looked_at > 0 && self.relations.parents_missing == 0;
        let few = is_few(alone, lone.samples, lone.roots + alone);
        (!few && is_news(alone, paired) && !explained).then(|| Finding::CallersElsewhere {
            server: self.service.to_owned(),
            alone,
            paired,
        })
    }

    /// The service that is called: by its own name, by one that a client whose calls are answered has for it, or by one
    /// that is like its own.
    fn meant<'a>(&'a self, edge: &'a Edge) -> Option<Meant<'a>> {
        let peer = edge.server.as_str();
        if self.kind(peer) == Some("service") {
            return Some(Meant {
                server: peer,
                sure: true,
            });
        }
        let known = self.map.edges.iter().filter(|known| {
            known.called_as.as_deref() == Some(peer) && self.kind(&known.server) == Some("service")
        });
        // What the same caller means counts first: addresses such as 127.0.0.1:8080 mean something else to others.
        if let Some(known) = known.max_by_key(|known| (known.client == edge.client, known.count)) {
            return Some(Meant {
                server: &known.server,
                sure: true,
            });
        }
        let services = self.map.nodes.iter().filter(|node| node.kind == "service");
        let others = services
            .map(|node| node.id.as_str())
            .filter(|id| *id != edge.client);
        nearest(peer, others).map(|(server, likeness)| Meant {
            server,
            sure: likeness == Likeness::Same,
        })
    }

    fn answered(&self, client: &str, server: &str) -> u64 {
        let edges = self.map.edges.iter();
        let between = edges.filter(|edge| edge.client == client && edge.server == server);
        between.map(answered).sum()
    }

    fn kind(&self, id: &str) -> Option<&'static str> {
        let node = self.map.nodes.iter().find(|node| node.id == id);
        node.map(|node| node.kind)
    }
}

/// Calls that were not answered by a span, though they did not fail.
fn silent(edge: &Edge) -> u64 {
    edge.unpaired.saturating_sub(edge.unpaired_failed)
}

/// Calls whose server span came.
fn answered(edge: &Edge) -> u64 {
    edge.count.saturating_sub(edge.unpaired)
}

/// Whether a part of something, that so many samples stand for in all, is known by too few of them.
fn is_few(part: u64, samples: u64, all: u64) -> bool {
    let came = u128::from(part) * u128::from(samples) / u128::from(all.max(1));
    came < u128::from(FEW)
}

fn is_news(missing: u64, there: u64) -> bool {
    missing as f64 >= SHARE * (missing + there) as f64
}

/// What can be mended here comes before what has to be asked elsewhere.
fn rank(finding: &Finding) -> u8 {
    match finding {
        Finding::PropagationBroken { .. } => 0,
        Finding::CallsWithoutClientSpan { .. } => 1,
        Finding::SamplingMismatch { .. } => 2,
        Finding::NameMismatch { .. } => 3,
        Finding::Nameless { .. } => 4,
        Finding::ServerElsewhere { .. } => 5,
        Finding::CallersElsewhere { .. } => 6,
        Finding::NoClientSpans { .. } => 7,
        Finding::CutShort { .. } => 8,
    }
}

/// How much of it there is.
fn weight(finding: &Finding) -> u64 {
    match finding {
        Finding::PropagationBroken { calls, .. }
        | Finding::NameMismatch { calls, .. }
        | Finding::Nameless { calls, .. }
        | Finding::ServerElsewhere { calls, .. }
        | Finding::CutShort { calls } => *calls,
        Finding::CallsWithoutClientSpan { traces, .. } => *traces,
        Finding::SamplingMismatch { unpaired, .. } => *unpaired,
        Finding::CallersElsewhere { alone, .. } => *alone,
        Finding::NoClientSpans { spans, .. } => *spans,
    }
}

#[cfg(test)]
mod border_tests;
#[cfg(test)]
mod tests;
