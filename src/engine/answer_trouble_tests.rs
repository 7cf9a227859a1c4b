//! What servers send that nobody recorded: odd streams, and those that break.

use super::tests::{read, read_parts, whole, wire};
use super::*;
use crate::request::load_test::Api;
use crate::run::measure_plan::{CustomEngine, Dialect};

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn events(data: &[&str]) -> Vec<u8> {
    let events: Vec<String> = data.iter().map(|data| format!("data: {data}\n\n")).collect();
    whole(CHUNKED, events.concat().as_bytes())
}

fn chat(data: &[&str]) -> Record {
    read(&wire(Dialect::OpenAi, Api::Chat), true, &events(data))
}

/// A whole answer with its length.
fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[track_caller]
fn assert_fails(record: &Record, kind: ErrorKind, words: &str) {
    let error = record.error.as_ref().expect("an error");
    assert_eq!(error.kind, kind, "{}", error.message);
    assert!(error.message.contains(words), "{}", error.message);
}

const ROLE: &str = r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
const HI: &str = r#"{"choices":[{"delta":{"content":"hi"}}]}"#;
const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;

#[test]
fn reasoning_is_the_first_token_but_not_the_first_output() {
    for name in ["reasoning_content", "reasoning"] {
        let thought = format!(r#"{{"choices":[{{"delta":{{"{name}":"hm"}}}}]}}"#);
        let record = chat(&[ROLE, &thought, &thought, HI, STOP, "[DONE]"]);
        assert_eq!(record.error, None);
        assert_eq!((record.chunks.len(), record.chars, record.text.as_deref()), (3, 6, Some("hmhmhi")));
        assert!(record.first_token_us < record.first_output_us, "{record:?}");
        assert_eq!(record.first_output_us, record.last_token_us);
    }
}

#[test]
fn a_tool_call_is_output() {
    let name = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"look","arguments":""}}]}}]}"#;
    let rest = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#;
    let end = r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#;
    let record = chat(&[ROLE, name, rest, end, "[DONE]"]);
    assert_eq!(record.finish_reason.as_deref(), Some("tool_calls"));
    assert_eq!((record.chunks.len(), record.text.as_deref()), (2, Some("look{}")));
    assert_eq!(record.first_output_us, record.first_token_us);
}

#[test]
fn usage_in_every_chunk_tells_the_tokens_of_each() {
    let role = r#"{"choices":[{"delta":{"role":"assistant","content":""}}],"usage":{"prompt_tokens":9,"completion_tokens":0}}"#;
    let chunk = |text: &str, total: u32| {
        format!(
            r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}],"usage":{{"prompt_tokens":9,"completion_tokens":{total}}}}}"#
        )
    };
    // The middle one holds half a character back and shows it with the next.
    let (one, none, three) = (chunk("a", 1), chunk("", 2), chunk("bc", 4));
    let last = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":8}}}"#;
    let record = read(
        &wire(Dialect::Vllm, Api::Chat),
        true,
        &events(&[role, &one, &none, &three, STOP, last, "[DONE]"]),
    );
    assert_eq!(record.chunk_tokens, [1, 3]);
    assert_eq!((record.tokens_in, record.tokens_out, record.tokens_cached), (Some(9), Some(5), Some(8)));
    assert_eq!(record.token_source, Some(TokenSource::Usage));
}

#[test]
fn chunks_are_never_called_tokens() {
    let record = chat(&[ROLE, HI, HI, STOP, "[DONE]"]);
    assert_eq!((record.chunks.len(), record.tokens_out), (2, None));
    assert_eq!(record.token_source, Some(TokenSource::Chunks));
    assert!(record.chunk_tokens.is_empty());
}

