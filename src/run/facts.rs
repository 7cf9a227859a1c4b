//! What two runs have to share to be comparable, as names with values in words: machine, engine, model, flags,
//! workload. Collects it from what a run left; holds two of them against each other nowhere (`plan::comparability`).
//! A value that could not be found out is null. A target's address, the host's name and clocks are no facts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::case::{MEASURED, SIZES, SURROUNDINGS};
use super::fingerprint::{Fingerprint, Gpu};
use super::load_case::LoadCase;
use super::measure_plan::{CaseAmount, CaseLoad, MeasurePlan, PromptPlan};
use super::plan::{Blueprint, Plan};
use super::step::{ContainerSpec, GpuSelection};

/// Facts by their names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Runs that differ in one of these are not comparable.
    pub decisive: BTreeMap<String, Option<String>>,
    /// Told beside the figures where they differ.
    pub incidental: BTreeMap<String, Option<String>>,
}

/// What a fact is about; `varies` may name it instead of each of its facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Group {
    Hardware,
    Engine,
    Model,
    /// llama-bench's settings, and the server's flags.
    Flags,
    Workload,
    /// How it was measured.
    Measuring,
}

impl Group {
    pub const ALL: [(&'static str, Self); 5] = [
        ("hardware", Self::Hardware),
        ("engine", Self::Engine),
        ("model", Self::Model),
        ("flags", Self::Flags),
        ("workload", Self::Workload),
    ];

    /// Every fact that is no setting of llama-bench is known here by its name.
    pub fn of(fact: &str) -> Self {
        match fact {
            "gpus" | "driver" | "cpu" | "cpu_threads" | "cpu_limit" | "container_limits" => Self::Hardware,
            "image" | "build" | "engine_name" | "backends" | "executor" => Self::Engine,
            "model" | "model_name" | "template" => Self::Model,
            "prompts" | "seed" | "arrivals" | "amount" | "output" | "stream" | "api" | "warmup"
            | "context_size" | "think_time" => Self::Workload,
            "token_source" | "cache" => Self::Measuring,
            _ => Self::Flags,
        }
    }
}

impl Facts {
    fn put(&mut self, name: &str, value: Option<String>) {
        self.decisive.insert(name.to_owned(), value.filter(|text| !text.is_empty()));
    }

    fn aside(&mut self, name: &str, value: Option<String>) {
        self.incidental.insert(name.to_owned(), value.filter(|text| !text.is_empty()));
    }
}

/// Of a run of llama-bench: the machine, and the settings as the tool's own rows (`rows`, JSON objects) tell
/// them, so that spelling and defaults of flags do not count.
pub fn of_bench(found: &Fingerprint, rows: &[Map<String, Value>], blueprint: Option<&Blueprint>) -> Facts {
    let mut facts = of_machine(found);
    let constant = |column: &str| {
        let mut values = rows.iter().map(|row| row.get(column).map(words).unwrap_or_default());
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    };
    facts.put("build", constant("build_commit"));
    facts.put("backends", constant("backends"));
    facts.put("executor", blueprint.map(|blueprint| blueprint.executor.as_str().to_owned()));
    facts.put(
        "container_limits",
        blueprint.map(|blueprint| limits_of([blueprint.template.container.as_ref()])),
    );
    facts.put("model_name", found.model.path.as_deref().map(file_name).or_else(|| constant("model_type")));
    if found.cpu.model.is_none() {
        facts.put("cpu", constant("cpu_info"));
    }
    if found.gpus.is_none() {
        facts.put("gpus", constant("gpu_info"));
    }
    let columns: BTreeSet<&String> = rows.iter().flat_map(Map::keys).collect();
    for column in columns.into_iter().filter(|column| is_setting(column)) {
        // What varies in the run is in its cases' keys.
        if let Some(value) = constant(column) {
            facts.put(column, Some(value));
        }
    }
    facts
}

fn is_setting(column: &str) -> bool {
    !MEASURED.iter().chain(&SIZES).chain(&SURROUNDINGS).any(|known| *known == column)
}

/// Of a load test or conversations: the machine, what was asked, and how it was counted.
pub fn of_load(
    found: &Fingerprint,
    blueprint: Option<&Blueprint>,
    plan: Option<&Plan>,
    cases: &[LoadCase],
) -> Facts {
    let mut facts = of_machine(found);
    let all = |of: &dyn Fn(&LoadCase) -> Option<String>| {
        let values: BTreeSet<String> = cases.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| values.into_iter().collect::<Vec<_>>().join(", "))
    };
    facts.put("engine_name", all(&|case| Some(case.engine.clone())));
    facts.put("model_name", all(&|case| case.model.as_deref().map(file_name)));
    facts.put("token_source", all(&|case| case.tokens.source.map(|source| source.as_str().to_owned())));
    facts.put("cache", all(&|case| case.cache.clone()));
    let load = blueprint.and_then(|blueprint| blueprint.load.as_ref());
    if let Some(load) = load {
        let servers = load.engines.iter().map(|engine| server_flags(&engine.task.argv));
        facts.put("server_flags", Some(servers.collect::<Vec<_>>().join("; ")));
        let containers = load.engines.iter().map(|engine| engine.task.container.as_ref());
        facts.put("container_limits", Some(limits_of(containers)));
        workload(&load.measure, found, &mut facts);
    } else if let Some(measure) = plan.and_then(|plan| plan.load_plans().next()) {
        workload(measure, found, &mut facts);
    }
    facts
}

