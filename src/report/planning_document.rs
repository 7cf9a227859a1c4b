//! Models, estimates and rankings as JSON: the shapes of `/v1/benchmarks` with more fields beside theirs. Null is
//! unknown.

use serde_json::{Value, json};

use super::planning::{ModelDetails, Ranking, current};
use crate::plan::estimate::{Cost, Estimate, Price, Spread, Unanswered};
use crate::plan::measured_rate::MeasuredRow;
use crate::plan::model_ranking::Ranked;
use crate::plan::target_ranking::{Candidate, MeasureRanking, TargetRanking, Verdict};
use crate::plan::worker_sweep::WorkerSweep;
use crate::store::model_history::MeasuredModel;
use crate::store::runs::RunRow;

const HOUR: f64 = 3_600.0;
const DAY: f64 = 86_400.0;

pub fn models(models: &[MeasuredModel]) -> Value {
    let items: Vec<Value> = models.iter().map(model_line).collect();
    json!({ "models": items, "total": models.len() })
}

fn model_line(model: &MeasuredModel) -> Value {
    let now = current(model);
    let best = model.best.as_ref();
    json!({
        "model": model.name,
        "rate_req_per_sec": now.and_then(MeasuredRow::rate),
        "success_rate_pct": now.and_then(MeasuredRow::success),
        "workers": now.and_then(|row| row.workers),
        "last_benchmarked": now.map(|row| row.created_at),
        "runs": model.runs,
        "best": best.map(|row| json!({
            "rate_req_per_sec": row.rate(),
            "workers": row.workers,
            "success_rate_pct": row.success(),
            "created_at": row.created_at,
            "run": row.run,
        })),
        "context_window": now.and_then(|row| row.context_window),
        "model_size_params": now.and_then(|row| row.size_params.clone()),
        "model_size_bytes": now.and_then(|row| row.size_bytes),
        "simulated": now.is_some_and(|row| row.simulated),
    })
}

/// One model with its newest rows.
pub fn model(name: &str, details: &ModelDetails) -> Value {
    let rows: Vec<Value> = details.rows.iter().map(benchmark).collect();
    json!({
        "model": name,
        "benchmarks": rows,
        "total": details.rows.len(),
        "summary": details.measured.as_ref().map(model_line),
        "worker_optimisation": details.sweep.as_ref().map(sweep),
    })
}

fn benchmark(row: &MeasuredRow) -> Value {
    json!({
        "model": row.model,
        "model_size_params": row.size_params,
        "num_requests": row.requests,
        "num_workers": row.workers,
        "rate_req_per_sec": row.rate(),
        "time_per_request_sec": row.rate().map(f64::recip),
        "success_rate_pct": row.success(),
        "avg_prompt_tokens": row.prompt_tokens,
        "avg_completion_tokens": row.completion_tokens,
        "benchmark_type": row.benchmark_type,
        "created_at": row.created_at,
        "context_window": row.context_window,
        "run": row.run,
        "case": row.case,
        "valid": row.valid,
        "simulated": row.simulated,
    })
}

fn sweep(sweep: &WorkerSweep) -> Value {
    let rows: Vec<Value> = sweep
        .by_workers
        .iter()
        .map(|(workers, row)| {
            json!({
                "workers": workers,
                "rate_req_per_sec": row.rate(),
                "success_rate_pct": row.success(),
                "run": row.run,
                "case": row.case,
            })
        })
        .collect();
    json!({ "best_workers": sweep.best, "sufficient_workers": sweep.sufficient, "by_workers": rows })
}

pub fn estimate(estimate: &Estimate) -> Value {
    json!({
        "model": estimate.basis.model,
        "num_requests": estimate.requests,
        "estimate": {
            "total_time_seconds": estimate.seconds,
            "total_time_hours": estimate.seconds / HOUR,
            "total_time_days": estimate.seconds / DAY,
            "rate_req_per_sec": estimate.rate,
            "time_per_request_sec": estimate.rate.recip(),
            "requests_sent": estimate.sent,
        },
        "interval": interval(&estimate.spread),
        "cost": cost(&estimate.cost),
        "based_on_benchmark": basis(&estimate.basis),
        "context_window": estimate.basis.context_window,
        "remarks": estimate.remarks,
        "simulated": estimate.basis.simulated,
    })
}

fn basis(row: &MeasuredRow) -> Value {
    json!({
        "test_size": row.requests,
        "workers": row.workers,
        "success_rate_pct": row.success(),
        "date": row.created_at,
        "run": row.run,
        "case": row.case,
        "notes": row.notes,
        "avg_prompt_tokens": row.prompt_tokens,
        "avg_completion_tokens": row.completion_tokens,
    })
}

