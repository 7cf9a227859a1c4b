use std::collections::BTreeMap;

use super::*;
use crate::plan::figure_evidence::Method;
use crate::request::load_test::{Metric, Statistic};
use crate::request::measure::Measure;
use crate::request::thresholds::{Subject, Threshold, parse_threshold};
use crate::run::comparand::{Figure, Samples};
use crate::run::facts::Facts;
use crate::run::load_case::Invalid;

const P95: Measure = Measure::Latency(Metric::E2e, Statistic::P95);
const P50: Measure = Measure::Latency(Metric::E2e, Statistic::P50);

fn comparand(label: &str, cases: Vec<ComparedCase>) -> Comparand {
    Comparand {
        label: label.to_owned(),
        runs: vec![label.to_owned()],
        measured_at: None,
        simulated: false,
        facts: Facts::default(),
        cases,
    }
}

/// A case of a load test with as many requests as a p95 needs, `scale` times as slow as another.
fn case(scale: f64, failed: u64) -> ComparedCase {
    let values: Vec<f64> = (0..400u32).map(|i| scale * (100.0 + f64::from(i * 37 % 101))).collect();
    ComparedCase {
        key: "c=1".to_owned(),
        concurrency: 1,
        figures: BTreeMap::from([
            (P95, Figure::of(195.0 * scale)),
            (P50, Figure::of(150.0 * scale)),
            (Measure::Requests, Figure { value: 6.0 / scale, units: vec![6.0 / scale; 4] }),
            (Measure::ErrorRate, Figure::of(failed as f64 / 4_000.0)),
        ]),
        samples: BTreeMap::from([(Metric::E2e, Samples::Requests(values))]),
        requests: Some((failed, 4_000)),
        ..ComparedCase::default()
    }
}

fn against(candidate: ComparedCase, rules: &Rules) -> Comparison {
    let sides = [comparand("main", vec![case(1.0, 0)]), comparand("new", vec![candidate])];
    compare(&sides[0], &sides[1], rules, &NoiseFloors::new(), false)
}

fn policy_of(found: &Comparison, measure: Measure) -> Option<Policy> {
    found.rows.iter().find(|row| row.measure == measure)?.policy
}

#[test]
fn the_same_twice_passes() {
    let found = against(case(1.0, 0), &Rules::default());
    assert_eq!((found.policy, found.evidence), (Some(Policy::Pass), EvidenceVerdict::Ok));
    assert_eq!((found.judged, found.not_judged, found.withdrawn), (4, 0, 0));
    assert_eq!(found.outcome(true), Outcome::NoRegression);
}

#[test]
fn thresholds_decide_the_policy_and_the_worst_figure_the_whole() {
    let expected = [
        (1.09, Policy::Pass),
        (1.11, Policy::Warn),
        (1.21, Policy::Fail),
        // Better than the baseline by more than the median may change: worth a word.
        (0.80, Policy::Warn),
    ];
    for (scale, policy) in expected {
        assert_eq!(against(case(scale, 0), &Rules::default()).policy, Some(policy), "{scale}");
    }
    let found = against(case(1.11, 0), &Rules::default());
    assert_eq!(policy_of(&found, P95), Some(Policy::Warn));
    assert_eq!(policy_of(&found, P50), Some(Policy::Pass));
}

#[test]
fn the_evidence_stands_beside_the_policy() {
    let found = against(case(1.09, 0), &Rules::default());
    assert_eq!((found.policy, found.evidence), (Some(Policy::Pass), EvidenceVerdict::Regression));
    assert_eq!(found.outcome(false), Outcome::NoRegression, "the exit code follows the policy");
    assert_eq!(found.outcome(true), Outcome::Regression);
}

#[test]
fn an_error_rate_is_judged_by_itself_and_not_by_its_change() {
    let found = against(case(1.0, 41), &Rules::default());
    assert_eq!(policy_of(&found, Measure::ErrorRate), Some(Policy::Fail));
    assert_eq!(policy_of(&against(case(1.0, 39), &Rules::default()), Measure::ErrorRate), Some(Policy::Pass));
}

#[test]
fn the_noise_of_the_host_raises_the_margin() {
    let sides = [comparand("main", vec![case(1.0, 0)]), comparand("new", vec![case(1.09, 0)])];
    let noise: NoiseFloors =
        [P95, P50, Measure::Requests].map(|measure| (("c=1".to_owned(), measure), 0.12)).into();
    let found = compare(&sides[0], &sides[1], &Rules::default(), &noise, false);
    assert_eq!(found.evidence, EvidenceVerdict::Ok);
    let margin = found.rows.iter().find(|row| row.measure == P95).map(|row| row.margin);
    assert_eq!(margin, Some(0.12));
}

#[test]
fn cases_that_one_side_lacks_are_no_pass() {
    let two = vec![case(1.0, 0), ComparedCase { key: "c=4".to_owned(), ..case(1.0, 0) }];
    let sides = [comparand("main", two), comparand("new", vec![case(1.0, 0)])];
    let found = compare(&sides[0], &sides[1], &Rules::default(), &NoiseFloors::new(), false);
    assert_eq!((found.policy, found.evidence), (None, EvidenceVerdict::NotComparable));
    assert_eq!(found.reasons, ["new has no case c=4"]);
    assert_eq!(found.outcome(false), Outcome::NotComparable);
    let rules = Rules { varies: vec!["cases".to_owned()], ..Rules::default() };
    let found = compare(&sides[0], &sides[1], &rules, &NoiseFloors::new(), false);
    assert_eq!(found.policy, Some(Policy::Pass));
}

