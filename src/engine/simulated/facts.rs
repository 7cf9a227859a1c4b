//! What the stand-in tells of itself beside tokens: models, versions, limits, metrics. Real servers tell
//! more; what is left out here is unknown of a thing that has no model.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::{Value, json};

use super::answer::FINGERPRINT;
use super::prompt_cache::token_starts;
use super::server::Server;
use crate::request::load_test::Engine;

/// The share of the KV cache in use is told of a cache for so many full contexts, if slots are unlimited.
const CONTEXTS_WITHOUT_SLOTS: u64 = 64;
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

/// An answer of no tokens.
#[derive(Debug)]
pub struct Fact {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Fact {
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self { status, content_type: JSON, body: body.into() }
    }
}

/// The answer to anything but a request for tokens.
pub fn answer(server: &Server, method: &str, path: &str, body: &[u8]) -> Fact {
    let engine = Engine::from_name(&server.options.simulation.dialect);
    let told = match (method, path) {
        ("GET", "/health" | "/v1/health" | "/ping") => json!({ "status": "ok" }),
        ("GET", "/") if engine == Engine::Ollama => {
            return Fact { status: 200, content_type: TEXT, body: "Ollama is running".to_owned() };
        }
        ("GET", "/v1/models" | "/models") => models(server, &engine),
        ("GET", "/metrics") => {
            let body = if engine == Engine::LlamaCpp { llama_metrics(server) } else { vllm_metrics(server) };
            return Fact { status: 200, content_type: TEXT, body };
        }
        ("GET", "/version" | "/api/version") => json!({ "version": FINGERPRINT }),
        ("GET", "/props") => props(server),
        ("GET", "/slots") => slots(server),
        ("GET", "/api/tags") => ollama_models(server, |_| {}),
        ("GET", "/api/ps") => {
            let context = server.options.context;
            ollama_models(server, |model| model["context_length"] = json!(context))
        }
        ("POST", "/api/show") => json!({
            "details": ollama_details(),
            "model_info": {
                "general.architecture": "simulated",
                "simulated.context_length": server.options.context,
            },
        }),
        ("POST", "/tokenize") => return tokenize(body),
        ("POST", "/reset_prefix_cache") => {
            server.forget_prompts();
            return Fact::json(200, "");
        }
        ("POST", erased) if erased.starts_with("/slots/") => {
            server.forget_prompts();
            json!({ "id_slot": erased["/slots/".len()..].parse::<u32>().ok() })
        }
        (_, other) => {
            let message = format!("the simulated server has no {method} {other}");
            let error = json!({ "error": { "code": 404, "message": message, "type": "not_found_error" } });
            return Fact::json(404, error.to_string());
        }
    };
    Fact::json(200, told.to_string())
}

fn models(server: &Server, engine: &Engine) -> Value {
    let context = server.options.context;
    let data = server.options.models.iter().map(|name| {
        let mut model = json!({
            "id": name, "object": "model", "created": 0, "owned_by": super::OWNER,
            "root": name, "parent": null, "max_model_len": context,
        });
        if *engine == Engine::LlamaCpp {
            model["meta"] = json!({ "n_ctx": context, "n_ctx_train": context });
        }
        model
    });
    json!({ "object": "list", "data": data.collect::<Vec<_>>() })
}

fn props(server: &Server) -> Value {
    let name = server.options.models.first();
    json!({
        "default_generation_settings": { "params": {}, "n_ctx": server.options.context },
        "total_slots": server.slots.as_ref().map(|_| server.options.simulation.slots),
        "model_alias": name, "model_path": name, "chat_template": "",
        "build_info": FINGERPRINT, "is_sleeping": false,
    })
}

fn slots(server: &Server) -> Value {
    let busy = server.counts.running.load(Relaxed);
    let slots = (0..u64::from(server.options.simulation.slots)).map(|id| {
        json!({ "id": id, "n_ctx": server.options.context, "speculative": false, "is_processing": id < busy })
    });
    slots.collect()
}

