//! What the body of a request for tokens asks for, in each of the dialects, and how each of them refuses
//! one that makes no sense. Reads no socket.

use serde::Deserialize;
use serde_json::{Value, json};

/// Tokens where the request names no number, and then the end is the model's own choice.
const DEFAULT_TOKENS: u64 = 16;

/// The paths that make tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// llama.cpp's `/completion`
    LlamaCompletion,
    /// Ollama's `/api/generate`
    OllamaGenerate,
    /// Ollama's `/api/chat`
    OllamaChat,
}

impl Form {
    pub fn of_path(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" | "/chat/completions" => Some(Self::Chat),
            "/v1/completions" => Some(Self::Completions),
            "/completion" | "/completions" => Some(Self::LlamaCompletion),
            "/api/generate" => Some(Self::OllamaGenerate),
            "/api/chat" => Some(Self::OllamaChat),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub model: Option<String>,
    /// Messages are joined, their roles before them. `None`: Ollama is only to load the model.
    pub prompt: Option<String>,
    pub stream: bool,
    /// `usage` at the end of a stream.
    pub usage: bool,
    /// `usage` in each chunk too.
    pub continuous_usage: bool,
    /// llama.cpp's `timings` in each chunk.
    pub timings_per_token: bool,
    pub look_in_cache: bool,
    /// Ollama is to drop the model, and its cache with it.
    pub unload: bool,
    pub tokens: u64,
    /// The number was asked for, so the answer ends for its length.
    pub limited: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub kind: &'static str,
    pub message: String,
}

impl Refused {
    fn bad(message: impl Into<String>) -> Self {
        Self { status: 400, kind: "invalid_request_error", message: message.into() }
    }

    /// The prompt has more tokens than there is room for.
    pub fn too_long(tokens: u64, context: u64) -> Self {
        Self {
            status: 400,
            kind: "exceed_context_size_error",
            message: format!(
                "request ({tokens} tokens) exceeds the available context size ({context} tokens)"
            ),
        }
    }

    /// The error that the simulation was asked for.
    pub fn on_purpose() -> Self {
        Self { status: 500, kind: "server_error", message: "simulated failure".to_owned() }
    }

