//! Looks up what resolving a LlamaBench run needs: its service, whether Docker and llama-bench are there,
//! the model on this machine, what runs already. Decides nothing; `plan` does with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::conversation_source;
use crate::engine::address::Address;
use crate::executor::{ContainerRunState, DockerExecutor};
use crate::plan::llama_bench_command::{HostModel, Surroundings};
use crate::plan::load_plan::{self, FoundService};
use crate::plan::service::{ModelReference, Service, ServiceKind};
use crate::request::flags::Param;
use crate::request::llama_bench::{LlamaBench, ParamsFrom};
use crate::request::load_test::{LoadTest, Prompts, TargetPlace};
use crate::run::measure_plan::KeySource;
use crate::run::reason::{Reason, Refusal};
use crate::service::Environment;
use crate::service::catalogue::Catalogue;
use crate::settings::Settings;
use crate::store::{Store, StoreError};

/// The service by its name, from the files as they are now.
///
/// # Errors
/// Which files were looked at, and what is wrong with them.
pub async fn find_service(settings: &Settings, name: &str) -> Result<Service, Refusal> {
    find_in(&mut None, settings, name).await
}

/// The same for one of several: `read` is what the files said before, once they were read.
async fn find_in(read: &mut Option<Catalogue>, settings: &Settings, name: &str) -> Result<Service, Refusal> {
    if name == SIMULATED {
        return Ok(simulated_service());
    }
    let catalogue = match read {
        Some(catalogue) => catalogue,
        unread @ None => unread.insert(catalogue(settings).await),
    };
    catalogue.get(name).cloned().ok_or_else(|| unknown_service(settings, catalogue, name))
}

/// The services as the files define them now.
pub async fn catalogue(settings: &Settings) -> Catalogue {
    let (compose, services) = (settings.compose.clone(), settings.services.clone());
    let environment = environment();
    tokio::task::spawn_blocking(move || Catalogue::load(&compose, &services, &environment))
        .await
        .unwrap_or_default()
}

/// The process's environment, for compose files. Variables that are no UTF-8 are left out.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The name of the service that is benchlet's own stand-in.
pub const SIMULATED: &str = "simulated";

/// benchlet's own stand-in as a service.
pub fn simulated_service() -> Service {
    Service {
        name: SIMULATED.to_owned(),
        kind: ServiceKind::Simulated,
        model: ModelReference::Unknown,
        ..Service::default()
    }
}

fn unknown_service(settings: &Settings, catalogue: &Catalogue, name: &str) -> Refusal {
    let files: Vec<String> =
        settings.compose.iter().chain(&settings.services).map(|path| path.display().to_string()).collect();
    let mut message = format!("there is no service {name} in {}", files.join(", "));
    let problems = catalogue.problems().iter().map(ToString::to_string).collect::<Vec<_>>();
    if !problems.is_empty() {
        message.push_str(&format!(": {}", problems.join("; ")));
    }
    let names: Vec<&str> = catalogue.names().collect();
    let hint = crate::request::diagnostic::did_you_mean(name, names.iter().copied().chain([SIMULATED]))
        .unwrap_or_else(|| {
            if names.is_empty() {
                format!("name your compose file with --compose, or try the service {SIMULATED}")
            } else {
                format!("there are {}", names.join(", "))
            }
        });
    Refusal::new(Reason::ServiceUnknown, message).hint(hint)
}

/// What is looked at, from the controller or from the command line.
pub struct Place<'a> {
    pub settings: &'a Settings,
    /// None where nothing has run yet.
    pub store: Option<&'a Store>,
    pub docker: Result<Arc<DockerExecutor>, String>,
    pub instance: &'a str,
}

/// For which run.
pub struct Asked<'a> {
    pub run: Uuid,
    pub request: &'a str,
    pub timeout_ms: u64,
}

