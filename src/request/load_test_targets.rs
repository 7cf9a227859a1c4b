//! `targets:` and `target:` of a load test: which servers, how to speak to them, and what a request
//! may say about those that are started for it.

use std::sync::Arc;

use url::Url;

use super::fields::{Fields, Problems};
use super::load_test::{Api, Engine, EnginePreset, Simulation, Target, TargetPlace};
use super::load_test_schema::{SIMULATION, TARGET};
use super::load_test_size::{MOST_CONCURRENT, MOST_ENTRIES};
use super::tree::Node;
use super::{quantities, server_flags};

/// Longest name of a target, a model or an engine, in characters.
const LONGEST_NAME: usize = 256;
/// Longest time that the simulated engine may be told to take for a token.
const LONGEST_SIMULATED_MS: f64 = 3_600_000.0;

/// Empty, with problems, where there is none that could be measured.
pub fn decode(spec: &Fields<'_>) -> Vec<Target> {
    match (spec.get("targets"), spec.get("target")) {
        (Some(_), Some(_)) => {
            spec.refuse("target", "cannot stand beside targets", "put it into the list of targets");
            Vec::new()
        }
        (None, None) => {
            spec.problems.error_with_hint(
                spec.node(),
                "spec.targets is missing",
                "targets: [{ engine: llama.cpp, url: http://localhost:8080 }]",
            );
            Vec::new()
        }
        (None, Some(node)) => target(node, "spec.target", spec.problems).into_iter().collect(),
        (Some(node), None) => {
            let Some(items) = spec.list("targets") else {
                return Vec::new();
            };
            if items.is_empty() || items.len() > MOST_ENTRIES {
                spec.problems.error_with_hint(
                    node,
                    format!("spec.targets has {} entries", items.len()),
                    format!("from 1 to {MOST_ENTRIES}"),
                );
            }
            let one = |(index, item): (usize, &Arc<Node>)| {
                target(item, &format!("spec.targets[{index}]"), spec.problems)
            };
            let targets: Vec<_> = items.iter().enumerate().filter_map(one).collect();
            if targets.len() == items.len() {
                report_same_names(&targets, items, spec.problems);
            }
            targets
        }
    }
}

fn report_same_names(targets: &[Target], nodes: &[Arc<Node>], problems: &Problems) {
    for (index, target) in targets.iter().enumerate() {
        if target.name.is_some() && targets[..index].iter().any(|other| other.name == target.name) {
            let node = nodes[index].get("name").unwrap_or(&nodes[index]);
            problems.error_with_hint(
                node,
                format!("two targets have the name \"{}\"", target.name.as_deref().unwrap_or_default()),
                "results are told apart by it",
            );
        }
    }
}

fn target(node: &Node, path: &str, problems: &Problems) -> Option<Target> {
    let fields = Fields::new(node, path, TARGET, problems)?;
    let engine = fields.parsed("engine", engine);
    let place = place(&fields, engine.as_ref());
    let preset =
        fields.choice("preset", &[("SingleUser", EnginePreset::SingleUser), ("Debug", EnginePreset::Debug)]);
    let params = fields
        .get("params")
        .map(|node| server_flags::decode(node, &fields.path_of("params"), problems))
        .unwrap_or_default();
    if let Some(place) = &place {
        if !matches!(place, TargetPlace::Managed { .. }) {
            for field in ["preset", "params"] {
                fields.refuse(
                    field,
                    "is for servers that are started for the run",
                    "service: NAME with lifecycle: Managed",
                );
            }
        }
        if !matches!(place, TargetPlace::Simulated(_)) {
            fields.refuse(
                "simulated",
                "is for an engine that is started for the run",
                "engine: simulated, without url or service",
            );
        }
    }
    Some(Target {
        name: fields.parsed("name", name),
        engine,
        models: fields.parsed_list("model", MOST_ENTRIES, name).unwrap_or_default(),
        api: fields
            .choice("api", &[("Chat", Api::Chat), ("Completions", Api::Completions)])
            .unwrap_or_default(),
        preset,
        params,
        // Last, because an unusable place must not hide the other fields' problems.
        place: place?,
    })
}

/// A known engine, or the name of one in the settings, which are not looked at here.
fn engine(text: &str) -> Result<Engine, String> {
    let plain = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let engine = Engine::from_name(text);
    if let Engine::Custom(own) = &engine {
        let known = Engine::NAMES.into_iter().find(|known| plain(known) == plain(own));
        if let Some(known) = known {
            return Err(format!("did you mean \"{known}\"?"));
        }
        let good = own.len() <= LONGEST_NAME
            && !own.is_empty()
            && own.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if !good {
            return Err(format!("one of {}, or an [engines.NAME] of the settings", Engine::NAMES.join(", ")));
        }
    }
    Ok(engine)
}

