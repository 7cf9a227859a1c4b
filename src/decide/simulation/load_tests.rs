//! Load tests of the simulated world: what they ask for and what is found when they are resolved, which
//! is left to the real plan.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::requests::{PREPARING_MS, SERVICES, Wanted};
use crate::plan::load_plan::{FoundService, Surroundings};
use crate::plan::service::{Port, Service, ServiceKind};
use crate::request::llama_bench::{ExecutorChoice, PullPolicy};
use crate::request::load_test::{
    Amount, Api, CachePolicy, CaseOrder, Conflict, Engine, Load, LoadShape, LoadTest, Output, Prompts,
    Target, TargetPlace, ValidityLimits,
};
use crate::run::step::{ContainerSpec, GpuRequest, GpuSelection};

/// Longest time until an engine is healthy.
pub const ENGINE_START_MS: u64 = 4_000;

/// Engines of so many services from the wanted one on, each of them started. An even variant measures a
/// server that runs as well, and so does one without any engine.
pub fn spec(wanted: &Wanted, engines: u8) -> LoadTest {
    let mut targets = Vec::new();
    if engines == 0 || wanted.variant.is_multiple_of(2) {
        let url = format!("http://localhost:808{}", wanted.variant);
        targets.push(target(Some(Engine::LlamaCpp), TargetPlace::Url(url)));
    }
    for index in 0..usize::from(engines) {
        let (service, _) = SERVICES[(wanted.service + index) % SERVICES.len()];
        targets.push(target(None, TargetPlace::Managed { service: service.to_owned() }));
    }
    LoadTest {
        targets,
        prompts: Prompts::Builtin,
        output: Output { max_tokens: 8, temperature: 0.0, ignore_eos: false },
        load: Load {
            shape: LoadShape::Closed { concurrency: vec![1, 2] },
            amount: Amount::Requests(vec![3]),
            ramp_up_ms: 0,
        },
        warmup: 0,
        request_timeout_ms: 1_000,
        stream: true,
        slo: Vec::new(),
        samples: 0,
        cost: None,
        tokenizer: None,
        validity: ValidityLimits::default(),
        order: CaseOrder::AsWritten,
        seed: u64::from(wanted.variant),
        pause_ms: 0,
        cache: CachePolicy::Keep,
        repeats: wanted.launches,
        threads: None,
        conflict: if wanted.stop { Conflict::Stop } else { Conflict::Share },
        executor: ExecutorChoice::Auto,
        image_pull_policy: PullPolicy::default(),
        engine_start_timeout_ms: ENGINE_START_MS,
    }
}

fn target(engine: Option<Engine>, place: TargetPlace) -> Target {
    let (name, models, params) = (None, Vec::new(), Vec::new());
    Target { name, engine, place, models, api: Api::Chat, preset: None, params }
}

pub fn surroundings(run: Uuid, timeout_ms: u64, docker: bool) -> Surroundings {
    Surroundings {
        run,
        request: "a".to_owned(),
        instance: "i".to_owned(),
        docker: if docker { Ok(()) } else { Err("the daemon does not answer".to_owned()) },
        services: SERVICES
            .iter()
            .map(|(name, claims)| ((*name).to_owned(), Ok(found(name, claims))))
            .collect(),
        engines: BTreeMap::new(),
        keys: BTreeMap::new(),
        collectors: Vec::new(),
        prompts: Ok(None),
        conversations: Ok(Vec::new()),
        template: Ok(None),
        tokenizer: Ok(None),
        program: "benchlet".to_owned(),
        measurer: vec!["benchlet".to_owned(), "measure".to_owned()],
        timeout_ms,
        preparing_ms: PREPARING_MS,
    }
}

/// Every service runs already.
fn found(name: &str, claims: &[&str]) -> FoundService {
    let ids: Vec<String> =
        claims.iter().filter_map(|claim| claim.strip_prefix("gpu:")).map(str::to_owned).collect();
    let which = if ids == ["all"] { GpuSelection::All } else { GpuSelection::Ids(ids.clone()) };
    let gpus = (!ids.is_empty()).then(|| GpuRequest {
        driver: "nvidia".to_owned(),
        which,
        capabilities: vec!["gpu".to_owned()],
    });
    let service = Service {
        name: name.to_owned(),
        kind: ServiceKind::LlamaCpp,
        container: ContainerSpec { image: format!("image-of-{name}"), gpus, ..ContainerSpec::default() },
        command: ["llama-server", "-m", "model"].map(str::to_owned).to_vec(),
        ports: vec![Port { host: 9000, container: 8080 }],
        ..Service::default()
    };
    FoundService { service, running: vec![format!("container-of-{name}")], model: None }
}
