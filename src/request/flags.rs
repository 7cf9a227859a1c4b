//! What a flag of a request may look like, and which of llama-bench's flags are not a request's to
//! set. The mapping to the server's flags is `plan::flag_map`'s.

use serde::{Deserialize, Serialize};

use super::fields::Problems;
use super::tree::{Node, Value};

/// Most flags of one request.
pub const MOST_FLAGS: usize = 50;
/// Longest value of a flag, in characters.
const LONGEST_VALUE: usize = 1024;

/// One flag with its value as the request writes it; an empty value is a bare flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    pub flag: String,
    pub value: String,
}

const OTHER_MODEL: &str = "a request cannot make llama-bench load another model";
const ELSEWHERE: &str = "a request cannot reach other machines";

/// Flags that would load another model, write elsewhere or reach the network, with the reason. The only list
/// of them: what an apply skips it asks here.
const RESERVED: &[(&[&str], &str)] = &[
    (&["-m", "--model"], "the model comes from the service"),
    (&["-mu", "--model-url", "-dr", "--docker-repo", "--offline"], OTHER_MODEL),
    (&["-o", "--output"], "benchlet reads the results as jsonl"),
    (&["-oe", "--output-err"], "benchlet reads progress and errors from there"),
    (&["--list-devices", "--version", "-h", "--help"], "it prints and exits, so nothing would be measured"),
];

/// Spellings that newer builds may add to a family are covered by its beginning.
const RESERVED_FAMILIES: &[(&str, &str)] =
    &[("-hf", OTHER_MODEL), ("--hf", OTHER_MODEL), ("-rpc", ELSEWHERE), ("--rpc", ELSEWHERE)];

/// Why a flag is not a request's to set; `None` where it is. Underscores count as hyphens, as
/// llama-bench has it.
pub fn reserved(flag: &str) -> Option<&'static str> {
    let spelled = if flag.starts_with("--") { flag.replace('_', "-") } else { flag.to_owned() };
    let by_name = RESERVED.iter().find(|(spellings, _)| spellings.contains(&spelled.as_str()));
    let by_family = || RESERVED_FAMILIES.iter().find(|(family, _)| spelled.starts_with(family));
    by_name.map(|(_, reason)| *reason).or_else(|| by_family().map(|(_, reason)| *reason))
}

/// Decodes `params`: a map of flag to value, list of values, or nothing.
pub fn decode(node: &Node, problems: &Problems) -> Vec<Param> {
    let Some(entries) = node.entries() else {
        problems.error_with_hint(
            node,
            format!("spec.params has to be a map of flags, not {}", node.kind_name()),
            "for example -p: 512",
        );
        return Vec::new();
    };
    super::fields::report_duplicates(entries, "spec.params", problems);
    if entries.len() > MOST_FLAGS {
        problems
            .error(node, format!("spec.params has {} flags; at most {MOST_FLAGS} are taken", entries.len()));
    }
    let mut params = Vec::new();
    for entry in entries {
        let Some(flag) = entry.key.text() else {
            problems.error(&entry.key, "a flag has to be a plain word such as -p");
            continue;
        };
        if check_name(flag, &entry.key, entry.value.is_null(), problems)
            && let Some(value) = decode_value(flag, &entry.value, problems)
        {
            params.push(Param { flag: flag.to_owned(), value });
        }
    }
    params
}

fn check_name(flag: &str, key: &Node, bare: bool, problems: &Problems) -> bool {
    if let Some(reason) = reserved(flag) {
        problems.error_with_hint(key, format!("the flag {flag} is reserved"), reason);
        return false;
    }
    if is_flag_name(flag) {
        return true;
    }
    let looks_like_value = flag.starts_with(|c: char| c.is_ascii_digit());
    let hint = if bare && looks_like_value {
        format!("inside braces a comma begins a new entry; for several values write a list: [512, {flag}]")
    } else if flag.starts_with('-') {
        "a flag is - or --, a letter, then letters, digits, - or _".to_owned()
    } else {
        format!("did you mean \"-{flag}\"?")
    };
    problems.error_with_hint(key, format!("\"{flag}\" is not a flag"), hint);
    false
}

/// `-` or `--`, a letter, then letters, digits, `-`, `_`.
pub fn is_flag_name(flag: &str) -> bool {
    let name = flag.strip_prefix("--").or_else(|| flag.strip_prefix('-')).unwrap_or("");
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn decode_value(flag: &str, node: &Node, problems: &Problems) -> Option<String> {
    let value = match &node.value {
        Value::Null => String::new(),
        Value::Scalar(scalar) => scalar.text.clone(),
        Value::List(items) => {
            let mut texts = Vec::new();
            for item in items {
                match item.text() {
                    Some(text) => texts.push(text),
                    None => {
                        problems.error(
                            item,
                            format!("a value of {flag} has to be a single value, not {}", item.kind_name()),
                        );
                        return None;
                    }
                }
            }
            if texts.is_empty() {
                problems.error_with_hint(
                    node,
                    format!("the list of {flag} is empty"),
                    "leave the flag out to use its default",
                );
                return None;
            }
            texts.join(",")
        }
        Value::Map(_) => {
            problems.error_with_hint(
                node,
                format!("{flag} cannot have a map as its value"),
                "a value or a list of values",
            );
            return None;
        }
    };
    if let Some(message) = unfit_value(flag, &value) {
        problems.error(node, message);
        return None;
    }
    Some(value)
}

/// Why a program cannot be given this as a flag's value; `None` where it can.
pub fn unfit_value(flag: &str, value: &str) -> Option<String> {
    if value.chars().count() > LONGEST_VALUE {
        return Some(format!("the value of {flag} is longer than {LONGEST_VALUE} characters"));
    }
    let broken = value.contains(['\0', '\n', '\r']);
    broken.then(|| format!("the value of {flag} has a line break or a NUL in it"))
}
