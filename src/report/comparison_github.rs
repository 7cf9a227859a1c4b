//! A comparison as annotations of a GitHub workflow: an error or a warning a figure, and a notice for the whole.

use super::comparison_words as words;
use super::escape;
use crate::plan::compared_figure::Policy;
use crate::plan::comparison::{Comparison, Outcome};
use crate::request::gate::Rules;
use crate::stats::evidence::Evidence;

pub fn render(found: &Comparison, rules: &Rules) -> String {
    let mut out = String::new();
    let title = format!("{} against {}", found.candidate.label, found.baseline.label);
    let mut annotate = |level: &str, message: &str| {
        out.push_str(&format!("::{level} title={}::{}\n", property(&title), data(message)));
    };
    let outcome = found.outcome(rules.strict);
    if outcome == Outcome::NotComparable {
        let reasons = found.reasons.join("; ");
        annotate("error", &format!("not comparable: {reasons}"));
        return out;
    }
    for row in words::judged(found) {
        let told = format!(
            "{} {}: {} ({}), evidence {}",
            row.case,
            row.measure,
            words::change(row).unwrap_or_else(|| "unknown".to_owned()),
            words::limits(row),
            words::evidence(row)
        );
        match (row.policy, &row.evidence) {
            (Some(Policy::Fail), _) => annotate("error", &told),
            (Some(Policy::Warn), _) | (_, Evidence::Regression { .. }) => annotate("warning", &told),
            (Some(Policy::Pass) | None, Evidence::Ok { .. } | Evidence::Inconclusive { .. }) => {}
        }
    }
    for reason in &found.reasons {
        annotate("error", reason);
    }
    let whole = format!(
        "{}. Policy {}. Evidence {}.",
        words::judged_words(found),
        words::policy(found),
        words::evidence_of_all(found, rules)
    );
    let level = match outcome {
        Outcome::NoRegression => "notice",
        Outcome::Regression | Outcome::NotComparable => "error",
    };
    annotate(level, &whole);
    out
}

/// A workflow command ends with its line, and has its own way to write what would end it.
fn data(text: &str) -> String {
    escape::visible(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
