//! `Description`: every setting in force with its value and where that comes from. For `Kit::describe`, the first
//! line of the log and the admin address.

mod rows;

use std::fmt;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use self::rows::{Row, rows};
use crate::config::{Config, Source};
use crate::redact;

pub(super) use self::rows::exporter;

/// The configuration in force: what [`Kit::describe`](crate::Kit::describe) tells. Shown, it is a table; no
/// secret is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    settings: Vec<Setting>,
    resource: Vec<Setting>,
}

/// A setting, or an attribute of the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    name: String,
    value: String,
    source: Source,
}

impl Setting {
    /// `grace`, `trust`, `k8s.pod.name` …
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As the environment would write it; secrets are hidden.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Who has set it.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }
}

impl Description {
    pub(super) fn new(config: &Config, terminal: bool, admin_addr: Option<SocketAddr>) -> Self {
        let row = |row: Row| Setting {
            source: config.sources.of(row.variables),
            name: row.name.to_owned(),
            value: redact::in_text(&row.value).unwrap_or(row.value),
        };
        Self {
            settings: rows(config, terminal, admin_addr)
                .into_iter()
                .map(row)
                .collect(),
            resource: resource(config),
        }
    }

    /// Every setting, in the order of the documentation.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter()
    }

    /// Every attribute of the resource: on each span, and in `target_info`.
    pub fn resource(&self) -> impl Iterator<Item = &Setting> {
        self.resource.iter()
    }

    /// The same as a JSON object: `settings` and `resource`, each by name with `value`, `source` (`default`,
    /// `environment`, `code`, `platform`) and, where it is one, `variable`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let object = |settings: &[Setting]| -> Map<String, Value> {
            let entry = |setting: &Setting| (setting.name.clone(), entry(setting));
            settings.iter().map(entry).collect()
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "settings": object(&self.settings),
            "resource": object(&self.resource),
        })
        .to_string()
    }

    /// What is not as it is by default, each with where it comes from.
    pub(super) fn changed(&self) -> String {
        let changed = self.settings.iter();
        let changed = changed.filter(|setting| setting.source != Source::Default);
        let changed: Vec<String> = changed
            .map(|setting| format!("{} ({})", setting.name, setting.source))
            .collect();
        changed.join(", ")
    }

    /// A setting's or an attribute's value.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let mut all = self.settings.iter().chain(&self.resource);
        all.find(|setting| setting.name == name)
            .map(|setting| &*setting.value)
    }
}

fn entry(setting: &Setting) -> Value {
    let mut entry = json!({ "value": setting.value, "source": setting.source.kind() });
    if let (Some(variable), Some(entry)) = (setting.source.variable(), entry.as_object_mut()) {
        entry.insert("variable".to_owned(), variable.into());
    }
    entry
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || self.settings.iter().chain(&self.resource);
        let width = |of: fn(&Setting) -> &str| {
            let widths = all().map(|setting| of(setting).chars().count());
            // One long value must not push the sources of all others out of sight.
            widths.max().unwrap_or_default().min(48)
        };
        let (names, values) = (width(Setting::name), width(Setting::value));
        for setting in all() {
            let Setting {
                name,
                value,
                source,
            } = setting;
            writeln!(f, "{name:names$}  {value:values$}  {source}")?;
        }
        Ok(())
    }
}

