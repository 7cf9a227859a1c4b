//! Whether a run is better than its baseline by as much as `apply.when: Improved` asks for, and proven so.

use uuid::Uuid;

use super::judge;
use crate::plan::comparability::comparability;
use crate::plan::figure_evidence::figure_evidence;
use crate::report::comparands;
use crate::request::apply::{Improvement, Metric};
use crate::request::gate::ComparedWith;
use crate::request::measure::Measure;
use crate::run::comparand::{Comparand, ComparedCase};
use crate::run::reason::{Reason, Refusal};
use crate::store::{Store, StoreError};

/// What is compared may differ in its flags, and in nothing else.
const VARIES: &str = "flags";

/// Why the run is not applied; `None` where it is better.
///
/// # Errors
/// The store's own.
pub fn refusal(store: &Store, run: Uuid, wanted: &Improvement) -> Result<Option<Refusal>, StoreError> {
    let Some(candidate) = store.run(run)? else {
        return Ok(Some(Refusal::new(Reason::RunUnknown, format!("the run {run} is not there any more"))));
    };
    let baseline =
        match judge::other_side(store, &ComparedWith::Baseline(wanted.against.clone()), &candidate)? {
            Ok(row) => row,
            Err(refusal) => return Ok(Some(refusal)),
        };
    if baseline.id == candidate.id {
        let message = format!("the run is the baseline {} itself", wanted.against);
        return Ok(Some(Refusal::new(Reason::NotImproved, message)));
    }
    let sides = comparands::of_run(store, &baseline, &wanted.against)
        .and_then(|before| Ok((before, comparands::of_run(store, &candidate, &candidate.request)?)));
    match sides {
        Ok((before, after)) => Ok(judged(&before, &after, wanted)),
        Err(comparands::ComparandError::Store(error)) => Err(error),
        Err(other) => Ok(Some(Refusal::new(Reason::NotComparable, other.to_string()))),
    }
}

fn judged(before: &Comparand, after: &Comparand, wanted: &Improvement) -> Option<Refusal> {
    let found = comparability(&before.facts, &after.facts, &[VARIES.to_owned()]);
    if before.simulated != after.simulated || !found.is_comparable() {
        let mut words: Vec<String> = found.differences.iter().map(|difference| difference.words()).collect();
        if before.simulated != after.simulated {
            words.push("one of them is simulated".to_owned());
        }
        let message = format!("not comparable with {}: {}", wanted.against, words.join("; "));
        return Some(Refusal::new(Reason::NotComparable, message));
    }
    let measure = match wanted.metric {
        Metric::PromptRate => Measure::PromptRate,
        Metric::GenerationRate => Measure::GenerationRate,
    };
    let refuse = |message: String| Some(Refusal::new(Reason::NotImproved, message));
    let Some(best) = fastest(&after.cases, measure, None) else {
        return refuse(format!("the run has no {measure}"));
    };
    // The same test, whatever its flags are.
    let Some(known) = fastest(&before.cases, measure, Some(test_of(&best.key))) else {
        return refuse(format!("the baseline {} has no test {}", wanted.against, test_of(&best.key)));
    };
    let evidence = figure_evidence(measure, known, best, 0.0);
    let gain = evidence.ratio.map(|ratio| ratio.value - 1.0);
    let proven = evidence.ratio.and_then(|ratio| ratio.interval).is_some_and(|[low, _]| low > 1.0);
    let percent = |part: f64| format!("{:+.1} %", part * 100.0);
    let enough = gain.is_some_and(|gain| gain >= wanted.min_gain);
    if enough && proven {
        return None;
    }
    let interval = match evidence.ratio.and_then(|ratio| ratio.interval) {
        Some([low, high]) => format!(" ({} to {})", percent(low - 1.0), percent(high - 1.0)),
        None => String::new(),
    };
    let gain = gain.map_or_else(|| "unknown".to_owned(), percent);
    let message = format!("{measure} of {} is {gain}{interval} against {}", best.key, wanted.against);
    let refusal = Refusal::new(Reason::NotImproved, message);
    Some(if enough {
        refusal.hint("it takes four launches of each to prove a gain: launches: 5")
    } else {
        refusal.hint(format!("at least {} is asked for", percent(wanted.min_gain)))
    })
}

