//! By what a run is judged where nobody says more: the rules of its request's gate, the baseline that goes with
//! it, and the noise of its host. Judges nothing.

use super::comparands;
use crate::plan::compared_figure::NoiseFloors;
use crate::request::gate::Rules;
use crate::store::runs::RunRow;
use crate::store::{Store, StoreError};

/// The baseline's name and the rules of the candidate's request; without a gate the only baseline that there is
/// for it, else `main`, and the defaults.
///
/// # Errors
/// The store's own.
pub fn gate_of(store: &Store, candidate: &RunRow) -> Result<(String, Rules), StoreError> {
    let gate = store.request(&candidate.request)?.and_then(|record| record.control.gate);
    if let Some(gate) = gate {
        return Ok((gate.baseline, gate.rules));
    }
    let mut own = store.baselines()?;
    own.retain(|baseline| {
        let subject = baseline.scope.subject();
        subject == candidate.request || subject == candidate.service
    });
    let name = match own.as_slice() {
        [only] => only.name.clone(),
        [] | [..] => "main".to_owned(),
    };
    Ok((name, Rules::default()))
}

/// How much the candidate's figures differ between runs on its host, as far as `benchlet noise` measured it.
///
/// # Errors
/// The store's own.
pub fn noise_of(store: &Store, candidate: &RunRow) -> Result<NoiseFloors, StoreError> {
    store.noise_floors(&comparands::host_of(candidate), &candidate.request)
}
