//! Ended runs with fixed ids, times and figures in a store of their own: what reports are compared on.
//! The model's and the users' texts in them are as nasty as such texts get.

use std::collections::BTreeMap;
use std::path::PathBuf;

use benchlet::decide::action::NewRun;
use benchlet::request::conversation::PrefixCache;
use benchlet::request::flags::Param;
use benchlet::request::load_test::CachePolicy;
use benchlet::request::valid::Spec;
use benchlet::request::{tree, valid};
use benchlet::run::conversation_figures::{HeldInput, add_savings};
use benchlet::run::load_figures::{CaseInput, Pass, case_figures};
use benchlet::run::load_words;
use benchlet::run::measure_plan::{
    CaseAmount, CaseConversation, CaseLoad, CasePlan, ConversationPlan, Dialect, Endpoint, MEASURE_VERSION,
    MeasurePlan, PromptPlan, TargetPlan,
};
use benchlet::run::phase::{Ending, RunState};
use benchlet::run::plan::{Blueprint, ExecutorKind, LoadBlueprint, PLAN_VERSION, Plan, Step};
use benchlet::run::reason::Reason;
use benchlet::run::request_record::{
    CaseEnded, CaseSkipped, CaseStarted, ErrorKind, Record, RequestError, ServerTimings, TargetFacts,
    TokenSource, TurnEnded,
};
use benchlet::run::series::{self, Sample};
use benchlet::run::step::{Role, TaskId, TaskSpec};
use benchlet::store::benchmarks::Figures;
use benchlet::store::load_results::{CaseData, ResultRow};
use benchlet::store::runs::{self, Results};
use benchlet::store::{Access, Store};
use serde_json::json;
use uuid::Uuid;

/// What a model said.
pub const NASTY: &str =
    "=cmd|'/c calc'!A1 <script>alert(1)</script> | a `cell` | \u{1b}[31mred\u{202e}\n```\n# out\n";

pub struct Stored {
    _home: tempfile::TempDir,
    pub store: Store,
}

/// The `number`-th id of all.
pub fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000_u128 + (number << 96) + number)
}

