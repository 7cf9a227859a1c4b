//! What real servers sent, recorded, as the records of their requests.

use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::engine::address::Address;
use crate::engine::wire::Ask;
use crate::request::load_test::{Api, Content};
use crate::run::measure_plan::Dialect;

macro_rules! recorded {
    ($name:literal) => {
        whole(
            include_bytes!(concat!("../../tests/fixtures/llama-cpp/server/", $name, ".http")),
            include_bytes!(concat!("../../tests/fixtures/llama-cpp/server/", $name, ".body")),
        )
    };
}

/// The head of a stream of vLLM's and `transformers serve`'s web server.
const UVICORN: &[u8] =
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                         transfer-encoding: chunked\r\n\r\n";

pub fn wire(dialect: Dialect, api: Api) -> Wire {
    Wire { dialect, api, address: Address::parse("http://127.0.0.1:8080").unwrap(), key: None }
}

/// An answer as it went over the wire. The recorded bodies lack the frames of chunked ones; they are put
/// back, of odd sizes so that frames and events do not coincide.
pub fn whole(head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut answer = head.to_vec();
    if !String::from_utf8_lossy(head).to_ascii_lowercase().contains("transfer-encoding: chunked") {
        answer.extend_from_slice(body);
        return answer;
    }
    for chunk in body.chunks(97) {
        answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        answer.extend_from_slice(chunk);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}

/// Reads an answer in parts, one a millisecond; the connection ends after the last unless the answer was
/// whole before.
pub fn read_parts<'b>(wire: &Wire, stream: bool, parts: impl Iterator<Item = &'b [u8]>) -> Record {
    let content = Content::Text("hello".to_owned());
    let ask = Ask {
        model: Some("m"),
        content: &content,
        max_tokens: 16,
        temperature: 0.0,
        ignore_eos: false,
        stream,
        cold: true,
        rendered: false,
        salt: "",
    };
    let prepared = wire.prepare(&ask, true).unwrap();
    let mut answer = Answer::new(wire, &prepared, Record::default(), KeptText::Sample);
    let mut at_us = 0;
    for part in parts {
        at_us += 1_000;
        match answer.feed(part, at_us) {
            Ok(false) => {}
            Ok(true) => return answer.into_record(at_us, None),
            Err(error) => return answer.into_record(at_us, Some(error)),
        }
    }
    at_us += 1_000;
    let error = answer.closed(at_us).err();
    answer.into_record(at_us, error)
}

/// Reads an answer whole, byte by byte and in parts by chance, and holds that the record is the same but
/// for its times. Gives that of single bytes, where no two events share a time.
pub fn read(wire: &Wire, stream: bool, bytes: &[u8]) -> Record {
    let slowly = read_parts(wire, stream, bytes.chunks(1));
    let expected = timeless(&slowly);
    assert_eq!(timeless(&read_parts(wire, stream, bytes.chunks(bytes.len().max(1)))), expected, "read whole");
    let mut chance = ChaCha8Rng::seed_from_u64(20);
    for round in 0..30 {
        let mut parts = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(chance.random_range(1..=rest.len().min(600)));
            parts.push(part);
            rest = after;
        }
        assert_eq!(timeless(&read_parts(wire, stream, parts.into_iter())), expected, "round {round}");
    }
    slowly
}

/// A record whose times are only there or not.
fn timeless(record: &Record) -> Record {
    let there = |time: Option<u64>| time.map(|_| 0);
    Record {
        first_byte_us: there(record.first_byte_us),
        first_chunk_us: there(record.first_chunk_us),
        first_token_us: there(record.first_token_us),
        first_output_us: there(record.first_output_us),
        last_token_us: there(record.last_token_us),
        end_us: 0,
        chunks: vec![0; record.chunks.len()],
        ..record.clone()
    }
}

/// What is counted: tokens in, out and cached, by whom, chunks and their tokens, why it ended, characters.
#[derive(Debug, PartialEq)]
struct Counts {
    tokens: (Option<u64>, Option<u64>, Option<u64>),
    source: Option<TokenSource>,
    chunks: usize,
    chunk_tokens: Vec<u16>,
    reason: Option<String>,
    chars: u64,
}

fn counts(record: &Record) -> Counts {
    assert_eq!(record.error, None);
    assert_eq!(record.status, Some(200));
    assert_eq!(record.text.as_ref().map(|text| text.chars().count() as u64), Some(record.chars));
    Counts {
        tokens: (record.tokens_in, record.tokens_out, record.tokens_cached),
        source: record.token_source,
        chunks: record.chunks.len(),
        chunk_tokens: record.chunk_tokens.clone(),
        reason: record.finish_reason.clone(),
        chars: record.chars,
    }
}

fn expected(tokens: (u64, u64, Option<u64>), source: TokenSource, chunks: usize, chars: u64) -> Counts {
    Counts {
        tokens: (Some(tokens.0), Some(tokens.1), tokens.2),
        source: Some(source),
        chunks,
        chunk_tokens: Vec::new(),
        reason: Some("length".to_owned()),
        chars,
    }
}

/// Times of a stream are in their order, and those of its chunks add up to the last token's.
fn assert_in_order(record: &Record) {
    let times = [
        record.first_byte_us,
        record.first_chunk_us,
        record.first_token_us,
        record.first_output_us,
        record.last_token_us,
        Some(record.end_us),
    ];
    let times: Vec<u64> = times.into_iter().map(Option::unwrap).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(record.first_token_us, record.chunks.first().map(|first| u64::from(*first)));
    assert_eq!(record.last_token_us, Some(record.chunks.iter().map(|gap| u64::from(*gap)).sum()));
}

