//! A load test's spool into its results: how a measuring task ended, the figures of each case, what goes
//! into the store beside them. Whatever was measured before a run died counts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Value, json};

use super::context::Context;
use super::measure::{launch_tasks, read};
use crate::decide::observed::TaskEnd;
use crate::executor::{STDERR, STDOUT};
use crate::request::conversation::{ContextSize, PrefixCache};
use crate::request::load_test::{CachePolicy, LoadTest};
use crate::run::conversation_figures::{self, HeldInput};
use crate::run::load_case::{Cost, LoadCase};
use crate::run::load_figures::{CaseInput, Pass, case_figures};
use crate::run::load_words;
use crate::run::measure_plan::{CasePlan, MeasurePlan, PromptPlan, RECORDS_FILE, REFUSAL_FILE, SERIES_FILE};
use crate::run::plan::{Blueprint, Step};
use crate::run::read_records::{PassRecords, Records, read_records};
use crate::run::reason::{Reason, Refusal};
use crate::run::series::{self, Sample};
use crate::run::step::{Exit, ExitCause};
use crate::store::load_results::{CaseData, ResultRow};
use crate::store::runs::{Results, RunRow};

/// How a measuring task ended: by its exit, and by the refusal that it left.
pub fn end_of(exit: &Exit, spool: &Path, restarted: bool, timeout_ms: u64) -> TaskEnd {
    let refusal = std::fs::read(spool.join(REFUSAL_FILE)).ok();
    let refusal = refusal.and_then(|bytes| serde_json::from_slice::<Refusal>(&bytes).ok());
    if let Some(refusal) = refusal {
        return TaskEnd::Failed(refusal);
    }
    let fault = |reason, words: &str| TaskEnd::Fault(Refusal::new(reason, words));
    match &exit.cause {
        ExitCause::Code(0) => TaskEnd::Succeeded,
        ExitCause::Code(code) if (129..=192).contains(code) && restarted => {
            fault(Reason::Interrupted, &format!("the measuring process was killed (exit code {code})"))
        }
        ExitCause::Code(code) => {
            let said = String::from_utf8_lossy(&read(&spool.join(STDERR))).into_owned();
            let last = said.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
            let reason = if *code > 128 { Reason::Killed } else { Reason::MeasuringFailed };
            let message = format!("the measuring process ended with exit code {code}{last}");
            TaskEnd::Failed(Refusal::new(reason, message))
        }
        ExitCause::Lost => fault(Reason::Lost, "the measuring process is gone and left no exit code"),
        ExitCause::DeadlineExceeded => {
            let allowed = crate::run::clock::human_ms(timeout_ms);
            let message = format!("it ran longer than its timeout of {allowed}");
            TaskEnd::Failed(
                Refusal::new(Reason::TimedOut, message)
                    .hint("give it a longer spec.timeout, or fewer requests or cases"),
            )
        }
        ExitCause::OutputTooLarge => TaskEnd::Failed(Refusal::new(
            Reason::OutputTooLarge,
            "the measuring process wrote too much to its output",
        )),
        ExitCause::NotStarted(words) => TaskEnd::Failed(Refusal::new(
            Reason::StartFailed,
            format!("the measuring process could not be started: {words}"),
        )),
    }
}

/// One measuring step with what it left.
struct Measured<'a> {
    plan: &'a MeasurePlan,
    records: Records,
    series: Vec<Sample>,
}

/// A case's repeats in the order of measuring, each with what it left, if it began, and its step.
fn passes<'a>(
    steps: &'a [Measured<'a>],
    number: u32,
) -> impl Iterator<Item = (&'a CasePlan, Option<&'a PassRecords>, &'a Measured<'a>)> {
    steps.iter().flat_map(move |step| {
        let cases = (step.plan.index_from..).zip(&step.plan.cases);
        cases
            .filter(move |(_, plan)| plan.case == number)
            .map(move |(index, plan)| (plan, step.records.passes.get(&index), step))
    })
}

/// When a pass was measured; up to now where it was cut.
fn span(pass: &PassRecords) -> Option<RangeInclusive<i64>> {
    let started = pass.started.as_ref()?;
    Some(started.unix_ms..=pass.ended.as_ref().map_or(i64::MAX, |ended| ended.unix_ms))
}

