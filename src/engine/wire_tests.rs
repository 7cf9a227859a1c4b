//! The bytes of requests, parsed back: no field that a real server would refuse, and the salt where it
//! belongs.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::request::load_test::Message;
use crate::run::measure_plan::CustomEngine;

struct Parsed {
    line: String,
    headers: BTreeMap<String, String>,
    body: Value,
    raw_body: Vec<u8>,
}

fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(at) = request.parse(bytes).unwrap() else { panic!("half a request") };
    let named = |header: &httparse::Header<'_>| {
        (header.name.to_ascii_lowercase(), String::from_utf8(header.value.to_vec()).unwrap())
    };
    let line = format!("{} {}", request.method.unwrap(), request.path.unwrap());
    let headers: BTreeMap<_, _> = request.headers.iter().map(named).collect();
    let raw_body = bytes[at..].to_vec();
    Parsed { line, headers, body: serde_json::from_slice(&raw_body).unwrap_or_default(), raw_body }
}

fn wire(dialect: Dialect, api: Api) -> Wire {
    Wire { dialect, api, address: Address::parse("http://localhost:8080").unwrap(), key: None }
}

fn custom() -> Dialect {
    Dialect::Custom(Box::new(CustomEngine {
        name: "mine".to_owned(),
        port: None,
        health: "/ready".to_owned(),
        generate: "/run".to_owned(),
        payload: r#"{"in": {{prompt}}, "n": {{max_tokens}}, "live": {{stream}}}"#.to_owned(),
        framing: Framing::Ndjson,
        text: "/out".to_owned(),
        tokens_in: None,
        tokens_out: None,
        tokens_cached: None,
        finish_reason: None,
        metrics: None,
        headers: BTreeMap::from([("X-Team".to_owned(), "bench".to_owned())]),
    }))
}

fn ask(content: &Content, stream: bool) -> Ask<'_> {
    Ask {
        model: Some("m"),
        content,
        max_tokens: 64,
        temperature: 0.5,
        ignore_eos: true,
        stream,
        cold: true,
        rendered: false,
        salt: "",
    }
}

fn sent(wire: &Wire, ask: &Ask<'_>, salted: Option<u64>) -> Parsed {
    let mut out = b"left over".to_vec();
    wire.prepare(ask, salted.is_some()).unwrap().write(salt(salted.unwrap_or(0)), &mut out);
    let parsed = parse(&out);
    assert_eq!(parsed.headers["content-length"], parsed.raw_body.len().to_string());
    assert_eq!(parsed.headers["content-type"], "application/json");
    parsed
}

fn every_dialect() -> Vec<(Dialect, Api, &'static str)> {
    vec![
        (Dialect::OpenAi, Api::Chat, "POST /v1/chat/completions"),
        (Dialect::OpenAi, Api::Completions, "POST /v1/completions"),
        (Dialect::Vllm, Api::Chat, "POST /v1/chat/completions"),
        (Dialect::Vllm, Api::Completions, "POST /v1/completions"),
        (Dialect::LlamaCpp, Api::Chat, "POST /v1/chat/completions"),
        (Dialect::LlamaCpp, Api::Completions, "POST /completion"),
        (Dialect::Ollama, Api::Chat, "POST /api/chat"),
        (Dialect::Ollama, Api::Completions, "POST /api/generate"),
        (custom(), Api::Chat, "POST /run"),
    ]
}

#[test]
fn a_request_has_only_fields_that_the_server_knows() {
    let text = Content::Text("hello".to_owned());
    for (dialect, api, line) in every_dialect() {
        let own: &[&str] = match (&dialect, api) {
            (Dialect::OpenAi, _) => &["max_tokens", "temperature", "model"],
            (Dialect::Vllm, _) => &["max_tokens", "temperature", "model", "ignore_eos"],
            (Dialect::LlamaCpp, Api::Chat) => {
                &["max_tokens", "temperature", "model", "ignore_eos", "timings_per_token", "cache_prompt"]
            }
            (Dialect::LlamaCpp, Api::Completions) => {
                &["n_predict", "temperature", "model", "ignore_eos", "cache_prompt"]
            }
            (Dialect::Ollama, _) => &["options", "model"],
            (Dialect::Custom(_), _) => &["in", "n", "live"],
        };
        for stream in [true, false] {
            let parsed = sent(&wire(dialect.clone(), api), &ask(&text, stream), None);
            assert_eq!(parsed.line, line);
            assert_eq!(parsed.headers["host"], "localhost:8080");
            let fields: BTreeSet<&str> =
                parsed.body.as_object().unwrap().keys().map(String::as_str).collect();
            let mut expected: BTreeSet<&str> = own.iter().copied().collect();
            if !matches!(dialect, Dialect::Custom(_)) {
                expected.insert("stream");
                expected.insert(if api == Api::Chat { "messages" } else { "prompt" });
                assert_eq!(parsed.body["stream"], stream);
            }
            // Refused without a stream by vLLM and OpenAI; not of Ollama's and llama.cpp's own.
            let has_options = parsed.line.contains("/v1/") && stream;
            if has_options {
                expected.insert("stream_options");
                assert_eq!(parsed.body["stream_options"]["include_usage"], true);
            }
            assert_eq!(fields, expected, "{line} {}", dialect.as_str());
        }
    }
}

