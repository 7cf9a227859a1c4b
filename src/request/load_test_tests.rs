use super::*;
use crate::request::diagnostic::Located;
use crate::request::field_names::not_shown;
use crate::request::gate::{Gate, Rules};
use crate::request::load_test::*;
use crate::request::report_files::{ReportFiles, ReportFormat};
use crate::request::{flags::Param, llama_bench, thresholds, tree};

fn decode(spec: &str) -> Result<(LoadTest, Control), Vec<String>> {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!("apiVersion: benchlet/v1\nkind: LoadTest\nspec:\n{indented}");
    let stream = tree::parse(&text);
    let said = |problems: Vec<Diagnostic>| -> Vec<String> {
        let located: Vec<Located> = problems.iter().map(|problem| problem.locate(&text)).collect();
        located.iter().map(ToString::to_string).collect()
    };
    let root = stream.documents[0].root.as_ref().map_err(|problem| said(vec![problem.clone()]))?;
    let request = validate(root, 0, "stem").map_err(said)?;
    match request.spec {
        Spec::LoadTest(test) => Ok((*test, request.control)),
        other => panic!("another kind: {}", other.kind()),
    }
}

fn test(spec: &str) -> LoadTest {
    decode(spec).unwrap_or_else(|problems| panic!("{spec}\n{problems:#?}")).0
}

fn problems(spec: &str) -> Vec<String> {
    decode(spec).expect_err(spec)
}

/// With one target and these fields.
fn with(fields: &str) -> String {
    format!("target: {{ engine: vllm }}\n{fields}")
}

#[track_caller]
fn refused(spec: &str, expected: &[&str]) {
    assert_eq!(problems(spec), expected, "{spec}");
}

const FULL: &str = r#"
targets:
  - { name: big, engine: llama.cpp, url: "http://Host:8080/", model: [a, b], api: Completions }
  - service: chat
    lifecycle: Managed
    model: c
    preset: SingleUser
    params: { max_model_len: 4096, --gpu-memory-utilization: 0.90, c: 8192, enforce_eager: }
  - engine: simulated
    simulated:
      { dialect: vllm, ttft: 0.5ms, prefill: 0.25ms, itl: 0ms, jitter: 5%, errorRate: 1%, cutRate: 0.5%, tokensPerChunk: 4, slots: 2 }
prompts:
  synthetic: { inputTokens: [128, 512], distribution: LogNormal, spread: 50%, sharedPrefixTokens: 64 }
output: { maxTokens: 128, temperature: 0, ignoreEos: true }
load: { rate: [5/s, 0.5, 90/min], arrivals: Constant, requests: [10, 20], rampUp: 10s }
warmup: { requests: 0 }
requestTimeout: 5s
stream: true
slo: { ttft_p95: 500ms, itl_mean: 0.5ms, response_time_p99: 2s, client_delay_max: 1ms }
samples: 1
tokenizer: models/tokenizer.json
cost: { perHour: 1.20 }
validity: { clientDelay: 2.5ms, clientCpu: 50%, errorRate: 0%, cacheHits: 2%, outputLength: 10% }
order: AsWritten
seed: 42
pause: 1s
cache: Flush
repeats: 2
threads: 4
preset: Thorough
conflict: UseRunning
executor: docker
imagePullPolicy: Never
engineStartTimeout: 90s
suspend: true
rerun: again
onChange: Replace
onDelete: Cancel
timeout: 2h
backoffLimit: 2
report: { formats: [md, html, md], dir: nightly }
gate: { baseline: main, thresholds: { ttft_p95: { fail: 30%, warn: ±20% } }, margin: 4%, varies: [image], strict: true }
"#;

