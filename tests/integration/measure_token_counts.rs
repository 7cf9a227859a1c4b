//! Tokens of answers that tell none: who counts them, when, and that chunks never stand in for them.

use std::path::Path;

use benchlet::load::LocalTokenizer;
use benchlet::request::load_test::{Api, CachePolicy};
use benchlet::run::measure_plan::{Dialect, MeasurePlan, RECORDS_FILE};
use benchlet::run::read_records::read_records;
use benchlet::run::reason::Reason;
use benchlet::run::request_record::{Line, Record, TokenSource};
use serde_json::{Value, json};

use crate::load_bench::{failed, only_case};
use crate::measuring::{self, Measured, Measuring, target};
use crate::scripted_server::{After, Exchange, Server};
use crate::strict_server::{Asked, Reply, StrictServer};
use crate::workbench::Workbench;

/// Two chunks, four tokens of the tokenizer below.
const CHUNKS: [&str; 2] = ["one, two", " thrée"];
const ANSWER: &str = "one, two thrée";
const REQUESTS: u32 = 3;

/// A model's tokenizer: words and signs are tokens.
fn tokenizer() -> String {
    let description = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "vocab": { "<unk>": 0 }, "unk_token": "<unk>" },
    });
    description.to_string()
}

fn answer_without_usage(exchange: &mut Exchange) -> After {
    exchange.head();
    CHUNKS.into_iter().for_each(|chunk| exchange.content(chunk));
    exchange.finish();
    After::Keep
}

/// Salted, one text kept, a warm-up before it.
fn plan(url: &str, tokenizer: bool) -> MeasurePlan {
    MeasurePlan {
        cache: CachePolicy::Salt,
        samples: 1,
        warmup: 1,
        tokenizer: tokenizer.then(|| "tokenizer.json".to_owned()),
        ..measuring::plan(url, REQUESTS)
    }
}

fn measure(plan: &MeasurePlan) -> Measured {
    let with_tokenizer = |folder: &Path| std::fs::write(folder.join("tokenizer.json"), tokenizer()).unwrap();
    Measuring::start_in(plan, None, with_tokenizer).wait()
}

/// The requests as they are read, those that warm up apart.
#[track_caller]
fn read(measured: &Measured) -> Vec<Record> {
    assert_eq!((measured.code, measured.refusal()), (Some(0), None), "{}", measured.said());
    let read = read_records(measured.read(RECORDS_FILE).as_bytes());
    assert_eq!(read.bad_lines, 0);
    let records: Vec<Record> =
        read.passes[&0].records.iter().filter(|record| !record.warmup).cloned().collect();
    assert_eq!(records.len(), REQUESTS as usize);
    records
}

fn counts(measured: &Measured) -> usize {
    measured.lines().iter().filter(|line| matches!(line, Line::Counted(_))).count()
}

#[test]
fn a_tokenizer_here_counts_what_nobody_else_does_once_the_case_has_ended() {
    let server = Server::new(answer_without_usage);
    let measured = measure(&plan(&server.url(), true));
    let own = LocalTokenizer::parse(tokenizer().as_bytes()).unwrap();
    for record in read(&measured) {
        assert_eq!(record.token_source, Some(TokenSource::Tokenizer));
        assert_eq!(record.tokens_out, own.count(ANSWER, false));
        // Behind its salt: `[abc] count to two`.
        assert_eq!((record.tokens_out, record.tokens_in), (Some(4), Some(6)));
        assert_eq!(record.text.as_deref(), (record.n == 0).then_some(ANSWER), "one sample is kept");
    }
    let lines = measured.lines();
    let ended = lines.iter().position(|line| matches!(line, Line::Ended(_))).unwrap();
    assert!(lines[ended + 1..].iter().all(|line| matches!(line, Line::Counted(_))));
    assert_eq!(lines.len() - ended - 1, REQUESTS as usize, "those that warm up are not counted");
    // What was written when a request ended stands.
    for record in measured.requests() {
        assert_eq!((record.token_source, record.tokens_out), (Some(TokenSource::Chunks), None));
    }
}

#[test]
fn without_anybody_to_count_there_are_chunks_and_no_tokens() {
    let server = Server::new(answer_without_usage);
    let measured = measure(&plan(&server.url(), false));
    for record in read(&measured) {
        assert_eq!(record.token_source, Some(TokenSource::Chunks));
        assert_eq!((record.tokens_in, record.tokens_out, record.chunks.len()), (None, None, 2));
    }
    assert_eq!(counts(&measured), 0);
}

#[test]
fn nothing_is_counted_where_the_answer_tells_its_tokens() {
    let server = Server::new(|exchange| {
        exchange.head();
        CHUNKS.into_iter().for_each(|chunk| exchange.content(chunk));
        exchange.event(r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}"#);
        exchange.finish();
        After::Keep
    });
    let measured = measure(&plan(&server.url(), true));
    for record in read(&measured) {
        assert_eq!((record.token_source, record.tokens_out), (Some(TokenSource::Usage), Some(9)));
    }
    assert_eq!(counts(&measured), 0);
}

