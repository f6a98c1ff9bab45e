//! YAML text as a small tree that keeps line numbers. Knows nothing of what the keys mean; called by `file`.
//!
//! Everything is bounded: depth and anchors here, the size of the text by the caller. Directives and tags are refused:
//! a configuration needs neither.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError};

use super::source::one_line;

/// Collections within collections.
const MOST_DEPTH: usize = 16;

/// All of a document with its aliases written out, bytes: each value costs its text and [`NODE_COST`].
const MOST_COST: usize = 1024 * 1024;
const NODE_COST: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing after the colon, `~` or `null`.
    Nothing,
    /// Any other scalar, quoted or not: what it means is for the reader of the key to say.
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key with its value. Keys may stand twice: that is for the reader to tell.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) node: Node,
}

/// Why a text is no tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) problem: String,
}

/// Reads one document; an empty text is [`Value::Nothing`].
pub(super) fn parse(text: &str) -> Result<Node, Malformed> {
    let options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: MOST_DEPTH,
        block_nesting_limit: MOST_DEPTH,
    };
    let mut tree = Tree::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| Malformed::of(&error))?;
        tree.take(event, span.start.line())?;
    }
    Ok(tree.root.unwrap_or(Node {
        line: 1,
        value: Value::Nothing,
    }))
}

/// What has been read so far.
#[derive(Default)]
struct Tree {
    root: Option<Node>,
    /// Collections that have begun and not ended, the innermost last.
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    cost: usize,
}

struct Open {
    line: usize,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    /// The entries, and the key that waits for its value.
    Table(Vec<Entry>, Option<(usize, String)>),
}

