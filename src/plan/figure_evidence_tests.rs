use std::collections::BTreeMap;

use super::*;
use crate::request::load_test::Metric;
use crate::run::comparand::Figure;

const E2E_P95: Measure = Measure::Latency(Metric::E2e, Statistic::P95);

fn rates(units: &[f64]) -> ComparedCase {
    let figure = Figure { value: units[0], units: units.to_vec() };
    ComparedCase { figures: BTreeMap::from([(Measure::GenerationRate, figure)]), ..ComparedCase::default() }
}

fn requests(scale: f64, n: u32) -> ComparedCase {
    let values: Vec<f64> = (0..n).map(|i| scale * (100.0 + f64::from(i * 37 % 101))).collect();
    ComparedCase {
        concurrency: 1,
        figures: BTreeMap::from([(E2E_P95, Figure::of(scale))]),
        samples: BTreeMap::from([(Metric::E2e, Samples::Requests(values))]),
        ..ComparedCase::default()
    }
}

#[test]
fn four_runs_a_side_are_tested_by_their_ranks() {
    let (before, after) = (rates(&[100.0, 101.0, 99.0, 100.5]), rates(&[50.0, 50.5, 49.5, 50.2]));
    let found = figure_evidence(Measure::GenerationRate, &before, &after, 0.05);
    assert_eq!((found.method, found.n), (Method::ExactRankTest, [4, 4]));
    // The smallest two-sided p of four a side is 2 ÷ 70.
    assert!((found.p.unwrap() - 2.0 / 70.0).abs() < 1e-12);
    assert!((found.p_beyond_margin.unwrap() - 1.0 / 70.0).abs() < 1e-12);
    assert!(found.ratio.unwrap().interval.unwrap()[1] < 0.55);
    // The other way round nothing is worse.
    let better = figure_evidence(Measure::GenerationRate, &after, &before, 0.05);
    assert!(better.p_beyond_margin.unwrap() > 0.95);
}

#[test]
fn three_runs_a_side_carry_a_figure_and_no_interval() {
    let found = figure_evidence(Measure::GenerationRate, &rates(&[1.0, 2.0, 3.0]), &rates(&[2.0; 3]), 0.05);
    assert_eq!((found.method, found.n, found.p), (Method::None, [3, 3], None));
    assert_eq!(found.ratio.unwrap(), Estimate { value: 2.0, interval: None });
}

#[test]
fn the_requests_of_one_run_a_side_are_resampled_in_blocks() {
    let found = figure_evidence(E2E_P95, &requests(1.0, 400), &requests(1.5, 400), 0.05);
    assert_eq!((found.method, found.n), (Method::BlockBootstrap, [400, 400]));
    assert!(found.p_beyond_margin.unwrap() < 0.001, "{found:?}");
    let same = figure_evidence(E2E_P95, &requests(1.0, 400), &requests(1.0, 400), 0.05);
    assert!(same.p_beyond_margin.unwrap() > 0.5);
    // Of a maximum samples tell nothing.
    let max = Measure::Latency(Metric::E2e, Statistic::Max);
    let mut before = requests(1.0, 400);
    before.figures.insert(max, Figure::of(2.0));
    assert_eq!(figure_evidence(max, &before, &before, 0.05).method, Method::None);
}

#[test]
fn errors_are_the_difference_of_two_shares() {
    let of =
        |failed: u64, all: u64| ComparedCase { requests: Some((failed, all)), ..ComparedCase::default() };
    let found = figure_evidence(Measure::ErrorRate, &of(0, 1_000), &of(50, 1_000), 0.01);
    let ratio = found.ratio.unwrap();
    assert_eq!((found.method, ratio.value), (Method::ShareDifference, 0.05));
    assert!(ratio.interval.unwrap()[0] > 0.03 && found.p_beyond_margin.unwrap() < 0.001);
    let none = figure_evidence(Measure::ErrorRate, &ComparedCase::default(), &of(1, 2), 0.01);
    assert_eq!(none, FigureEvidence::default());
}

#[test]
fn what_is_advised_is_enough_for_a_test_between_runs() {
    let open = |more| Evidence::Inconclusive { more_runs: Some(more) };
    assert_eq!(Method::BlockBootstrap.with_enough_runs(open(1), 1), open(3));
    assert_eq!(Method::BlockBootstrap.with_enough_runs(open(9), 1), open(9));
    assert_eq!(Method::ExactRankTest.with_enough_runs(open(1), 4), open(1));
}
