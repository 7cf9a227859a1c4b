//! Carries out one judgement: finds both sides, compares them, keeps the verdict. Decides neither when nor by
//! which thresholds.

use super::context::{Context, timestamp};
use super::execute::ExecuteError;
use crate::decide::action::{NewBaseline, NewJudgement};
use crate::decide::observed::{Observed, Record};
use crate::plan::comparison::{Comparison, compare};
use crate::report::{comparands, judged_by};
use crate::request::baseline::TiedTo;
use crate::request::gate::{ComparedWith, Rules, RunSource};
use crate::request::valid::Spec;
use crate::run::phase::Phase;
use crate::run::reason::{Reason, Refusal};
use crate::store::baselines::{Baseline, Scope};
use crate::store::judgements::{self, Judgement};
use crate::store::runs::{Filter, RunRow};
use crate::store::{Store, StoreError, baselines, commands, requests};

/// The run that a source means; of a request the newest completed one, older than `before` where that is one
/// of the same request.
///
/// # Errors
/// The store's own; inside, why there is none.
pub fn source(
    store: &Store,
    source: &RunSource,
    before: Option<&RunRow>,
) -> Result<Result<RunRow, Refusal>, StoreError> {
    match source {
        RunSource::Run(id) => Ok(store.run(*id)?.ok_or_else(|| {
            Refusal::new(Reason::RunUnknown, format!("there is no run {id}"))
                .hint("`benchlet history` lists the runs")
        })),
        RunSource::LatestOf { request } => {
            let up_to = before.filter(|row| row.request == *request).map(|row| row.seq.saturating_sub(1));
            let filter = Filter {
                request: Some(request.clone()),
                phase: Some(Phase::Completed),
                up_to,
                limit: 1,
                ..Filter::default()
            };
            let other = if up_to.is_some() { "another completed run" } else { "a completed run" };
            Ok(store.runs(&filter)?.pop().ok_or_else(|| {
                Refusal::new(Reason::RunUnknown, format!("{request} does not have {other} yet"))
                    .hint("it is looked for again whenever a run ends")
            }))
        }
    }
}

/// What a candidate is compared with.
///
/// # Errors
/// The store's own; inside, why there is nothing.
pub fn other_side(
    store: &Store,
    with: &ComparedWith,
    candidate: &RunRow,
) -> Result<Result<RunRow, Refusal>, StoreError> {
    match with {
        ComparedWith::Run(of) => source(store, of, Some(candidate)),
        ComparedWith::Baseline(name) => {
            let Some(found) = store.baseline_for(name, &candidate.request, &candidate.service)? else {
                let message = format!("there is no baseline {name} for {}", candidate.request);
                return Ok(Err(Refusal::new(Reason::NoBaseline, message).hint(format!(
                    "`benchlet baseline set {name} --from {}` makes its newest run one",
                    candidate.request
                ))));
            };
            source(store, &RunSource::Run(found.run), None)
        }
    }
}

/// # Errors
/// The store's own; the judgement is made again then.
pub async fn judge(context: &Context, observed: &Observed, new: &NewJudgement) -> Result<(), ExecuteError> {
    let Some(record) = observed.record.clone() else { return Ok(()) };
    let (store, job) = (context.store.clone(), new.clone());
    let now = timestamp(observed.now.unix_ms);
    let made = tokio::task::spawn_blocking(move || judgement(&store, &record, &job, now)).await;
    let judged = made.map_err(|error| ExecuteError::Unavailable(error.to_string()))??;
    let new = new.clone();
    context
        .store
        .write(move |connection| {
            judgements::save(connection, &judged)?;
            if let Some((hash, rerun)) = &new.satisfied {
                requests::satisfy(connection, &new.uid, Some(hash), rerun.as_deref())?;
            }
            if let Some(command) = new.command {
                commands::answer(connection, command, "judged", Some(judged.run), &judged.created_at)?;
            }
            Ok(())
        })
        .await?;
    Ok(())
}

