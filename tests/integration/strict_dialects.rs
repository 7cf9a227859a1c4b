//! What each kind of server takes and says, for `strict_server`. Every token is the text `tok `; a word of
//! the prompt is a token of it.

use serde_json::{Value, json};

use crate::strict_server::{Asked, Reply};

pub const MODEL: &str = "tiny";

macro_rules! fixture {
    ($path:literal) => {
        include_str!(concat!("../fixtures/", $path))
    };
}

/// How a field has to look.
type Check = fn(&Value) -> bool;

fn is_count(value: &Value) -> bool {
    value.as_u64().is_some_and(|count| count > 0)
}

fn is_messages(value: &Value) -> bool {
    value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(is_message))
}

fn is_message(value: &Value) -> bool {
    let roles = ["system", "user", "assistant"];
    value.as_object().is_some_and(|message| message.len() == 2)
        && value["role"].as_str().is_some_and(|role| roles.contains(&role))
        && value["content"].is_string()
}

/// The body, if it has these fields and no others, and all that it needs. Else what is wrong.
fn body(asked: &Asked, fields: &[(&str, Check)], needed: &[&str]) -> Result<Value, String> {
    if asked.header("content-type") != Some("application/json") {
        return Err("the content type is not application/json".to_owned());
    }
    let body: Value = serde_json::from_slice(&asked.body).map_err(|error| error.to_string())?;
    let object = body.as_object().ok_or("the body is no object")?;
    for (name, value) in object {
        match fields.iter().find(|(known, _)| known == name) {
            None => return Err(format!("Unrecognized request argument supplied: {name}")),
            Some((_, check)) if !check(value) => return Err(format!("{name} cannot be {value}")),
            Some(_) => {}
        }
    }
    match needed.iter().find(|name| !object.contains_key(**name)) {
        Some(name) => Err(format!("{name} is required")),
        None => Ok(body),
    }
}

/// Tokens of a prompt, by its words.
fn prompt_tokens(body: &Value) -> usize {
    let messages = body["messages"].as_array().into_iter().flatten().map(|message| &message["content"]);
    let texts = messages.chain([&body["prompt"], &body["q"]]).filter_map(Value::as_str);
    texts.map(|text| text.split_whitespace().count()).sum()
}

fn has_key(asked: &Asked, key: Option<&str>) -> bool {
    key.is_none_or(|key| asked.header("authorization") == Some(&format!("Bearer {key}")))
}

const OPENAI: &[(&str, Check)] = &[
    ("model", |model| model == MODEL),
    ("max_tokens", is_count),
    ("temperature", |value| value.as_f64().is_some_and(|value| (0.0..=2.0).contains(&value))),
    ("stream", Value::is_boolean),
];

