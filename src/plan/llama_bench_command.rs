//! From a LlamaBench spec and its service to the exact command: parameters, program, container,
//! devices. Pure; what has to be looked up comes in as [`Surroundings`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use uuid::Uuid;

use super::bench_params::parameters;
use super::docker_command::command_line;
use super::flag_map;
use super::service::{ModelReference, Service, ServiceKind};
use crate::request::flags::Param;
use crate::request::llama_bench::{Conflict, ExecutorChoice, LlamaBench};
use crate::run::plan::{Blueprint, ExecutorKind, PLAN_VERSION, Plan, Prepared, Step};
use crate::run::reason::{Reason, Refusal};
use crate::run::step::{ContainerSpec, GpuRequest, GpuSelection, MountSource, Role, TaskId, TaskSpec};

/// What had to be looked up.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub run: Uuid,
    pub request: String,
    pub instance: String,
    /// Why Docker cannot be used, or `Ok`.
    pub docker: Result<(), String>,
    /// llama-bench on this machine, or why there is none.
    pub process: Result<PathBuf, String>,
    /// Parameters of the earlier run that `paramsFrom` names.
    pub earlier_params: Result<Vec<Param>, String>,
    /// The model on this machine, if it can be seen from here.
    pub model: Option<HostModel>,
    /// Running containers of the service itself.
    pub running: Vec<String>,
    /// benchlet's own stand-in for llama-bench.
    pub simulator: Vec<String>,
    pub timeout_ms: u64,
    pub preparing_ms: u64,
}

#[derive(Debug, Clone)]
pub struct HostModel {
    pub path: PathBuf,
    pub uid: u32,
    pub gid: u32,
}

/// Resolves everything that does not need the image.
///
/// # Errors
/// A refusal that says what is missing and where.
pub fn resolve(spec: &LlamaBench, service: &Service, around: &Surroundings) -> Result<Blueprint, Refusal> {
    check_kind(service)?;
    let simulated = service.kind == ServiceKind::Simulated;
    let executor = choose_executor(spec, service, around)?;
    let container = container(spec, service, executor, around)?;
    let model = model_argument(service, executor, around)?;
    let resolved = parameters(spec, service, &around.earlier_params)?;
    let mut warnings = Vec::new();
    let mut stop = Vec::new();
    if !around.running.is_empty() {
        match spec.conflict {
            Conflict::Share => warnings.push(format!(
                "the service {} runs while it is measured and shares its devices (spec.conflict: Share)",
                service.name
            )),
            Conflict::Fail => {
                let message = format!("the service {} is running and spec.conflict is Fail", service.name);
                return Err(Refusal::new(Reason::ServiceRunning, message)
                    .hint("stop it, or set spec.conflict to Share or Stop"));
            }
            Conflict::Stop => stop.clone_from(&around.running),
        }
    }
    if let Some(container) = &container
        && container.nano_cpus.is_some()
        && !resolved.params.iter().any(|param| flag_map::same_flag(&param.flag, "-t"))
    {
        warnings.push("the container's CPUs are limited and -t is not set: llama-bench would use a thread for each CPU of the machine".to_owned());
    }
    let id = TaskId { run: around.run, attempt: 0, step: 0, role: Role::Bench };
    let mut env = service.env.clone();
    let secret = |name: &str, value: &str| {
        crate::plan::service::looks_secret(name) || service.secrets.iter().any(|secret| secret == value)
    };
    env.retain(|name, value| !secret(name, value) && !name.starts_with("LLAMA_ARG_"));
    let mut argv = vec!["-m".to_owned(), model.clone(), "-o".to_owned(), "jsonl".to_owned()];
    for param in &resolved.params {
        argv.push(param.flag.clone());
        if !param.value.is_empty() {
            argv.push(param.value.clone());
        }
    }
    Ok(Blueprint {
        version: PLAN_VERSION,
        service: service.name.clone(),
        executor,
        simulated,
        model,
        model_host_path: around.model.as_ref().map(|model| model.path.clone()),
        claims: claims(service, executor, container.as_ref()),
        template: TaskSpec {
            id,
            argv,
            env,
            container,
            deadline_ms: around.timeout_ms,
            labels: labels(&around.instance, &around.request),
            inputs: BTreeMap::new(),
        },
        tool_candidates: tool_candidates(service, executor, around),
        params: resolved.params,
        dropped: resolved.dropped,
        warnings,
        launches: spec.launches(),
        pull_policy: spec.image_pull_policy,
        preparing_ms: around.preparing_ms,
        stop,
        load: None,
    })
}