impl Tree {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Malformed> {
        if event.tag().is_some() {
            return Err(Malformed::new(line, "tags (!…) are not used here"));
        }
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = matches!(style, ScalarStyle::Plain);
                let value = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Value::Nothing,
                    text => Value::Text(text.to_owned()),
                };
                spend(&mut self.cost, line, NODE_COST + text.len())?;
                self.put(Node { line, value }, anchor)
            }
            Event::Alias(anchor) => self.repeat(anchor, line),
            Event::SequenceStart(_, anchor, _) => {
                self.open(line, anchor, OpenKind::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(line, anchor, OpenKind::Table(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Malformed::new(line, "a second document (---): one is read"))
            }
            _ => Ok(()),
        }
    }

    fn repeat(&mut self, anchor: usize, line: usize) -> Result<(), Malformed> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Malformed::new(line, "an alias (*…) within its own anchor"));
        };
        spend(&mut self.cost, line, node.cost())?;
        let node = node.clone();
        self.put(node, 0)
    }

    fn open(&mut self, line: usize, anchor: usize, kind: OpenKind) -> Result<(), Malformed> {
        spend(&mut self.cost, line, NODE_COST)?;
        self.open.push(Open { line, anchor, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Malformed> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.kind {
            OpenKind::List(nodes) => Value::List(nodes),
            OpenKind::Table(entries, _) => Value::Table(entries),
        };
        let line = open.line;
        self.put(Node { line, value }, open.anchor)
    }

    /// Puts a whole value where it belongs, and keeps it for the aliases of its anchor (0: none).
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Malformed> {
        if anchor != 0 {
            spend(&mut self.cost, node.line, node.cost())?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.kind {
            OpenKind::List(nodes) => nodes.push(node),
            OpenKind::Table(entries, key) => match key.take() {
                Some((line, key)) => entries.push(Entry { line, key, node }),
                None => match node.value {
                    Value::Text(text) => *key = Some((node.line, text)),
                    _ => return Err(Malformed::new(node.line, "a key must be a plain text")),
                },
            },
        }
        Ok(())
    }
}

/// Counts `bytes` against what a document may have, before they are kept.
fn spend(cost: &mut usize, line: usize, bytes: usize) -> Result<(), Malformed> {
    *cost = cost.saturating_add(bytes);
    if *cost > MOST_COST {
        let problem = "too much in one document, with its aliases written out";
        return Err(Malformed::new(line, problem));
    }
    Ok(())
}

impl Node {
    /// Bytes it takes, members included; recursion ends, for [`MOST_COST`] bounds how deep aliases can nest it.
    fn cost(&self) -> usize {
        let content: usize = match &self.value {
            Value::Nothing => 0,
            Value::Text(text) => text.len(),
            Value::List(nodes) => nodes.iter().map(Self::cost).sum(),
            Value::Table(entries) => entries
                .iter()
                .map(|entry| NODE_COST + entry.key.len() + entry.node.cost())
                .sum(),
        };
        NODE_COST + content
    }
}

impl Malformed {
    fn new(line: usize, problem: &str) -> Self {
        Self {
            line,
            problem: problem.to_owned(),
        }
    }

    fn of(error: &ScanError) -> Self {
        Self {
            line: error.marker().line().max(1),
            problem: format!("this is no YAML: {}", one_line(&error.info())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// One line for each scalar: `LINE PATH=TEXT`.
    fn flat(node: &Node) -> String {
        fn walk(node: &Node, path: &str, out: &mut String) {
            match &node.value {
                Value::Nothing => writeln!(out, "{} {path}", node.line).unwrap(),
                Value::Text(text) => writeln!(out, "{} {path}={text}", node.line).unwrap(),
                Value::List(nodes) => {
                    for (index, node) in nodes.iter().enumerate() {
                        walk(node, &format!("{path}[{index}]"), out);
                    }
                }
                Value::Table(entries) => {
                    for entry in entries {
                        walk(&entry.node, &format!("{path}.{}", entry.key), out);
                    }
                }
            }
        }
        let mut out = String::new();
        walk(node, "", &mut out);
        out
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(flat(&parse(text).unwrap()), expected, "{text}");
    }

    fn check_refused(text: &str, line: usize, problem: &str) {
        let malformed = parse(text).unwrap_err();
        assert_eq!(malformed.line, line, "{text}: {malformed:?}");
        assert!(malformed.problem.contains(problem), "{text}: {malformed:?}");
    }

    #[test]
    fn values_keep_their_lines() {
        check("", "1 \n");
        check("# nothing\n---\n", "2 \n");
        check(
            "\u{feff}web: :4319\n\nlist:\n  - a: 1\n    b: \"x: y\"\n  - [c, ~, null, 'null']\nempty:\n",
            "1 .web=:4319\n4 .list[0].a=1\n5 .list[0].b=x: y\n6 .list[1][0]=c\n6 .list[1][1]\n\
             6 .list[1][2]\n6 .list[1][3]=null\n7 .empty\n",
        );
        check("a: 1\na: 2\n", "1 .a=1\n2 .a=2\n");
        check("a: &x {b: 1}\nc: *x\n", "1 .a.b=1\n1 .c.b=1\n");
    }

    #[test]
    fn what_is_no_plain_document_is_refused_with_its_line() {
        check_refused("a: 1\n b: 2\n", 2, "no YAML");
        check_refused("a: [1\n", 1, "no YAML");
        check_refused("a: 1\nb: *nobody\n", 2, "no YAML");
        check_refused("a: 1\n---\nb: 2\n", 2, "second document");
        check_refused("\na: !!str 1\n", 2, "tags");
        check_refused("%YAML 1.2\n---\na: 1\n", 1, "no YAML");
        check_refused("? [a]\n: 1\n", 1, "a key must be a plain text");
        check_refused("a: &x [*x]\n", 1, "within its own anchor");
        check_refused(&"[".repeat(20), 1, "no YAML");
    }

    #[test]
    fn aliases_cannot_multiply_without_end() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let nine = vec![format!("*a{}", level - 1); 9].join(", ");
            writeln!(laughs, "a{level}: &a{level} [{nine}]").unwrap();
        }
        check_refused(&laughs, 4, "too much in one document");
        let long = format!(
            "a: &x {}\nb: [{}*x]\n",
            "y".repeat(1000),
            "*x, ".repeat(2000)
        );
        check_refused(&long, 2, "too much in one document");
        // Each holds the one before: deep, not wide.
        let mut chain = "a0: &a0 [x]\n".to_owned();
        for level in 1..20_000 {
            writeln!(chain, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
        }
        assert!(parse(&chain).is_err());
    }

    /// Shapes that parsers of YAML have been slow on. Each is as long as a configuration may be.
    #[test]
    fn no_shape_takes_long() {
        let long = |unit: &str| unit.repeat(256 * 1024 / unit.len());
        let shapes = [
            long("a"),
            long("- "),
            long("? "),
            long(": "),
            long("a: "),
            long("a:\n"),
            long("{}\n"),
            long("[]"),
            long("- a\n"),
            long("'"),
            long("\""),
            long("#"),
            long("\n"),
            long(" "),
            long("\t"),
            long("&a "),
            long("*a "),
            long("!a "),
            long("|\n "),
            long("a\n"),
            long("{a: "),
            long("[a, "),
            long("\\"),
            long("---\n"),
            format!("[{}]", long("a, ")),
            format!("{{{}}}", long("a: b, ")),
            format!("\"{}\"", long("\\n")),
            format!("a: |\n{}", long("  x\n")),
            format!("- {}", long("a\n  ")),
            format!("a: [{}]", long("[],")),
        ];
        for shape in shapes {
            let begun = Instant::now();
            let _ = parse(&shape);
            let start = shape.get(..20).unwrap_or_default();
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{start:?} takes too long"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-a:\\[\\]{}&*!|>'\"%@,?#~ \t\n\r\\\\0é\u{0}\u{85}\u{feff}]{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_characters_are_read_or_refused(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
