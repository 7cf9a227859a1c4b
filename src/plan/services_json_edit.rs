//! Puts flags into a service's `params` in the text of an LLM-Dock `services.json`, so that every
//! byte outside the touched entries stays. Works on text alone.

use std::sync::Arc;

use crate::request::diagnostic::did_you_mean;
use crate::request::tree::{Entry, Node, parse};

use super::service_edit::{Change, Edit, EditError, FlagChange, Target};

/// The text with the service's `params` changed, and what changed. Values are texts, a bare flag's is
/// empty.
///
/// # Errors
/// Where the text is not readable, or has no such service.
pub fn edit_services_json(source: &str, service: &str, wanted: &[FlagChange]) -> Result<Edit, EditError> {
    let mut edit = Edit { new_text: source.to_owned(), changes: Vec::new() };
    for change in wanted {
        while let Some((text, made)) = next_step(&edit.new_text, service, change)? {
            edit.new_text = text;
            edit.changes.push(made);
        }
    }
    Ok(edit)
}

fn next_step(source: &str, name: &str, wanted: &FlagChange) -> Result<Option<(String, Change)>, EditError> {
    let service = locate(source, name)?;
    let params = service.get("params");
    let entries = params.and_then(|params| params.entries()).unwrap_or_default();
    let key = |entry: &Entry| entry.key.text().unwrap_or_default().to_owned();
    let value = |entry: &Entry| entry.value.text().unwrap_or_default().to_owned();
    let removing = |at: usize| {
        let change = Change { flag: key(&entries[at]), old: Some(value(&entries[at])), new: None };
        Ok(Some((without(source, entries, at), change)))
    };
    if let Some(at) = entries.iter().rposition(|entry| wanted.opposes(&key(entry))) {
        return removing(at);
    }
    let present = entries.iter().rposition(|entry| wanted.names(&key(entry)));
    let new = match (&wanted.target, present) {
        (Target::Absent, None) => return Ok(None),
        (Target::Absent, Some(at)) => return removing(at),
        (Target::Set(new), _) => new.clone().unwrap_or_default(),
    };
    let text = match present {
        Some(at) if value(&entries[at]) == new => return Ok(None),
        Some(at) => {
            let span = entries[at].value.span.clone();
            [&source[..span.start], &quoted(&new), &source[span.end..]].concat()
        }
        None => {
            let Some(flag) = wanted.spellings.first() else {
                return Ok(None);
            };
            let member = |separator: &str| format!("{}{separator}{}", quoted(flag), quoted(&new));
            match (entries.last(), params) {
                (Some(last), _) => appended(source, entries, last, &member),
                (None, Some(params)) => filled(source, params, &member(": ")),
                (None, None) => {
                    let others = service.entries().unwrap_or_default();
                    let member = |separator: &str| {
                        format!("{}{separator}{{{}: {}}}", quoted("params"), quoted(flag), quoted(&new))
                    };
                    match others.last() {
                        Some(last) => appended(source, others, last, &member),
                        None => filled(source, &service, &member(": ")),
                    }
                }
            }
        }
    };
    let change = Change {
        flag: present.map_or_else(|| wanted.spellings[0].clone(), |at| key(&entries[at])),
        old: present.map(|at| value(&entries[at])),
        new: Some(new),
    };
    Ok(Some((text, change)))
}

fn locate(source: &str, name: &str) -> Result<Arc<Node>, EditError> {
    let stream = parse(source);
    let root = match stream.documents.first().map(|document| &document.root) {
        Some(Ok(root)) => root,
        Some(Err(problem)) => return Err(EditError::Unreadable(problem.locate(source).to_string())),
        None => return Err(EditError::Unreadable("it is empty".to_owned())),
    };
    root.get(name).map(Arc::clone).ok_or_else(|| EditError::NoService {
        name: name.to_owned(),
        suggestion: did_you_mean(
            name,
            root.entries().unwrap_or_default().iter().filter_map(|e| e.key.text()),
        ),
    })
}

fn without(source: &str, entries: &[Entry], at: usize) -> String {
    let range = match (entries.get(at + 1), at.checked_sub(1).and_then(|at| entries.get(at))) {
        (Some(next), _) => entries[at].key.span.start..next.key.span.start,
        (None, Some(previous)) => previous.value.span.end..entries[at].value.span.end,
        (None, None) => {
            // The only member: its surrounding blanks go too, so that `{}` stays.
            let before = source[..entries[at].key.span.start].trim_end().len();
            let behind = &source[entries[at].value.span.end..];
            let blanks = behind.len() - behind.trim_start().len();
            before..entries[at].value.span.end + blanks
        }
    };
    [&source[..range.start], &source[range.end..]].concat()
}