#[test]
fn every_field_of_a_load_test_is_read() {
    let (test, control) = decode(FULL).unwrap();
    let param = |flag: &str, value: &str| Param { flag: flag.to_owned(), value: value.to_owned() };
    let expected = LoadTest {
        targets: vec![
            Target {
                name: Some("big".to_owned()),
                engine: Some(Engine::LlamaCpp),
                place: TargetPlace::Url("http://host:8080".to_owned()),
                models: vec!["a".to_owned(), "b".to_owned()],
                api: Api::Completions,
                preset: None,
                params: vec![],
            },
            Target {
                name: None,
                engine: None,
                place: TargetPlace::Managed { service: "chat".to_owned() },
                models: vec!["c".to_owned()],
                api: Api::Chat,
                preset: Some(EnginePreset::SingleUser),
                params: vec![
                    param("--max-model-len", "4096"),
                    param("--gpu-memory-utilization", "0.90"),
                    param("-c", "8192"),
                    param("--enforce-eager", ""),
                ],
            },
            Target {
                name: None,
                engine: Some(Engine::Simulated),
                place: TargetPlace::Simulated(Simulation {
                    dialect: "vllm".to_owned(),
                    ttft_ms: 0.5,
                    prefill_ms: 0.25,
                    itl_ms: 0.0,
                    jitter_percent: 5.0,
                    error_percent: 1.0,
                    cut_percent: 0.5,
                    tokens_per_chunk: 4,
                    slots: 2,
                }),
                models: vec![],
                api: Api::Chat,
                preset: None,
                params: vec![],
            },
        ],
        prompts: Prompts::Synthetic(Synthetic {
            input_tokens: vec![128, 512],
            distribution: Distribution::LogNormal { sigma: 0.5 },
            shared_prefix_tokens: 64,
        }),
        output: Output { max_tokens: 128, temperature: 0.0, ignore_eos: true },
        load: Load {
            shape: LoadShape::Open { rates: vec![5.0, 0.5, 1.5], arrivals: Arrivals::Constant },
            amount: Amount::Requests(vec![10, 20]),
            ramp_up_ms: 10_000,
        },
        warmup: 0,
        request_timeout_ms: 5_000,
        stream: true,
        slo: vec![
            Objective { metric: Metric::Ttft, statistic: Statistic::P95, at_most_ms: 500.0 },
            Objective { metric: Metric::Itl, statistic: Statistic::Mean, at_most_ms: 0.5 },
            Objective { metric: Metric::ResponseTime, statistic: Statistic::P99, at_most_ms: 2000.0 },
            Objective { metric: Metric::ClientDelay, statistic: Statistic::Max, at_most_ms: 1.0 },
        ],
        samples: 1,
        tokenizer: Some("models/tokenizer.json".to_owned()),
        cost: Some(Cost { per_hour: 1.2 }),
        validity: ValidityLimits {
            client_delay_ms: 2.5,
            client_cpu_percent: 50.0,
            error_percent: 0.0,
            cache_hit_percent: 2.0,
            output_length_percent: 10.0,
            broken_answers_percent: None,
        },
        order: CaseOrder::AsWritten,
        seed: 42,
        pause_ms: 1_000,
        cache: CachePolicy::Flush,
        repeats: 2,
        threads: Some(4),
        conflict: Conflict::UseRunning,
        executor: llama_bench::ExecutorChoice::Docker,
        image_pull_policy: llama_bench::PullPolicy::Never,
        engine_start_timeout_ms: 90_000,
    };
    assert_eq!(test, expected);
    assert_eq!(
        control,
        Control {
            desired: control::DesiredState::Suspended,
            on_change: control::OnChange::Replace,
            on_delete: control::OnDelete::Cancel,
            rerun: Some("again".to_owned()),
            timeout_ms: 2 * 3_600_000,
            backoff_limit: 2,
            report: Some(ReportFiles {
                formats: vec![ReportFormat::Markdown, ReportFormat::Html],
                dir: "nightly".to_owned(),
            }),
            gate: Some(Box::new(gate())),
        }
    );
    // Two models, one, none named; three rates, two counts, two lengths, twice.
    assert_eq!(test.cases(), (2 + 1 + 1) * 3 * 2 * 2 * 2);
    assert_eq!(test.planned_ms(), None);
}

