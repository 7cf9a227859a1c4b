//! Gathers everything that one pass may know. Looks; decides and changes nothing.

use std::path::PathBuf;

use uuid::Uuid;

use super::context::{Context, find_program, is_executable};
use super::measure;
use crate::decide::observed::{ApplyView, Document, Observed, OtherRun, OwedApply, Refusal, Run, World};
use crate::executor::ContainerRunState;
use crate::plan::llama_bench_command::{self, HostModel, Surroundings};
use crate::plan::service::{ModelReference, Service, ServiceKind};
use crate::request::flags::Param;
use crate::request::llama_bench::{LlamaBench, ParamsFrom};
use crate::request::valid::Spec;
use crate::run::phase::RunState;
use crate::run::plan::{Blueprint, Step};
use crate::run::reason::Reason;
use crate::run::step::{TaskId, TaskState};
use crate::service::catalogue::Catalogue;
use crate::store::StoreError;
use crate::store::runs::RunRow;

/// What the loop knows by itself when a pass begins.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub name: String,
    pub document: Document,
    pub listed: bool,
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
    Ok(Observed {
        now: context.now(),
        document: snapshot.document,
        record,
        run,
        owed_applies: store
            .owed_applies(&name)?
            .into_iter()
            .map(|(run, options)| OwedApply { run, options })
            .collect(),
        applies: applies.into_iter().map(|id| ApplyView { id, working: context.is_applying(id) }).collect(),
        commands: store.commands_for(&name)?,
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
        claims: row.blueprint.as_ref().map(|blueprint| blueprint.claims.clone()).unwrap_or_default(),
    }
}

