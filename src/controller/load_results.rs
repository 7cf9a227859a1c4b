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
use crate::run::measure_plan::{MeasurePlan, PromptPlan, RECORDS_FILE, REFUSAL_FILE, SERIES_FILE};
use crate::run::plan::{Blueprint, Step};
use crate::run::read_records::{Records, read_records};
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
struct Measured {
    plan: MeasurePlan,
    records: Records,
    series: Vec<Sample>,
}

/// The results of a run.
///
/// # Errors
/// Nothing that was measured.
pub fn results(
    context: &Context,
    row: &RunRow,
    spec: &LoadTest,
    blueprint: &Blueprint,
) -> Result<Results, Refusal> {
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
            plan: plan.as_ref().clone(),
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
    Ok(Results { cases: texts, load: data, headline, tail, ..Results::default() })
}

/// The figures of a case; `None` where none of its passes began.
fn case(number: u32, step: &Measured, spec: &LoadTest, blueprint: &Blueprint) -> Option<LoadCase> {
    let mut target = 0;
    let mut passes = Vec::new();
    let mut began = false;
    for (index, plan) in step.plan.cases.iter().enumerate().filter(|(_, plan)| plan.case == number) {
        target = plan.target;
        let found = step.records.passes.get(&index);
        began |= found.is_some();
        let (started, ended) =
            (found.and_then(|pass| pass.started.as_ref()), found.and_then(|pass| pass.ended.as_ref()));
        let span = started.map(|started| (started.unix_ms, ended.map_or(i64::MAX, |ended| ended.unix_ms)));
        let series = span.map(|(from, to)| series::summarise(&step.series, from, to)).unwrap_or_default();
        passes.push(Pass {
            plan,
            started,
            ended,
            records: found.map(|pass| pass.records.as_slice()).unwrap_or_default(),
            series,
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
    step: &Measured,
    made: &LoadCase,
    row: &RunRow,
    blueprint: &Blueprint,
) -> Result<CaseData, Refusal> {
    let mut records = Vec::new();
    // Between the repeats of a case lie those of others.
    let mut spans = Vec::new();
    let mut count = 0u64;
    for (index, _) in step.plan.cases.iter().enumerate().filter(|(_, plan)| plan.case == number) {
        let Some(pass) = step.records.passes.get(&index) else { continue };
        let from = pass.started.as_ref().map_or(i64::MAX, |started| started.unix_ms);
        let to = pass.ended.as_ref().map_or(i64::MAX, |ended| ended.unix_ms);
        spans.push(from..=to);
        for record in &pass.records {
            serde_json::to_writer(&mut records, record)
                .map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))?;
            records.push(b'\n');
            count += 1;
        }
    }
    let series = series_within(&step.series, &spans);
    let target = step.plan.cases.iter().find(|plan| plan.case == number).map_or(0, |plan| plan.target);
    let facts = step.records.targets.get(&target);
    Ok(CaseData {
        number,
        records,
        record_count: count,
        series,
        result: result_row(made, facts, row, blueprint),
    })
}

/// The metrics in these spans of time, by name.
fn series_within(samples: &[Sample], spans: &[RangeInclusive<i64>]) -> BTreeMap<String, Vec<(i64, f64)>> {
    let mut series: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    let within = |sample: &&Sample| spans.iter().any(|span| span.contains(&sample.unix_ms));
    for sample in samples.iter().filter(within) {
        for (name, value) in &sample.values {
            series.entry(name.clone()).or_default().push((sample.unix_ms, *value));
        }
    }
    series
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
pub fn nothing_succeeded(results: &Results) -> Option<Refusal> {
    let cases: Vec<LoadCase> =
        results.cases.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    if cases.iter().any(|case| case.requests.ok > 0) {
        return None;
    }
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for case in &cases {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sampled_between_the_repeats_of_a_case_is_another_ones() {
        let sample = |unix_ms: i64| Sample { unix_ms, values: [("cpu".to_owned(), unix_ms as f64)].into() };
        let samples = [0, 1_000, 2_000, 3_000, 4_000].map(sample);
        let found = series_within(&samples, &[0..=1_000, 4_000..=5_000]);
        assert_eq!(found["cpu"], [(0, 0.0), (1_000, 1_000.0), (4_000, 4_000.0)]);
    }
}
