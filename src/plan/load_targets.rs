//! What each target of a load test needs: its address, an engine that is started for it, the devices that are its
//! own meanwhile, and what has to stop. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::engine_command::engine_command;
use super::llama_bench_command::labels;
use super::load_plan::{FoundService, Surroundings, url_of};
use super::service::{ModelReference, Service, ServiceKind, looks_secret};
use super::service_reach::{of_service, open_env, running_url};
use crate::request::llama_bench::ExecutorChoice;
use crate::request::load_test::{Conflict, Engine, LoadTest, Target, TargetPlace};
use crate::run::measure_plan::{CustomEngine, Dialect, Endpoint, KeySource, TargetPlan};
use crate::run::plan::{EngineTask, ExecutorKind};
use crate::run::reason::{Reason, Refusal};
use crate::run::step::{ContainerSpec, Role, Serving, TaskId, TaskSpec};

/// What the targets ask for together.
#[derive(Default)]
pub struct Made {
    pub targets: Vec<TargetPlan>,
    pub engines: Vec<EngineTask>,
    pub claims: Vec<String>,
    pub stop: Vec<String>,
    pub warnings: Vec<String>,
    /// The first model file: as its server has it, and on this machine.
    pub model: Option<(String, Option<PathBuf>)>,
}

impl Made {
    /// What one of them needs.
    ///
    /// # Errors
    /// A refusal that says what is missing and where.
    pub fn target(
        &mut self,
        spec: &LoadTest,
        target: &Target,
        index: usize,
        around: &Surroundings,
    ) -> Result<TargetPlan, Refusal> {
        let own_dialect = target.engine.as_ref().map(|engine| dialect(engine, around)).transpose()?;
        let plan = |name: String, dialect: Dialect, endpoint: Endpoint, key: Option<KeySource>| TargetPlan {
            name: target.name.clone().unwrap_or(name),
            dialect,
            api: target.api,
            endpoint,
            key,
            simulated: false,
            container: None,
        };
        let at_url = |url: String| {
            let dialect = own_dialect.clone().unwrap_or(Dialect::OpenAi);
            let key = around.keys.get(&url).cloned();
            // The simulated engine, started by hand.
            let simulated = target.engine == Some(Engine::Simulated);
            let name = format!("{} {}", dialect.as_str(), bare(&url));
            TargetPlan { simulated, ..plan(name, dialect, Endpoint::Url(url), key) }
        };
        let as_it_runs = |found: &FoundService, dialect: Dialect| {
            let service = &found.service;
            let (url, key) = running_url(service)?;
            Ok(TargetPlan {
                container: found.running.first().cloned(),
                simulated: service.kind == ServiceKind::Simulated,
                ..plan(service.name.clone(), dialect, Endpoint::Url(url), key)
            })
        };
        match &target.place {
            TargetPlace::Url(_) | TargetPlace::UsualPort => {
                url_of(target, &around.engines).map(at_url).ok_or_else(|| {
                    Refusal::new(
                        Reason::EngineUnknown,
                        "the target says neither where its engine is nor which it is",
                    )
                    .hint("give it a url, as url: http://localhost:8080")
                })
            }
            TargetPlace::Simulated(simulation) => {
                let dialect = dialect(&Engine::from_name(&simulation.dialect), around)?;
                let told = serde_json::to_string(simulation).unwrap_or_default();
                let words = ["sim", "serve", "--listen", "127.0.0.1:0", "--simulation", &told];
                let argv = std::iter::once(around.program.clone()).chain(words.map(str::to_owned)).collect();
                self.engines.push(self.engine(spec, index, None, ExecutorKind::Process, argv, None, around));
                // Its folder is known when the plan is frozen.
                let endpoint = Endpoint::Started { folder: String::new() };
                let name = "simulated".to_owned();
                Ok(TargetPlan { simulated: true, ..plan(name, dialect, endpoint, None) })
            }
            TargetPlace::Running { service } => {
                let found = found(around, service)?;
                let dialect = own_dialect.map_or_else(|| of_service(&found.service), Ok)?;
                self.uses(found);
                as_it_runs(found, dialect)
            }
            TargetPlace::Managed { service } => {
                let found = found(around, service)?;
                let dialect = own_dialect.map_or_else(|| of_service(&found.service), Ok)?;
                self.uses(found);
                if !found.running.is_empty() {
                    match spec.conflict {
                        Conflict::UseRunning => {
                            self.warnings.push(format!("the service {service} runs already and is measured as it runs (spec.conflict: UseRunning)"));
                            return as_it_runs(found, dialect);
                        }
                        Conflict::Share => self.warnings.push(format!("the service {service} runs already; a second one beside it shares its devices (spec.conflict: Share)")),
                        Conflict::Stop => self.stop_all(&found.running),
                        Conflict::Fail => {
                            let message = format!("the service {service} is running, and lifecycle: Managed would start a second one");
                            return Err(Refusal::new(Reason::ServiceRunning, message)
                                .hint("stop it, or set spec.conflict to Stop, Share or UseRunning"));
                        }
                    }
                }
                let engine = self.managed(spec, target, index, found, around)?;
                self.engines.push(engine);
                // Its folder is known when the plan is frozen.
                let endpoint = Endpoint::Started { folder: String::new() };
                let simulated = found.service.kind == ServiceKind::Simulated;
                Ok(TargetPlan { simulated, ..plan(service.clone(), dialect, endpoint, None) })
            }
        }
    }

    fn stop_all(&mut self, containers: &[String]) {
        for container in containers {
            if !self.stop.contains(container) {
                self.stop.push(container.clone());
            }
        }
    }

    /// Whether a target runs in a container that is stopped for the run.
    pub fn stops(&self, target: &TargetPlan) -> bool {
        target.container.as_ref().is_some_and(|container| self.stop.contains(container))
    }

