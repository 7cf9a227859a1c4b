//! From a LoadTest spec and what was looked up to what is measured: targets, cases, prompts, limits. Pure; what
//! had to be looked up comes in as [`Surroundings`]. What each target needs is `load_targets`'s.

use std::collections::BTreeMap;
use std::path::PathBuf;

use uuid::Uuid;

use super::chat_template::ChatTemplate;
use super::held_conversations::to_be_held;
use super::llama_bench_command::{HostModel, labels};
use super::load_cases;
use super::load_targets::{Made, deaf_to_ignore_eos, unique_names};
use super::service::Service;
use crate::request::conversation::Conversation;
use crate::request::load_test::{Api, Engine, LoadTest, Prompts, Target, TargetPlace};
use crate::run::measure_plan::{
    CollectorPlan, ConversationPlan, CustomEngine, KeySource, MEASURE_VERSION, MeasurePlan, PromptPlan,
    TemplatePlan,
};
use crate::run::plan::{Blueprint, ExecutorKind, LoadBlueprint, PLAN_VERSION};
use crate::run::reason::{Reason, Refusal};
use crate::run::step::{Role, TaskId, TaskSpec};

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

#[cfg(test)]
#[path = "load_plan_tests.rs"]
mod tests;
