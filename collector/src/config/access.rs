//! Who may send to the receivers, and how long they stay: TLS, client certificates, tokens, browsers, connections. Used by
//! `Config`, read by `pipeline`.

use std::time::Duration;

use http::HeaderName;

use super::given::{Given, Variable};
use super::source::{Faults, Setting};
use super::value;
use crate::export::DEFAULT_RELOAD_INTERVAL;
use crate::net::pem::Identity;
use crate::net::server_tls::{Clients, ServerTls};
use crate::receive::cors::Cors;
use crate::receive::tokens::{TokenSources, tokens_of};
use crate::secret::{self, Secret};
use crate::status::Locks;

/// What the receivers ask for, and how they treat connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The receivers' certificate, and whom they let in by theirs; `None`: plaintext everywhere.
    pub tls: Option<ServerTls>,
    /// The tokens that let requests in; none: nobody needs one.
    pub tokens: TokenSources,
    /// What of all this each receiver asks for, in the order `otlp_grpc`, `otlp_http`, `zipkin`.
    pub locks: [Locks; 3],
    /// Which browsers' pages may send over HTTP; `None`: nothing is said of it.
    pub cors: Option<Cors>,
    /// How long connections stay.
    pub connections: Connections,
    /// How often files are looked at that may be rotated.
    pub reload_interval: Duration,
    /// The references by which tokens were given.
    pub(super) token_templates: Vec<String>,
}

/// How long senders' connections stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// The age at which a connection's peer is told to make another; `None`: never.
    pub max_age: Option<Duration>,
    /// What requests under way may take beyond that.
    pub grace: Duration,
    /// How long one may be without a request.
    pub idle_timeout: Duration,
}

/// The receivers, as the file calls them.
pub(super) const RECEIVERS: [&str; 3] = ["otlp_grpc", "otlp_http", "zipkin"];

/// Of ids, origins and headers, each: every one of them is looked at for a connection or a request.
const MOST_OF_A_KIND: usize = 256;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const TENTH: Duration = Duration::from_millis(100);
const TEN_MINUTES: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3_600);

const NEVER: &str = "never";

impl Access {
    pub(super) fn resolve(given: &Given, variable: Variable<'_>, faults: &mut Faults) -> Self {
        let tls = tls(given, faults);
        let tokens = tokens(given, variable, faults);
        let is_mutual = tls.as_ref().is_some_and(|tls| tls.clients.is_some());
        let with_tls = receivers(
            given,
            "tls.receivers",
            tls.is_some(),
            "tls.cert_file",
            faults,
        );
        let mutual = receivers(
            given,
            "tls.client_receivers",
            is_mutual,
            "tls.client_ca_file",
            faults,
        );
        let is_asked = given.settings.contains_key("tls.client_receivers");
        let with_tokens = receivers(
            given,
            "auth.receivers",
            !tokens.is_empty(),
            "auth.tokens",
            faults,
        );
        let mut locks = [Locks::default(); RECEIVERS.len()];
        for (index, locks) in locks.iter_mut().enumerate() {
            let has = |of: &[bool; RECEIVERS.len()]| of.get(index).copied().unwrap_or(false);
            *locks = Locks {
                tls: has(&with_tls),
                client_certificates: has(&mutual) && has(&with_tls),
                tokens: has(&with_tokens),
            };
            if is_asked && has(&mutual) && !has(&with_tls) {
                let allowed = "its receiver has no TLS; name it in tls.receivers, too";
                for setting in given.several("tls.client_receivers") {
                    if Some(&setting.value.trim()) == RECEIVERS.get(index) {
                        faults.add(setting.source, &setting.value, allowed);
                    }
                }
            }
        }
        let interval = |text: &str| value::duration_within(text, TENTH, HOUR);
        Self {
            locks,
            cors: cors(given, faults),
            connections: connections(given, faults),
            reload_interval: faults
                .checked(given.one("reload_interval"), interval)
                .unwrap_or(DEFAULT_RELOAD_INTERVAL),
            token_templates: templates(given, tokens.is_empty()),
            tokens,
            tls,
        }
    }
}

/// The names of the receivers that have something.
pub(super) fn write_receivers(access: &Access, has: fn(&Locks) -> bool) -> Vec<String> {
    let named = RECEIVERS.iter().zip(&access.locks);
    named
        .filter(|(_, locks)| has(locks))
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

pub(super) fn write_max_age(age: Option<Duration>) -> String {
    age.map_or_else(|| NEVER.to_owned(), value::write_duration)
}

fn tls(given: &Given, faults: &mut Faults) -> Option<ServerTls> {
    let [cert_file, key_file, ca_file] =
        ["tls.cert_file", "tls.key_file", "tls.client_ca_file"].map(|key| given.one(key));
    let allowed = all_of(given, "tls.client_ids", faults, |text| {
        text.parse().map_err(|error| format!("{error}"))
    });
    if ca_file.is_none() {
        for setting in given.several("tls.client_ids") {
            let allowed = "only together with tls.client_ca_file";
            faults.add(setting.source, &setting.value, allowed);
        }
    }
    let (cert_file, key_file) = match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => (cert_file, key_file),
        (None, None) => {
            if let Some(alone) = ca_file {
                let allowed = "only together with tls.cert_file and tls.key_file";
                faults.add(alone.source, &alone.value, allowed);
            }
            return None;
        }
        (Some(alone), None) | (None, Some(alone)) => {
            let allowed = "tls.cert_file and tls.key_file need each other; give both or none";
            faults.add(alone.source, &alone.value, allowed);
            return None;
        }
    };
    let place = cert_file.source.clone();
    let tls = ServerTls {
        identity: Identity {
            cert_file: cert_file.value.into(),
            key_file: key_file.value.into(),
        },
        clients: ca_file.map(|ca_file| Clients {
            ca_file: ca_file.value.into(),
            allowed,
        }),
    };
    if let Err(error) = tls.load() {
        faults.say(place, error.to_string());
    }
    Some(tls)
}