    /// Its devices are the run's for as long as it measures.
    fn uses(&mut self, found: &FoundService) {
        self.claims.extend(found.service.container.gpu_claims());
        if self.model.is_none()
            && let ModelReference::File(path) = &found.service.model
        {
            self.model = Some((path.clone(), found.model.as_ref().map(|model| model.path.clone())));
        }
    }

    fn managed(
        &mut self,
        spec: &LoadTest,
        target: &Target,
        index: usize,
        found: &FoundService,
        around: &Surroundings,
    ) -> Result<EngineTask, Refusal> {
        let service = &found.service;
        let no_executor = |message: String, hint: &str| Refusal::new(Reason::NoExecutor, message).hint(hint);
        if service.container.image.is_empty() {
            return Err(no_executor(
                format!("the service {} names no image, so no container can be started for it", service.name),
                "start it yourself and measure it by its url",
            ));
        }
        match (spec.executor, &around.docker) {
            (ExecutorChoice::Process, _) => {
                return Err(no_executor(
                    format!("the service {} is a container, and spec.executor is process", service.name),
                    "set spec.executor to auto, or start it yourself and measure it by its url",
                ));
            }
            (ExecutorChoice::Auto | ExecutorChoice::Docker, Err(reason)) => {
                return Err(no_executor(
                    format!(
                        "the service {} cannot be started, because Docker cannot be used: {reason}",
                        service.name
                    ),
                    "start the daemon, or measure a server that runs by its url",
                ));
            }
            (ExecutorChoice::Auto | ExecutorChoice::Docker, Ok(())) => {}
        }
        let command = engine_command(service, target.preset, &target.params)?;
        let open = open_env(service);
        for name in service.env.keys().filter(|name| !looks_secret(name) && !open.contains_key(*name)) {
            let message =
                format!("the variable {name} of the service {} holds a key and is left out", service.name);
            self.warnings.push(message);
        }
        let serving = Serving { port: command.port, image_entrypoint: command.image_entrypoint };
        let container = ContainerSpec { serving: Some(serving), ..service.container.clone() };
        Ok(self.engine(
            spec,
            index,
            Some(service),
            ExecutorKind::Docker,
            command.argv,
            Some(container),
            around,
        ))
    }

    #[expect(clippy::too_many_arguments, reason = "one place makes every engine's task")]
    fn engine(
        &self,
        spec: &LoadTest,
        target: usize,
        service: Option<&Service>,
        executor: ExecutorKind,
        argv: Vec<String>,
        container: Option<ContainerSpec>,
        around: &Surroundings,
    ) -> EngineTask {
        let env = service.map(open_env).unwrap_or_default();
        EngineTask {
            target,
            service: service.map(|service| service.name.clone()),
            executor,
            task: TaskSpec {
                // Its step is known when the plan is frozen.
                id: TaskId { run: around.run, attempt: 0, step: 0, role: Role::Engine },
                argv,
                env,
                container,
                deadline_ms: around.timeout_ms.saturating_add(spec.engine_start_timeout_ms),
                labels: labels(&around.instance, &around.request),
                inputs: BTreeMap::new(),
            },
            start_ms: spec.engine_start_timeout_ms,
        }
    }
}

fn found<'a>(around: &'a Surroundings, service: &str) -> Result<&'a FoundService, Refusal> {
    match around.services.get(service) {
        Some(Ok(found)) => Ok(found),
        Some(Err(refusal)) => Err(refusal.clone()),
        None => Err(Refusal::new(Reason::ServiceUnknown, format!("the service {service} was not looked up"))),
    }
}

fn dialect(engine: &Engine, around: &Surroundings) -> Result<Dialect, Refusal> {
    Ok(match engine {
        Engine::LlamaCpp => Dialect::LlamaCpp,
        Engine::Ollama => Dialect::Ollama,
        Engine::Vllm => Dialect::Vllm,
        Engine::OpenAi | Engine::Simulated => Dialect::OpenAi,
        Engine::Custom(name) => match around.engines.get(name) {
            Some(custom) => Dialect::Custom(Box::new(CustomEngine { name: name.clone(), ..custom.clone() })),
            None => {
                let known: Vec<&str> =
                    Engine::NAMES.into_iter().chain(around.engines.keys().map(String::as_str)).collect();
                let hint = crate::request::diagnostic::did_you_mean(name, known.iter().copied())
                    .unwrap_or_else(|| {
                        format!(
                            "one of {}, or describe it as [engines.{name}] in the settings",
                            known.join(", ")
                        )
                    });
                let message = format!(
                    "there is no engine {name}: it is none of benchlet's own, and the settings describe none"
                );
                return Err(Refusal::new(Reason::EngineUnknown, message).hint(hint));
            }
        },
    })
}

/// Engines that answer as long as they like, whatever a request asks for.
pub fn deaf_to_ignore_eos(target: &TargetPlan) -> Option<String> {
    match &target.dialect {
        Dialect::LlamaCpp | Dialect::Vllm => None,
        Dialect::Ollama | Dialect::OpenAi | Dialect::Custom(_) => Some(format!(
            "{} cannot be told to go on to output.maxTokens: its answers may be shorter (output.ignoreEos)",
            target.name
        )),
    }
}

fn bare(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// Results tell targets apart by their names.
pub fn unique_names(targets: &mut [TargetPlan]) {
    for at in 1..targets.len() {
        let taken = |name: &str, before: &[TargetPlan]| before.iter().any(|target| target.name == name);
        let (before, rest) = targets.split_at_mut(at);
        let base = rest[0].name.clone();
        let mut number = 2;
        while taken(&rest[0].name, before) {
            rest[0].name = format!("{base} #{number}");
            number += 1;
        }
    }
}
