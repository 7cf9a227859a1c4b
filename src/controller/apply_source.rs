//! Which run an apply is about: the one it names, or the newest or best one of a request. Only runs
//! that completed and really measured will do.

use uuid::Uuid;

use super::apply_job::{ApplyContext, store_refusal};
use crate::request::apply::ApplySource;
use crate::request::valid::Spec;
use crate::run::phase::Phase;
use crate::run::reason::{Reason, Refusal};
use crate::store::runs::{Filter, RunRow};

/// The run that is to be applied; one that was resolved before stays it.
///
/// # Errors
/// `RunUnknown`, `RunNotCompleted`, or `NothingToApply` for a simulated one.
pub fn resolve(around: &ApplyContext, known: Option<Uuid>, source: &ApplySource) -> Result<RunRow, Refusal> {
    let id = match (known, source) {
        (Some(run), _) => run,
        (None, ApplySource::Run(run)) => *run,
        (None, ApplySource::LatestOf { request }) => return latest(around, request),
        (None, ApplySource::BestOf { request, metric }) => {
            let best = around.store.best_run(request, metric.as_str()).map_err(store_refusal)?;
            best.ok_or_else(|| {
                let message =
                    format!("no completed run of {request} has a {} to be the best by", metric.as_str());
                Refusal::new(Reason::RunUnknown, message)
                    .hint("a matrix has no single figure: apply it with run: ID and a case or metric")
            })?
        }
    };
    let run = around.store.run(id).map_err(store_refusal)?.ok_or_else(|| {
        Refusal::new(Reason::RunUnknown, format!("there is no run {id}"))
            .hint("`benchlet history` lists the runs")
    })?;
    match run.state.phase() {
        Phase::Completed if run.simulated => {
            let message = format!("the run {id} is simulated, so its figures say nothing about the service");
            Err(Refusal::new(Reason::NothingToApply, message).hint("measure the service itself"))
        }
        Phase::Completed if matches!(run.spec, Spec::Imported(_)) => {
            let message = format!("the run {id} was imported, so no service here had its configuration");
            Err(Refusal::new(Reason::NothingToApply, message)
                .hint("measure the service itself, and apply that"))
        }
        Phase::Completed => Ok(run),
        phase @ (Phase::Pending
        | Phase::Preparing
        | Phase::Running
        | Phase::Collecting
        | Phase::Failed
        | Phase::Cancelled) => {
            let message = format!("the run {id} is {} and not Completed", phase.as_str());
            Err(Refusal::new(Reason::RunNotCompleted, message).hint("apply a run that completed"))
        }
    }
}

/// The newest completed run of a request that really measured.
fn latest(around: &ApplyContext, request: &str) -> Result<RunRow, Refusal> {
    let any = Filter { request: Some(request.to_owned()), limit: 1, ..Filter::default() };
    let measured = Filter { phase: Some(Phase::Completed), simulated: Some(false), ..any.clone() };
    if let Some(run) = around.store.runs(&measured).map_err(store_refusal)?.pop() {
        return Ok(run);
    }
    let known = !around.store.runs(&any).map_err(store_refusal)?.is_empty();
    Err(if known {
        Refusal::new(Reason::RunNotCompleted, format!("no run of {request} has completed yet"))
            .hint(format!("`benchlet describe {request}` says how its runs ended"))
    } else {
        Refusal::new(Reason::RunUnknown, format!("{request} has no run"))
            .hint("`benchlet get` lists the requests")
    })
}