#[test]
fn what_is_left_out_has_the_documented_defaults() {
    let (test, control) = decode("target: { url: http://127.0.0.1:8000/llm }").unwrap();
    assert_eq!(test.targets.len(), 1);
    assert_eq!(test.targets[0].engine, None);
    assert_eq!(test.targets[0].place, TargetPlace::Url("http://127.0.0.1:8000/llm".to_owned()));
    assert_eq!(test.prompts, Prompts::Builtin);
    assert_eq!(test.output, Output { max_tokens: 512, temperature: 0.7, ignore_eos: false });
    let load = Load {
        shape: LoadShape::Closed { concurrency: vec![1] },
        amount: Amount::Requests(vec![100]),
        ramp_up_ms: 0,
    };
    assert_eq!(test.load, load);
    assert_eq!((test.warmup, test.request_timeout_ms, test.stream, test.samples), (5, 30_000, true, 3));
    assert_eq!((test.slo.len(), &test.cost), (0, &None));
    assert_eq!(test.validity, ValidityLimits::default());
    assert_eq!((test.order, test.seed, test.pause_ms), (CaseOrder::Shuffled, 1, 0));
    assert_eq!((test.cache, test.repeats, test.threads), (CachePolicy::Salt, 1, None));
    assert_eq!((test.conflict, test.engine_start_timeout_ms), (Conflict::Fail, 600_000));
    assert_eq!(control.timeout_ms, 3_600_000);
    assert_eq!(test.cases(), 1);
}

#[test]
fn a_target_is_where_its_fields_say() {
    let place = |target: &str| test(&format!("target: {target}")).targets.remove(0).place;
    let running = TargetPlace::Running { service: "a".to_owned() };
    assert_eq!(place("{ engine: ollama }"), TargetPlace::UsualPort);
    assert_eq!(place("{ engine: mine }"), TargetPlace::UsualPort);
    assert_eq!(place("{ service: a }"), running);
    assert_eq!(place("{ service: a, lifecycle: Running }"), running);
    assert_eq!(place("{ engine: simulated }"), TargetPlace::Simulated(Simulation::default()));
    assert_eq!(place("{ engine: simulated, url: 'https://h' }"), TargetPlace::Url("https://h".to_owned()));
    assert_eq!(test("target: { engine: mine }").targets[0].engine, Some(Engine::Custom("mine".to_owned())));
}

#[test]
fn presets_fill_in_what_the_request_does_not_say() {
    let of = |fields: &str| {
        let test = test(&with(fields));
        (test.load.amount, test.repeats)
    };
    assert_eq!(of("preset: Quick"), (Amount::Requests(vec![20]), 1));
    assert_eq!(of("preset: Thorough"), (Amount::Requests(vec![200]), 3));
    assert_eq!(of("preset: Thorough\nload: { requests: 7 }\nrepeats: 2"), (Amount::Requests(vec![7]), 2));
    assert_eq!(of("preset: Quick\nload: { duration: 30s }"), (Amount::DurationMs(30_000), 1));
}

#[test]
fn prompts_come_from_one_of_four_places() {
    let of = |prompts: &str| test(&with(&format!("prompts: {prompts}"))).prompts;
    assert_eq!(of("builtin"), Prompts::Builtin);
    assert_eq!(of("{ file: ../shared/a.jsonl }"), Prompts::File("../shared/a.jsonl".to_owned()));
    assert_eq!(
        of("{ synthetic: {} }"),
        Prompts::Synthetic(Synthetic {
            input_tokens: vec![512],
            distribution: Distribution::Fixed,
            shared_prefix_tokens: 0
        })
    );
    let Prompts::Synthetic(uniform) = of("{ synthetic: { distribution: Uniform } }") else {
        panic!("other prompts")
    };
    assert_eq!(uniform.distribution, Distribution::Uniform { percent: 20.0 });
    let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let prompt = |content| Prompt { content, max_tokens: None, temperature: None };
    assert_eq!(
        of("{ inline: [Hi, { prompt: Ho, maxTokens: 9, temperature: 1.5 }, { messages: [{ role: system, \
            content: Be }, { role: user, content: 1 }] }] }"),
        Prompts::Inline(vec![
            prompt(Content::Text("Hi".to_owned())),
            Prompt { max_tokens: Some(9), temperature: Some(1.5), ..prompt(Content::Text("Ho".to_owned())) },
            prompt(Content::Messages(vec![message("system", "Be"), message("user", "1")])),
        ])
    );
}