/// The results of a run, and why it failed all the same, where no case succeeded. Takes a while for a long
/// run.
///
/// # Errors
/// What cannot be written as JSON or compressed.
pub fn results(
    context: &Context,
    row: &RunRow,
    spec: &LoadTest,
    blueprint: &Blueprint,
) -> Result<(Results, Option<Refusal>), Refusal> {
    let mut steps = Vec::new();
    let mut tail = None;
    for id in launch_tasks(row) {
        let spool = context.spool(&id);
        let planned = row.plan.as_ref().and_then(|plan| plan.steps.get(id.step as usize));
        let Some(Step::Load { plan, .. }) = planned else { continue };
        if !spool.exists() {
            continue;
        }
        let stderr = read(&spool.join(STDERR));
        // A refusal says all that its last line does.
        if !stderr.is_empty() && !spool.join(REFUSAL_FILE).exists() {
            tail = Some(super::measure::last_lines(&stderr, &read(&spool.join(STDOUT))));
        }
        let series = read(&spool.join(SERIES_FILE));
        let samples =
            series.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        steps.push(Measured {
            plan,
            records: read_records(&read(&spool.join(RECORDS_FILE))),
            series: samples.collect(),
        });
    }
    // A case has a step of its own for each repeat where each has an engine of its own.
    let numbers: BTreeSet<u32> =
        steps.iter().flat_map(|step| step.plan.cases.iter().map(|case| case.case)).collect();
    let mut all = Vec::new();
    let mut data = Vec::new();
    for number in numbers {
        let Some(made) = case(number, &steps, spec, blueprint) else { continue };
        data.push(case_data(number, &steps, &made, row, blueprint)?);
        all.push(made);
    }
    conversation_figures::add_savings(&mut all);
    let json = all.iter().map(|case| {
        serde_json::to_string(case).map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))
    });
    let texts = json.collect::<Result<_, _>>()?;
    let headline = load_words::headline(&all);
    let simulated = !all.is_empty() && all.iter().all(|case| case.simulated);
    let results = Results { cases: texts, load: data, headline, tail, simulated, ..Results::default() };
    Ok((results, nothing_succeeded(&all)))
}

/// The figures of a case; `None` where none of its passes began.
fn case(number: u32, steps: &[Measured<'_>], spec: &LoadTest, blueprint: &Blueprint) -> Option<LoadCase> {
    let (plan, _, first) = passes(steps, number).next()?;
    let planned = first.plan.targets.get(plan.target)?;
    let mut facts = None;
    let mut of_case = Vec::new();
    let mut began = false;
    for (plan, found, step) in passes(steps, number) {
        facts = facts.or_else(|| step.records.facts(plan.target, plan.model.as_deref()));
        began |= found.is_some();
        let span = found.and_then(span);
        let series = span.map(|span| series::summarise(&step.series, *span.start(), *span.end()));
        of_case.push(Pass {
            plan,
            started: found.and_then(|pass| pass.started.as_ref()),
            ended: found.and_then(|pass| pass.ended.as_ref()),
            records: found.map(|pass| pass.records.as_slice()).unwrap_or_default(),
            series: series.unwrap_or_default(),
            turns: found.map(|pass| pass.turns.as_slice()).unwrap_or_default(),
            skipped: found.and_then(|pass| pass.skipped.as_ref()),
        });
    }
    if !began {
        return None;
    }
    let held = held(first.plan, plan);
    // What is meant to find its beginning in a cache.
    let shares = match &first.plan.prompts {
        PromptPlan::Synthetic { shared_prefix_tokens, .. } => *shared_prefix_tokens > 0,
        PromptPlan::Conversations(_) => held.is_some_and(|held| held.cache != PrefixCache::Defeated),
        PromptPlan::Builtin | PromptPlan::Inline(_) | PromptPlan::File(_) => false,
    };
    let mut made = case_figures(&CaseInput {
        number,
        target: planned,
        facts,
        passes: of_case,
        slo: &spec.slo,
        limits: &spec.validity,
        output: &spec.output,
        cache: if shares { CachePolicy::Keep } else { spec.cache },
        held,
        simulated: blueprint.simulated || planned.simulated,
    });
    made.cost = spec.cost.as_ref().map(|cost| Cost::of(cost.per_hour, &made.throughput));
    Some(made)
}

/// The conversation that a case holds.
fn held<'a>(plan: &'a MeasurePlan, case: &CasePlan) -> Option<HeldInput<'a>> {
    let PromptPlan::Conversations(all) = &plan.prompts else { return None };
    let held = case.conversation?;
    let context_size = match all.context_size {
        ContextSize::Auto => None,
        ContextSize::Tokens(tokens) => Some(tokens),
    };
    Some(HeldInput { conversation: all.conversations.get(held.index)?, cache: held.cache, context_size })
}