#[test]
fn a_chunk_that_only_names_the_role_is_no_token() {
    for (dialect, bytes) in [
        (Dialect::LlamaCpp, recorded!("v1-chat-stream")),
        (Dialect::Vllm, whole(UVICORN, include_bytes!("../../tests/fixtures/engines/vllm-chat-stream.sse"))),
        (Dialect::OpenAi, whole(UVICORN, include_bytes!("../../tests/fixtures/engines/hf-chat-stream.sse"))),
    ] {
        let record = read(&wire(dialect, Api::Chat), true, &bytes);
        assert_in_order(&record);
        assert!(record.first_chunk_us < record.first_token_us, "{record:?}");
    }
}

#[test]
fn chat_streams_of_llama_cpp_are_counted_by_usage_else_by_its_timings() {
    let wire = wire(Dialect::LlamaCpp, Api::Chat);
    let without = read(&wire, true, &recorded!("v1-chat-stream"));
    assert_eq!(counts(&without), expected((23, 16, Some(22)), TokenSource::Engine, 16, 66));
    let with = read(&wire, true, &recorded!("v1-chat-stream-usage"));
    assert_eq!(counts(&with), expected((23, 16, Some(22)), TokenSource::Usage, 16, 66));
    assert_eq!(
        with.text.as_deref(),
        Some("guno nemceto moc cu cujo kebe faya pige lizo diyunezo j liredobamu")
    );
    assert_eq!(
        with.server.map(|server| (server.prefill_ms, server.decode_ms)),
        Some((Some(1.057), Some(2.211)))
    );
}

#[test]
fn completions_streams_are_counted_by_usage_asked_for_or_not() {
    let wire = wire(Dialect::OpenAi, Api::Completions);
    for bytes in [recorded!("v1-completions-stream"), recorded!("v1-completions-stream-usage")] {
        let record = read(&wire, true, &bytes);
        assert_eq!(counts(&record), expected((8, 16, Some(7)), TokenSource::Usage, 16, 64));
        assert_in_order(&record);
        assert_eq!(record.first_chunk_us, record.first_token_us, "the first chunk has text");
    }
}

#[test]
fn streams_of_llama_cpps_own_api_tell_the_tokens_of_each_chunk_and_end_without_a_mark() {
    let wire = wire(Dialect::LlamaCpp, Api::Completions);
    let record = read(&wire, true, &recorded!("completion-stream"));
    let sixteen = expected((8, 16, Some(7)), TokenSource::Engine, 16, 64);
    assert_eq!(counts(&record), Counts { chunk_tokens: vec![1; 16], ..sixteen });
    assert_in_order(&record);
    let record = read(&wire, true, &recorded!("completion-stream-timings"));
    let eight = expected((8, 8, Some(7)), TokenSource::Engine, 8, 31);
    assert_eq!(counts(&record), Counts { chunk_tokens: vec![1; 8], ..eight });
}

#[test]
fn vllms_usage_counts_tokens_that_no_chunk_showed() {
    let stream = include_bytes!("../../tests/fixtures/engines/vllm-chat-stream.sse");
    let record = read(&wire(Dialect::Vllm, Api::Chat), true, &whole(UVICORN, stream));
    assert_eq!(counts(&record), expected((20, 4, None), TokenSource::Usage, 3, 15));
}

#[test]
fn a_stream_without_an_end_mark_is_whole_by_its_finish_reason() {
    let stream = include_bytes!("../../tests/fixtures/engines/hf-chat-stream.sse");
    let record = read(&wire(Dialect::OpenAi, Api::Chat), true, &whole(UVICORN, stream));
    assert_eq!(counts(&record), expected((20, 4, None), TokenSource::Usage, 4, 20));
}

#[test]
fn an_answer_in_one_piece_has_counts_and_an_end_but_no_first_token() {
    let usage = TokenSource::Usage;
    for (dialect, api, bytes, tokens, source, chars) in [
        (Dialect::LlamaCpp, Api::Chat, recorded!("v1-chat"), (23, 16, Some(1)), usage, 66),
        (Dialect::OpenAi, Api::Chat, recorded!("v1-chat"), (23, 16, Some(1)), usage, 66),
        (Dialect::Vllm, Api::Completions, recorded!("v1-completions"), (8, 16, Some(7)), usage, 64),
        (
            Dialect::LlamaCpp,
            Api::Completions,
            recorded!("completion"),
            (8, 16, Some(0)),
            TokenSource::Engine,
            64,
        ),
    ] {
        let record = read(&wire(dialect, api), false, &bytes);
        assert_eq!(counts(&record), expected(tokens, source, 0, chars));
        assert_eq!(
            (record.first_chunk_us, record.first_token_us, record.first_output_us),
            (None, None, None)
        );
        assert_eq!(record.last_token_us, Some(record.end_us));
    }
}

#[test]
fn a_refusal_keeps_its_status_and_the_servers_words() {
    for (bytes, status, words) in [
        (recorded!("too-long-stream"), 400, "request (10002 tokens) exceeds the available context size"),
        (recorded!("bad-json"), 400, "parse error at line 1, column 10"),
        (recorded!("no-messages"), 400, "'messages' is required"),
        (recorded!("not-found"), 404, "HTTP 404: File Not Found"),
    ] {
        for stream in [true, false] {
            let record = read(&wire(Dialect::LlamaCpp, Api::Chat), stream, &bytes);
            let error = record.error.clone().unwrap();
            assert_eq!((error.kind, record.status), (ErrorKind::HttpStatus, Some(status)));
            assert!(error.message.contains(words), "{}", error.message);
            assert_eq!((record.first_token_us, record.tokens_out, record.chars), (None, None, 0));
            assert!(record.first_byte_us.is_some());
        }
    }
}