/// Freezes the steps once image and tool are known.
pub fn freeze(blueprint: &Blueprint, prepared: &Prepared) -> Plan {
    let mut task = blueprint.template.clone();
    let tool = prepared.tool.as_ref();
    let mut argv = tool.map(|tool| tool.program.clone()).unwrap_or_default();
    argv.append(&mut task.argv);
    let asks_progress = blueprint.params.iter().any(|param| param.flag == "--progress");
    if tool.is_some_and(|tool| tool.knows_progress) && !asks_progress {
        argv.push("--progress".to_owned());
    }
    task.argv = argv;
    let command = command_line(&task, None);
    // The id, because a tag can move between two launches.
    if let (Some(container), Some(image)) = (&mut task.container, &prepared.image) {
        container.image.clone_from(&image.id);
    }
    let mut steps = Vec::new();
    if !blueprint.stop.is_empty() {
        steps.push(Step::StopService { containers: blueprint.stop.clone() });
    }
    for launch in 1..=blueprint.launches {
        steps.push(Step::Bench { launch, task: Box::new(task.clone()) });
    }
    if !blueprint.stop.is_empty() {
        steps.push(Step::StartService { containers: blueprint.stop.clone() });
    }
    let warnings = tool.map(|tool| tool.warnings.clone()).unwrap_or_default();
    Plan { version: PLAN_VERSION, steps, command, warnings }
}

fn check_kind(service: &Service) -> Result<(), Refusal> {
    match service.kind {
        ServiceKind::LlamaCpp | ServiceKind::Simulated => Ok(()),
        ServiceKind::Vllm | ServiceKind::Ollama | ServiceKind::Other => Err(Refusal::new(
            Reason::ServiceNotLlamaCpp,
            format!("the service {} is no llama.cpp service ({})", service.name, service.kind.as_str()),
        )
        .hint("LlamaBench measures llama.cpp services; an engine's HTTP side is measured by a LoadTest")),
    }
}

fn choose_executor(
    spec: &LlamaBench,
    service: &Service,
    around: &Surroundings,
) -> Result<ExecutorKind, Refusal> {
    if service.kind == ServiceKind::Simulated {
        return Ok(ExecutorKind::Process);
    }
    let docker = if service.container.image.is_empty() {
        Err(format!("the service {} names no image", service.name))
    } else {
        around.docker.clone()
    };
    let refuse = |message: String, hint: &str| Err(Refusal::new(Reason::NoExecutor, message).hint(hint));
    match (spec.executor, docker, &around.process) {
        (ExecutorChoice::Auto | ExecutorChoice::Docker, Ok(()), _) => Ok(ExecutorKind::Docker),
        (ExecutorChoice::Auto | ExecutorChoice::Process, _, Ok(_)) => Ok(ExecutorKind::Process),
        (ExecutorChoice::Docker, Err(reason), _) => refuse(
            format!("Docker cannot be used: {reason}"),
            "start the daemon, or set spec.executor to process",
        ),
        (ExecutorChoice::Process, _, Err(reason)) => refuse(
            format!("no llama-bench on this machine: {reason}"),
            "install llama.cpp's tools, or set llama_bench in the settings",
        ),
        (ExecutorChoice::Auto, Err(docker), Err(process)) => refuse(
            format!("neither executor can be used: docker: {docker}; process: {process}"),
            "start the Docker daemon, or install llama.cpp's tools on this machine",
        ),
    }
}

fn container(
    spec: &LlamaBench,
    service: &Service,
    executor: ExecutorKind,
    around: &Surroundings,
) -> Result<Option<ContainerSpec>, Refusal> {
    let gpus = chosen_gpus(spec, service)?;
    match executor {
        ExecutorKind::Process => Ok(None),
        ExecutorKind::Docker => {
            let mut container = ContainerSpec { gpus, ..service.container.clone() };
            for mount in &mut container.mounts {
                // A benchmark writes nothing but its output.
                mount.read_only = !matches!(mount.source, MountSource::Tmpfs);
            }
            if container.user.is_none()
                && !container.privileged
                && let Some(model) = &around.model
            {
                // Root without capabilities cannot read a 0600 file of somebody else.
                container.user = Some(format!("{}:{}", model.uid, model.gid));
            }
            Ok(Some(container))
        }
    }
}

