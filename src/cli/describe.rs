//! `benchlet describe`: everything about one request or run, for people.

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::error::CliError;
use super::output::{
    Cell, Console, Structured, Style, Table, age, clean, rate, rate_with_spread, short_duration,
};
use super::phase_words::{self, Summary};
use super::run_selection::{self, Selected};
use super::{
    condition_words, conversation_table, history, judging_words, load_spec, load_table, logs, model_files,
    state_dir,
};
use crate::load::Progress;
use crate::models::shown;
use crate::report::request_document;
use crate::request::diagnostic::Located;
use crate::request::quantities::spoken_time;
use crate::request::valid::Spec;
use crate::run::load_case::LoadCase;
use crate::run::model_files::ModelProgress;
use crate::run::phase::RunState;
use crate::run::progress::{self, LaunchProgress};
use crate::settings::Settings;
use crate::store::Store;
use crate::store::applies::{ApplyRow, ApplyState, Outcome};
use crate::store::overview::{RequestSummary, RunSummary};
use crate::store::runs::{Filter, RunRow};

/// Shows everything about one request or run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet describe qwen3           a request: conditions, runs, results, applies, events
  benchlet describe 3f2a9c1b        a run, by its id or the beginning of it
  benchlet describe qwen3 -o yaml   the same as data")]
pub struct Describe {
    /// A request's name, KIND/NAME, or a run's id
    pub name: String,
    /// Print it as data
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Structured>,
}

/// Runs, applies and events shown.
const RUNS: u32 = 5;
const APPLIES: u32 = 5;
const EVENTS: u32 = 15;

pub fn run(verb: &Describe, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let selected = match run_selection::select(&store, &verb.name) {
        Ok(selected) => selected,
        Err(error) => return refused_name(&store, verb, console)?.ok_or(error),
    };
    match selected {
        Selected::Run(row) => {
            let line = line_of(&store, &row)?;
            match verb.output {
                Some(how) => console.structured(&request_document::run(&store, &row, &line)?, how),
                None => describe_run(&store, settings, &row, &line, console),
            }
        }
        Selected::Request(name) => {
            let summary = store.request_summaries(Some(&name))?.pop();
            match (summary, verb.output) {
                (Some(summary), Some(how)) => {
                    console.structured(&request_document::request(&store, &summary)?, how)
                }
                (Some(summary), None) => describe_request(&store, settings, &summary, console),
                (None, _) => Err(CliError::not_found(format!("the file of the request {name} was removed"))
                    .hint(format!("`benchlet history {name}` shows what it measured"))),
            }
        }
    }
}

/// A name that only a refused document has.
fn refused_name(store: &Store, verb: &Describe, console: &mut Console) -> Result<Option<()>, CliError> {
    let name = verb.name.as_str();
    let Some(refused) = store.refused_names()?.into_iter().find(|refused| refused.name == name) else {
        return Ok(None);
    };
    if let Some(how) = verb.output {
        return console.structured(&request_document::refused(store, &refused)?, how).map(Some);
    }
    let mut fields = Fields::new(console);
    fields.put("Name", name)?;
    fields.put("Phase", &format!("Invalid ({})", refused.condition.reason))?;
    conditions(store, name, console)?;
    events(store, name, console)?;
    Ok(Some(()))
}

fn line_of(store: &Store, row: &RunRow) -> Result<RunSummary, CliError> {
    store.run_summary(row.id)?.ok_or_else(|| CliError::not_found(format!("there is no run {}", row.id)))
}

/// `Name:   value` lines.
struct Fields<'c> {
    console: &'c mut Console,
    indent: usize,
}

const LABEL: usize = 12;

impl<'c> Fields<'c> {
    fn new(console: &'c mut Console) -> Self {
        Self { console, indent: 0 }
    }

    fn put(&mut self, label: &str, value: &str) -> Result<(), CliError> {
        let blanks = " ".repeat(self.indent);
        let label = format!("{label}:");
        self.console.line(format!("{blanks}{label:LABEL$} {}", clean(value)))
    }

