//! The table of settings: one entry makes a flag, a variable, a key of the file, a line of `bellwether config`
//! and a row of `docs/collector-configuration.md`. What a value means is `Config`'s to say.

use std::path::PathBuf;

use super::value::{write_bytes, write_duration};
use super::{Config, access, exporters, storage};
use crate::net::server_tls::ServerTls;

/// A setting of the collector.
pub(super) struct Key {
    /// In the file; keys within keys are joined by dots.
    pub(super) key: &'static str,
    /// Without its dashes; the variable is made of it.
    pub(super) flag: &'static str,
    /// What stands for its value in the help.
    pub(super) value: &'static str,
    pub(super) takes: Takes,
    /// As it is told; where it is computed, how.
    pub(super) default: &'static str,
    /// What it does, and what is allowed.
    pub(super) help: &'static str,
    /// As the file would have it; one of several in each.
    pub(super) in_force: fn(&Config) -> Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    One,
    Several,
    /// Several; in the file each may be a mapping of the keys in `exporter_keys`.
    Exporters,
}

/// Settings by flag, variable and file, in the order in which they are shown.
pub(super) const SETTINGS: &[Key] = &[
    Key {
        key: "listen",
        flag: "listen",
        value: "HOST",
        takes: Takes::One,
        default: "127.0.0.1",
        help: "Host or IP address to listen on, where an address names none",
        in_force: |config| vec![config.listen.clone()],
    },
    Key {
        key: "otlp_grpc",
        flag: "otlp-grpc",
        value: "ADDR",
        takes: Takes::One,
        default: "port 4317",
        help: "Where to take OTLP over gRPC",
        in_force: |config| config.listens(&config.otlp_grpc),
    },
    Key {
        key: "otlp_http",
        flag: "otlp-http",
        value: "ADDR",
        takes: Takes::One,
        default: "port 4318",
        help: "Where to take OTLP over HTTP",
        in_force: |config| config.listens(&config.otlp_http),
    },
    Key {
        key: "zipkin",
        flag: "zipkin",
        value: "ADDR",
        takes: Takes::One,
        default: "port 9411",
        help: "Where to take Zipkin's spans, JSON v2 or protobuf, and to answer its questions",
        in_force: |config| config.listens(&config.zipkin),
    },
    Key {
        key: "web",
        flag: "web",
        value: "ADDR",
        takes: Takes::One,
        default: "port 4319",
        help: "Where to serve pages, JSON API, probes and metrics",
        in_force: |config| config.listens(&config.web),
    },
    Key {
        key: "web_hosts",
        flag: "web-host",
        value: "NAME",
        takes: Takes::Several,
        default: "none",
        help: "Host name the pages answer to, beside localhost and IP addresses; may be repeated",
        in_force: |config| config.web_hosts.clone(),
    },
    Key {
        key: "trace_links",
        flag: "trace-link",
        value: "NAME=URL",
        takes: Takes::Several,
        default: "none",
        help: "A link from each trace to the same one elsewhere, as Jaeger=http://jaeger.example/trace/{trace_id}; a comma is \
               %2C in it; may be repeated",
        in_force: |config| config.trace_links.iter().map(ToString::to_string).collect(),
    },
    Key {
        key: "autocomplete_keys",
        flag: "autocomplete-key",
        value: "KEY",
        takes: Takes::Several,
        default: "none",
        help: "Tag whose values Zipkin's query API lists, for its UI to propose; may be repeated",
        in_force: |config| config.autocomplete_keys.clone(),
    },
    Key {
        key: "memory_limit",
        flag: "memory-limit",
        value: "BYTES",
        takes: Takes::One,
        default: "256MiB or half the cgroup's limit, the smaller",
        help: "Most memory to use, in bytes or as 256MiB, at least 64MiB and more from the third exporter on; each \
               listener keeps two connections open for each MiB of it, 64 to 4096, and lets others wait",
        in_force: |config| vec![write_bytes(config.memory.limit)],
    },
    Key {
        key: "data_dir",
        flag: "data-dir",
        value: "DIR",
        takes: Takes::One,
        default: "none",
        help: "Directory for accepted spans, which are kept there until every exporter has sent them, also across crashes \
               and restarts; for one collector at a time; without one they are kept in memory",
        in_force: |config| {
            let disk = config.storage.disk.iter();
            disk.filter_map(|disk| exporters::write_path(Some(&disk.directory)))
                .collect()
        },
    },
    Key {
        key: "durability",
        flag: "durability",
        value: "WHEN",
        takes: Takes::One,
        default: "synced",
        help: "When senders are told that their spans are safe: synced, once they outlast a power cut, or received, once \
               they outlast a crash of the collector; only with a data directory",
        in_force: |config| {
            let disk = config.storage.disk.iter();
            disk.map(|disk| disk.durability.name().to_owned()).collect()
        },
    },
    Key {
        key: "data_limit",
        flag: "data-limit",
        value: "BYTES",
        takes: Takes::One,
        default: "1GiB",
        help: "Most bytes in the data directory, as bytes or as 10GiB, from 128MiB on; only with one",
        in_force: |config| {
            let disk = config.storage.disk.iter();
            disk.filter_map(|disk| Some(write_bytes(usize::try_from(disk.limit).ok()?)))
                .collect()
        },
    },
    Key {
        key: "on_full",
        flag: "on-full",
        value: "WHAT",
        takes: Takes::One,
        default: "refuse with a data directory, else drop_oldest",
        help: "What gives way when the batches that wait for an exporter reach the limit: refuse, senders have to try \
               again, or drop_oldest, that exporter loses its oldest batches",
        in_force: |config| vec![storage::write_on_full(config.storage.on_full).to_owned()],
    },
    Key {
        key: "sample_ratio",
        flag: "sample-ratio",
        value: "RATIO",
        takes: Takes::One,
        default: "1",
        help: "Share of traces to send on, above 0 and up to 1, the same traces as everything else that keeps this share or \
               more; pages and API show all of them; for every exporter that the file gives no `sampling.ratio`",
        in_force: |config| {
            config
                .sample_ratio
                .iter()
                .map(ToString::to_string)
                .collect()
        },
    },
    Key {
        key: "retention",
        flag: "retention",
        value: "DURATION",
        takes: Takes::One,
        default: "1h",
        help: "How far back pages and API reach, 1m to 24h; spans that wait for an exporter that is configured no more are \
               kept as long",
        in_force: |config| vec![write_duration(config.retention)],
    },
    Key {
        key: "stale_after",
        flag: "stale-after",
        value: "DURATION",
        takes: Takes::One,
        default: "2m",
        help: "How long a service may send no span before an autoscaler that asks /api/v1/scale for it gets an error instead \
               of numbers, 10s to 24h: spans alone cannot tell idle from dead",
        in_force: |config| vec![write_duration(config.stale_after)],
    },
    Key {
        key: "tls.cert_file",
        flag: "tls-cert-file",
        value: "FILE",
        takes: Takes::One,
        default: "none",
        help: "The certificate (PEM, with those that lead to its authority) that receivers show: with it they take \
               connections in TLS only; needs `tls.key_file`",
        in_force: |config| of_tls(config, |tls| Some(&tls.identity.cert_file)),
    },
    Key {
        key: "tls.key_file",
        flag: "tls-key-file",
        value: "FILE",
        takes: Takes::One,
        default: "none",
        help: "The private key (PEM) of `tls.cert_file`",
        in_force: |config| of_tls(config, |tls| Some(&tls.identity.key_file)),
    },
    Key {
        key: "tls.client_ca_file",
        flag: "tls-client-ca-file",
        value: "FILE",
        takes: Takes::One,
        default: "none",
        help: "Certificates of authorities (PEM): with them a client has to show a certificate that one of them signed",
        in_force: |config| {
            of_tls(config, |tls| {
                tls.clients.as_ref().map(|clients| &clients.ca_file)
            })
        },
    },
    Key {
        key: "tls.client_ids",
        flag: "tls-client-id",
        value: "ID",
        takes: Takes::Several,
        default: "any",
        help: "SPIFFE IDs of the clients that may come in, spiffe://TRUST-DOMAIN/PATH for one or spiffe://TRUST-DOMAIN for a \
               whole trust domain; may be repeated; only with `tls.client_ca_file`",
        in_force: |config| {
            let clients = config
                .access
                .tls
                .iter()
                .filter_map(|tls| tls.clients.as_ref());
            let ids = clients.flat_map(|clients| &clients.allowed);
            ids.map(ToString::to_string).collect()
        },
    },
    Key {
        key: "tls.receivers",
        flag: "tls-receiver",
        value: "NAME",
        takes: Takes::Several,
        default: "all",
        help: "Receivers that take connections in TLS, of otlp_grpc, otlp_http and zipkin; may be repeated",
        in_force: |config| access::write_receivers(&config.access, |one| one.tls),
    },
    Key {
        key: "tls.client_receivers",
        flag: "tls-client-receiver",
        value: "NAME",
        takes: Takes::Several,
        default: "those with TLS",
        help: "Receivers whose clients have to show a certificate, of those with TLS; may be repeated",
        in_force: |config| access::write_receivers(&config.access, |one| one.client_certificates),
    },
    Key {
        key: "auth.tokens",
        flag: "auth-token",
        value: "SOURCE",
        takes: Takes::Several,
        default: "none",
        help: "Where the tokens stand of which every request has to carry one (authorization: Bearer TOKEN): ${NAME}, an \
               environment variable, or ${file:PATH}; one or several, a line each, of 16 visible characters or more; may be \
               repeated",
        // Shown from what was given: the tokens are secret.
        in_force: |config| config.access.token_templates.clone(),
    },
    Key {
        key: "auth.receivers",
        flag: "auth-receiver",
        value: "NAME",
        takes: Takes::Several,
        default: "all",
        help: "Receivers that ask for a token, of otlp_grpc, otlp_http and zipkin; may be repeated",
        in_force: |config| access::write_receivers(&config.access, |one| one.tokens),
    },
    Key {
        key: "cors.origins",
        flag: "cors-origin",
        value: "ORIGIN",
        takes: Takes::Several,
        default: "none",
        help: "Origins whose pages may send from browsers, over HTTP: https://HOST, https://*.HOST for any one name below it, \
               or * for all; may be repeated",
        in_force: |config| {
            let origins = config.access.cors.iter().flat_map(|cors| &cors.origins);
            origins.map(ToString::to_string).collect()
        },
    },
    Key {
        key: "cors.headers",
        flag: "cors-header",
        value: "NAME",
        takes: Takes::Several,
        default: "none",
        help: "Headers that such pages may send, beside authorization, content-encoding and content-type; may be repeated",
        in_force: |config| {
            let headers = config.access.cors.iter().flat_map(|cors| &cors.headers);
            headers.map(ToString::to_string).collect()
        },
    },
    Key {
        key: "cors.max_age",
        flag: "cors-max-age",
        value: "DURATION",
        takes: Takes::One,
        default: "2h",
        help: "How long a browser may go by what it was told of that, 0s to 24h",
        in_force: |config| {
            let cors = config.access.cors.iter();
            cors.map(|cors| write_duration(cors.max_age)).collect()
        },
    },
    Key {
        key: "connections.max_age",
        flag: "connection-max-age",
        value: "DURATION",
        takes: Takes::One,
        default: "1h",
        help: "How old a sender's connection gets, give or take a tenth, before it is told to make another, 1s to 24h, or \
               never: so senders spread over new replicas, and show their certificates again",
        in_force: |config| vec![access::write_max_age(config.access.connections.max_age)],
    },
    Key {
        key: "connections.grace",
        flag: "connection-grace",
        value: "DURATION",
        takes: Takes::One,
        default: "30s",
        help: "How long requests under way may take beyond that before they are cut off, 100ms to 10m",
        in_force: |config| vec![write_duration(config.access.connections.grace)],
    },
    Key {
        key: "connections.idle_timeout",
        flag: "connection-idle-timeout",
        value: "DURATION",
        takes: Takes::One,
        default: "75s",
        help: "How long a sender's connection may be without a request, 1s to 24h",
        in_force: |config| vec![write_duration(config.access.connections.idle_timeout)],
    },
    Key {
        key: "reload_interval",
        flag: "reload-interval",
        value: "DURATION",
        takes: Takes::One,
        default: "5s",
        help: "How often the files of certificates, keys, tokens and `${file:PATH}` are looked at, 100ms to 1h: what has \
               changed is in force without a restart",
        in_force: |config| vec![write_duration(config.access.reload_interval)],
    },
    Key {
        key: "exporters",
        flag: "export",
        value: "URL",
        takes: Takes::Exporters,
        default: "none",
        help: "Where to send spans on to, and logs and metrics over OTLP: otlp+grpc://HOST:4317, otlp+http://HOST:4318 or \
               zipkin+http://HOST:9411, and in TLS otlp+grpcs, otlp+https and zipkin+https; may be repeated",
        in_force: |config| {
            config
                .export
                .iter()
                .map(|export| export.target.to_string())
                .collect()
        },
    },
];

