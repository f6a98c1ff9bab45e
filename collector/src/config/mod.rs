//! Flags, `BELLWETHER_…` variables and a YAML file as a checked `Config`: every fault at once, each with where
//! it came from, its value and what is allowed. Called by `main_with`, read by `pipeline`.

mod access;
mod args;
mod exporter_keys;
mod exporters;
mod file;
mod given;
mod memory;
mod misspelt;
mod print;
mod sampling;
mod settings;
mod shares;
mod source;
mod storage;
#[cfg(test)]
mod tests;
mod value;
mod yaml;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

pub use access::{Access, Connections};
use args::Asked;
use given::Given;
pub(crate) use misspelt::misspelt;
pub use shares::{EXPORT_REQUEST_BYTES, Shares};
use source::{Faults, Setting};
pub use storage::Storage;
pub use value::ListenAddress;

use crate::export;
use crate::web::TraceLink;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `bellwether [run]`.
    Run(Box<Config>),
    /// `bellwether check`: the file was read, and is well; or `bellwether config`. The text to print.
    Print(String),
    /// `bellwether probe`: is the collector whose web address this is ready?
    Probe(ListenAddress),
}

/// What the collector runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The host of every address that names none.
    pub listen: String,
    /// OTLP over gRPC.
    pub otlp_grpc: ListenAddress,
    /// OTLP over HTTP.
    pub otlp_http: ListenAddress,
    /// Zipkin.
    pub zipkin: ListenAddress,
    /// Pages, API, probes and metrics.
    pub web: ListenAddress,
    /// Host names the pages answer to beside those they always do.
    pub web_hosts: Vec<String>,
    /// Where else each trace can be looked at.
    pub trace_links: Vec<TraceLink>,
    /// Tags whose values Zipkin's query API lists.
    pub autocomplete_keys: Vec<String>,
    /// Who may send, and how long connections stay.
    pub access: Access,
    /// Where spans are sent on to; none is fine.
    pub export: Vec<export::Config>,
    /// The share of traces that exporters send which were told none of their own.
    pub sample_ratio: Option<export::Ratio>,
    /// Where accepted batches wait.
    pub storage: Storage,
    /// How the memory limit is shared out.
    pub memory: Shares,
    /// How far back the views reach.
    pub retention: Duration,
    /// A service that has sent no span for longer cannot be scaled by its spans.
    pub stale_after: Duration,
}

/// Why a command line cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a command line at all, or one that asks for help or the version.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// Values that are not allowed, one line each.
    #[error("invalid configuration:\n{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// Those of the file that `bellwether check` was asked about, one line each.
    #[error("{}", .0.join("\n"))]
    Checked(Vec<String>),
}

const DEFAULT_HOST: &str = "127.0.0.1";
const OTLP_GRPC_PORT: u16 = 4317;
const OTLP_HTTP_PORT: u16 = 4318;
const ZIPKIN_PORT: u16 = 9411;
const WEB_PORT: u16 = 4319;

/// All of them stand on the page of each trace.
const MOST_TRACE_LINKS: usize = 16;

const DEFAULT_RETENTION: Duration = Duration::from_secs(3_600);
const LEAST_RETENTION: Duration = Duration::from_secs(60);
const MOST_RETENTION: Duration = Duration::from_secs(24 * 3_600);

const DEFAULT_STALE_AFTER: Duration = Duration::from_secs(120);
/// Senders hand their spans over every few seconds: less would call all of them stale.
const LEAST_STALE_AFTER: Duration = Duration::from_secs(10);
const MOST_STALE_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Where values come from beside the command line.
pub struct Surroundings<'a> {
    /// Reads an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The root of the file system that names the cgroup's memory limit.
    pub root: &'a Path,
}