/// Fields of an OpenAI-like API: `more` are the dialect's own, `options` those of `stream_options`.
fn openai_body(
    asked: &Asked,
    chat: bool,
    more: &[(&'static str, Check)],
    options: &[&str],
) -> Result<Value, String> {
    let prompt: (&str, Check) =
        if chat { ("messages", is_messages) } else { ("prompt", |prompt| prompt.is_string()) };
    let fields = [OPENAI, &[prompt, ("stream_options", Value::is_object)], more].concat();
    let body = body(asked, &fields, &["model", prompt.0])?;
    if let Some(given) = body["stream_options"].as_object() {
        if body["stream"] != true {
            return Err("stream_options can only be set when stream is true".to_owned());
        }
        let known = |name: &String| options.contains(&name.as_str());
        if !given.keys().all(known) || !given.values().all(Value::is_boolean) {
            return Err(format!("stream_options cannot be {}", body["stream_options"]));
        }
    }
    Ok(body)
}

/// What an OpenAI-like server adds to a chunk after so many tokens.
type Extra = fn(body: &Value, tokens_in: usize, tokens: u64) -> Vec<(&'static str, Value)>;

fn usage(tokens_in: usize, tokens: u64, details: Value) -> Value {
    json!({
        "prompt_tokens": tokens_in, "completion_tokens": tokens,
        "total_tokens": tokens_in as u64 + tokens, "prompt_tokens_details": details,
    })
}

fn openai_answer(body: &Value, chat: bool, details: &Value, extra: Extra) -> Reply {
    let (tokens_in, tokens) = (prompt_tokens(body), body["max_tokens"].as_u64().unwrap_or(16));
    let object = if chat { "chat.completion" } else { "text_completion" };
    let with = |mut value: Value, tokens: u64| {
        for (name, extra) in extra(body, tokens_in, tokens) {
            value[name] = extra;
        }
        value
    };
    let whole_usage = usage(tokens_in, tokens, details.clone());
    if body["stream"] != true {
        let text = "tok ".repeat(usize::try_from(tokens).unwrap());
        let mut choice = json!({ "index": 0, "finish_reason": "length", "logprobs": null });
        if chat {
            choice["message"] = json!({ "role": "assistant", "content": text, "tool_calls": [] });
        } else {
            choice["text"] = text.into();
        }
        let answer = json!({ "id": "c", "object": object, "choices": [choice], "usage": whole_usage });
        return Reply::json(200, &with(answer, tokens));
    }
    let piece = |text: &str, reason: Value| {
        let choice = if chat {
            json!({ "index": 0, "delta": { "content": text }, "finish_reason": reason })
        } else {
            json!({ "index": 0, "text": text, "finish_reason": reason })
        };
        json!({ "id": "c", "object": format!("{object}.chunk"), "choices": [choice] })
    };
    let mut chunks = Vec::new();
    if chat {
        let delta = json!({ "role": "assistant", "content": "" });
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": null });
        chunks.push(with(json!({ "id": "c", "choices": [choice] }), 0));
    }
    chunks.extend((1..=tokens).map(|count| with(piece("tok ", Value::Null), count)));
    chunks.push(with(piece("", "length".into()), tokens));
    if body["stream_options"]["include_usage"] == true {
        chunks.push(json!({ "id": "c", "choices": [], "usage": whole_usage }));
    }
    let done = "[DONE]".to_owned();
    Reply::events(chunks.iter().map(Value::to_string).chain([done]))
}

/// api.openai.com, as far as it is asked.
pub fn openai(asked: &Asked, key: Option<&str>) -> Reply {
    let error = |status, words: &str, code: Value| {
        let inner = json!({ "message": words, "type": "invalid_request_error", "param": null, "code": code });
        Reply::json(status, &json!({ "error": inner }))
    };
    if !has_key(asked, key) {
        return error(401, "Incorrect API key provided", "invalid_api_key".into());
    }
    let chat = asked.path == "/v1/chat/completions";
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/v1/models") => {
            let model = json!({ "id": MODEL, "object": "model", "created": 1, "owned_by": "us" });
            Reply::json(200, &json!({ "object": "list", "data": [model] }))
        }
        ("POST", "/v1/chat/completions" | "/v1/completions") => {
            match openai_body(asked, chat, &[], &["include_usage"]) {
                Ok(body) => openai_answer(&body, chat, &json!({ "cached_tokens": 0 }), |_, _, _| Vec::new()),
                Err(words) => error(400, &words, Value::Null),
            }
        }
        (_, "/v1/models" | "/v1/chat/completions" | "/v1/completions") => {
            error(405, &format!("Not allowed to {} on {}", asked.method, asked.path), Value::Null)
        }
        (method, path) => error(404, &format!("Invalid URL ({method} {path})"), Value::Null),
    }
}

/// vLLM's server: keys are asked for below `/v1` only.
pub fn vllm(asked: &Asked, key: Option<&str>) -> Reply {
    if asked.path.starts_with("/v1") && !has_key(asked, key) {
        return Reply::json(401, &json!({ "error": "Unauthorized" }));
    }
    let chat = asked.path == "/v1/chat/completions";
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/health") => Reply::text(200, ""),
        ("GET", "/version") => Reply::json(200, &json!({ "version": "0.32.0" })),
        ("GET", "/metrics") => Reply::text(200, fixture!("engines/vllm-metrics.txt")),
        ("GET", "/v1/models") => {
            let model = json!({ "id": MODEL, "object": "model", "max_model_len": 4096 });
            Reply::json(200, &json!({ "object": "list", "data": [model] }))
        }
        ("POST", "/v1/chat/completions" | "/v1/completions") => {
            let more: &[(&str, Check)] = &[("ignore_eos", Value::is_boolean)];
            let options = ["include_usage", "continuous_usage_stats"];
            match openai_body(asked, chat, more, &options) {
                Ok(body) => openai_answer(&body, chat, &Value::Null, |body, tokens_in, tokens| {
                    let continuous = body["stream_options"]["continuous_usage_stats"] == true;
                    let usage = usage(tokens_in, tokens, Value::Null);
                    if continuous { vec![("usage", usage)] } else { Vec::new() }
                }),
                Err(words) => {
                    let inner = json!({ "message": words, "type": "BadRequestError", "code": 400 });
                    Reply::json(400, &json!({ "error": inner }))
                }
            }
        }
        (
            _,
            "/health" | "/version" | "/metrics" | "/v1/models" | "/v1/chat/completions" | "/v1/completions",
        ) => Reply::json(405, &json!({ "detail": "Method Not Allowed" })),
        _ => Reply::json(404, &json!({ "detail": "Not Found" })),
    }
}