fn of_machine(found: &Fingerprint) -> Facts {
    let mut facts = Facts::default();
    facts.put("gpus", found.gpus.as_deref().map(gpus));
    facts.put("driver", found.gpu_driver.version.clone());
    facts.put("cpu", found.cpu.model.clone());
    facts.put("cpu_threads", found.cpu.threads.map(|threads| threads.to_string()));
    let limits = [found.limits.cpus.map(|cpus| format!("{cpus} CPUs")), found.limits.cpuset.clone()];
    // Without a limit there is none on either side, which is known.
    facts.put(
        "cpu_limit",
        found.cpu.threads.map(|_| {
            let limits: Vec<String> = limits.into_iter().flatten().collect();
            if limits.is_empty() { "none".to_owned() } else { limits.join(", ") }
        }),
    );
    facts.put("image", found.image.digest.clone().or_else(|| found.image.id.clone()));
    facts.put("model", found.model.sha256.clone());
    facts.aside("kernel", found.host.kernel.clone());
    facts.aside("os", found.host.os.clone());
    facts.aside("governor", found.cpu.governor.clone());
    facts.aside("image_reference", found.image.reference.clone());
    facts.aside("benchlet", found.benchlet_version.clone());
    let power = found.gpus.iter().flatten().filter_map(|gpu| gpu.power_limit_watts);
    let power: Vec<String> = power.map(|watts| format!("{watts} W")).collect();
    facts.aside("power_limit", Some(power.join(", ")));
    facts
}