impl Stored {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), Access::Owner).unwrap();
        Self { _home: home, store }
    }

    /// An ended run, on the day of its number.
    fn run(
        &self,
        number: u8,
        spec: (Spec, String),
        blueprint: Blueprint,
        plan: Plan,
        results: Results,
        end: Ending,
    ) {
        let run = id(number.into());
        let at = move |minute: u8| format!("2026-03-{number:02}T08:{minute:02}:00.000Z");
        let (spec, spec_hash) = spec;
        let new = NewRun {
            id: run,
            request_uid: id(100),
            request: "pipe-dream".to_owned(),
            path: PathBuf::from("team|a/pipe-dream.yaml"),
            generation: u64::from(number),
            spec,
            spec_hash,
            timeout_ms: 600_000,
            backoff_limit: 0,
            service: blueprint.service.clone(),
            satisfied_hash: None,
            satisfied_rerun: None,
            command: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let write = self.store.write(move |connection| {
            runs::create(connection, &new, &at(0))?;
            runs::set_blueprint(connection, run, &blueprint)?;
            runs::set_plan(connection, run, &plan)?;
            runs::set_fingerprint(connection, run, &fingerprint())?;
            runs::advance(connection, run, &crate::cli_state::running(), &at(1))?;
            runs::set_results(connection, run, &results, 0)?;
            runs::advance(connection, run, &RunState::Ended(end), &at(3))
        });
        runtime.block_on(write).unwrap();
    }

    /// A measured matrix of llama-bench, its rates a little higher with each number.
    pub fn bench(&self, number: u8) -> Uuid {
        let plus = f64::from(number);
        let case = |case: u32, test: &str, batch: u32, samples: [[f64; 3]; 2]| {
            let mean = samples.concat().iter().sum::<f64>() / 6.0 + plus;
            let samples = samples.map(|launch| launch.map(|sample| sample + plus));
            json!({
                "case": case, "test": test, "varied": { "n_batch": batch }, "avg_ts": mean,
                "median_ts": mean, "stddev_ts": 2.5, "samples_ts": samples, "slow_first": [],
            })
            .to_string()
        };
        let mut cases = vec![
            case(1, "pp512", 512, [[1200.0, 1210.0, 1205.0], [1190.0, 1215.0, 1204.0]]),
            case(2, "tg128", 512, [[84.0, 85.0, 86.0], [85.5, 84.5, 85.0]]),
            case(3, "pp512", 1024, [[1300.0, 1310.0, 1305.0], [1290.0, 1315.0, 1304.0]]),
        ];
        cases[0] = cases[0].replace("\"slow_first\":[]", "\"slow_first\":[1]");
        let results = Results { cases, figures: Figures::default(), ..Results::default() };
        let spec = spec("LlamaBench", "{ service: qwen, params: { -p: 512, -n: 128, -b: [512, 1024] } }");
        let plan = bench_plan(number);
        self.run(
            number,
            spec,
            blueprint(number, None),
            plan,
            results,
            Ending::completed("measured in 2 launches"),
        );
        id(number.into())
    }

    /// A run of llama-bench that ended without a figure.
    pub fn failed(&self, number: u8) -> Uuid {
        let end = Ending::failed(Reason::ModelNotFound, format!("the model is missing: {NASTY}"))
            .hint(Some("put it there".to_owned()));
        let results = Results { tail: Some(NASTY.to_owned()), ..Results::default() };
        let spec = spec("LlamaBench", "{ service: qwen, params: { -p: 512 } }");
        self.run(number, spec, blueprint(number, None), bench_plan(number), results, end);
        id(number.into())
    }

    /// A simulated load test of two cases, the second one not valid.
    pub fn load(&self, number: u8) -> Uuid {
        let text = "{ target: { engine: simulated }, load: { concurrency: [1, 4], requests: 40 }, \
                    warmup: { requests: 1 }, slo: { ttft_p95: 30ms }, cost: { perHour: 1.2 } }";
        let (spec, hash) = spec("LoadTest", text);
        let Spec::LoadTest(test) = &spec else { panic!("another kind") };
        let target = TargetPlan {
            name: "a|b".to_owned(),
            dialect: Dialect::LlamaCpp,
            api: Default::default(),
            endpoint: Endpoint::Url("http://127.0.0.1:1".to_owned()),
            key: None,
            simulated: true,
            container: None,
        };
        let plans = [1u32, 4].map(|concurrency| CasePlan {
            case: if concurrency == 1 { 1 } else { 2 },
            repeat: 1,
            target: 0,
            model: Some("tiny".to_owned()),
            load: CaseLoad::Closed { concurrency },
            amount: CaseAmount::Requests(40),
            ramp_up_ms: 0,
            input_tokens: None,
            conversation: None,
        });
        let mut cases = Vec::new();
        let mut load = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            let records = records(index);
            let start = 1_772_000_000_000 + index as i64 * 10_000;
            let samples: Vec<Sample> = (0..5).map(|at| sample(start + at * 1_000, at as f64)).collect();
            let started = CaseStarted {
                index,
                unix_ms: start,
                threads: 1,
                model: plan.model.clone(),
                cache: "salted".to_owned(),
            };
            let ended = CaseEnded {
                index,
                unix_ms: start + 4_000,
                wall_us: 4_000_000,
                client_cpu_us: 40_000,
                busiest_thread_cpu_us: 40_000,
                cut_short: false,
                early: None,
            };
            let mut made = case_figures(&CaseInput {
                number: plan.case,
                target: &target,
                facts: None,
                passes: vec![Pass {
                    plan,
                    started: Some(&started),
                    ended: Some(&ended),
                    records: &records,
                    series: series::summarise(&samples, start, start + 4_000),
                    turns: &[],
                    skipped: None,
                }],
                slo: &test.slo,
                limits: &test.validity,
                output: &test.output,
                cache: test.cache,
                held: None,
                simulated: true,
            });
            made.cost = test
                .cost
                .as_ref()
                .map(|cost| benchlet::run::load_case::Cost::of(cost.per_hour, &made.throughput));
            let mut series: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
            for sample in &samples {
                for (name, value) in &sample.values {
                    series.entry(name.clone()).or_default().push((sample.unix_ms, *value));
                }
            }
            let lines = records
                .iter()
                .flat_map(|record| serde_json::to_vec(record).unwrap().into_iter().chain(*b"\n"));
            let lines: Vec<u8> = lines.collect();
            let count = records.len() as u64;
            load.push(CaseData::pack(plan.case, &lines, count, &series, Some(ResultRow::default())).unwrap());
            cases.push(made);
        }
        let measure = MeasurePlan {
            index_from: 0,
            version: MEASURE_VERSION,
            targets: vec![target],
            cases: plans.to_vec(),
            prompts: PromptPlan::Builtin,
            output: test.output.clone(),
            stream: true,
            warmup: 1,
            request_timeout_ms: 30_000,
            pause_ms: 0,
            cache: test.cache,
            samples: 3,
            seed: 1,
            salt: 1,
            threads: None,
            sample_every_ms: 1_000,
            collectors: Vec::new(),
            tokenizer: None,
        };
        let plan = Plan {
            version: PLAN_VERSION,
            steps: vec![Step::Load { task: Box::new(task(number)), plan: Box::new(measure.clone()) }],
            command: "benchlet measure".to_owned(),
            warnings: Vec::new(),
        };
        let results = Results {
            headline: load_words::headline(&cases),
            cases: cases.iter().map(|case| serde_json::to_string(case).unwrap()).collect(),
            load,
            ..Results::default()
        };
        let made = LoadBlueprint { measure, engines: Vec::new(), prompts: None, tokenizer: None };
        let end = Ending::completed("measured 2 cases");
        self.run(number, (spec, hash), blueprint(number, Some(made)), plan, results, end);
        id(number.into())
    }

    /// A measured conversation of three turns, held twice with its cache kept and twice with it defeated; a
    /// second one that does not fit.
    pub fn conversation(&self, number: u8) -> Uuid {
        let text = "{ target: { engine: llama.cpp }, prefixCache: [Kept, Defeated], repeats: 2, conversations: { inline: [\
            { name: a-b, tags: [rag], documents: { note: text }, turns: [{ user: '<b>one</b> | two' }, \
              { user: second, put: note, expect: { contains: fox } }, { user: third, take: note }] }, \
            { name: long, turns: [{ user: x }] }] } }";
        let (spec, hash) = spec("Conversation", text);
        let Spec::LoadTest(test) = &spec else { panic!("another kind") };
        let how = test.conversations().unwrap();
        let target = TargetPlan {
            name: "here".to_owned(),
            dialect: Dialect::LlamaCpp,
            api: Default::default(),
            endpoint: Endpoint::Url("http://127.0.0.1:1".to_owned()),
            key: None,
            simulated: false,
            container: None,
        };
        let facts = TargetFacts {
            model: Some("tiny".to_owned()),
            context_window: Some(2_048),
            ..TargetFacts::default()
        };
        let cell = |case: u32, repeat, index, cache| CasePlan {
            case,
            repeat,
            target: 0,
            model: None,
            load: CaseLoad::Closed { concurrency: 1 },
            amount: CaseAmount::Requests(3),
            ramp_up_ms: 0,
            input_tokens: None,
            conversation: Some(CaseConversation { index, cache }),
        };
        let caches = [(1, PrefixCache::Kept), (2, PrefixCache::Defeated)];
        let mut plans: Vec<CasePlan> = Vec::new();
        for repeat in [1, 2] {
            plans.extend(caches.map(|(case, cache)| cell(case, repeat, 0, cache)));
            plans.push(cell(3, repeat, 1, PrefixCache::Kept));
        }
        let records: Vec<Vec<Record>> =
            plans.iter().enumerate().map(|(index, plan)| turns_of(index, plan)).collect();
        let (mut cases, mut load) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            let of_case: Vec<usize> = (0..plans.len()).filter(|at| plans[*at].case == number).collect();
            let held = plans[of_case[0]].conversation.unwrap();
            let skips = held.index == 1;
            let boxed: Vec<(CaseStarted, CaseEnded, CaseSkipped, Vec<TurnEnded>)> =
                of_case.iter().map(|index| conversation_lines(*index, &records[*index])).collect();
            let passes = of_case.iter().zip(&boxed).map(|(index, (started, ended, skipped, turns))| Pass {
                plan: &plans[*index],
                started: (!skips).then_some(started),
                ended: (!skips).then_some(ended),
                records: if skips { &[] } else { &records[*index] },
                series: BTreeMap::new(),
                turns: if skips { &[] } else { turns },
                skipped: skips.then_some(skipped),
            });
            let made = case_figures(&CaseInput {
                number,
                target: &target,
                facts: Some(&facts),
                passes: passes.collect(),
                slo: &test.slo,
                limits: &test.validity,
                output: &test.output,
                cache: if held.cache == PrefixCache::Kept { CachePolicy::Keep } else { test.cache },
                held: Some(HeldInput {
                    conversation: &how.inline[held.index],
                    cache: held.cache,
                    context_size: None,
                }),
                simulated: false,
            });
            let lines: Vec<u8> = of_case
                .iter()
                .filter(|_| !skips)
                .flat_map(|index| &records[*index])
                .flat_map(|record| serde_json::to_vec(record).unwrap().into_iter().chain(*b"\n"))
                .collect();
            let series = BTreeMap::new();
            load.push(CaseData::pack(number, &lines, 6, &series, Some(ResultRow::default())).unwrap());
            cases.push(made);
        }
        add_savings(&mut cases);
        let measure = MeasurePlan {
            index_from: 0,
            version: MEASURE_VERSION,
            targets: vec![target],
            cases: plans,
            prompts: PromptPlan::Conversations(ConversationPlan {
                conversations: how.inline.clone(),
                context_size: how.context_size,
                most: None,
                think_time_ms: 0,
                isolation: how.isolation,
                template: None,
            }),
            output: test.output.clone(),
            stream: true,
            warmup: 0,
            request_timeout_ms: 30_000,
            pause_ms: 0,
            cache: test.cache,
            samples: 3,
            tokenizer: None,
            seed: 1,
            salt: 1,
            threads: None,
            sample_every_ms: 1_000,
            collectors: Vec::new(),
        };
        let plan = Plan {
            version: PLAN_VERSION,
            steps: vec![Step::Load { task: Box::new(task(number)), plan: Box::new(measure.clone()) }],
            command: String::new(),
            warnings: Vec::new(),
        };
        let results = Results {
            headline: load_words::headline(&cases),
            cases: cases.iter().map(|case| serde_json::to_string(case).unwrap()).collect(),
            load,
            ..Results::default()
        };
        let made = LoadBlueprint { measure, engines: Vec::new(), prompts: None, tokenizer: None };
        let end = Ending::completed("measured 3 cases");
        self.run(number, (spec, hash), blueprint(number, Some(made)), plan, results, end);
        id(number.into())
    }
}

