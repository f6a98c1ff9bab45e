//! The service as its lines name it, rendered once a logger. Made by `kit`, used by the formats.

/// Who writes the lines: what is the same on every one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service<'a> {
    /// `service.name`.
    pub(crate) name: &'a str,
    /// Every other resource attribute, of which each format takes those it has a place for.
    pub(crate) resource: &'a [(String, String)],
    /// The Google Cloud project that traces belong to (`GOOGLE_CLOUD_PROJECT`); only `gcp` names it.
    pub(crate) project: Option<&'a str>,
}

impl<'a> Service<'a> {
    /// The first of these resource attributes that is there and says something.
    pub(super) fn attribute(&self, names: &[&str]) -> Option<&'a str> {
        let value = |name: &&str| {
            let mut found = self.resource.iter().filter(|(key, _)| key == name);
            found.next().map(|(_, value)| value.as_str())
        };
        names
            .iter()
            .filter_map(value)
            .find(|value| !value.is_empty())
    }
}

/// The service as a format writes it into each line's head.
#[derive(Debug, Default)]
pub(super) struct WrittenService {
    /// From the target's closing quote to the last byte before the ids.
    pub(super) service: Vec<u8>,
    /// What stands before a trace id, in formats in which that depends on the service.
    pub(super) before_trace: Vec<u8>,
}
