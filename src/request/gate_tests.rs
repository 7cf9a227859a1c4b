use crate::request::gate::{ComparedWith, Comparison, Gate, RunSource};
use crate::request::load_test::{Metric, Statistic};
use crate::request::measure::Measure;
use crate::request::thresholds::Limit;
use crate::request::tree;
use crate::request::valid::{Spec, ValidRequest, validate};

fn request(kind: &str, spec: &str) -> Result<ValidRequest, Vec<String>> {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!("apiVersion: benchlet/v1\nkind: {kind}\nspec:\n{indented}");
    let stream = tree::parse(&text);
    let root = stream.documents[0].root.as_ref().unwrap();
    validate(root, 0, "stem")
        .map_err(|problems| problems.iter().map(|problem| problem.locate(&text).to_string()).collect())
}

fn gate(fields: &str) -> Result<Gate, Vec<String>> {
    let text = format!("service: s\ngate: {{ {fields} }}");
    request("LlamaBench", &text).map(|request| *request.control.gate.unwrap())
}

fn comparison(spec: &str) -> Result<Comparison, Vec<String>> {
    request("Comparison", spec).map(|request| match request.spec {
        Spec::Comparison(comparison) => *comparison,
        other => panic!("{}", other.kind()),
    })
}

#[test]
fn a_gate_has_the_documented_defaults() {
    let gate = gate("baseline: main").unwrap();
    assert_eq!((gate.baseline.as_str(), gate.rules.margin, gate.rules.strict), ("main", 0.05, false));
    let p95 = Measure::Latency(Metric::E2e, Statistic::P95);
    let limit = |part| Some(Limit { part, either_way: false });
    let found = gate.rules.thresholds.of(p95, false).unwrap();
    assert_eq!((found.fail, found.warn), (limit(0.2), limit(0.1)));
}

#[test]
fn every_threshold_can_be_set_and_taken_away() {
    let gate =
        gate("baseline: main, thresholds: { tg_avg_ts: { fail: 3% }, p95_latency: {} }, varies: image")
            .unwrap();
    let of = |measure| gate.rules.thresholds.of(measure, false).unwrap();
    assert_eq!(of(Measure::GenerationRate).fail, Some(Limit { part: 0.03, either_way: false }));
    assert_eq!(gate.rules.thresholds.of(Measure::Latency(Metric::E2e, Statistic::P95), false), None);
    assert_eq!(gate.rules.varies, ["image"]);
}

#[test]
fn a_gate_is_no_part_of_what_is_measured() {
    let plain = request("LlamaBench", "service: s").unwrap();
    let gated = request("LlamaBench", "service: s\ngate: { baseline: main }").unwrap();
    assert_eq!(plain.spec_hash, gated.spec_hash);
    assert_ne!(plain.semantic_hash, gated.semantic_hash);
}

#[test]
fn problems_of_a_gate_are_told_with_their_place_and_what_would_be_right() {
    let told = |fields: &str| gate(fields).expect_err(fields).join("\n");
    assert!(told("margin: 5%").contains("spec.gate.baseline is missing"));
    assert!(told("baseline: main, thresholds: { p95_latenci: { fail: 1% } }").contains("p95_latency"));
    assert!(told("baseline: main, thresholds: { error_rate: { fail: 0.01 } }").contains("0.01%"));
    assert!(told("baseline: main, thresholds: { error_rate: { stop: 1% } }").contains("unknown field"));
    assert!(told("baseline: main, thresholds: [p95_latency]").contains("has to be a map"));
    assert!(told("baseline: main, margin: 60%").contains("50%"));
    assert!(told("baseline: ../main").contains("beginning with a letter"));
    assert!(told("base: main").contains("baseline"));
}

#[test]
fn a_comparison_names_both_sides() {
    let found = comparison(
        "baseline: { name: main }\ncandidate: { request: load, run: Latest }\nthresholds: { throughput: { warn: 5% } }",
    )
    .unwrap();
    assert_eq!(found.baseline, ComparedWith::Baseline("main".to_owned()));
    assert_eq!(found.candidate, RunSource::LatestOf { request: "load".to_owned() });
    let id = "0d6f1a3e-0d1c-4c11-9d0c-8b6f0a1b2c3d";
    let found = comparison(&format!("baseline: {{ request: load }}\ncandidate: {{ run: {id} }}")).unwrap();
    assert_eq!(found.baseline, ComparedWith::Run(RunSource::LatestOf { request: "load".to_owned() }));
    assert_eq!(found.candidate, RunSource::Run(id.parse().unwrap()));
}

#[test]
fn a_comparison_without_a_side_is_refused() {
    let told = |spec: &str| comparison(spec).expect_err(spec).join("\n");
    assert!(told("baseline: { name: main }").contains("spec.candidate is missing"));
    assert!(
        told("baseline: { name: main, request: x }\ncandidate: { request: x }")
            .contains("a baseline and a run")
    );
    assert!(told("baseline: {}\ncandidate: { request: x }").contains("spec.baseline names no run"));
    assert!(told("baseline: { run: Latest }\ncandidate: { request: x }").contains("takes a request"));
    assert!(told("baseline: { request: x, run: Best }\ncandidate: { request: x }").contains("Latest"));
}

#[test]
fn a_baseline_pins_a_run_for_its_request_or_its_service() {
    use crate::request::baseline::TiedTo;
    let pinned = |spec: &str| {
        request("Baseline", spec).map(|request| match request.spec {
            Spec::Baseline(baseline) => baseline,
            other => panic!("{}", other.kind()),
        })
    };
    let found = pinned("name: v1.4\nfrom: { request: load, run: Latest }").unwrap();
    assert_eq!((found.name.as_str(), found.tied_to), ("v1.4", TiedTo::Request));
    assert_eq!(pinned("name: main\nfor: Service\nfrom: { request: load }").unwrap().tied_to, TiedTo::Service);
    assert!(pinned("name: main").unwrap_err()[0].contains("spec.from is missing"));
    assert!(pinned("from: { request: load }").unwrap_err()[0].contains("spec.name is missing"));
}

#[test]
fn an_apply_of_what_improved_names_what_it_improves_on() {
    use crate::request::apply::{Improvement, Metric};
    let apply = |fields: &str| {
        request("LlamaBench", &format!("service: s\napply: {{ {fields} }}")).map(|request| {
            match request.spec {
                Spec::LlamaBench(spec) => spec.apply.unwrap().improved,
                other => panic!("{}", other.kind()),
            }
        })
    };
    let improvement =
        |min_gain| Improvement { against: "main".to_owned(), metric: Metric::GenerationRate, min_gain };
    assert_eq!(apply("when: Succeeded"), Ok(None));
    let told = "when: Improved, metric: tg_avg_ts, against: main";
    assert_eq!(apply(told), Ok(Some(improvement(0.03))));
    assert_eq!(apply(&format!("{told}, minGain: 10%")), Ok(Some(improvement(0.1))));
    let problem = |fields: &str| apply(fields).expect_err(fields).join("\n");
    assert!(problem("when: Improved, metric: tg_avg_ts").contains("spec.apply.against is missing"));
    assert!(problem("when: Improved, against: main").contains("spec.apply.metric is missing"));
    assert!(problem("against: main").contains("is for when: Improved"));
}