fn spec(kind: &str, spec: &str) -> (Spec, String) {
    let text =
        format!("apiVersion: benchlet/v1\nkind: {kind}\nmetadata: {{ name: pipe-dream }}\nspec: {spec}\n");
    let stream = tree::parse(&text);
    let request = valid::validate(stream.documents[0].root.as_ref().unwrap(), 0, "x").unwrap();
    (request.spec, request.spec_hash)
}

/// One warm-up and 40 requests; of the second case every tenth fails.
fn records(index: usize) -> Vec<Record> {
    (0..41u64)
        .map(|n| {
            let scheduled_us = n * 90_000;
            // Spread without a pattern, the same every time.
            let spread = (n * 7_919) % 41;
            let first = 20_000 + spread * 250 + index as u64 * 15_000;
            let gaps = [2_000, 2_100, 1_900, 2_000 + spread as u32 * 10];
            let last = first + gaps.iter().map(|gap| u64::from(*gap)).sum::<u64>();
            let chunks = [vec![u32::try_from(first).unwrap()], gaps.to_vec()].concat();
            let whole = Record {
                index,
                n,
                warmup: n == 0,
                scheduled_us,
                sent_us: scheduled_us + 60 + spread,
                first_byte_us: Some(first - 500),
                first_chunk_us: Some(first),
                first_token_us: Some(first),
                first_output_us: Some(first),
                last_token_us: Some(last),
                end_us: last + 100,
                chunks,
                tokens_in: Some(12),
                tokens_out: Some(5),
                tokens_cached: Some(0),
                token_source: Some(TokenSource::Usage),
                max_tokens: 5,
                finish_reason: Some("length".to_owned()),
                status: Some(200),
                server: Some(ServerTimings {
                    prefill_ms: Some(12.0),
                    decode_ms: Some(8.0),
                    cached_tokens: None,
                }),
                chars: NASTY.chars().count() as u64,
                text: (n == 1).then(|| NASTY.to_owned()),
                ..Record::default()
            };
            if index == 0 || n % 10 != 3 {
                return whole;
            }
            Record {
                status: Some(500),
                error: Some(RequestError {
                    kind: ErrorKind::HttpStatus,
                    message: format!("HTTP 500: {NASTY}"),
                }),
                end_us: 3_000,
                index,
                n,
                scheduled_us,
                sent_us: scheduled_us + 60,
                max_tokens: 5,
                ..Record::default()
            }
        })
        .collect()
}

