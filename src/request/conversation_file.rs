//! Conversations as data: a file of them, or a list in a request, to conversations that can be held. Reads no
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::conversation::{Conversation, Document, Expect, Turn};
use super::conversation_schema::{
    DOCUMENT, EXPECT, FILE, GENERATE, MOST_CONTEXT, MOST_CONVERSATIONS, MOST_TURNS, ONE, TURN,
};
use super::diagnostic::{Diagnostic, Located, did_you_mean};
use super::fields::{Fields, Problems};
use super::load_test_load::tokens;
use super::load_test_size::{MOST_ENTRIES, MOST_TOKENS};
use super::load_test_targets::name as word;
use super::tree::{self, Node, Stream, Value};

/// Longest name, in characters.
const LONGEST_NAME: usize = 128;
/// Before the path of what stands at a file's head.
const WHOLE: &str = "the file.";
const DEFAULT_DEPTH: u32 = 50;

/// Whether a YAML file has conversations and is no request, though its name may be one's.
pub fn is_one(stream: &Stream) -> bool {
    let is_data = |root: &Node| {
        root.get("conversations").is_some() && root.get("kind").is_none() && root.get("apiVersion").is_none()
    };
    let mut roots = stream.documents.iter().map(|document| document.root.as_ref());
    !stream.documents.is_empty() && roots.all(|root| root.is_ok_and(|root| is_data(root)))
}

/// The conversations of a file's text.
///
/// # Errors
/// Every problem with its place.
pub fn parse(text: &str) -> Result<Vec<Conversation>, Vec<Located>> {
    check(text).map_err(|problems| problems.iter().map(|problem| problem.locate(text)).collect())
}

/// The same with problems that are not located yet.
///
/// # Errors
/// Every problem.
pub fn check(text: &str) -> Result<Vec<Conversation>, Vec<Diagnostic>> {
    let stream = tree::parse(text);
    let mut problems = Vec::new();
    let collected = Problems::default();
    let mut all = Vec::new();
    for document in &stream.documents {
        match &document.root {
            Ok(root) => {
                let fields = Fields::new(root, WHOLE.trim_end_matches('.'), FILE, &collected);
                let found = fields.and_then(|fields| {
                    fields.required("conversations")?;
                    list(&fields, "conversations")
                });
                all.extend(found.into_iter().flatten());
            }
            Err(problem) => problems.push(problem.clone()),
        }
    }
    problems.extend(collected.into_sorted());
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(all)
}

/// The conversations in a field that is a list of them.
pub fn list(fields: &Fields<'_>, name: &'static str) -> Option<Vec<Conversation>> {
    let items = fields.list(name)?;
    if items.is_empty() || items.len() > MOST_CONVERSATIONS {
        let hint = format!("from 1 to {MOST_CONVERSATIONS}");
        fields.refuse(name, &format!("has {} conversations", items.len()), &hint);
        return None;
    }
    let path = fields.path_of(name);
    // At the head of a file nobody needs to be told which.
    let path = path.strip_prefix(WHOLE).unwrap_or(&path);
    let read: Vec<Option<Conversation>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| conversation(item, &format!("{path}[{index}]"), fields.problems))
        .collect();
    let mut names = BTreeSet::new();
    for (item, one) in items.iter().zip(&read) {
        if let Some(one) = one
            && !names.insert(one.name.clone())
        {
            let at = item.get("name").unwrap_or(item);
            let message = format!("two conversations have the name \"{}\"", one.name);
            fields.problems.error_with_hint(at, message, "results are told apart by it");
        }
    }
    read.into_iter().collect()
}

fn conversation(node: &Node, path: &str, problems: &Problems) -> Option<Conversation> {
    let fields = Fields::new(node, path, ONE, problems)?;
    let name = fields.required("name").and_then(|_| fields.parsed("name", name));
    let documents = documents(&fields);
    let turns = fields.required("turns").and_then(|_| turns(&fields, &documents));
    let system = match fields.get("system") {
        Some(node) => Some(said(node, "system", &fields)?),
        None => None,
    };
    Some(Conversation {
        name: name?,
        description: fields.text("description").unwrap_or_default(),
        tags: fields.parsed_list("tags", MOST_ENTRIES, word).unwrap_or_default(),
        expected_tokens: fields.integer("expectedTokens", 1, MOST_CONTEXT),
        system,
        max_tokens: fields.parsed("maxTokens", tokens),
        turns: turns?,
        documents,
    })
}

fn name(text: &str) -> Result<String, String> {
    let good = text.chars().count() <= LONGEST_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    good.then(|| text.to_owned()).ok_or_else(|| {
        format!("letters, digits, -, _ and ., beginning with a letter or digit, at most {LONGEST_NAME}")
    })
}

/// A text that says something.
fn said(node: &Node, name: &'static str, fields: &Fields<'_>) -> Option<String> {
    let text = fields.text(name)?;
    if text.trim().is_empty() {
        fields.problems.error(node, format!("{} says nothing", fields.path_of(name)));
        return None;
    }
    Some(text)
}

