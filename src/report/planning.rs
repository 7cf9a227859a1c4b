//! From the store to estimates and rankings: which rows are read for which question. The command line and the
//! API ask here.

use super::load_status;
use crate::plan::estimate::{Estimate, Unanswered, Workload, estimate};
use crate::plan::measured_rate::{MeasuredRow, answering};
use crate::plan::model_ranking::{Order, Ranked, rank};
use crate::plan::target_ranking::{TargetRanking, compare_targets};
use crate::plan::worker_sweep::{WorkerSweep, worker_sweep};
use crate::request::imported::Measured;
use crate::request::valid::Spec;
use crate::store::model_history::MeasuredModel;
use crate::store::runs::RunRow;
use crate::store::{Store, StoreError};

/// Why a question about models has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PlanningError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no model {model}")]
    NoModel {
        model: String,
        /// Every model that answers.
        known: Vec<String>,
    },
    #[error("the model {model} was only simulated")]
    OnlySimulated { model: String },
    #[error("the model {model} cannot be planned with: {why}")]
    Unanswered { model: String, why: Unanswered },
    #[error("the run {run} is no load test that has measured anything")]
    NoLoadTest { run: uuid::Uuid },
}

/// One model in full.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDetails {
    /// Where any of its rows answers.
    pub measured: Option<MeasuredModel>,
    /// The newest rows, those that do not answer included.
    pub rows: Vec<MeasuredRow>,
    pub sweep: Option<WorkerSweep>,
}

/// A ranking with the models that take no part.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    pub ranked: Vec<Ranked>,
    pub refused: Vec<(String, Unanswered)>,
}

/// The best row of a model's newest run.
pub fn current(model: &MeasuredModel) -> Option<&MeasuredRow> {
    answering(&model.newest, None).ok()
}

/// # Errors
/// No such model.
pub fn details(
    store: &Store,
    model: &str,
    simulated: bool,
    limit: u32,
) -> Result<ModelDetails, PlanningError> {
    let rows = store.rows_of_model(model, simulated, limit)?;
    if rows.is_empty() {
        return Err(no_model(store, model, simulated)?);
    }
    let measured = store.measured_models(Some(model), simulated)?.pop();
    Ok(ModelDetails { measured, rows, sweep: worker_sweep(&store.newest_sweep(model, simulated)?) })
}

/// How long a workload takes on one model: by the best row of its newest run, or by the newest one with that many
/// workers.
///
/// # Errors
/// No such model, or none that can answer.
pub fn estimate_model(
    store: &Store,
    model: &str,
    workers: Option<u64>,
    workload: &Workload,
    simulated: bool,
) -> Result<Estimate, PlanningError> {
    let unanswered = |why| PlanningError::Unanswered { model: model.to_owned(), why };
    let Some(measured) = store.measured_models(Some(model), simulated)?.pop() else {
        if store.rows_of_model(model, simulated, 1)?.is_empty() {
            return Err(no_model(store, model, simulated)?);
        }
        return Err(unanswered(Unanswered::NotMeasured));
    };
    let rows = match workers {
        None => measured.newest,
        Some(workers) => store.newest_with_workers(model, workers, simulated)?,
    };
    if workers.is_some() && rows.is_empty() {
        let measured = store.worker_counts(model, simulated)?;
        return Err(unanswered(Unanswered::NotAtWorkers { measured }));
    }
    let basis = answering(&rows, workload.context).map_err(unanswered)?;
    estimate(basis, &store.history_like(basis)?, workload).map_err(unanswered)
}

/// Every model beside each other.
///
/// # Errors
/// The store's own.
pub fn rank_models(
    store: &Store,
    workload: &Workload,
    order: Order,
    simulated: bool,
) -> Result<Ranking, PlanningError> {
    let mut estimates = Vec::new();
    let mut refused = Vec::new();
    for model in store.measured_models(None, simulated)? {
        let answered = match answering(&model.newest, workload.context) {
            Ok(basis) => estimate(basis, &store.history_like(basis)?, workload),
            Err(why) => Err(why),
        };
        match answered {
            Ok(made) => estimates.push(made),
            Err(why) => refused.push((model.name, why)),
        }
    }
    Ok(Ranking { ranked: rank(estimates, order), refused })
}

/// A load test's targets beside each other.
///
/// # Errors
/// A run of another kind, or one without a case.
pub fn rank_targets(store: &Store, run: &RunRow) -> Result<TargetRanking, PlanningError> {
    let cases = match &run.spec {
        Spec::LoadTest(_) => load_status::cases(&store.cases(run.id)?),
        Spec::Imported(spec) => match spec.measured {
            Measured::LoadTest => load_status::cases(&store.cases(run.id)?),
            Measured::LlamaBench | Measured::Conversation => Vec::new(),
        },
        Spec::LlamaBench(_) | Spec::Apply(_) | Spec::Model(_) | Spec::Baseline(_) | Spec::Comparison(_) => {
            Vec::new()
        }
    };
    if cases.is_empty() {
        return Err(PlanningError::NoLoadTest { run: run.id });
    }
    Ok(compare_targets(&cases))
}

fn no_model(store: &Store, model: &str, simulated: bool) -> Result<PlanningError, StoreError> {
    let names = store.measured_names()?;
    if !simulated && names.iter().any(|(name, made_up)| *made_up && name == model) {
        return Ok(PlanningError::OnlySimulated { model: model.to_owned() });
    }
    let known =
        names.into_iter().filter(|(_, made_up)| *made_up == simulated).map(|(name, _)| name).collect();
    Ok(PlanningError::NoModel { model: model.to_owned(), known })
}
