//! The command line and the environment as a whole.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::export::Compression;
use crate::log::OnFull;
use crate::log::disk::{DiskConfig, Durability};
use crate::signal::Signal;

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
    assert_eq!(config.memory, Shares::of(256 << 20, 0));
    assert_eq!(config.retention, Duration::from_secs(3_600));
    assert_eq!(config.stale_after, Duration::from_secs(120));
    assert!(config.export.is_empty());
}

#[test]
fn addresses_take_their_host_from_listen() {
    let check = |args: &str, expected: [&str; 4]| {
        let config = run(args, &[]);
        let addresses = [
            config.otlp_grpc,
            config.otlp_http,
            config.zipkin,
            config.web,
        ];
        assert_eq!(
            addresses.map(|address| address.to_string()),
            expected,
            "{args}"
        );
    };
    check(
        "--listen 0.0.0.0",
        [
            "0.0.0.0:4317",
            "0.0.0.0:4318",
            "0.0.0.0:9411",
            "0.0.0.0:4319",
        ],
    );
    check(
        "--listen :: --web localhost:80 --otlp-grpc :5317 --otlp-http 5318 --zipkin 5411",
        ["[::]:5317", "[::]:5318", "[::]:5411", "localhost:80"],
    );
    check(
        "run --otlp-grpc [::1]:0 --web 0",
        ["[::1]:0", "127.0.0.1:4318", "127.0.0.1:9411", "127.0.0.1:0"],
    );
}