fn ollama_models(server: &Server, add: impl Fn(&mut Value)) -> Value {
    let models = server.options.models.iter().map(|name| {
        let mut model = json!({ "name": name, "model": name, "details": ollama_details() });
        add(&mut model);
        model
    });
    json!({ "models": models.collect::<Vec<_>>() })
}

fn ollama_details() -> Value {
    json!({ "format": "simulated", "family": "simulated", "parameter_size": "", "quantization_level": "" })
}

fn tokenize(body: &[u8]) -> Fact {
    let body: Value = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => {
            let message = format!("the body is no JSON: {error}");
            let error =
                json!({ "error": { "code": 400, "message": message, "type": "invalid_request_error" } });
            return Fact::json(400, error.to_string());
        }
    };
    // vLLM calls it a prompt.
    let text = body.get("content").or_else(|| body.get("prompt")).and_then(Value::as_str).unwrap_or_default();
    let starts = token_starts(text);
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let with_pieces = body.get("with_pieces") == Some(&Value::Bool(true));
    let tokens = (0..).zip(starts.iter().zip(ends)).map(|(id, (start, end)): (u64, _)| match with_pieces {
        true => json!({ "id": id, "piece": text.get(*start..end) }),
        false => json!(id),
    });
    let tokens: Vec<Value> = tokens.collect();
    Fact::json(200, json!({ "count": tokens.len(), "tokens": tokens }).to_string())
}

fn vllm_metrics(server: &Server) -> String {
    let counts = &server.counts;
    let contexts = server.slots.as_ref().map(|_| u64::from(server.options.simulation.slots));
    let room = server.options.context * contexts.unwrap_or(CONTEXTS_WITHOUT_SLOTS);
    let used = (counts.held_tokens.load(Relaxed) as f64 / room as f64).min(1.0);
    let of = |count: &AtomicU64| count.load(Relaxed) as f64;
    let model = server.model(None);
    let mut text = String::new();
    for (name, kind, help, value) in [
        ("num_requests_running", "gauge", "Simulated requests that are answered", of(&counts.running)),
        ("num_requests_waiting", "gauge", "Simulated requests that wait for a slot", of(&counts.waiting)),
        ("kv_cache_usage_perc", "gauge", "Share of a simulated KV cache, 1 is all", used),
        ("prefix_cache_queries_total", "counter", "Tokens looked up", of(&counts.prompt_tokens)),
        ("prefix_cache_hits_total", "counter", "Tokens found", of(&counts.cached_tokens)),
        ("prompt_tokens_total", "counter", "Tokens of prompts", of(&counts.prompt_tokens)),
        ("generation_tokens_total", "counter", "Tokens of answers", of(&counts.generated_tokens)),
        ("request_success_total", "counter", "Requests answered whole", of(&counts.answered)),
    ] {
        let labels = format!(r#"{{engine="0",model_name={}}}"#, Value::from(model.as_str()));
        // Whole numbers with a point too, as the real ones.
        let value = if value.fract() == 0.0 { format!("{value:.1}") } else { value.to_string() };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP vllm:{name} {help}.\n# TYPE vllm:{name} {kind}\nvllm:{name}{labels} {value}"
        );
    }
    text
}

fn llama_metrics(server: &Server) -> String {
    let counts = &server.counts;
    let of = |count: &AtomicU64| count.load(Relaxed);
    let (prompt, cached) = (of(&counts.prompt_tokens), of(&counts.cached_tokens));
    let mut text = String::new();
    for (name, kind, help, value) in [
        ("prompt_tokens_total", "counter", "Simulated prompt tokens without cached ones", prompt - cached),
        ("prompt_tokens_cached_total", "counter", "Simulated prompt tokens out of the cache", cached),
        ("tokens_predicted_total", "counter", "Simulated tokens", of(&counts.generated_tokens)),
        ("requests_processing", "gauge", "Simulated requests that are answered", of(&counts.running)),
        ("requests_deferred", "gauge", "Simulated requests that wait for a slot", of(&counts.waiting)),
    ] {
        let _ = writeln!(
            text,
            "# HELP llamacpp:{name} {help}.\n# TYPE llamacpp:{name} {kind}\nllamacpp:{name} {value}"
        );
    }
    text
}
