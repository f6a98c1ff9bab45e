//! What each exporter is told, checked: names and headers, times, files of TLS. Called by `Config`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, header};

use super::given::{Given, GivenExporter, Variable};
use super::source::{Faults, Setting};
use super::{sampling, storage, value};
use crate::export::{self, Compression, Headers, Retry, Target, TargetKind};
use crate::log::OnFull;
use crate::net::client::Protocol;
use crate::net::client_tls::ClientTls;
use crate::net::pem::Identity;
use crate::secret::Secret;
use crate::signal::{Signal, Signals};

/// The key of an exporter's headers.
pub(super) const HEADERS: &str = "headers";
/// The key of what an exporter takes.
pub(super) const SIGNALS: &str = "signals";

/// Each costs time to check and memory to run.
const MOST_EXPORTERS: usize = 64;
const MOST_HEADERS: usize = 32;
const LONGEST_NAME: usize = 100;

const MOST_IN_FLIGHT: usize = 64;
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);
const MOST_TIMEOUT: Duration = Duration::from_secs(600);
const LEAST_FIRST_WAIT: Duration = Duration::from_millis(10);
const MOST_FIRST_WAIT: Duration = Duration::from_secs(60);
const LEAST_LONGEST_WAIT: Duration = Duration::from_millis(100);
const MOST_LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What HTTP and the exporters write themselves.
const OWN_HEADERS: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The exporters that can be, each known by its name; what keeps others from it is told. `on_full` is for those that have
/// no choice of their own, `reload_interval` for all.
pub(super) fn resolve(
    given: &Given,
    on_full: OnFull,
    reload_interval: Duration,
    variable: Variable<'_>,
    faults: &mut Faults,
) -> Vec<export::Config> {
    let mut exporters: Vec<export::Config> = Vec::new();
    let ratio = given.one("sample_ratio");
    for (index, given) in given.exporters.iter().enumerate() {
        if index == MOST_EXPORTERS {
            let text = format!("at most {MOST_EXPORTERS} exporters are allowed");
            faults.say(given.source.clone(), text);
            break;
        }
        let ratio = ratio.as_ref();
        let Some(exporter) = one(given, on_full, ratio, reload_interval, variable, faults) else {
            continue;
        };
        match exporters.iter().find(|other| other.name == exporter.name) {
            None => exporters.push(exporter),
            Some(other) => {
                let allowed = format!(
                    "{} is called so, too; give each its own name, or leave one out",
                    other.asked_by
                );
                let named = given.one("name").or_else(|| given.one("url"));
                let source = named.map_or_else(|| given.source.clone(), |named| named.source);
                faults.add(source, &exporter.name, allowed);
            }
        }
    }
    exporters
}

fn one(
    given: &GivenExporter,
    on_full: OnFull,
    ratio: Option<&Setting>,
    reload_interval: Duration,
    variable: Variable<'_>,
    faults: &mut Faults,
) -> Option<export::Config> {
    let url = given.one("url");
    let asked_by = url.as_ref().map(|url| url.source.to_string());
    let target = faults.checked(url, |url| {
        Target::parse(url).map_err(|error| error.to_string())
    });
    let timeout = faults.checked(given.one("timeout"), |text| {
        value::duration_within(text, LEAST_TIMEOUT, MOST_TIMEOUT)
    });
    let requests_in_flight = faults.checked(given.one("requests_in_flight"), requests_in_flight);
    let retry = retry(given, faults);
    let name = faults.checked(given.one("name"), name);
    let compression = faults.checked(given.one("compression"), |text| {
        compression(text, target.as_ref())
    });
    let own_on_full = faults.checked(given.one("on_full"), storage::on_full);
    let sampling = sampling::resolve(given, ratio, faults);
    let headers = headers(given, target.as_ref(), variable, faults);
    let tls = tls(given, target.as_ref(), faults);
    let signals = signals(given, target.as_ref(), faults);
    let target = target?;
    Some(export::Config {
        name: name.unwrap_or_else(|| target.to_string()),
        signals: signals.unwrap_or(target.kind.signals()),
        headers,
        reload_interval,
        timeout: timeout.unwrap_or(export::DEFAULT_TIMEOUT),
        requests_in_flight: requests_in_flight.unwrap_or(export::DEFAULT_REQUESTS_IN_FLIGHT),
        compression: compression.unwrap_or_default(),
        tls,
        retry,
        on_full: own_on_full.unwrap_or(on_full),
        sampling,
        asked_by: asked_by.unwrap_or_default(),
        target,
    })
}

fn requests_in_flight(text: &str) -> Result<usize, String> {
    let number = text.trim().parse().ok();
    number
        .filter(|number| (1..=MOST_IN_FLIGHT).contains(number))
        .ok_or_else(|| format!("1 to {MOST_IN_FLIGHT} are allowed"))
}

fn retry(given: &GivenExporter, faults: &mut Faults) -> Retry {
    let by_default = Retry::default();
    let setting = given.one("retry.first");
    let first = faults.checked(setting.clone(), |text| {
        value::duration_within(text, LEAST_FIRST_WAIT, MOST_FIRST_WAIT)
    });
    let longest = faults.checked(given.one("retry.longest"), |text| {
        value::duration_within(text, LEAST_LONGEST_WAIT, MOST_LONGEST_WAIT)
    });
    let retry = Retry {
        first: first.unwrap_or(by_default.first),
        longest: longest.unwrap_or(by_default.longest),
    };
    if let Some(setting) = setting.filter(|_| retry.first > retry.longest) {
        let allowed = format!("retry.longest is {}", value::write_duration(retry.longest));
        faults.add(setting.source, &setting.value, allowed);
    }
    retry
}

