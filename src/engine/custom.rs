//! A server that speaks JSON in its own way, as the settings describe it: a payload template, and JSON
//! pointers to the text and the counters.

use std::borrow::Cow;

use serde_json::Value;

use super::piece::{Malformed, Piece, error_words};
use super::wire::Ask;
use crate::run::measure_plan::{CustomEngine, Framing};
use crate::run::request_record::TokenSource;

/// The payload with its placeholders filled in, as JSON text.
///
/// # Errors
/// What the template makes is no JSON.
pub fn body(engine: &CustomEngine, ask: &Ask<'_>) -> Result<Value, Malformed> {
    let values: [(&str, Value); 6] = [
        ("prompt", ask.text().into()),
        ("messages", ask.messages()),
        ("model", ask.model.into()),
        ("max_tokens", ask.max_tokens.into()),
        ("temperature", ask.temperature.into()),
        ("stream", ask.stream.into()),
    ];
    // One pass over the template, so that a placeholder within a prompt stays what it is.
    let mut text = String::new();
    let mut rest = engine.payload.as_str();
    while let Some(start) = rest.find("{{") {
        let Some(end) = rest[start..].find("}}").map(|at| start + at) else { break };
        let name = rest[start + 2..end].trim();
        let Some((_, value)) = values.iter().find(|(known, _)| *known == name) else {
            return Err(Malformed(format!(
                "the payload of the engine {} has an unknown {{{{{name}}}}}",
                engine.name
            )));
        };
        // Quotes around a placeholder are taken as part of it.
        let quoted = rest[..start].ends_with('"') && rest[end + 2..].starts_with('"');
        let before = if quoted { &rest[..start - 1] } else { &rest[..start] };
        text.push_str(before);
        text.push_str(&value.to_string());
        rest = &rest[end + 2 + usize::from(quoted)..];
    }
    text.push_str(rest);
    serde_json::from_str(&text).map_err(|error| {
        Malformed(format!("the payload of the engine {} makes no JSON: {error}", engine.name))
    })
}

pub fn piece<'d>(engine: &CustomEngine, data: &'d [u8]) -> Result<Piece<'d>, Malformed> {
    if engine.framing == Framing::Sse && data.trim_ascii() == b"[DONE]" {
        return Ok(Piece { last: true, ..Piece::default() });
    }
    let value: Value = serde_json::from_slice(data).map_err(|error| Malformed::new(&error, data))?;
    let number = |pointer: &Option<String>| value.pointer(pointer.as_deref()?)?.as_u64();
    let text = |pointer: &str| match value.pointer(pointer) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let tokens_out = number(&engine.tokens_out);
    let content = text(&engine.text).map(Cow::Owned);
    // What nearly every server calls it; nothing describes it in the settings.
    let has_failed = content.is_none()
        && value
            .get("error")
            .is_some_and(|error| error.is_object() || error.as_str().is_some_and(|words| !words.is_empty()));
    if has_failed {
        return Ok(Piece::failed(error_words(&value)));
    }
    Ok(Piece {
        content,
        tokens_in: number(&engine.tokens_in),
        tokens_cached: number(&engine.tokens_cached),
        source: tokens_out.map(|_| TokenSource::Engine),
        tokens_out,
        finish_reason: engine.finish_reason.as_deref().and_then(text).map(Cow::Owned),
        ..Piece::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::load_test::Content;

    fn engine(payload: &str) -> CustomEngine {
        CustomEngine {
            name: "mine".to_owned(),
            port: Some(9000),
            health: "/ready".to_owned(),
            generate: "/run".to_owned(),
            payload: payload.to_owned(),
            framing: Framing::Ndjson,
            text: "/out/0/t".to_owned(),
            tokens_in: None,
            tokens_out: Some("/n".to_owned()),
            tokens_cached: None,
            finish_reason: Some("/why".to_owned()),
            metrics: None,
            headers: Default::default(),
        }
    }

    fn ask(content: &Content) -> Ask<'_> {
        Ask {
            model: Some("m"),
            content,
            max_tokens: 8,
            temperature: 0.5,
            ignore_eos: false,
            stream: true,
            cold: true,
            rendered: false,
            salt: "",
        }
    }

    #[test]
    fn placeholders_become_json_values_with_or_without_quotes() {
        let content = Content::Text("say \"{{model}}\"\n".to_owned());
        let made = body(
            &engine(r#"{"in": {{prompt}}, "m": "{{model}}", "k": {"n": {{max_tokens}}}}"#),
            &ask(&content),
        );
        let made = made.unwrap();
        assert_eq!(made["in"], "say \"{{model}}\"\n", "a placeholder in a prompt is text");
        assert_eq!((&made["m"], &made["k"]["n"]), (&Value::from("m"), &Value::from(8)));
    }

    #[test]
    fn a_template_that_makes_no_json_is_refused_by_name() {
        let content = Content::Text("x".to_owned());
        let said = body(&engine("{{prompt}"), &ask(&content)).unwrap_err().to_string();
        assert!(said.contains("the engine mine makes no JSON"), "{said}");
        let said = body(&engine("{{promt}}"), &ask(&content)).unwrap_err().to_string();
        assert!(said.contains("unknown {{promt}}"), "{said}");
    }

    #[test]
    fn text_and_counters_are_where_the_pointers_point() {
        let engine = engine("{}");
        let piece = piece(&engine, br#"{"out": [{"t": "hi"}], "n": 3, "why": "length"}"#).unwrap();
        assert_eq!(piece.content.as_deref(), Some("hi"));
        assert_eq!((piece.tokens_out, piece.source), (Some(3), Some(TokenSource::Engine)));
        assert_eq!(piece.finish_reason.as_deref(), Some("length"));
    }

    #[test]
    fn an_error_in_place_of_text_is_an_error() {
        let engine = engine("{}");
        let failed = |data: &'static [u8]| piece(&engine, data).unwrap().error;
        assert_eq!(failed(br#"{"error": {"message": "out of memory"}}"#).as_deref(), Some("out of memory"));
        assert_eq!(failed(br#"{"error": "busy"}"#).as_deref(), Some("busy"));
        assert_eq!(failed(br#"{"error": null, "n": 3}"#), None);
        assert_eq!(failed(br#"{"error": "", "out": [{"t": "hi"}]}"#), None);
    }
}
