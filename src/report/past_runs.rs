//! The headline figure of a request's last runs: which figure that is, and its value in each run. Never
//! mixes measured and simulated runs.

use super::content::{BenchCase, Past};
use super::gather::{self, ReportError};
use super::load_status;
use crate::request::imported::Measured;
use crate::request::valid::Spec;
use crate::run::load_case::LoadCase;
use crate::run::{conversation_words, load_words};
use crate::store::Store;
use crate::store::runs::{Filter, RunRow};

/// Runs that a history goes back.
const RUNS: u32 = 30;

/// One figure that stands for a run.
struct Figure {
    metric: String,
    value: f64,
    stddev: Option<f64>,
    case: String,
}

/// Ended runs of the request up to this one, oldest first.
///
/// # Errors
/// Rows that cannot be read.
pub fn of(store: &Store, run: &RunRow) -> Result<Vec<Past>, ReportError> {
    let filter = Filter {
        request: Some(run.request.clone()),
        kind: Some(run.spec.kind()),
        simulated: Some(run.simulated),
        ended: true,
        up_to: Some(run.seq),
        limit: RUNS,
        ..Filter::default()
    };
    let mut list = Vec::new();
    for row in store.runs(&filter)? {
        let texts = store.cases(row.id)?;
        let figure = match &row.spec {
            Spec::LlamaBench(_) => best_bench(&gather::bench_cases(&texts)?),
            Spec::LoadTest(_) => best_load(&load_status::cases(&texts)),
            Spec::Imported(spec) => match spec.measured {
                Measured::LlamaBench => best_bench(&gather::bench_cases(&texts)?),
                Measured::LoadTest | Measured::Conversation => best_load(&load_status::cases(&texts)),
            },
            Spec::Apply(_) | Spec::Model(_) | Spec::Baseline(_) | Spec::Comparison(_) => None,
        };
        let (metric, value, stddev, case) = match figure {
            Some(figure) => (Some(figure.metric), Some(figure.value), figure.stddev, Some(figure.case)),
            None => (None, None, None, None),
        };
        list.push(Past {
            id: row.id.to_string(),
            generation: row.generation,
            phase: row.state.phase().as_str(),
            completed_at: row.completed_at.clone(),
            metric,
            value,
            stddev,
            case,
            current: row.id == run.id,
        });
    }
    list.reverse();
    Ok(list)
}

/// The fastest case that generates, else the fastest of all: what a matrix is run for.
fn best_bench(cases: &[BenchCase]) -> Option<Figure> {
    let fastest = |generates: bool| {
        cases
            .iter()
            .filter(|case| !generates || case.test.starts_with("tg"))
            .filter_map(|case| Some((case, case.avg_ts?)))
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
    };
    let (case, value) = fastest(true).or_else(|| fastest(false))?;
    Some(Figure { metric: format!("{} t/s", case.test), value, stddev: case.stddev_ts, case: case.label() })
}

/// The best case of each test in words: `pp512 1240.5 t/s, tg128 85.25 t/s`.
pub fn bench_headline(cases: &[BenchCase]) -> Option<String> {
    let tests = BenchCase::tests(cases);
    let words: Vec<String> = tests
        .into_iter()
        .filter_map(|test| {
            let of: Vec<&BenchCase> = cases.iter().filter(|case| case.test == test).collect();
            let best = of
                .iter()
                .max_by(|a, b| a.avg_ts.unwrap_or_default().total_cmp(&b.avg_ts.unwrap_or_default()))?;
            let rate = load_words::short(best.avg_ts?);
            let with = best.label().strip_prefix(test).map(str::trim).unwrap_or_default().to_owned();
            Some(match of.len() {
                1 => format!("{test} {rate} t/s"),
                count => format!("{test} {rate} t/s with {with} (best of {count})"),
            })
        })
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn best_load(cases: &[LoadCase]) -> Option<Figure> {
    if let Some((Some(value), _, count)) = conversation_words::middle(cases) {
        let case = format!("median of {count} conversations");
        return Some(Figure { metric: "ttft p50 ms".to_owned(), value, stddev: None, case });
    }
    let (case, unit, value) = load_words::best(cases)?;
    Some(Figure { metric: unit.to_owned(), value, stddev: None, case: case.label() })
}
