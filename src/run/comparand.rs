//! One side of a comparison: the figures of one or several runs, case by case, with what their evidence rests
//! on. Holds and merges; `comparand_bench` and `comparand_load` fill it in, and what is made of it is
//! `plan::comparison`'s.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::load_case::Invalid;
use crate::request::load_test::Metric;
use crate::request::measure::Measure;
use crate::stats::quantile::quantile;

/// What is compared, or compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparand {
    /// As people call it: a baseline, a request, a file.
    pub label: String,
    /// Ids, the newest last.
    pub runs: Vec<String>,
    /// When the newest was measured: UTC, RFC 3339.
    pub measured_at: Option<String>,
    /// Every figure is made up.
    pub simulated: bool,
    pub facts: Facts,
    pub cases: Vec<ComparedCase>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ComparedCase {
    /// The same in every run of the same request, whatever the server's address is.
    pub key: String,
    /// Requests arrived whatever the server did.
    pub open_loop: bool,
    /// Requests in flight together.
    pub concurrency: usize,
    pub figures: BTreeMap<Measure, Figure>,
    /// Milliseconds of the successful requests.
    pub samples: BTreeMap<Metric, Samples>,
    /// Failed and all requests.
    pub requests: Option<(u64, u64)>,
    /// What speaks against its figures.
    pub invalid: Vec<Invalid>,
}

/// A figure with its observations.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub value: f64,
    /// The same of each run; of a single run of each of its repeats or launches, empty where it has none.
    pub units: Vec<f64>,
}

impl Figure {
    pub fn of(value: f64) -> Self {
        Self { value, units: Vec::new() }
    }
}

/// The values of requests, in the order in which they were sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// One a request.
    Requests(Vec<f64>),
    /// Those that depend on each other: the turns of a conversation, the gaps of an answer.
    Groups(Vec<Vec<f64>>),
}

impl Comparand {
    /// Several runs of the same as one side, the newest last: each figure is the median of theirs, and each run
    /// is one observation. Samples are not pooled, because a run is more than its requests. Cases that one of
    /// them lacks are left out. `None` of no runs.
    pub fn merged(label: &str, mut runs: Vec<Self>) -> Option<Self> {
        let last = runs.pop()?;
        if runs.is_empty() {
            return Some(Self { label: label.to_owned(), ..last });
        }
        let cases = last.cases.iter().filter_map(|case| {
            let others: Option<Vec<&ComparedCase>> = runs.iter().map(|run| run.case(&case.key)).collect();
            Some(merged_case(case, &others?))
        });
        Some(Self {
            label: label.to_owned(),
            cases: cases.collect(),
            simulated: last.simulated || runs.iter().any(|run| run.simulated),
            runs: runs.iter().flat_map(|run| run.runs.clone()).chain(last.runs.clone()).collect(),
            facts: last.facts.clone(),
            measured_at: last.measured_at.clone(),
        })
    }

    pub fn case(&self, key: &str) -> Option<&ComparedCase> {
        self.cases.iter().find(|case| case.key == key)
    }
}

fn merged_case(last: &ComparedCase, others: &[&ComparedCase]) -> ComparedCase {
    let all = || others.iter().copied().chain([last]);
    let figures = last.figures.keys().filter_map(|measure| {
        let values: Option<Vec<f64>> =
            all().map(|case| case.figures.get(measure).map(|figure| figure.value)).collect();
        let units = values?;
        Some((*measure, Figure { value: median(&units)?, units }))
    });
    let requests = all().map(|case| case.requests).collect::<Option<Vec<(u64, u64)>>>();
    let sum = |all: Vec<(u64, u64)>| all.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    ComparedCase {
        figures: figures.collect(),
        samples: BTreeMap::new(),
        requests: requests.map(sum),
        invalid: all().flat_map(|case| case.invalid.clone()).collect(),
        ..last.clone()
    }
}

/// The middle value; `None` of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str, rate: f64, keys: &[&str]) -> Comparand {
        let case = |key: &&str| ComparedCase {
            key: (*key).to_owned(),
            figures: BTreeMap::from([(Measure::GenerationRate, Figure::of(rate))]),
            requests: Some((1, 10)),
            ..ComparedCase::default()
        };
        Comparand {
            label: id.to_owned(),
            runs: vec![id.to_owned()],
            measured_at: None,
            simulated: false,
            facts: Facts::default(),
            cases: keys.iter().map(case).collect(),
        }
    }

    #[test]
    fn each_run_is_one_observation_and_the_figure_their_median() {
        let runs = vec![run("a", 10.0, &["tg16"]), run("b", 30.0, &["tg16"]), run("c", 11.0, &["tg16"])];
        let side = Comparand::merged("main", runs).unwrap();
        assert_eq!((side.label.as_str(), side.runs.join(" ").as_str()), ("main", "a b c"));
        let figure = &side.cases[0].figures[&Measure::GenerationRate];
        assert_eq!((figure.value, figure.units.as_slice()), (11.0, [10.0, 30.0, 11.0].as_slice()));
        assert_eq!(side.cases[0].requests, Some((3, 30)));
    }

    #[test]
    fn a_case_that_one_run_lacks_is_no_case_of_all() {
        let side = Comparand::merged("x", vec![run("a", 1.0, &["p"]), run("b", 2.0, &["p", "q"])]).unwrap();
        assert_eq!(side.cases.len(), 1);
        assert_eq!(Comparand::merged("x", Vec::new()), None);
    }

    #[test]
    fn a_single_run_stays_as_it_is_but_for_its_name() {
        let only = run("a", 1.0, &["p"]);
        let side = Comparand::merged("main", vec![only.clone()]).unwrap();
        assert_eq!(side, Comparand { label: "main".to_owned(), ..only });
    }
}