fn resource(config: &Config) -> Vec<Setting> {
    let attributes = config.resource_attributes();
    attributes
        .into_iter()
        .map(|(name, value, source)| Setting {
            name,
            value,
            source,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn describe(variables: &[(&str, &str)]) -> Description {
        let config = Config::read("orders", &|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        assert_eq!(config.all_faults(), Vec::<String>::new());
        Description::new(&config, false, None)
    }

    fn check(description: &Description, name: &str, value: &str, source: Source) {
        let mut all = description.settings().chain(description.resource());
        let setting = all.find(|setting| setting.name() == name);
        let setting = setting.unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(
            (setting.value(), setting.source()),
            (value, source),
            "{name}"
        );
    }

    #[test]
    fn each_value_is_told_with_where_it_comes_from() {
        let told = describe(&[
            ("K_SERVICE", "shop"),
            ("BELLWETHER_DRAIN_DELAY", "2s"),
            ("BELLWETHER_REDACT", "ssn,-session"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "nonsense"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=shop,service.version=7"),
        ]);
        let environment = Source::Environment;
        check(&told, "trust", "private", Source::Default);
        check(&told, "log_format", "json", Source::Default);
        check(&told, "grace", "9s", Source::Platform("K_SERVICE"));
        check(
            &told,
            "drain_delay",
            "2s",
            environment("BELLWETHER_DRAIN_DELAY"),
        );
        check(
            &told,
            "redact",
            "ssn,-session",
            environment("BELLWETHER_REDACT"),
        );
        check(
            &told,
            "traces_protocol",
            "grpc",
            environment("OTEL_EXPORTER_OTLP_PROTOCOL"),
        );
        check(
            &told,
            "sampler",
            "traceidratio=0.25",
            environment("OTEL_TRACES_SAMPLER"),
        );
        check(&told, "service.name", "orders", Source::Code);
        check(
            &told,
            "service.version",
            "7",
            environment("OTEL_RESOURCE_ATTRIBUTES"),
        );
        check(&told, "faas.name", "shop", Source::Platform("K_SERVICE"));
        check(&told, "telemetry.sdk.name", "bellwether", Source::Default);
        assert_eq!(
            told.changed(),
            "grace (K_SERVICE), drain_delay (BELLWETHER_DRAIN_DELAY), redact (BELLWETHER_REDACT), \
             traces_protocol (OTEL_EXPORTER_OTLP_PROTOCOL), sampler (OTEL_TRACES_SAMPLER)"
        );
    }

    #[test]
    fn no_secret_is_told() {
        let told = describe(&[
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20s3cret,x-a=s3cret",
            ),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:s3cret@c:4318"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "db.password=s3cret,url=http://me:s3cret@h",
            ),
            ("OTEL_SERVICE_NAME", "http://me:s3cret@h"),
        ]);
        check(
            &told,
            "traces_headers",
            "authorization=[redacted],x-a=[redacted]",
            Source::Environment("OTEL_EXPORTER_OTLP_HEADERS"),
        );
        for text in [told.to_string(), told.to_json()] {
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn the_table_is_aligned_and_the_json_can_be_read() {
        let told = describe(&[("BELLWETHER_GRACE", "10s")]);
        let table = told.to_string();
        let grace = table.lines().find(|line| line.starts_with("grace "));
        let port = table.lines().find(|line| line.starts_with("port "));
        let (grace, port) = (grace.unwrap(), port.unwrap());
        assert_eq!(grace.find("BELLWETHER_GRACE"), port.find("default"));
        assert_eq!(grace.find("10s"), port.find("8080"));

        let json: Value = serde_json::from_str(&told.to_json()).unwrap();
        let grace =
            json!({"value": "10s", "source": "environment", "variable": "BELLWETHER_GRACE"});
        assert_eq!(json["settings"]["grace"], grace);
        let port = json!({"value": "8080", "source": "default"});
        assert_eq!(json["settings"]["port"], port);
        assert_eq!(json["resource"]["service.name"]["value"], "orders");
    }

    #[test]
    fn every_variable_that_is_read_is_told_of() {
        // Those of the resource stand there; the sampler's argument beside the sampler.
        const ELSEWHERE: [&str; 13] = [
            "CONTAINER_NAME",
            "HOSTNAME",
            "KUBERNETES_SERVICE_HOST",
            "K_REVISION",
            "NAMESPACE",
            "NODE_NAME",
            "OTEL_RESOURCE_ATTRIBUTES",
            "OTEL_SERVICE_NAME",
            "OTEL_TRACES_SAMPLER_ARG",
            "POD_NAME",
            "POD_NAMESPACE",
            "POD_UID",
            "K_SERVICE",
        ];
        let asked = RefCell::new(Vec::new());
        let config = Config::read("orders", &|name| {
            asked.borrow_mut().push(name.to_owned());
            None
        });
        let rows = rows(&config, false, None);
        for name in asked.into_inner() {
            let told = rows.iter().any(|row| row.variables.contains(&&*name));
            assert!(told || ELSEWHERE.contains(&&*name), "{name} has no row");
        }
    }
}