#[test]
fn a_target_that_cannot_be_reached_is_refused_with_the_reason() {
    for (target, expected) in [
        (
            "{}",
            "4:11: a target needs an engine, a url or a service (for example { engine: llama.cpp, url: http://localhost:8080 })",
        ),
        (
            "x",
            "4:11: spec.target has to be a map, not a scalar (with fields such as name, engine, url, service)",
        ),
        (
            "{ engine: LlamaCpp }",
            "4:21: spec.target.engine cannot be \"LlamaCpp\" (did you mean \"llama.cpp\"?)",
        ),
        (
            "{ engine: a/b }",
            "4:21: spec.target.engine cannot be \"a/b\" (one of llama.cpp, ollama, vllm, openai, simulated, or an [engines.NAME] of the settings)",
        ),
        (
            "{ url: 'http://a', service: b }",
            "4:39: spec.target.service cannot stand beside url (keep one of them)",
        ),
        (
            "{ url: 'http://a', lifecycle: Managed }",
            "4:41: spec.target.lifecycle is for services (service: NAME, as `benchlet services` lists them)",
        ),
        (
            "{ url: 'http://a', params: { c: 1 } }",
            "4:38: spec.target.params is for servers that are started for the run (service: NAME with lifecycle: Managed)",
        ),
        (
            "{ service: a, preset: Debug }",
            "4:33: spec.target.preset is for servers that are started for the run (service: NAME with lifecycle: Managed)",
        ),
        (
            "{ engine: vllm, simulated: {} }",
            "4:38: spec.target.simulated is for an engine that is started for the run (engine: simulated, without url or service)",
        ),
        (
            "{ service: simulated }",
            "4:22: spec.target.service cannot be \"simulated\" (the stand-in is no service: engine: simulated alone)",
        ),
        (
            "{ service: a, engine: simulated }",
            "4:22: spec.target.service cannot be \"a\" (the stand-in is no service: engine: simulated alone)",
        ),
        ("{ engine: vllm, model: [] }", "4:34: spec.target.model is an empty list (from 1 to 100 entries)"),
        (
            "{ engine: vllm, api: Chats }",
            "4:32: spec.target.api cannot be \"Chats\" (did you mean \"Chat\"?)",
        ),
        (
            "{ engine: simulated, simulated: { itl: 2h, slots: -1 } }",
            "4:50: spec.target.simulated.itl cannot be \"2h\" (at most an hour)",
        ),
        (
            "{ engine: simulated, simulated: { jitter: 5 } }",
            "4:53: spec.target.simulated.jitter cannot be \"5\" (give it its sign: 5%)",
        ),
    ] {
        assert_eq!(problems(&format!("target: {target}"))[0], expected, "{target}");
    }
    refused(
        "load: {}",
        &["4:3: spec.targets is missing (targets: [{ engine: llama.cpp, url: http://localhost:8080 }])"],
    );
    refused("targets: []", &["4:12: spec.targets has 0 entries (from 1 to 100)"]);
    refused(
        "targets: [{ engine: vllm }]\ntarget: { engine: vllm }",
        &["5:11: spec.target cannot stand beside targets (put it into the list of targets)"],
    );
    refused(
        "targets: [{ name: a, engine: vllm }, { name: a, engine: ollama }]",
        &["4:48: two targets have the name \"a\" (results are told apart by it)"],
    );
}

#[test]
fn an_address_is_http_and_nothing_but_an_address() {
    for (url, expected) in [
        (
            "localhost:8080",
            "4:18: spec.target.url cannot be \"localhost:8080\" (did you mean \"http://localhost:8080\"?)",
        ),
        (
            "10.0.0.1:80",
            "4:18: spec.target.url cannot be \"10.0.0.1:80\" (it begins with http:// or https://)",
        ),
        ("ftp://a", "4:18: spec.target.url cannot be \"ftp://a\" (only http:// and https:// are spoken)"),
        ("http://", "4:18: spec.target.url cannot be \"http://\" (http://host:port)"),
        ("http://a:99999", "4:18: spec.target.url cannot be \"http://a:99999\" (http://host:port)"),
        (
            "http://a/?x=1",
            "4:13: spec.target.url has a query or a fragment (the address alone, such as http://localhost:8080)",
        ),
    ] {
        assert_eq!(problems(&format!("target: {{ url: \"{url}\" }}")), [expected], "{url}");
    }
}