/// What it is told to take; `None` when it is not told.
fn signals(given: &GivenExporter, target: Option<&Target>, faults: &mut Faults) -> Option<Signals> {
    let mut taken = Vec::new();
    for setting in given.signals.as_ref()? {
        let Some(signal) = faults.checked(Some(setting.clone()), signal) else {
            continue;
        };
        let name = signal.name();
        let fault = match target {
            Some(target) if !target.kind.signals().has(signal) => {
                format!("{target} cannot be sent {name}; Zipkin takes traces only")
            }
            _ if taken.contains(&signal) => "it stands twice; leave one out".to_owned(),
            _ => {
                taken.push(signal);
                continue;
            }
        };
        faults.add(setting.source.clone(), name, fault);
    }
    Some(taken.into_iter().collect())
}

fn signal(text: &str) -> Result<Signal, String> {
    Signal::named(text.trim())
        .ok_or_else(|| format!("allowed are {}", Signal::ALL.map(Signal::name).join(", ")))
}

/// As a list of the file's.
pub(super) fn write_signals(signals: Signals) -> String {
    let names: Vec<_> = signals.iter().map(Signal::name).collect();
    format!("[{}]", names.join(", "))
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let length = text.chars().count();
    if (1..=LONGEST_NAME).contains(&length) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "1 to {LONGEST_NAME} characters on one line are needed"
        ))
    }
}

fn compression(text: &str, target: Option<&Target>) -> Result<Compression, String> {
    let is_zipkin = target.is_some_and(|target| target.kind == TargetKind::Zipkin);
    match text {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "zstd" if is_zipkin => Err("Zipkin reads gzip alone; allowed are none and gzip".to_owned()),
        "zstd" => Ok(Compression::Zstd),
        _ if is_zipkin => Err("allowed are none and gzip".to_owned()),
        _ => Err("allowed are none, gzip and zstd".to_owned()),
    }
}

pub(super) fn write_compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}

pub(super) fn write_path(path: Option<&Path>) -> Option<String> {
    // They came from text.
    path?.to_str().map(str::to_owned)
}

/// Of a header only the name is ever told.
fn headers(
    given: &GivenExporter,
    target: Option<&Target>,
    variable: Variable<'_>,
    faults: &mut Faults,
) -> Headers {
    let mut headers = Headers::default();
    let is_grpc = target.is_some_and(|target| target.kind == TargetKind::OtlpGrpc);
    for (index, (name, setting)) in given.headers.iter().enumerate() {
        if index == MOST_HEADERS {
            let text = format!("at most {MOST_HEADERS} headers are allowed");
            faults.say(setting.source.clone(), text);
            break;
        }
        let header = header_name(name, is_grpc)
            .and_then(|name| Ok((name, header_value(&setting.value, variable)?)));
        match header {
            Ok((name, _)) if headers.contains(&name) => {
                let text = "stands twice (upper and lower case are the same); leave one out";
                faults.say(setting.source.clone(), text);
            }
            Ok((name, value)) => {
                headers.push(name, value);
            }
            Err(text) => faults.say(setting.source.clone(), text),
        }
    }
    headers
}

fn header_name(name: &str, is_grpc: bool) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "this is no name of a header: letters, digits and - are allowed")?;
    let of_grpc = is_grpc && name.as_str().starts_with("grpc-");
    if of_grpc || OWN_HEADERS.contains(&name) {
        return Err("the exporter writes this header itself; leave it out".to_owned());
    }
    Ok(name)
}

/// It is read anew while the collector runs; what is wrong already is better told now.
fn header_value(template: &str, variable: Variable<'_>) -> Result<Secret, String> {
    let secret = Secret::resolve(template, variable)?;
    export::header_value(&secret)?;
    Ok(secret)
}

fn tls(given: &GivenExporter, target: Option<&Target>, faults: &mut Faults) -> ClientTls {
    let files = ["tls.ca_file", "tls.cert_file", "tls.key_file"].map(|key| given.one(key));
    let Some(target) = target else {
        return ClientTls::default();
    };
    if !target.tls {
        for file in files.into_iter().flatten() {
            let allowed = format!("{target} is plaintext; write its scheme with an s for TLS");
            faults.add(file.source, &file.value, allowed);
        }
        return ClientTls::default();
    }
    let place = files
        .iter()
        .flatten()
        .next()
        .map_or(&given.source, |file| &file.source);
    let place = place.clone();
    let [ca_file, cert_file, key_file] = files;
    let tls = ClientTls {
        ca_file: ca_file.map(path),
        identity: match (cert_file, key_file) {
            (Some(cert_file), Some(key_file)) => Some(Identity {
                cert_file: path(cert_file),
                key_file: path(key_file),
            }),
            (None, None) => None,
            (Some(alone), None) | (None, Some(alone)) => {
                let allowed = "tls.cert_file and tls.key_file need each other; give both or none";
                faults.add(alone.source, &alone.value, allowed);
                return ClientTls::default();
            }
        },
    };
    // They are read anew for each connection; what is wrong already is better told now.
    if let Err(error) = tls.load(Protocol::Http1) {
        faults.say(place, error.to_string());
    }
    tls
}

fn path(setting: Setting) -> PathBuf {
    setting.value.into()
}
