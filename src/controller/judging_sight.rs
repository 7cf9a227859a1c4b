//! What there is to judge or to pin for a request: looked up before the decision, judged by nobody here.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::judge;
use crate::decide::observed::{Judging, Record};
use crate::report::comparands;
use crate::request::gate::{ComparedWith, RunSource};
use crate::request::valid::Spec;
use crate::run::reason::{Reason, Refusal};
use crate::store::runs::RunRow;
use crate::store::{Store, StoreError};

/// `ordered`: a command waits for the request.
///
/// # Errors
/// The store's own.
pub fn look(store: &Store, record: &Record, ordered: bool) -> Result<Judging, StoreError> {
    match (&record.spec, &record.control.gate) {
        // It pins once; nothing has to be read for one that has.
        (Spec::Baseline(_), _) if !ordered && is_satisfied(record) => Ok(Judging::Nothing),
        (Spec::Baseline(spec), _) => {
            let found = match judge::source(store, &spec.source, None)? {
                Ok(row) => match comparands::fit_for_baseline(store, &row) {
                    Ok(()) => Ok(row.id),
                    Err(unfit) => Err(Refusal::new(Reason::NotComparable, unfit.to_string())),
                },
                Err(refusal) => Err(refusal),
            };
            Ok(Judging::Pinnable(found))
        }
        (Spec::Comparison(spec), _) => match judge::source(store, &spec.candidate, None)? {
            Ok(candidate) => {
                let token = record.control.rerun.as_deref().unwrap_or_default();
                let gate_hash = format!("{}{token}", digest(spec));
                due(store, record, &candidate, gate_hash, &spec.baseline)
            }
            Err(refusal) => Ok(Judging::NoRun(refusal)),
        },
        (
            Spec::LlamaBench(_) | Spec::LoadTest(_) | Spec::Apply(_) | Spec::Model(_) | Spec::Imported(_),
            Some(gate),
        ) => {
            let newest = RunSource::LatestOf { request: record.name.clone() };
            match judge::source(store, &newest, None)? {
                Ok(candidate) => {
                    let with = ComparedWith::Baseline(gate.baseline.clone());
                    due(store, record, &candidate, digest(gate), &with)
                }
                Err(refusal) => Ok(Judging::NoRun(refusal)),
            }
        }
        (
            Spec::LlamaBench(_) | Spec::LoadTest(_) | Spec::Apply(_) | Spec::Model(_) | Spec::Imported(_),
            None,
        ) => Ok(Judging::Nothing),
    }
}

fn is_satisfied(record: &Record) -> bool {
    let token = record.control.rerun.as_ref();
    record.satisfied_hash.as_ref() == Some(&record.spec_hash)
        && token.is_none_or(|token| record.satisfied_rerun.as_ref() == Some(token))
}

/// A verdict without a baseline gives way once there is one.
fn due(
    store: &Store,
    record: &Record,
    candidate: &RunRow,
    gate_hash: String,
    with: &ComparedWith,
) -> Result<Judging, StoreError> {
    let run: Uuid = candidate.id;
    // The newest one is what everybody is shown: a gate that was edited and edited back judges again.
    let newest = store.judgements(&record.name, 1)?.pop();
    let judged = match newest.filter(|known| known.run == run && known.gate_hash == gate_hash) {
        None => false,
        Some(known) if known.baseline_run.is_some() => true,
        Some(_) => judge::other_side(store, with, candidate)?.is_err(),
    };
    Ok(if judged { Judging::Judged { run } } else { Judging::Due { run, gate_hash } })
}

fn digest(value: &impl serde::Serialize) -> String {
    // Nothing in it fails to serialise; were it so, it would be judged once under an empty key.
    let text = serde_json::to_vec(value).unwrap_or_default();
    Sha256::digest(&text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