/// A llama-server that tells no usage. Every letter is a token of it, its template has two.
fn llama_server(asked: &Asked, tokenizes: bool) -> Reply {
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    match asked.path.as_str() {
        "/v1/chat/completions" => {
            let chunk = |text: &str, reason: Value| {
                let choice = json!({ "index": 0, "delta": { "content": text }, "finish_reason": reason });
                json!({ "choices": [choice] }).to_string()
            };
            let texts = CHUNKS.into_iter().map(|text| chunk(text, Value::Null));
            Reply::events(texts.chain([chunk("", "stop".into()), "[DONE]".to_owned()]))
        }
        "/apply-template" => {
            let content = body["messages"][0]["content"].as_str().unwrap();
            Reply::json(200, &json!({ "prompt": format!("<{content}>") }))
        }
        "/tokenize" if tokenizes => {
            let letters = body["content"].as_str().unwrap().chars().map(u32::from);
            Reply::json(200, &json!({ "tokens": letters.collect::<Vec<_>>() }))
        }
        "/health" | "/v1/models" | "/props" => Reply::json(200, &json!({})),
        _ => Reply::json(404, &json!({ "error": "not found" })),
    }
}

#[test]
fn a_server_that_counts_is_asked_before_any_tokenizer_and_after_the_case() {
    for tokenizer in [true, false] {
        let server = StrictServer::start(|asked| llama_server(asked, true));
        let targets = vec![target(&Dialect::LlamaCpp, Api::Chat, &server.url(), None)];
        let measured = measure(&MeasurePlan { targets, ..plan("", tokenizer) });
        for record in read(&measured) {
            assert_eq!(record.token_source, Some(TokenSource::Tokenize));
            let prompt = "<[abcdefghijkl] count to two>";
            let expected = [prompt, ANSWER].map(|text| Some(text.chars().count() as u64));
            assert_eq!([record.tokens_in, record.tokens_out], expected);
        }
        let seen = server.seen();
        let at = |path: &str| seen.iter().map(|seen| seen.line == format!("POST {path}")).collect::<Vec<_>>();
        let last_prompt = at("/v1/chat/completions").iter().rposition(|is_it| *is_it).unwrap();
        let first_count = at("/tokenize").iter().position(|is_it| *is_it).unwrap();
        assert!(last_prompt < first_count, "{seen:?}");
    }
}

#[test]
fn a_server_that_cannot_count_leaves_it_to_the_tokenizer() {
    for (tokenizer, source) in [(true, TokenSource::Tokenizer), (false, TokenSource::Chunks)] {
        let server = StrictServer::start(|asked| llama_server(asked, false));
        let targets = vec![target(&Dialect::LlamaCpp, Api::Chat, &server.url(), None)];
        let measured = measure(&MeasurePlan { targets, ..plan("", tokenizer) });
        for record in read(&measured) {
            assert_eq!(record.token_source, Some(source));
            assert_eq!(record.tokens_out, tokenizer.then_some(4));
        }
        let warned = measured.said().contains("the tokens of 3 answers");
        assert_eq!(warned, !tokenizer, "{}", measured.said());
    }
}

#[test]
fn a_copy_that_is_no_tokenizer_is_told_before_the_first_request() {
    let server = Server::new(answer_without_usage);
    let broken = |folder: &Path| std::fs::write(folder.join("tokenizer.json"), "{}").unwrap();
    let measured = Measuring::start_in(&plan(&server.url(), true), None, broken).wait();
    assert_eq!(measured.refusal().map(|refusal| refusal.reason), Some(Reason::TokenizerUnusable));
    assert_eq!(server.sight().prompts.len(), 0);
}

#[test]
fn a_request_that_names_a_tokenizer_gets_its_counts_and_is_told_what_is_wrong_with_it() {
    let mut bench = Workbench::without_docker();
    let server = Server::new(answer_without_usage);
    std::fs::create_dir(bench.request_path("models")).unwrap();
    std::fs::write(bench.request_path("models/tokenizer.json"), tokenizer()).unwrap();
    std::fs::write(bench.request_path("broken.json"), "{\"model\": 3}").unwrap();
    std::fs::write(bench.path("outside.json"), tokenizer()).unwrap();
    let of = |file: &str| {
        let target = format!("{{ engine: openai, url: '{}' }}", server.url());
        format!("{{ target: {target}, load: {{ requests: 2 }}, cache: Keep, tokenizer: {file} }}")
    };
    bench.serve();
    bench.save_load("good", &of("models/tokenizer.json"));
    let document = bench.until_phase("good", "Completed");
    let tokens = &only_case(&document)["tokens"];
    assert_eq!((&tokens["source"], &tokens["out"]), (&"tokenizer".into(), &8.into()), "{tokens}");
    assert!(tokens["in"].as_u64().is_some());
    for (name, file, words) in [
        ("broken", "broken.json", "no tokenizer.json"),
        ("missing", "nowhere.json", "is not there"),
        ("outside", "../outside.json", "outside the watched root"),
    ] {
        bench.save_load(name, &of(file));
        let document = bench.until_phase(name, "Failed");
        failed(&document, "TokenizerUnusable", &[file.trim_start_matches("../"), words], &[]);
    }
}