/// Looks at everything that resolving a run needs.
///
/// # Errors
/// The store's own.
pub async fn look_around(
    place: &Place<'_>,
    asked: &Asked<'_>,
    spec: &LlamaBench,
    service: &Service,
) -> Result<Surroundings, StoreError> {
    let settings = place.settings;
    let (docker, running) = match &place.docker {
        Err(reason) => (Err(reason.clone()), Vec::new()),
        Ok(link) => match link.ping().await {
            Err(error) => (Err(error.to_string()), Vec::new()),
            Ok(()) => (Ok(()), running_containers(link, service).await),
        },
    };
    let process = match &settings.llama_bench {
        Some(path) if is_executable(path) => Ok(path.clone()),
        Some(path) => Err(format!("{} is no program", path.display())),
        None => find_program("llama-bench").ok_or_else(|| "llama-bench is not on the PATH".to_owned()),
    };
    Ok(Surroundings {
        run: asked.run,
        request: asked.request.to_owned(),
        instance: place.instance.to_owned(),
        docker,
        process,
        earlier_params: earlier_params(place.store, spec)?,
        model: host_model(service),
        running,
        simulator: vec![own_program(), "sim".to_owned(), "llama-bench".to_owned()],
        timeout_ms: asked.timeout_ms,
        preparing_ms: settings.preparing_timeout_seconds.saturating_mul(1000),
    })
}

/// Looks at everything that resolving a load test needs.
pub async fn look_around_load(
    place: &Place<'_>,
    asked: &Asked<'_>,
    spec: &LoadTest,
    request_path: &Path,
) -> load_plan::Surroundings {
    let settings = place.settings;
    let docker = match &place.docker {
        Err(reason) => Err(reason.clone()),
        Ok(link) => link.ping().await.map_err(|error| error.to_string()),
    };
    let mut read = None;
    let mut services = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for target in &spec.targets {
        match &target.place {
            TargetPlace::Running { service } | TargetPlace::Managed { service } => {
                if services.contains_key(service) {
                    continue;
                }
                let found = match find_in(&mut read, settings, service).await {
                    Ok(found) => {
                        let running = match (&place.docker, &docker) {
                            (Ok(link), Ok(())) => running_containers(link, &found).await,
                            (Ok(_) | Err(_), Ok(()) | Err(_)) => Vec::new(),
                        };
                        Ok(FoundService { running, model: host_model(&found), service: found })
                    }
                    Err(refusal) => Err(refusal),
                };
                services.insert(service.clone(), found);
            }
            TargetPlace::Simulated(_) => {}
            TargetPlace::Url(_) | TargetPlace::UsualPort => {
                if let Some(url) = load_plan::url_of(target, &settings.engines)
                    && let Ok(address) = Address::parse(&url)
                    && let Some(key) = settings.key_for(&address.host, address.port)
                {
                    keys.insert(url, absolute_key(key));
                }
            }
        }
    }
    // Files of megabytes are read and parsed beside the runtime, where nobody waits for it.
    let (own_settings, own_spec) = (settings.clone(), spec.clone());
    let (own_services, own_path) = (services.clone(), request_path.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let chosen = conversation_source::chosen(&own_settings, &own_spec, &own_path);
        let template = conversation_source::template(&own_settings, &own_spec, &own_services, &own_path);
        let template = match (template, &chosen) {
            (Ok(Some(found)), Ok(chosen)) => {
                conversation_source::check_template(&found, chosen).map(|()| Some(found))
            }
            (template, Ok(_) | Err(_)) => template,
        };
        (chosen, template)
    });
    let (conversations, template) = read.await.unwrap_or_else(|error| {
        let broken = Refusal::new(Reason::InternalError, format!("reading the conversations broke: {error}"));
        (Err(broken.clone()), Err(broken))
    });
    load_plan::Surroundings {
        run: asked.run,
        request: asked.request.to_owned(),
        instance: place.instance.to_owned(),
        docker,
        services,
        engines: settings.engines.clone(),
        keys,
        collectors: settings.collectors.values().cloned().collect(),
        prompts: match &spec.prompts {
            Prompts::File(named) => {
                let what = ("the file of prompts", Reason::PromptsUnusable);
                beside(settings, named, request_path, what).map(Some)
            }
            Prompts::Builtin | Prompts::Inline(_) | Prompts::Synthetic(_) | Prompts::Conversations(_) => {
                Ok(None)
            }
        },
        tokenizer: spec
            .tokenizer
            .as_ref()
            .map(|named| beside(settings, named, request_path, ("the tokenizer", Reason::TokenizerUnusable)))
            .transpose(),
        conversations,
        template,
        program: own_program(),
        measurer: measurer(settings),
        timeout_ms: asked.timeout_ms,
        preparing_ms: settings.preparing_timeout_seconds.saturating_mul(1000),
    }
}