impl Command {
    /// Reads the command line (its first word is the program), the variables beside it, and the file that they name.
    ///
    /// # Errors
    /// [`ConfigError`], with every fault in it.
    pub fn parse(
        args: impl IntoIterator<Item = OsString>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, ConfigError> {
        let (asked, flags) = args::parse(args)?;
        let mut faults = Faults::default();
        if let Asked::Check(file) = asked {
            let given = file::read(&file, None, &mut faults);
            Config::resolve(&given, surroundings, &mut faults);
            return match faults.lines() {
                lines if lines.is_empty() => Ok(Self::Print("ok\n".to_owned())),
                lines => Err(ConfigError::Checked(lines)),
            };
        }
        let given = Given::read(&flags, surroundings.variable, &mut faults);
        let command = if asked == Asked::Probe {
            Self::Probe(probe(&given, &mut faults))
        } else {
            let config = Config::resolve(&given, surroundings, &mut faults);
            if asked == Asked::Print {
                Self::Print(print::print(&config, &given))
            } else {
                Self::Run(Box::new(config))
            }
        };
        match faults.lines() {
            lines if lines.is_empty() => Ok(command),
            lines => Err(ConfigError::Faults(lines)),
        }
    }
}

impl Config {
    fn resolve(given: &Given, from: &Surroundings<'_>, faults: &mut Faults) -> Self {
        let listen = listen_host(given, faults);
        let mut address = |key, port| ListenAddress::resolve(given.one(key), &listen, port, faults);
        let otlp_grpc = address("otlp_grpc", OTLP_GRPC_PORT);
        let otlp_http = address("otlp_http", OTLP_HTTP_PORT);
        let zipkin = address("zipkin", ZIPKIN_PORT);
        let web = address("web", WEB_PORT);
        distinct(
            &[
                (&otlp_grpc, given.one("otlp_grpc")),
                (&otlp_http, given.one("otlp_http")),
                (&zipkin, given.one("zipkin")),
                (&web, given.one("web")),
            ],
            faults,
        );
        let retention = retention(given.one("retention"), faults);
        let stale_after = stale_after(given.one("stale_after"), faults);
        let storage = Storage::resolve(given, retention, faults);
        let sample_ratio = faults.checked(given.one("sample_ratio"), sampling::ratio);
        let access = Access::resolve(given, from.variable, faults);
        let mut export = exporters::resolve(
            given,
            storage.on_full,
            access.reload_interval,
            from.variable,
            faults,
        );
        let memory = Shares::resolve(given.one("memory_limit"), &mut export, from.root, faults);
        memory.share_index(&mut export);
        Self {
            memory,
            sample_ratio,
            retention,
            stale_after,
            storage,
            web_hosts: hosts(given.several("web_hosts"), faults),
            trace_links: trace_links(given.several("trace_links"), faults),
            autocomplete_keys: keys(given.several("autocomplete_keys"), faults),
            listen,
            otlp_grpc,
            otlp_http,
            zipkin,
            web,
            access,
            export,
        }
    }
}

impl Config {
    /// A listener's address; none for a default that will be left out, since another listener was asked for there.
    fn listens(&self, address: &ListenAddress) -> Vec<String> {
        let place = |of: &ListenAddress| (of.host.clone(), of.port);
        let others = [&self.otlp_grpc, &self.otlp_http, &self.zipkin, &self.web];
        let is_taken = address.asked_by.is_none()
            && others
                .iter()
                .any(|other| other.asked_by.is_some() && place(other) == place(address));
        if is_taken {
            Vec::new()
        } else {
            vec![address.to_string()]
        }
    }
}

fn probe(given: &Given, faults: &mut Faults) -> ListenAddress {
    let host = listen_host(given, faults);
    let web = given.one("web");
    let address = ListenAddress::resolve(web.clone(), &host, WEB_PORT, faults);
    if let (0, Some(web)) = (address.port, web) {
        let allowed = "to probe, name the port that the collector really listens on";
        faults.add(web.source, "0", allowed);
    }
    address
}

fn listen_host(given: &Given, faults: &mut Faults) -> String {
    let host = faults.checked(given.one("listen"), value::host);
    host.unwrap_or_else(|| DEFAULT_HOST.to_owned())
}

fn keys(settings: Vec<Setting>, faults: &mut Faults) -> Vec<String> {
    let keys = settings.into_iter();
    keys.filter_map(|setting| faults.checked(Some(setting), value::key))
        .collect()
}

fn hosts(settings: Vec<Setting>, faults: &mut Faults) -> Vec<String> {
    let hosts = settings.into_iter();
    hosts
        .filter_map(|setting| faults.checked(Some(setting), value::host))
        .collect()
}

fn trace_links(settings: Vec<Setting>, faults: &mut Faults) -> Vec<TraceLink> {
    if let Some(one_more) = settings.get(MOST_TRACE_LINKS) {
        let text = format!("at most {MOST_TRACE_LINKS} are allowed");
        faults.say(one_more.source.clone(), text);
    }
    let mut links: Vec<TraceLink> = Vec::new();
    for setting in settings.into_iter().take(MOST_TRACE_LINKS) {
        let link = faults.checked(Some(setting.clone()), |text| {
            let link: TraceLink = text.parse().map_err(|error| format!("{error}"))?;
            if links.iter().any(|other| other.name() == link.name()) {
                return Err("another link has this name".to_owned());
            }
            Ok(link)
        });
        links.extend(link);
    }
    links
}

/// Two listeners that were asked for at the same place: one of them could not be had.
fn distinct(addresses: &[(&ListenAddress, Option<Setting>)], faults: &mut Faults) {
    for (index, (address, setting)) in addresses.iter().enumerate() {
        for (earlier, other) in addresses.iter().take(index) {
            if let (Some(setting), Some(other)) = (setting, other)
                && address.port != 0
                && (&address.host, address.port) == (&earlier.host, earlier.port)
            {
                let allowed = format!("{} asks for the same; give each its own port", other.source);
                faults.add(setting.source.clone(), &address.to_string(), allowed);
            }
        }
    }
}

fn retention(setting: Option<Setting>, faults: &mut Faults) -> Duration {
    let read = |text: &str| value::duration_within(text, LEAST_RETENTION, MOST_RETENTION);
    faults.checked(setting, read).unwrap_or(DEFAULT_RETENTION)
}

fn stale_after(setting: Option<Setting>, faults: &mut Faults) -> Duration {
    let read = |text: &str| value::duration_within(text, LEAST_STALE_AFTER, MOST_STALE_AFTER);
    faults.checked(setting, read).unwrap_or(DEFAULT_STALE_AFTER)
}