#[test]
fn flags_beat_variables_and_an_empty_variable_is_none() {
    let variables = [
        ("BELLWETHER_WEB", "5000"),
        ("BELLWETHER_OTLP_HTTP", "5001"),
        ("BELLWETHER_OTLP_GRPC", ""),
        ("BELLWETHER_ZIPKIN", ":5003"),
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
    assert_eq!(config.zipkin.to_string(), "127.0.0.1:5003");
    assert_eq!(config.zipkin.asked_by.as_deref(), Some("BELLWETHER_ZIPKIN"));
    assert_eq!(config.retention, Duration::from_secs(1_800));
    let names: Vec<_> = config.export.iter().map(|export| &*export.name).collect();
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
            "BELLWETHER_RETENTION: \"1 fortnight\" is not allowed: write a number with ms, s, m or h (500ms, 90s, 1h)",
            "--memory-limit: \"lots\" is not allowed: write bytes, or a number with KiB, MiB or GiB (256MiB)",
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
        "--stale-after 9s",
        "--stale-after: \"9s\" is not allowed: allowed are 10s to 24h",
    );
    check(
        "--web 5000 --otlp-http 5000",
        "--web: \"127.0.0.1:5000\" is not allowed: --otlp-http asks for the same; give each its own port",
    );
    check(
        "--otlp-http 5000 --zipkin 5000",
        "--zipkin: \"127.0.0.1:5000\" is not allowed: --otlp-http asks for the same; give each its own port",
    );
    check(
        "--export otlp+grpc://a --export otlp+grpc://a:4317",
        "--export: \"otlp+grpc://a:4317\" is not allowed: --export is called so, too; give each its own name, or leave one out",
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
    let Err(ConfigError::Faults(faults)) = parse("--export kafka://a/topic", &[]) else {
        panic!("kafka was taken");
    };
    assert!(
        faults[0].contains("not available in this version"),
        "{faults:?}"
    );
}

#[test]
fn a_flag_that_is_none_is_a_usage_error() {
    for args in [
        "--zipkin-port 1",
        "serve",
        "--web",
        "--web 1 --web 2",
        "check",
        "check a.yaml b.yaml",
        "check a.yaml --web 1",
        "--config b.yaml check a.yaml",
    ] {
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

/// A file with this text, removed at the end.
struct Written(std::path::PathBuf);

impl Written {
    fn new(text: impl AsRef<[u8]>) -> Self {
        static WRITTEN: AtomicUsize = AtomicUsize::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let name = format!("bellwether-{}-{number}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn run(&self, args: &str, variables: &[(&str, &str)]) -> Config {
        run(&format!("--config {} {args}", self.name()), variables)
    }

    /// What `bellwether check` says of it, its name left out.
    fn check(&self, variables: &[(&str, &str)]) -> Vec<String> {
        match parse(&format!("check {}", self.name()), variables) {
            Ok(Command::Print(text)) => {
                assert_eq!(text, "ok\n");
                Vec::new()
            }
            Err(ConfigError::Checked(lines)) => {
                let lines = lines.iter();
                lines
                    .map(|line| line.replace(self.name(), "FILE"))
                    .collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn print(&self, args: &str, variables: &[(&str, &str)]) -> String {
        let args = format!("config --config {} {args}", self.name());
        match parse(&args, variables) {
            Ok(Command::Print(text)) => text.replace(self.name(), "FILE"),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const WHOLE: &str = "\
# Everything but TLS.
listen: 0.0.0.0
otlp_grpc: 5317
otlp_http: \"[::1]:5318\"
web: :5319
web_hosts: [traces.example, collector]
memory_limit: 512MiB
data_dir: /data
durability: received
data_limit: 2GiB
retention: 30m
exporters:
  - otlp+grpc://tempo
  - url: otlp+http://vendor/v1/traces
    name: vendor
    headers: &secret
      Authorization: Bearer ${TOKEN}
      x-team: observability
    timeout: 2s
    compression: gzip
    retry: {first: 50ms, longest: 5s}
    on_full: drop_oldest
  - url: zipkin+http://zipkin
    headers: *secret
";

const TOKEN: (&str, &str) = ("TOKEN", "s3cret");

#[test]
fn a_file_says_all_that_flags_say_and_more() {
    let file = Written::new(WHOLE);
    let config = file.run("", &[TOKEN]);
    assert_eq!(config.otlp_grpc.to_string(), "0.0.0.0:5317");
    assert_eq!(config.otlp_http.to_string(), "[::1]:5318");
    assert_eq!(config.web.to_string(), "0.0.0.0:5319");
    let asked_by = format!("{}:5: web", file.name());
    assert_eq!(config.web.asked_by, Some(asked_by));
    assert_eq!(config.web_hosts, ["traces.example", "collector"]);
    assert_eq!(config.memory.limit, 512 << 20);
    assert_eq!(config.retention, Duration::from_secs(1_800));
    let [tempo, vendor, zipkin] = &config.export[..] else {
        panic!("{:?}", config.export);
    };
    assert_eq!(tempo.name, "otlp+grpc://tempo:4317");
    assert_eq!(vendor.name, "vendor");
    let asked_by = format!("{}:14: exporters[1].url", file.name());
    assert_eq!(vendor.asked_by, asked_by);
    let headers = vendor.headers.read().unwrap();
    assert_eq!(headers["authorization"], "Bearer s3cret");
    assert_eq!(headers["x-team"], "observability");
    assert_eq!(vendor.timeout, Duration::from_secs(2));
    assert_eq!(vendor.compression, Compression::Gzip);
    assert_eq!(vendor.retry.first, Duration::from_millis(50));
    assert_eq!(vendor.retry.longest, Duration::from_secs(5));
    assert_eq!(zipkin.headers, vendor.headers);
    let on_full = [tempo, vendor, zipkin].map(|export| export.on_full);
    assert_eq!(
        on_full,
        [OnFull::Refuse, OnFull::DropOldest, OnFull::Refuse]
    );
    let disk = config.storage.disk.as_ref();
    let disk = disk.map(|disk| (disk.durability, disk.limit));
    assert_eq!(disk, Some((Durability::Received, 2 << 30)));
    assert_eq!(
        config.memory,
        Shares::of(512 << 20, 12),
        "gzip has two in hand for each under way"
    );
    let under_way = [tempo, vendor, zipkin].map(export::Config::most_under_way);
    assert_eq!(
        under_way, [3; 3],
        "a third of the log's share has no room for 4"
    );
}

#[test]
fn flags_beat_variables_beat_the_file() {
    let file = Written::new(WHOLE);
    let variables = [
        TOKEN,
        ("BELLWETHER_WEB", "6000"),
        ("BELLWETHER_RETENTION", "2h"),
    ];
    let config = file.run("--web 7000 --export otlp+http://c", &variables);
    assert_eq!(config.web.to_string(), "0.0.0.0:7000");
    assert_eq!(config.retention, Duration::from_secs(7_200));
    assert_eq!(config.otlp_grpc.port, 5317);
    let names: Vec<_> = config.export.iter().map(|export| &*export.name).collect();
    assert_eq!(names, ["otlp+http://c:4318/v1/traces"]);
    let config = run("", &[TOKEN, ("BELLWETHER_CONFIG", file.name())]);
    assert_eq!(config.web.to_string(), "0.0.0.0:5319");
    let probed = parse(&format!("probe --config {}", file.name()), &[]);
    let Ok(Command::Probe(address)) = probed else {
        panic!("{probed:?}");
    };
    assert_eq!(address.port, 5319, "and no secret is needed to probe");
}

#[test]
fn an_empty_file_is_the_default_and_nothing_after_a_colon_is_nothing() {
    for text in ["", "---\n", "web:\nexporters:\nweb_hosts: ~\n"] {
        let file = Written::new(text);
        assert_eq!(file.run("", &[]), run("", &[]), "{text}");
        assert_eq!(file.check(&[]), [""; 0], "{text}");
    }
}

#[test]
fn every_fault_of_a_file_is_told_with_its_line() {
    let file = Written::new(
        "\
web: http
retension: 1h
otlp-grpc: 4317
nonsense: 1
memory_limit: [1]
web: 4319
web_hosts: {a: b}
exporters:
  - url: otlp+grpc://me:hunter2@tempo
  - url: otlp+http://b
    timout: 1s
    timeout: 1 parsec
    compression: lz4
    name: \"\"
    headers:
      authorization: Bearer ${NOBODY}
      x-key: hunter2\u{e9}
      content-type: hunter2
      \"a b\": hunter2
      X-Twice: hunter2
      x-twice: hunter2
      grpc-x: fine over HTTP
    tls: {ca_file: /ca.pem}
    retry: {first: 1h, last: 1s}
  - timeout: 1s
  - otlp+http://b
  - [1]
  - url: otlp+grpcs://c
    headers: {grpc-timeout: 1S}
    tls:
      ca_file: /nonexistent/ca.pem
  - url: otlp+grpcs://d
    tls: {key_file: k.pem}
  - {url: otlp+http://e, retry: {first: 40s}}
  - {url: otlp+http://f, name: otlp+http://e:4318/v1/traces}
  - {url: zipkin+http://g, compression: zstd}
  - {url: otlp+http://h, compression: zstd}
",
    );
    let addresses =
        "write HOST:PORT, :PORT or PORT, with a port number from 0 (any free one) to 65535";
    assert_eq!(
        file.check(&[]),
        [
            &*format!("FILE:1: web: \"http\" is not allowed: {addresses}"),
            "FILE:2: retension: there is no such key; did you mean `retention`?",
            "FILE:3: otlp-grpc: there is no such key; did you mean `otlp_grpc`?",
            "FILE:4: nonsense: there is no such key; allowed are listen, otlp_grpc, otlp_http, zipkin, web, web_hosts, \
             trace_links, autocomplete_keys, memory_limit, data_dir, durability, data_limit, on_full, sample_ratio, retention, stale_after, tls, auth, cors, connections, reload_interval, exporters",
            "FILE:5: memory_limit: one value is needed here",
            "FILE:6: web: stands in line 1 already; leave one out",
            "FILE:7: web_hosts: a list (lines that begin with `- `) is needed here",
            "FILE:9: exporters[0].url: \"otlp+grpc://***@tempo\" is not allowed: user and password do not belong in an \
             export URL; leave out what stands before the `@`",
            "FILE:11: exporters[1].timout: there is no such key; did you mean `timeout`?",
            "FILE:12: exporters[1].timeout: \"1 parsec\" is not allowed: write a number with ms, s, m or h (500ms, 90s, \
             1h)",
            "FILE:13: exporters[1].compression: \"lz4\" is not allowed: allowed are none, gzip and zstd",
            "FILE:14: exporters[1].name: \"\" is not allowed: 1 to 100 characters on one line are needed",
            "FILE:16: exporters[1].headers.authorization: the environment variable NOBODY is not set",
            "FILE:17: exporters[1].headers.x-key: the value has characters that no header may have: ASCII on one line \
             is allowed",
            "FILE:18: exporters[1].headers.content-type: the exporter writes this header itself; leave it out",
            "FILE:19: exporters[1].headers.a b: this is no name of a header: letters, digits and - are allowed",
            "FILE:21: exporters[1].headers.x-twice: stands twice (upper and lower case are the same); leave one out",
            "FILE:23: exporters[1].tls.ca_file: \"/ca.pem\" is not allowed: otlp+http://b:4318/v1/traces is plaintext; \
             write its scheme with an s for TLS",
            "FILE:24: exporters[1].retry.last: there is no such key; allowed are first, longest",
            "FILE:24: exporters[1].retry.first: \"1h\" is not allowed: allowed are 10ms to 1m",
            "FILE:25: exporters[2]: url is missing",
            "FILE:26: exporters[3]: \"otlp+http://b:4318/v1/traces\" is not allowed: FILE:10: exporters[1].url is called \
             so, too; give each its own name, or leave one out",
            "FILE:27: exporters[4]: a URL or a mapping with `url` is needed here",
            "FILE:29: exporters[5].headers.grpc-timeout: the exporter writes this header itself; leave it out",
            "FILE:31: exporters[5].tls.ca_file: cannot read /nonexistent/ca.pem: No such file or directory (os error 2)",
            "FILE:33: exporters[6].tls.key_file: \"k.pem\" is not allowed: tls.cert_file and tls.key_file need each \
             other; give both or none",
            "FILE:34: exporters[7].retry.first: \"40s\" is not allowed: retry.longest is 30s",
            "FILE:35: exporters[8].name: \"otlp+http://e:4318/v1/traces\" is not allowed: FILE:34: exporters[7].url is \
             called so, too; give each its own name, or leave one out",
            "FILE:36: exporters[9].compression: \"zstd\" is not allowed: Zipkin reads gzip alone; allowed are none and gzip",
        ]
    );
}

const SAMPLED: &str = "\
sample_ratio: 0.5
exporters:
  - otlp+http://a
  - url: otlp+http://b
    sampling:
      ratio: 0.05
      drop_health_checks: true
      drop: [/ping, 'GET /metrics']
      keep_errors: true
      keep_slower_than: 2s
      keep_slowest: 0.01
      decision_wait: 30s
  - {url: otlp+http://c, sampling: {ratio: 1}}
";

#[test]
fn exporters_are_told_what_to_send() {
    let file = Written::new(SAMPLED);
    let config = file.run("", &[]);
    let [a, b, c] = &config.export[..] else {
        panic!("{:?}", config.export);
    };
    assert_eq!(a.sampling.to_string(), "50 % of all traces");
    assert_eq!(
        b.sampling.to_string(),
        "failed traces, those slower than 2s, the slowest 1 % of each operation, 5 % of the others, decided 30s after \
         their first span; no health checks, and without some routes"
    );
    assert_eq!(b.sampling.drop, ["/ping", "GET /metrics"]);
    assert!(!c.sampling.is_on());
    let tail = b.sampling.tail.as_ref().unwrap();
    let log = Shares::of(config.memory.limit, 5).log;
    assert_eq!(
        config.memory.log + tail.index_bytes,
        log,
        "two more in hand, and the index, come out of the log's share"
    );
    let printed = file.print("", &[]);
    let list = "      drop:\n        - /ping  # FILE:8\n        - \"GET /metrics\"  # FILE:8\n      keep_errors: true  # FILE:9\n";
    assert!(printed.contains(list), "{printed}");
    let again = Written::new(printed).run("", &[]);
    for (export, again) in config.export.iter().zip(&again.export) {
        assert_eq!(export.sampling, again.sampling);
    }
    let config = run("--export otlp+http://a --sample-ratio 0.25", &[]);
    assert_eq!(config.export[0].sampling.ratio.to_string(), "0.25");
    let variable = [("BELLWETHER_SAMPLE_RATIO", "0.125")];
    let config = run("--export otlp+http://a", &variable);
    assert_eq!(config.export[0].sampling.ratio.to_string(), "0.125");
}

#[test]
fn what_cannot_be_sampled_is_told() {
    let check = |sampling: &str, expected: &str| {
        let text = format!("exporters:\n  - url: otlp+http://a\n    sampling: {{{sampling}}}\n");
        let expected = format!("FILE:3: exporters[0].sampling.{expected}");
        assert_eq!(Written::new(text).check(&[]), [expected], "{sampling}");
    };
    let share = "write a share from 0 to 1, as 0.25, with at most nine decimals";
    check(
        "ratio: 1.5",
        &format!("ratio: \"1.5\" is not allowed: {share}"),
    );
    check(
        "ratio: 0",
        "ratio: \"0\" is not allowed: more than 0 is needed, or one of sampling.keep_errors, keep_slower_than and \
         keep_slowest",
    );
    check(
        "keep_errors: true",
        "keep_errors: all traces are kept anyway; give sampling.ratio, below 1, for those that no rule keeps",
    );
    check(
        "ratio: 0.5, decision_wait: 5s",
        "decision_wait: \"5s\" is not allowed: only together with keep_errors, keep_slower_than or keep_slowest",
    );
    check(
        "ratio: 0, keep_errors: yes please",
        "keep_errors: \"yes please\" is not allowed: write true or false",
    );
    check(
        "ratio: 0, keep_slowest: 0.6",
        "keep_slowest: \"0.6\" is not allowed: write a share above 0 and up to 0.5, as 0.01 for the slowest hundredth",
    );
    check(
        "ratio: 0, keep_errors: true, decision_wait: 1h",
        "decision_wait: \"1h\" is not allowed: allowed are 100ms to 10m",
    );
    check(
        "drop: ['']",
        "drop[0]: \"\" is not allowed: 1 to 200 characters are needed",
    );
    check(
        "kep_errors: true",
        "kep_errors: there is no such key; did you mean `keep_errors`?",
    );
    let names: Vec<_> = (0..100).map(|n| format!("/{n}")).collect();
    check(
        &format!("drop: [{}]", names.join(", ")),
        "drop[64]: at most 64 routes and names are allowed",
    );
    check_faults(
        "--export otlp+http://a --sample-ratio lots",
        &[],
        &[&format!("--sample-ratio: \"lots\" is not allowed: {share}")],
    );
    check_faults(
        "--export otlp+http://a --sample-ratio 0",
        &[],
        &[
            "--sample-ratio: \"0\" is not allowed: more than 0 is needed, or one of sampling.keep_errors, keep_slower_than \
           and keep_slowest",
        ],
    );
}

#[test]
fn so_many_requests_are_under_way_as_memory_has_room_for() {
    let exporters = |value: &str| {
        let keys = format!("url: otlp+grpc://a, requests_in_flight: {value}");
        Written::new(format!(
            "memory_limit: 256MiB\nexporters:\n  - {{{keys}}}\n"
        ))
    };
    for (value, expected) in [("1", 1), ("4", 4), ("64", 5)] {
        let config = exporters(value).run("", &[]);
        assert_eq!(config.export[0].most_under_way(), expected, "{value}");
        assert_eq!(config.memory, Shares::of(256 << 20, expected), "{value}");
    }
    for value in ["0", "65", "-1", "many", "\"\""] {
        let told = value.trim_matches('"');
        let expected = format!(
            "FILE:3: exporters[0].requests_in_flight: \"{told}\" is not allowed: 1 to 64 are allowed"
        );
        assert_eq!(exporters(value).check(&[]), [expected]);
    }
    let small = run("--memory-limit 64MiB --export otlp+grpc://a", &[]);
    assert_eq!(small.export[0].most_under_way(), 1);
    let printed = exporters("64").print("", &[]);
    assert!(
        printed.contains("requests_in_flight: 5  # FILE:3"),
        "{printed}"
    );
}

#[test]
fn a_file_cannot_ask_for_any_number_of_anything() {
    let many = |line: &dyn Fn(usize) -> String, count| (0..count).map(line).collect::<String>();
    let exporters = many(&|n| format!("  - otlp+http://h{n}\n"), 10_000);
    let faults = Written::new(format!("exporters:\n{exporters}")).check(&[]);
    assert_eq!(
        faults,
        ["FILE:66: exporters[64]: at most 64 exporters are allowed"]
    );
    let headers = many(&|n| format!("      x-{n}: a\n"), 40);
    let text = format!("exporters:\n  - url: otlp+http://a\n    headers:\n{headers}");
    let expected = "FILE:36: exporters[0].headers.x-32: at most 32 headers are allowed";
    assert_eq!(Written::new(text).check(&[]), [expected]);
    let keys = many(&|n| format!("key{n}: a\n"), 5_000);
    assert_eq!(Written::new(keys).check(&[]).len(), 101);
}

#[test]
fn a_file_that_is_no_file_of_ours_is_one_fault() {
    let check = |text: &[u8], expected: &str| {
        assert_eq!(Written::new(text).check(&[]), [expected]);
    };
    check(b"a: [\n", "FILE:1: this is no YAML: unclosed bracket '['");
    check(
        b"- a\n",
        "FILE:1: a mapping (`key: value` lines) is needed here",
    );
    check(b"web: 1\n\xff: 2\n", "FILE:2: UTF-8 text is needed");
    let long = vec![b'#'; 257 * 1024];
    check(&long, "FILE: a file of at most 256 KiB is needed");
    let missing = "there is no such file";
    check_faults(
        "--config /nonexistent.yaml --web http",
        &[],
        &[
            &format!("--config: \"/nonexistent.yaml\" is not allowed: {missing}"),
            "--web: \"http\" is not allowed: write HOST:PORT, :PORT or PORT, with a port number from 0 (any free one) to \
             65535",
        ],
    );
    let Err(ConfigError::Checked(lines)) = parse("check /nonexistent.yaml", &[]) else {
        panic!("a file that is not there was taken");
    };
    assert_eq!(lines, [format!("/nonexistent.yaml: {missing}")]);
}

#[test]
fn what_is_in_force_is_printed_with_where_it_came_from() {
    let file = Written::new(WHOLE);
    let printed = file.print("--web 7000", &[TOKEN, ("BELLWETHER_RETENTION", "120s")]);
    let expected = "\
# The configuration in force. What is secret is shown as ***, or as the reference it was given by.
listen: 0.0.0.0  # FILE:2
otlp_grpc: 0.0.0.0:5317  # FILE:3
otlp_http: \"[::1]:5318\"  # FILE:4
zipkin: 0.0.0.0:9411  # default
web: 0.0.0.0:7000  # --web
web_hosts:
  - traces.example  # FILE:6
  - collector  # FILE:6
trace_links: []  # default
autocomplete_keys: []  # default
memory_limit: 512MiB  # FILE:7
data_dir: /data  # FILE:8
durability: received  # FILE:9
data_limit: 2GiB  # FILE:10
on_full: refuse  # default
retention: 2m  # BELLWETHER_RETENTION
stale_after: 2m  # default
tls:
  client_ids: []  # default
  receivers: []  # default
  client_receivers: []  # default
auth:
  tokens: []  # default
  receivers: []  # default
cors:
  origins: []  # default
  headers: []  # default
connections:
  max_age: 1h  # default
  grace: 30s  # default
  idle_timeout: 75s  # default
reload_interval: 5s  # default
exporters:
  - url: otlp+grpc://tempo:4317  # FILE:13
    name: otlp+grpc://tempo:4317  # default
    signals: [traces, logs, metrics]  # default
    timeout: 10s  # default
    requests_in_flight: 3  # default
    compression: none  # default
    retry:
      first: 100ms  # default
      longest: 30s  # default
    on_full: refuse  # default
    sampling:
      ratio: 1  # default
  - url: otlp+http://vendor:4318/v1/traces  # FILE:14
    name: vendor  # FILE:15
    signals: [traces, logs, metrics]  # default
    headers:
      Authorization: \"Bearer ${TOKEN}\"  # FILE:17
      x-team: \"***\"  # FILE:18
    timeout: 2s  # FILE:19
    requests_in_flight: 3  # default
    compression: gzip  # FILE:20
    retry:
      first: 50ms  # FILE:21
      longest: 5s  # FILE:21
    on_full: drop_oldest  # FILE:22
    sampling:
      ratio: 1  # default
  - url: zipkin+http://zipkin:9411/api/v2/spans  # FILE:23
    name: zipkin+http://zipkin:9411/api/v2/spans  # default
    signals: [traces]  # default
    headers:
      Authorization: \"Bearer ${TOKEN}\"  # FILE:17
      x-team: \"***\"  # FILE:18
    timeout: 10s  # default
    requests_in_flight: 3  # default
    compression: none  # default
    retry:
      first: 100ms  # default
      longest: 30s  # default
    on_full: refuse  # default
    sampling:
      ratio: 1  # default
";
    assert_eq!(printed, expected);
    let nothing = Written::new("").print("", &[]);
    assert!(
        nothing.contains("\nweb_hosts: []  # default\n"),
        "{nothing}"
    );
    assert!(
        nothing.ends_with("\nexporters: []  # default\n"),
        "{nothing}"
    );
}

#[test]
fn links_to_a_trace_come_from_flags_variables_and_the_file() {
    let text = "trace_links:\n  - Tempo=https://g.example/explore?x=%7B%22{trace_id}%22%7D\n";
    let file = Written::new(text);
    let names = |config: Config| {
        let links = config.trace_links.iter();
        links.map(|link| link.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(file.run("", &[])), ["Tempo"]);
    let variable = (
        "BELLWETHER_TRACE_LINK",
        "a=http://a/{trace_id}, b=http://b/{trace_id}",
    );
    assert_eq!(names(file.run("", &[variable])), ["a", "b"]);
    let flag = "--trace-link c=http://c/{trace_id}";
    assert_eq!(names(file.run(flag, &[variable])), ["c"]);
    let printed = Written::new(file.print("", &[]));
    assert_eq!(
        printed.run("", &[]).trace_links,
        file.run("", &[]).trace_links
    );
    check_faults(
        "--trace-link a=ftp://a/{trace_id} --trace-link b=http://b/ --trace-link c=http://c/{trace_id} \
         --trace-link c=http://d/{trace_id}",
        &[],
        &[
            "--trace-link: \"a=ftp://a/{trace_id}\" is not allowed: the URL has to begin with http:// or https:// and a \
             host, without a user or password",
            "--trace-link: \"b=http://b/\" is not allowed: the URL needs {trace_id} where the id of the trace belongs",
            "--trace-link: \"c=http://d/{trace_id}\" is not allowed: another link has this name",
        ],
    );
    let many = (0..17).map(|n| format!("n{n}=http://a/{{trace_id}}"));
    let many = many.collect::<Vec<_>>().join(",");
    check_faults(
        "",
        &[("BELLWETHER_TRACE_LINK", &many)],
        &["BELLWETHER_TRACE_LINK: at most 16 are allowed"],
    );
}

#[test]
fn tags_to_propose_values_of_are_named() {
    let file = Written::new("autocomplete_keys: [environment, ' http.method ', 7]\n");
    let printed = file.print("", &[]);
    let keys = "autocomplete_keys:\n  - environment  # FILE:1\n  - http.method  # FILE:1\n  - 7  # FILE:1\n";
    assert!(printed.contains(keys), "{printed}");
    let printed = file.print("--autocomplete-key region", &[]);
    assert!(
        printed.contains("\n  - region  # --autocomplete-key\n"),
        "{printed}"
    );
    let long = "k".repeat(257);
    let file = Written::new(format!("autocomplete_keys: ['', {long}, ok]\n"));
    let faults = file.check(&[]);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults
            .iter()
            .all(|fault| fault.contains("of 1 to 256 bytes")),
        "{faults:?}"
    );
}

#[test]
fn exporters_take_the_signals_that_they_are_told_to() {
    let text = "\
exporters:
  - otlp+grpc://a
  - {url: otlp+http://b, signals: [metrics, traces]}
  - {url: otlp+http://c, signals: logs}
  - {url: otlp+http://d, signals: }
  - {url: zipkin+http://e, signals: [traces]}
";
    let file = Written::new(text);
    let taken: Vec<Vec<_>> = file
        .run("", &[])
        .export
        .iter()
        .map(|export| export.signals.iter().map(Signal::name).collect())
        .collect();
    let all = ["traces", "logs", "metrics"];
    let expected: [&[&str]; 5] = [&all, &["traces", "metrics"], &["logs"], &all, &["traces"]];
    assert_eq!(taken, expected);
    let printed = file.print("", &[]);
    for line in [
        "signals: [traces, metrics]  # FILE:3",
        "signals: [logs]  # FILE:4",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    assert_eq!(Written::new(printed).check(&[]), [""; 0]);

    let faulty = "\
exporters:
  - {url: otlp+http://a, signals: []}
  - {url: otlp+http://b, signals: [traces, spans, traces]}
  - {url: zipkin+http://c, signals: [logs, traces]}
  - {url: otlp+http://d, signals: {traces: true}}
";
    let faults = Written::new(faulty).check(&[]);
    let expected = [
        "FILE:2: exporters[0].signals: at least one of traces, logs and metrics is needed here",
        "FILE:3: exporters[1].signals[1]: \"spans\" is not allowed: allowed are traces, logs, metrics",
        "FILE:3: exporters[1].signals[2]: \"traces\" is not allowed: it stands twice; leave one out",
        "FILE:4: exporters[2].signals[0]: \"logs\" is not allowed: zipkin+http://c:9411/api/v2/spans cannot be sent logs; \
         Zipkin takes traces only",
        "FILE:5: exporters[3].signals: a list (lines that begin with `- `) is needed here",
    ];
    assert_eq!(faults, expected);
}

#[test]
fn a_default_port_that_another_was_asked_for_is_not_printed() {
    let printed = Written::new("web: 4317\n").print("", &[]);
    assert!(!printed.contains("otlp_grpc"), "{printed}");
    assert!(
        printed.contains("\nweb: 127.0.0.1:4317  # FILE:1\n"),
        "{printed}"
    );
    assert_eq!(Written::new(printed).check(&[]), [""; 0]);
}

#[test]
fn no_text_of_a_configuration_holds_a_secret() {
    let file = Written::new(WHOLE);
    let config = file.run("", &[TOKEN]);
    let printed = file.print("", &[TOKEN]);
    for text in [format!("{config:?}"), printed] {
        for secret in ["s3cret", "observability"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// Without who asked for what, which is another place in what is printed.
fn anonymous(mut config: Config) -> Config {
    let addresses = [
        &mut config.otlp_grpc,
        &mut config.otlp_http,
        &mut config.zipkin,
        &mut config.web,
    ];
    addresses
        .into_iter()
        .for_each(|address| address.asked_by = None);
    config
        .export
        .iter_mut()
        .for_each(|export| export.asked_by.clear());
    config
}

fn hosts() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "localhost",
        "10.0.0.1",
        "[::1]",
        "a-b_c.d",
        "null",
        "no",
        "0x1",
        "1e3",
        "_",
    ])
    .prop_map(str::to_owned)
}

/// A line of it, or none.
fn on_full() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "on_full: refuse\n", "on_full: drop_oldest\n"])
        .prop_map(str::to_owned)
}

fn exporters() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec!["otlp+grpc", "otlp+http", "zipkin+http"]);
    let name = "[^\\p{C}]{0,20}";
    let wait = (10u64..=60_000, 0u64..=540_000);
    let header = prop::option::of("[a-z]{1,8}");
    let compression = prop::sample::select(vec!["none", "gzip", "zstd"]);
    (scheme, hosts(), name, wait, header, compression, on_full()).prop_map(
        |(scheme, host, name, (first, more), header, compression, on_full)| {
            let compression = match (scheme, compression) {
                ("zipkin+http", "zstd") => "gzip",
                _ => compression,
            };
            let name = serde_json::to_string(&format!("n{name}")).unwrap();
            let longest = (first + more).max(100);
            let headers = header.map_or_else(String::new, |name| {
                format!("    headers: {{x-{name}: \"Basic ${{TOKEN}}\"}}\n")
            });
            let indent = if on_full.is_empty() { "" } else { "    " };
            format!(
                "  - url: {scheme}://{host}\n    name: {name}\n    compression: {compression}\n{headers}    \
                 timeout: {longest}ms\n    retry: {{first: {first}ms, longest: {longest}ms}}\n{indent}{on_full}"
            )
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_a_configuration_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        Written::new(bytes).check(&[]);
    }

    #[test]
    fn any_words_are_a_configuration_or_refused(
        words in prop::collection::vec(prop::sample::select(vec![
            "web", "exporters", "url", "headers", "tls", "retry", "first", ":", ": ", ":\n", "\n", "\n  ", "- ", "${", "}",
            "$", "otlp+grpc://a", "otlp+https://b", "1s", "{", "[", "]", ", ", "&a ", "*a", "\"", "'", "#", "|", ">", "?",
        ]), 0..60),
    ) {
        Written::new(words.concat()).check(&[]);
    }

    #[test]
    fn what_is_printed_is_read_back_as_the_same(
        host in hosts(),
        web_hosts in prop::collection::vec(hosts(), 0..3),
        port in prop_oneof![1u16..60_000, 4317u16..=4319, Just(9411)],
        limit in 1usize << 30..1 << 40,
        retention in 60u64..86_400,
        exporters in prop::collection::vec(exporters(), 0..4),
        disk in prop::option::of((prop::bool::ANY, 128usize..1 << 20)),
        on_full in on_full(),
    ) {
        let text = format!(
            "{on_full}listen: '{host}'\nweb: {port}\nweb_hosts: {web_hosts:?}\nmemory_limit: {limit}\nretention: {retention}s\n\
             exporters:\n{}",
            exporters.concat(),
        );
        let disk = disk.map_or_else(String::new, |(synced, limit)| {
            let durability = if synced { "synced" } else { "received" };
            format!("data_dir: /a b\ndurability: {durability}\ndata_limit: {limit}MiB\n")
        });
        let file = Written::new(text + &disk);
        let Ok(Command::Run(first)) = parse(&format!("--config {}", file.name()), &[TOKEN]) else {
            // Two exporters of one name.
            return Ok(());
        };
        let printed = Written::new(file.print("", &[TOKEN]));
        prop_assert_eq!(printed.check(&[TOKEN]), Vec::<String>::new());
        let second = printed.run("", &[TOKEN]);
        prop_assert_eq!(anonymous(*first), anonymous(second));
        let origin = |text: String| text.lines().filter_map(|line| Some(line.split_once("  #")?.0.to_owned())).collect::<Vec<_>>();
        prop_assert_eq!(origin(file.print("", &[TOKEN])), origin(printed.print("", &[TOKEN])));
    }
}
