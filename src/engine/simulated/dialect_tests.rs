use serde_json::{Value, json};

use super::Options;
use super::prompt_cache::count_tokens;
use super::test_client::{Answer, Sim};
use crate::request::load_test::Simulation;

/// As fast as it can, so that tests of shapes wait for nothing.
fn fast(dialect: &str) -> Options {
    let simulation =
        Simulation { dialect: dialect.to_owned(), ttft_ms: 0.0, itl_ms: 0.0, ..Simulation::default() };
    Options { simulation, ..Options::default() }
}

const CHAT: &str = "/v1/chat/completions";

fn chat(more: &str) -> String {
    format!(
        r#"{{"model":"simulated","messages":[{{"role":"user","content":"hello"}}],"max_tokens":3{more}}}"#
    )
}

fn contents(pieces: &[Value], pointer: &str) -> String {
    pieces.iter().filter_map(|piece| piece.pointer(pointer)?.as_str()).collect()
}

#[test]
fn a_chat_stream_begins_with_a_role_and_ends_with_a_reason_usage_and_done() {
    let sim = Sim::start(fast("openai"));
    let answer = sim.post(CHAT, &chat(r#","stream":true,"stream_options":{"include_usage":true}"#));
    assert_eq!(answer.header("Content-Type"), Some("text/event-stream"));
    let events = answer.events();
    assert_eq!(events.len(), 7, "{events:?}");
    assert_eq!(events[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    for event in &events[1..4] {
        let text = event["choices"][0]["delta"]["content"].as_str().unwrap();
        assert_eq!(count_tokens(text), 1);
        assert_eq!(event["choices"][0]["finish_reason"], Value::Null);
        assert_eq!(event.get("usage"), None);
    }
    assert_eq!(events[4]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[5]["choices"], json!([]));
    // "user" and "hello".
    assert_eq!(
        events[5]["usage"],
        json!({ "prompt_tokens": 3, "total_tokens": 6, "completion_tokens": 3, "prompt_tokens_details": { "cached_tokens": 0 } })
    );
    assert_eq!(events[6], Value::Null);
    for event in &events[..6] {
        assert_eq!(event["object"], "chat.completion.chunk");
        assert_eq!(event["id"], "chatcmpl-sim-0");
        assert!(event["system_fingerprint"].as_str().unwrap().starts_with("simulated-"));
    }
}

#[test]
fn without_include_usage_a_stream_tells_none() {
    let sim = Sim::start(fast("openai"));
    let answer = sim.post(CHAT, &chat(r#","stream":true"#));
    assert_eq!(answer.events().len(), 6);
    assert!(!answer.text().contains("usage"));
}

#[test]
fn continuous_usage_counts_the_tokens_of_each_chunk() {
    let mut options = fast("vllm");
    options.simulation.tokens_per_chunk = 2;
    let sim = Sim::start(options);
    let body = r#"{"prompt":"a b","max_tokens":5,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#;
    let events = sim.post("/v1/completions", body).events();
    let counts: Vec<_> =
        events.iter().filter_map(|event| event.pointer("/usage/completion_tokens")?.as_u64()).collect();
    assert_eq!(counts, [2, 4, 5, 5]);
    assert_eq!(count_tokens(&contents(&events, "/choices/0/text")), 5);
    assert_eq!(events[0]["object"], "text_completion");
    assert_eq!(events.last(), Some(&Value::Null));
}

#[test]
fn an_answer_in_one_has_the_text_of_its_stream() {
    let sim = Sim::start(fast("openai"));
    let whole = sim.post(CHAT, &chat(""));
    let whole = whole.json();
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["choices"][0]["message"]["role"], "assistant");
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 3);
    // Words go by the request's number, which a new server begins anew.
    let stream = Sim::start(fast("openai")).post(CHAT, &chat(r#","stream":true"#)).events();
    assert_eq!(
        whole["choices"][0]["message"]["content"],
        contents(&stream, "/choices/0/delta/content").as_str()
    );
    let completion = sim.post("/v1/completions", r#"{"prompt":"x","max_tokens":4}"#).json();
    assert_eq!(count_tokens(completion["choices"][0]["text"].as_str().unwrap()), 4);
}

#[test]
fn without_a_number_there_are_sixteen_tokens_and_the_end_is_the_models() {
    let sim = Sim::start(fast("openai"));
    let answer = sim.post("/v1/completions", r#"{"prompt":"x"}"#).json();
    assert_eq!(answer["usage"]["completion_tokens"], 16);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

#[test]
fn llama_cpp_counts_as_it_goes_and_ends_with_timings() {
    let sim = Sim::start(fast("llama.cpp"));
    let answer = sim.post("/completion", r#"{"prompt":"one two","n_predict":3,"stream":true}"#);
    let events = answer.events();
    assert_eq!(events.len(), 4, "{events:?}");
    for (count, event) in (1..).zip(&events[..3]) {
        assert_eq!(event["tokens_predicted"], count);
        assert_eq!(event["tokens"].as_array().unwrap().len(), 1);
        assert_eq!((&event["stop"], &event["tokens_evaluated"]), (&json!(false), &json!(2)));
        assert_eq!(event.get("timings"), None);
    }
    let last = &events[3];
    assert_eq!((&last["stop"], &last["content"]), (&json!(true), &json!("")));
    assert_eq!((&last["stop_type"], &last["model"]), (&json!("limit"), &json!("simulated")));
    assert_eq!((&last["timings"]["predicted_n"], &last["timings"]["prompt_n"]), (&json!(3), &json!(2)));

    let whole = sim.post("/completion", r#"{"prompt":"one two","n_predict":3}"#).json();
    assert_eq!(count_tokens(whole["content"].as_str().unwrap()), 3);
    assert_eq!(whole["tokens_predicted"], 3);
    let asked = r#"{"prompt":"one","n_predict":2,"stream":true,"timings_per_token":true}"#;
    assert!(sim.post("/completion", asked).events().iter().all(|event| event["timings"].is_object()));
}

#[test]
fn llama_cpp_adds_its_timings_to_chats_too() {
    let sim = Sim::start(fast("llama.cpp"));
    assert_eq!(sim.post(CHAT, &chat("")).json()["timings"]["predicted_n"], 3);
    let events = sim.post(CHAT, &chat(r#","stream":true"#)).events();
    assert_eq!(events[4]["timings"]["predicted_n"], 3);
    let usage = r#","stream":true,"stream_options":{"include_usage":true}"#;
    let events = sim.post(CHAT, &chat(usage)).events();
    assert_eq!((events[4].get("timings"), &events[5]["timings"]["predicted_n"]), (None, &json!(3)));
    assert_eq!(Sim::start(fast("vllm")).post(CHAT, &chat("")).json().get("timings"), None);
}

#[test]
fn no_tokens_are_a_stream_of_its_end_alone() {
    let sim = Sim::start(fast("llama.cpp"));
    let events = sim.post("/completion", r#"{"prompt":"x","n_predict":0,"stream":true}"#).events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["tokens_predicted"], 0);
}

#[test]
fn ollama_streams_json_lines_and_ends_with_counts_and_nanoseconds() {
    let sim = Sim::start(fast("ollama"));
    let messages = r#""messages":[{"role":"user","content":"hello"}]"#;
    for (path, asks, text) in
        [("/api/generate", r#""prompt":"hello""#, "/response"), ("/api/chat", messages, "/message/content")]
    {
        let answer = sim.post(path, &format!(r#"{{"model":"tiny","options":{{"num_predict":3}},{asks}}}"#));
        assert_eq!(answer.header("Content-Type"), Some("application/x-ndjson"));
        let lines = answer.lines();
        assert_eq!(lines.len(), 4);
        assert_eq!(count_tokens(&contents(&lines, text)), 3);
        assert!(lines[..3].iter().all(|line| line["done"] == false));
        let last = &lines[3];
        assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("length")));
        assert_eq!(last["eval_count"], 3);
        for name in ["prompt_eval_count", "total_duration", "prompt_eval_duration", "eval_duration"] {
            assert!(last[name].is_u64(), "{name} in {last}");
        }
        assert!(lines.iter().all(|line| line["model"] == "simulated/tiny"));

        let whole = sim.post(path, &format!(r#"{{"stream":false,{asks}}}"#)).json();
        assert_eq!(count_tokens(whole.pointer(text).unwrap().as_str().unwrap()), 16);
        assert_eq!((&whole["done_reason"], &whole["eval_count"]), (&json!("stop"), &json!(16)));
    }
    assert_eq!(sim.post("/api/generate", r#"{"model":"x"}"#).json()["done_reason"], "load");
}

#[test]
fn it_tells_what_clients_of_each_server_look_for() {
    let mut options = fast("llama.cpp");
    options.models = vec!["one".to_owned(), "two".to_owned()];
    options.context = 1000;
    options.simulation.slots = 2;
    let sim = Sim::start(options);
    let pointers = [
        ("/health", "/status", json!("ok")),
        ("/v1/models", "/data/1/id", json!("two")),
        ("/v1/models", "/data/0/max_model_len", json!(1000)),
        ("/v1/models", "/data/0/meta/n_ctx", json!(1000)),
        ("/props", "/default_generation_settings/n_ctx", json!(1000)),
        ("/props", "/total_slots", json!(2)),
        ("/slots", "/1/is_processing", json!(false)),
        ("/api/tags", "/models/0/name", json!("one")),
        ("/api/ps", "/models/0/context_length", json!(1000)),
    ];
    for (path, pointer, expected) in pointers {
        let answer = sim.get(path);
        assert_eq!(answer.header("Server"), Some("benchlet-sim"));
        assert_eq!(answer.json().pointer(pointer), Some(&expected), "{path}");
    }
    for path in ["/version", "/api/version"] {
        assert!(sim.get(path).json()["version"].as_str().unwrap().contains("simulated"));
    }
    assert!(sim.get("/metrics").text().contains("\nllamacpp:requests_processing 0\n"));
    let shown = sim.post("/api/show", r#"{"model":"one"}"#).json();
    assert_eq!(shown["model_info"]["simulated.context_length"], 1000);
}

#[test]
fn tokens_of_a_text_are_counted_and_cut_as_in_answers() {
    let sim = Sim::start(fast("llama.cpp"));
    let answer = sim.post("/tokenize", r#"{"content":"hello you","with_pieces":true}"#).json();
    let pieces: Vec<_> =
        answer["tokens"].as_array().unwrap().iter().map(|token| token["piece"].as_str().unwrap()).collect();
    assert_eq!(pieces, ["hell", "o ", "you"]);
    assert_eq!(sim.post("/tokenize", r#"{"content":"hello you"}"#).json()["tokens"], json!([0, 1, 2]));
    assert_eq!(sim.post("/tokenize", "{").status, 400);
}

#[test]
fn vllm_metrics_have_the_names_and_labels_of_the_real_ones() {
    let sim = Sim::start(fast("vllm"));
    sim.post("/v1/completions", r#"{"prompt":"one two","max_tokens":5}"#);
    let metrics = sim.get("/metrics").text();
    for sample in [
        r#"vllm:num_requests_running{engine="0",model_name="simulated"} 0.0"#,
        r#"vllm:num_requests_waiting{engine="0",model_name="simulated"} 0.0"#,
        r#"vllm:kv_cache_usage_perc{engine="0",model_name="simulated"} 0.0"#,
        r#"vllm:prefix_cache_queries_total{engine="0",model_name="simulated"} 2.0"#,
        r#"vllm:prefix_cache_hits_total{engine="0",model_name="simulated"} 0.0"#,
        r#"vllm:generation_tokens_total{engine="0",model_name="simulated"} 5.0"#,
    ] {
        assert!(metrics.lines().any(|line| line == sample), "{sample} in\n{metrics}");
    }
}

#[test]
fn what_cannot_be_served_has_the_status_that_the_real_servers_give() {
    let mut options = fast("openai");
    options.context = 20;
    let sim = Sim::start(options);
    let status = |answer: Answer| answer.status;
    assert_eq!(status(sim.get("/nosuch")), 404);
    assert_eq!(status(sim.get(CHAT)), 405);
    assert_eq!(status(sim.post(CHAT, "{")), 400);
    let long = sim.post("/v1/completions", &format!(r#"{{"prompt":"{}"}}"#, "word ".repeat(21)));
    assert_eq!((long.status, &long.json()["error"]["type"]), (400, &json!("exceed_context_size_error")));
    // What fits in leaves so much room for the answer.
    let short = sim.post("/v1/completions", &format!(r#"{{"prompt":"{}"}}"#, "word ".repeat(12))).json();
    assert_eq!(short["usage"]["total_tokens"], 20);
}

#[test]
fn the_model_that_answers_says_that_it_is_simulated_whatever_was_asked_for() {
    let sim = Sim::start(fast("openai"));
    let answer = sim.post(CHAT, r#"{"model":"llama-3.1-8b","messages":[{"role":"user","content":"x"}]}"#);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["model"], "simulated/llama-3.1-8b");
}
