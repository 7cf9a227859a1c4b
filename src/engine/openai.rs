//! OpenAI's chat and completions, as vLLM, llama.cpp and many others speak them, with what these add:
//! reasoning, usage and timings in every chunk.

use serde::Deserialize;
use serde_json::{Value, json};

use super::piece::{Malformed, Piece, Text, error_words};
use super::usual_chunk;
use super::wire::Ask;
use crate::request::load_test::{Api, Content};
use crate::run::request_record::{ServerTimings, TokenSource};

/// What a dialect adds to OpenAI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    Plain,
    /// Usage in every chunk, `ignore_eos`.
    Vllm,
    /// Timings in every chunk, `ignore_eos`, `cache_prompt`.
    LlamaCpp,
}

pub fn path(api: Api) -> &'static str {
    match api {
        Api::Chat => "/v1/chat/completions",
        Api::Completions => "/v1/completions",
    }
}

pub fn body(ask: &Ask<'_>, api: Api, flavour: Flavour) -> Value {
    let mut body =
        json!({ "max_tokens": ask.max_tokens, "temperature": ask.temperature, "stream": ask.stream });
    if let Some(model) = ask.model {
        body["model"] = model.into();
    }
    match api {
        Api::Chat => body["messages"] = ask.messages(),
        Api::Completions => body["prompt"] = ask.text().into(),
    }
    if ask.stream {
        body["stream_options"] = json!({ "include_usage": true });
    }
    match flavour {
        Flavour::Plain => {}
        Flavour::Vllm => {
            if ask.stream {
                body["stream_options"]["continuous_usage_stats"] = true.into();
            }
            if ask.ignore_eos {
                body["ignore_eos"] = true.into();
            }
        }
        Flavour::LlamaCpp => {
            body["timings_per_token"] = ask.stream.into();
            body["cache_prompt"] = (!ask.cold).into();
            if ask.ignore_eos {
                body["ignore_eos"] = true.into();
            }
        }
    }
    body
}

/// `[DONE]`, a chunk of a stream, or a whole answer.
pub fn piece(data: &[u8]) -> Result<Piece<'_>, Malformed> {
    if data.trim_ascii() == b"[DONE]" {
        return Ok(Piece { last: true, ..Piece::default() });
    }
    usual_chunk::piece(data).map_or_else(|| parsed(data), Ok)
}

/// A chunk or an answer of any form.
pub fn parsed(data: &[u8]) -> Result<Piece<'_>, Malformed> {
    let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|error| Malformed::new(&error, data))?;
    if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
        return Ok(Piece::failed(error_words(&error)));
    }
    // As vLLM reported errors before it took OpenAI's form.
    if chunk.object.is_some_and(|object| object.0 == "error") {
        return Ok(Piece::failed(chunk.message.map(|text| text.0).unwrap_or_default()));
    }
    let mut piece = Piece::default();
    // `usage` counts the first choice only, and only one is asked for.
    if let Some(choice) = chunk.choices.into_iter().flatten().next() {
        if let Some(delta) = choice.delta.or(choice.message) {
            piece.content = delta.content.map(|text| text.0);
            piece.reasoning = delta.reasoning_content.or(delta.reasoning).map(|text| text.0);
            piece.tool = delta.tool_calls.into_iter().flatten().next().and_then(|call| {
                let function = call.function?;
                function.arguments.filter(|text| !text.0.is_empty()).or(function.name).map(|text| text.0)
            });
        }
        if let Some(text) = choice.text {
            piece.content = Some(text.0);
        }
        piece.finish_reason = choice.finish_reason.map(|text| text.0);
    }
    if let Some(timings) = chunk.timings {
        timings.tell(&mut piece);
    }
    if let Some(usage) = chunk.usage {
        piece.tokens_in = usage.prompt_tokens.or(piece.tokens_in);
        piece.tokens_out = usage.completion_tokens.or(piece.tokens_out);
        piece.tokens_cached =
            usage.prompt_tokens_details.and_then(|details| details.cached_tokens).or(piece.tokens_cached);
        piece.source = Some(TokenSource::Usage);
    }
    Ok(piece)
}

#[derive(Deserialize)]
struct Chunk<'d> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'d>>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(borrow, default)]
    object: Option<Text<'d>>,
    #[serde(borrow, default)]
    message: Option<Text<'d>>,
    #[serde(default)]
    timings: Option<Timings>,
}

#[derive(Deserialize)]
struct Choice<'d> {
    #[serde(borrow, default)]
    delta: Option<Delta<'d>>,
    #[serde(borrow, default)]
    message: Option<Delta<'d>>,
    #[serde(borrow, default)]
    text: Option<Text<'d>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'d>>,
}

#[derive(Deserialize)]
struct Delta<'d> {
    #[serde(borrow, default)]
    content: Option<Text<'d>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'d>>,
    #[serde(borrow, default)]
    reasoning: Option<Text<'d>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'d>>>,
}

#[derive(Deserialize)]
struct ToolCall<'d> {
    #[serde(borrow, default)]
    function: Option<Function<'d>>,
}

#[derive(Deserialize)]
struct Function<'d> {
    #[serde(borrow, default)]
    name: Option<Text<'d>>,
    #[serde(borrow, default)]
    arguments: Option<Text<'d>>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

/// llama.cpp's `timings`: `prompt_n` were computed, `cache_n` were in the cache.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Timings {
    #[serde(default)]
    cache_n: Option<u64>,
    #[serde(default)]
    prompt_n: Option<u64>,
    #[serde(default)]
    prompt_ms: Option<f64>,
    #[serde(default)]
    predicted_n: Option<u64>,
    #[serde(default)]
    predicted_ms: Option<f64>,
}

impl Timings {
    pub fn tell(self, piece: &mut Piece<'_>) {
        piece.tokens_in = self.prompt_n.map(|computed| computed + self.cache_n.unwrap_or(0));
        piece.tokens_out = self.predicted_n;
        piece.tokens_cached = self.cache_n;
        piece.source = Some(TokenSource::Engine);
        piece.server = Some(ServerTimings {
            prefill_ms: self.prompt_ms,
            decode_ms: self.predicted_ms,
            cached_tokens: self.cache_n,
        });
    }
}

/// Messages of a prompt, the salt before the first one's text.
pub fn messages(content: &Content, salt: &str) -> Value {
    match content {
        Content::Text(text) => json!([{ "role": "user", "content": format!("{salt}{text}") }]),
        Content::Messages(list) => {
            let told = list.iter().enumerate().map(|(at, message)| {
                let salt = if at == 0 { salt } else { "" };
                json!({ "role": message.role, "content": format!("{salt}{}", message.content) })
            });
            Value::Array(told.collect())
        }
    }
}
