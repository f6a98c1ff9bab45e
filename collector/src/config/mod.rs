//! Flags and `BELLWETHER_…` variables as a checked `Config`: every fault at once, each with where it came
//! from, its value and what is allowed. Called by `main_with`, read by `pipeline`.

mod args;
mod memory;
mod storage;
mod value;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use args::{Args, CommandName, Flags};
pub use storage::Storage;
pub use value::ListenAddress;
use value::{Fault, Setting};

use crate::export::Target;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `bellwether [run]`.
    Run(Box<Config>),
    /// `bellwether probe`: is the collector whose web address this is ready?
    Probe(ListenAddress),
}

/// What the collector runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// OTLP over gRPC.
    pub otlp_grpc: ListenAddress,
    /// OTLP over HTTP.
    pub otlp_http: ListenAddress,
    /// Pages, API, probes and metrics.
    pub web: ListenAddress,
    /// Host names the pages answer to beside those they always do.
    pub web_hosts: Vec<String>,
    /// Where spans are sent on to; none is fine.
    pub export: Vec<Target>,
    /// Where accepted batches wait.
    pub storage: Storage,
    /// How the memory limit is shared out.
    pub memory: Shares,
    /// How far back the views reach.
    pub retention: Duration,
}

/// The memory limit, shared out. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// All of it.
    pub limit: usize,
    /// The batch log.
    pub log: usize,
    /// Kept traces.
    pub traces: usize,
    /// Histograms, edges and pending pairs.
    pub views: usize,
    /// Bodies under way.
    pub bodies: usize,
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
}

/// Most bytes an exporter has in hand beside the log: one merged request.
pub const EXPORT_REQUEST_BYTES: usize = 4 * MIB;

const DEFAULT_HOST: &str = "127.0.0.1";
const OTLP_GRPC_PORT: u16 = 4317;
const OTLP_HTTP_PORT: u16 = 4318;
const WEB_PORT: u16 = 4319;

const MIB: usize = 1024 * 1024;
const DEFAULT_MEMORY_LIMIT: usize = 256 * MIB;
const LEAST_MEMORY_LIMIT: usize = 64 * MIB;
/// Of the limit, for the process itself: code, stacks, connections, names.
const PROCESS_BYTES: usize = 16 * MIB;
/// What a connection that has carried large bodies holds while it is idle.
const CONNECTION_BYTES: usize = 64 * 1024;
const LEAST_CONNECTIONS: usize = 64;
const MOST_CONNECTIONS: usize = 4096;
/// The least that is left to the log when every exporter has a request in hand.
const LEAST_LOG_BYTES: usize = 4 * MIB;

const DEFAULT_RETENTION: Duration = Duration::from_secs(3_600);
const LEAST_RETENTION: Duration = Duration::from_secs(60);
const MOST_RETENTION: Duration = Duration::from_secs(24 * 3_600);

/// Where values come from beside the command line.
pub struct Surroundings<'a> {
    /// Reads an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The root of the file system that names the cgroup's memory limit.
    pub root: &'a Path,
}

