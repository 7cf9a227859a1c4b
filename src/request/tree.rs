//! Located YAML: one pass over a source text gives a tree in which every scalar keeps its raw
//! text, every node its byte span, and every mapping its duplicate keys.
//!
//! Owns the bounds on untrusted input (depth, nodes after alias expansion). Knows nothing of
//! requests or compose files; those decode from the tree and collect their own problems.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::diagnostic::{Diagnostic, Place};

/// Deepest nesting accepted. A request needs six levels, a compose file about as many.
pub const MAX_DEPTH: usize = 64;
/// Most nodes of one document, counted after aliases are expanded, so that an alias bomb stays small.
pub const MAX_NODES: usize = 20_000;

/// A value with the place it was written at.
#[derive(Debug, Clone)]
pub struct Node {
    pub span: Range<usize>,
    /// Name of the alias's target was followed to get here: the span is then the anchor's, and
    /// an edit there would change other places too.
    pub via_alias: bool,
    /// Defined with an anchor, so that other places may refer to it.
    pub anchored: bool,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `~` or `null`, unquoted.
    Null,
    Scalar(Scalar),
    List(Vec<Arc<Node>>),
    Map(Vec<Entry>),
}

/// A scalar as its author wrote it: `on` stays `on`, `099` stays `099`.
#[derive(Debug, Clone)]
pub struct Scalar {
    pub text: String,
    pub style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    /// A `|` block.
    Literal,
    /// A `>` block.
    Folded,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Arc<Node>,
    pub value: Arc<Node>,
}

/// One document of a stream: its tree, or what kept it from having one.
#[derive(Debug, Clone)]
pub struct Document {
    /// Position in the stream, from 0.
    pub index: usize,
    pub root: Result<Arc<Node>, Diagnostic>,
}

/// A stream's documents in order. After a syntax error nothing further is reported, because what
/// follows is unreadable rather than absent: `broken` says so.
#[derive(Debug, Clone)]
pub struct Stream {
    pub documents: Vec<Document>,
    pub broken: bool,
}