fn judgement(
    store: &Store,
    record: &Record,
    new: &NewJudgement,
    created_at: String,
) -> Result<Judgement, StoreError> {
    let (with, rules) = if let Spec::Comparison(spec) = &record.spec {
        (spec.baseline.clone(), spec.rules.clone())
    } else if let Some(gate) = &record.control.gate {
        (ComparedWith::Baseline(gate.baseline.clone()), gate.rules.clone())
    } else {
        return Err(StoreError::Refused("there is no gate any more".to_owned()));
    };
    let candidate = store.run(new.run)?;
    let mut baseline_run = None;
    let comparison = match &candidate {
        None => Err(format!("the run {} is not there any more", new.run)),
        Some(candidate) => match other_side(store, &with, candidate)? {
            Err(refusal) => Err(words(refusal)),
            Ok(baseline) => {
                baseline_run = Some(baseline.id);
                sides(store, &with, &baseline, candidate, &rules)?
            }
        },
    };
    Ok(Judgement {
        request_uid: record.uid,
        request: record.name.clone(),
        run: new.run,
        gate_hash: new.gate_hash.clone(),
        baseline_run,
        against: label(&with),
        strict: rules.strict,
        comparison,
        created_at,
    })
}

fn sides(
    store: &Store,
    with: &ComparedWith,
    baseline: &RunRow,
    candidate: &RunRow,
    rules: &Rules,
) -> Result<Result<Comparison, String>, StoreError> {
    if baseline.id == candidate.id {
        return Ok(Err(format!("the run is {} itself, so there is nothing to judge", label(with))));
    }
    let built = comparands::of_run(store, baseline, &label(with))
        .and_then(|before| Ok((before, comparands::of_run(store, candidate, &candidate.request)?)));
    match built {
        Ok((before, after)) => {
            let noise = judged_by::noise_of(store, candidate)?;
            let mut found = compare(&before, &after, rules, &noise, false);
            // What nobody judges can be compared again at any time.
            found.rows.retain(|row| row.threshold.is_some());
            Ok(Ok(found))
        }
        Err(comparands::ComparandError::Store(error)) => Err(error),
        Err(other) => Ok(Err(other.to_string())),
    }
}

fn words(refusal: Refusal) -> String {
    match refusal.hint {
        Some(hint) => format!("{} ({hint})", refusal.message),
        None => refusal.message,
    }
}

/// How people call what a comparison is with.
fn label(with: &ComparedWith) -> String {
    match with {
        ComparedWith::Baseline(name) => name.clone(),
        ComparedWith::Run(RunSource::LatestOf { request }) => format!("{request} before"),
        ComparedWith::Run(RunSource::Run(id)) => format!("run {}", &id.to_string()[..8]),
    }
}

/// Pins a run under a name, with what its request counts as satisfied.
///
/// # Errors
/// The store's own, or a run that was deleted meanwhile.
pub async fn pin(context: &Context, observed: &Observed, new: NewBaseline) -> Result<(), ExecuteError> {
    let Some(row) = context.store.run(new.run)? else {
        return Err(ExecuteError::Unavailable(format!("the run {} is not there any more", new.run)));
    };
    let now = timestamp(observed.now.unix_ms);
    let scope = match new.tied_to {
        TiedTo::Request => Scope::Request(row.request.clone()),
        TiedTo::Service => Scope::Service(row.service.clone()),
    };
    context
        .store
        .write(move |connection| {
            let baseline = Baseline {
                name: new.name,
                scope,
                run: new.run,
                set_by: Some(new.request),
                created_at: now.clone(),
            };
            baselines::set(connection, &baseline, &now)?;
            let (hash, rerun) = &new.satisfied;
            requests::satisfy(connection, &new.uid, Some(hash), rerun.as_deref())?;
            if let Some(command) = new.command {
                commands::answer(connection, command, "pinned", Some(new.run), &now)?;
            }
            Ok(())
        })
        .await?;
    Ok(())
}
