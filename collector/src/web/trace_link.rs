//! Links to the same trace elsewhere, in Grafana, Jaeger or Zipkin: read by `config`, shown on the page of a trace.

use std::fmt;
use std::str::FromStr;

use http::uri::Authority;

const PLACEHOLDER: &str = "{trace_id}";
const LONGEST_NAME: usize = 40;
const LONGEST_URL: usize = 2_048;

/// Where else a trace can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLink {
    name: String,
    /// With [`PLACEHOLDER`] in it, once or more.
    template: String,
}

/// Why a text is no such link; it says what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceLinkError {
    /// No `=` behind a name, or a name that is none.
    #[error("write NAME=URL, the name of 1 to 40 visible characters")]
    Name,
    /// Another scheme, or no host.
    #[error("the URL has to begin with http:// or https:// and a host, without a user or password")]
    Url,
    /// Nowhere to put the trace's id.
    #[error("the URL needs {{trace_id}} where the id of the trace belongs")]
    Placeholder,
    /// What no address bar takes as it is.
    #[error("the URL may be of up to 2048 visible ASCII characters; escape others by %")]
    Character,
}

impl TraceLink {
    /// What it is called on the page.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of a trace, whose id is hex digits.
    pub(super) fn url(&self, trace_id: &str) -> String {
        self.template.replace(PLACEHOLDER, trace_id)
    }
}

impl FromStr for TraceLink {
    type Err = TraceLinkError;

    fn from_str(text: &str) -> Result<Self, TraceLinkError> {
        let (name, url) = text.split_once('=').ok_or(TraceLinkError::Name)?;
        let (name, url) = (name.trim(), url.trim());
        let is_shown = !name.is_empty() && !name.chars().any(char::is_control);
        if !is_shown || name.chars().count() > LONGEST_NAME {
            return Err(TraceLinkError::Name);
        }
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))
            .ok_or(TraceLinkError::Url)?;
        if url.len() > LONGEST_URL || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TraceLinkError::Character);
        }
        // The host is not made of the trace's id: a page links to where its configuration says.
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let is_host = Authority::from_str(host).is_ok_and(|host| !host.host().is_empty());
        if !is_host || host.contains('@') {
            return Err(TraceLinkError::Url);
        }
        if !url.contains(PLACEHOLDER) {
            return Err(TraceLinkError::Placeholder);
        }
        Ok(Self {
            name: name.to_owned(),
            template: url.to_owned(),
        })
    }
}

impl fmt::Display for TraceLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_written_and_filled_in() {
        let text = "Grafana=https://grafana.example:3000/explore?left={%22a%22:%22{trace_id}%22}#{trace_id}";
        let link: TraceLink = text.parse().unwrap();
        assert_eq!((link.name(), link.to_string().as_str()), ("Grafana", text));
        assert_eq!(
            link.url("abc"),
            "https://grafana.example:3000/explore?left={%22a%22:%22abc%22}#abc"
        );
        let spaced: TraceLink = " My Jaeger = http://[::1]/trace/{trace_id} "
            .parse()
            .unwrap();
        assert_eq!(
            spaced.to_string(),
            "My Jaeger=http://[::1]/trace/{trace_id}"
        );
    }

    #[test]
    fn what_is_no_link_is_refused_for_what_it_is() {
        let check = |text: &str, want| assert_eq!(text.parse::<TraceLink>(), Err(want), "{text}");
        check("https://a/{trace_id}", TraceLinkError::Name);
        check("=https://a/{trace_id}", TraceLinkError::Name);
        check("a\u{7}=https://a/{trace_id}", TraceLinkError::Name);
        let long = format!("{}=https://a/{{trace_id}}", "n".repeat(41));
        check(&long, TraceLinkError::Name);
        check("a=javascript:alert('{trace_id}')", TraceLinkError::Url);
        check("a=ftp://a/{trace_id}", TraceLinkError::Url);
        check("a=//a/{trace_id}", TraceLinkError::Url);
        check("a=https://", TraceLinkError::Url);
        check("a=https:///{trace_id}", TraceLinkError::Url);
        check("a=https://{trace_id}/", TraceLinkError::Url);
        check("a=https://me:secret@a/{trace_id}", TraceLinkError::Url);
        check("a=https://a/", TraceLinkError::Placeholder);
        check("a=https://a/{traceid}", TraceLinkError::Placeholder);
        check("a=https://a/ {trace_id}", TraceLinkError::Character);
        check("a=https://a/\u{e9}{trace_id}", TraceLinkError::Character);
        let long = format!("a=https://a/{}{{trace_id}}", "x".repeat(2_048));
        check(&long, TraceLinkError::Character);
    }
}