fn sample(unix_ms: i64, at: f64) -> Sample {
    let values = [
        ("host_cpu_percent", 20.0 + at * 5.0),
        ("engine_memory_bytes", 3.0 * 1024f64.powi(3)),
        ("=mine.\"metric\"", at),
    ];
    Sample { unix_ms, values: values.map(|(name, value)| (name.to_owned(), value)).into() }
}

fn task(number: u8) -> TaskSpec {
    TaskSpec {
        id: TaskId { run: id(number.into()), attempt: 0, step: 0, role: Role::Bench },
        argv: vec!["llama-bench".to_owned()],
        env: BTreeMap::new(),
        container: None,
        deadline_ms: 600_000,
        labels: BTreeMap::new(),
        inputs: BTreeMap::new(),
    }
}

fn bench_plan(number: u8) -> Plan {
    Plan {
        version: PLAN_VERSION,
        steps: vec![Step::Bench { launch: 0, task: Box::new(task(number)) }],
        command: "docker run example llama-bench -m /models/a.gguf -o jsonl -p 512 -n 128 -b 512,1024"
            .to_owned(),
        warnings: vec!["-fa wants a value in this build".to_owned()],
    }
}

fn blueprint(number: u8, load: Option<LoadBlueprint>) -> Blueprint {
    let param = |flag: &str, value: &str| Param { flag: flag.to_owned(), value: value.to_owned() };
    let bench = load.is_none();
    Blueprint {
        version: PLAN_VERSION,
        service: if bench { "qwen" } else { "simulated" }.to_owned(),
        executor: ExecutorKind::Docker,
        simulated: !bench,
        model: if bench { "/models/a.gguf" } else { "" }.to_owned(),
        model_host_path: None,
        params: if bench { vec![param("-p", "512"), param("-b", "512,1024")] } else { Vec::new() },
        dropped: if bench { vec!["--metrics (llama-bench has no such flag)".to_owned()] } else { Vec::new() },
        warnings: Vec::new(),
        launches: 2,
        template: task(number),
        tool_candidates: Vec::new(),
        pull_policy: Default::default(),
        preparing_ms: 1_000,
        claims: Vec::new(),
        stop: Vec::new(),
        load,
    }
}