#[test]
fn ollama_chats_think_first_and_count_at_the_end() {
    let lines = concat!(
        r#"{"model":"m","created_at":"2025-01-01T00:00:00Z","message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}"#,
        "\n",
        r#"{"model":"m","created_at":"2025-01-01T00:00:00Z","message":{"role":"assistant","content":"Ja"},"done":false}"#,
        "\n",
        r#"{"model":"m","created_at":"2025-01-01T00:00:00Z","message":{"role":"assistant","content":"!"},"done":false}"#,
        "\n",
        r#"{"model":"m","created_at":"2025-01-01T00:00:00Z","message":{"role":"assistant","content":""},"done_reason":"length","done":true,"total_duration":9000000,"load_duration":1000000,"prompt_eval_count":26,"prompt_eval_duration":1500000,"eval_count":7,"eval_duration":6250000}"#,
        "\n",
    );
    let record = read(&wire(Dialect::Ollama, Api::Chat), true, &whole(CHUNKED, lines.as_bytes()));
    assert_eq!(record.error, None);
    assert_eq!((record.chunks.len(), record.text.as_deref()), (3, Some("HmJa!")));
    assert!(record.first_token_us < record.first_output_us);
    assert_eq!((record.tokens_in, record.tokens_out, record.tokens_cached), (Some(26), Some(7), None));
    assert_eq!(record.token_source, Some(TokenSource::Engine));
    assert_eq!(record.finish_reason.as_deref(), Some("length"));
    let server = record.server.expect("the server's times");
    assert_eq!((server.prefill_ms, server.decode_ms), (Some(1.5), Some(6.25)));
}

#[test]
fn ollama_generates_in_a_stream_and_in_one_piece() {
    let wire = wire(Dialect::Ollama, Api::Completions);
    let end = r#""done":true,"done_reason":"stop","context":[1,2],"prompt_eval_count":3,"eval_count":2}"#;
    let lines = format!(
        "{{\"response\":\"\",\"thinking\":\"o\",\"done\":false}}\n{{\"response\":\"yes\",\"done\":false}}\n{{\"response\":\"\",{end}\n"
    );
    let record = read(&wire, true, &whole(CHUNKED, lines.as_bytes()));
    assert_eq!((record.chunks.len(), record.text.as_deref()), (2, Some("oyes")));
    assert_eq!((record.tokens_in, record.tokens_out), (Some(3), Some(2)));
    let record = read(&wire, false, &answer("200 OK", "", &format!("{{\"response\":\"yes\",{end}")));
    assert_eq!((record.error.clone(), record.first_token_us), (None, None));
    assert_eq!((record.tokens_out, record.finish_reason.as_deref()), (Some(2), Some("stop")));
}

#[test]
fn an_error_in_the_middle_of_a_stream_is_the_servers() {
    let object = r#"{"error":{"message":"out of memory","type":"server_error"}}"#;
    let record = chat(&[ROLE, HI, object]);
    assert_fails(&record, ErrorKind::ServerError, "out of memory");
    assert_eq!((record.chunks.len(), record.status), (1, Some(200)), "what came before stands");
    let older = r#"{"object":"error","message":"the engine died","code":500}"#;
    assert_fails(&chat(&[HI, older, "[DONE]"]), ErrorKind::ServerError, "the engine died");
    let field = format!("data: {HI}\n\nerror: {{\"code\":500,\"message\":\"slot lost\"}}\n\n");
    for dialect in [Dialect::LlamaCpp, Dialect::OpenAi] {
        let record = read(&wire(dialect, Api::Chat), true, &whole(CHUNKED, field.as_bytes()));
        assert_fails(&record, ErrorKind::ServerError, "slot lost");
    }
    let line = whole(CHUNKED, b"{\"error\":\"model runner has unexpectedly stopped\"}\n");
    let record = read(&wire(Dialect::Ollama, Api::Chat), true, &line);
    assert_fails(&record, ErrorKind::ServerError, "unexpectedly stopped");
}

#[test]
fn a_stream_that_does_not_say_why_it_ended_was_cut() {
    assert_fails(&chat(&[ROLE, HI]), ErrorKind::CutStream, "without saying why");
    assert_fails(&chat(&[ROLE]), ErrorKind::CutStream, "without saying why");
    let lines = whole(CHUNKED, b"{\"message\":{\"content\":\"a\"},\"done\":false}\n");
    let record = read(&wire(Dialect::Ollama, Api::Chat), true, &lines);
    assert_fails(&record, ErrorKind::CutStream, "without saying why");
}

