//! A comparison as a JUnit test report: a test suite a case, a test a figure under a threshold.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::comparison_words as words;
use super::escape;
use crate::plan::compared_figure::{Policy, Row};
use crate::plan::comparison::{Comparison, EvidenceVerdict, Outcome};
use crate::request::gate::Rules;
use crate::stats::evidence::Evidence;

/// # Errors
/// What cannot be written as XML.
pub fn render(found: &Comparison, rules: &Rules) -> Result<String, quick_junit::SerializeError> {
    let name = format!("{} against {}", found.candidate.label, found.baseline.label);
    let mut report = Report::new(text(&name));
    let mut whole = TestSuite::new("comparison");
    whole.add_test_case(comparability(found));
    if rules.strict && found.evidence != EvidenceVerdict::NotComparable {
        whole.add_test_case(evidence_of_all(found, rules));
    }
    report.add_test_suite(whole);
    let judged: Vec<&Row> = words::judged(found).collect();
    for of_case in judged.chunk_by(|one, other| one.case == other.case) {
        let Some(first) = of_case.first() else { continue };
        let mut suite = TestSuite::new(text(&first.case));
        suite.add_test_cases(of_case.iter().map(|row| figure(row, found, rules.strict)));
        report.add_test_suite(suite);
    }
    report.to_string()
}

fn comparability(found: &Comparison) -> TestCase {
    let status = if found.reasons.is_empty() {
        TestCaseStatus::success()
    } else {
        let kind = match found.outcome(false) {
            Outcome::NotComparable => NonSuccessKind::Error,
            Outcome::NoRegression | Outcome::Regression => NonSuccessKind::Failure,
        };
        failed(kind, "NotComparable", &found.reasons.join("; "))
    };
    TestCase::new("comparable", status)
}

fn evidence_of_all(found: &Comparison, rules: &Rules) -> TestCase {
    let message = words::evidence_of_all(found, rules);
    let status = match found.evidence {
        EvidenceVerdict::Ok => TestCaseStatus::success(),
        EvidenceVerdict::Regression | EvidenceVerdict::Inconclusive | EvidenceVerdict::NotComparable => {
            failed(NonSuccessKind::Failure, found.evidence.as_str(), &message)
        }
    };
    TestCase::new("evidence", status)
}

fn figure(row: &Row, found: &Comparison, strict: bool) -> TestCase {
    let value =
        |value: Option<f64>| value.map_or("unknown".to_owned(), |value| words::figure(row.measure, value));
    let message = format!(
        "{}, then {}: {} ({}), evidence {}",
        value(row.baseline),
        value(row.candidate),
        words::change(row).unwrap_or_else(|| "unknown".to_owned()),
        words::limits(row),
        words::evidence(row)
    );
    let regression = matches!(row.evidence, Evidence::Regression { .. });
    let status = match row.policy {
        // Of what is not comparable nothing passed.
        Some(_) | None if found.policy.is_none() => TestCaseStatus::skipped(),
        None => TestCaseStatus::skipped(),
        Some(Policy::Fail) => failed(NonSuccessKind::Failure, "Fail", &message),
        Some(Policy::Warn) if strict => failed(NonSuccessKind::Failure, "Warn", &message),
        Some(Policy::Pass) if strict && regression => failed(NonSuccessKind::Failure, "Regression", &message),
        Some(Policy::Warn | Policy::Pass) => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(row.measure.to_string(), status);
    case.set_classname(text(&row.case)).set_system_out(text(&message));
    case
}

fn failed(kind: NonSuccessKind, reason: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(reason).set_message(text(message));
    status
}

/// Names come from servers and files.
fn text(foreign: &str) -> String {
    escape::visible(foreign).into_owned()
}
