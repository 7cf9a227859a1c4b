//! A judgement as status files, `-o json` and conditions show it. Rounds nothing and judges nothing anew.

use serde_json::{Value, json};

use super::status_document::Draft;
use crate::plan::compared_figure::{Policy, Row};
use crate::plan::comparison::{Comparison, EvidenceVerdict, Outcome};
use crate::run::reason::Reason;
use crate::stats::evidence::Evidence;
use crate::store::baselines::Baseline;
use crate::store::judgements::Judgement;

/// `verdict` of a status.
pub fn verdict(judged: &Judgement) -> Value {
    let mut value = match &judged.comparison {
        Ok(comparison) => json!({
            "policy": comparison.policy.map(Policy::as_str),
            "evidence": comparison.evidence.as_str(),
        }),
        Err(_) => json!({ "policy": null, "evidence": EvidenceVerdict::NotComparable.as_str() }),
    };
    value["against"] = json!(judged.against);
    value["run"] = json!(judged.run.to_string());
    value["baselineRun"] = json!(judged.baseline_run.map(|run| run.to_string()));
    value["judgedAt"] = json!(judged.created_at);
    match &judged.comparison {
        Ok(comparison) => {
            value["judged"] = json!(comparison.judged);
            value["notJudged"] = json!(comparison.not_judged);
            if let Some(more) = comparison.more_runs() {
                value["moreRuns"] = json!(more);
            }
            if !comparison.reasons.is_empty() {
                value["reasons"] = json!(comparison.reasons);
            }
            let rows = comparison.rows.iter().filter(|row| row.threshold.is_some());
            value["figures"] = rows.map(figure).collect();
        }
        Err(why) => value["reasons"] = json!([why]),
    }
    value
}

/// `baseline` of a status.
pub fn baseline(pinned: &Baseline) -> Value {
    json!({
        "name": pinned.name,
        "run": pinned.run.to_string(),
        pinned.scope.word(): pinned.scope.subject(),
        "setAt": pinned.created_at,
    })
}

/// The same in a list, with the request that set it where one did.
pub fn listed_baseline(pinned: &Baseline) -> Value {
    let mut value = baseline(pinned);
    value["setBy"] = json!(pinned.set_by);
    value
}

/// A figure under a threshold.
fn figure(row: &Row) -> Value {
    let mut value = json!({
        "case": row.case,
        "figure": row.measure.to_string(),
        "baseline": row.baseline,
        "candidate": row.candidate,
        "change": row.change,
        "interval": row.interval,
        "policy": row.policy.map(Policy::as_str),
        "evidence": evidence_word(&row.evidence),
    });
    if let Evidence::Inconclusive { more_runs: Some(more) } = row.evidence {
        value["moreRuns"] = json!(more);
    }
    value
}

pub fn evidence_word(evidence: &Evidence) -> &'static str {
    match evidence {
        Evidence::Ok { .. } => EvidenceVerdict::Ok.as_str(),
        Evidence::Regression { .. } => EvidenceVerdict::Regression.as_str(),
        Evidence::Inconclusive { .. } => EvidenceVerdict::Inconclusive.as_str(),
    }
}

/// What a judgement comes to, as exit codes tell it.
pub fn outcome(judged: &Judgement) -> Outcome {
    match &judged.comparison {
        Ok(comparison) => comparison.outcome(judged.strict),
        Err(_) => Outcome::NotComparable,
    }
}

/// The condition of a gate or a comparison.
pub fn condition(judged: &Judgement) -> Draft {
    let message = words(judged);
    let (status, reason) = match (&judged.comparison, outcome(judged)) {
        (Err(_), _) if judged.baseline_run.is_none() => ("Unknown", Reason::NoBaseline),
        (Err(_), _) | (Ok(_), Outcome::NotComparable) => ("Unknown", Reason::NotComparable),
        (Ok(found), Outcome::NoRegression) => ("True", policy_reason(found)),
        (Ok(found), Outcome::Regression) => match (found.policy, found.evidence) {
            (Some(Policy::Pass), EvidenceVerdict::Regression) => ("False", Reason::EvidenceRegression),
            (Some(Policy::Pass), _) => ("False", Reason::EvidenceInconclusive),
            (Some(Policy::Warn | Policy::Fail) | None, _) => ("False", policy_reason(found)),
        },
    };
    Draft::new("GatePassed", status, reason, message)
}

fn policy_reason(found: &Comparison) -> Reason {
    match found.policy {
        Some(Policy::Pass) => Reason::PolicyPass,
        Some(Policy::Warn) => Reason::PolicyWarn,
        Some(Policy::Fail) => Reason::PolicyFail,
        None => Reason::NotComparable,
    }
}

/// `against main: Fail (e2e_p95 +25.3 %), evidence Regression`
pub fn words(judged: &Judgement) -> String {
    let found = match &judged.comparison {
        Ok(found) => found,
        Err(why) => return why.clone(),
    };
    if found.evidence == EvidenceVerdict::NotComparable {
        let reasons = found.reasons.join("; ");
        return format!("not comparable with {}: {reasons}", judged.against);
    }
    let policy = found.policy.map_or("not judged", Policy::as_str);
    let worst = found.rows.iter().filter(|row| row.policy == found.policy && row.policy > Some(Policy::Pass));
    let worst: Vec<String> = worst.map(change_words).collect();
    let worst = if worst.is_empty() { String::new() } else { format!(" ({})", worst.join(", ")) };
    format!("against {}: {policy}{worst}, evidence {}", judged.against, found.evidence.as_str())
}

/// `c=4 e2e_p95 +25.3 %`
pub fn change_words(row: &Row) -> String {
    let change = row.change.map_or_else(|| "?".to_owned(), |change| format!("{:+.1} %", change * 100.0));
    format!("{} {} {change}", row.case, row.measure)
}
