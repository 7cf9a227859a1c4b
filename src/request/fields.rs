//! Decoding of one YAML map against a table of its fields: unknown and duplicate keys, wrong shapes
//! and wrong values are collected, never thrown, so that a document's problems come together.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Place, did_you_mean};
use super::quantities;
use super::schema::Field;
use super::tree::{Entry, Node};

/// The problems found so far; shared by every decoder of a document.
#[derive(Debug, Default)]
pub struct Problems {
    list: RefCell<Vec<Diagnostic>>,
}

impl Problems {
    pub fn add(&self, problem: Diagnostic) {
        self.list.borrow_mut().push(problem);
    }

    pub fn error(&self, node: &Node, message: impl Into<String>) {
        self.add(Diagnostic::error(Place::at(node.span.clone()), message));
    }

    pub fn error_with_hint(&self, node: &Node, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Diagnostic::error(Place::at(node.span.clone()), message).hint(hint));
    }

    pub fn has_errors(&self) -> bool {
        self.list.borrow().iter().any(Diagnostic::is_error)
    }

    /// All problems in the order of their places.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|problem| problem.place.span.as_ref().map_or(0, |span| span.start));
        list
    }
}

/// A map that is being decoded. Dropping it without [`Fields::finish`] would lose the unknown keys.
pub struct Fields<'t> {
    pub problems: &'t Problems,
    node: &'t Node,
    path: String,
    table: &'static [Field],
}

impl<'t> Fields<'t> {
    /// `None`, with a problem, where the node is no map. Checks unknown and duplicate keys at once.
    pub fn new(node: &'t Node, path: &str, table: &'static [Field], problems: &'t Problems) -> Option<Self> {
        let Some(entries) = node.entries() else {
            let fields: Vec<_> = table.iter().map(|field| field.name).take(4).collect();
            problems.error_with_hint(
                node,
                format!("{path} has to be a map, not {}", node.kind_name()),
                format!("with fields such as {}", fields.join(", ")),
            );
            return None;
        };
        report_duplicates(entries, path, problems);
        for entry in entries {
            report_unknown(entry, path, table, problems);
        }
        Some(Self { problems, node, path: path.to_owned(), table })
    }