fn tokens(given: &Given, variable: Variable<'_>, faults: &mut Faults) -> TokenSources {
    let mut sources = Vec::new();
    for Setting { source, value } in given.several("auth.tokens") {
        let template = value.trim();
        // Not repeated: it may well be the token itself.
        let read = if secret::is_reference(template) {
            Secret::resolve(template, variable)
        } else {
            Err("write ${NAME} or ${file:PATH}: a token itself does not belong here".to_owned())
        };
        let checked = read.and_then(|secret| tokens_of(&secret).map(|_| secret));
        match checked {
            Ok(secret) => sources.push(secret),
            Err(text) => faults.say(source, text),
        }
    }
    let sources = TokenSources::new(sources);
    if let (Err(text), Some(first)) = (sources.load(), given.one("auth.tokens")) {
        faults.say(first.source, text);
    }
    sources
}

fn templates(given: &Given, is_empty: bool) -> Vec<String> {
    let templates = given.several("auth.tokens").into_iter();
    let templates = templates.filter(|_| !is_empty);
    templates
        .map(|setting| secret::shown(setting.value.trim()).to_owned())
        .collect()
}

/// Which receivers `key` names; all or none without it, as what it is about `is_there`. It means nothing without `needed`.
fn receivers(
    given: &Given,
    key: &str,
    is_there: bool,
    needed: &str,
    faults: &mut Faults,
) -> [bool; RECEIVERS.len()] {
    let settings = given.several(key);
    if settings.is_empty() {
        return [is_there; RECEIVERS.len()];
    }
    let mut named = [false; RECEIVERS.len()];
    for setting in settings {
        let index = faults.checked(Some(setting.clone()), |text| {
            let index = RECEIVERS.iter().position(|name| *name == text.trim());
            index.ok_or_else(|| format!("allowed are {}", RECEIVERS.join(", ")))
        });
        if let Some(one) = index.and_then(|index| named.get_mut(index)) {
            *one = is_there;
        }
        if given.one(needed).is_none() {
            let allowed = format!("only together with {needed}");
            faults.add(setting.source, &setting.value, allowed);
        }
    }
    named
}

fn cors(given: &Given, faults: &mut Faults) -> Option<Cors> {
    let origins = all_of(given, "cors.origins", faults, |text| {
        text.parse().map_err(|error| format!("{error}"))
    });
    let headers = all_of(given, "cors.headers", faults, |text| {
        HeaderName::from_bytes(text.trim().as_bytes())
            .map_err(|_| "the name of a header is needed: letters, digits and -".to_owned())
    });
    let max_age = faults.checked(given.one("cors.max_age"), |text| {
        value::duration_within(text, Duration::ZERO, DAY)
    });
    if given.one("cors.origins").is_none() {
        for key in ["cors.headers", "cors.max_age"] {
            if let Some(setting) = given.one(key) {
                let allowed = "only together with cors.origins";
                faults.add(setting.source, &setting.value, allowed);
            }
        }
        return None;
    }
    Some(Cors {
        origins,
        headers,
        max_age: max_age.unwrap_or(2 * HOUR),
    })
}

fn connections(given: &Given, faults: &mut Faults) -> Connections {
    let max_age = faults.checked(given.one("connections.max_age"), |text| match text.trim() {
        NEVER => Ok(None),
        text => value::duration_within(text, SECOND, DAY)
            .map(Some)
            .map_err(|allowed| format!("{allowed}, or never")),
    });
    let grace = faults.checked(given.one("connections.grace"), |text| {
        value::duration_within(text, TENTH, TEN_MINUTES)
    });
    let idle = faults.checked(given.one("connections.idle_timeout"), |text| {
        value::duration_within(text, SECOND, DAY)
    });
    Connections {
        max_age: max_age.unwrap_or(Some(HOUR)),
        grace: grace.unwrap_or(Duration::from_secs(30)),
        idle_timeout: idle.unwrap_or(Duration::from_secs(75)),
    }
}

/// Every value of `key` as `read` reads it; those that it does not are told.
fn all_of<T>(
    given: &Given,
    key: &str,
    faults: &mut Faults,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let settings = given.several(key);
    if let Some(one_more) = settings.get(MOST_OF_A_KIND) {
        let text = format!("at most {MOST_OF_A_KIND} are allowed");
        faults.say(one_more.source.clone(), text);
    }
    settings
        .into_iter()
        .take(MOST_OF_A_KIND)
        .filter_map(|setting| faults.checked(Some(setting), &read))
        .collect()
}