/// Of the next run, 95 %.
fn interval(spread: &Spread) -> Value {
    let (runs, rate, seconds) = match spread {
        Spread::Known { runs, rate, fewest_seconds, most_seconds } => {
            (runs, Some(rate), Some((fewest_seconds, most_seconds)))
        }
        Spread::Unknown { runs } => (runs, None, None),
    };
    json!({
        "runs": runs,
        "confidence": 0.95,
        "rate_req_per_sec": rate,
        "total_time_seconds": seconds.map(|(fewest, most)| json!([fewest, most])),
        "why": spread.why(),
    })
}

fn cost(cost: &Cost) -> Value {
    let priced = |price: &Price| match price {
        Price::PerHour(each) => ("per_hour", *each),
        Price::PerMillionTokens(each) => ("per_million_tokens", *each),
    };
    match cost {
        Cost::NotPriced => Value::Null,
        Cost::TokensUnknown(each) => json!({
            "amount": null, "per_million_tokens": each, "why": "the tokens of its requests are not known",
        }),
        Cost::Known { amount, price } => {
            let (name, each) = priced(price);
            json!({ "amount": amount, name: each, "why": null })
        }
    }
}

/// The models beside each other.
pub fn ranking(requests: u64, ranking: &Ranking) -> Value {
    let models: Vec<Value> = ranking.ranked.iter().map(ranked).collect();
    let refused: Vec<Value> = ranking
        .refused
        .iter()
        .map(|(model, why)| {
            let window = match why {
                Unanswered::ContextTooSmall { window, .. } => Some(window),
                Unanswered::NotMeasured | Unanswered::NotAtWorkers { .. } => None,
            };
            json!({ "model": model, "why": why.to_string(), "context_window": window })
        })
        .collect();
    json!({
        "num_requests": requests,
        "models": models,
        "total_models": ranking.ranked.len(),
        "refused": refused,
    })
}

fn ranked(ranked: &Ranked) -> Value {
    let made = &ranked.estimate;
    json!({
        "model": made.basis.model,
        "model_size_params": made.basis.size_params,
        "rate_req_per_sec": made.rate,
        "estimated_time_seconds": made.seconds,
        "estimated_time_hours": made.seconds / HOUR,
        "estimated_time_days": made.seconds / DAY,
        "success_rate_pct": made.basis.success(),
        "workers": made.basis.workers,
        "speedup_vs_slowest": ranked.speedup,
        "time_saved_hours": ranked.saved_seconds / HOUR,
        "interval": interval(&made.spread),
        "cost": cost(&made.cost),
        "context_window": made.basis.context_window,
        "based_on_benchmark": basis(&made.basis),
        "remarks": made.remarks,
        "simulated": made.basis.simulated,
    })
}

/// A run's targets beside each other.
pub fn targets(run: &RunRow, ranking: &TargetRanking) -> Value {
    let metrics: Vec<Value> = ranking.rankings.iter().map(measure).collect();
    let left_out: Vec<Value> =
        ranking.left_out.iter().map(|(case, why)| json!({ "case": case, "why": why.words() })).collect();
    json!({
        "run": run.id.to_string(),
        "request": run.request,
        "targets": ranking.targets,
        "objectives": ranking.objectives,
        "metrics": metrics,
        "left_out": left_out,
        "simulated": run.simulated,
    })
}

fn measure(ranking: &MeasureRanking) -> Value {
    let candidates: Vec<Value> = ranking.candidates.iter().map(candidate).collect();
    let tied: &[String] = match &ranking.verdict {
        Verdict::Tie { with } => with,
        Verdict::Better | Verdict::Unproven | Verdict::Alone => &[],
    };
    json!({
        "metric": ranking.measure.to_string(),
        "unit": ranking.measure.unit(),
        "workload": ranking.workload,
        "best": ranking.candidates.first().map(|first| &first.target),
        "verdict": verdict_word(&ranking.verdict),
        "tied_with": tied,
        "candidates": candidates,
    })
}

/// In a word.
pub fn verdict_word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Tie { .. } => "tie",
        Verdict::Unproven => "unproven",
        Verdict::Alone => "alone",
    }
}

fn candidate(candidate: &Candidate) -> Value {
    json!({
        "target": candidate.target,
        "engine": candidate.engine,
        "case": candidate.case,
        "label": candidate.label,
        "value": candidate.value,
        "interval": candidate.interval,
    })
}