#[test]
fn a_password_in_an_address_is_refused_and_quoted_nowhere() {
    let text = "apiVersion: benchlet/v1\nkind: LoadTest\nspec: { target: { url: 'http://u:hunter2@h' } }\n";
    let stream = tree::parse(text);
    let found = validate(stream.documents[0].root.as_ref().unwrap(), 0, "stem").unwrap_err();
    let located: Vec<Located> = found.iter().map(|problem| problem.locate(text)).collect();
    assert!(located[0].message.contains("holds a user name or password"), "{located:?}");
    assert!(!serde_json::to_string(&located).unwrap().contains("hunter2"));
}

#[test]
fn a_managed_server_cannot_be_pointed_elsewhere_by_its_flags() {
    refused(
        "target:\n  service: a\n  lifecycle: Managed\n  params:\n    model: x\n    api_key: y\n    --seed: --trust-remote-code\n    b: [1, 2]\n    max_num_seqs: 1\n    --max-num-seqs: 2",
        &[
            "8:7: the flag --model is reserved (the model comes from the service; a request cannot make the server load another one)",
            "9:7: the flag --api-key is reserved (keys come from the settings and never from a request)",
            "10:15: the value of --seed looks like a flag (give it an entry of its own)",
            "11:10: -b has to be a single value, not a list (to measure several values, write a target for each)",
            "13:7: spec.target.params has --max-num-seqs twice, whatever its spelling",
        ],
    );
}

#[test]
fn a_tokenizer_is_a_file_beside_its_request() {
    assert_eq!(test(&with("")).tokenizer, None);
    for path in ["/models/tokenizer.json", "~/tokenizer.json", "''"] {
        let shown = path.trim_matches('\'');
        refused(
            &with(&format!("tokenizer: {path}")),
            &[&format!(
                "5:14: spec.tokenizer cannot be \"{shown}\" (a path relative to this file, such as tokenizer.json; the setting read_dirs allows other folders)"
            )],
        );
    }
}

#[test]
fn prompts_that_are_none_are_refused_with_the_reason() {
    for (prompts, expected) in [
        ("prompts.jsonl", "5:12: spec.prompts cannot be \"prompts.jsonl\" (write file: prompts.jsonl)"),
        ("synthetic", "5:12: spec.prompts cannot be \"synthetic\" (write synthetic: { inputTokens: 512 })"),
        ("[Hi]", "5:12: spec.prompts cannot be a list (write inline: before the list)"),
        (
            "{}",
            "5:12: spec.prompts has to have exactly one of file, inline and synthetic (builtin, or a map with one of file, inline and synthetic)",
        ),
        (
            "{ file: /etc/passwd }",
            "5:20: spec.prompts.file cannot be \"/etc/passwd\" (a path relative to this file, such as prompts.jsonl; the setting read_dirs allows other folders)",
        ),
        (
            "{ inline: [] }",
            "5:22: spec.prompts.inline has 0 prompts (from 1 to 1000; more of them belong into a file)",
        ),
        ("{ inline: [' '] }", "5:23: spec.prompts.inline[0] is an empty prompt"),
        (
            "{ inline: [{ maxTokens: 5 }] }",
            "5:23: spec.prompts.inline[0] has to have either prompt or messages (prompt: a text, or messages: [{ role: user, content: a text }])",
        ),
        (
            "{ inline: [{ messages: [{ role: usr, content: a }] }] }",
            "5:44: spec.prompts.inline[0].messages[0].role cannot be \"usr\" (did you mean \"user\"?)",
        ),
        (
            "{ inline: [{ messages: [{ role: user }] }] }",
            "5:36: spec.prompts.inline[0].messages[0].content is missing",
        ),
        (
            "{ synthetic: { inputTokens: 0 } }",
            "5:40: spec.prompts.synthetic.inputTokens cannot be \"0\" (a whole number from 1 to 1000000)",
        ),
        (
            "{ synthetic: { spread: 10% } }",
            "5:35: spec.prompts.synthetic.spread needs a distribution that varies (distribution: Uniform, Normal or LogNormal)",
        ),
    ] {
        assert_eq!(problems(&with(&format!("prompts: {prompts}"))), [expected], "{prompts}");
    }
}

