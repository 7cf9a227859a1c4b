//! From measured rates to how long a workload takes: N ÷ the rate, with what the history says of the next run,
//! and what it costs. Reads rows; measures nothing and knows no clock.

use std::collections::BTreeMap;

use super::measured_rate::{ENOUGH_SUCCESS, MeasuredRow};
use crate::stats::run_interval::{FEWEST, next_run};

/// Rows of the history whose requests are this much longer or shorter, as a ratio, are another workload.
const SIMILAR: f64 = 1.25;

/// What is to be planned.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Answers wanted.
    pub requests: u64,
    /// Tokens that a request and its answer need together.
    pub context: Option<u64>,
    pub price: Option<Price>,
}

/// In whatever currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Price {
    PerHour(f64),
    /// Of prompts and answers alike.
    PerMillionTokens(f64),
}

/// Why there is no estimate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("no valid and completed run has measured its rate")]
    NotMeasured,
    #[error("it was not measured with that many workers")]
    NotAtWorkers { measured: Vec<u64> },
    #[error("its context window has {window} tokens, and the workload needs {needed}")]
    ContextTooSmall { window: u64, needed: u64 },
}

/// How long, on which evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    pub requests: u64,
    /// Successful requests a second.
    pub rate: f64,
    pub seconds: f64,
    /// To get that many answers, failed ones sent again; `None` where the success rate is unknown.
    pub sent: Option<f64>,
    pub spread: Spread,
    pub cost: Cost,
    /// What it rests on.
    pub basis: MeasuredRow,
    pub remarks: Vec<String>,
}

/// What the history of runs says of the next one.
#[derive(Debug, Clone, PartialEq)]
pub enum Spread {
    Known {
        runs: usize,
        rate: [f64; 2],
        fewest_seconds: f64,
        /// `None` where the rate may come near 0.
        most_seconds: Option<f64>,
    },
    Unknown {
        runs: usize,
    },
}

impl Spread {
    /// Why something of it is not known.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Known { most_seconds: Some(_), .. } => None,
            Self::Known { runs, most_seconds: None, .. } => Some(format!(
                "the rates of the {runs} runs lie so far apart that there is no longest time; run it more often"
            )),
            Self::Unknown { runs } => Some(format!(
                "an interval takes {FEWEST} comparable runs with these workers, and there {}",
                if *runs == 1 { "is 1".to_owned() } else { format!("are {runs}") }
            )),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cost {
    Known {
        amount: f64,
        price: Price,
    },
    /// By the token, and nobody counted them.
    TokensUnknown(f64),
    NotPriced,
}

impl Cost {
    pub fn amount(&self) -> Option<f64> {
        match self {
            Self::Known { amount, .. } => Some(*amount),
            Self::TokensUnknown(_) | Self::NotPriced => None,
        }
    }
}

/// The estimate by one row and the history of its model with as many workers, the row's own run included.
///
/// Requests that failed are sent again until they succeed. The rate counts successes over the time that all of
/// them took, so the time is N ÷ rate; how many are sent is N ÷ the success rate.
///
/// # Errors
/// The row has no rate.
pub fn estimate(
    basis: &MeasuredRow,
    history: &[MeasuredRow],
    workload: &Workload,
) -> Result<Estimate, Unanswered> {
    let rate = basis.rate().ok_or(Unanswered::NotMeasured)?;
    let wanted = workload.requests as f64;
    let seconds = wanted / rate;
    let share = basis.success().map(|percent| percent / 100.0).filter(|share| *share > 0.0);
    Ok(Estimate {
        requests: workload.requests,
        rate,
        seconds,
        sent: share.map(|share| wanted / share.min(1.0)),
        spread: spread(basis, history, wanted),
        cost: cost(basis, workload, seconds),
        remarks: remarks(basis, workload),
        basis: basis.clone(),
    })
}

/// A point a run: the mean of its rows that are comparable. Rows without a run are one each.
fn spread(basis: &MeasuredRow, history: &[MeasuredRow], wanted: f64) -> Spread {
    let mut by_run: BTreeMap<(Option<&str>, i64), Vec<f64>> = BTreeMap::new();
    for row in history.iter().filter(|row| is_comparable(basis, row)) {
        let key = row.run.as_deref().map_or((None, row.id), |run| (Some(run), 0));
        by_run.entry(key).or_default().extend(row.rate());
    }
    let points: Vec<f64> = by_run
        .values()
        .filter(|rates| !rates.is_empty())
        .map(|rates| rates.iter().sum::<f64>() / rates.len() as f64)
        .collect();
    let runs = points.len();
    match next_run(&points) {
        None => Spread::Unknown { runs },
        Some([low, high]) => {
            let low = low.max(0.0);
            Spread::Known {
                runs,
                rate: [low, high],
                fewest_seconds: wanted / high,
                most_seconds: (low > 0.0).then(|| wanted / low),
            }
        }
    }
}

/// Whether two rows measured the same thing, as far as they tell: workers, kind of load, machine, and requests of
/// about the same length.
fn is_comparable(basis: &MeasuredRow, row: &MeasuredRow) -> bool {
    let alike = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) if a > 0.0 && b > 0.0 => (a / b).max(b / a) <= SIMILAR,
        (Some(_) | None, Some(_) | None) => true,
    };
    row.workers == basis.workers
        && row.benchmark_type == basis.benchmark_type
        && row.hardware == basis.hardware
        && alike(row.prompt_tokens, basis.prompt_tokens)
        && alike(row.completion_tokens, basis.completion_tokens)
}

