//! What a server may do wrong to a request: each fault has its kind and its words in the record, and
//! spoils no other request.

use benchlet::request::load_test::Prompt;
use benchlet::run::measure_plan::{Dialect, MeasurePlan, PromptPlan};
use benchlet::run::request_record::{ErrorKind, Record, TokenSource};

use crate::measuring::{SHORT_MS, failure, plan, requests};
use crate::scripted_server::{After, Exchange, FINISH, HEAD, QUESTIONS, Server, chunk, content};

/// The record of one request to a server that answers so.
#[track_caller]
fn one(script: impl Fn(&mut Exchange) -> After + Send + Sync + 'static) -> Record {
    let server = Server::new(script);
    only(&plan(&server.url(), 1))
}

/// The same where time runs out.
#[track_caller]
fn one_in_short_time(script: impl Fn(&mut Exchange) -> After + Send + Sync + 'static) -> Record {
    let server = Server::new(script);
    only(&MeasurePlan { request_timeout_ms: SHORT_MS, ..plan(&server.url(), 1) })
}

#[track_caller]
fn only(plan: &MeasurePlan) -> Record {
    let [request] = requests(plan).try_into().expect("one request");
    request
}

/// The record of a request that this answer, sent at once, makes fail.
#[track_caller]
fn failed(answer: impl AsRef<[u8]> + Send + Sync + 'static, after: fn() -> After) -> Record {
    let request = one(move |exchange| {
        exchange.send(&answer);
        after()
    });
    assert!(request.error.is_some(), "{request:?}");
    request
}