#[test]
fn loads_that_contradict_themselves_are_refused_with_the_reason() {
    for (load, expected) in [
        (
            "{ concurrency: 1, rate: 5/s }",
            "5:33: spec.load.rate cannot stand beside concurrency (keep rate for requests that arrive whatever the server does, concurrency for workers that wait)",
        ),
        (
            "{ requests: 1, duration: 5s }",
            "5:34: spec.load.duration cannot stand beside requests (a case ends after so many requests or after a time; keep one of them)",
        ),
        (
            "{ arrivals: Poisson }",
            "5:21: spec.load.arrivals needs a rate (with concurrency a request follows the end of another)",
        ),
        (
            "{ concurrency: [1, 100001] }",
            "5:28: spec.load.concurrency cannot be \"100001\" (a whole number from 1 to 100000)",
        ),
        (
            "{ requests: 1e3 }",
            "5:21: spec.load.requests cannot be \"1e3\" (a whole number from 1 to 10000000)",
        ),
        (
            "{ rate: 0/s }",
            "5:17: spec.load.rate cannot be \"0/s\" (requests a second such as 5/s or 0.5/s, above 0 and at most 1000000)",
        ),
        ("{ duration: 30 }", "5:21: spec.load.duration cannot be \"30\" (give it a unit: 30s or 30ms)"),
        (
            "{ duration: 5s, rampUp: 5s }",
            "5:9: the ramp-up of 5s leaves nothing of the duration of 5s (a case's duration begins with its ramp-up; make it longer)",
        ),
    ] {
        assert_eq!(problems(&with(&format!("load: {load}"))), [expected], "{load}");
    }
}

#[test]
fn a_timeout_below_the_planned_duration_is_refused_with_both() {
    let spec = "load: { duration: 30s, concurrency: [1, 2], rampUp: 5s }\nrepeats: 2\npause: 1s\n";
    refused(
        &with(&format!("{spec}timeout: 2m")),
        &[
            "8:12: the timeout of 2m is below the planned duration of 2m3s (4 cases) (a timeout above 2m3s, which also leaves time for warm-up and the last answers)",
        ],
    );
    assert_eq!(test(&with(&format!("{spec}timeout: 3m"))).planned_ms(), Some(123_000));
    let by_default = problems(&with("load: { duration: 61m }"));
    assert!(by_default[0].starts_with("5:9: the timeout of 1h is below the planned duration of 1h1m"));
    // How long requests take is not known beforehand.
    assert!(decode(&with("load: { requests: 1000 }\ntimeout: 1s")).is_ok());
}

#[test]
fn a_matrix_that_never_ends_is_refused() {
    let list = |count: u32| (1..=count).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let spec = with(&format!("load: {{ concurrency: [{0}], requests: [{0}] }}\nrepeats: 2", list(100)));
    refused(
        &spec,
        &[
            "5:9: the lists and repeats make 20000 cases; at most 10000 are taken (shorten a list, or write several requests)",
        ],
    );
    refused(
        &with(&format!("load: {{ concurrency: [{}] }}", list(101))),
        &["5:24: spec.load.concurrency has 101 entries (from 1 to 100 entries)"],
    );
}

#[test]
fn objectives_are_named_by_metric_and_statistic() {
    refused(
        &with("slo: { ttft_p96: 1s, p95_latency: 1s, itl_p95: 5, e2e_max: [1s] }"),
        &[
            "5:10: unknown objective \"ttft_p96\" in spec.slo (did you mean \"ttft_p90\"?)",
            "5:24: unknown objective \"p95_latency\" in spec.slo (one of ttft, ttfr, ttfo, tpot, itl, icl, e2e, response_time, client_delay, ntpot with one of _mean, _p50, _p90, _p95, _p99, _max)",
            "5:50: spec.slo.itl_p95 cannot be \"5\" (give it a unit: 5s or 5ms)",
            "5:62: spec.slo.e2e_max has to be a single value, not a list (a time such as 500ms)",
        ],
    );
    refused(
        &with("stream: false\nslo: { ttft_p95: 1s, e2e_p95: 1s }"),
        &[
            "6:10: spec.slo.ttft_p95 cannot be known without streaming (take stream: false out, or bound e2e or response_time)",
        ],
    );
    refused(
        &with("slo: [ttft_p95]"),
        &["5:8: spec.slo has to be a map, not a list (for example ttft_p95: 500ms)"],
    );
}

