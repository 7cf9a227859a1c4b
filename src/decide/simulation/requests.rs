//! What can be asked for in the simulated world, and what it resolves to.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::load_tests;
use crate::decide::observed::Refusal;
use crate::plan::{llama_bench_command, load_plan, load_steps};
use crate::request::control::{Control, DesiredState, OnChange, OnDelete};
use crate::request::flags::Param;
use crate::request::llama_bench::{Conflict, ExecutorChoice, LlamaBench, PullPolicy};
use crate::request::valid::{Spec, ValidRequest};
use crate::run::plan::{Blueprint, ExecutorKind, PLAN_VERSION, Plan, Prepared};
use crate::run::reason::Reason;
use crate::run::step::{ContainerSpec, Role, TaskId, TaskSpec};

pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Each service with its devices; the last one is measured as a process.
pub const SERVICES: [(&str, &[&str]); 4] =
    [("one", &["gpu:0"]), ("other", &["gpu:1"]), ("both", &["gpu:all"]), ("host", &["cpu"])];
pub const PREPARING_MS: u64 = 40_000;

/// What somebody writes into a file.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub service: usize,
    pub variant: u8,
    pub stop: bool,
    pub launches: u32,
    /// A load test instead, which starts so many engines.
    pub engines: Option<u8>,
    pub control: Control,
}

pub fn control() -> Control {
    Control {
        desired: DesiredState::Active,
        on_change: OnChange::Queue,
        on_delete: OnDelete::Finish,
        rerun: None,
        timeout_ms: 20_000,
        backoff_limit: 0,
        report: None,
        gate: None,
    }
}

pub fn wanted() -> Wanted {
    Wanted { service: 0, variant: 0, stop: false, launches: 1, engines: None, control: control() }
}

pub fn param(flag: &str, value: impl ToString) -> Param {
    Param { flag: flag.to_owned(), value: value.to_string() }
}

impl Wanted {
    pub fn spec(&self) -> Spec {
        match self.engines {
            Some(engines) => Spec::LoadTest(Box::new(load_tests::spec(self, engines))),
            None => Spec::LlamaBench(self.bench()),
        }
    }

    fn bench(&self) -> LlamaBench {
        LlamaBench {
            service: SERVICES[self.service].0.to_owned(),
            params: Some(vec![param("-p", self.variant)]),
            params_from: None,
            launches: Some(self.launches),
            preset: None,
            gpus: None,
            conflict: if self.stop { Conflict::Stop } else { Conflict::Share },
            executor: ExecutorChoice::Auto,
            image_pull_policy: PullPolicy::default(),
            apply: None,
        }
    }

    pub fn request(&self, name: &str) -> Arc<ValidRequest> {
        let (bench, load) = (self.launches, self.engines);
        let spec_hash = format!("v1:{}-{}-{}-{bench}-{load:?}", self.service, self.variant, self.stop);
        Arc::new(ValidRequest {
            name: name.to_owned(),
            semantic_hash: format!("{spec_hash}-{:?}", self.control),
            spec_hash,
            control: self.control.clone(),
            spec: self.spec(),
        })
    }
}

/// What admission makes of a spec, where the services are there and their executors answer.
pub fn resolve(run: Uuid, spec: &Spec, timeout_ms: u64, docker: bool) -> Result<Box<Blueprint>, Refusal> {
    match spec {
        Spec::LlamaBench(spec) => resolve_bench(run, spec, timeout_ms, docker),
        Spec::LoadTest(spec) => {
            load_plan::resolve(spec, &load_tests::surroundings(run, timeout_ms, docker)).map(Box::new)
        }
        Spec::Apply(_) | Spec::Model(_) | Spec::Baseline(_) | Spec::Comparison(_) | Spec::Imported(_) => {
            unreachable!("nothing here is applied, downloaded, pinned or compared")
        }
    }
}

pub fn freeze(blueprint: &Blueprint, prepared: &Prepared) -> Plan {
    match &blueprint.load {
        Some(load) => load_steps::freeze(blueprint, load, prepared),
        None => llama_bench_command::freeze(blueprint, prepared),
    }
}

fn resolve_bench(
    run: Uuid,
    spec: &LlamaBench,
    timeout_ms: u64,
    docker: bool,
) -> Result<Box<Blueprint>, Refusal> {
    let found = SERVICES.iter().find(|(name, _)| *name == spec.service);
    let (service, claims) = found.expect("a known service");
    let executor = if *service == "host" { ExecutorKind::Process } else { ExecutorKind::Docker };
    if executor == ExecutorKind::Docker && !docker {
        return Err(Refusal::new(Reason::NoExecutor, "the daemon does not answer"));
    }
    let template = TaskSpec {
        id: TaskId { run, attempt: 0, step: 0, role: Role::Bench },
        argv: vec!["-m".to_owned(), "model".to_owned()],
        env: BTreeMap::new(),
        container: (executor == ExecutorKind::Docker).then(ContainerSpec::default),
        deadline_ms: timeout_ms,
        labels: BTreeMap::new(),
        inputs: BTreeMap::new(),
    };
    Ok(Box::new(Blueprint {
        version: PLAN_VERSION,
        service: spec.service.clone(),
        executor,
        simulated: false,
        model: "model".to_owned(),
        model_host_path: None,
        params: spec.params.clone().unwrap_or_default(),
        dropped: Vec::new(),
        warnings: Vec::new(),
        launches: spec.launches(),
        template,
        tool_candidates: Vec::new(),
        pull_policy: spec.image_pull_policy,
        preparing_ms: PREPARING_MS,
        claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
        stop: if spec.conflict == Conflict::Stop { vec!["container".to_owned()] } else { Vec::new() },
        load: None,
    }))
}