fn cost(basis: &MeasuredRow, workload: &Workload, seconds: f64) -> Cost {
    let price = workload.price.or(basis.cost_per_hour.map(Price::PerHour));
    match price {
        None => Cost::NotPriced,
        Some(Price::PerHour(each)) => {
            Cost::Known { amount: seconds / 3600.0 * each, price: Price::PerHour(each) }
        }
        Some(Price::PerMillionTokens(each)) => match basis.prompt_tokens.zip(basis.completion_tokens) {
            None => Cost::TokensUnknown(each),
            Some((prompt, answer)) => {
                let tokens = workload.requests as f64 * (prompt + answer);
                Cost::Known { amount: tokens / 1e6 * each, price: Price::PerMillionTokens(each) }
            }
        },
    }
}

fn remarks(basis: &MeasuredRow, workload: &Workload) -> Vec<String> {
    let mut remarks = Vec::new();
    if basis.simulated {
        remarks.push("the server was simulated; its figures are made up".to_owned());
    }
    match basis.success() {
        None => remarks.push("how many requests succeed is not known".to_owned()),
        Some(percent) if percent < ENOUGH_SUCCESS => remarks.push(format!(
            "only {percent:.1} % of the requests succeeded; the failed ones are sent again, and their time is in the \
             rate"
        )),
        Some(_) => {}
    }
    if workload.context.is_some() && basis.context_window.is_none() {
        remarks.push("its context window is not known, so the workload may exceed it".to_owned());
    }
    if basis.benchmark_type.as_deref() == Some("load_test_open") {
        remarks.push("it was measured at a fixed rate, so the server may be faster".to_owned());
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(run: &str, rate: f64) -> MeasuredRow {
        MeasuredRow {
            run: Some(run.to_owned()),
            workers: Some(10),
            requests_per_s: Some(rate),
            success_percent: Some(100.0),
            prompt_tokens: Some(300.0),
            completion_tokens: Some(100.0),
            ..MeasuredRow::default()
        }
    }

    fn workload(requests: u64) -> Workload {
        Workload { requests, context: None, price: None }
    }

    #[test]
    fn fifty_thousand_at_half_a_request_a_second_take_a_good_day() {
        let made = estimate(&row("a", 0.52), &[], &workload(50_000)).unwrap();
        assert!((made.seconds - 96_153.846).abs() < 1e-3);
        assert_eq!((made.sent, made.cost), (Some(50_000.0), Cost::NotPriced));
        assert_eq!(made.remarks, Vec::<String>::new());
    }

    #[test]
    fn three_runs_give_an_interval_worked_out_by_hand() {
        // Rates 9, 10, 11: 10 ± 4.96827, so 100 requests take 100/14.96827 to 100/5.03173 seconds.
        let history = [row("a", 11.0), row("b", 10.0), row("c", 9.0)];
        let made = estimate(&history[0], &history, &workload(100)).unwrap();
        let Spread::Known { runs, rate: [low, high], fewest_seconds, most_seconds } = made.spread else {
            panic!("{:?}", made.spread)
        };
        assert_eq!(runs, 3);
        assert!((low - 5.03173).abs() < 1e-3 && (high - 14.96827).abs() < 1e-3);
        assert!((fewest_seconds - 6.6808).abs() < 1e-3 && (most_seconds.unwrap() - 19.8739).abs() < 1e-3);
    }

    #[test]
    fn a_run_is_one_point_however_many_rows_it_has() {
        let history = [row("a", 11.0), row("a", 10.0), row("b", 9.0)];
        let made = estimate(&history[0], &history, &workload(100)).unwrap();
        assert_eq!(made.spread, Spread::Unknown { runs: 2 });
        assert!(made.spread.why().unwrap().contains("takes 3 comparable runs"));
        let foreign = |id| MeasuredRow { run: None, id, ..row("", 10.0) };
        let history = [foreign(1), foreign(2), foreign(3)];
        let made = estimate(&history[0], &history, &workload(100)).unwrap();
        assert!(
            matches!(made.spread, Spread::Known { runs: 3, rate: [10.0, 10.0], .. }),
            "{:?}",
            made.spread
        );
    }

    #[test]
    fn rates_that_lie_far_apart_leave_no_longest_time() {
        let history = [row("a", 1.0), row("b", 10.0), row("c", 19.0)];
        let made = estimate(&history[0], &history, &workload(100)).unwrap();
        assert!(matches!(made.spread, Spread::Known { most_seconds: None, rate: [0.0, _], .. }));
        assert!(made.spread.why().unwrap().contains("no longest time"));
    }

    #[test]
    fn other_workloads_workers_and_machines_are_no_history() {
        let basis = row("a", 10.0);
        let others = [
            MeasuredRow { workers: Some(5), ..row("b", 1.0) },
            MeasuredRow { prompt_tokens: Some(376.0), ..row("c", 1.0) },
            MeasuredRow { hardware: Some("{}".to_owned()), ..row("d", 1.0) },
            MeasuredRow { benchmark_type: Some("load_test_open".to_owned()), ..row("e", 1.0) },
        ];
        assert!(others.iter().all(|row| !is_comparable(&basis, row)));
        assert!(is_comparable(&basis, &MeasuredRow { prompt_tokens: Some(375.0), ..row("f", 1.0) }));
        assert!(is_comparable(&basis, &MeasuredRow { prompt_tokens: None, ..row("g", 1.0) }));
    }

    #[test]
    fn failed_requests_are_sent_again_and_told() {
        let mut basis = row("a", 2.0);
        basis.success_percent = Some(80.0);
        let made = estimate(&basis, &[], &workload(1_000)).unwrap();
        assert_eq!((made.seconds, made.sent), (500.0, Some(1_250.0)));
        assert!(made.remarks[0].contains("80.0 %"));
    }

    #[test]
    fn an_hour_and_a_token_have_their_price() {
        let priced = |price, basis: &MeasuredRow| {
            estimate(basis, &[], &Workload { price, ..workload(36_000) }).unwrap().cost
        };
        let mut basis = row("a", 5.0);
        // Two hours; 36,000 × 400 tokens are 14.4 million.
        assert_eq!(priced(Some(Price::PerHour(1.5)), &basis).amount(), Some(3.0));
        assert_eq!(priced(Some(Price::PerMillionTokens(0.5)), &basis).amount(), Some(7.2));
        basis.cost_per_hour = Some(2.0);
        assert_eq!(priced(None, &basis).amount(), Some(4.0), "the run's own price");
        basis.completion_tokens = None;
        assert_eq!(priced(Some(Price::PerMillionTokens(0.5)), &basis), Cost::TokensUnknown(0.5));
    }
}
