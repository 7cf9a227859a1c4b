//! `benchlet measure` against servers that take only what the real ones take: every dialect, streamed and
//! not.

use std::collections::{BTreeMap, BTreeSet};

use benchlet::request::load_test::{Api, CachePolicy, Content, Message, Output, Prompt};
use benchlet::run::measure_plan::{
    CaseAmount, CaseLoad, CasePlan, CustomEngine, Dialect, Framing, MeasurePlan, PromptPlan, TargetPlan,
};
use benchlet::run::request_record::{Line, Record, TokenSource};
use serde_json::Value;

use crate::measuring::{self, Measured, case, measure, target};
use crate::strict_dialects::{self as strict, MODEL};
use crate::strict_server::{Asked, Reply, Seen, StrictServer};

/// Requests of a case, beside one that warms up.
pub const REQUESTS: u32 = 4;
/// Tokens that the plan and its second prompt ask for.
pub const TOKENS: [u64; 2] = [5, 3];
/// Words of the two prompts with their salts.
pub const WORDS: [u64; 2] = [4, 5];

/// A case for each target: two workers, two prompts in turn.
pub fn plan(targets: Vec<TargetPlan>, stream: bool) -> MeasurePlan {
    let prompt = |content, max_tokens| Prompt { content, max_tokens, temperature: None };
    let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let messages = vec![message("system", "be brief"), message("user", "hello there")];
    let cases = (0..targets.len()).map(|target| CasePlan {
        case: target as u32 + 1,
        target,
        model: Some(MODEL.to_owned()),
        ..case(CaseLoad::Closed { concurrency: 2 }, CaseAmount::Requests(REQUESTS))
    });
    MeasurePlan {
        cases: cases.collect(),
        targets,
        prompts: PromptPlan::Inline(vec![
            prompt(Content::Text("one \"two\" thrée".to_owned()), None),
            prompt(Content::Messages(messages), Some(TOKENS[1] as u32)),
        ]),
        output: Output { max_tokens: TOKENS[0] as u32, temperature: 0.5, ignore_eos: true },
        stream,
        warmup: 1,
        request_timeout_ms: 30_000,
        cache: CachePolicy::Salt,
        samples: 1,
        threads: Some(1),
        sample_every_ms: 60_000,
        ..measuring::plan("", REQUESTS)
    }
}

/// What the records of a case have to say beside what all of them say.
struct Expected {
    source: TokenSource,
    cached: Option<u64>,
    tells_tokens_of_chunks: bool,
}

fn assert_records(
    measured: &Measured,
    targets: &[TargetPlan],
    stream: bool,
    expected: impl Fn(Api) -> Expected,
) {
    assert_eq!((measured.code, measured.refusal()), (Some(0), None), "{}", measured.said());
    for (index, target) in targets.iter().enumerate() {
        let name = format!("{}, streamed: {stream}", target.name);
        let of_case = measured.records().into_iter().filter(|record| record.index == index);
        let (warm, counted): (Vec<Record>, Vec<Record>) = of_case.partition(|record| record.warmup);
        assert_eq!((warm.len(), counted.len()), (1, REQUESTS as usize), "{name}");
        let numbers: BTreeSet<u64> = counted.iter().map(|record| record.n).collect();
        assert_eq!(numbers, (0..u64::from(REQUESTS)).collect(), "{name}");
        let expected = expected(target.api);
        for record in warm.iter().chain(&counted) {
            // Warm-up takes its prompts from the other end.
            let which = if record.warmup { 1 } else { (record.n % 2) as usize };
            let tokens = TOKENS[which];
            assert_eq!(record.error, None, "{name}");
            assert_eq!(record.status, Some(200), "{name}");
            assert_eq!((record.tokens_in, record.tokens_out), (Some(WORDS[which]), Some(tokens)), "{name}");
            assert_eq!(record.tokens_cached, expected.cached, "{name}");
            assert_eq!(record.token_source, Some(expected.source), "{name}");
            assert_eq!(record.finish_reason.as_deref(), Some("length"), "{name}");
            assert_eq!(u64::from(record.max_tokens), tokens, "{name}");
            assert_eq!(record.chars, 4 * tokens, "{name}");
            let chunks = if stream { tokens as usize } else { 0 };
            assert_eq!(record.chunks.len(), chunks, "{name}");
            assert_eq!(record.first_token_us.is_some(), stream, "{name}");
            let of_chunks = if expected.tells_tokens_of_chunks { vec![1; chunks] } else { Vec::new() };
            assert_eq!(record.chunk_tokens, of_chunks, "{name}");
            let has_text = record.n == 0 && !record.warmup;
            assert_eq!(record.text.is_some(), has_text, "{name}: one sample is kept");
            assert!(record.last_token_us <= Some(record.end_us), "{name}");
        }
        let started = |line: &&Line| matches!(line, Line::Started(case) if case.index == index);
        let ended =
            |line: &&Line| matches!(line, Line::Ended(case) if case.index == index && !case.cut_short);
        assert_eq!(measured.lines().iter().filter(started).count(), 1, "{name}");
        assert_eq!(measured.lines().iter().filter(ended).count(), 1, "{name}");
    }
}

