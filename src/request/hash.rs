//! What makes two specs the same: `specHash` over what is measured, and a hash over the whole spec
//! that tells a semantic change from a comment. Both from the spec as written: scalars as text,
//! keys sorted, no defaults filled in.

use sha2::{Digest, Sha256};

use super::tree::{Node, Value};

/// Fields that steer a run without changing what it measures.
const CONTROL: &[&str] = &[
    "suspend",
    "state",
    "rerun",
    "onChange",
    "onDelete",
    "timeout",
    "backoffLimit",
    "gate",
    "apply",
    "report",
];

/// `v1:` and the SHA-256 of kind and spec without the control fields.
pub fn spec_hash(kind: &str, spec: &Node) -> String {
    digest(kind, spec, |key| !CONTROL.contains(&key))
}

/// The same over the whole spec: any change of it makes a new generation.
pub fn semantic_hash(kind: &str, spec: &Node) -> String {
    digest(kind, spec, |_| true)
}

fn digest(kind: &str, spec: &Node, keep: impl Fn(&str) -> bool) -> String {
    let mut canonical = String::new();
    push_text(&mut canonical, 's', kind);
    push_map(&mut canonical, spec, &keep);
    let hash = Sha256::digest(canonical.as_bytes());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1:{hex}")
}

fn push_map(out: &mut String, node: &Node, keep: &impl Fn(&str) -> bool) {
    let entries = node.merged();
    let mut kept: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry.key.text().map(|key| (key, &entry.value)))
        .filter(|(key, _)| keep(key))
        .collect();
    kept.sort_by_key(|(key, _)| *key);
    out.push('{');
    for (key, value) in kept {
        push_text(out, 'k', key);
        push_value(out, value);
    }
    out.push('}');
}

fn push_value(out: &mut String, node: &Node) {
    match &node.value {
        Value::Null => out.push('~'),
        // An empty text and nothing say the same everywhere in this format.
        Value::Scalar(scalar) if scalar.text.is_empty() => out.push('~'),
        Value::Scalar(scalar) => push_text(out, 's', &scalar.text),
        Value::List(items) => {
            out.push('[');
            for item in items {
                push_value(out, item);
            }
            out.push(']');
        }
        Value::Map(_) => push_map(out, node, &|_| true),
    }
}

/// Texts carry their length, so that no text can look like structure.
fn push_text(out: &mut String, tag: char, text: &str) {
    out.push(tag);
    out.push_str(&text.len().to_string());
    out.push(':');
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tree;

    fn hash(text: &str) -> String {
        let stream = tree::parse(text);
        spec_hash("LlamaBench", stream.documents[0].root.as_ref().unwrap())
    }

    #[test]
    fn comments_whitespace_and_key_order_do_not_change_what_is_measured() {
        let plain = hash("service: a\nparams: { -p: 512, -fa: on }\n");
        assert_eq!(plain, hash("# why\nparams:\n    -fa: \"on\"   # flash\n    -p: 512\nservice: a\n"));
    }

    #[test]
    fn control_fields_do_not_change_what_is_measured() {
        let plain = hash("service: a\n");
        assert_eq!(
            plain,
            hash("service: a\nsuspend: true\ntimeout: 5m\nrerun: x\napply: { when: Succeeded }\n")
        );
        assert_ne!(plain, hash("service: a\nlaunches: 2\n"));
    }

    #[test]
    fn scalars_count_as_they_are_written() {
        assert_ne!(hash("params: { -p: 512 }"), hash("params: { -p: 0512 }"));
        assert_ne!(hash("params: { -b: [1, 2] }"), hash("params: { -b: \"1,2\" }"));
        assert_eq!(hash("params: { -nkvo: }"), hash("params: { -nkvo: \"\" }"));
    }

    #[test]
    fn control_names_deeper_down_are_measured() {
        assert_ne!(hash("params: { timeout: 1 }"), hash("params: { timeout: 2 }"));
    }
}
