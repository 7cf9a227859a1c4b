//! llama-server's own `/completion`. Its streams end without `[DONE]`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::openai::Timings;
use super::piece::{Malformed, Piece, Text, error_words};
use super::wire::Ask;
use crate::run::request_record::TokenSource;

pub const PATH: &str = "/completion";

pub fn body(ask: &Ask<'_>) -> Value {
    let mut body = json!({
        "prompt": ask.text(),
        "n_predict": ask.max_tokens,
        "temperature": ask.temperature,
        "stream": ask.stream,
        "cache_prompt": !ask.cold,
        "ignore_eos": ask.ignore_eos,
    });
    // A server of one model does without; one that routes to several needs it.
    if let Some(model) = ask.model {
        body["model"] = model.into();
    }
    body
}

pub fn piece(data: &[u8]) -> Result<Piece<'_>, Malformed> {
    let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|error| Malformed::new(&error, data))?;
    if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
        return Ok(Piece::failed(error_words(&error)));
    }
    let mut piece = Piece {
        content: chunk.content.map(|text| text.0),
        tokens_in: chunk.tokens_evaluated,
        tokens_out: chunk.tokens_predicted,
        source: chunk.tokens_predicted.map(|_| TokenSource::Engine),
        last: chunk.stop.unwrap_or(false),
        ..Piece::default()
    };
    if let Some(timings) = chunk.timings {
        let counted = (piece.tokens_in, piece.tokens_out);
        timings.tell(&mut piece);
        piece.tokens_in = counted.0.or(piece.tokens_in);
        piece.tokens_out = counted.1.or(piece.tokens_out);
    }
    if piece.last {
        // `limit` is what other dialects call `length`.
        let reason = chunk.stop_type.map(|text| text.0);
        piece.finish_reason = Some(match reason.as_deref() {
            Some("limit") => "length".into(),
            Some("eos" | "word") => "stop".into(),
            Some(_) | None => reason.unwrap_or_else(|| "stop".into()),
        });
    }
    Ok(piece)
}

#[derive(Deserialize)]
struct Chunk<'d> {
    #[serde(borrow, default)]
    content: Option<Text<'d>>,
    #[serde(default)]
    stop: Option<bool>,
    #[serde(borrow, default)]
    stop_type: Option<Text<'d>>,
    #[serde(default)]
    tokens_predicted: Option<u64>,
    #[serde(default)]
    tokens_evaluated: Option<u64>,
    #[serde(default)]
    timings: Option<Timings>,
    #[serde(default)]
    error: Option<Value>,
}