/// The measuring process with where services are defined, as it looks their keys up itself.
fn measurer(settings: &Settings) -> Vec<String> {
    let mut words = vec![own_program(), "measure".to_owned()];
    for (flag, paths) in [("--compose", &settings.compose), ("--services", &settings.services)] {
        for path in paths {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            words.extend([flag.to_owned(), path.to_string_lossy().into_owned()]);
        }
    }
    words
}

fn absolute_key(key: KeySource) -> KeySource {
    match key {
        KeySource::File(path) => {
            let whole = std::path::absolute(&path).map(|path| path.to_string_lossy().into_owned());
            KeySource::File(whole.unwrap_or(path))
        }
        KeySource::Env(_) | KeySource::Service(_) => key,
    }
}

/// A file that a spec names: beside its request, and nowhere but beneath the root or one of the directories
/// of `read_dirs`. `what` it is stands in a refusal, which has that reason.
pub(super) fn beside(
    settings: &Settings,
    named: &str,
    request_path: &Path,
    (what, reason): (&str, Reason),
) -> Result<PathBuf, Refusal> {
    let root = &settings.requests;
    let beside = root.join(request_path).parent().unwrap_or(root).join(named);
    let tried =
        std::iter::once(beside.clone()).chain(settings.read_dirs.iter().map(|folder| folder.join(named)));
    let Some(found) = tried.filter_map(|path| path.canonicalize().ok()).find(|path| path.is_file()) else {
        let message = format!("{what} {named} is not there; it would be {}", beside.display());
        return Err(Refusal::new(reason, message)
            .hint("paths are relative to the request, or to a directory in read_dirs"));
    };
    let allowed =
        std::iter::once(root).chain(&settings.read_dirs).filter_map(|folder| folder.canonicalize().ok());
    if allowed.into_iter().any(|folder| found.starts_with(folder)) {
        return Ok(found);
    }
    let message = format!("{what} {named} lies outside the watched root");
    Err(Refusal::new(reason, message)
        .hint("move it below the root, or name its directory in read_dirs of the settings"))
}

/// The service's own containers that run now. A daemon that does not answer shows none; the run's
/// admission asks it again.
async fn running_containers(docker: &DockerExecutor, service: &Service) -> Vec<String> {
    if service.kind == ServiceKind::Simulated {
        return Vec::new();
    }
    let origin = &service.origin;
    let found = docker
        .service_containers(origin.project.as_deref(), &service.name, origin.container_name.as_deref())
        .await
        .unwrap_or_default();
    let running = found.into_iter().filter(|container| container.state == ContainerRunState::Running);
    running.map(|container| container.id).collect()
}

/// This program as it was started; where its file has been replaced meanwhile, the one that runs.
fn own_program() -> String {
    let path = std::env::current_exe().ok().filter(|path| path.is_file());
    path.unwrap_or_else(|| PathBuf::from("/proc/self/exe")).to_string_lossy().into_owned()
}

fn earlier_params(
    store: Option<&Store>,
    spec: &LlamaBench,
) -> Result<Result<Vec<Param>, String>, StoreError> {
    let (row, missing) = match (&spec.params_from, store) {
        (None | Some(ParamsFrom::Service), _) => return Ok(Ok(Vec::new())),
        (Some(ParamsFrom::LastRun), store) => {
            let row = store.map(|store| store.last_planned_run(&spec.service)).transpose()?;
            (row.flatten(), format!("the service {} has no earlier run", spec.service))
        }
        (Some(ParamsFrom::Run(id)), store) => {
            let row = store.map(|store| store.run(*id)).transpose()?;
            (row.flatten(), format!("there is no run {id}"))
        }
    };
    let Some(row) = row else {
        return Ok(Err(missing));
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

/// A program on the `PATH`, as an absolute path.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
