//! A configuration file as settings: which keys there are, and what shape their values have. Called by `given`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;

use super::exporter_keys::EXPORTER;
use super::exporters::{HEADERS, SIGNALS};
use super::given::{Given, GivenExporter};
use super::sampling::DROP;
use super::settings::{Key, SETTINGS, Takes};
use super::source::{Faults, Setting, Source};
use super::yaml::{self, Entry, Node, Value};

/// A hundred exporters with everything they can be told take a tenth of it.
const MOST_BYTES: u64 = 256 * 1024;

/// Reads the file `name`, which `named_by` named; one that `check` was given is named by nobody.
pub(super) fn read(name: &str, named_by: Option<Source>, faults: &mut Faults) -> Given {
    let mut reader = Reader {
        file: name.into(),
        faults,
    };
    match (text_of(name), named_by) {
        (Ok(text), _) => reader.document(&text),
        (Err(Unreadable { line: 0, problem }), Some(named_by)) => {
            reader.faults.add(named_by, name, problem);
            Given::default()
        }
        (Err(Unreadable { line, problem }), _) => {
            let source = reader.at(line, "");
            reader.faults.say(source, problem);
            Given::default()
        }
    }
}

/// Why there is no text, and in which line that shows; 0 is all of them.
struct Unreadable {
    line: usize,
    problem: String,
}

fn text_of(name: &str) -> Result<String, Unreadable> {
    let whole = |problem| Unreadable { line: 0, problem };
    let mut bytes = Vec::new();
    let read = File::open(name).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => whole("there is no such file".to_owned()),
        _ => whole(format!("it cannot be read: {error}")),
    })?;
    if bytes.len() as u64 > MOST_BYTES {
        let most = MOST_BYTES / 1024;
        return Err(whole(format!("a file of at most {most} KiB is needed")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        Unreadable {
            line: memchr::memchr_iter(b'\n', before).count() + 1,
            problem: "UTF-8 text is needed".to_owned(),
        }
    })
}