    pub fn node(&self) -> &'t Node {
        self.node
    }

    /// The value of a field; null counts as absent.
    pub fn get(&self, name: &'static str) -> Option<&'t Arc<Node>> {
        debug_assert!(self.table.iter().any(|field| field.name == name), "{name} is not in the table");
        self.node.get(name).filter(|value| !value.is_null())
    }

    pub fn required(&self, name: &'static str) -> Option<&'t Arc<Node>> {
        let found = self.get(name);
        if found.is_none() {
            let at = self.node.span.start;
            let place = Place::at(at..at);
            self.problems.add(Diagnostic::error(place, format!("{}.{name} is missing", self.path)));
        }
        found
    }

    pub fn text(&self, name: &'static str) -> Option<String> {
        self.scalar(name, self.get(name)?).map(str::to_owned)
    }

    /// A file that is read beside the request: relative, whoever reads it resolves it beneath the root.
    pub fn relative_file(&self, name: &'static str, example: &str) -> Option<String> {
        let node = self.get(name)?;
        let path = self.scalar(name, node)?;
        if path.is_empty() || path.starts_with(['/', '~']) || path.contains(['\0', '\n']) {
            let hint = format!(
                "a path relative to this file, such as {example}; the setting read_dirs allows other folders"
            );
            self.wrong(node, name, path, &hint);
            return None;
        }
        Some(path.to_owned())
    }

    pub fn boolean(&self, name: &'static str) -> Option<bool> {
        let node = self.get(name)?;
        match self.scalar(name, node)? {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                let hint = match other.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "1" => "write true",
                    "no" | "off" | "n" | "0" => "write false",
                    _ => "true or false",
                };
                self.wrong(node, name, other, hint);
                None
            }
        }
    }

    pub fn integer(&self, name: &'static str, least: u32, most: u32) -> Option<u32> {
        self.parsed(name, |text| quantities::whole(text, least, most))
    }

    /// A duration in milliseconds, written as `90s`, `10m`, `1h30m`, `500ms`; above zero.
    pub fn duration_ms(&self, name: &'static str) -> Option<u64> {
        let node = self.get(name)?;
        let text = self.scalar(name, node)?;
        match parse_duration_ms(text) {
            Some(ms) => Some(ms),
            None => {
                let hint = if text.parse::<f64>().is_ok() {
                    format!("give it a unit: {text}s")
                } else {
                    "a duration above zero such as 90s, 10m or 1h30m".to_owned()
                };
                self.wrong(node, name, text, &hint);
                None
            }
        }
    }

    /// One of an enum's spellings, exactly; a near miss is suggested.
    pub fn choice<T: Copy>(&self, name: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        let node = self.get(name)?;
        let text = self.scalar(name, node)?;
        if let Some((_, value)) = choices.iter().find(|(spelling, _)| *spelling == text) {
            return Some(*value);
        }
        let all: Vec<_> = choices.iter().map(|(spelling, _)| *spelling).collect();
        let hint =
            did_you_mean(text, all.iter().copied()).unwrap_or_else(|| format!("one of {}", all.join(", ")));
        self.wrong(node, name, text, &hint);
        None
    }

    pub fn list(&self, name: &'static str) -> Option<&'t [Arc<Node>]> {
        let node = self.get(name)?;
        let items = node.items();
        if items.is_none() {
            self.problems
                .error(node, format!("{}.{name} has to be a list, not {}", self.path, node.kind_name()));
        }
        items
    }

    /// A value that `parse` reads; of a bad one it says what would be right.
    pub fn parsed<T>(&self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let node = self.get(name)?;
        self.parse_one(name, node, &parse)
    }

    /// One value or a list of 1 to `most`, each read by `parse`; `None` where any of them is wrong.
    pub fn parsed_list<T>(
        &self,
        name: &'static str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let node = self.get(name)?;
        let Some(items) = node.items() else {
            return self.parse_one(name, node, &parse).map(|value| vec![value]);
        };
        if items.is_empty() || items.len() > most {
            let message = match items.len() {
                0 => format!("{}.{name} is an empty list", self.path),
                count => format!("{}.{name} has {count} entries", self.path),
            };
            self.problems.error_with_hint(node, message, format!("from 1 to {most} entries"));
            return None;
        }
        // Every item is looked at, so that all problems are told.
        let values: Vec<_> = items.iter().map(|item| self.parse_one(name, item, &parse)).collect();
        values.into_iter().collect()
    }

    fn parse_one<T>(
        &self,
        name: &str,
        node: &'t Node,
        parse: &impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.scalar(name, node)?;
        parse(text).inspect_err(|right| self.wrong(node, name, text, right)).ok()
    }

    /// How messages call a field: `spec.load.rate`.
    pub fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// A problem with a field that is there: `spec.load.rate MESSAGE`.
    pub fn refuse(&self, name: &'static str, message: &str, hint: &str) {
        if let Some(node) = self.get(name) {
            self.problems.error_with_hint(node, format!("{}.{name} {message}", self.path), hint);
        }
    }

    /// The same at the field's name, for values that may hold a secret: a problem quotes its place.
    pub fn refuse_unquoted(&self, name: &'static str, message: &str, hint: &str) {
        let entries = self.node.entries().unwrap_or_default();
        if let Some(entry) = entries.iter().rev().find(|entry| entry.key.text() == Some(name)) {
            self.problems.error_with_hint(&entry.key, format!("{}.{name} {message}", self.path), hint);
        }
    }

    /// A field of the design that this version cannot carry out. Refused, because ignoring it would
    /// let somebody believe in a gate that never closes.
    pub fn not_yet(&self, name: &'static str, why: &str) {
        if let Some(node) = self.get(name) {
            self.problems.error_with_hint(
                node,
                format!("{}.{name} is not supported by this version of benchlet", self.path),
                why,
            );
        }
    }

    pub fn wrong(&self, node: &Node, name: &str, text: &str, hint: &str) {
        self.problems.error_with_hint(node, format!("{}.{name} cannot be \"{text}\"", self.path), hint);
    }

    fn scalar(&self, name: &str, node: &'t Node) -> Option<&'t str> {
        let text = node.text();
        if text.is_none() {
            self.problems.error(
                node,
                format!("{}.{name} has to be a single value, not {}", self.path, node.kind_name()),
            );
        }
        text
    }
}

/// Milliseconds of a duration such as `90s`, `10m`, `1h30m`; `None` where it is none or not above zero.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let duration = text.parse::<jiff::SignedDuration>().ok()?;
    u64::try_from(duration.as_millis()).ok().filter(|ms| *ms > 0)
}

/// Keys that stand twice in a map. YAML forbids it, and most readers silently take one of them.
pub fn report_duplicates(entries: &[Entry], path: &str, problems: &Problems) {
    let mut seen = HashSet::new();
    for entry in entries {
        if let Some(key) = entry.key.text()
            && !seen.insert(key)
        {
            problems.error(&entry.key, format!("{path} has \"{key}\" twice"));
        }
    }
}

fn report_unknown(entry: &Entry, path: &str, table: &'static [Field], problems: &Problems) {
    let Some(key) = entry.key.text() else {
        problems.error(&entry.key, format!("a field name of {path} has to be a plain word"));
        return;
    };
    if table.iter().any(|field| field.name == key) {
        return;
    }
    let names = table.iter().map(|field| field.name);
    let hint = did_you_mean(key, names.clone())
        .unwrap_or_else(|| format!("known fields: {}", names.collect::<Vec<_>>().join(", ")));
    problems.error_with_hint(&entry.key, format!("unknown field \"{key}\" in {path}"), hint);
}