/// Measures both APIs of a dialect, streamed and not. Gives what was measured last with what the server saw
/// in all.
fn measure_all(
    dialect: &Dialect,
    answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    expected: impl Fn(Api, bool) -> Expected,
) -> (Measured, Vec<Seen>) {
    let server = StrictServer::start(answer);
    let both = [Api::Chat, Api::Completions];
    let targets: Vec<_> = both.into_iter().map(|api| target(dialect, api, &server.url(), None)).collect();
    let mut last = None;
    for stream in [true, false] {
        let measured = measure(&plan(targets.clone(), stream));
        assert_records(&measured, &targets, stream, |api| expected(api, stream));
        last = Some(measured);
    }
    let seen = server.seen();
    let prompts = seen.iter().filter(|seen| seen.line.starts_with("POST"));
    assert_eq!(prompts.clone().count(), 2 * 2 * (REQUESTS as usize + 1));
    let salts: BTreeSet<String> = prompts.map(|seen| salt(&seen.body)).collect();
    // Both runs have the plan's salt, both cases and all requests their own.
    assert_eq!(salts.len(), 2 * (REQUESTS as usize + 1), "{salts:?}");
    (last.expect("two were measured"), seen)
}

/// What a prompt begins with.
fn salt(body: &Value) -> String {
    let first = body.pointer("/messages/0/content").or_else(|| body.get("prompt"));
    let text = first.and_then(Value::as_str).unwrap_or_else(|| panic!("no prompt in {body}"));
    let (salt, _) = text.split_once("] ").unwrap_or_else(|| panic!("no salt in {text:?}"));
    salt.to_owned()
}

/// Questions that were not answered with success.
fn refused(seen: &[Seen]) -> BTreeSet<String> {
    let failed = seen.iter().filter(|seen| seen.status != 200);
    failed.map(|seen| format!("{} {}", seen.line, seen.status)).collect()
}

#[test]
fn openai_is_spoken_to_in_fields_that_it_knows() {
    let (measured, seen) = measure_all(
        &Dialect::OpenAi,
        |asked| strict::openai(asked, None),
        |_, _| Expected { source: TokenSource::Usage, cached: Some(0), tells_tokens_of_chunks: false },
    );
    assert_eq!(refused(&seen), BTreeSet::new());
    assert_eq!(measured.facts()[0].models, [MODEL]);
    assert_eq!(measured.facts()[0].model.as_deref(), Some(MODEL));
}

#[test]
fn vllm_tells_the_tokens_of_each_chunk() {
    let (measured, seen) = measure_all(
        &Dialect::Vllm,
        |asked| strict::vllm(asked, None),
        |_, stream| Expected { source: TokenSource::Usage, cached: None, tells_tokens_of_chunks: stream },
    );
    assert_eq!(refused(&seen), BTreeSet::new());
    let facts = &measured.facts()[1];
    assert_eq!((facts.target, facts.version.as_deref()), (1, Some("0.32.0")));
    assert_eq!(facts.context_window, Some(4096));
}

#[test]
fn llama_cpp_is_measured_without_its_prompt_cache() {
    let (measured, seen) = measure_all(
        &Dialect::LlamaCpp,
        |asked| strict::llama_cpp(asked, None),
        |api, stream| {
            let source = if api == Api::Chat { TokenSource::Usage } else { TokenSource::Engine };
            Expected { source, cached: Some(0), tells_tokens_of_chunks: stream }
        },
    );
    // Only a server that was started with `--metrics` has them.
    assert_eq!(refused(&seen), BTreeSet::from(["GET /metrics 501".to_owned()]));
    let prompts = seen.iter().filter(|seen| seen.line.starts_with("POST"));
    assert!(prompts.map(|seen| &seen.body["cache_prompt"]).all(|cache| cache == false));
    let facts = &measured.facts()[0];
    assert_eq!((facts.context_window, facts.slots), (Some(2048), Some(2)));
    assert_eq!((facts.model_size_bytes, facts.model_params.as_deref()), (Some(1_555_456), Some("777088")));
    let server = measured.records()[0].server.expect("the server's times");
    assert_eq!((server.prefill_ms, server.decode_ms), (Some(1.5), Some(2.5)));
}

#[test]
fn ollama_counts_in_its_last_line() {
    let (measured, seen) = measure_all(&Dialect::Ollama, strict::ollama, |_, _| Expected {
        source: TokenSource::Engine,
        cached: None,
        tells_tokens_of_chunks: false,
    });
    assert_eq!(refused(&seen), BTreeSet::new());
    let facts = &measured.facts()[0];
    assert_eq!(facts.model_size_bytes, Some(2_019_393_189), "of the model that is measured, not the first");
    assert_eq!((facts.model_params.as_deref(), facts.version.as_deref()), (Some("3.2B"), Some("0.11.4")));
    assert_eq!(facts.context_window, Some(4096), "of the model as it is loaded");
}

#[test]
fn a_custom_engine_is_spoken_to_as_the_settings_describe_it() {
    let engine = CustomEngine {
        name: "mine".to_owned(),
        port: None,
        health: "/ready".to_owned(),
        generate: "/run".to_owned(),
        payload: r#"{"q": {{prompt}}, "n": {{max_tokens}}}"#.to_owned(),
        framing: Framing::Ndjson,
        text: "/out/text".to_owned(),
        tokens_in: Some("/counts/in".to_owned()),
        tokens_out: Some("/counts/out".to_owned()),
        tokens_cached: None,
        finish_reason: Some("/why".to_owned()),
        metrics: None,
        headers: BTreeMap::from([("X-Team".to_owned(), "bench".to_owned())]),
    };
    let server = StrictServer::start(strict::custom);
    let targets = [target(&Dialect::Custom(Box::new(engine)), Api::Chat, &server.url(), None)];
    let measured = measure(&plan(targets.to_vec(), true));
    assert_records(&measured, &targets, true, |_| Expected {
        source: TokenSource::Engine,
        cached: None,
        tells_tokens_of_chunks: false,
    });
    assert_eq!(refused(&server.seen()), BTreeSet::new());
}