fn case_data(
    number: u32,
    steps: &[Measured<'_>],
    made: &LoadCase,
    row: &RunRow,
    blueprint: &Blueprint,
) -> Result<CaseData, Refusal> {
    let failed = |words: String| Refusal::new(Reason::InternalError, words);
    let mut lines = Vec::new();
    let mut count = 0u64;
    for record in passes(steps, number).filter_map(|(_, pass, _)| pass).flat_map(|pass| &pass.records) {
        serde_json::to_writer(&mut lines, record).map_err(|error| failed(error.to_string()))?;
        lines.push(b'\n');
        count += 1;
    }
    let mut series: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    for step in steps {
        // Between the repeats of a case lie those of others.
        let of_step = passes(std::slice::from_ref(step), number);
        let spans: Vec<RangeInclusive<i64>> = of_step.filter_map(|(_, pass, _)| span(pass?)).collect();
        for (name, points) in series::within(&step.series, &spans) {
            series.entry(name).or_default().extend(points);
        }
    }
    let facts = passes(steps, number)
        .find_map(|(plan, _, step)| step.records.facts(plan.target, plan.model.as_deref()));
    // What was not even begun is no result.
    let skipped = made.conversation.as_ref().is_some_and(|held| held.skipped.is_some());
    let result = (!skipped).then(|| {
        let notes = format!("{}: {} on {}", row.request, made.label(), blueprint.service);
        result_row(made, facts, notes, row.fingerprint.as_ref())
    });
    CaseData::pack(number, &lines, count, &series, result).map_err(|error| failed(error.to_string()))
}

/// The row of `benchmark_results`, which model planning reads.
pub fn result_row(
    case: &LoadCase,
    facts: Option<&crate::run::request_record::TargetFacts>,
    notes: String,
    fingerprint: Option<&Value>,
) -> ResultRow {
    let (total, ok) = (case.requests.total, case.requests.ok);
    let average = |sum: Option<u64>| sum.filter(|_| ok > 0).map(|sum| sum as f64 / ok as f64);
    let rate = case.throughput.requests_per_s;
    let samples: Vec<Value> = case.samples.iter().map(|sample| json!(sample.text)).collect();
    ResultRow {
        model_name: case.model.clone().unwrap_or_else(|| case.target.clone()),
        model_size_params: facts.and_then(|facts| facts.model_params.clone()),
        model_size_bytes: facts.and_then(|facts| facts.model_size_bytes),
        num_workers: case.concurrency.map(u64::from),
        context_window: case.context_window,
        num_requests: total,
        avg_prompt_tokens: average(case.tokens.input),
        avg_completion_tokens: average(case.tokens.output),
        total_time_seconds: case.duration_s,
        requests_per_second: rate,
        time_per_request_seconds: rate.filter(|rate| *rate > 0.0).map(|rate| 1.0 / rate),
        successful_requests: ok,
        failed_requests: case.requests.failed,
        success_rate: case.success_rate.map(|share| share * 100.0),
        sample_responses: Value::Array(samples).to_string(),
        benchmark_type: match (&case.conversation, case.concurrency) {
            (Some(_), _) => "conversation",
            (None, Some(_)) => "load_test",
            (None, None) => "load_test_open",
        }
        .to_owned(),
        notes: Some(notes),
        hardware_info: hardware(fingerprint).to_string(),
        simulated: case.simulated,
        valid: case.valid,
        cost_per_hour: case.cost.as_ref().map(|cost| cost.per_hour),
    }
}

/// The machine in few words: GPU model and memory, CPU, main memory; null where unknown.
fn hardware(fingerprint: Option<&Value>) -> Value {
    let found = fingerprint.cloned().unwrap_or(Value::Null);
    let gpu = found.pointer("/gpus/0").cloned().unwrap_or(Value::Null);
    json!({
        "gpu": gpu["name"],
        "gpu_memory_bytes": gpu["memory_bytes"],
        "gpus": found.pointer("/gpus").and_then(Value::as_array).map(Vec::len),
        "cpu": found.pointer("/cpu/model").cloned().unwrap_or(Value::Null),
        "cpu_threads": found.pointer("/cpu/threads").cloned().unwrap_or(Value::Null),
        "memory_bytes": found.pointer("/memory_bytes").cloned().unwrap_or(Value::Null),
    })
}

/// Why no case succeeded, where none did: a run without a single answer has measured nothing.
fn nothing_succeeded(cases: &[LoadCase]) -> Option<Refusal> {
    if cases.iter().any(|case| case.requests.ok > 0) {
        return None;
    }
    if let Some(refusal) = nothing_fitted(cases) {
        return Some(refusal);
    }
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for case in cases {
        for (kind, count) in &case.requests.errors {
            *kinds.entry(kind.as_str().to_owned()).or_default() += count;
        }
    }
    let told: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    let message = if told.is_empty() {
        "no request was made".to_owned()
    } else {
        format!("no request succeeded: {}", told.join(", "))
    };
    let slow = kinds.keys().any(|kind| kind.starts_with("timeout"));
    let hint = if slow {
        "try a lower load.concurrency or a longer requestTimeout"
    } else {
        "the records say why: `benchlet describe` shows the first errors"
    };
    Some(Refusal::new(Reason::NoSuccess, message).hint(hint))
}

/// Why no conversation was held, where all of them are too large.
fn nothing_fitted(cases: &[LoadCase]) -> Option<Refusal> {
    let skipped = |case: &LoadCase| {
        let held = case.conversation.as_ref()?;
        Some((held.name.clone(), held.skipped.clone()?))
    };
    let all: Vec<_> = cases.iter().map(skipped).collect::<Option<_>>()?;
    let (name, smallest) = all.iter().min_by_key(|(_, skipped)| skipped.needed_tokens)?;
    let message = format!(
        "no conversation fits into the context of {} tokens: the smallest, {name}, needs up to {}",
        smallest.context_window, smallest.needed_tokens
    );
    Some(
        Refusal::new(Reason::ContextTooSmall, message).hint(
            "give the server a larger context, choose a smaller conversation, or lower output.maxTokens",
        ),
    )
}