fn timings(tokens_in: usize, tokens: u64) -> Value {
    json!({
        "cache_n": 0, "prompt_n": tokens_in, "prompt_ms": 1.5, "predicted_n": tokens, "predicted_ms": 2.5,
    })
}

/// llama-server: health and models are for everybody; what it does not know by method or path is not found.
pub fn llama_cpp(asked: &Asked, key: Option<&str>) -> Reply {
    let error = |status: u16, words: &str, kind: &str| {
        Reply::json(status, &json!({ "error": { "code": status, "message": words, "type": kind } }))
    };
    let is_public = ["/health", "/v1/models"].contains(&asked.path.as_str());
    if !is_public && !has_key(asked, key) {
        return error(401, "Invalid API Key", "authentication_error");
    }
    let own: &[(&str, Check)] = &[("cache_prompt", Value::is_boolean), ("ignore_eos", Value::is_boolean)];
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/health") => Reply::json(200, &json!({ "status": "ok" })),
        ("GET", "/v1/models") => {
            Reply { kind: "application/json", ..Reply::text(200, fixture!("llama-cpp/server/models.body")) }
        }
        ("GET", "/props") => {
            Reply { kind: "application/json", ..Reply::text(200, fixture!("llama-cpp/server/props.body")) }
        }
        ("GET", "/metrics") => {
            error(501, "This server does not support metrics endpoint.", "not_supported_error")
        }
        ("POST", "/v1/chat/completions") => {
            let more = [own, &[("timings_per_token", Value::is_boolean as Check)]].concat();
            match openai_body(asked, true, &more, &["include_usage"]) {
                Ok(body) => {
                    openai_answer(&body, true, &json!({ "cached_tokens": 0 }), |body, tokens_in, tokens| {
                        let tells = body["timings_per_token"] == true || body["stream"] != true;
                        if tells { vec![("timings", timings(tokens_in, tokens))] } else { Vec::new() }
                    })
                }
                Err(words) => error(400, &words, "invalid_request_error"),
            }
        }
        ("POST", "/completion") => {
            let more: &[(&str, Check)] = &[("prompt", |value| value.is_string()), ("n_predict", is_count)];
            match body(asked, &[OPENAI, own, more].concat(), &["prompt"]) {
                Ok(body) => llama_cpp_completion(&body),
                Err(words) => error(400, &words, "invalid_request_error"),
            }
        }
        _ => error(404, "File Not Found", "not_found_error"),
    }
}

fn llama_cpp_completion(body: &Value) -> Reply {
    let (tokens_in, tokens) = (prompt_tokens(body), body["n_predict"].as_u64().unwrap_or(16));
    let last = |text: &str| {
        json!({
            "index": 0, "content": text, "stop": true, "stop_type": "limit", "tokens_predicted": tokens,
            "tokens_evaluated": tokens_in, "timings": timings(tokens_in, tokens),
        })
    };
    if body["stream"] != true {
        return Reply::json(200, &last(&"tok ".repeat(usize::try_from(tokens).unwrap())));
    }
    let chunk = |count: u64| {
        json!({
            "index": 0, "content": "tok ", "stop": false, "tokens_predicted": count,
            "tokens_evaluated": tokens_in,
        })
    };
    Reply::events((1..=tokens).map(|count| chunk(count).to_string()).chain([last("").to_string()]))
}