    fn maybe(&mut self, label: &str, value: Option<&str>) -> Result<(), CliError> {
        match value {
            Some(value) if !value.is_empty() => self.put(label, value),
            Some(_) | None => Ok(()),
        }
    }

    fn summary(&mut self, summary: &Summary) -> Result<(), CliError> {
        let phase = if summary.reason == summary.phase {
            summary.phase.clone()
        } else {
            format!("{} ({})", summary.phase, summary.reason)
        };
        self.put("Phase", &phase)?;
        self.maybe("Message", Some(&summary.message))?;
        self.maybe("Hint", summary.hint.as_deref())
    }
}

fn heading(console: &mut Console, text: &str) -> Result<(), CliError> {
    let text = console.painted(text, Style::Bold);
    console.line(text)
}

fn describe_request(
    store: &Store,
    settings: &Settings,
    request: &RequestSummary,
    console: &mut Console,
) -> Result<(), CliError> {
    let now = Timestamp::now();
    let mut fields = Fields::new(console);
    fields.put("Name", &request.name)?;
    fields.put("Kind", &request.kind)?;
    fields.put("File", &request.path)?;
    fields.put("UID", &request.uid)?;
    fields.put("Generation", &request.generation.to_string())?;
    fields.put("Created", &format!("{} ({} ago)", request.created_at, age(&request.created_at, now)))?;
    fields.summary(&phase_words::of_request(request))?;
    conditions(store, &request.name, console)?;
    spec(request, console)?;
    judging_words::verdict(store, &request.name, console)?;
    if let Some(line) = &request.run
        && let Some(row) = store.run(line.id)?
    {
        heading(console, if row.state.phase().is_terminal() { "Last run:" } else { "Current run:" })?;
        run_body(store, settings, &row, line, console)?;
        let filter = Filter { request: Some(request.name.clone()), limit: RUNS, ..Filter::default() };
        let runs = store.run_summaries(&filter)?;
        if runs.len() > 1 {
            heading(console, "Last runs:")?;
            history::table(&runs, false).indented(2).print(console)?;
        }
    }
    applies(store, &request.name, console)?;
    events(store, &request.name, console)
}

fn describe_run(
    store: &Store,
    settings: &Settings,
    row: &RunRow,
    line: &RunSummary,
    console: &mut Console,
) -> Result<(), CliError> {
    let mut fields = Fields::new(console);
    fields.put("Run", &row.id.to_string())?;
    fields.put("Request", &format!("{} (generation {})", row.request, row.generation))?;
    fields.summary(&phase_words::of_run(&line.kind, &row.state))?;
    run_body(store, settings, row, line, console)?;
    let happened: Vec<_> = store
        .events(&row.request, 200)?
        .into_iter()
        .filter(|event| event.run.as_deref() == Some(row.id.to_string().as_str()))
        .collect();
    print_events(&happened, console)
}

fn conditions(store: &Store, request: &str, console: &mut Console) -> Result<(), CliError> {
    let all = store.conditions(request)?;
    if all.is_empty() {
        return Ok(());
    }
    let problems: Vec<Located> = all.iter().flat_map(|named| named.condition.problems.clone()).collect();
    heading(console, "Conditions:")?;
    condition_words::table(all).print(console)?;
    if !problems.is_empty() {
        heading(console, "Problems:")?;
        condition_words::print_problems(&problems, console)?;
    }
    Ok(())
}