impl Command {
    /// Reads the command line (its first word is the program) and the variables beside it.
    ///
    /// # Errors
    /// [`ConfigError`], with every fault in it.
    pub fn parse(
        args: impl IntoIterator<Item = OsString>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, ConfigError> {
        let Args { command, flags } = clap::Parser::try_parse_from(args)?;
        let mut faults = Vec::new();
        let command = match command {
            None | Some(CommandName::Run) => {
                Self::Run(Box::new(Config::resolve(flags, surroundings, &mut faults)))
            }
            Some(CommandName::Probe) => Self::Probe(probe(flags, surroundings, &mut faults)),
        };
        if faults.is_empty() {
            Ok(command)
        } else {
            let lines = faults.iter().map(Fault::to_string).collect();
            Err(ConfigError::Faults(lines))
        }
    }
}

impl Config {
    fn resolve(flags: Flags, from: &Surroundings<'_>, faults: &mut Vec<Fault>) -> Self {
        let mut read = |flag, name| Setting::find(flag, name, from.variable, faults);
        let listen = read(flags.listen, "--listen");
        let otlp_grpc = read(flags.otlp_grpc, "--otlp-grpc");
        let otlp_http = read(flags.otlp_http, "--otlp-http");
        let web = read(flags.web, "--web");
        let memory_limit = read(flags.memory_limit, "--memory-limit");
        let storage = storage::Settings {
            data_dir: read(flags.data_dir, "--data-dir"),
            durability: read(flags.durability, "--durability"),
            data_limit: read(flags.data_limit, "--data-limit"),
            on_full: read(flags.on_full, "--on-full"),
        };
        let retention = read(flags.retention, "--retention");
        let mut read_all = |flags, name| Setting::find_all(flags, name, from.variable, faults);
        let web_hosts = read_all(flags.web_host, "--web-host");
        let export = read_all(flags.export, "--export");

        let host = listen_host(listen, faults);
        let mut address = |setting, port| ListenAddress::resolve(setting, &host, port, faults);
        let otlp_grpc = address(otlp_grpc, OTLP_GRPC_PORT);
        let otlp_http = address(otlp_http, OTLP_HTTP_PORT);
        let web = address(web, WEB_PORT);
        distinct(&[&otlp_grpc, &otlp_http, &web], faults);
        let export = targets(export, faults);
        let memory = shares(memory_limit, export.len(), from.root, faults);
        let retention = retention_of(retention, faults);
        Self {
            storage: Storage::resolve(storage, retention, faults),
            memory,
            retention,
            web_hosts: hosts(web_hosts, faults),
            otlp_grpc,
            otlp_http,
            web,
            export,
        }
    }
}

impl Shares {
    /// Connections that each listener keeps open at once: what they hold when idle is an eighth of the limit.
    pub fn connections(&self) -> usize {
        (self.limit / 8 / CONNECTION_BYTES).clamp(LEAST_CONNECTIONS, MOST_CONNECTIONS)
    }

    /// Three eighths for the log, a quarter each for kept traces and views, the rest for bodies, of what the
    /// process itself and the allocator's gaps leave; what `exporters` have in hand comes out of the log's share.
    fn of(limit: usize, exporters: usize) -> Self {
        let shared = limit.saturating_sub(PROCESS_BYTES) / 8 * 7;
        let (log, quarter) = (shared / 8 * 3, shared / 4);
        Self {
            limit,
            log: log.saturating_sub(exporters.saturating_mul(EXPORT_REQUEST_BYTES)),
            traces: quarter,
            views: quarter,
            bodies: shared - log - 2 * quarter,
        }
    }
}

fn probe(flags: Flags, from: &Surroundings<'_>, faults: &mut Vec<Fault>) -> ListenAddress {
    let listen = Setting::find(flags.listen, "--listen", from.variable, faults);
    let web = Setting::find(flags.web, "--web", from.variable, faults);
    let host = listen_host(listen, faults);
    let address = ListenAddress::resolve(web, &host, WEB_PORT, faults);
    if let (0, Some(source)) = (address.port, &address.asked_by) {
        let allowed = "to probe, name the port that the collector really listens on";
        faults.push(Fault::new(source.clone(), "0", allowed));
    }
    address
}

fn listen_host(setting: Option<Setting>, faults: &mut Vec<Fault>) -> String {
    let read = |setting: &Setting| value::host(&setting.value);
    value::checked(setting, faults, read).unwrap_or_else(|| DEFAULT_HOST.to_owned())
}

fn hosts(settings: Vec<Setting>, faults: &mut Vec<Fault>) -> Vec<String> {
    let mut hosts = Vec::new();
    for setting in settings {
        hosts.extend(value::checked(Some(setting), faults, |setting| {
            value::host(&setting.value)
        }));
    }
    hosts
}

/// Two listeners that were asked for at the same place: one of them could not be had.
fn distinct(addresses: &[&ListenAddress], faults: &mut Vec<Fault>) {
    for (index, address) in addresses.iter().enumerate() {
        for earlier in addresses.iter().take(index) {
            if let (Some(source), Some(other)) = (&address.asked_by, &earlier.asked_by)
                && address.port != 0
                && (&address.host, address.port) == (&earlier.host, earlier.port)
            {
                let allowed = format!("{other} asks for the same; give each its own port");
                faults.push(Fault::new(source.clone(), address.to_string(), allowed));
            }
        }
    }
}

/// An exporter is known by its URL, so each may stand once.
fn targets(settings: Vec<Setting>, faults: &mut Vec<Fault>) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for setting in settings {
        let target = value::checked(Some(setting), faults, |setting| {
            let target = Target::parse(&setting.value).map_err(|error| error.to_string())?;
            if targets.contains(&target) {
                return Err(format!("{target} is given twice; leave one out"));
            }
            Ok(target)
        });
        targets.extend(target);
    }
    targets
}