fn fingerprint() -> serde_json::Value {
    json!({
        "benchlet_version": "0.1.0",
        "host": { "hostname": "bench-1", "kernel": "Linux 6.1.0 x86_64", "os": "Example 13" },
        "cpu": { "model": "Example CPU", "sockets": 1, "cores": 8, "threads": 16, "governor": "performance" },
        "memory_bytes": 68_719_476_736u64,
        "limits": { "cgroup_version": 2, "memory_bytes": null, "cpus": 1.5, "cpuset": "0-15" },
        "gpus": [{ "name": "Example GPU", "uuid": "GPU-1", "memory_bytes": 25_769_803_776u64, "power_limit_watts": 350.0 }],
        "gpu_driver": { "version": "550.1", "cuda_version": "12.4" },
        "image": { "reference": "example/llama:full", "id": "sha256:1", "digest": "sha256:2" },
        "model": { "path": "/models/a.gguf", "size_bytes": 4_294_967_296u64, "sha256": "ab12" },
        "request": { "path": "team|a/pipe-dream.yaml", "commit": "c0ffee", "dirty": true }
    })
}

/// Three answers; the second time a little slower. With the cache kept only what is new is computed.
fn turns_of(index: usize, plan: &CasePlan) -> Vec<Record> {
    let kept = plan.conversation.is_some_and(|held| held.cache == PrefixCache::Kept);
    let prompts = [40u64, 220, 140];
    (0..3u64)
        .map(|n| {
            let prompt = prompts[n as usize];
            let cached = if kept { [0, 60, 100][n as usize] } else { 0 };
            let first = 5_000 + (prompt - cached) * 100 + u64::from(plan.repeat) * 300;
            let chunks = [vec![first as u32], vec![2_000; 9]].concat();
            let text = if n == 1 { "The quick fox." } else { NASTY };
            Record {
                index,
                n,
                scheduled_us: n * 90_000,
                sent_us: n * 90_000 + 50,
                first_chunk_us: Some(first),
                first_token_us: Some(first),
                first_output_us: Some(first),
                last_token_us: Some(first + 18_000),
                end_us: first + 18_100,
                chunks,
                tokens_in: Some(prompt),
                tokens_out: Some(10),
                tokens_cached: Some(cached),
                token_source: Some(TokenSource::Usage),
                max_tokens: 10,
                finish_reason: Some("stop".to_owned()),
                status: Some(200),
                server: Some(ServerTimings {
                    prefill_ms: Some((prompt - cached) as f64 / 10.0),
                    decode_ms: Some(18.0),
                    cached_tokens: Some(cached),
                }),
                chars: text.chars().count() as u64,
                text: Some(text.to_owned()),
                ..Record::default()
            }
        })
        .collect()
}

fn conversation_lines(
    index: usize,
    records: &[Record],
) -> (CaseStarted, CaseEnded, CaseSkipped, Vec<TurnEnded>) {
    let unix_ms = 1_772_000_000_000 + index as i64 * 10_000;
    let started = CaseStarted {
        index,
        unix_ms,
        threads: 1,
        model: Some("tiny".to_owned()),
        cache: "salted".to_owned(),
    };
    let ended = CaseEnded {
        index,
        unix_ms: unix_ms + 4_000,
        wall_us: 4_000_000,
        client_cpu_us: 40_000,
        busiest_thread_cpu_us: 40_000,
        cut_short: false,
        early: None,
    };
    let skipped =
        CaseSkipped { index, needed_tokens: 9_000, context_window: 2_048, counted: true, model: None };
    let turns = records.iter().map(|record| TurnEnded {
        index,
        n: record.n,
        documents: if record.n == 1 { vec!["note".to_owned()] } else { Vec::new() },
        metrics_prompt_tokens: record.tokens_in,
        metrics_cached_tokens: record.tokens_cached.map(|cached| cached / 2),
    });
    (started, ended, skipped, turns.collect())
}