#[test]
fn what_this_version_cannot_do_with_a_load_test_is_refused_and_not_ignored() {
    refused(
        &with("apply: {}"),
        &[
            "5:10: spec.apply is not supported by this version of benchlet (what a load test measures is no set of flags; take the field out)",
        ],
    );
}

#[test]
fn every_problem_of_a_load_test_is_reported_at_once() {
    refused(
        "targets: [{ engine: vllm, modle: a }]\nprompts: x\noutput: { maxTokens: 0, temperature: 3 }\nload: { concurency: 1 }\nwarmup: 5\nsamples: many\ncost: {}\nvalidity: { clientCpu: 120% }\norder: Random\nrepeats: 0\ntimeout: 1",
        &[
            "4:29: unknown field \"modle\" in spec.targets[0] (did you mean \"model\"?)",
            "5:12: spec.prompts cannot be \"x\" (builtin, or a map with one of file, inline and synthetic)",
            "6:24: spec.output.maxTokens cannot be \"0\" (a whole number from 1 to 1000000)",
            "6:40: spec.output.temperature cannot be \"3\" (a number from 0 to 2)",
            "7:11: unknown field \"concurency\" in spec.load (did you mean \"concurrency\"?)",
            "8:11: spec.warmup has to be a map, not a scalar (with fields such as requests)",
            "9:12: spec.samples cannot be \"many\" (a whole number from 0 to 100)",
            "10:9: spec.cost.perHour is missing",
            "11:26: spec.validity.clientCpu cannot be \"120%\" (a percentage from 0% to 100%)",
            "12:10: spec.order cannot be \"Random\" (one of Shuffled, AsWritten)",
            "13:12: spec.repeats cannot be \"0\" (a whole number from 1 to 1000)",
            "14:12: spec.timeout cannot be \"1\" (give it a unit: 1s)",
        ],
    );
}

#[test]
fn the_schema_takes_what_decoding_takes() {
    let schema = schema::kind_schema("LoadTest").unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors_of = |spec: &str| {
        let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!("apiVersion: benchlet/v1\nkind: LoadTest\nspec:\n{indented}");
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        validator.iter_errors(&value).map(|error| error.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(errors_of(FULL), Vec::<String>::new());
    let inline = "prompts: { inline: [Hi, { prompt: Ho, maxTokens: 9, temperature: 1.5 }, { messages: [{ role: user, content: a }] }] }";
    assert_eq!(errors_of(&with(inline)), Vec::<String>::new());
    for bad in
        ["slo: { ttft_p96: 1s }", "load: { concurrency: 0 }", "prompts: x", "validity: { clientCpu: 5 }"]
    {
        assert_ne!(errors_of(&with(bad)), Vec::<String>::new(), "{bad}");
    }
}

fn gate() -> Gate {
    let mut rules =
        Rules { margin: 0.04, varies: vec!["image".to_owned()], strict: true, ..Rules::default() };
    let limits = thresholds::parse_threshold("fail:30%,warn:±20%").unwrap();
    rules.thresholds.set(thresholds::Subject::parse("ttft_p95").unwrap(), limits);
    Gate { baseline: "main".to_owned(), rules }
}

/// What the full example leaves out, because it cannot stand beside the rest.
const ELSEWHERE: &[&str] = &[
    "target",
    "concurrency",
    "duration",
    "file",
    "inline",
    "prompt",
    "messages",
    "role",
    "content",
    "state",
    "apply",
];

#[test]
fn the_full_example_has_every_field_of_the_tables() {
    let fields = schema::spec_fields("LoadTest").unwrap();
    assert_eq!(not_shown(&[fields], FULL, ELSEWHERE), Vec::<&str>::new());
}