fn documents(fields: &Fields<'_>) -> BTreeMap<String, Document> {
    let Some(node) = fields.get("documents") else { return BTreeMap::new() };
    let path = fields.path_of("documents");
    let Some(entries) = node.entries() else {
        let message = format!("{path} has to be a map, not {}", node.kind_name());
        fields.problems.error_with_hint(node, message, "documents: { handbook: a text }");
        return BTreeMap::new();
    };
    super::fields::report_duplicates(entries, &path, fields.problems);
    let mut all = BTreeMap::new();
    let mut generated = 0u64;
    for entry in entries {
        let Some(name) = entry.key.text() else {
            fields.problems.error(&entry.key, format!("a name of {path} has to be a plain word"));
            continue;
        };
        let found = document(&entry.value, &format!("{path}.{name}"), fields.problems);
        if let Some(Document::Generated { tokens, .. }) = &found {
            generated = generated.saturating_add(u64::from(*tokens));
        }
        // One that is wrong stays known, so that turns that name it are not blamed as well.
        all.insert(name.to_owned(), found.unwrap_or_else(|| Document::Text(String::new())));
    }
    if generated > u64::from(MOST_TOKENS) {
        let message = format!("{path} would be {generated} generated tokens");
        fields.problems.error_with_hint(node, message, format!("at most {MOST_TOKENS} in all"));
    }
    all
}

fn document(node: &Node, path: &str, problems: &Problems) -> Option<Document> {
    if let Value::Scalar(scalar) = &node.value {
        if scalar.text.trim().is_empty() {
            problems.error(node, format!("{path} says nothing"));
        }
        return Some(Document::Text(scalar.text.clone()));
    }
    let fields = Fields::new(node, path, DOCUMENT, problems)?;
    let inner = fields.required("generate")?;
    let fields = Fields::new(inner, &fields.path_of("generate"), GENERATE, problems)?;
    fields.required("tokens")?;
    Some(Document::Generated {
        tokens: fields.integer("tokens", 1, MOST_TOKENS)?,
        needle: fields.text("needle"),
        depth_percent: fields.integer("depth", 0, 100).unwrap_or(DEFAULT_DEPTH),
    })
}

fn turns(fields: &Fields<'_>, documents: &BTreeMap<String, Document>) -> Option<Vec<Turn>> {
    let items = fields.list("turns")?;
    if items.is_empty() || items.len() > MOST_TURNS {
        let hint = format!("from 1 to {MOST_TURNS}");
        fields.refuse("turns", &format!("has {} turns", items.len()), &hint);
        return None;
    }
    let path = fields.path_of("turns");
    let mut inside = BTreeSet::new();
    let read: Vec<Option<Turn>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| turn(item, &format!("{path}[{index}]"), fields.problems, documents, &mut inside))
        .collect();
    read.into_iter().collect()
}

/// `inside` are the documents that are in the context.
fn turn(
    node: &Arc<Node>,
    path: &str,
    problems: &Problems,
    documents: &BTreeMap<String, Document>,
    inside: &mut BTreeSet<String>,
) -> Option<Turn> {
    let fields = Fields::new(node, path, TURN, problems)?;
    let user = fields.required("user").and_then(|node| said(node, "user", &fields));
    let take = fields.parsed_list("take", MOST_ENTRIES, word).unwrap_or_default();
    for name in &take {
        if !inside.remove(name) {
            let hint = "put it in at an earlier turn";
            fields.refuse("take", &format!("names {name}, which is not in the context"), hint);
        }
    }
    let put = fields.parsed_list("put", MOST_ENTRIES, word).unwrap_or_default();
    for name in &put {
        if !documents.contains_key(name) {
            let hint = did_you_mean(name, documents.keys().map(String::as_str))
                .unwrap_or_else(|| "describe it in the conversation's documents".to_owned());
            fields.refuse("put", &format!("names {name}, which is none of the documents"), &hint);
        } else if !inside.insert(name.clone()) {
            fields.refuse(
                "put",
                &format!("names {name}, which is in the context already"),
                "take it out first",
            );
        }
    }
    let expect = match fields.get("expect") {
        Some(node) => Some(expectation(node, &fields.path_of("expect"), problems)?),
        None => None,
    };
    Some(Turn { user: user?, put, take, max_tokens: fields.parsed("maxTokens", tokens), expect })
}

fn expectation(node: &Node, path: &str, problems: &Problems) -> Option<Expect> {
    let fields = Fields::new(node, path, EXPECT, problems)?;
    match (fields.get("contains"), fields.get("matches")) {
        (Some(node), None) => said(node, "contains", &fields).map(Expect::Contains),
        (None, Some(_)) => {
            let pattern = fields.parsed("matches", |text| {
                let compiled = regex::Regex::new(text).map(|_| text.to_owned());
                compiled.map_err(|error| {
                    let words = error.to_string();
                    words.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
                })
            })?;
            Some(Expect::Matches(pattern))
        }
        (Some(_), Some(_)) | (None, None) => {
            let message = format!("{path} has to have either contains or matches");
            problems.error_with_hint(node, message, "contains: words, or matches: a regular expression");
            None
        }
    }
}
