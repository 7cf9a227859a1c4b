//! Ollama's `/api/chat` and `/api/generate`: a JSON value a line, counters in the last, times in
//! nanoseconds.

use serde::Deserialize;
use serde_json::{Value, json};

use super::piece::{Malformed, Piece, Text};
use super::wire::Ask;
use crate::request::load_test::Api;
use crate::run::request_record::{ServerTimings, TokenSource};

pub fn path(api: Api) -> &'static str {
    match api {
        Api::Chat => "/api/chat",
        Api::Completions => "/api/generate",
    }
}

pub fn body(ask: &Ask<'_>, api: Api) -> Value {
    let mut body = json!({
        "stream": ask.stream,
        "options": { "num_predict": ask.max_tokens, "temperature": ask.temperature },
    });
    if let Some(model) = ask.model {
        body["model"] = model.into();
    }
    match api {
        Api::Chat => body["messages"] = ask.messages(),
        Api::Completions => {
            body["prompt"] = ask.text().into();
            if ask.rendered {
                // Without it the model's own template goes around it once more.
                body["raw"] = true.into();
            }
        }
    }
    body
}

pub fn piece(data: &[u8]) -> Result<Piece<'_>, Malformed> {
    let line: Line<'_> = serde_json::from_slice(data).map_err(|error| Malformed::new(&error, data))?;
    if let Some(error) = line.error {
        return Ok(Piece::failed(error.0));
    }
    let mut piece = Piece { last: line.done.unwrap_or(false), ..Piece::default() };
    let message = line.message.unwrap_or_default();
    piece.content = line.response.or(message.content).map(|text| text.0);
    piece.reasoning = line.thinking.or(message.thinking).map(|text| text.0);
    if piece.last {
        piece.finish_reason = Some(line.done_reason.map_or_else(|| "stop".into(), |text| text.0));
        piece.tokens_in = line.prompt_eval_count;
        piece.tokens_out = line.eval_count;
        piece.source = line.eval_count.map(|_| TokenSource::Engine);
        let ms = |nanoseconds: Option<u64>| nanoseconds.map(|ns| ns as f64 / 1e6);
        piece.server = Some(ServerTimings {
            prefill_ms: ms(line.prompt_eval_duration),
            decode_ms: ms(line.eval_duration),
            cached_tokens: None,
        });
    }
    Ok(piece)
}

#[derive(Deserialize)]
struct Line<'d> {
    #[serde(borrow, default)]
    message: Option<Message<'d>>,
    #[serde(borrow, default)]
    response: Option<Text<'d>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'d>>,
    #[serde(default)]
    done: Option<bool>,
    #[serde(borrow, default)]
    done_reason: Option<Text<'d>>,
    #[serde(default)]
    prompt_eval_count: Option<u64>,
    #[serde(default)]
    eval_count: Option<u64>,
    #[serde(default)]
    prompt_eval_duration: Option<u64>,
    #[serde(default)]
    eval_duration: Option<u64>,
    #[serde(borrow, default)]
    error: Option<Text<'d>>,
}

#[derive(Deserialize, Default)]
struct Message<'d> {
    #[serde(borrow, default)]
    content: Option<Text<'d>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'d>>,
}