fn fastest<'c>(cases: &'c [ComparedCase], measure: Measure, test: Option<&str>) -> Option<&'c ComparedCase> {
    let of_test = cases.iter().filter(|case| test.is_none_or(|test| test_of(&case.key) == test));
    let known = of_test.filter_map(|case| Some((case, case.figures.get(&measure)?.value)));
    known.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(case, _)| case)
}

/// `pp512 @ d64` of `pp512 @ d64 n_batch=1024`.
fn test_of(key: &str) -> &str {
    match key.find('=') {
        Some(at) => key[..at].rsplit_once(' ').map_or("", |(test, _)| test),
        None => key,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::run::comparand::Figure;
    use crate::run::facts::Facts;

    fn case(key: &str, rates: &[f64]) -> ComparedCase {
        let value = rates.iter().sum::<f64>() / rates.len() as f64;
        let figure = Figure { value, units: rates.to_vec() };
        ComparedCase {
            key: key.to_owned(),
            figures: BTreeMap::from([(Measure::GenerationRate, figure)]),
            ..ComparedCase::default()
        }
    }

    fn side(image: &str, cases: Vec<ComparedCase>) -> Comparand {
        let decisive = [("image", image), ("n_batch", "512")];
        Comparand {
            label: "main".to_owned(),
            runs: Vec::new(),
            measured_at: None,
            simulated: false,
            facts: Facts {
                decisive: decisive.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).into(),
                ..Facts::default()
            },
            cases,
        }
    }

    const STEADY: [f64; 5] = [100.0, 100.4, 99.7, 100.2, 99.9];

    fn asked(image: &str, rates: &[f64]) -> Option<Refusal> {
        let wanted =
            Improvement { against: "main".to_owned(), metric: Metric::GenerationRate, min_gain: 0.03 };
        let before = side("a", vec![case("tg16", &STEADY), case("tg64", &[900.0; 5])]);
        let after = side(image, vec![case("tg16 n_batch=64", &[1.0; 5]), case("tg16 n_batch=512", rates)]);
        judged(&before, &after, &wanted)
    }

    #[test]
    fn the_best_cell_of_a_matrix_is_held_against_the_same_test() {
        assert_eq!(asked("a", &STEADY.map(|rate| rate * 1.1)), None);
    }

    #[test]
    fn a_gain_that_is_too_small_or_not_proven_is_none() {
        let small = asked("a", &STEADY.map(|rate| rate * 1.02)).unwrap();
        assert_eq!(small.reason, Reason::NotImproved);
        assert!(small.message.contains("+2.0 %") && small.hint.unwrap().contains("+3.0 %"));
        let open = asked("a", &[150.0, 80.0, 170.0, 90.0, 160.0]).unwrap();
        assert_eq!(open.reason, Reason::NotImproved);
        let few = asked("a", &[150.0, 151.0]).unwrap();
        assert!(few.hint.unwrap().contains("four launches"));
    }

    #[test]
    fn another_image_is_another_thing() {
        let found = asked("b", &STEADY.map(|rate| rate * 1.1)).unwrap();
        assert_eq!(found.reason, Reason::NotComparable);
        assert!(found.message.contains("image differs: a, then b"), "{}", found.message);
    }

    #[test]
    fn a_tests_name_is_what_stands_before_the_columns() {
        assert_eq!(test_of("pp512 @ d64 n_batch=1024 n_threads=2"), "pp512 @ d64");
        assert_eq!(test_of("tg128"), "tg128");
    }
}
