use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::test_client::{Sim, request};
use super::{End, Options};
use crate::request::load_test::Simulation;

const COMPLETIONS: &str = "/v1/completions";
const STREAM: &str = r#"{"prompt":"hello","max_tokens":5,"stream":true}"#;
const WHOLE: &str = r#"{"prompt":"hello","max_tokens":5}"#;
/// Nothing happens before a test ends.
const NEVER_MS: f64 = 3_600_000.0;

fn paced(ttft_ms: f64, itl_ms: f64) -> Options {
    let simulation = Simulation { ttft_ms, itl_ms, ..Simulation::default() };
    Options { simulation, ..Options::default() }
}

fn logged(mut options: Options) -> (Options, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("truth.jsonl");
    options.log = Some(log.clone());
    (options, log, folder)
}

#[test]
fn tokens_never_come_before_they_are_due() {
    let (options, log, _folder) = logged(paced(60.0, 15.0));
    let sim = Sim::start(options);
    for body in [STREAM, WHOLE] {
        let sent = Instant::now();
        let answer = sim.post(COMPLETIONS, body);
        assert_eq!((answer.status, answer.cut), (200, false));
        assert!(sent.elapsed() >= Duration::from_millis(60 + 4 * 15), "{:?}", sent.elapsed());
    }
    let truths = sim.truths(&log);
    let stream = &truths[0];
    let first = stream.first_token_us.unwrap();
    assert!(first - stream.received_us >= 60_000, "{stream:?}");
    assert!(stream.last_token_us.unwrap() - stream.received_us >= 120_000, "{stream:?}");
    assert_eq!(stream.gaps_us.len(), 4);
    let gaps: u64 = stream.gaps_us.iter().map(|gap| u64::from(*gap)).sum();
    assert_eq!(first + gaps, stream.last_token_us.unwrap());
    let whole = &truths[1];
    assert!(whole.first_token_us.unwrap() - whole.received_us >= 120_000, "{whole:?}");
    assert_eq!((whole.tokens, whole.gaps_us.len()), (5, 0));
}

#[test]
fn the_log_has_a_line_for_each_request_and_how_it_ended() {
    let mut options = paced(0.0, 0.0);
    options.simulation.cut_percent = 40.0;
    options.simulation.error_percent = 30.0;
    let (options, log, _folder) = logged(options);
    let sim = Sim::start(options);
    let mut seen = Vec::new();
    for _ in 0..40 {
        let answer = sim.post(COMPLETIONS, STREAM);
        seen.push(match (answer.status, answer.cut) {
            (500, false) => End::Refused,
            (200, true) => End::Cut,
            (200, false) => End::Whole,
            other => panic!("{other:?}"),
        });
    }
    let truths = sim.truths(&log);
    let ids: Vec<u64> = truths.iter().map(|truth| truth.id).collect();
    assert_eq!(ids, (0..40).collect::<Vec<_>>());
    let ends: Vec<End> = truths.iter().map(|truth| truth.end).collect();
    assert_eq!(ends, seen);
    for truth in truths {
        let expected = match truth.end {
            End::Whole => 5..=5,
            End::Cut => 1..=4,
            End::Refused | End::Gone => 0..=0,
        };
        assert!(expected.contains(&truth.tokens), "{truth:?}");
    }
}

#[test]
fn failures_are_the_same_for_a_seed_and_others_for_another() {
    let outcomes = |seed: u64| -> Vec<(u16, usize)> {
        let mut options = paced(0.0, 0.0);
        options.simulation.error_percent = 30.0;
        options.simulation.cut_percent = 30.0;
        options.seed = seed;
        let sim = Sim::start(options);
        (0..30)
            .map(|_| {
                let answer = sim.post(COMPLETIONS, STREAM);
                (answer.status, answer.chunks.len())
            })
            .collect()
    };
    let first = outcomes(11);
    assert_eq!(first, outcomes(11));
    assert_ne!(first, outcomes(12));
}

#[test]
fn a_cut_closes_the_connection_within_the_answer_streamed_or_not() {
    let mut options = paced(0.0, 1.0);
    options.simulation.cut_percent = 100.0;
    let sim = Sim::start(options);
    for body in [STREAM, WHOLE] {
        let mut client = sim.client();
        let answer = client.post(COMPLETIONS, body);
        assert!(answer.cut);
        assert!(!answer.text().is_empty());
        assert!(!answer.text().contains("[DONE]"));
    }
}

#[test]
fn an_error_on_purpose_leaves_the_connection_usable() {
    let mut options = paced(0.0, 0.0);
    options.simulation.error_percent = 100.0;
    let sim = Sim::start(options);
    let mut client = sim.client();
    for _ in 0..3 {
        let answer = client.post(COMPLETIONS, STREAM);
        assert_eq!(answer.status, 500);
        assert_eq!(answer.json()["error"]["message"], "simulated failure");
    }
}

