//! Whether two runs may be compared: their facts held against each other. Judges no figure. What one side does
//! not tell is no difference; what both tell must agree, unless it is what the comparison is about.

use serde::{Deserialize, Serialize};

use super::apply_plan::columns_of;
use crate::request::diagnostic::did_you_mean;
use crate::run::facts::{Facts, Group};

/// A fact that two sides tell differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub fact: String,
    pub baseline: String,
    pub candidate: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparability {
    /// Undeclared: with any of these the two are not comparable.
    pub differences: Vec<Difference>,
    /// What was said to vary.
    pub declared: Vec<Difference>,
    /// Facts that only one side tells.
    pub unknown: Vec<String>,
    /// Differences that decide nothing: kernel, governor, power limit.
    pub notes: Vec<Difference>,
    /// About the declaration itself.
    pub remarks: Vec<String>,
}

/// Holds both sides' facts against each other; `varies` names facts, groups of them, or flags of llama-bench.
pub fn comparability(baseline: &Facts, candidate: &Facts, varies: &[String]) -> Comparability {
    let mut found = Comparability::default();
    let mut used = vec![false; varies.len()];
    let known = |fact: &str| {
        let side = |facts: &Facts| facts.decisive.get(fact).cloned().flatten();
        (side(baseline), side(candidate))
    };
    let names = baseline.decisive.keys().chain(candidate.decisive.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    for name in &names {
        let declared = varies.iter().position(|word| means(word, name));
        if let Some(at) = declared {
            used[at] = true;
        }
        match known(name) {
            (Some(before), Some(after)) if before != after => {
                let difference = Difference { fact: (*name).clone(), baseline: before, candidate: after };
                match declared {
                    Some(_) => found.declared.push(difference),
                    None if told_by_another(name, &known) => found.notes.push(difference),
                    None => found.differences.push(difference),
                }
            }
            (Some(_), None) | (None, Some(_)) => found.unknown.push((*name).clone()),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    for (name, before) in &baseline.incidental {
        let after = candidate.incidental.get(name);
        if let (Some(before), Some(Some(after))) = (before, after)
            && before != after
        {
            let (baseline, candidate) = (before.clone(), after.clone());
            found.notes.push(Difference { fact: name.clone(), baseline, candidate });
        }
    }
    for (word, used) in varies.iter().zip(used) {
        if !used {
            let hint = did_you_mean(word, names.iter().map(|name| name.as_str()));
            let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            found.remarks.push(format!("varies names {word}, which is no fact of either side{hint}"));
        }
    }
    found
}

/// A name of a model says nothing where its hash is known, nor an image where it holds the same build.
fn told_by_another(fact: &str, known: &impl Fn(&str) -> (Option<String>, Option<String>)) -> bool {
    let same = |other: &str| matches!(known(other), (Some(a), Some(b)) if a == b);
    match fact {
        "model_name" => same("model"),
        "image" => same("build"),
        _ => false,
    }
}

/// Whether a word of `varies` covers a fact.
fn means(word: &str, fact: &str) -> bool {
    word == fact
        || Group::ALL.iter().any(|(name, group)| *name == word && Group::of(fact) == *group)
        || (word.starts_with('-') && columns_of(word).iter().any(|column| column == fact))
}

impl Comparability {
    pub fn is_comparable(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Difference {
    /// `n_threads differs: 2, then 1`
    pub fn words(&self) -> String {
        format!("{} differs: {}, then {}", self.fact, self.baseline, self.candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(all: &[(&str, &str)]) -> Facts {
        let value = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Facts {
            decisive: all.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect(),
            ..Facts::default()
        }
    }

    fn names(differences: &[Difference]) -> Vec<&str> {
        differences.iter().map(|difference| difference.fact.as_str()).collect()
    }

    #[test]
    fn what_both_tell_has_to_agree_and_what_one_does_not_tell_is_no_difference() {
        let (a, b) = (
            facts(&[("gpus", "H100"), ("cpu", "EPYC"), ("driver", "")]),
            facts(&[("gpus", "A100"), ("cpu", "EPYC"), ("driver", "5")]),
        );
        let found = comparability(&a, &b, &[]);
        assert_eq!(names(&found.differences), ["gpus"]);
        assert_eq!(found.unknown, ["driver"]);
        assert!(!found.is_comparable());
        assert_eq!(found.differences[0].words(), "gpus differs: H100, then A100");
    }

    #[test]
    fn what_is_said_to_vary_may_differ_by_its_name_its_group_or_its_flag() {
        let (a, b) = (facts(&[("n_threads", "2")]), facts(&[("n_threads", "1")]));
        for word in ["n_threads", "flags", "-t", "--threads"] {
            let found = comparability(&a, &b, &[word.to_owned()]);
            assert!(found.is_comparable() && found.remarks.is_empty(), "{word}: {found:?}");
            assert_eq!(names(&found.declared), ["n_threads"]);
        }
        assert!(!comparability(&a, &b, &["-b".to_owned()]).is_comparable());
    }

    #[test]
    fn a_word_that_means_nothing_is_told_with_the_nearest() {
        let a = facts(&[("n_threads", "2")]);
        let found = comparability(&a, &a, &["n_thread".to_owned()]);
        assert!(found.remarks[0].contains("n_threads"), "{:?}", found.remarks);
    }

    #[test]
    fn the_same_build_in_another_image_and_the_same_model_by_another_name_are_comparable() {
        let a = facts(&[("build", "b1"), ("image", "i1"), ("model", "h"), ("model_name", "a.gguf")]);
        let b = facts(&[("build", "b1"), ("image", "i2"), ("model", "h"), ("model_name", "b.gguf")]);
        let found = comparability(&a, &b, &[]);
        assert!(found.is_comparable());
        assert_eq!(names(&found.notes), ["image", "model_name"]);
        let c = facts(&[("build", "b2"), ("image", "i2")]);
        assert_eq!(names(&comparability(&a, &c, &[]).differences), ["build", "image"]);
    }

    #[test]
    fn kernel_and_governor_are_only_told() {
        let aside = |governor: &str| Facts {
            incidental: [("governor".to_owned(), Some(governor.to_owned()))].into(),
            ..Facts::default()
        };
        let found = comparability(&aside("powersave"), &aside("performance"), &[]);
        assert!(found.is_comparable());
        assert_eq!(names(&found.notes), ["governor"]);
    }
}