struct Reader<'a> {
    file: Rc<str>,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    fn document(&mut self, text: &str) -> Given {
        let mut given = Given::default();
        let root = match yaml::parse(text) {
            Ok(root) => root,
            Err(malformed) => {
                let source = self.at(malformed.line, "");
                self.faults.say(source, malformed.problem);
                return given;
            }
        };
        let mut names: Vec<_> = SETTINGS.iter().map(|key| first(key.key)).collect();
        names.dedup();
        for entry in self.entries(&root, "", &names) {
            match SETTINGS.iter().find(|key| key.key == entry.key) {
                Some(key) => self.setting(key, entry, &mut given),
                None => self.group(entry, &mut given),
            }
        }
        given
    }

    /// Keys within a key.
    fn group(&mut self, group: &Entry, given: &mut Given) {
        let keys = SETTINGS.iter().filter_map(|key| {
            let name = key.key.strip_prefix(&*group.key)?.strip_prefix('.')?;
            Some((name, key))
        });
        let keys: Vec<_> = keys.collect();
        let names: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
        for entry in self.entries(&group.node, &group.key, &names) {
            if let Some((_, key)) = keys.iter().find(|(name, _)| *name == entry.key) {
                self.setting(key, entry, given);
            }
        }
    }

    fn setting(&mut self, key: &'static Key, entry: &Entry, given: &mut Given) {
        match key.takes {
            Takes::One => {
                let setting = self.text(&entry.node, key.key);
                given
                    .settings
                    .extend(setting.map(|setting| (key.key, vec![setting])));
            }
            Takes::Several => {
                let settings = self.texts(&entry.node, key.key);
                given.settings.insert(key.key, settings);
            }
            Takes::Exporters => given.exporters = self.exporters(&entry.node, key.key),
        }
    }

    fn exporters(&mut self, node: &Node, path: &str) -> Vec<GivenExporter> {
        let mut exporters = Vec::new();
        for (index, node) in self.list(node, path).iter().enumerate() {
            let path = format!("{path}[{index}]");
            exporters.extend(match &node.value {
                Value::Table(_) => Some(self.exporter(node, &path)),
                Value::Text(_) => self.text(node, &path).map(GivenExporter::of_url),
                Value::Nothing | Value::List(_) => {
                    self.misshapen(node, &path, "a URL or a mapping with `url`");
                    None
                }
            });
        }
        exporters
    }

    fn exporter(&mut self, node: &Node, path: &str) -> GivenExporter {
        let mut exporter = GivenExporter {
            source: self.at(node.line, path),
            settings: BTreeMap::new(),
            headers: Vec::new(),
            drop: Vec::new(),
            signals: None,
        };
        // `tls` for `tls.ca_file`.
        let mut names: Vec<_> = EXPORTER.iter().map(|key| first(key.key)).collect();
        names.dedup();
        for entry in self.entries(node, path, &names) {
            let path = join(path, &entry.key);
            if entry.key == HEADERS {
                exporter.headers = self.headers(&entry.node, &path);
            } else if entry.key == SIGNALS {
                exporter.signals = self.signals(&entry.node, &path);
            } else if let Some(key) = EXPORTER.iter().find(|key| key.key == entry.key) {
                let setting = self.text(&entry.node, &path);
                exporter
                    .settings
                    .extend(setting.map(|setting| (key.key, setting)));
            } else {
                self.nested(entry, &path, &mut exporter);
            }
        }
        if !exporter.settings.contains_key("url") {
            self.faults.say(exporter.source.clone(), "url is missing");
        }
        exporter
    }

    /// Keys within a key of an exporter.
    fn nested(&mut self, entry: &Entry, path: &str, exporter: &mut GivenExporter) {
        let within = |key: &'static str| key.strip_prefix(&*entry.key)?.strip_prefix('.');
        let names: Vec<_> = EXPORTER.iter().filter_map(|key| within(key.key)).collect();
        for inner in self.entries(&entry.node, path, &names) {
            let path = join(path, &inner.key);
            let key = EXPORTER
                .iter()
                .find(|key| within(key.key) == Some(&inner.key));
            if key.is_some_and(|key| key.key == DROP) {
                exporter.drop = self.texts(&inner.node, &path);
            } else if let (Some(key), Some(setting)) = (key, self.text(&inner.node, &path)) {
                exporter.settings.insert(key.key, setting);
            }
        }
    }

    /// Nothing after the colon is as if the key were not there, but an empty list is an exporter without a use.
    fn signals(&mut self, node: &Node, path: &str) -> Option<Vec<Setting>> {
        match &node.value {
            Value::Nothing => return None,
            Value::List(nodes) if nodes.is_empty() => {
                self.misshapen(node, path, "at least one of traces, logs and metrics");
            }
            _ => {}
        }
        Some(self.texts(node, path))
    }

    /// Names of headers are the peer's, so any is taken here.
    fn headers(&mut self, node: &Node, path: &str) -> Vec<(String, Setting)> {
        let mut headers = Vec::new();
        for entry in self.table(node, path) {
            let path = join(path, &entry.key);
            // Not as if it were not there: a request without it would go out unauthorised.
            if matches!(entry.node.value, Value::Nothing) {
                let source = self.at(entry.line, &path);
                self.faults.say(
                    source,
                    "the value is empty; give one, or leave the header out",
                );
            }
            let setting = self.text(&entry.node, &path);
            headers.extend(setting.map(|setting| (entry.key.clone(), setting)));
        }
        headers
    }

    /// The entries of a mapping whose keys are among `names`; others are told, and those that stand twice.
    fn entries<'n>(&mut self, node: &'n Node, path: &str, names: &[&str]) -> Vec<&'n Entry> {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut known = Vec::new();
        for entry in self.table(node, path) {
            let source = self.at(entry.line, &join(path, &entry.key));
            if !names.contains(&&*entry.key) {
                self.faults.say(source, unknown(&entry.key, names));
            } else if let Some(line) = seen.get(&*entry.key) {
                let text = format!("stands in line {line} already; leave one out");
                self.faults.say(source, text);
            } else {
                seen.insert(&entry.key, entry.line);
                known.push(entry);
            }
        }
        known
    }

    fn table<'n>(&mut self, node: &'n Node, path: &str) -> &'n [Entry] {
        match &node.value {
            Value::Table(entries) => entries,
            Value::Nothing => &[],
            Value::Text(_) | Value::List(_) => {
                self.misshapen(node, path, "a mapping (`key: value` lines)");
                &[]
            }
        }
    }

    fn list<'n>(&mut self, node: &'n Node, path: &str) -> &'n [Node] {
        match &node.value {
            Value::List(nodes) => nodes,
            Value::Nothing => &[],
            Value::Text(_) | Value::Table(_) => {
                self.misshapen(node, path, "a list (lines that begin with `- `)");
                &[]
            }
        }
    }

    /// A list of texts, or one alone.
    fn texts(&mut self, node: &Node, path: &str) -> Vec<Setting> {
        if let Value::Text(_) = node.value {
            return self.text(node, path).into_iter().collect();
        }
        let nodes = self.list(node, path);
        let texts = nodes.iter().enumerate();
        texts
            .filter_map(|(index, node)| self.text(node, &format!("{path}[{index}]")))
            .collect()
    }

    /// One text; nothing after the colon is as if the key were not there.
    fn text(&mut self, node: &Node, path: &str) -> Option<Setting> {
        match &node.value {
            Value::Text(value) => Some(Setting {
                source: self.at(node.line, path),
                value: value.clone(),
            }),
            Value::Nothing => None,
            Value::List(_) | Value::Table(_) => {
                self.misshapen(node, path, "one value");
                None
            }
        }
    }

    fn misshapen(&mut self, node: &Node, path: &str, needed: &str) {
        let source = self.at(node.line, path);
        self.faults.say(source, format!("{needed} is needed here"));
    }

    fn at(&self, line: usize, path: &str) -> Source {
        Source::File {
            file: Rc::clone(&self.file),
            line,
            path: path.to_owned(),
        }
    }
}

fn first(key: &'static str) -> &'static str {
    key.split_once('.').map_or(key, |(first, _)| first)
}

/// A key below `path`, as it may be told: it is anybody's text until it is known.
fn join(path: &str, key: &str) -> String {
    const LONGEST: usize = 60;
    let key: String = key
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

fn unknown(key: &str, names: &[&str]) -> String {
    const LONGEST: usize = 40;
    let likely: String = key
        .chars()
        .take(LONGEST)
        .collect::<String>()
        .to_ascii_lowercase()
        .replace('-', "_");
    let nearest = names
        .iter()
        .map(|name| (strsim::osa_distance(&likely, name), name))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, name)) if distance <= name.len() / 3 => {
            format!("there is no such key; did you mean `{name}`?")
        }
        _ => format!("there is no such key; allowed are {}", names.join(", ")),
    }
}