#[test]
fn a_connection_that_ends_early_cuts_the_stream_wherever_it_is() {
    let bytes = events(&[ROLE, HI, STOP, "[DONE]"]);
    for at in 0..bytes.len() {
        let record = read(&wire(Dialect::OpenAi, Api::Chat), true, &bytes[..at]);
        assert_fails(&record, ErrorKind::CutStream, "the connection ended before the answer did");
        assert_eq!(record.first_byte_us.is_some(), at > 0);
    }
}

#[test]
fn a_body_without_length_that_ends_within_a_piece_was_cut() {
    let open = format!("HTTP/1.0 200 OK\r\n\r\ndata: {HI}\n\n{}", "data: {\"choices\":[{\"del");
    let record = read(&wire(Dialect::OpenAi, Api::Chat), true, open.as_bytes());
    assert_fails(&record, ErrorKind::CutStream, "within a piece");
    let open = b"HTTP/1.0 200 OK\r\n\r\n<html>";
    assert_fails(&read(&wire(Dialect::OpenAi, Api::Chat), false, open), ErrorKind::BadPayload, "<html>");
}

#[test]
fn what_is_no_json_is_shown() {
    assert_fails(&chat(&[HI, "{nonsense"]), ErrorKind::BadPayload, "{nonsense");
    assert_fails(&chat(&[r#"{"choices":"none"}"#]), ErrorKind::BadPayload, "expected a sequence");
    let page = answer("200 OK", "Content-Type: text/html\r\n", "<html>Welcome</html>");
    for (dialect, stream) in [(Dialect::OpenAi, false), (Dialect::Ollama, true), (Dialect::Ollama, false)] {
        let record = read(&wire(dialect, Api::Chat), stream, &page);
        assert_fails(&record, ErrorKind::BadPayload, "<html>Welcome");
    }
}

#[test]
fn an_answer_of_another_kind_is_no_success() {
    let page =
        answer("200 OK", "", r#"{"id":1,"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#);
    let record = read(&wire(Dialect::OpenAi, Api::Chat), true, &page);
    assert_fails(&record, ErrorKind::BadPayload, "no stream of tokens: it begins with");
    for body in ["{}", r#"{"status":"ok"}"#, ""] {
        let record = read(&wire(Dialect::OpenAi, Api::Chat), false, &answer("200 OK", "", body));
        assert_fails(&record, ErrorKind::BadPayload, "nothing in the answer is a text of openai");
    }
    // How much of it is shown depends on how much has come.
    let banner: &[u8] = b"220 smtp.example.com ESMTP\r\n";
    let record = read_parts(&wire(Dialect::OpenAi, Api::Chat), true, [banner].into_iter());
    assert_fails(&record, ErrorKind::BadPayload, "220 smtp");
}

#[test]
fn a_pointer_that_finds_no_text_is_told() {
    let engine = CustomEngine {
        name: "mine".to_owned(),
        port: None,
        health: "/".to_owned(),
        generate: "/run".to_owned(),
        payload: r#"{"q": {{prompt}}}"#.to_owned(),
        framing: Framing::Ndjson,
        text: "/out".to_owned(),
        tokens_in: None,
        tokens_out: None,
        tokens_cached: None,
        finish_reason: None,
        metrics: None,
        headers: Default::default(),
    };
    let wire = wire(Dialect::Custom(Box::new(engine)), Api::Chat);
    let wrong = read(&wire, true, &whole(CHUNKED, b"{\"text\":\"a\"}\n{\"text\":\"b\"}\n"));
    assert_fails(&wrong, ErrorKind::BadPayload, "nothing in the answer is a text of mine");
    let right = read(&wire, true, &whole(CHUNKED, b"{\"out\":\"a\"}\n{\"out\":\"b\"}\n"));
    assert_eq!((right.error.clone(), right.chunks.len(), right.chars), (None, 2, 2));
}

#[test]
fn characters_are_whole_however_their_bytes_come() {
    let text = r#"{"choices":[{"delta":{"content":"né 日本 🎉"}}]}"#;
    let record = chat(&[text, r#"{"choices":[{"delta":{"content":"\ud83c\udf89\n"}}]}"#, STOP, "[DONE]"]);
    assert_eq!((record.chars, record.text.as_deref()), (9, Some("né 日本 🎉🎉\n")));
}

#[test]
fn a_redirect_is_named_and_not_followed() {
    let moved = answer("302 Found", "Location: https://other.example/v1\r\n", "");
    let record = read(&wire(Dialect::OpenAi, Api::Chat), true, &moved);
    assert_fails(&record, ErrorKind::HttpStatus, "HTTP 302: a redirect to https://other.example/v1");
    assert_eq!(record.status, Some(302));
}

#[test]
fn every_status_that_is_no_success_has_the_servers_words() {
    for (status, body, words) in [
        (
            "429 Too Many Requests",
            r#"{"error":{"message":"Rate limit reached"}}"#,
            "HTTP 429: Rate limit reached",
        ),
        ("429 Too Many Requests", "slow down\n", "HTTP 429: slow down"),
        ("500 Internal Server Error", r#"{"error":"it broke"}"#, "HTTP 500: it broke"),
        ("500 Internal Server Error", "", "HTTP 500"),
        ("422 Unprocessable Entity", r#"{"detail":[{"msg":"Field required"}]}"#, "Field required"),
        ("405 Method Not Allowed", r#"{"detail":"Method Not Allowed"}"#, "HTTP 405: Method Not Allowed"),
    ] {
        for (dialect, stream) in [(Dialect::Vllm, true), (Dialect::Ollama, true), (Dialect::OpenAi, false)] {
            let record = read(&wire(dialect, Api::Chat), stream, &answer(status, "", body));
            assert_fails(&record, ErrorKind::HttpStatus, words);
            assert_eq!(record.status.map(|code| code.to_string()).as_deref(), Some(&status[..3]));
        }
    }
}

#[test]
fn a_message_has_bounds() {
    let long = answer("500 Oh", "", &"é".repeat(10_000));
    let record = read(&wire(Dialect::OpenAi, Api::Chat), true, &long);
    assert_eq!(record.error.expect("an error").message.chars().count(), MESSAGE);
}

#[test]
fn an_empty_answer_that_says_why_is_a_success_without_a_token() {
    let record = chat(&[ROLE, STOP, "[DONE]"]);
    assert_eq!((record.error.clone(), record.first_token_us, record.last_token_us), (None, None, None));
    assert_eq!((record.chars, record.token_source), (0, None));
    assert!(record.first_chunk_us.is_some());
}

#[test]
fn a_connection_is_kept_only_after_a_whole_answer_that_allows_it() {
    let reuse = |bytes: &[u8]| {
        let wire = wire(Dialect::OpenAi, Api::Chat);
        let content = crate::request::load_test::Content::Text("x".to_owned());
        let ask = crate::engine::wire::Ask {
            model: None,
            content: &content,
            max_tokens: 1,
            temperature: 0.0,
            ignore_eos: false,
            stream: true,
            cold: false,
            rendered: false,
            salt: "",
        };
        let prepared = wire.prepare(&ask, false).unwrap();
        let mut answer = Answer::new(&wire, &prepared, Record::default(), KeptText::Nothing);
        // An error of the answer says nothing about the connection.
        drop(answer.feed(bytes, 1));
        answer.can_reuse()
    };
    let bytes = events(&[HI, STOP, "[DONE]"]);
    assert!(reuse(&bytes));
    assert!(!reuse(&bytes[..bytes.len() - 3]));
    assert!(reuse(&answer("429 Too Many Requests", "", "later")));
    assert!(!reuse(&answer("429 Too Many Requests", "Connection: close\r\n", "later")));
    assert!(!reuse(b"HTTP/1.0 200 OK\r\n\r\ndata: [DONE]\n\n"));
}