async fn observe_run(context: &Context, row: RunRow) -> Result<Run, StoreError> {
    let resolution = match (&row.state, &row.spec) {
        (RunState::Pending, Spec::LlamaBench(spec)) => Some(resolve(context, &row, spec).await?),
        (
            RunState::Pending
            | RunState::Preparing { .. }
            | RunState::Running { .. }
            | RunState::Collecting { .. }
            | RunState::Ended(_),
            Spec::LlamaBench(_) | Spec::Apply(_),
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
    match row.plan.as_ref()?.steps.get(*step as usize)? {
        Step::Bench { task, .. } => {
            let id = TaskId { run: row.id, attempt: row.attempt, step: *step, role: task.id.role };
            Some((id, blueprint))
        }
        Step::StopService { .. } | Step::StartService { .. } => None,
    }
}

async fn resolve(
    context: &Context,
    row: &RunRow,
    spec: &LlamaBench,
) -> Result<Result<Box<Blueprint>, Refusal>, StoreError> {
    let service = match find_service(context, &spec.service).await {
        Ok(service) => service,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let around = surroundings(context, row.id, &row.request, spec, &service, row.timeout_ms).await?;
    Ok(llama_bench_command::resolve(spec, &service, &around).map(Box::new))
}

/// The service by its name, from the files as they are now.
///
/// # Errors
/// Which files were looked at, and what is wrong with them.
pub async fn find_service(context: &Context, name: &str) -> Result<Service, Refusal> {
    if name == SIMULATED {
        return Ok(simulated_service());
    }
    let catalogue = catalogue(context).await;
    match catalogue.get(name) {
        Some(service) => Ok(service.clone()),
        None => Err(unknown_service(context, &catalogue, name)),
    }
}

/// The services as the files define them now.
pub async fn catalogue(context: &Context) -> Catalogue {
    let (compose, services) = (context.settings.compose.clone(), context.settings.services.clone());
    let environment = std::env::vars().collect();
    tokio::task::spawn_blocking(move || Catalogue::load(&compose, &services, &environment))
        .await
        .unwrap_or_default()
}

/// The name of the service that is benchlet's own stand-in.
pub const SIMULATED: &str = "simulated";

fn simulated_service() -> Service {
    Service {
        name: SIMULATED.to_owned(),
        kind: ServiceKind::Simulated,
        model: ModelReference::Unknown,
        ..Service::default()
    }
}

fn unknown_service(context: &Context, catalogue: &Catalogue, name: &str) -> Refusal {
    let files: Vec<String> = context
        .settings
        .compose
        .iter()
        .chain(&context.settings.services)
        .map(|path| path.display().to_string())
        .collect();
    let mut message = format!("there is no service {name} in {}", files.join(", "));
    let problems = catalogue.problems().iter().map(ToString::to_string).collect::<Vec<_>>();
    if !problems.is_empty() {
        message.push_str(&format!(": {}", problems.join("; ")));
    }
    let names: Vec<&str> = catalogue.names().collect();
    let hint = crate::request::diagnostic::did_you_mean(name, names.iter().copied()).unwrap_or_else(|| {
        if names.is_empty() {
            format!("name your compose file with --compose, or try the service {SIMULATED}")
        } else {
            format!("there are {}", names.join(", "))
        }
    });
    Refusal::new(Reason::ServiceUnknown, message).hint(hint)
}

pub async fn surroundings(
    context: &Context,
    run: Uuid,
    request: &str,
    spec: &LlamaBench,
    service: &Service,
    timeout_ms: u64,
) -> Result<Surroundings, StoreError> {
    let settings = &context.settings;
    let docker = context.docker.check().await;
    let running = match (&docker, context.docker.get().await) {
        (Ok(()), Ok(link)) if service.kind != ServiceKind::Simulated => {
            let origin = &service.origin;
            let found = link
                .service_containers(
                    origin.project.as_deref(),
                    &service.name,
                    origin.container_name.as_deref(),
                )
                .await
                .unwrap_or_default();
            found
                .into_iter()
                .filter(|container| container.state == ContainerRunState::Running)
                .map(|container| container.id)
                .collect()
        }
        _ => Vec::new(),
    };
    let process = match &settings.llama_bench {
        Some(path) if is_executable(path) => Ok(path.clone()),
        Some(path) => Err(format!("{} is no program", path.display())),
        None => find_program("llama-bench").ok_or_else(|| "llama-bench is not on the PATH".to_owned()),
    };
    Ok(Surroundings {
        run,
        request: request.to_owned(),
        instance: context.instance.clone(),
        docker,
        process,
        earlier_params: earlier_params(context, spec)?,
        model: host_model(service),
        running,
        simulator: vec![own_program(), "sim".to_owned(), "llama-bench".to_owned()],
        timeout_ms,
        preparing_ms: settings.preparing_timeout_seconds.saturating_mul(1000),
    })
}

/// This program as it was started; where its file has been replaced meanwhile, the one that runs.
fn own_program() -> String {
    let path = std::env::current_exe().ok().filter(|path| path.is_file());
    path.unwrap_or_else(|| PathBuf::from("/proc/self/exe")).to_string_lossy().into_owned()
}

fn earlier_params(context: &Context, spec: &LlamaBench) -> Result<Result<Vec<Param>, String>, StoreError> {
    let row = match &spec.params_from {
        None | Some(ParamsFrom::Service) => return Ok(Ok(Vec::new())),
        Some(ParamsFrom::LastRun) => match context.store.last_planned_run(&spec.service)? {
            Some(row) => row,
            None => return Ok(Err(format!("the service {} has no earlier run", spec.service))),
        },
        Some(ParamsFrom::Run(id)) => match context.store.run(*id)? {
            Some(row) => row,
            None => return Ok(Err(format!("there is no run {id}"))),
        },
    };
    Ok(row.blueprint.map(|blueprint| blueprint.params).ok_or_else(|| "the run has no parameters".to_owned()))
}

fn host_model(service: &Service) -> Option<HostModel> {
    use std::os::unix::fs::MetadataExt as _;
    let ModelReference::File(path) = &service.model else {
        return None;
    };
    let path = service
        .host_path(path)
        .or_else(|| Some(PathBuf::from(path)).filter(|_| service.container.image.is_empty()))?;
    let found = std::fs::metadata(&path).ok()?;
    Some(HostModel { path, uid: found.uid(), gid: found.gid() })
}
