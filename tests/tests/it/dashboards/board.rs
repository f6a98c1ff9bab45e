//! A dashboard as these tests look at it: its panels, their queries, its variables and links.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{files_of, read};

pub(super) struct Board {
    /// The file's name without its ending.
    pub file: String,
    pub json: Value,
}

/// A query of a panel.
pub(super) struct Query {
    /// Where it is, for people.
    pub at: String,
    pub expression: String,
    /// At one time, not over a range.
    pub is_instant: bool,
    /// Traces are shown beside it.
    pub has_exemplars: bool,
    /// Labels that a legend or a column shows.
    pub labels: Vec<String>,
}

/// A variable whose values Prometheus knows.
pub(super) struct Variable {
    pub name: String,
    /// `label_values(SELECTOR, LABEL)`.
    pub selector: String,
    pub label: String,
    /// Any of its values, and all, can be chosen; else one.
    pub is_many: bool,
    /// What stands for all values in place of their list.
    pub all: Option<String>,
}

/// All of them.
pub(super) fn boards() -> Vec<Board> {
    let files = files_of("dashboards", ".json");
    files.iter().map(|path| Board::read(path)).collect()
}

impl Board {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a name").to_string_lossy();
        let json = serde_json::from_str(&read(path));
        Self {
            json: json.unwrap_or_else(|error| panic!("{name}: {error}")),
            file: name.into_owned(),
        }
    }

    /// Rows, too.
    pub(super) fn panels(&self) -> &[Value] {
        self.json["panels"].as_array().expect("panels")
    }

    /// Those that show something.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Value> {
        self.panels().iter().filter(|panel| panel["type"] != "row")
    }

    pub(super) fn queries(&self) -> Vec<Query> {
        let of_panel = |panel| targets(panel).iter().map(move |target| (panel, target));
        let queries = self.shown().flat_map(of_panel);
        queries
            .map(|(panel, target)| Query {
                at: format!(
                    "{}, {}, {}",
                    self.file,
                    text(&panel["title"]),
                    text(&target["refId"])
                ),
                expression: text(&target["expr"]).to_owned(),
                is_instant: target["instant"] == true,
                has_exemplars: target["exemplar"] == true,
                labels: [labels_of_legend(target), labels_of_columns(panel)].concat(),
            })
            .collect()
    }

    pub(super) fn variables(&self) -> Vec<Variable> {
        let list = self.json["templating"]["list"].as_array();
        let queries = list.expect("variables").iter();
        let queries = queries.filter(|variable| variable["type"] == "query");
        queries.map(Variable::read).collect()
    }

    /// Every URL in it.
    pub(super) fn links(&self) -> Vec<String> {
        let mut all = Vec::new();
        let of_panels = self.panels().iter().map(|panel| &panel["links"]);
        for links in of_panels.chain([&self.json["links"]]) {
            let links = links.as_array().into_iter().flatten();
            let urls = links.filter(|link| link["type"] != "dashboards");
            all.extend(urls.map(|link| text(&link["url"]).to_owned()));
        }
        all
    }
}

impl Variable {
    fn read(variable: &Value) -> Self {
        let query = text(&variable["query"]["query"]);
        let inside = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'));
        let parts = inside.and_then(|inside| inside.rsplit_once(", "));
        let (selector, label) = parts.unwrap_or_else(|| panic!("no label_values: {query}"));
        Self {
            name: text(&variable["name"]).to_owned(),
            selector: selector.to_owned(),
            label: label.to_owned(),
            is_many: variable["includeAll"] == true,
            all: variable["allValue"].as_str().map(str::to_owned),
        }
    }
}

/// `text` with `$name` and `${name}` replaced, the longer names first: `$service_name` is not `$service`.
pub(super) fn resolve(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut names: Vec<_> = values.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names.iter().fold(text.to_owned(), |text, name| {
        let value = &values[*name];
        text.replace(&format!("${{{name}}}"), value)
            .replace(&format!("${name}"), value)
    })
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn targets(panel: &Value) -> &[Value] {
    panel["targets"].as_array().map_or(&[], Vec::as_slice)
}

/// `{{label}} of {{other}}`.
fn labels_of_legend(target: &Value) -> Vec<String> {
    let parts = text(&target["legendFormat"]).split("{{").skip(1);
    let names = parts.filter_map(|part| part.split_once("}}"));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

/// Columns that are renamed and are no values are labels; those of one query of several may be another's.
fn labels_of_columns(panel: &Value) -> Vec<String> {
    if targets(panel).len() > 1 {
        return Vec::new();
    }
    let transformations = panel["transformations"].as_array().into_iter().flatten();
    let renamed = transformations.filter_map(|one| one["options"]["renameByName"].as_object());
    let names = renamed.flat_map(|names| names.keys());
    let labels = names.filter(|name| !name.starts_with("Value"));
    labels.cloned().collect()
}
