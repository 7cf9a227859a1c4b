//! What `benchlet plan` shows of a load test: targets, engines that would be started, the cases in their
//! order. Starts nothing and asks no server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::error::CliError;
use super::output::{Cell, Console, Structured, Style, Table, clean};
use super::{block_on, state_dir};
use crate::controller::surroundings::{Asked, Place, look_around_load};
use crate::executor::DockerExecutor;
use crate::plan::docker_command::command_line;
use crate::plan::load_plan;
use crate::request::load_test::{LoadTest, TargetPlace};
use crate::request::quantities::spoken_time;
use crate::request::valid::ValidRequest;
use crate::run::measure_plan::{
    CaseAmount, CaseLoad, CasePlan, ConversationPlan, Endpoint, MeasurePlan, PromptPlan,
};
use crate::run::plan::{Blueprint, LoadBlueprint};
use crate::settings::Settings;

/// Cases that the text shows.
const SHOWN: usize = 50;

pub fn run(
    request: &ValidRequest,
    spec: &LoadTest,
    file: &Path,
    settings: &Settings,
    output: Option<Structured>,
    console: &mut Console,
) -> Result<(), CliError> {
    let store = state_dir::open_if_there(settings)?;
    let managed = spec
        .targets
        .iter()
        .any(|target| matches!(target.place, TargetPlace::Managed { .. } | TargetPlace::Running { .. }));
    // Files that it names are beside it.
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let root = real.parent().map_or_else(PathBuf::new, Path::to_owned);
    let below = settings.requests.canonicalize().ok().filter(|watched| real.starts_with(watched));
    let root = below.unwrap_or(root);
    let relative = real.strip_prefix(&root).unwrap_or(&real).to_owned();
    let here = Settings { requests: root, ..settings.clone() };
    let around = block_on(async {
        let docker = if managed {
            DockerExecutor::connect("plan").await.map(Arc::new).map_err(|error| error.to_string())
        } else {
            Err("no target needs it".to_owned())
        };
        let place = Place { settings: &here, store: store.as_ref(), docker, instance: "plan" };
        let asked =
            Asked { run: Uuid::nil(), request: &request.name, timeout_ms: request.control.timeout_ms };
        Ok(look_around_load(&place, &asked, spec, &relative).await)
    })?;
    let blueprint = load_plan::resolve(spec, &around).map_err(super::plan::refused)?;
    let Some(load) = &blueprint.load else {
        return Err(CliError::usage("the request makes no load"));
    };
    match output {
        Some(how) => console.structured(&as_json(request, &blueprint, load), how),
        None => print(request, &blueprint, load, console),
    }
}

fn endpoint(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Url(url) => url.clone(),
        Endpoint::Started { .. } => "started for the run, on the loopback address".to_owned(),
    }
}

fn load_words(load: CaseLoad) -> String {
    match load {
        CaseLoad::Closed { concurrency } => format!("{concurrency} at a time"),
        CaseLoad::Open { rate, arrivals } => format!("{rate}/s, {arrivals:?}"),
    }
}

fn amount_words(amount: CaseAmount) -> String {
    match amount {
        CaseAmount::Requests(requests) => format!("{requests} requests"),
        CaseAmount::DurationMs(ms) => spoken_time(ms),
    }
}

fn target_of<'a>(plan: &'a MeasurePlan, case: &CasePlan) -> &'a str {
    plan.targets.get(case.target).map_or("?", |target| target.name.as_str())
}

fn as_json(request: &ValidRequest, blueprint: &Blueprint, load: &LoadBlueprint) -> Value {
    let targets: Vec<Value> = load
        .measure
        .targets
        .iter()
        .map(|target| {
            json!({
                "name": target.name,
                "engine": target.dialect.as_str(),
                "endpoint": endpoint(&target.endpoint),
                "simulated": target.simulated,
                "hasKey": target.key.is_some(),
            })
        })
        .collect();
    let cases: Vec<Value> = load
        .measure
        .cases
        .iter()
        .map(|case| {
            let (concurrency, rate) = match case.load {
                CaseLoad::Closed { concurrency } => (Some(concurrency), None),
                CaseLoad::Open { rate, .. } => (None, Some(rate)),
            };
            let (requests, duration_ms) = match case.amount {
                CaseAmount::Requests(requests) => (Some(requests), None),
                CaseAmount::DurationMs(ms) => (None, Some(ms)),
            };
            json!({
                "case": case.case,
                "repeat": case.repeat,
                "target": target_of(&load.measure, case),
                "model": case.model,
                "concurrency": concurrency,
                "rate": rate,
                "requests": requests,
                "durationMs": duration_ms,
                "inputTokens": case.input_tokens,
                "conversation": case.conversation.and_then(|own| {
                    conversations(&load.measure)?.conversations.get(own.index).map(|one| one.name.clone())
                }),
                "prefixCache": case.conversation.map(|own| own.cache.as_str()),
            })
        })
        .collect();
    json!({
        "request": request.name,
        "service": blueprint.service,
        "simulated": blueprint.simulated,
        "targets": targets,
        "engines": load.engines.iter().map(|engine| command_line(&engine.task, None)).collect::<Vec<_>>(),
        "timeout": spoken_time(request.control.timeout_ms),
        "claims": blueprint.claims,
        "stops": blueprint.stop,
        "caseCount": load.measure.cases.len(),
        "cases": cases,
        "warnings": blueprint.warnings,
    })
}

