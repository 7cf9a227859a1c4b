//! From the YAML of `kind: LoadTest` to its type, with defaults and presets filled in, and the checks
//! that need more than one field.

use super::diagnostic::{Diagnostic, Place, did_you_mean};
use super::fields::{Fields, Problems};
use super::llama_bench::{ExecutorChoice, PullPolicy};
use super::load_test::{
    CachePolicy, CaseOrder, Conflict, Cost, Load, LoadTest, Metric, Objective, Output, Prompts, Statistic,
    ValidityLimits,
};
use super::load_test_schema::{COST, VALIDITY, WARMUP};
use super::load_test_size::{MOST_REPEATS, MOST_WARMUPS, Misfit};
use super::schema::Field;
use super::tree::Node;
use super::{load_test_load, load_test_prompts, load_test_targets, quantities};

const DEFAULT_WARMUP: u32 = 5;
const DEFAULT_REQUEST_TIMEOUT_MS: u64 = 30_000;
const DEFAULT_SAMPLES: u32 = 3;
const DEFAULT_SEED: u32 = 1;
const DEFAULT_ENGINE_START_TIMEOUT_MS: u64 = 10 * 60 * 1000;

/// How thorough a load test is where its own fields do not say.
#[derive(Debug, Clone, Copy)]
struct Thoroughness {
    requests: u32,
    repeats: u32,
}

const STANDARD: Thoroughness = Thoroughness { requests: 100, repeats: 1 };
const QUICK: Thoroughness = Thoroughness { requests: 20, repeats: 1 };
const THOROUGH: Thoroughness = Thoroughness { requests: 200, repeats: 3 };

/// `None` where the spec has errors; they are in the fields' problems. `timeout_ms` is that of the
/// whole run.
pub fn decode(fields: &Fields<'_>, timeout_ms: u64) -> Option<LoadTest> {
    let usual = fields.choice("preset", &[("Quick", QUICK), ("Thorough", THOROUGH)]).unwrap_or(STANDARD);
    let prompts = load_test_prompts::decode(fields);
    let own = Own {
        output: load_test_load::decode_output(fields),
        load: load_test_load::decode(fields, usual.requests),
        warmup: warmup(fields, WARMUP).unwrap_or(DEFAULT_WARMUP),
        request_timeout_ms: DEFAULT_REQUEST_TIMEOUT_MS,
        samples: fields.integer("samples", 0, 100).unwrap_or(DEFAULT_SAMPLES),
        repeats: usual.repeats,
        threads: fields.integer("threads", 1, 1024),
        validity: validity(fields),
    };
    let test = served(fields, own, prompts)?;
    // What does not fit together is told once each field is right.
    if !fields.problems.has_errors() {
        check_whole(&test, fields, timeout_ms);
    }
    Some(test)
}

/// What each kind that speaks to servers reads by itself; times are defaults.
pub(super) struct Own {
    pub output: Output,
    pub load: Load,
    pub warmup: u32,
    pub request_timeout_ms: u64,
    pub samples: u32,
    pub repeats: u32,
    pub threads: Option<u32>,
    pub validity: ValidityLimits,
}

/// The fields that all of them have. Every field is looked at, even where `prompts` are not usable.
pub(super) fn served(fields: &Fields<'_>, own: Own, prompts: Option<Prompts>) -> Option<LoadTest> {
    fields.not_yet("apply", "what a load test measures is no set of flags; take the field out");
    let targets = load_test_targets::decode(fields);
    let stream = fields.boolean("stream").unwrap_or(true);
    let slo = fields.get("slo").map(|node| objectives(node, stream, fields.problems)).unwrap_or_default();
    let test = LoadTest {
        targets,
        output: own.output,
        load: own.load,
        warmup: own.warmup,
        request_timeout_ms: fields
            .parsed("requestTimeout", quantities::time)
            .unwrap_or(own.request_timeout_ms),
        stream,
        slo,
        samples: own.samples,
        tokenizer: fields.relative_file("tokenizer", "tokenizer.json"),
        cost: cost(fields),
        validity: own.validity,
        order: fields
            .choice("order", &[("Shuffled", CaseOrder::Shuffled), ("AsWritten", CaseOrder::AsWritten)])
            .unwrap_or_default(),
        seed: u64::from(fields.integer("seed", 0, u32::MAX).unwrap_or(DEFAULT_SEED)),
        pause_ms: fields.parsed("pause", quantities::time_or_zero).unwrap_or(0),
        cache: fields
            .choice(
                "cache",
                &[("Salt", CachePolicy::Salt), ("Flush", CachePolicy::Flush), ("Keep", CachePolicy::Keep)],
            )
            .unwrap_or_default(),
        repeats: fields.integer("repeats", 1, MOST_REPEATS).unwrap_or(own.repeats),
        threads: own.threads,
        conflict: fields
            .choice(
                "conflict",
                &[
                    ("Share", Conflict::Share),
                    ("Fail", Conflict::Fail),
                    ("Stop", Conflict::Stop),
                    ("UseRunning", Conflict::UseRunning),
                ],
            )
            .unwrap_or_default(),
        executor: fields.choice("executor", ExecutorChoice::NAMES).unwrap_or_default(),
        image_pull_policy: fields.choice("imagePullPolicy", PullPolicy::NAMES).unwrap_or_default(),
        engine_start_timeout_ms: fields
            .parsed("engineStartTimeout", quantities::time)
            .unwrap_or(DEFAULT_ENGINE_START_TIMEOUT_MS),
        prompts: prompts?,
    };
    Some(test)
}

