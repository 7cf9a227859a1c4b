//! A file of prompts: JSON Lines, each with `prompt` or `messages`, and with what it asks for itself.

use serde::Deserialize;

use crate::request::load_test::{Content, Message, Prompt};

/// A line that is no prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    #[serde(alias = "maxTokens")]
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    /// For people; not sent.
    #[serde(rename = "id")]
    _id: Option<serde_json::Value>,
}

/// The prompts of a file's text, in its order; empty lines are passed over.
///
/// # Errors
/// Every line that is none, and a file without any.
pub fn parse(text: &str) -> Result<Vec<Prompt>, Vec<BadLine>> {
    let (mut prompts, mut bad) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        match one(text) {
            Ok(prompt) => prompts.push(prompt),
            Err(reason) => bad.push(BadLine { line, reason }),
        }
    }
    if prompts.is_empty() && bad.is_empty() {
        bad.push(BadLine {
            line: 1, reason: "the file has no prompt; write {\"prompt\": \"…\"}".to_owned()
        });
    }
    if bad.is_empty() { Ok(prompts) } else { Err(bad) }
}

fn one(text: &str) -> Result<Prompt, String> {
    let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let content = match (line.prompt, line.messages) {
        (Some(prompt), None) if !prompt.is_empty() => Content::Text(prompt),
        (None, Some(messages)) if !messages.is_empty() => Content::Messages(messages),
        (Some(_), Some(_)) => return Err("it has both prompt and messages; one of them".to_owned()),
        (Some(_), None) => return Err("its prompt is empty".to_owned()),
        (None, Some(_)) => return Err("its messages are empty".to_owned()),
        (None, None) => return Err("it has neither prompt nor messages".to_owned()),
    };
    if line.max_tokens == Some(0) {
        return Err("max_tokens has to be at least 1".to_owned());
    }
    Ok(Prompt { content, max_tokens: line.max_tokens, temperature: line.temperature })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_with_what_they_ask_for() {
        let text = "{\"prompt\":\"a\",\"max_tokens\":5}\n\n{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}],\"temperature\":0.1,\"id\":7}\n";
        let prompts = parse(text).unwrap();
        assert_eq!(
            prompts[0],
            Prompt { content: Content::Text("a".to_owned()), max_tokens: Some(5), temperature: None }
        );
        assert_eq!(prompts[1].temperature, Some(0.1));
    }

    #[test]
    fn every_bad_line_is_named() {
        let bad = parse("{\"prompt\":\"a\"}\nnonsense\n{\"promt\":\"b\"}\n{}\n").unwrap_err();
        assert_eq!(bad.iter().map(|line| line.line).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(bad[1].to_string().contains("unknown field `promt`"), "{}", bad[1]);
        assert!(parse("\n").unwrap_err()[0].reason.contains("no prompt"));
    }
}