/// What is held, where it is a Conversation.
fn conversations(measure: &MeasurePlan) -> Option<&ConversationPlan> {
    match &measure.prompts {
        PromptPlan::Conversations(all) => Some(all),
        PromptPlan::Builtin | PromptPlan::Inline(_) | PromptPlan::File(_) | PromptPlan::Synthetic { .. } => {
            None
        }
    }
}

fn print(
    request: &ValidRequest,
    blueprint: &Blueprint,
    load: &LoadBlueprint,
    console: &mut Console,
) -> Result<(), CliError> {
    let mut put = |label: &str, value: &str| console.line(format!("{label:<10} {}", clean(value)));
    put("Request:", &request.name)?;
    put("Claims:", &blueprint.claims.join(", "))?;
    put("Timeout:", &spoken_time(request.control.timeout_ms))?;
    for engine in &load.engines {
        put("Starts:", &command_line(&engine.task, None))?;
    }
    console.line(console.painted("Targets:", Style::Bold))?;
    let mut targets = Table::new(&["NAME", "ENGINE", "WHERE", "KEY"]).indented(2);
    for target in &load.measure.targets {
        targets.row(vec![
            Cell::new(&target.name),
            Cell::new(target.dialect.as_str()),
            Cell::new(endpoint(&target.endpoint)),
            Cell::new(if target.key.is_some() { "yes" } else { "-" }),
        ]);
    }
    targets.print(console)?;
    let cases = &load.measure.cases;
    console.line(console.painted(&format!("Cases ({}, in this order):", cases.len()), Style::Bold))?;
    let held = conversations(&load.measure);
    let last = match held {
        Some(_) => ["CONVERSATION", "PREFIX CACHE", "TURNS"],
        None => ["LOAD", "AMOUNT", "INPUT TOKENS"],
    };
    let mut table = Table::new(&[&["CASE", "REPEAT", "TARGET", "MODEL"], &last[..]].concat()).indented(2);
    for case in cases.iter().take(SHOWN) {
        let mut cells = vec![
            Cell::new(case.case.to_string()),
            Cell::new(case.repeat.to_string()),
            Cell::new(target_of(&load.measure, case)),
            Cell::maybe(case.model.as_ref()),
        ];
        match (held, case.conversation) {
            (Some(all), Some(own)) => cells.extend([
                Cell::maybe(all.conversations.get(own.index).map(|one| &one.name)),
                Cell::new(own.cache.as_str()),
                Cell::maybe(all.conversations.get(own.index).map(|one| one.turns.len().to_string())),
            ]),
            (Some(_) | None, Some(_) | None) => cells.extend([
                Cell::new(load_words(case.load)),
                Cell::new(amount_words(case.amount)),
                Cell::maybe(case.input_tokens.map(|tokens| tokens.to_string())),
            ]),
        }
        table.row(cells);
    }
    table.print(console)?;
    if let Some(most) = held.and_then(|all| all.most) {
        console.line(format!("  Of these conversations the first {most} that fit are held."))?;
    }
    if cases.len() > SHOWN {
        console.line(format!("  and {} more; -o json has them", cases.len() - SHOWN))?;
    }
    for (title, lines) in [("Warnings:", &blueprint.warnings), ("Stops for the run:", &blueprint.stop)] {
        if !lines.is_empty() {
            console.line(console.painted(title, Style::Bold))?;
            lines.iter().try_for_each(|line| console.line(format!("  {}", clean(line))))?;
        }
    }
    Ok(())
}
