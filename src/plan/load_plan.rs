//! From a LoadTest spec and what was looked up to what is measured: targets with their addresses,
//! engines that are started, cases. Pure; what had to be looked up comes in as [`Surroundings`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use uuid::Uuid;

use super::chat_template::ChatTemplate;
use super::engine_command::engine_command;
use super::llama_bench_command::{HostModel, labels};
use super::load_cases;
use super::service::{Service, ServiceKind, looks_secret};
use crate::request::conversation::{Conversation, Conversations, Isolation};
use crate::request::llama_bench::ExecutorChoice;
use crate::request::load_test::{Api, Conflict, Engine, LoadTest, Prompts, Target, TargetPlace};
use crate::request::load_test_size::MOST_CASES;
use crate::run::measure_plan::{
    CollectorPlan, ConversationPlan, CustomEngine, Dialect, Endpoint, KeySource, MEASURE_VERSION,
    MeasurePlan, PromptPlan, TargetPlan, TemplatePlan,
};
use crate::run::plan::{Blueprint, EngineTask, ExecutorKind, LoadBlueprint, PLAN_VERSION};
use crate::run::reason::{Reason, Refusal};
use crate::run::step::{ContainerSpec, Role, Serving, TaskId, TaskSpec};

/// The copy of a file of prompts, in the run's spool folder, seen from a task's.
pub const PROMPTS_COPY: &str = "../prompts.jsonl";
/// That of a tokenizer.
pub const TOKENIZER_COPY: &str = "../tokenizer.json";
/// Between two looks at the system, in milliseconds.
const SAMPLE_EVERY_MS: u64 = 1_000;

/// What had to be looked up.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub run: Uuid,
    pub request: String,
    pub instance: String,
    /// Why Docker cannot be used, or `Ok`.
    pub docker: Result<(), String>,
    /// The services that targets name.
    pub services: BTreeMap<String, Result<FoundService, Refusal>>,
    /// `[engines]` of the settings.
    pub engines: BTreeMap<String, CustomEngine>,
    /// Which key goes to the server at a URL, for those that have one.
    pub keys: BTreeMap<String, KeySource>,
    pub collectors: Vec<CollectorPlan>,
    /// The file of prompts that the spec names.
    pub prompts: Result<Option<PathBuf>, Refusal>,
    /// Those that the spec chose, read.
    pub conversations: Result<Vec<Conversation>, Refusal>,
    /// The chat template that benchlet renders by, where it does.
    pub template: Result<Option<FoundTemplate>, Refusal>,
    /// The tokenizer that the spec names.
    pub tokenizer: Result<Option<PathBuf>, Refusal>,
    /// benchlet itself.
    pub program: String,
    /// It with the words that make it measure.
    pub measurer: Vec<String>,
    pub timeout_ms: u64,
    pub preparing_ms: u64,
}

/// A service as it is now.
#[derive(Debug, Clone)]
pub struct FoundService {
    pub service: Service,
    /// Its own running containers.
    pub running: Vec<String>,
    pub model: Option<HostModel>,
}

/// A chat template as it was found, parsed once and for all who look into it before the plan is frozen.
#[derive(Debug, Clone)]
pub struct FoundTemplate {
    /// As its user calls it.
    pub name: String,
    pub parsed: ChatTemplate,
}

impl FoundTemplate {
    fn plan(&self) -> TemplatePlan {
        TemplatePlan { name: self.name.clone(), source: self.parsed.source().clone() }
    }
}

