//! Which files of a repository a request takes, by its patterns and hashes. Pure.

use crate::request::diagnostic::did_you_mean;
use crate::request::model::Model;
use crate::run::reason::{Reason, Refusal};

/// The files to take, by their names in the repository, in its order.
///
/// # Errors
/// A file that the request names and the repository does not have, or patterns that take nothing.
pub fn choose<'a>(model: &Model, listed: &[&'a str]) -> Result<Vec<&'a str>, Refusal> {
    if let Some(missing) = model.files.keys().find(|name| !listed.contains(&name.as_str())) {
        let message = format!("{} has no file {missing}", model.source);
        let hint = did_you_mean(missing, listed.iter().copied());
        let hint = hint.unwrap_or_else(|| format!("it has {}", some_of(listed)));
        return Err(Refusal::new(Reason::ModelNotFound, message).hint(hint));
    }
    let chosen: Vec<&str> = listed.iter().copied().filter(|name| takes(model, name)).collect();
    if chosen.is_empty() {
        let message = match model.include.as_slice() {
            [] => format!("{} has no files", model.source),
            patterns => format!("no file of {} matches {}", model.source, patterns.join(", ")),
        };
        let hint = format!("it has {}", some_of(listed));
        return Err(Refusal::new(Reason::ModelNotFound, message).hint(hint));
    }
    Ok(chosen)
}

/// Whether a file of a repository is one that the model asks for.
pub fn takes(model: &Model, name: &str) -> bool {
    model.include.is_empty()
        || model.files.contains_key(name)
        || model.include.iter().any(|pattern| matches(pattern, name))
}

fn some_of(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    match names {
        [] => "none".to_owned(),
        names if names.len() <= SHOWN => names.join(", "),
        names => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}

/// Whether a name matches a pattern as the hub's own tools take it: `*` is anything, slashes included,
/// `?` one character, `[ab]` and `[!ab]` one of these or none of them; `folder/` is all below it.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut pattern: Vec<char> = pattern.chars().collect();
    if pattern.last() == Some(&'/') {
        pattern.push('*');
    }
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut here) = (0, 0);
    // Where the last star stands, and up to where it has taken the name.
    let mut star: Option<(usize, usize)> = None;
    while here < name.len() {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
                continue;
            }
            Some('?') => Some(at + 1),
            Some('[') => class(&pattern[at..], name[here]).map(|length| at + length),
            Some(literal) => (*literal == name[here]).then_some(at + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => {
                at = next;
                here += 1;
            }
            (None, Some((back, taken))) => {
                star = Some((back, taken + 1));
                at = back + 1;
                here = taken + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// The length of the class that the pattern begins with, where the character is in it. A bracket without
/// its other one is itself.
fn class(pattern: &[char], character: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'!');
    let first = if negated { 2 } else { 1 };
    let Some(end) = pattern.iter().skip(first + 1).position(|c| *c == ']').map(|at| at + first + 1) else {
        return (character == '[').then_some(1);
    };
    let set = &pattern[first..end];
    let mut at = 0;
    let mut found = false;
    while at < set.len() {
        match set.get(at..at + 3) {
            Some([from, '-', to]) => {
                found |= (*from..=*to).contains(&character);
                at += 3;
            }
            Some(_) | None => {
                found |= set[at] == character;
                at += 1;
            }
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::model_source::Source;

    fn model(include: &[&str], files: &[&str]) -> Model {
        Model {
            include: include.iter().map(|pattern| (*pattern).to_owned()).collect(),
            files: files.iter().map(|name| ((*name).to_owned(), "0".repeat(64))).collect(),
            ..Model::of(Source::parse("hf://o/r").unwrap())
        }
    }

    const LISTED: &[&str] = &["README.md", "config.json", "model.safetensors", "original/params.json"];

    #[test]
    fn patterns_take_what_the_hubs_tools_would_take() {
        for (pattern, name, takes) in [
            ("*.json", "config.json", true),
            ("*.json", "original/params.json", true),
            ("*.json", "config.json.bak", false),
            ("model-0000?-of-*.safetensors", "model-00002-of-00004.safetensors", true),
            ("original/", "original/params.json", true),
            ("original/", "params.json", false),
            ("[a-c]onfig.json", "config.json", true),
            ("[!a-c]onfig.json", "config.json", false),
            ("*", "anything/at.all", true),
            ("**a*b**", "xxaxxbxx", true),
            ("a", "ab", false),
            ("", "", true),
            ("[", "[", true),
        ] {
            assert_eq!(matches(pattern, name), takes, "{pattern} {name}");
        }
    }

    #[test]
    fn without_patterns_all_are_taken_and_with_them_also_those_with_a_hash() {
        assert_eq!(choose(&model(&[], &[]), LISTED).unwrap(), LISTED);
        let chosen = choose(&model(&["*.safetensors"], &["config.json"]), LISTED).unwrap();
        assert_eq!(chosen, ["config.json", "model.safetensors"]);
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let said = choose(&model(&["*.gguf"], &[]), LISTED).unwrap_err();
        assert_eq!(said.reason, Reason::ModelNotFound);
        assert!(said.hint.unwrap().contains("model.safetensors"));
        let said = choose(&model(&[], &["modle.safetensors"]), LISTED).unwrap_err();
        assert_eq!(said.hint.as_deref(), Some("did you mean \"model.safetensors\"?"));
    }
}
