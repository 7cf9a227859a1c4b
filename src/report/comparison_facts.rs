//! All facts of both sides of a comparison beside each other, and which of them differ. Judges nothing.

use std::collections::BTreeSet;

use crate::plan::comparability::Comparability;
use crate::run::comparand::Comparand;

/// A fact as either side tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComparedFact {
    pub fact: String,
    /// `None` where the side does not tell it.
    pub baseline: Option<String>,
    pub candidate: Option<String>,
    /// Both tell it, and differently.
    pub differs: bool,
    /// It was said to vary.
    pub declared: bool,
}

/// Every fact by which the two are held comparable, by name.
pub fn facts([before, after]: [&Comparand; 2], found: &Comparability) -> Vec<ComparedFact> {
    let names: BTreeSet<&String> = before.facts.decisive.keys().chain(after.facts.decisive.keys()).collect();
    let fact = |name: &String| {
        let of = |side: &Comparand| side.facts.decisive.get(name).cloned().flatten();
        let (baseline, candidate) = (of(before), of(after));
        ComparedFact {
            fact: name.clone(),
            differs: baseline.is_some() && candidate.is_some() && baseline != candidate,
            declared: found.declared.iter().any(|known| known.fact == *name),
            baseline,
            candidate,
        }
    };
    names.into_iter().map(fact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::comparability::comparability;

    fn side(facts: &[(&str, Option<&str>)]) -> Comparand {
        let mut side = Comparand {
            label: String::new(),
            runs: Vec::new(),
            measured_at: None,
            simulated: false,
            facts: Default::default(),
            cases: Vec::new(),
        };
        for (name, value) in facts {
            side.facts.decisive.insert((*name).to_owned(), value.map(str::to_owned));
        }
        side
    }

    #[test]
    fn a_fact_differs_where_both_sides_tell_it_differently() {
        let before = side(&[("cpu", Some("x")), ("image", Some("a")), ("model", Some("m")), ("gpus", None)]);
        let after =
            side(&[("cpu", Some("x")), ("image", Some("b")), ("model", Some("n")), ("gpus", Some("1"))]);
        let found = comparability(&before.facts, &after.facts, &["model".to_owned()]);
        let told: Vec<(String, bool, bool)> = facts([&before, &after], &found)
            .into_iter()
            .map(|fact| (fact.fact, fact.differs, fact.declared))
            .collect();
        let expected =
            [("cpu", false, false), ("gpus", false, false), ("image", true, false), ("model", true, true)];
        assert_eq!(told, expected.map(|(name, differs, declared)| (name.to_owned(), differs, declared)));
    }
}