/// What is asked for, as it was understood.
fn spec(request: &RequestSummary, console: &mut Console) -> Result<(), CliError> {
    let value = serde_json::to_value(&request.spec)?;
    let Some(Value::Object(spec)) = value.as_object().and_then(|by_kind| by_kind.values().next()) else {
        return Ok(());
    };
    heading(console, "Spec:")?;
    let mut fields = Fields { console, indent: 2 };
    if let Spec::LoadTest(spec) = &request.spec {
        for (label, words) in load_spec::lines(spec) {
            fields.put(label, &words)?;
        }
        gate(request, &mut fields)?;
        return fields.put("timeout", &spoken_time(request.control.timeout_ms));
    }
    let in_words = match &request.spec {
        Spec::Baseline(spec) => Some(judging_words::of_baseline(spec)),
        Spec::Comparison(spec) => Some(judging_words::of_comparison(spec)),
        Spec::LlamaBench(_) | Spec::LoadTest(_) | Spec::Apply(_) | Spec::Model(_) | Spec::Imported(_) => None,
    };
    if let Some(lines) = in_words {
        return lines.iter().try_for_each(|(label, words)| fields.put(label, words));
    }
    if let Spec::Model(spec) = &request.spec {
        fields.put("source", &spec.source.to_string())?;
    }
    for (name, value) in spec {
        match value {
            Value::Null => {}
            // In its own words above.
            Value::Object(_) if name == "source" && request.kind == "Model" => {}
            Value::Array(list) if list.is_empty() => {}
            Value::Object(map) if map.is_empty() => {}
            Value::Array(params) if name == "params" => {
                let pairs: Vec<(String, String)> = params
                    .iter()
                    .map(|param| {
                        let text = |key: &str| param[key].as_str().unwrap_or_default().to_owned();
                        (text("flag"), text("value"))
                    })
                    .collect();
                fields.put(name, &phase_words::short_params(&pairs, usize::MAX))?;
            }
            Value::String(text) => fields.put(name, text)?,
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                fields.put(name, &value.to_string())?;
            }
        }
    }
    gate(request, &mut fields)?;
    fields.put("timeout", &spoken_time(request.control.timeout_ms))
}

fn gate(request: &RequestSummary, fields: &mut Fields<'_>) -> Result<(), CliError> {
    let gate = request.control.gate.as_deref().map(judging_words::of_gate);
    fields.maybe("gate", gate.as_deref())
}

fn run_body(
    store: &Store,
    settings: &Settings,
    row: &RunRow,
    line: &RunSummary,
    console: &mut Console,
) -> Result<(), CliError> {
    let mut fields = Fields { console, indent: 2 };
    fields.put("ID", &row.id.to_string())?;
    let what = if row.spec.measures() { "Service" } else { "Source" };
    fields.put(what, &row.service)?;
    if row.simulated {
        fields.put("Simulated", "yes: no model was loaded, every figure is made up")?;
    }
    let summary = phase_words::of_run(&line.kind, &row.state);
    fields.summary(&summary)?;
    if let Some(blueprint) = &row.blueprint {
        if blueprint.load.is_none() {
            fields.put("Executor", blueprint.executor.as_str())?;
            fields.put("Launches", &blueprint.launches.to_string())?;
        }
        fields.maybe("Model", Some(&blueprint.model))?;
    }
    fields.maybe("Parameters", Some(&phase_words::short_params(&line.params, usize::MAX)))?;
    fields.maybe("Command", row.plan.as_ref().map(|plan| plan.command.as_str()))?;
    fields.maybe("Started", row.started_at.as_deref())?;
    fields.maybe("Completed", row.completed_at.as_deref())?;
    fields.maybe("Took", history::took(line).as_deref())?;
    if row.attempt > 0 {
        fields.put("Attempt", &format!("{} (the first one was not enough)", row.attempt + 1))?;
    }
    fields.maybe("Progress", progress_of(settings, row).as_deref())?;
    let warnings: Vec<&String> = row.blueprint.iter().flat_map(|blueprint| &blueprint.warnings).collect();
    let dropped: Vec<&String> = row.blueprint.iter().flat_map(|blueprint| &blueprint.dropped).collect();
    results(store, line, console)?;
    bullets(console, "Warnings:", &warnings)?;
    bullets(console, "Dropped flags of the service:", &dropped)?;
    if let (RunState::Ended(_), Some(tail)) = (&row.state, &row.tail)
        && summary.phase == "Failed"
    {
        let lines: Vec<&str> = tail.lines().collect();
        bullets(console, "Last lines of output:", &lines)?;
    }
    Ok(())
}