/// The GPUs of the run: the service's own, or the subset that the request names.
fn chosen_gpus(spec: &LlamaBench, service: &Service) -> Result<Option<GpuRequest>, Refusal> {
    let own = service.container.gpus.clone();
    let Some(wanted) = &spec.gpus else {
        return Ok(own);
    };
    let Some(own) = own else {
        let message = format!("spec.gpus names GPUs, and the service {} has none", service.name);
        return Err(Refusal::new(Reason::GpuUnavailable, message)
            .hint("give the service GPUs in the compose file, or take spec.gpus out"));
    };
    let beyond = wanted.iter().find(|gpu| match &own.which {
        GpuSelection::All => false,
        GpuSelection::Count(count) => gpu.parse::<u32>().is_ok_and(|index| index >= *count),
        GpuSelection::Ids(ids) => !ids.contains(gpu),
    });
    if let Some(gpu) = beyond {
        let message = format!("GPU {gpu} is not one of the service {}'s", service.name);
        return Err(Refusal::new(Reason::GpuUnavailable, message)
            .hint("spec.gpus takes a subset of the service's own GPUs"));
    }
    Ok(Some(GpuRequest { which: GpuSelection::Ids(wanted.clone()), ..own }))
}

fn model_argument(
    service: &Service,
    executor: ExecutorKind,
    around: &Surroundings,
) -> Result<String, Refusal> {
    if service.kind == ServiceKind::Simulated {
        return Ok("simulated".to_owned());
    }
    let in_container = match &service.model {
        ModelReference::File(path) => path,
        ModelReference::Hub(name) => {
            let message = format!(
                "the service {} loads {name} from a hub, so there is no model file to measure",
                service.name
            );
            return Err(
                Refusal::new(Reason::ModelUnknown, message).hint("give the service a model file with -m")
            );
        }
        ModelReference::Unknown => {
            let message = format!("the service {} does not say which model file it loads", service.name);
            return Err(Refusal::new(Reason::ModelUnknown, message).hint("its command needs -m PATH"));
        }
    };
    let path = match executor {
        ExecutorKind::Docker => in_container.clone(),
        ExecutorKind::Process => match &around.model {
            Some(model) => model.path.to_string_lossy().into_owned(),
            None => {
                let message = format!(
                    "the model {in_container} of the service {} is not on this machine",
                    service.name
                );
                return Err(Refusal::new(Reason::ModelNotFound, message)
                    .hint("the process executor needs the file that the service's volume points at"));
            }
        },
    };
    if path.contains(',') {
        let message = format!("the model's path {path} has a comma, at which llama-bench would split it");
        return Err(Refusal::new(Reason::ServiceUnusable, message).hint("rename the file"));
    }
    Ok(path)
}

/// Where llama-bench may be: beside the server that the service starts, where llama.cpp's own images
/// have it, on the `PATH`.
fn tool_candidates(service: &Service, executor: ExecutorKind, around: &Surroundings) -> Vec<Vec<String>> {
    if service.kind == ServiceKind::Simulated {
        return vec![around.simulator.clone()];
    }
    let mut candidates = Vec::new();
    match (executor, &around.process) {
        (ExecutorKind::Process, Ok(path)) => candidates.push(path.to_string_lossy().into_owned()),
        (ExecutorKind::Process, Err(_)) => {}
        (ExecutorKind::Docker, _) => {
            let server =
                service.entrypoint.iter().chain(&service.command).find_map(|word| {
                    word.strip_suffix("llama-server").filter(|folder| folder.starts_with('/'))
                });
            candidates.extend(server.map(|folder| format!("{folder}llama-bench")));
            for guess in ["/app/llama-bench", "llama-bench", "/llama.cpp/build/bin/llama-bench"] {
                if !candidates.iter().any(|known| known == guess) {
                    candidates.push(guess.to_owned());
                }
            }
        }
    }
    candidates.into_iter().map(|path| vec![path]).collect()
}

/// Whose a task is; the executor adds which it is.
pub(super) fn labels(instance: &str, request: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("benchlet.instance".to_owned(), instance.to_owned()),
        ("benchlet.request".to_owned(), request.to_owned()),
    ])
}

/// The devices that the run must have for itself.
fn claims(service: &Service, executor: ExecutorKind, container: Option<&ContainerSpec>) -> Vec<String> {
    let simulated = service.kind == ServiceKind::Simulated;
    let gpu_claims = container.unwrap_or(&service.container).gpu_claims();
    match executor {
        // It measures nothing, so it needs nothing for itself but its service.
        ExecutorKind::Process if simulated => Vec::new(),
        ExecutorKind::Docker if !gpu_claims.is_empty() => gpu_claims,
        ExecutorKind::Docker | ExecutorKind::Process => {
            let mut all = vec!["cpu".to_owned()];
            all.extend(gpu_claims);
            all
        }
    }
}