fn shares(
    setting: Option<Setting>,
    exporters: usize,
    root: &Path,
    faults: &mut Vec<Fault>,
) -> Shares {
    let limit = value::checked(setting, faults, |setting| {
        let limit = value::bytes(&setting.value)?;
        let least = least_memory_limit(exporters);
        if limit < least {
            return Err(format!(
                "at least {}MiB are needed with {exporters} exporters",
                least.div_ceil(MIB)
            ));
        }
        Ok(limit)
    });
    // A small cgroup is no fault of the command line's: the least that works is taken then.
    let by_default = || memory::default_limit(root, DEFAULT_MEMORY_LIMIT);
    let limit = limit.unwrap_or_else(|| by_default().max(least_memory_limit(exporters)));
    Shares::of(limit, exporters)
}

fn least_memory_limit(exporters: usize) -> usize {
    let log = exporters
        .saturating_mul(EXPORT_REQUEST_BYTES)
        .saturating_add(LEAST_LOG_BYTES);
    (log.saturating_mul(64) / 21)
        .saturating_add(PROCESS_BYTES + 64)
        .max(LEAST_MEMORY_LIMIT)
}

fn retention_of(setting: Option<Setting>, faults: &mut Vec<Fault>) -> Duration {
    let retention = value::checked(setting, faults, |setting| {
        let retention = value::duration(&setting.value)?;
        if (LEAST_RETENTION..=MOST_RETENTION).contains(&retention) {
            Ok(retention)
        } else {
            Err("allowed are 1m to 24h".to_owned())
        }
    });
    retention.unwrap_or(DEFAULT_RETENTION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::OnFull;
    use crate::log::disk::{DiskConfig, Durability};

    fn parse(args: &str, variables: &[(&str, &str)]) -> Result<Command, ConfigError> {
        let args = std::iter::once("bellwether").chain(args.split_whitespace());
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Command::parse(
            args.map(OsString::from),
            &Surroundings {
                variable: &variable,
                root: Path::new("/nonexistent"),
            },
        )
    }

    fn run(args: &str, variables: &[(&str, &str)]) -> Config {
        match parse(args, variables) {
            Ok(Command::Run(config)) => *config,
            other => panic!("{args}: {other:?}"),
        }
    }

    fn check_faults(args: &str, variables: &[(&str, &str)], expected: &[&str]) {
        match parse(args, variables) {
            Err(ConfigError::Faults(faults)) => assert_eq!(faults, expected),
            other => panic!("{args}: {other:?}"),
        }
    }

    #[test]
    fn nothing_at_all_is_a_configuration() {
        let config = run("", &[]);
        assert_eq!(config, run("run", &[]));
        assert_eq!(config.otlp_grpc.to_string(), "127.0.0.1:4317");
        assert_eq!(config.otlp_http.to_string(), "127.0.0.1:4318");
        assert_eq!(config.web.to_string(), "127.0.0.1:4319");
        assert_eq!(config.web.asked_by, None);
        assert_eq!(config.memory, Shares::of(256 * MIB, 0));
        assert_eq!(config.retention, Duration::from_secs(3_600));
        assert!(config.export.is_empty());
    }

    #[test]
    fn addresses_take_their_host_from_listen() {
        let check = |args: &str, expected: [&str; 3]| {
            let config = run(args, &[]);
            let addresses = [config.otlp_grpc, config.otlp_http, config.web];
            assert_eq!(
                addresses.map(|address| address.to_string()),
                expected,
                "{args}"
            );
        };
        check(
            "--listen 0.0.0.0",
            ["0.0.0.0:4317", "0.0.0.0:4318", "0.0.0.0:4319"],
        );
        check(
            "--listen :: --web localhost:80 --otlp-grpc :5317 --otlp-http 5318",
            ["[::]:5317", "[::]:5318", "localhost:80"],
        );
        check(
            "run --otlp-grpc [::1]:0 --web 0",
            ["[::1]:0", "127.0.0.1:4318", "127.0.0.1:0"],
        );
    }

    #[test]
    fn flags_beat_variables_and_an_empty_variable_is_none() {
        let variables = [
            ("BELLWETHER_WEB", "5000"),
            ("BELLWETHER_OTLP_HTTP", "5001"),
            ("BELLWETHER_OTLP_GRPC", ""),
            ("BELLWETHER_EXPORT", "otlp+grpc://a, zipkin+http://b"),
            ("BELLWETHER_RETENTION", "30m"),
        ];
        let config = run("--web 6000", &variables);
        assert_eq!(config.web.to_string(), "127.0.0.1:6000");
        assert_eq!(
            config.otlp_http.asked_by.as_deref(),
            Some("BELLWETHER_OTLP_HTTP")
        );
        assert_eq!(config.otlp_grpc.asked_by, None);
        assert_eq!(config.retention, Duration::from_secs(1_800));
        let names: Vec<_> = config.export.iter().map(Target::to_string).collect();
        assert_eq!(
            names,
            ["otlp+grpc://a:4317", "zipkin+http://b:9411/api/v2/spans"]
        );
        let config = run("--export otlp+http://c", &variables);
        assert_eq!(config.export.len(), 1);
    }

    #[test]
    fn faults_come_all_at_once() {
        check_faults(
            "--otlp-grpc http --web 70000 --listen 0.0.0.0:4317 --memory-limit lots",
            &[
                ("BELLWETHER_RETENTION", "1 fortnight"),
                ("BELLWETHER_OTLP_HTTP", "a b:1"),
            ],
            &[
                "--listen: \"0.0.0.0:4317\" is not allowed: a host name or an IP address is needed, without a port",
                "--otlp-grpc: \"http\" is not allowed: write HOST:PORT, :PORT or PORT, with a port number from 0 (any free one) to 65535",
                "BELLWETHER_OTLP_HTTP: \"a b:1\" is not allowed: write HOST:PORT, :PORT or PORT, with a port number from 0 (any free one) to 65535",
                "--web: \"70000\" is not allowed: write HOST:PORT, :PORT or PORT, with a port number from 0 (any free one) to 65535",
                "--memory-limit: \"lots\" is not allowed: write bytes, or a number with KiB, MiB or GiB (256MiB)",
                "BELLWETHER_RETENTION: \"1 fortnight\" is not allowed: write a number with s, m or h (90s, 30m, 1h)",
            ],
        );
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        let check = |args: &str, expected: &str| check_faults(args, &[], &[expected]);
        check(
            "--memory-limit 1MiB",
            "--memory-limit: \"1MiB\" is not allowed: at least 64MiB are needed with 0 exporters",
        );
        check(
            "--retention 48h",
            "--retention: \"48h\" is not allowed: allowed are 1m to 24h",
        );
        check(
            "--web 5000 --otlp-http 5000",
            "--web: \"127.0.0.1:5000\" is not allowed: --otlp-http asks for the same; give each its own port",
        );
        check(
            "--export otlp+grpc://a --export otlp+grpc://a:4317",
            "--export: \"otlp+grpc://a:4317\" is not allowed: otlp+grpc://a:4317 is given twice; leave one out",
        );
    }

    #[test]
    fn a_data_directory_brings_its_own_defaults() {
        let config = run("", &[]).storage;
        assert_eq!((config.disk, config.on_full), (None, OnFull::DropOldest));
        let config = run("--data-dir /data", &[("BELLWETHER_RETENTION", "2m")]).storage;
        let disk = DiskConfig {
            directory: "/data".into(),
            durability: Durability::Synced,
            limit: 1 << 30,
            retention: Duration::from_secs(120),
        };
        assert_eq!(config.on_full, OnFull::Refuse);
        assert_eq!(config.disk, Some(disk));
        let variables = [
            ("BELLWETHER_DATA_DIR", "/data"),
            ("BELLWETHER_DATA_LIMIT", "2GiB"),
            ("BELLWETHER_DURABILITY", "received"),
            ("BELLWETHER_ON_FULL", "drop_oldest"),
        ];
        let config = run("", &variables).storage;
        assert_eq!(config.on_full, OnFull::DropOldest);
        let disk = config.disk.unwrap();
        assert_eq!(
            (disk.durability, disk.limit),
            (Durability::Received, 2 << 30)
        );
    }

    #[test]
    fn settings_of_a_data_directory_are_checked() {
        check_faults(
            "--data-dir d --durability always --data-limit 1MiB --on-full wait",
            &[],
            &[
                "--durability: \"always\" is not allowed: write synced or received",
                "--data-limit: \"1MiB\" is not allowed: at least 128MiB are needed",
                "--on-full: \"wait\" is not allowed: write refuse or drop_oldest",
            ],
        );
        check_faults(
            "--data-dir=",
            &[],
            &["--data-dir: \"\" is not allowed: name a directory, or leave it out"],
        );
        check_faults(
            "--durability synced --data-limit 1GiB",
            &[],
            &[
                "--durability: \"synced\" is not allowed: only together with --data-dir",
                "--data-limit: \"1GiB\" is not allowed: only together with --data-dir",
            ],
        );
    }

    #[test]
    fn an_export_scheme_of_a_later_version_is_named() {
        for url in ["otlp+grpcs://a", "otlp+https://a", "kafka://a/topic"] {
            let Err(ConfigError::Faults(faults)) = parse(&format!("--export {url}"), &[]) else {
                panic!("{url} was taken");
            };
            assert!(
                faults[0].contains("not available in this version"),
                "{faults:?}"
            );
        }
    }

    #[test]
    fn a_flag_that_is_none_is_a_usage_error() {
        for args in ["--zipkin-port 1", "serve", "--web", "--web 1 --web 2"] {
            let error = parse(args, &[]).unwrap_err();
            assert!(matches!(error, ConfigError::Usage(_)), "{args}: {error:?}");
        }
    }

    #[test]
    fn a_probe_needs_a_real_port() {
        let Ok(Command::Probe(address)) = parse("probe --web 5000", &[]) else {
            panic!("probe was not parsed");
        };
        assert_eq!(address.to_string(), "127.0.0.1:5000");
        assert!(parse("probe --web 0", &[]).is_err());
    }

    #[test]
    fn connections_follow_the_limit() {
        let check = |limit, expected| {
            assert_eq!(Shares::of(limit, 0).connections(), expected, "{limit}");
        };
        check(0, 64);
        check(64 * MIB, 128);
        check(256 * MIB, 512);
        check(1 << 40, 4096);
    }

    #[test]
    fn shares_never_exceed_the_limit() {
        for (limit, exporters) in [(64 * MIB, 0), (256 * MIB, 1), (1 << 40, 5), (0, 0)] {
            let shares = Shares::of(limit, exporters);
            let in_hand = exporters * EXPORT_REQUEST_BYTES;
            let sum = shares.log + in_hand + shares.traces + shares.views + shares.bodies;
            assert!(sum <= limit.max(in_hand), "{shares:?}");
        }
        for exporters in 0..20 {
            let least = Shares::of(least_memory_limit(exporters), exporters);
            assert!(least.log >= LEAST_LOG_BYTES, "{exporters}: {least:?}");
        }
    }
}
