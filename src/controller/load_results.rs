//! A load test's spool into its results: how a measuring task ended, the figures of each case, what goes
//! into the store beside them. Whatever was measured before a run died counts.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Value, json};

use super::context::Context;
use super::measure::{launch_tasks, read};
use crate::decide::observed::TaskEnd;
use crate::executor::{STDERR, STDOUT};
use crate::request::load_test::{CachePolicy, LoadTest};
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

impl Measured<'_> {
    /// A case's places in the order of measuring, each with what it left, if it began.
    fn passes(&self, number: u32) -> impl Iterator<Item = (&CasePlan, Option<&PassRecords>)> {
        let cases = self.plan.cases.iter().enumerate().filter(move |(_, plan)| plan.case == number);
        cases.map(|(index, plan)| (plan, self.records.passes.get(&index)))
    }
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
    let mut cases: BTreeMap<u32, LoadCase> = BTreeMap::new();
    let mut data = Vec::new();
    for step in &steps {
        let mut numbers: Vec<u32> = step.plan.cases.iter().map(|case| case.case).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let Some(made) = case(number, step, spec, blueprint) else { continue };
            data.push(case_data(number, step, &made, row, blueprint)?);
            cases.insert(number, made);
        }
    }
    let json = cases.values().map(|case| {
        serde_json::to_string(case).map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))
    });
    let texts = json.collect::<Result<_, _>>()?;
    let all: Vec<LoadCase> = cases.into_values().collect();
    let headline = load_words::headline(&all);
    let simulated = !all.is_empty() && all.iter().all(|case| case.simulated);
    let results = Results { cases: texts, load: data, headline, tail, simulated, ..Results::default() };
    Ok((results, nothing_succeeded(&all)))
}

/// The figures of a case; `None` where none of its passes began.
fn case(number: u32, step: &Measured<'_>, spec: &LoadTest, blueprint: &Blueprint) -> Option<LoadCase> {
    let mut target = 0;
    let mut passes = Vec::new();
    let mut began = false;
    for (plan, found) in step.passes(number) {
        target = plan.target;
        began |= found.is_some();
        let span = found.and_then(span);
        let series = span.map(|span| series::summarise(&step.series, *span.start(), *span.end()));
        passes.push(Pass {
            plan,
            started: found.and_then(|pass| pass.started.as_ref()),
            ended: found.and_then(|pass| pass.ended.as_ref()),
            records: found.map(|pass| pass.records.as_slice()).unwrap_or_default(),
            series: series.unwrap_or_default(),
        });
    }
    if !began {
        return None;
    }
    let planned = step.plan.targets.get(target)?;
    // Prompts that share their beginning are meant to find it in a cache.
    let shares = matches!(&step.plan.prompts, PromptPlan::Synthetic { shared_prefix_tokens, .. } if *shared_prefix_tokens > 0);
    let mut made = case_figures(&CaseInput {
        number,
        target: planned,
        facts: step.records.targets.get(&target),
        passes,
        slo: &spec.slo,
        limits: &spec.validity,
        output: &spec.output,
        cache: if shares { CachePolicy::Keep } else { spec.cache },
        simulated: blueprint.simulated || planned.simulated,
    });
    made.cost = spec.cost.as_ref().map(|cost| Cost::of(cost.per_hour, &made.throughput));
    Some(made)
}

fn case_data(
    number: u32,
    step: &Measured<'_>,
    made: &LoadCase,
    row: &RunRow,
    blueprint: &Blueprint,
) -> Result<CaseData, Refusal> {
    let failed = |words: String| Refusal::new(Reason::InternalError, words);
    let passes: Vec<&PassRecords> = step.passes(number).filter_map(|(_, pass)| pass).collect();
    let mut lines = Vec::new();
    let mut count = 0u64;
    for record in passes.iter().flat_map(|pass| &pass.records) {
        serde_json::to_writer(&mut lines, record).map_err(|error| failed(error.to_string()))?;
        lines.push(b'\n');
        count += 1;
    }
    // Between the repeats of a case lie those of others.
    let spans: Vec<RangeInclusive<i64>> = passes.into_iter().filter_map(span).collect();
    let series = series::within(&step.series, &spans);
    let target = step.passes(number).next().map_or(0, |(plan, _)| plan.target);
    let result = result_row(made, step.records.targets.get(&target), row, blueprint);
    CaseData::pack(number, &lines, count, &series, result).map_err(|error| failed(error.to_string()))
}

/// The row of `benchmark_results`, which model planning reads.
fn result_row(
    case: &LoadCase,
    facts: Option<&crate::run::request_record::TargetFacts>,
    row: &RunRow,
    blueprint: &Blueprint,
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
        benchmark_type: if case.concurrency.is_some() { "load_test" } else { "load_test_open" }.to_owned(),
        notes: Some(format!("{}: {} on {}", row.request, case.label(), blueprint.service)),
        hardware_info: hardware(row.fingerprint.as_ref()).to_string(),
        simulated: case.simulated,
        valid: case.valid,
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