/// Names the file; the only flag that cannot stand in it.
pub(super) const CONFIG: Key = Key {
    key: "",
    flag: "config",
    value: "FILE",
    takes: Takes::One,
    default: "none",
    help: "A YAML file of settings; flags beat variables beat the file",
    in_force: |_| Vec::new(),
};

/// A file of the receivers' TLS.
fn of_tls(config: &Config, file: impl Fn(&ServerTls) -> Option<&PathBuf>) -> Vec<String> {
    let files = config.access.tls.iter().filter_map(file);
    files
        .filter_map(|file| exporters::write_path(Some(file)))
        .collect()
}

impl Key {
    /// `BELLWETHER_OTLP_GRPC`.
    pub(super) fn variable(&self) -> String {
        let name = self.flag.replace('-', "_").to_ascii_uppercase();
        format!("BELLWETHER_{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::exporter_keys::{EXPORTER, ExporterKey};

    /// The rows of a table in the documentation, as they should be.
    fn expected() -> Vec<String> {
        let config = std::iter::once(&CONFIG).chain(SETTINGS).map(|key| {
            let Key {
                flag,
                value,
                default,
                help,
                ..
            } = key;
            let in_file = match key.key {
                "" => "–".to_owned(),
                key => format!("`{key}`"),
            };
            let variable = key.variable();
            format!("| {in_file} | `--{flag}` | `{variable}` | {value} | {default} | {help} |")
        });
        let exporter = EXPORTER.iter().map(|key| {
            let ExporterKey {
                key,
                value,
                default,
                help,
                ..
            } = key;
            format!("| `{key}` | {value} | {default} | {help} |")
        });
        config.chain(exporter).collect()
    }

    #[test]
    fn the_documentation_has_every_setting_and_no_other() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../docs/collector-configuration.md"
        );
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter(|line| line.starts_with("| "));
        let is_head = |row: &&str| row.starts_with("| key |") || row.starts_with("| --- |");
        let rows: Vec<_> = rows.filter(|row| !is_head(row)).collect();
        let expected = expected();
        assert_eq!(rows, expected, "write it so:\n{}", expected.join("\n"));
    }

    #[test]
    fn each_has_its_own_key_flag_and_variable() {
        let count = |name: fn(&Key) -> String| {
            let names: std::collections::BTreeSet<_> = SETTINGS.iter().map(name).collect();
            names.len()
        };
        for name in [
            |key: &Key| key.key.to_owned(),
            |key: &Key| key.flag.to_owned(),
            Key::variable,
        ] {
            assert_eq!(count(name), SETTINGS.len());
        }
        let flag = &SETTINGS[1];
        assert_eq!(flag.variable(), "BELLWETHER_OTLP_GRPC");
    }
}