/// The targets of a spec in a few words, each once, for lists and for "one run a service".
pub fn service_words(spec: &LoadTest) -> String {
    let mut words: Vec<String> = Vec::new();
    for target in &spec.targets {
        let engine = target.engine.as_ref();
        let word = match &target.place {
            TargetPlace::Url(url) => url.clone(),
            // The port of an engine of the settings is not known here; its name is as good.
            TargetPlace::UsualPort => usual_url(engine, None)
                .unwrap_or_else(|| engine.map(Engine::as_str).unwrap_or_default().to_owned()),
            TargetPlace::Running { service } | TargetPlace::Managed { service } => service.clone(),
            TargetPlace::Simulated(_) => "simulated".to_owned(),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(", ")
}

/// Where a target is that names no service: its url, or its engine's usual port on this machine.
pub fn url_of(target: &Target, engines: &BTreeMap<String, CustomEngine>) -> Option<String> {
    match &target.place {
        TargetPlace::Url(url) => Some(url.clone()),
        TargetPlace::UsualPort => {
            let custom = match &target.engine {
                Some(Engine::Custom(name)) => engines.get(name).and_then(|engine| engine.port),
                Some(_) | None => None,
            };
            usual_url(target.engine.as_ref(), custom)
        }
        TargetPlace::Running { .. } | TargetPlace::Managed { .. } | TargetPlace::Simulated(_) => None,
    }
}

fn usual_url(engine: Option<&Engine>, custom_port: Option<u16>) -> Option<String> {
    let port = custom_port.or_else(|| engine.and_then(Engine::default_port))?;
    Some(format!("http://localhost:{port}"))
}

/// Resolves everything that does not need an image.
///
/// # Errors
/// A refusal that says what is missing and where.
pub fn resolve(spec: &LoadTest, around: &Surroundings) -> Result<Blueprint, Refusal> {
    let prompts = around.prompts.clone()?;
    let conversations = around.conversations.clone()?;
    let template = around.template.clone()?;
    let tokenizer = around.tokenizer.clone()?;
    let mut made = Made::default();
    for (index, target) in spec.targets.iter().enumerate() {
        let plan = made.target(spec, target, index, around)?;
        made.targets.push(plan);
    }
    if let Some(target) = made.targets.iter().find(|target| made.stops(target)) {
        let message = format!(
            "{} is to be measured as it runs, and its service to be stopped for the run",
            target.name
        );
        return Err(Refusal::new(Reason::ServiceRunning, message)
            .hint("measure the two in requests of their own, or set spec.conflict to Share"));
    }
    unique_names(&mut made.targets);
    if spec.output.ignore_eos {
        made.warnings.extend(made.targets.iter().filter_map(deaf_to_ignore_eos));
    }
    let held = match spec.conversations() {
        Some(how) => to_be_held(how, conversations, spec)?,
        None => Vec::new(),
    };
    if let Some(found) = &template {
        let missing = found.parsed.missing_tokens();
        if !missing.is_empty() {
            made.warnings.push(format!(
                "the chat template {} writes {}, which its file does not tell: name the model's \
                 tokenizer_config.json or GGUF instead",
                found.name,
                missing.join(" and ")
            ));
        }
        // A rendered prompt is a text.
        made.targets.iter_mut().for_each(|target| target.api = Api::Completions);
    }
    let labels = labels(&around.instance, &around.request);
    let measure = MeasurePlan {
        version: MEASURE_VERSION,
        targets: made.targets,
        cases: load_cases::cases(spec, &held),
        index_from: 0,
        prompts: match &spec.prompts {
            Prompts::Builtin => PromptPlan::Builtin,
            Prompts::Inline(list) => PromptPlan::Inline(list.clone()),
            Prompts::File(_) => PromptPlan::File(PROMPTS_COPY.to_owned()),
            Prompts::Conversations(how) => PromptPlan::Conversations(ConversationPlan {
                conversations: held,
                context_size: how.context_size,
                most: how.max_conversations,
                think_time_ms: how.think_time_ms,
                isolation: how.isolation,
                template: template.as_ref().map(FoundTemplate::plan),
            }),
            Prompts::Synthetic(synthetic) => PromptPlan::Synthetic {
                distribution: synthetic.distribution,
                shared_prefix_tokens: synthetic.shared_prefix_tokens,
            },
        },
        output: spec.output.clone(),
        stream: spec.stream,
        warmup: spec.warmup,
        request_timeout_ms: spec.request_timeout_ms,
        pause_ms: spec.pause_ms,
        cache: spec.cache,
        samples: spec.samples,
        seed: spec.seed,
        // Another one in every run, and still the same after a restart of the controller.
        salt: around.run.as_u64_pair().0 ^ around.run.as_u64_pair().1,
        threads: spec.threads,
        sample_every_ms: SAMPLE_EVERY_MS,
        collectors: around.collectors.clone(),
        tokenizer: tokenizer.as_ref().map(|_| TOKENIZER_COPY.to_owned()),
    };
    let simulated = measure.targets.iter().all(|target| target.simulated);
    let mut claims = vec!["cpu".to_owned()];
    for claim in made.claims {
        if !claims.contains(&claim) {
            claims.push(claim);
        }
    }
    let id = TaskId { run: around.run, attempt: 0, step: 0, role: Role::Load };
    Ok(Blueprint {
        version: PLAN_VERSION,
        service: service_words(spec),
        // Measuring itself always runs beside the controller.
        executor: ExecutorKind::Process,
        simulated,
        model: made.model.as_ref().map(|(path, _)| path.clone()).unwrap_or_default(),
        model_host_path: made.model.and_then(|(_, host)| host),
        params: Vec::new(),
        dropped: Vec::new(),
        warnings: made.warnings,
        launches: 1,
        template: TaskSpec {
            id,
            argv: around.measurer.clone(),
            env: BTreeMap::new(),
            container: None,
            deadline_ms: around.timeout_ms,
            labels,
            inputs: BTreeMap::new(),
        },
        tool_candidates: Vec::new(),
        pull_policy: spec.image_pull_policy,
        preparing_ms: around.preparing_ms,
        claims,
        stop: made.stop,
        load: Some(LoadBlueprint { measure, engines: made.engines, prompts, tokenizer }),
    })
}

/// Most engines that one run starts afresh.
const MOST_ENGINES: u64 = 200;

/// Where each conversation has an engine of its own, those that one process would choose together are chosen
/// here: the first so many.
fn to_be_held(
    how: &Conversations,
    mut conversations: Vec<Conversation>,
    spec: &LoadTest,
) -> Result<Vec<Conversation>, Refusal> {
    // Of each conversation.
    let cases = spec.cases();
    let all = cases.saturating_mul(conversations.len() as u64);
    if all > MOST_CASES {
        let message =
            format!("{} conversations make {all} cases; at most {MOST_CASES} are taken", conversations.len());
        return Err(Refusal::new(Reason::ConversationsUnusable, message)
            .hint("choose fewer by names, includeTags or repeats, or write several requests"));
    }
    match how.isolation {
        Isolation::PerRun => return Ok(conversations),
        Isolation::PerConversation => {}
    }
    if let Some(most) = how.max_conversations {
        conversations.truncate(most as usize);
    }
    let engines = cases.saturating_mul(conversations.len() as u64);
    if engines > MOST_ENGINES {
        let message = format!(
            "isolation: PerConversation would start {engines} engines, and at most {MOST_ENGINES} are"
        );
        return Err(Refusal::new(Reason::ConversationsUnusable, message)
            .hint("choose fewer by names, includeTags or maxConversations, or set isolation: PerRun"));
    }
    Ok(conversations)
}

/// Engines that answer as long as they like, whatever a request asks for.
fn deaf_to_ignore_eos(target: &TargetPlan) -> Option<String> {
    match &target.dialect {
        Dialect::LlamaCpp | Dialect::Vllm => None,
        Dialect::Ollama | Dialect::OpenAi | Dialect::Custom(_) => Some(format!(
            "{} cannot be told to go on to output.maxTokens: its answers may be shorter (output.ignoreEos)",
            target.name
        )),
    }
}

/// What the targets ask for together.
#[derive(Default)]
struct Made {
    targets: Vec<TargetPlan>,
    engines: Vec<EngineTask>,
    claims: Vec<String>,
    stop: Vec<String>,
    warnings: Vec<String>,
    /// The first model file: as its server has it, and on this machine.
    model: Option<(String, Option<PathBuf>)>,
}

impl Made {
    fn target(
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
    fn stops(&self, target: &TargetPlan) -> bool {
        target.container.as_ref().is_some_and(|container| self.stop.contains(container))
    }

    /// Its devices are the run's for as long as it measures.
    fn uses(&mut self, found: &FoundService) {
        self.claims.extend(found.service.container.gpu_claims());
        if self.model.is_none()
            && let super::service::ModelReference::File(path) = &found.service.model
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

fn of_service(service: &Service) -> Result<Dialect, Refusal> {
    match service.kind {
        ServiceKind::LlamaCpp => Ok(Dialect::LlamaCpp),
        ServiceKind::Vllm => Ok(Dialect::Vllm),
        ServiceKind::Ollama => Ok(Dialect::Ollama),
        ServiceKind::Simulated => Ok(Dialect::OpenAi),
        ServiceKind::Other => Err(Refusal::new(
            Reason::EngineUnknown,
            format!("it is not known which engine serves in {}", service.name),
        )
        .hint("name it in the target: engine: openai")),
    }
}

/// The environment of a service without what is secret: names that say so, and values in which a secret
/// stands. The engine is given the former from the service's own files as it starts.
fn open_env(service: &Service) -> BTreeMap<String, String> {
    // A key such as "1234" may stand in a value by chance, so a short one has to be the whole of it.
    const LONG_ENOUGH: usize = 8;
    let holds = |value: &String, secret: &String| {
        value == secret || (secret.len() >= LONG_ENOUGH && value.contains(secret.as_str()))
    };
    let open = |name: &str, value: &String| {
        !looks_secret(name) && !service.secrets.iter().any(|secret| holds(value, secret))
    };
    let kept = service.env.iter().filter(|(name, value)| open(name, value));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Where a service that runs is reached from this machine, and its key where its command has one.
fn running_url(service: &Service) -> Result<(String, Option<KeySource>), Refusal> {
    let container = match service.kind {
        ServiceKind::LlamaCpp | ServiceKind::Vllm => {
            let flag = service.flags.iter().rfind(|flag| flag.name == "--port");
            flag.and_then(|flag| flag.value.as_ref()?.parse::<u16>().ok())
        }
        ServiceKind::Ollama | ServiceKind::Simulated | ServiceKind::Other => None,
    };
    let published = |port: Option<u16>| {
        service.ports.iter().find(|known| port.is_none_or(|port| known.container == port))
    };
    let Some(port) = published(container).or_else(|| published(None)) else {
        let message = format!("the service {} publishes no port on this machine", service.name);
        return Err(Refusal::new(Reason::ServiceUnusable, message)
            .hint("give it `ports` in the compose file, or set lifecycle: Managed, or name a url"));
    };
    let key = service.api_key.is_some().then(|| KeySource::Service(service.name.clone()));
    Ok((format!("http://localhost:{}", port.host), key))
}

fn bare(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// Results tell targets apart by their names.
fn unique_names(targets: &mut [TargetPlan]) {
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

#[cfg(test)]
#[path = "load_plan_tests.rs"]
mod tests;