fn bullets(console: &mut Console, title: &str, lines: &[impl AsRef<str>]) -> Result<(), CliError> {
    if lines.is_empty() {
        return Ok(());
    }
    heading(console, title)?;
    lines.iter().try_for_each(|line| console.line(format!("  {}", clean(line.as_ref()))))
}

/// Repetitions or requests so far, read from what the current task says.
pub fn progress_of(settings: &Settings, row: &RunRow) -> Option<String> {
    let RunState::Running { step, .. } = &row.state else {
        return None;
    };
    if matches!(row.spec, Spec::Model(_)) {
        return shown::read(&state_dir::spool(settings, row.id)).map(|at| download_words(&at));
    }
    let launches = logs::launches(row);
    let at = launches.iter().position(|launch| launch.id.step == *step)?;
    let folder = state_dir::spool(settings, row.id).join(launches[at].id.folder());
    if let Some(at) = Progress::read(&folder) {
        return Some(at.words());
    }
    let stderr = std::fs::read(folder.join(crate::executor::STDERR)).unwrap_or_default();
    let progress =
        progress::of_run(launches.len() as u64, at as u64, &LaunchProgress::of_stderr(&stderr), None)?;
    Some(format!(
        "{} of {} repetitions, launch {} of {}",
        progress.done,
        progress.total,
        at + 1,
        launches.len()
    ))
}

/// `downloading m.gguf: 1.2 GB of 4.7 GB, 25 %, 3m left`
fn download_words(at: &ModelProgress) -> String {
    let percent = at.percent().map(|percent| format!(", {percent} %")).unwrap_or_default();
    let left = at.eta_ms().filter(|ms| *ms > 0).map(|ms| format!(", {} left", short_duration(ms)));
    format!("{}{percent}{}", at.words(), left.unwrap_or_default())
}