/// As people and servers name things.
pub(super) fn name(text: &str) -> Result<String, String> {
    let good =
        !text.is_empty() && text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control);
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("a name of 1 to {LONGEST_NAME} characters in a single line"))
}

#[derive(Clone, Copy)]
enum Lifecycle {
    Running,
    Managed,
}

fn place(fields: &Fields<'_>, engine: Option<&Engine>) -> Option<TargetPlace> {
    let lifecycle =
        fields.choice("lifecycle", &[("Running", Lifecycle::Running), ("Managed", Lifecycle::Managed)]);
    if fields.get("service").is_none() {
        fields.refuse("lifecycle", "is for services", "service: NAME, as `benchlet services` lists them");
    }
    match (fields.get("url"), fields.get("service")) {
        (Some(_), Some(_)) => {
            fields.refuse("service", "cannot stand beside url", "keep one of them");
            None
        }
        (Some(_), None) => url(fields).map(TargetPlace::Url),
        (None, Some(node)) => {
            let service = fields.text("service")?;
            if engine == Some(&Engine::Simulated) || service == "simulated" {
                fields.wrong(
                    node,
                    "service",
                    &service,
                    "the stand-in is no service: engine: simulated alone",
                );
                return None;
            }
            match lifecycle.unwrap_or(Lifecycle::Running) {
                Lifecycle::Running => Some(TargetPlace::Running { service }),
                Lifecycle::Managed => Some(TargetPlace::Managed { service }),
            }
        }
        (None, None) => match engine {
            Some(Engine::Simulated) => Some(TargetPlace::Simulated(match fields.get("simulated") {
                Some(node) => simulation(node, &fields.path_of("simulated"), fields.problems)?,
                None => Simulation::default(),
            })),
            Some(Engine::LlamaCpp | Engine::Ollama | Engine::Vllm | Engine::OpenAi | Engine::Custom(_)) => {
                Some(TargetPlace::UsualPort)
            }
            None => {
                if fields.get("engine").is_none() {
                    fields.problems.error_with_hint(
                        fields.node(),
                        "a target needs an engine, a url or a service",
                        "for example { engine: llama.cpp, url: http://localhost:8080 }",
                    );
                }
                None
            }
        },
    }
}

/// The address without its trailing slash. What may hold a password or a key is not quoted.
fn url(fields: &Fields<'_>) -> Option<String> {
    let text = fields.text("url")?;
    let refuse = |message: &str, hint: &str| fields.refuse_unquoted("url", message, hint);
    if text.contains('@') {
        refuse("holds a user name or password", "keys are named in the settings, [keys.NAME]");
        return None;
    }
    if text.contains(['?', '#']) {
        refuse("has a query or a fragment", "the address alone, such as http://localhost:8080");
        return None;
    }
    let node = fields.get("url")?;
    let wrong = |hint: &str| fields.wrong(node, "url", &text, hint);
    let Ok(url) = Url::parse(&text) else {
        wrong(if text.contains("://") { "http://host:port" } else { "it begins with http:// or https://" });
        return None;
    };
    if !matches!(url.scheme(), "http" | "https") {
        if text.contains("://") {
            wrong("only http:// and https:// are spoken");
        } else {
            wrong(&format!("did you mean \"http://{text}\"?"));
        }
        return None;
    }
    if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
        wrong("http://host:port");
        return None;
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn simulation(node: &Node, path: &str, problems: &Problems) -> Option<Simulation> {
    let fields = Fields::new(node, path, SIMULATION, problems)?;
    let standard = Simulation::default();
    let short = |text: &str| match quantities::short_time_or_zero(text)? {
        ms if ms <= LONGEST_SIMULATED_MS => Ok(ms),
        _ => Err("at most an hour".to_owned()),
    };
    let share = |text: &str| quantities::percent(text, 100.0);
    const DIALECTS: &[(&str, &str)] =
        &[("llama.cpp", "llama.cpp"), ("ollama", "ollama"), ("vllm", "vllm"), ("openai", "openai")];
    Some(Simulation {
        dialect: fields.choice("dialect", DIALECTS).map_or(standard.dialect, str::to_owned),
        ttft_ms: fields.parsed("ttft", short).unwrap_or(standard.ttft_ms),
        prefill_ms: fields.parsed("prefill", short).unwrap_or(standard.prefill_ms),
        itl_ms: fields.parsed("itl", short).unwrap_or(standard.itl_ms),
        jitter_percent: fields.parsed("jitter", share).unwrap_or(standard.jitter_percent),
        error_percent: fields.parsed("errorRate", share).unwrap_or(standard.error_percent),
        cut_percent: fields.parsed("cutRate", share).unwrap_or(standard.cut_percent),
        tokens_per_chunk: fields.integer("tokensPerChunk", 1, 1000).unwrap_or(standard.tokens_per_chunk),
        slots: fields.integer("slots", 0, MOST_CONCURRENT).unwrap_or(standard.slots),
    })
}