/// A member behind the last one, separated as the ones before it are.
fn appended(source: &str, entries: &[Entry], last: &Entry, member: &dyn Fn(&str) -> String) -> String {
    let colon = &source[last.key.span.end..last.value.span.start];
    let gap = match entries.len().checked_sub(2).and_then(|at| entries.get(at)) {
        Some(before) => source[before.value.span.end..last.key.span.start].to_owned(),
        None => {
            let lead = &source[..last.key.span.start];
            format!(",{}", &lead[lead.trim_end().len()..])
        }
    };
    let end = last.value.span.end;
    [&source[..end], &gap, &member(colon), &source[end..]].concat()
}

/// The first member of an empty object, on a line of its own, two spaces deeper than the object's.
fn filled(source: &str, object: &Node, member: &str) -> String {
    let start = source[..object.span.start].rfind('\n').map_or(0, |at| at + 1);
    let line = &source[start..];
    let indent = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
    let newline = if source.contains("\r\n") { "\r\n" } else { "\n" };
    let body = format!("{{{newline}{indent}  {member}{newline}{indent}}}");
    [&source[..object.span.start], &body, &source[object.span.end..]].concat()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../tests/fixtures/services/llm-dock/services.json");

    fn set(spellings: &[&str], value: &str) -> FlagChange {
        FlagChange {
            spellings: spellings.iter().map(|name| (*name).into()).collect(),
            opposites: vec![],
            target: Target::Set((!value.is_empty()).then(|| value.into())),
        }
    }

    fn absent(spelling: &str) -> FlagChange {
        FlagChange { spellings: vec![spelling.into()], opposites: vec![], target: Target::Absent }
    }

    #[test]
    fn a_value_is_replaced_in_the_services_own_spelling_and_nothing_else_differs() {
        let edit =
            edit_services_json(FILE, "llamacpp-qwen3", &[set(&["-b", "--batch-size"], "4096")]).unwrap();
        assert_eq!(
            edit.new_text,
            FILE.replacen("\"--batch-size\": \"512\"", "\"--batch-size\": \"4096\"", 1)
        );
        assert_eq!(
            edit.changes,
            [Change { flag: "--batch-size".into(), old: Some("512".into()), new: Some("4096".into()) }]
        );
    }

    #[test]
    fn an_absent_flag_is_appended_on_a_line_like_the_others() {
        let edit =
            edit_services_json(FILE, "llamacpp-qwen3", &[set(&["-t"], "8"), set(&["-nkvo"], "")]).unwrap();
        let last = "\"env:GGML_CUDA_NO_PINNED\": \"1\"";
        let expected = format!("{last},\n      \"-t\": \"8\",\n      \"-nkvo\": \"\"");
        assert_eq!(edit.new_text, FILE.replacen(last, &expected, 1));
    }

    #[test]
    fn a_removed_flag_takes_its_line_along() {
        let edit = edit_services_json(FILE, "llamacpp-qwen3", &[absent("--batch-size")]).unwrap();
        assert_eq!(edit.new_text, FILE.replacen("      \"--batch-size\": \"512\",\n", "", 1));
    }

    #[test]
    fn empty_and_missing_params_get_their_first_member() {
        let text = "{\n  \"a\": {\n    \"params\": {}\n  },\n  \"b\": {\n    \"port\": 1\n  }\n}\n";
        let a = edit_services_json(text, "a", &[set(&["-b"], "1")]).unwrap().new_text;
        assert_eq!(a, text.replace("{}", "{\n      \"-b\": \"1\"\n    }"));
        let b = edit_services_json(text, "b", &[set(&["-b"], "1")]).unwrap().new_text;
        assert_eq!(b, text.replace("\"port\": 1", "\"port\": 1,\n    \"params\": {\"-b\": \"1\"}"));
        let back = edit_services_json(&a, "a", &[absent("-b")]).unwrap().new_text;
        assert_eq!(back, text);
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let edit =
            edit_services_json(FILE, "llamacpp-qwen3", &[set(&["-b", "--batch-size"], "512")]).unwrap();
        assert_eq!((edit.new_text.as_str(), edit.changes.len()), (FILE, 0));
    }

    #[test]
    fn a_service_that_is_not_there_is_named_with_the_nearest_one() {
        let error = edit_services_json(FILE, "llamacpp-qwen", &[]).err();
        assert_eq!(error, None, "nothing wanted, nothing looked up");
        let error = edit_services_json(FILE, "llamacpp-qwen", &[absent("-b")]).unwrap_err().to_string();
        assert!(error.contains("did you mean \"llamacpp-qwen3\"?"), "{error}");
    }
}