#[test]
fn an_unpaced_stream_is_whole_and_shares_its_writes() {
    let (options, log, _folder) = logged(paced(0.0, 0.0));
    let sim = Sim::start(options);
    let answer = sim.post(COMPLETIONS, r#"{"prompt":"x","max_tokens":2000,"stream":true}"#);
    // 2,000 tokens, the reason and the end.
    assert_eq!(answer.events().len(), 2002);
    let truths = sim.truths(&log);
    assert_eq!((truths[0].tokens, truths[0].gaps_us.len()), (2000, 1999));
    assert!(truths[0].gaps_us.iter().filter(|gap| **gap == 0).count() > 1000);
}

#[test]
fn a_request_above_the_slots_waits_until_a_client_goes() {
    let mut options = paced(NEVER_MS, 0.0);
    options.simulation.slots = 1;
    let sim = Sim::start(options);
    let mut first = sim.client();
    first.send(COMPLETIONS, STREAM);
    sim.await_metric("num_requests_running", 1.0);
    let mut second = sim.client();
    second.send(COMPLETIONS, STREAM);
    sim.await_metric("num_requests_waiting", 1.0);
    sim.await_metric("num_requests_running", 1.0);
    drop(first);
    sim.await_metric("num_requests_waiting", 0.0);
    sim.await_metric("num_requests_running", 1.0);
    drop(second);
    sim.await_metric("num_requests_running", 0.0);
    sim.await_metric("kv_cache_usage_perc", 0.0);
}

#[test]
fn with_one_slot_answers_follow_each_other_each_after_its_own_wait() {
    let mut options = paced(15.0, 2.0);
    options.simulation.slots = 1;
    let (options, log, _folder) = logged(options);
    let sim = Sim::start(options);
    let mut clients: Vec<_> = (0..4).map(|_| sim.client()).collect();
    for client in &mut clients {
        client.send(COMPLETIONS, STREAM);
    }
    for client in &mut clients {
        assert_eq!(client.answer().events().len(), 7);
    }
    let mut truths = sim.truths(&log);
    truths.sort_by_key(|truth| truth.first_token_us);
    for pair in truths.windows(2) {
        let (before, after) = (pair[0].last_token_us.unwrap(), pair[1].first_token_us.unwrap());
        assert!(after - before >= 15_000, "{pair:?}");
    }
}

#[test]
fn a_client_that_goes_is_logged_as_gone() {
    let (options, log, _folder) = logged(paced(NEVER_MS, 0.0));
    let sim = Sim::start(options);
    let mut client = sim.client();
    client.send(COMPLETIONS, STREAM);
    sim.await_metric("num_requests_running", 1.0);
    drop(client);
    sim.await_metric("num_requests_running", 0.0);
    let truths = sim.truths(&log);
    assert_eq!((truths[0].end, truths[0].first_token_us), (End::Gone, None));
}

#[test]
fn it_ends_at_once_with_streams_open() {
    let sim = Sim::start(paced(0.0, NEVER_MS));
    let mut client = sim.client();
    client.send(COMPLETIONS, STREAM);
    sim.await_metric("generation_tokens_total", 1.0);
    sim.stop();
    let answer = client.answer();
    assert!(answer.cut);
    assert_eq!(answer.chunks.len(), 1);
}

#[test]
fn a_key_is_asked_for_everywhere_but_at_the_health() {
    let sim = Sim::start(Options { key: Some("secret".to_owned()), ..paced(0.0, 0.0) });
    assert_eq!(sim.post(COMPLETIONS, WHOLE).status, 401);
    assert_eq!(sim.get("/v1/models").status, 401);
    assert_eq!(sim.get("/health").status, 200);
    for (sent, status) in [("Bearer secret", 200), ("Bearer other", 401), ("secret", 401)] {
        let mut client = sim.client();
        client.write(format!("GET /v1/models HTTP/1.1\r\nAuthorization: {sent}\r\n\r\n").as_bytes());
        assert_eq!(client.answer().status, status, "{sent}");
    }
}

#[test]
fn a_stall_begins_behind_so_many_requests_and_holds_everything_up() {
    let options = Options { stall_after: Some(2), stall_ms: 400, ..paced(0.0, 0.0) };
    let (options, log, _folder) = logged(options);
    let sim = Sim::start(options);
    let mut client = sim.client();
    for _ in 0..2 {
        client.post(COMPLETIONS, WHOLE);
    }
    let sent = Instant::now();
    client.send(COMPLETIONS, STREAM);
    assert_eq!(client.answer().events().len(), 7);
    assert!(sent.elapsed() >= Duration::from_millis(400), "{:?}", sent.elapsed());
    let truths = sim.truths(&log);
    assert!(truths[2].first_token_us.unwrap() - truths[2].received_us >= 399_000, "{:?}", truths[2]);
}

#[test]
fn a_stream_that_is_stalled_goes_on_at_its_pace() {
    // On a machine with much else to do the first stream may end before the second request begins the
    // stall; then there is nothing to see, and it is tried again.
    for _ in 0..20 {
        let options = Options { stall_after: Some(1), stall_ms: 300, ..paced(0.0, 40.0) };
        let (options, log, _folder) = logged(options);
        let sim = Sim::start(options);
        let mut clients = [sim.client(), sim.client()];
        for client in &mut clients {
            client.send(COMPLETIONS, STREAM);
        }
        for client in &mut clients {
            assert_eq!(client.answer().events().len(), 7);
        }
        let mut truths = sim.truths(&log);
        truths.sort_by_key(|truth| truth.id);
        let (first, stalling) = (&truths[0], &truths[1]);
        let last = first.last_token_us.unwrap();
        if last > stalling.received_us {
            // Without catching up the stall comes on top, less what was left of the gap that it fell into.
            assert!(last - first.received_us >= (4 * 40 + 300 - 40) * 1000 - 10, "{first:?}");
            return;
        }
    }
    panic!("the stall never met a stream");
}

#[test]
fn a_request_may_come_in_parts() {
    let (options, log, _folder) = logged(paced(0.0, 0.0));
    let sim = Sim::start(options);
    let whole = request(COMPLETIONS, STREAM);
    for at in [1, whole.find("\r\n\r\n").unwrap() + 2, whole.len() - 10] {
        let mut client = sim.client();
        client.write(&whole.as_bytes()[..at]);
        // An exchange on another connection, so that the parts arrive apart.
        sim.get("/health");
        client.write(&whole.as_bytes()[at..]);
        assert_eq!(client.answer().events().len(), 7, "cut at {at}");
    }
    assert_eq!(sim.truths(&log).len(), 3);
}

#[test]
fn requests_in_one_write_are_answered_in_their_order() {
    let sim = Sim::start(paced(5.0, 1.0));
    let mut client = sim.client();
    let both = request(COMPLETIONS, STREAM) + &request(COMPLETIONS, WHOLE) + &request("/tokenize", "{}");
    client.write(both.as_bytes());
    let (first, second, third) = (client.answer(), client.answer(), client.answer());
    assert_eq!((first.header("X-Request-Id"), first.events().len()), (Some("0"), 7));
    assert_eq!(second.header("X-Request-Id"), Some("1"));
    assert_eq!(second.json()["usage"]["completion_tokens"], 5);
    assert_eq!(third.json()["count"], 0);
}

#[test]
fn connections_end_where_the_client_asks_for_it() {
    let sim = Sim::start(paced(0.0, 0.0));
    let length = STREAM.len();
    let mut client = sim.client();
    client.write(
        format!(
            "POST {COMPLETIONS} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{STREAM}"
        )
        .as_bytes(),
    );
    let answer = client.answer();
    assert_eq!((answer.header("Connection"), answer.cut), (Some("close"), false));
    assert!(client.at_end());
    // HTTP/1.0 knows no chunks: the body ends with the connection.
    let mut client = sim.client();
    client
        .write(format!("POST {COMPLETIONS} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{STREAM}").as_bytes());
    let answer = client.answer();
    assert_eq!(answer.header("Transfer-Encoding"), None);
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
}

#[test]
fn a_client_that_waits_to_send_its_body_is_told_to_go_on() {
    let sim = Sim::start(paced(0.0, 0.0));
    let mut client = sim.client();
    let length = WHOLE.len();
    client.write(
        format!("POST {COMPLETIONS} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
            .as_bytes(),
    );
    assert!(client.answer_to_expectation().starts_with("HTTP/1.1 100 "));
    client.write(WHOLE.as_bytes());
    assert_eq!(client.answer().status, 200);
}

#[test]
fn what_is_no_http_is_refused_and_closed() {
    let sim = Sim::start(paced(0.0, 0.0));
    let mut client = sim.client();
    client.write(b"hello\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    assert!(client.at_end());
}

#[test]
fn a_prompt_that_comes_again_is_reported_as_cached_until_the_cache_is_reset() {
    let mut options = paced(0.0, 0.0);
    options.simulation.dialect = "llama.cpp".to_owned();
    let sim = Sim::start(options);
    let prompt = "some words that fill a block or two of the cache, and then a few ".repeat(4);
    let cached = |more: &str| {
        let body = format!(r#"{{"prompt":"{prompt}","max_tokens":1{more}}}"#);
        let usage = sim.post(COMPLETIONS, &body).json()["usage"].clone();
        let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        assert!(cached < usage["prompt_tokens"].as_u64().unwrap());
        cached
    };
    assert_eq!(cached(""), 0);
    let again = cached("");
    assert!(again > 0);
    assert_eq!(cached(r#","cache_prompt":false"#), 0);
    let timings = |more: &str| {
        let answer = sim.post("/completion", &format!(r#"{{"prompt":"{prompt}"{more}}}"#)).json();
        answer["timings"]["cache_n"].as_u64().unwrap()
    };
    assert_eq!(timings(""), again);
    assert_eq!(timings(r#","cache_prompt":false"#), 0);
    assert_eq!(sim.post("/reset_prefix_cache", "").status, 200);
    assert_eq!(cached(""), 0);
    assert_eq!(sim.post("/slots/0?action=erase", "").status, 200);
    assert_eq!(cached(""), 0);
    assert_eq!(sim.post("/api/generate", r#"{"keep_alive":0}"#).json()["done_reason"], "unload");
    assert_eq!(cached(""), 0);
}