    /// The body as the path's dialect words it.
    pub fn body(&self, path: &str) -> String {
        let Self { status, kind, message } = self;
        let body = if path.starts_with("/api/") {
            json!({ "error": message })
        } else if path.starts_with("/v1/") {
            json!({ "error": { "message": message, "type": kind, "param": null, "code": status } })
        } else {
            json!({ "error": { "code": status, "message": message, "type": kind } })
        };
        body.to_string()
    }
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    prompt: Option<Value>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    n_predict: Option<i64>,
    options: Option<OllamaOptions>,
    cache_prompt: Option<bool>,
    timings_per_token: Option<bool>,
    keep_alive: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    role: Option<String>,
    content: Option<Value>,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

#[derive(Deserialize)]
struct OllamaOptions {
    num_predict: Option<i64>,
}

impl Asked {
    /// Reads a body.
    ///
    /// # Errors
    /// It is no JSON, or lacks what the path needs.
    pub fn read(form: Form, body: &[u8]) -> Result<Self, Refused> {
        let body: Body = serde_json::from_slice(body)
            .map_err(|error| Refused::bad(format!("the body is not as it has to be: {error}")))?;
        let ollama = matches!(form, Form::OllamaGenerate | Form::OllamaChat);
        let prompt = match form {
            Form::Chat => Some(join(body.messages.ok_or_else(|| Refused::bad("'messages' is required"))?)),
            Form::Completions | Form::LlamaCompletion => {
                let prompt = body.prompt.ok_or_else(|| Refused::bad("'prompt' is required"))?;
                Some(text_of(&prompt))
            }
            Form::OllamaGenerate => body.prompt.as_ref().map(text_of).filter(|prompt| !prompt.is_empty()),
            Form::OllamaChat => body.messages.filter(|messages| !messages.is_empty()).map(join),
        };
        let limit = match form {
            Form::Chat => body.max_completion_tokens.or(body.max_tokens),
            Form::Completions => body.max_tokens,
            Form::LlamaCompletion => body.n_predict.or(body.max_tokens),
            Form::OllamaGenerate | Form::OllamaChat => body.options.and_then(|options| options.num_predict),
        };
        if let (Form::Chat | Form::Completions, Some(limit)) = (form, limit)
            && limit < 1
        {
            return Err(Refused::bad(format!("max_tokens must be at least 1, got {limit}.")));
        }
        // The others take a negative number for no limit.
        let limit = limit.and_then(|limit| u64::try_from(limit).ok());
        let stream_options = body.stream_options.unwrap_or_default();
        let usage = stream_options.include_usage == Some(true);
        Ok(Self {
            model: body.model,
            unload: ollama && body.keep_alive.is_some_and(|time| time == 0 || time == "0"),
            prompt,
            stream: body.stream.unwrap_or(ollama),
            usage,
            continuous_usage: usage && stream_options.continuous_usage_stats == Some(true),
            timings_per_token: body.timings_per_token == Some(true),
            look_in_cache: body.cache_prompt != Some(false),
            tokens: limit.unwrap_or(DEFAULT_TOKENS),
            limited: limit.is_some(),
        })
    }
}

fn join(messages: Vec<Message>) -> String {
    let mut prompt = String::new();
    for message in messages {
        prompt.push_str(message.role.as_deref().unwrap_or("user"));
        prompt.push('\n');
        prompt.push_str(&message.content.as_ref().map(text_of).unwrap_or_default());
        prompt.push('\n');
    }
    prompt
}

/// The text of a prompt, or of a message's parts. Token ids stand for themselves.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text_of).collect::<Vec<_>>().join(" "),
        Value::Object(part) => part.get("text").map(text_of).unwrap_or_default(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_takes_its_own_name_for_the_number_of_tokens() {
        for (form, body) in [
            (Form::Chat, r#"{"messages":[],"max_tokens":7}"#),
            (Form::Chat, r#"{"messages":[],"max_completion_tokens":7,"max_tokens":9}"#),
            (Form::Completions, r#"{"prompt":"x","max_tokens":7}"#),
            (Form::LlamaCompletion, r#"{"prompt":"x","n_predict":7}"#),
            (Form::OllamaGenerate, r#"{"prompt":"x","options":{"num_predict":7}}"#),
            (Form::OllamaChat, r#"{"messages":[{"role":"user","content":"x"}],"options":{"num_predict":7}}"#),
        ] {
            let asked = Asked::read(form, body.as_bytes()).unwrap();
            assert_eq!((asked.tokens, asked.limited), (7, true), "{body}");
        }
        let asked = Asked::read(Form::LlamaCompletion, br#"{"prompt":"x","n_predict":-1}"#).unwrap();
        assert_eq!((asked.tokens, asked.limited), (16, false));
    }

    #[test]
    fn ollama_streams_unless_told_otherwise_and_the_others_do_not() {
        let stream = |form, body: &str| Asked::read(form, body.as_bytes()).unwrap().stream;
        assert!(stream(Form::OllamaGenerate, r#"{"prompt":"x"}"#));
        assert!(!stream(Form::OllamaGenerate, r#"{"prompt":"x","stream":false}"#));
        assert!(!stream(Form::Completions, r#"{"prompt":"x"}"#));
    }

    #[test]
    fn the_text_of_a_prompt_is_found_in_all_its_shapes() {
        let prompt = |form, body: &str| Asked::read(form, body.as_bytes()).unwrap().prompt;
        let parts = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"one"}]}]}"#;
        assert_eq!(prompt(Form::Chat, parts).unwrap(), "user\none\n");
        assert_eq!(prompt(Form::Completions, r#"{"prompt":["a","b"]}"#).unwrap(), "a b");
        assert_eq!(prompt(Form::LlamaCompletion, r#"{"prompt":[1,2]}"#).unwrap(), "1 2");
        assert_eq!(prompt(Form::OllamaGenerate, r#"{"model":"x"}"#), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_the_words_of_its_dialect() {
        for (form, path, body, expected) in [
            (Form::Chat, "/v1/chat/completions", "{", r#""type":"invalid_request_error""#),
            (Form::Chat, "/v1/chat/completions", "{}", "'messages' is required"),
            (Form::LlamaCompletion, "/completion", "{}", "'prompt' is required"),
            (Form::Completions, "/v1/completions", r#"{"prompt":"x","max_tokens":0}"#, "at least 1"),
            (Form::OllamaChat, "/api/chat", "[]", r#"{"error":"#),
        ] {
            let refused = Asked::read(form, body.as_bytes()).unwrap_err();
            assert_eq!(refused.status, 400);
            assert!(refused.body(path).contains(expected), "{}", refused.body(path));
        }
    }
}