#[track_caller]
fn assert_says(request: &Record, kind: ErrorKind, words: &[&str]) {
    let (found, message) = failure(request);
    assert_eq!(found, kind, "{message}");
    for word in words {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

#[test]
fn a_good_answer_is_timed_and_counted() {
    let request = one(Exchange::answer);
    assert_eq!(request.error, None);
    assert_eq!((request.status, request.text.as_deref()), (Some(200), Some("one two")));
    assert_eq!((request.chunks.len(), request.chars), (2, 7));
    assert_eq!(request.finish_reason.as_deref(), Some("stop"));
    // Chunks are no tokens.
    assert_eq!((request.tokens_out, request.token_source), (None, Some(TokenSource::Chunks)));
    assert!(!request.reconnected && !request.warmup);
    let times = [request.first_byte_us, request.first_chunk_us, request.first_token_us];
    let times = [times.as_slice(), &[request.first_output_us, request.last_token_us, Some(request.end_us)]];
    assert!(times.concat().is_sorted(), "{request:?}");
}

#[test]
fn a_server_that_is_gone_refuses_each_request_by_itself() {
    let server = Server::gone_after(QUESTIONS, |_| unreachable!());
    let url = server.url();
    let requests = requests(&plan(&url, 3));
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_says(request, ErrorKind::Connect, &[&url, "takes no connection", "refused"]);
    }
}

#[test]
fn no_token_in_time_is_a_time_out_of_the_first_token() {
    let silent = one_in_short_time(|_| After::Keep);
    assert_says(&silent, ErrorKind::TimeoutFirstToken, &["no token came within 0.3 s"]);
    assert!(silent.end_us >= SHORT_MS * 1_000 && silent.first_byte_us.is_none());
    let only_role = one_in_short_time(|exchange| {
        exchange.head();
        exchange.event(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#);
        After::Keep
    });
    assert_says(&only_role, ErrorKind::TimeoutFirstToken, &["no token"]);
    assert!(only_role.first_chunk_us.is_some());
}

#[test]
fn no_end_in_time_is_a_time_out_of_the_stream() {
    let request = one_in_short_time(|exchange| {
        exchange.head();
        exchange.content("one");
        After::Keep
    });
    assert_says(&request, ErrorKind::TimeoutStream, &["tokens came, the end did not within 0.3 s"]);
    assert_eq!(request.text.as_deref(), Some("one"), "what came is kept");
}

#[test]
fn a_server_that_never_pauses_and_never_ends_is_out_of_time_as_well() {
    let request = one_in_short_time(|exchange| {
        exchange.head();
        let pings = chunk(": ping\n".repeat(1_000));
        while exchange.send(&pings) {}
        After::Close
    });
    assert_says(&request, ErrorKind::TimeoutFirstToken, &["no token"]);
}

#[test]
fn a_status_that_is_no_success_is_told_with_the_servers_words() {
    for (line, body, words) in [
        ("429 Too Many Requests", "", vec!["HTTP 429"]),
        ("429 Too Many Requests", r#"{"error":{"message":"slow down"}}"#, vec!["HTTP 429: slow down"]),
        ("500 Internal Server Error", "", vec!["HTTP 500"]),
        ("500 Internal Server Error", "out of pages\n", vec!["HTTP 500: out of pages"]),
        ("503 Service Unavailable", r#"{"error":"Loading model"}"#, vec!["HTTP 503: Loading model"]),
    ] {
        let request = one(move |exchange| exchange.status(line, body));
        assert_says(&request, ErrorKind::HttpStatus, &words);
        assert_eq!(request.status, line[..3].parse().ok());
    }
}

#[test]
fn a_status_stands_even_where_its_answer_is_cut_or_never_ends() {
    let head = "HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nout of pa";
    let cut = failed(head, || After::Close);
    assert_says(&cut, ErrorKind::HttpStatus, &["HTTP 500: out of pa"]);
    let endless = one_in_short_time(move |exchange| {
        exchange.send(head);
        After::Keep
    });
    assert_says(&endless, ErrorKind::HttpStatus, &["HTTP 500"]);
}

#[test]
fn a_refused_request_leaves_the_connection_for_the_next() {
    let server = Server::new(|exchange| match exchange.number {
        0..3 => exchange.status("429 Too Many Requests", "{}"),
        _ => exchange.answer(),
    });
    let requests = requests(&plan(&server.url(), 4));
    assert_eq!(requests.iter().filter(|request| request.error.is_some()).count(), 3);
    assert!(requests.iter().all(|request| !request.reconnected));
    assert_eq!(server.sight().connections, QUESTIONS + 1);
}

#[test]
fn a_redirect_is_not_followed() {
    let request = failed(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/login\r\nContent-Length: 0\r\n\r\n",
        || After::Keep,
    );
    assert_says(&request, ErrorKind::HttpStatus, &["302", "http://127.0.0.1:1/login", "not followed"]);
}

#[test]
fn a_stream_that_ends_in_the_middle_is_cut() {
    let begun = [HEAD.as_bytes(), &chunk(format!("data: {}\n\n", content("one")))].concat();
    let closed = failed(begun.clone(), || After::Close);
    assert_says(&closed, ErrorKind::CutStream, &["ended before the answer did"]);
    assert_eq!(closed.text.as_deref(), Some("one"), "what came is kept");
    let reset = failed(begun, || After::Reset);
    assert_says(&reset, ErrorKind::CutStream, &["lost", "reset"]);
    let in_a_chunk = failed(format!("{HEAD}ff\r\ndata: {}", content("one")), || After::Close);
    assert_says(&in_a_chunk, ErrorKind::CutStream, &["ended before the answer did"]);
    let before_anything = failed("", || After::Close);
    assert_says(&before_anything, ErrorKind::CutStream, &["ended before the answer did"]);
}

#[test]
fn a_stream_without_a_length_that_stops_talking_is_cut_too() {
    let request = failed(format!("HTTP/1.1 200 OK\r\n\r\ndata: {}\n\n", content("one")), || After::Close);
    assert_says(&request, ErrorKind::CutStream, &["without saying why"]);
    let whole = one(|exchange| {
        let one = content("one");
        exchange.send(format!("HTTP/1.0 200 OK\r\n\r\ndata: {one}\n\ndata: [DONE]\n\n"));
        After::Close
    });
    assert_eq!((whole.error, whole.text.as_deref()), (None, Some("one")));
}

#[test]
fn malformed_chunks_are_no_payload() {
    let request = failed(format!("{HEAD}nonsense\r\n"), || After::Keep);
    assert_says(&request, ErrorKind::BadPayload, &["chunks are malformed"]);
}

#[test]
fn a_piece_that_is_no_json_is_shown() {
    let request = one(|exchange| {
        exchange.head();
        exchange.content("one");
        exchange.event("{\"choices\": oops");
        exchange.finish();
        After::Keep
    });
    assert_says(&request, ErrorKind::BadPayload, &["no JSON", "oops"]);
}

#[test]
fn a_page_where_a_stream_was_asked_for_is_shown() {
    for body in ["<html><body>Log in</body></html>", r#"{"choices":[{"message":{"content":"all"}}]}"#] {
        let request = one(move |exchange| exchange.status("200 OK", body));
        assert_says(&request, ErrorKind::BadPayload, &["no stream of tokens", "begins with", &body[2..9]]);
    }
}

#[test]
fn an_answer_in_one_piece_is_read_where_no_stream_is_asked_for() {
    let server = Server::new(|exchange| {
        let text = r#"{"choices":[{"message":{"content":"all"},"finish_reason":"stop"}],"usage":{"completion_tokens":1}}"#;
        exchange.status("200 OK", text)
    });
    let request = only(&MeasurePlan { stream: false, ..plan(&server.url(), 1) });
    assert_eq!(request.error, None);
    assert_eq!((request.text.as_deref(), request.tokens_out), (Some("all"), Some(1)));
    // Where all comes at once there is no first token.
    assert_eq!((request.first_token_us, request.chunks.len()), (None, 0));
    assert!(request.last_token_us.is_some());
}

#[test]
fn an_error_within_the_stream_is_the_servers() {
    let request = one(|exchange| {
        exchange.head();
        exchange.content("one");
        exchange.event(r#"{"error":{"message":"the model fell over","code":500}}"#);
        exchange.finish();
        After::Keep
    });
    assert_says(&request, ErrorKind::ServerError, &["the model fell over"]);
    let outside = one(|exchange| {
        exchange.head();
        exchange.send(chunk("error: {\"message\":\"slot lost\"}\n\n"));
        exchange.finish();
        After::Keep
    });
    assert_says(&outside, ErrorKind::ServerError, &["slot lost"]);
}

#[test]
fn what_is_no_http_is_shown() {
    let request = failed("SSH-2.0-OpenSSH_9.6\r\n", || After::Keep);
    assert_says(&request, ErrorKind::BadPayload, &["no HTTP", "SSH-2.0"]);
}

#[test]
fn a_head_without_end_is_given_up() {
    let request = one(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n");
        while exchange.send("X-More: of this\r\n".repeat(100)) {}
        After::Close
    });
    assert_says(&request, ErrorKind::BadPayload, &["head is larger than 65536 bytes"]);
    let slow = one_in_short_time(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nX-More: of th");
        After::Keep
    });
    assert_says(&slow, ErrorKind::TimeoutFirstToken, &["no token"]);
}

#[test]
fn a_character_that_is_split_over_chunks_arrives_whole() {
    let request = one(|exchange| {
        exchange.head();
        let event = format!("data: {}\n\n", content("né 🦀"));
        for byte in event.as_bytes() {
            exchange.send(chunk([*byte]));
        }
        exchange.finish();
        After::Keep
    });
    assert_eq!((request.error, request.text.as_deref(), request.chars), (None, Some("né 🦀"), 4));
}

#[test]
fn several_events_in_one_write_are_several_chunks() {
    let request = one(|exchange| {
        let events: String =
            ["a", "b", "c"].map(content).iter().map(|event| format!("data: {event}\n\n")).collect();
        exchange.send([HEAD.as_bytes(), &chunk(events)].concat());
        exchange.finish();
        After::Keep
    });
    assert_eq!((request.error, request.text.as_deref()), (None, Some("abc")));
    assert_eq!(request.chunks.len(), 3);
}

#[test]
fn a_first_chunk_with_nothing_but_a_role_is_no_token() {
    let request = one(|exchange| {
        exchange.head();
        exchange.event(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#);
        exchange.content("one");
        exchange.finish();
        After::Keep
    });
    assert_eq!((request.error.as_ref(), request.chunks.len()), (None, 1));
    assert!(request.first_chunk_us <= request.first_token_us);
    assert_eq!(request.chunks[0], u32::try_from(request.first_token_us.unwrap()).unwrap());
}

#[test]
fn reasoning_is_a_token_and_no_output() {
    for field in ["reasoning_content", "reasoning"] {
        let request = one(move |exchange| {
            exchange.head();
            exchange.event(&format!(r#"{{"choices":[{{"delta":{{"{field}":"hm"}}}}]}}"#));
            exchange.content("one");
            exchange.finish();
            After::Keep
        });
        assert_eq!((request.error.as_ref(), request.chunks.len()), (None, 2), "{field}");
        assert!(request.first_token_us <= request.first_output_us);
        assert_eq!(request.last_token_us, request.first_output_us, "the output is the second token");
        assert_eq!(request.chars, 5);
    }
    let never = one(|exchange| {
        exchange.head();
        exchange.event(r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#);
        exchange.finish();
        After::Keep
    });
    assert!(never.first_token_us.is_some() && never.first_output_us.is_none());
}

#[test]
fn several_tokens_of_a_chunk_are_counted_where_the_server_says_so() {
    let server = Server::new(|exchange| {
        exchange.head();
        for (text, tokens) in [("", 0), ("one two", 2), (" three", 3), (" four five six", 6)] {
            let delta = format!(r#"{{"content":"{text}"}}"#);
            let usage = format!(r#"{{"prompt_tokens":4,"completion_tokens":{tokens}}}"#);
            exchange.event(&format!(r#"{{"choices":[{{"delta":{delta}}}],"usage":{usage}}}"#));
        }
        exchange.event(FINISH);
        exchange.event(r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":7}}"#);
        exchange.finish();
        After::Keep
    });
    let mut plan = plan(&server.url(), 1);
    plan.targets[0].dialect = Dialect::Vllm;
    let request = only(&plan);
    assert_eq!(request.error, None);
    assert_eq!(request.chunk_tokens, [2, 1, 3]);
    assert_eq!((request.tokens_in, request.tokens_out), (Some(4), Some(7)));
    assert_eq!(request.token_source, Some(TokenSource::Usage));
    let asked = &server.sight().prompts[0].body["stream_options"];
    assert_eq!(asked["continuous_usage_stats"], true);
}

#[test]
fn a_connection_that_the_server_ends_after_each_answer_is_opened_again() {
    for says_so in [true, false] {
        let server = Server::new(move |exchange| {
            let connection = if says_so { "Connection: close\r\n" } else { "" };
            let head = HEAD.replace("\r\n\r\n", &format!("\r\n{connection}\r\n"));
            exchange.send(head);
            exchange.content("one");
            exchange.finish();
            After::Close
        });
        let requests = requests(&plan(&server.url(), 3));
        assert_eq!(requests.iter().map(|request| &request.error).collect::<Vec<_>>(), [&None; 3]);
        let reconnected: Vec<bool> = requests.iter().map(|request| request.reconnected).collect();
        assert_eq!(reconnected, [false, true, true], "says so: {says_so}");
    }
}

#[test]
fn a_request_that_meets_the_end_of_an_idle_connection_is_sent_once_more() {
    for reset in [false, true] {
        let server = Server::new(move |exchange| match exchange.number {
            1 if reset => After::Reset,
            1 => After::Close,
            _ => exchange.answer(),
        });
        let requests = requests(&plan(&server.url(), 2));
        assert_eq!(requests.iter().map(|request| &request.error).collect::<Vec<_>>(), [&None; 2]);
        assert!(requests[1].reconnected);
        let prompts = server.sight().prompts;
        assert_eq!(prompts.len(), 3, "the second one came twice");
        assert_ne!(prompts[1].connection, prompts[2].connection);
    }
}

#[test]
fn a_request_that_a_new_connection_loses_again_is_cut_and_not_sent_for_ever() {
    let server = Server::new(|exchange| match exchange.number {
        0 => exchange.answer(),
        _ => After::Close,
    });
    let requests = requests(&plan(&server.url(), 2));
    assert_says(&requests[1], ErrorKind::CutStream, &["ended before the answer did"]);
    assert_eq!(server.sight().prompts.len(), 3);
}

#[test]
fn bytes_behind_an_answer_spoil_neither_it_nor_the_next() {
    let server = Server::new(|exchange| {
        let events = format!("data: {}\n\ndata: {FINISH}\n\n", content("one"));
        let end = b"0\r\n\r\nHTTP/1.1 500 Nobody asked\r\n\r\n";
        exchange.send([HEAD.as_bytes(), &chunk(events), end].concat());
        After::Keep
    });
    let requests = requests(&plan(&server.url(), 2));
    assert_eq!(requests.iter().map(|request| &request.error).collect::<Vec<_>>(), [&None; 2]);
    assert!(requests[1].reconnected, "what else the connection holds is nobody's answer");
}

#[test]
fn one_fault_in_the_middle_spoils_no_other_request() {
    let server = Server::new(|exchange| match exchange.number {
        2 => After::Reset,
        5 => exchange.status("500 No", ""),
        _ => exchange.answer(),
    });
    let requests = requests(&plan(&server.url(), 9));
    let kinds: Vec<ErrorKind> =
        requests.iter().filter_map(|request| Some(request.error.as_ref()?.kind)).collect();
    assert_eq!((requests.len(), kinds), (9, vec![ErrorKind::HttpStatus]));
    assert_eq!(server.sight().prompts.len(), 10, "the one that was reset was sent once more");
}

#[test]
fn the_prompts_own_limits_go_with_them() {
    let server = Server::new(Exchange::answer);
    let mut plan = plan(&server.url(), 2);
    let PromptPlan::Inline(prompts) = &mut plan.prompts else { unreachable!() };
    prompts.push(Prompt { max_tokens: Some(3), temperature: Some(0.5), ..prompts[0].clone() });
    let asked: Vec<u32> = requests(&plan).iter().map(|request| request.max_tokens).collect();
    assert_eq!(asked, [16, 3]);
    let prompts = server.sight().prompts;
    assert_eq!((&prompts[1].body["max_tokens"], &prompts[1].body["temperature"]), (&3.into(), &0.5.into()));
}