#[test]
fn what_is_asked_for_arrives_under_the_servers_own_names() {
    let text = Content::Text("hello".to_owned());
    let of = |dialect, api| sent(&wire(dialect, api), &ask(&text, true), None).body;
    assert_eq!(
        of(Dialect::Vllm, Api::Chat),
        json!({
            "max_tokens": 64, "temperature": 0.5, "stream": true, "model": "m",
            "messages": [{ "role": "user", "content": "hello" }],
            "stream_options": { "include_usage": true, "continuous_usage_stats": true },
            "ignore_eos": true,
        })
    );
    assert_eq!(of(Dialect::OpenAi, Api::Chat)["stream_options"], json!({ "include_usage": true }));
    assert_eq!(
        of(Dialect::LlamaCpp, Api::Completions),
        json!({
            "prompt": "hello", "n_predict": 64, "temperature": 0.5, "stream": true, "cache_prompt": false,
            "ignore_eos": true, "model": "m",
        })
    );
    assert_eq!(
        of(Dialect::Ollama, Api::Completions),
        json!({
            "stream": true, "options": { "num_predict": 64, "temperature": 0.5 }, "model": "m",
            "prompt": "hello",
        })
    );
    assert_eq!(of(custom(), Api::Chat), json!({ "in": "hello", "n": 64, "live": true }));
}

#[test]
fn a_model_that_nobody_named_is_not_sent() {
    let text = Content::Text("hello".to_owned());
    for (dialect, api, _) in every_dialect() {
        let parsed = sent(&wire(dialect, api), &Ask { model: None, ..ask(&text, true) }, None);
        assert!(parsed.body.get("model").is_none(), "{}", parsed.body);
    }
}

/// The texts of a request's prompt, first to last.
fn texts(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().into_iter().flatten().map(|message| &message["content"]);
    let texts = messages.chain([&body["prompt"], &body["in"]]).filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

#[test]
fn a_salt_stands_once_at_the_prompts_start_and_changes_nothing_else() {
    let prompts = [
        Content::Text("say \"né\"\n".to_owned()),
        Content::Messages(vec![
            Message { role: "system".to_owned(), content: "be brief".to_owned() },
            Message { role: "user".to_owned(), content: "hello".to_owned() },
        ]),
    ];
    for content in &prompts {
        for (dialect, api, line) in every_dialect() {
            let wire = wire(dialect, api);
            let plain = sent(&wire, &ask(content, true), None);
            for number in [0, 1, 0x5A5A_5A5A, u64::MAX] {
                let salted = sent(&wire, &ask(content, true), Some(number));
                let salt = String::from_utf8(salt(number).to_vec()).unwrap();
                assert_eq!(salt.len(), SALT_LENGTH);
                let mut expected = texts(&plain.body);
                expected[0].insert_str(0, &salt);
                assert_eq!(texts(&salted.body), expected, "{line}");
                let all = String::from_utf8(salted.raw_body.clone()).unwrap();
                assert_eq!(all.matches(&salt).count(), 1, "{line}");
                assert_eq!(all.replace(&salt, ""), String::from_utf8_lossy(&plain.raw_body), "{line}");
            }
        }
    }
}

#[test]
fn salts_differ_by_their_numbers() {
    let salts: BTreeSet<_> = (0..2_000u64).chain((0..60).map(|bit| 1 << bit)).map(salt).collect();
    // Powers of two below 2,000 are in both.
    assert_eq!(salts.len(), 2_000 + 60 - 11);
    assert!(salts.iter().all(|salt| salt.starts_with(b"[") && salt.ends_with(b"] ")));
}

#[test]
fn a_key_goes_as_a_bearer_and_nowhere_else() {
    let text = Content::Text("hello".to_owned());
    let with = Wire { key: Some("secret-1".to_owned()), ..wire(Dialect::OpenAi, Api::Chat) };
    let parsed = sent(&with, &ask(&text, true), None);
    assert_eq!(parsed.headers["authorization"], "Bearer secret-1");
    assert!(!String::from_utf8_lossy(&parsed.raw_body).contains("secret-1"));
    let without = sent(&wire(Dialect::OpenAi, Api::Chat), &ask(&text, true), None);
    assert!(!without.headers.contains_key("authorization"));
    assert_eq!(sent(&wire(custom(), Api::Chat), &ask(&text, true), None).headers["x-team"], "bench");
}

#[test]
fn a_url_that_ends_in_v1_means_the_same_as_without() {
    let text = Content::Text("hello".to_owned());
    for (url, dialect, line) in [
        ("http://h/v1", Dialect::OpenAi, "POST /v1/chat/completions"),
        ("http://h/v1/", Dialect::Vllm, "POST /v1/chat/completions"),
        ("http://h/api/v1", Dialect::OpenAi, "POST /api/v1/chat/completions"),
        ("http://h/api", Dialect::OpenAi, "POST /api/v1/chat/completions"),
        ("http://h/v1", Dialect::Ollama, "POST /api/chat"),
        ("http://h/v1", custom(), "POST /v1/run"),
    ] {
        let wire = Wire { address: Address::parse(url).unwrap(), ..wire(dialect, Api::Chat) };
        assert_eq!(sent(&wire, &ask(&text, true), None).line, line, "{url}");
    }
    let wire = Wire { address: Address::parse("http://h/v1").unwrap(), ..wire(Dialect::Vllm, Api::Chat) };
    assert_eq!(parse(&wire.request("GET", "/health", None)).line, "GET /health");
}

#[test]
fn answers_are_framed_as_they_were_asked_for() {
    let text = Content::Text("hello".to_owned());
    for (dialect, api, line) in every_dialect() {
        let wire = wire(dialect, api);
        let framing = |stream| wire.prepare(&ask(&text, stream), false).unwrap().framing;
        let expected = match &wire.dialect {
            Dialect::OpenAi | Dialect::Vllm | Dialect::LlamaCpp => (Framing::Sse, Framing::Json),
            Dialect::Ollama => (Framing::Ndjson, Framing::Json),
            Dialect::Custom(_) => (Framing::Ndjson, Framing::Ndjson),
        };
        assert_eq!((framing(true), framing(false)), expected, "{line}");
    }
}