impl Node {
    /// The scalar's text; `None` for null, lists and maps.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::Null | Value::Scalar(_) | Value::List(_) => None,
        }
    }

    pub fn items(&self) -> Option<&[Arc<Node>]> {
        match &self.value {
            Value::List(items) => Some(items),
            Value::Null | Value::Scalar(_) | Value::Map(_) => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value of a key; of duplicates the last one. Follows no merge key: see [`Node::merged`].
    pub fn get(&self, key: &str) -> Option<&Arc<Node>> {
        self.entries()?.iter().rev().find(|entry| entry.key.text() == Some(key)).map(|entry| &entry.value)
    }

    /// The entries of a map with `<<` merges resolved as YAML 1.1 does: own keys win, then the
    /// first merged map that has the key. Entries that came in by a merge are `via_alias`.
    pub fn merged(&self) -> Vec<Entry> {
        let mut result: Vec<Entry> = Vec::new();
        self.merge_into(&mut result, 0);
        result
    }

    fn merge_into(&self, result: &mut Vec<Entry>, depth: usize) {
        let Some(entries) = self.entries() else {
            return;
        };
        if depth > MAX_DEPTH {
            return;
        }
        for entry in entries.iter().filter(|entry| !is_merge_key(entry)) {
            let name = entry.key.text();
            match result.iter().position(|known| known.key.text() == name) {
                None => result.push(entry.clone()),
                // A duplicate within one map: the last wins, as compose has it.
                Some(at) if depth == 0 => result[at] = entry.clone(),
                Some(_) => {}
            }
        }
        for entry in entries.iter().filter(|entry| is_merge_key(entry)) {
            match &entry.value.value {
                Value::Map(_) => entry.value.merge_into(result, depth + 1),
                Value::List(items) => {
                    for item in items {
                        item.merge_into(result, depth + 1);
                    }
                }
                Value::Null | Value::Scalar(_) => {}
            }
        }
    }

    /// What kind of value this is, in words for an error message.
    pub fn kind_name(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a scalar",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

fn is_merge_key(entry: &Entry) -> bool {
    matches!(&entry.key.value, Value::Scalar(s) if s.text == "<<" && s.style == Style::Plain)
}

/// Reads every document of a YAML stream.
pub fn parse(source: &str) -> Stream {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(source, options);
    let mut documents = Vec::new();
    let mut builder: Option<Builder<'_>> = None;
    loop {
        let (event, span) = match parser.next_event() {
            None => return Stream { documents, broken: false },
            Some(Ok(next)) => next,
            Some(Err(error)) => {
                let index = documents.len();
                documents.push(Document { index, root: Err(syntax_error(source, &error)) });
                return Stream { documents, broken: true };
            }
        };
        match event {
            Event::DocumentStart(..) => builder = Some(Builder::new(source)),
            Event::DocumentEnd => {
                if let Some(finished) = builder.take() {
                    let index = documents.len();
                    documents.push(Document { index, root: finished.finish(span_range(&span)) });
                }
            }
            Event::StreamEnd => return Stream { documents, broken: false },
            other => {
                if let Some(builder) = &mut builder {
                    builder.take_event(other, &span);
                }
            }
        }
    }
}

fn syntax_error(source: &str, error: &ScanError) -> Diagnostic {
    let at = error.marker().byte_offset().unwrap_or(source.len()).min(source.len());
    Diagnostic::error(Place::at(at..at), format!("not readable as YAML: {}", plain_reason(error)))
        .hint("requests behind this place are not read until it is mended")
}

fn plain_reason(error: &ScanError) -> String {
    let full = error.to_string();
    // The parser appends its own position; ours is printed with the source line.
    match full.find(" at byte ").or_else(|| full.find(" at char ")).or_else(|| full.find(" at line ")) {
        Some(cut) => full[..cut].to_owned(),
        None => full,
    }
}

fn span_range(span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or(0..0)
}

enum Open {
    List { start: usize, anchor: usize, nodes_before: usize, items: Vec<Arc<Node>> },
    Map { start: usize, anchor: usize, nodes_before: usize, entries: Vec<Entry>, key: Option<Arc<Node>> },
}

struct Builder<'s> {
    source: &'s str,
    open: Vec<Open>,
    root: Option<Arc<Node>>,
    /// Anchored nodes with the number of nodes that an alias to them stands for.
    anchors: HashMap<usize, (Arc<Node>, usize)>,
    nodes: usize,
    problem: Option<Diagnostic>,
}

impl<'s> Builder<'s> {
    fn new(source: &'s str) -> Self {
        Self { source, open: Vec::new(), root: None, anchors: HashMap::new(), nodes: 0, problem: None }
    }

    fn take_event(&mut self, event: Event<'_>, span: &Span) {
        if self.problem.is_some() {
            return;
        }
        let range = span_range(span);
        match event {
            Event::Scalar(text, style, anchor, _tag) => {
                let nodes_before = self.nodes;
                self.add(range, scalar_value(text.into_owned(), style), anchor, nodes_before);
            }
            Event::SequenceStart(_, anchor, _) => {
                let nodes_before = self.nodes;
                self.open.push(Open::List { start: range.start, anchor, nodes_before, items: Vec::new() });
            }
            Event::MappingStart(_, anchor, _) => {
                let nodes_before = self.nodes;
                let (start, entries, key) = (range.start, Vec::new(), None);
                self.open.push(Open::Map { start, anchor, nodes_before, entries, key });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range),
            Event::Alias(id) => self.add_alias(id, range),
            // Stream marks and presentation (comments, anchor names): no values. The parser's enum may
            // grow, so this one arm cannot be spelled out.
            _ => {}
        }
    }

    fn add_alias(&mut self, id: usize, range: Range<usize>) {
        let Some((target, size)) = self.anchors.get(&id) else {
            self.problem =
                Some(Diagnostic::error(Place::at(range), "this alias refers to the node that it stands in"));
            return;
        };
        let (size, node) = (*size, Node { via_alias: true, ..(**target).clone() });
        self.count(size, &range);
        self.attach(Arc::new(node));
    }

    fn close(&mut self, end: Range<usize>) {
        match self.open.pop() {
            Some(Open::List { start, anchor, nodes_before, items }) => {
                let span = self.trimmed(start, end, items.last().map(|item| item.span.end));
                self.add(span, Value::List(items), anchor, nodes_before);
            }
            Some(Open::Map { start, anchor, nodes_before, entries, key: _ }) => {
                let last = entries.last().map(|entry| entry.value.span.end.max(entry.key.span.end));
                let span = self.trimmed(start, end, last);
                self.add(span, Value::Map(entries), anchor, nodes_before);
            }
            None => {}
        }
    }

    /// A block collection's end event stands at the next token, perhaps lines below: cut it back
    /// to its last child. A flow collection's end is its bracket.
    fn trimmed(&self, start: usize, end: Range<usize>, last_child: Option<usize>) -> Range<usize> {
        let bracketed =
            self.source[..end.end.min(self.source.len())].ends_with([']', '}']) && end.end > end.start;
        let stop = if bracketed { end.end } else { last_child.unwrap_or(end.start) };
        start..stop.max(start)
    }

    fn add(&mut self, span: Range<usize>, value: Value, anchor: usize, nodes_before: usize) {
        self.count(1, &span);
        let size = self.nodes - nodes_before;
        let node = Arc::new(Node { span, via_alias: false, anchored: anchor != 0, value });
        if anchor != 0 {
            self.anchors.insert(anchor, (Arc::clone(&node), size));
        }
        self.attach(node);
    }

    fn attach(&mut self, node: Arc<Node>) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(name) => entries.push(Entry { key: name, value: node }),
            },
        }
    }

    fn count(&mut self, nodes: usize, at: &Range<usize>) {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES && self.problem.is_none() {
            self.problem = Some(Diagnostic::error(
                Place::at(at.clone()),
                format!("the document has more than {MAX_NODES} values once its aliases are expanded"),
            ));
        }
    }

    fn finish(self, end: Range<usize>) -> Result<Arc<Node>, Diagnostic> {
        match self.problem {
            Some(problem) => Err(problem),
            None => Ok(self.root.unwrap_or_else(|| {
                Arc::new(Node { span: end, via_alias: false, anchored: false, value: Value::Null })
            })),
        }
    }
}

fn scalar_value(text: String, style: ScalarStyle) -> Value {
    let style = match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    };
    if style == Style::Plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar(Scalar { text, style })
}