/// Ollama: no keys; it streams unless told otherwise.
pub fn ollama(asked: &Asked) -> Reply {
    let chat = asked.path == "/api/chat";
    let error = |status: u16, words: &str| Reply::json(status, &json!({ "error": words }));
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/api/version") => Reply::json(200, &json!({ "version": "0.11.4" })),
        ("GET", "/api/tags") => {
            let details = json!({ "family": "llama", "parameter_size": "3.2B" });
            let own = json!({ "name": MODEL, "model": MODEL, "size": 2_019_393_189_u64, "details": details });
            let other = json!({ "name": "other:70b", "model": "other:70b", "size": 1 });
            Reply::json(200, &json!({ "models": [other, own] }))
        }
        ("GET", "/api/ps") => {
            let own = json!({ "name": MODEL, "model": MODEL, "context_length": 4096 });
            Reply::json(200, &json!({ "models": [own] }))
        }
        ("POST", "/api/chat" | "/api/generate") => {
            let options: Check = |value| {
                value.as_object().is_some_and(|options| {
                    options.iter().all(|(name, value)| match name.as_str() {
                        "num_predict" => value.is_i64() || value.is_u64(),
                        "temperature" => value.is_number(),
                        _ => false,
                    })
                })
            };
            let prompt: (&str, Check) =
                if chat { ("messages", is_messages) } else { ("prompt", |prompt| prompt.is_string()) };
            let fields = [
                prompt,
                ("model", |model: &Value| model.is_string()),
                ("options", options),
                ("stream", Value::is_boolean),
            ];
            match body(asked, &fields, &["model"]) {
                Ok(body) if body["model"] != MODEL => error(404, "model not found, try pulling it first"),
                Ok(body) => ollama_answer(&body, chat),
                Err(words) => error(400, &words),
            }
        }
        (_, "/api/version" | "/api/tags" | "/api/ps" | "/api/chat" | "/api/generate") => {
            Reply::text(405, "405 method not allowed")
        }
        _ => Reply::text(404, "404 page not found"),
    }
}

fn ollama_answer(body: &Value, chat: bool) -> Reply {
    let (tokens_in, tokens) =
        (prompt_tokens(body), body.pointer("/options/num_predict").and_then(Value::as_u64).unwrap_or(16));
    let line = |text: &str, done: bool| {
        let mut line = json!({ "model": MODEL, "created_at": "2025-01-01T00:00:00Z", "done": done });
        if chat {
            line["message"] = json!({ "role": "assistant", "content": text });
        } else {
            line["response"] = text.into();
        }
        if done {
            line["done_reason"] = "length".into();
            line["prompt_eval_count"] = tokens_in.into();
            line["prompt_eval_duration"] = 1_500_000.into();
            line["eval_count"] = tokens.into();
            line["eval_duration"] = 2_500_000.into();
        }
        line
    };
    if body["stream"] == false {
        return Reply::json(200, &line(&"tok ".repeat(usize::try_from(tokens).unwrap()), true));
    }
    Reply::lines((0..tokens).map(|_| line("tok ", false)).chain([line("", true)]))
}

/// A server of somebody's own: `POST /run` with a header, and counters in the last line.
pub fn custom(asked: &Asked) -> Reply {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/ready") => Reply::text(200, "yes"),
        ("POST", "/run") if asked.header("x-team") != Some("bench") => Reply::text(403, "who are you"),
        ("POST", "/run") => {
            let fields: [(&str, Check); 2] = [("q", |prompt| prompt.is_string()), ("n", is_count)];
            match body(asked, &fields, &["q", "n"]) {
                Ok(body) => {
                    let tokens = body["n"].as_u64().unwrap_or(0);
                    let counts = json!({ "in": prompt_tokens(&body), "out": tokens });
                    let last = json!({ "why": "length", "counts": counts });
                    Reply::lines((0..tokens).map(|_| json!({ "out": { "text": "tok " } })).chain([last]))
                }
                Err(words) => Reply::text(422, &words),
            }
        }
        _ => Reply::text(404, "not here"),
    }
}