#[test]
fn figures_of_a_made_up_run_are_not_held_against_real_ones() {
    let sides = [comparand("main", vec![case(1.0, 0)]), comparand("new", vec![case(1.0, 0)])];
    let made_up = Comparand { simulated: true, ..sides[0].clone() };
    let compared =
        |a: &Comparand, b: &Comparand| compare(a, b, &Rules::default(), &NoiseFloors::new(), false);
    assert_eq!(compared(&made_up, &sides[1]).outcome(false), Outcome::NotComparable);
    let both = compared(&made_up, &made_up);
    assert!(both.simulated && both.policy.is_some());
}

#[test]
fn what_the_client_spoiled_is_not_judged_and_what_the_server_spoiled_is() {
    let with = |reason| {
        let invalid = vec![Invalid { reason, message: "because".to_owned() }];
        against(ComparedCase { invalid, ..case(1.0, 100) }, &Rules::default())
    };
    assert_eq!(with(InvalidReason::ClientBusy).outcome(false), Outcome::NotComparable);
    assert_eq!(with(InvalidReason::ErrorRate).policy, Some(Policy::Fail));
    let broken = with(InvalidReason::BrokenAnswers);
    assert_eq!((broken.policy, broken.reasons.len()), (Some(Policy::Fail), 1));
}

#[test]
fn a_figure_that_was_asked_for_and_is_missing_is_a_gap() {
    let mut rules = Rules::default();
    rules.thresholds.set(Subject::parse("ttft_p95").unwrap(), parse_threshold("fail:10%").unwrap());
    let found = against(case(1.0, 0), &rules);
    assert_eq!(found.outcome(false), Outcome::NotComparable);
    assert_eq!(found.reasons, ["ttft_p95 is known of no case of both sides"]);
    // Of a load test every case has to have it.
    let ttft = Measure::Latency(Metric::Ttft, Statistic::P95);
    let with = |mut case: ComparedCase| {
        case.figures.insert(ttft, Figure::of(5.0));
        case
    };
    let other = || ComparedCase { key: "c=4".to_owned(), ..case(1.0, 0) };
    let before = comparand("main", vec![with(case(1.0, 0)), with(other())]);
    let after = comparand("new", vec![with(case(1.0, 0)), other()]);
    let found = compare(&before, &after, &rules, &NoiseFloors::new(), false);
    assert_eq!(found.reasons, ["c=4: ttft_p95 is not known of the candidate"]);
}

#[test]
fn a_rate_that_was_asked_for_is_that_of_its_own_tests_alone() {
    let test = |key: &str, measure: Measure| ComparedCase {
        key: key.to_owned(),
        figures: BTreeMap::from([(measure, Figure { value: 100.0, units: vec![100.0; 4] })]),
        ..ComparedCase::default()
    };
    let side = |label: &str| {
        comparand(label, vec![test("pp64", Measure::PromptRate), test("tg16", Measure::GenerationRate)])
    };
    let asked = |name: &str| {
        let mut rules = Rules::default();
        rules.thresholds.set(Subject::parse(name).unwrap(), parse_threshold("fail:10%").unwrap());
        compare(&side("main"), &side("new"), &rules, &NoiseFloors::new(), false)
    };
    assert_eq!(asked("pp_avg_ts").policy, Some(Policy::Pass));
    assert_eq!(asked("throughput").policy, Some(Policy::Pass));
    assert_eq!(
        asked("p95_latency").reasons,
        ["p95_latency is known of no case of both sides; llama-bench measures rates alone"]
    );
}

#[test]
fn what_is_known_of_no_figure_is_no_pass() {
    let nothing = ComparedCase { key: "c=1".to_owned(), ..ComparedCase::default() };
    let sides = [comparand("main", vec![nothing.clone()]), comparand("new", vec![nothing])];
    let found = compare(&sides[0], &sides[1], &Rules::default(), &NoiseFloors::new(), false);
    assert_eq!((found.policy, found.judged), (None, 0));
    assert_eq!(found.outcome(false), Outcome::NotComparable);
}

#[test]
fn among_many_figures_a_single_find_may_be_chance() {
    let of = |measure: Measure, beyond: f64, evidence: Evidence| Row {
        case: "c=1".to_owned(),
        measure,
        baseline: Some(1.0),
        candidate: Some(2.0),
        change: Some(1.0),
        interval: None,
        method: Method::ExactRankTest,
        n: [4, 4],
        p: None,
        p_beyond_margin: Some(beyond),
        margin: 0.05,
        evidence,
        threshold: Some(Threshold::default()),
        policy: Some(Policy::Pass),
    };
    let found = Evidence::Regression { at_least: 0.06 };
    let mut few = vec![of(P95, 0.02, found), of(P50, 0.5, Evidence::Ok { at_most: 0.0 })];
    assert_eq!(withdraw(&mut few), 0);
    let mut many = vec![of(P95, 0.02, found)];
    many.extend((0..20).map(|_| of(P50, 0.5, Evidence::Ok { at_most: 0.0 })));
    assert_eq!(withdraw(&mut many), 1);
    assert!(matches!(many[0].evidence, Evidence::Inconclusive { .. }));
}

#[test]
fn runs_that_would_settle_it_are_those_of_the_figure_that_needs_most() {
    let mut found = against(case(1.0, 0), &Rules::default());
    assert_eq!(found.more_runs(), None);
    found.rows[0].evidence = Evidence::Inconclusive { more_runs: Some(3) };
    found.rows[1].evidence = Evidence::Inconclusive { more_runs: Some(7) };
    assert_eq!(found.more_runs(), Some(7));
    found.rows[2].evidence = Evidence::Inconclusive { more_runs: None };
    assert_eq!(found.more_runs(), None);
}

#[test]
fn a_comparison_survives_serialisation() {
    let found = against(case(1.3, 2), &Rules::default());
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), found);
}