/// What the containers that are measured may use: `0.5 CPUs, GPUs 0,1`; `none` without a limit.
fn limits_of<'a>(containers: impl IntoIterator<Item = Option<&'a ContainerSpec>>) -> String {
    let of_one = |container: &ContainerSpec| {
        let gpus = container.gpus.as_ref().map(|gpus| match &gpus.which {
            GpuSelection::All => "all GPUs".to_owned(),
            GpuSelection::Count(count) => format!("{count} GPUs"),
            GpuSelection::Ids(ids) => format!("GPUs {}", ids.join(",")),
        });
        let words = [
            container.nano_cpus.map(|cpus| format!("{} CPUs", cpus as f64 / 1e9)),
            container.cpuset.as_ref().map(|set| format!("CPUs {set}")),
            container.memory.map(|bytes| format!("{bytes} bytes of memory")),
            gpus,
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(", ")
    };
    let all: Vec<String> =
        containers.into_iter().flatten().map(of_one).filter(|words| !words.is_empty()).collect();
    if all.is_empty() { "none".to_owned() } else { all.join("; ") }
}

/// `2 × NVIDIA H100`, or `none`.
fn gpus(gpus: &[Gpu]) -> String {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for gpu in gpus {
        *counted.entry(gpu.name.as_deref().unwrap_or("unnamed")).or_default() += 1;
    }
    if counted.is_empty() {
        return "none".to_owned();
    }
    counted.iter().map(|(name, count)| format!("{count} × {name}")).collect::<Vec<_>>().join(", ")
}

fn workload(measure: &MeasurePlan, found: &Fingerprint, facts: &mut Facts) {
    let output = &measure.output;
    facts.put(
        "output",
        Some(format!(
            "at most {} tokens, temperature {}{}",
            output.max_tokens,
            output.temperature,
            if output.ignore_eos { ", whatever the model says" } else { "" }
        )),
    );
    facts.put("stream", Some(measure.stream.to_string()));
    facts.put("seed", Some(measure.seed.to_string()));
    facts.put("warmup", Some(measure.warmup.to_string()));
    let apis: BTreeSet<String> = measure.targets.iter().map(|target| format!("{:?}", target.api)).collect();
    facts.put("api", Some(apis.into_iter().collect::<Vec<_>>().join(", ")));
    let amounts: BTreeSet<String> = measure
        .cases
        .iter()
        .map(|case| match case.amount {
            CaseAmount::Requests(requests) => format!("{requests} requests"),
            CaseAmount::DurationMs(ms) => super::clock::human_ms(ms),
        })
        .collect();
    let conversations = matches!(measure.prompts, PromptPlan::Conversations(_));
    if !conversations {
        facts.put("amount", Some(amounts.into_iter().collect::<Vec<_>>().join(", ")));
        let arrivals: BTreeSet<String> = measure
            .cases
            .iter()
            .map(|case| match case.load {
                CaseLoad::Closed { .. } => "closed loop".to_owned(),
                CaseLoad::Open { arrivals, .. } => format!("{arrivals:?}"),
            })
            .collect();
        facts.put("arrivals", Some(arrivals.into_iter().collect::<Vec<_>>().join(", ")));
    }
    facts.put("prompts", prompts(&measure.prompts, found));
    if let PromptPlan::Conversations(all) = &measure.prompts {
        facts.put("context_size", Some(format!("{:?}", all.context_size)));
        facts.put("think_time", Some(super::clock::human_ms(all.think_time_ms)));
        let template = all.template.as_ref().map(|template| template.name.clone());
        facts.put("template", Some(template.unwrap_or_else(|| "the server's own".to_owned())));
    }
}

/// Their kind and, where their text is not benchlet's own, its hash. Of a file only that.
fn prompts(prompts: &PromptPlan, found: &Fingerprint) -> Option<String> {
    match prompts {
        PromptPlan::Builtin => Some("builtin".to_owned()),
        PromptPlan::Inline(all) => Some(format!("inline {}", digest(all)?)),
        PromptPlan::File(_) => found.prompts_sha256.as_ref().map(|hash| format!("file {}", short(hash))),
        PromptPlan::Synthetic { distribution, shared_prefix_tokens } => {
            Some(format!("synthetic, {distribution:?}, {shared_prefix_tokens} shared"))
        }
        PromptPlan::Conversations(all) => Some(format!("conversations {}", digest(&all.conversations)?)),
    }
}

fn digest(value: &impl Serialize) -> Option<String> {
    let text = serde_json::to_vec(value).ok()?;
    let hash = Sha256::digest(&text);
    Some(hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

/// What a server is started with, without where it listens.
fn server_flags(argv: &[String]) -> String {
    const PLACES: [&str; 4] = ["--host", "--port", "-p", "--uds"];
    let mut kept: Vec<&str> = Vec::new();
    let mut words = argv.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if PLACES.contains(&word) {
            words.next();
        } else if !PLACES
            .iter()
            .any(|place| word.strip_prefix(place).is_some_and(|rest| rest.starts_with('=')))
        {
            kept.push(word);
        }
    }
    kept.join(" ")
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::fingerprint::{Cpu, Host, Image, Model};
    use crate::run::step::GpuRequest;

    fn machine() -> Fingerprint {
        Fingerprint {
            host: Host { hostname: Some("box".into()), kernel: Some("6.1".into()), os: None },
            cpu: Cpu { model: Some("EPYC".into()), threads: Some(8), ..Cpu::default() },
            gpus: Some(vec![Gpu { name: Some("H100".into()), ..Gpu::default() }; 2]),
            image: Image { reference: None, id: Some("sha256:1".into()), digest: Some("sha256:2".into()) },
            model: Model { path: Some("/models/a.gguf".into()), size_bytes: None, sha256: Some("ab".into()) },
            ..Fingerprint::default()
        }
    }

    fn row(threads: u32) -> Map<String, Value> {
        let row = serde_json::json!({
            "build_commit": "abc", "n_threads": threads, "n_batch": 512, "n_prompt": 32, "avg_ts": 5.0,
            "test_time": "2026-01-01T00:00:00Z", "model_filename": "/models/a.gguf", "cpu_info": "EPYC",
        });
        row.as_object().unwrap().clone()
    }

    #[test]
    fn the_settings_of_llama_bench_are_those_of_its_rows() {
        let facts = of_bench(&machine(), &[row(2), row(2)], None).decisive;
        assert_eq!(facts["n_threads"].as_deref(), Some("2"));
        assert_eq!(facts["build"].as_deref(), Some("abc"));
        assert_eq!(facts["gpus"].as_deref(), Some("2 × H100"));
        assert_eq!(facts["image"].as_deref(), Some("sha256:2"));
        for absent in ["n_prompt", "avg_ts", "test_time", "model_filename", "hostname"] {
            assert!(!facts.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn what_a_container_may_use_is_a_fact() {
        let container = ContainerSpec {
            nano_cpus: Some(500_000_000),
            gpus: Some(GpuRequest {
                driver: "nvidia".into(),
                which: GpuSelection::Ids(vec!["0".into(), "1".into()]),
                capabilities: Vec::new(),
            }),
            ..ContainerSpec::default()
        };
        assert_eq!(limits_of([Some(&container), None]), "0.5 CPUs, GPUs 0,1");
        assert_eq!(limits_of([Some(&ContainerSpec::default())]), "none");
    }

    #[test]
    fn what_varies_inside_a_run_is_no_fact_of_it() {
        let facts = of_bench(&machine(), &[row(1), row(2)], None).decisive;
        assert!(!facts.contains_key("n_threads") && facts.contains_key("n_batch"));
    }

    #[test]
    fn what_is_not_known_of_the_machine_is_null_or_what_the_rows_tell() {
        let facts = of_bench(&Fingerprint::default(), &[row(2)], None).decisive;
        assert_eq!((&facts["model"], &facts["image"], &facts["gpus"]), (&None, &None, &None));
        assert_eq!(facts["cpu"].as_deref(), Some("EPYC"));
    }

    #[test]
    fn where_a_server_listens_is_none_of_its_flags() {
        let argv = ["llama-server", "--host", "0.0.0.0", "-c", "4096", "--port=80"].map(str::to_owned);
        assert_eq!(server_flags(&argv), "llama-server -c 4096");
    }

    #[test]
    fn every_group_has_the_facts_that_its_name_says() {
        assert_eq!(Group::of("n_threads"), Group::Flags);
        assert_eq!(Group::of("server_flags"), Group::Flags);
        assert_eq!(Group::of("gpus"), Group::Hardware);
        assert_eq!(Group::of("token_source"), Group::Measuring);
    }
}
