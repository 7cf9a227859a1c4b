//! A comparison as Markdown, for a pull request or a CI job's summary.

use super::comparison_words as words;
use super::escape::markdown as escaped;
use crate::plan::compared_figure::Policy;
use crate::plan::comparison::{Comparison, Outcome};
use crate::request::gate::Rules;

pub fn render(found: &Comparison, rules: &Rules) -> String {
    let outcome = found.outcome(rules.strict);
    let mark = match outcome {
        Outcome::NoRegression => "✅",
        Outcome::Regression => "❌",
        Outcome::NotComparable => "⚠️",
    };
    let mut out = format!(
        "### {mark} {} against {}: {}\n\n",
        escaped(&found.candidate.label),
        escaped(&found.baseline.label),
        words::outcome_word(outcome)
    );
    out.push_str(&format!("**Policy** {}  \n", escaped(&words::policy(found))));
    out.push_str(&format!("**Evidence** {}  \n", escaped(&words::evidence_of_all(found, rules))));
    out.push_str(&format!("{}\n\n", escaped(&words::judged_words(found))));
    for reason in &found.reasons {
        out.push_str(&format!("- {}\n", escaped(reason)));
    }
    if !found.reasons.is_empty() {
        out.push('\n');
    }
    if words::judged(found).next().is_some() {
        out.push_str(
            "| figure | case | baseline | candidate | change | 95 % interval | basis | evidence | policy |\n",
        );
        out.push_str("| --- | --- | ---: | ---: | ---: | ---: | --- | --- | --- |\n");
    }
    for row in words::judged(found) {
        let value = |value: Option<f64>| {
            value.map_or_else(|| "—".to_owned(), |value| words::figure(row.measure, value))
        };
        let policy = match row.policy {
            Some(Policy::Fail) => "**Fail**".to_owned(),
            Some(policy) => policy.as_str().to_owned(),
            None => "—".to_owned(),
        };
        let cells = [
            escaped(&row.measure.to_string()),
            escaped(&row.case),
            escaped(&value(row.baseline)),
            escaped(&value(row.candidate)),
            escaped(&words::change(row).unwrap_or_else(|| "—".to_owned())),
            escaped(&words::interval(row).unwrap_or_else(|| "—".to_owned())),
            escaped(&words::basis(row)),
            escaped(&words::evidence(row)),
            policy,
        ];
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    let differences = found.comparability.differences.iter().chain(&found.comparability.declared);
    let rows: Vec<String> = differences
        .map(|one| {
            format!("| {} | {} | {} |\n", escaped(&one.fact), escaped(&one.baseline), escaped(&one.candidate))
        })
        .collect();
    if !rows.is_empty() {
        out.push_str("\n| what differs | baseline | candidate |\n| --- | --- | --- |\n");
        rows.iter().for_each(|row| out.push_str(row));
    }
    let remarks = words::remarks(found);
    if !remarks.is_empty() {
        out.push('\n');
        remarks.iter().for_each(|line| out.push_str(&format!("- {}\n", escaped(line))));
    }
    out
}
