//! The request path: one layer that gives a request its identity, times it to the end of its body and
//! settles it exactly once into log line, span and metrics; and its outbound twin.

mod outcome;

pub(crate) use outcome::Outcome;
