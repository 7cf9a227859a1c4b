//! Gathers everything that one pass may know. Looks; decides and changes nothing.

use std::path::Path;

use super::context::Context;
use super::surroundings::{Asked, Place, find_service, look_around, look_around_load};
use super::{improvement, judging_sight, measure};
use crate::decide::observed::{
    ApplyView, Document, Judging, Observed, OtherRun, OwedApply, Refusal, Run, World,
};
use crate::plan::{llama_bench_command, load_plan};
use crate::request::llama_bench::LlamaBench;
use crate::request::load_test::LoadTest;
use crate::request::valid::Spec;
use crate::run::phase::RunState;
use crate::run::plan::Blueprint;
use crate::run::step::{TaskId, TaskState};
use crate::store::runs::RunRow;
use crate::store::{Store, StoreError};

/// What the loop knows by itself when a pass begins.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub name: String,
    pub document: Document,
    pub listed: bool,
    pub orders_only: bool,
    pub degraded: Option<String>,
}

/// # Errors
/// The store's own; the pass is tried again.
pub async fn observe(context: &Context, snapshot: Snapshot) -> Result<Observed, StoreError> {
    let name = snapshot.name;
    let store = &context.store;
    let open = store.open_runs()?;
    let (own, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|run| run.request == name);
    let record = store.request(&name)?;
    let mut world = World {
        listed: snapshot.listed,
        orders_only: snapshot.orders_only,
        degraded: snapshot.degraded,
        others: others.iter().map(other).collect(),
        foreign: Vec::new(),
        disturbing: None,
    };
    let run = match own.into_iter().next() {
        None => None,
        Some(row) => {
            world.disturbing = context.jobs.disturbing(row.id);
            let run = observe_run(context, row).await?;
            if let Some(Ok(blueprint)) = &run.resolution {
                world.foreign = context.claims.foreign(&blueprint.claims);
            }
            Some(run)
        }
    };
    let applies = store.open_applies_of(&name)?;
    let commands = store.commands_for(&name)?;
    let judging = match &record {
        Some(record) if run.is_none() && !record.deleted => {
            judging_sight::look(store, record, !commands.is_empty())?
        }
        Some(_) | None => Judging::Nothing,
    };
    Ok(Observed {
        now: context.now(),
        document: snapshot.document,
        record,
        run,
        owed_applies: owed_applies(store, &name)?,
        applies: applies.into_iter().map(|id| ApplyView { id, working: context.is_applying(id) }).collect(),
        commands,
        judging,
        world,
        fresh: context.random(),
        name,
    })
}

fn other(row: &RunRow) -> OtherRun {
    OtherRun {
        request: row.request.clone(),
        service: row.service.clone(),
        phase: row.state.phase(),
        measures: row.spec.measures(),
        claims: row.blueprint.as_ref().map(|blueprint| blueprint.claims.clone()).unwrap_or_default(),
    }
}

/// One after the other is applied, so only of the first it is asked whether it is good enough.
fn owed_applies(store: &Store, name: &str) -> Result<Vec<OwedApply>, StoreError> {
    let mut owed = Vec::new();
    for (run, inline) in store.owed_applies(name)? {
        let refused = match &inline.improved {
            Some(wanted) if owed.is_empty() => improvement::refusal(store, run, wanted)?,
            Some(_) | None => None,
        };
        owed.push(OwedApply { run, options: inline.options, refused });
    }
    Ok(owed)
}

async fn observe_run(context: &Context, row: RunRow) -> Result<Run, StoreError> {
    let resolution = match (&row.state, &row.spec) {
        (RunState::Pending, Spec::LlamaBench(spec)) => Some(resolve(context, &row, spec).await?),
        (RunState::Pending, Spec::LoadTest(spec)) => Some(resolve_load(context, &row, spec).await),
        (
            RunState::Pending
            | RunState::Preparing { .. }
            | RunState::Running { .. }
            | RunState::Collecting { .. }
            | RunState::Ended(_),
            Spec::LlamaBench(_)
            | Spec::LoadTest(_)
            | Spec::Apply(_)
            | Spec::Model(_)
            | Spec::Baseline(_)
            | Spec::Comparison(_)
            | Spec::Imported(_),
        ) => None,
    };
    let task = match current_task(&row) {
        None => None,
        Some((id, blueprint)) => Some(match context.executor(blueprint.executor).await {
            Ok(executor) => {
                let spool = context.spool(&id);
                measure::with_refusal(executor.observe(&id, &spool).await, &spool)
            }
            Err(reason) => TaskState::Unknown { reason },
        }),
    };
    let ordered = row.state == RunState::Pending && context.store.is_ordered(row.id)?;
    Ok(Run {
        ordered,
        jobs: context.jobs.statuses(row.id),
        id: row.id,
        spec: row.spec,
        spec_hash: row.spec_hash,
        timeout_ms: row.timeout_ms,
        backoff_limit: row.backoff_limit,
        attempt: row.attempt,
        faults: row.faults,
        failures: row.failures,
        state: row.state,
        blueprint: row.blueprint,
        plan: row.plan,
        resolution,
        task,
    })
}

/// The task of the step at which a Running run stands, if that step has one.
pub fn current_task(row: &RunRow) -> Option<(TaskId, &Blueprint)> {
    let RunState::Running { step, .. } = &row.state else {
        return None;
    };
    let blueprint = row.blueprint.as_ref()?;
    let task = row.plan.as_ref()?.steps.get(*step as usize)?.task()?;
    Some((TaskId { run: row.id, attempt: row.attempt, step: *step, role: task.id.role }, blueprint))
}

async fn place(context: &Context) -> Place<'_> {
    Place {
        settings: &context.settings,
        store: Some(&context.store),
        docker: context.docker.get().await,
        instance: &context.instance,
    }
}

async fn resolve_load(context: &Context, row: &RunRow, spec: &LoadTest) -> Result<Box<Blueprint>, Refusal> {
    let place = place(context).await;
    let asked = Asked { run: row.id, request: &row.request, timeout_ms: row.timeout_ms };
    let around = look_around_load(&place, &asked, spec, Path::new(&row.request_path)).await;
    load_plan::resolve(spec, &around).map(Box::new)
}

async fn resolve(
    context: &Context,
    row: &RunRow,
    spec: &LlamaBench,
) -> Result<Result<Box<Blueprint>, Refusal>, StoreError> {
    let service = match find_service(&context.settings, &spec.service).await {
        Ok(service) => service,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let place = place(context).await;
    let asked = Asked { run: row.id, request: &row.request, timeout_ms: row.timeout_ms };
    let around = look_around(&place, &asked, spec, &service).await?;
    Ok(llama_bench_command::resolve(spec, &service, &around).map(Box::new))
}