fn check_whole(test: &LoadTest, fields: &Fields<'_>, timeout_ms: u64) {
    let report = |node: Option<&Node>, misfit: Misfit| {
        fields.problems.error_with_hint(node.unwrap_or(fields.node()), misfit.message, misfit.hint);
    };
    let load = fields.get("load").map(AsRef::as_ref);
    if let Err(misfit) = test.check_size() {
        report(load, misfit);
        return;
    }
    if let Err(misfit) = test.check_timeout(timeout_ms) {
        report(fields.get("timeout").map(AsRef::as_ref).or(load), misfit);
    }
}

/// `table` is the map's own, which tells the kind's default.
pub(super) fn warmup(spec: &Fields<'_>, table: &'static [Field]) -> Option<u32> {
    let fields = Fields::new(spec.get("warmup")?, "spec.warmup", table, spec.problems)?;
    fields.integer("requests", 0, MOST_WARMUPS)
}

fn cost(spec: &Fields<'_>) -> Option<Cost> {
    let fields = Fields::new(spec.get("cost")?, "spec.cost", COST, spec.problems)?;
    fields.required("perHour")?;
    let per_hour = fields.parsed("perHour", |text| quantities::number(text, 0.0, 1e9))?;
    Some(Cost { per_hour })
}

fn validity(spec: &Fields<'_>) -> ValidityLimits {
    let standard = ValidityLimits::default();
    let fields =
        spec.get("validity").and_then(|node| Fields::new(node, "spec.validity", VALIDITY, spec.problems));
    match fields {
        Some(fields) => limits(&fields),
        None => standard,
    }
}

/// The limits that all kinds have, from a map whose table has them.
pub(super) fn limits(fields: &Fields<'_>) -> ValidityLimits {
    let standard = ValidityLimits::default();
    let share = |text: &str| quantities::percent(text, 100.0);
    ValidityLimits {
        client_delay_ms: fields
            .parsed("clientDelay", quantities::short_time_or_zero)
            .unwrap_or(standard.client_delay_ms),
        client_cpu_percent: fields.parsed("clientCpu", share).unwrap_or(standard.client_cpu_percent),
        error_percent: fields.parsed("errorRate", share).unwrap_or(standard.error_percent),
        cache_hit_percent: fields.parsed("cacheHits", share).unwrap_or(standard.cache_hit_percent),
        output_length_percent: fields.parsed("outputLength", share).unwrap_or(standard.output_length_percent),
        broken_answers_percent: None,
    }
}

/// Every name that an objective can have: `ttft_mean`, `ttft_p50`, …
pub fn objective_names() -> impl Iterator<Item = String> {
    objective_kinds().map(|(metric, statistic)| format!("{}_{}", metric.as_str(), statistic.as_str()))
}

fn objective_kinds() -> impl Iterator<Item = (Metric, Statistic)> {
    Metric::ALL.iter().flat_map(|metric| Statistic::ALL.iter().map(|statistic| (*metric, *statistic)))
}

fn objectives(node: &Node, stream: bool, problems: &Problems) -> Vec<Objective> {
    let Some(entries) = node.entries() else {
        problems.error_with_hint(
            node,
            format!("spec.slo has to be a map, not {}", node.kind_name()),
            "for example ttft_p95: 500ms",
        );
        return Vec::new();
    };
    super::fields::report_duplicates(entries, "spec.slo", problems);
    let mut objectives = Vec::new();
    for entry in entries {
        let name = entry.key.text().unwrap_or_default();
        let named = objective_kinds().zip(objective_names()).find(|(_, known)| known == name);
        let Some(((metric, statistic), _)) = named else {
            problems.add(unknown_objective(name, &entry.key));
            continue;
        };
        if !stream && needs_stream(metric) {
            problems.error_with_hint(
                &entry.key,
                format!("spec.slo.{name} cannot be known without streaming"),
                "take stream: false out, or bound e2e or response_time",
            );
        }
        let value = entry.value.text().ok_or_else(|| "a time such as 500ms".to_owned());
        match value.and_then(quantities::short_time) {
            Ok(at_most_ms) => objectives.push(Objective { metric, statistic, at_most_ms }),
            Err(right) => problems.error_with_hint(
                &entry.value,
                match entry.value.text() {
                    Some(text) => format!("spec.slo.{name} cannot be \"{text}\""),
                    None => {
                        format!("spec.slo.{name} has to be a single value, not {}", entry.value.kind_name())
                    }
                },
                right,
            ),
        }
    }
    objectives
}

fn unknown_objective(name: &str, key: &Node) -> Diagnostic {
    let names: Vec<_> = objective_names().collect();
    let hint = did_you_mean(name, names.iter().map(String::as_str)).unwrap_or_else(|| {
        let metrics: Vec<_> = Metric::ALL.iter().map(|metric| metric.as_str()).collect();
        let statistics: Vec<_> = Statistic::ALL.iter().map(|statistic| statistic.as_str()).collect();
        format!("one of {} with one of _{}", metrics.join(", "), statistics.join(", _"))
    });
    Diagnostic::error(Place::at(key.span.clone()), format!("unknown objective \"{name}\" in spec.slo"))
        .hint(hint)
}

/// Whether a metric is about the time of single tokens.
fn needs_stream(metric: Metric) -> bool {
    match metric {
        Metric::Ttft | Metric::Ttfr | Metric::Ttfo | Metric::Tpot | Metric::Itl | Metric::Icl => true,
        Metric::E2e | Metric::ResponseTime | Metric::ClientDelay | Metric::Ntpot => false,
    }
}