/// The run's cases in a table.
///
/// # Errors
/// The store's own.
pub fn results(store: &Store, run: &RunSummary, console: &mut Console) -> Result<(), CliError> {
    if run.kind == "Model" {
        let Some(model) = store.model_files(run.id)? else { return Ok(()) };
        heading(console, "Model files:")?;
        return model_files::table(&[model]).indented(2).print(console);
    }
    let cases = request_document::cases(store, run.id)?;
    if cases.is_empty() {
        return Ok(());
    }
    let mark = if run.simulated { "Results (simulated, every figure is made up):" } else { "Results:" };
    heading(console, mark)?;
    if request_document::are_of_load(&run.kind, &cases) {
        let cases = load_table::cases(&cases);
        if cases.iter().any(|case| case.conversation.is_some()) {
            return conversations(&cases, console);
        }
        let mut table = load_table::table(&[]).indented(2);
        for case in &cases {
            table.row(load_table::cells(case));
        }
        table.print(console)?;
        for case in &cases {
            console.line(format!("  Case {}, {}, in milliseconds:", case.case, clean(&case.label())))?;
            load_table::latencies(case).print(console)?;
            for line in load_table::details(case) {
                console.line(format!("    {}", clean(&line)))?;
            }
        }
        return load_table::remarks("  Remark", &cases, console);
    }
    let mut table = Table::new(&["CASE", "TEST", "VARIED", "T/S", "MEDIAN", "SAMPLES"]).indented(2);
    for case in &cases {
        let text = |name: &str| case[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| case[name].as_f64();
        let varied: Vec<String> = case["varied"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(column, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("{column}={value}")
            })
            .collect();
        let samples: usize = case["samples_ts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_array)
            .map(Vec::len)
            .sum();
        table.row(vec![
            case["case"].to_string().into(),
            text("test").into(),
            Cell::maybe(Some(varied.join(" "))),
            Cell::maybe(number("avg_ts").map(|mean| rate_with_spread(mean, number("stddev_ts")))),
            Cell::maybe(number("median_ts").map(rate)),
            samples.to_string().into(),
        ]);
    }
    table.print(console)
}

fn conversations(cases: &[LoadCase], console: &mut Console) -> Result<(), CliError> {
    let held = || cases.iter().filter_map(|case| Some((case, case.conversation.as_ref()?)));
    let mut table = conversation_table::table(&[]).indented(2);
    for (case, held) in held() {
        table.row(conversation_table::cells(case, held));
    }
    table.print(console)?;
    for (case, held) in held() {
        console.line(format!("  Case {}, {}, times in milliseconds:", case.case, clean(&case.label())))?;
        let mut turns = conversation_table::turns(held, !case.simulated);
        if !turns.is_empty() {
            turns.print(console)?;
        }
        let own = conversation_table::details(held);
        for line in own.into_iter().chain(load_table::details(case)) {
            console.line(format!("    {}", clean(&line)))?;
        }
    }
    load_table::remarks("  Remark", cases, console)
}

fn applies(store: &Store, request: &str, console: &mut Console) -> Result<(), CliError> {
    let rows = store.applies_of(request, APPLIES)?;
    if rows.is_empty() {
        return Ok(());
    }
    let now = Timestamp::now();
    heading(console, "Applies:")?;
    let mut table = Table::new(&["APPLY", "RUN", "PHASE", "REASON", "SERVICE", "CHANGES", "AGE"]).indented(2);
    for row in &rows {
        let summary = phase_words::of_apply(&row.state);
        let outcome = outcome_of(row);
        let changes = outcome.map(|outcome| {
            let change = |change: &crate::store::applies::FlagChange| {
                let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
                format!("{} {} → {}", change.flag, side(&change.old), side(&change.new))
            };
            outcome.changes.iter().map(change).collect::<Vec<_>>().join(", ")
        });
        table.row(vec![
            phase_words::short_id(row.id).into(),
            Cell::maybe(row.run.map(phase_words::short_id)),
            phase_words::phase_cell(&summary.phase),
            summary.reason.into(),
            Cell::maybe(outcome.map(|outcome| outcome.service.as_str())),
            Cell::maybe(changes),
            age(&row.created_at, now).into(),
        ]);
    }
    table.print(console)?;
    if let Some(outcome) = rows.first().and_then(outcome_of)
        && let (true, Some(command)) = (outcome.restart_needed, &outcome.restart_command)
    {
        console.line(format!("  The service runs with its old flags until: {}", clean(command)))?;
    }
    Ok(())
}

fn outcome_of(row: &ApplyRow) -> Option<&Outcome> {
    match &row.state {
        ApplyState::Planned | ApplyState::Failed { .. } => None,
        ApplyState::Writing { outcome }
        | ApplyState::Restarting { outcome }
        | ApplyState::Done { outcome }
        | ApplyState::Reverted { outcome } => Some(outcome),
    }
}

fn events(store: &Store, request: &str, console: &mut Console) -> Result<(), CliError> {
    print_events(&store.events(request, EVENTS)?, console)
}

fn print_events(events: &[crate::store::events::EventRow], console: &mut Console) -> Result<(), CliError> {
    if events.is_empty() {
        return Ok(());
    }
    let now = Timestamp::now();
    heading(console, "Events:")?;
    let mut table = Table::new(&["AGE", "RUN", "REASON", "MESSAGE"]).indented(2);
    for event in events {
        let run = event.run.as_deref().map(|id| id.chars().take(8).collect::<String>());
        table.row(vec![
            age(&event.at, now).into(),
            Cell::maybe(run),
            event.reason.as_str().into(),
            event.message.as_str().into(),
        ]);
    }
    table.print(console)
}
