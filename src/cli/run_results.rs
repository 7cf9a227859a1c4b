//! What `benchlet run` shows: a line while it waits, and the cases of each run when all have ended.

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::error::CliError;
use super::output::{Cell, Console, Format, Structured, Table};
use super::{conversation_table, load_table};
use crate::controller::context::Context;
use crate::controller::live;
use crate::plan::comparison::Outcome as Gate;
use crate::report::{judgement_document, load_status, status_document as document};
use crate::request::valid::Spec;
use crate::run::load_case::LoadCase;
use crate::run::model_files::{ModelFiles, byte_words};
use crate::run::phase::{Phase, RunState};
use crate::store::Store;
use crate::store::applies::ApplyRow;
use crate::store::benchmarks::Figures;
use crate::store::judgements::Judgement;
use crate::store::runs::{Filter, RunRow};

/// How one request ended.
pub struct Ended {
    name: String,
    outcome: Outcome,
    /// What its gate says of the run; of a comparison what it judged last.
    judged: Option<Judgement>,
}

enum Outcome {
    /// A run that was made now.
    Ran {
        run: Box<RunRow>,
        figures: Option<Box<Figures>>,
        cases: Vec<Value>,
        /// Of a load test that has cases.
        load: Option<Vec<LoadCase>>,
        /// Of a Model, as far as they came.
        model: Option<ModelFiles>,
    },
    Applied(Box<ApplyRow>),
    /// A comparison, which has no run of its own.
    Judged,
    /// Nothing had to run.
    Unchanged,
}

impl Ended {
    /// Whether every case of a load test or a conversation is valid, met its objectives and has the answers that
    /// were expected; of other kinds there is nothing to say.
    pub fn is_sound(&self) -> bool {
        self.load_cases().unwrap_or_default().iter().all(|case| {
            // A made-up answer is none to judge.
            let as_expected = case.conversation.as_ref().is_none_or(|held| {
                let whole = held.skipped.is_none() && held.early.is_none();
                whole && (case.simulated || held.quality.met == held.quality.expected)
            });
            case.valid && as_expected && case.slo.values().all(|result| result.met == Some(true))
        })
    }

    fn phase(&self) -> &'static str {
        match &self.outcome {
            Outcome::Ran { run, .. } => run.state.phase().as_str(),
            Outcome::Applied(apply) => document::apply_phase(apply).as_str(),
            Outcome::Judged => Phase::Completed.as_str(),
            Outcome::Unchanged => "Unchanged",
        }
    }

    /// What the gate comes to; nothing without one.
    pub fn gate(&self) -> Option<Gate> {
        self.judged.as_ref().map(judgement_document::outcome)
    }

    /// The files of a Model.
    fn model(&self) -> Option<&ModelFiles> {
        match &self.outcome {
            Outcome::Ran { model, .. } => model.as_ref(),
            Outcome::Applied(_) | Outcome::Judged | Outcome::Unchanged => None,
        }
    }

    /// The cases of a load test that has some.
    fn load_cases(&self) -> Option<&[LoadCase]> {
        match &self.outcome {
            Outcome::Ran { load, .. } => load.as_deref(),
            Outcome::Applied(_) | Outcome::Judged | Outcome::Unchanged => None,
        }
    }

    pub fn is_good(&self) -> bool {
        match &self.outcome {
            Outcome::Ran { run, .. } => run.state.phase() == Phase::Completed,
            Outcome::Applied(apply) => document::apply_phase(apply) == Phase::Completed,
            Outcome::Judged | Outcome::Unchanged => true,
        }
    }
}

/// The newest run of each name, where it is newer than at the beginning.
///
/// # Errors
/// The store's own.
pub fn ended(store: &Store, names: &[String], began: &[u64]) -> Result<Vec<Ended>, CliError> {
    names
        .iter()
        .zip(began)
        .map(|(name, began)| {
            let filter = Filter { request: Some(name.clone()), limit: 1, ..Filter::default() };
            let run = store.runs(&filter)?.into_iter().next().filter(|run| run.seq > *began);
            let outcome = match run {
                Some(run) => {
                    let texts = store.cases(run.id)?;
                    let is_load = matches!(run.spec, Spec::LoadTest(_)) && !texts.is_empty();
                    Outcome::Ran {
                        figures: store.figures(run.id)?.map(Box::new),
                        cases: texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect(),
                        load: is_load.then(|| load_status::cases(&texts)),
                        model: if matches!(run.spec, Spec::Model(_)) {
                            Some(store.model_files(run.id)?.unwrap_or_default())
                        } else {
                            None
                        },
                        run: Box::new(run),
                    }
                }
                None => match store.applies_of(name, 1)?.into_iter().next() {
                    Some(apply) => Outcome::Applied(Box::new(apply)),
                    None => Outcome::Unchanged,
                },
            };
            let record = store.request(name)?;
            let compares = record.is_some_and(|record| matches!(record.spec, Spec::Comparison(_)));
            let judged = store.judgements(name, 1)?.pop().filter(|judged| match &outcome {
                Outcome::Ran { run, .. } => run.id == judged.run,
                Outcome::Applied(_) | Outcome::Judged | Outcome::Unchanged => compares,
            });
            let outcome = if compares && judged.is_some() { Outcome::Judged } else { outcome };
            Ok(Ended { name: name.clone(), outcome, judged })
        })
        .collect()
}

/// Shows how far the runs are, with what the controller knows of them.
pub fn show(bar: &ProgressBar, context: &Context, names: &[String]) {
    if bar.is_hidden() {
        return;
    }
    let runs = context.store.open_runs().unwrap_or_default();
    let lines = runs.iter().filter(|run| names.contains(&run.request)).map(|run| {
        let live = live(context, run);
        let detail = match (live.progress, live.activity) {
            (Some(progress), Some(activity)) => {
                let eta = progress.eta.map(|eta| format!(", {eta} left")).unwrap_or_default();
                format!(" {} %{eta}, {activity}", progress.done)
            }
            (Some(progress), None) => {
                let eta = progress.eta.map(|eta| format!(", {eta} left")).unwrap_or_default();
                format!(" {}/{}{eta}", progress.done, progress.total)
            }
            (None, Some(activity)) => format!(" {activity}"),
            (None, None) => String::new(),
        };
        format!("{}: {}{detail}", run.request, run.state.phase().as_str())
    });
    bar.set_message(lines.collect::<Vec<_>>().join("  "));
}

/// The same from the store alone.
pub fn show_stored(bar: &ProgressBar, store: &Store, names: &[String]) {
    let runs = store.open_runs().unwrap_or_default();
    let lines = runs.iter().filter(|run| names.contains(&run.request));
    let lines: Vec<_> = lines.map(|run| format!("{}: {}", run.request, run.state.phase().as_str())).collect();
    bar.set_message(lines.join("  "));
}

/// Prints what was measured.
///
/// # Errors
/// The output's own.
pub fn print(ended: &[Ended], format: Option<Format>, console: &mut Console) -> Result<(), CliError> {
    match format {
        Some(Format::Json) => return console.structured(&as_json(ended), Structured::Json),
        Some(Format::Yaml) => return console.structured(&as_json(ended), Structured::Yaml),
        Some(Format::Name) => {
            for one in ended {
                console.line(&one.name)?;
            }
            return Ok(());
        }
        Some(Format::Wide) | None => {}
    }
    let (models, measured_ones): (Vec<&Ended>, Vec<&Ended>) =
        ended.iter().partition(|one| one.model().is_some());
    let (load, others): (Vec<&Ended>, Vec<&Ended>) =
        measured_ones.into_iter().partition(|one| one.load_cases().is_some());
    if !others.is_empty() {
        let mut table = Table::new(&["NAME", "PHASE", "CASE", "TEST", "PARAMETERS", "T/S", "±", "SAMPLES"]);
        for one in others {
            rows(one, &mut table);
        }
        table.print(console)?;
        if !load.is_empty() {
            console.line("")?;
        }
    }
    measured(&load, console)?;
    if !models.is_empty() {
        if models.len() < ended.len() {
            console.line("")?;
        }
        brought(&models, console)?;
    }
    for one in ended {
        explain(one, console)?;
    }
    Ok(())
}

/// The files of models, as far as they came.
fn brought(models: &[&Ended], console: &mut Console) -> Result<(), CliError> {
    let mut table = Table::new(&["NAME", "PHASE", "FILE", "SIZE", "SHA256", "PATH"]);
    for one in models {
        let name = || vec![Cell::new(&one.name), Cell::new(one.phase())];
        let files = one.model().map(|model| model.files.as_slice()).unwrap_or_default();
        if files.is_empty() {
            table.row(name().into_iter().chain(std::iter::repeat_n(Cell::new("-"), 4)).collect());
        }
        for file in files {
            let mut cells = name();
            cells.extend([
                Cell::new(&file.name),
                byte_words(file.bytes).into(),
                Cell::maybe(file.sha256.as_ref()),
                Cell::maybe(file.path.as_ref()),
            ]);
            table.row(cells);
        }
    }
    table.print(console)
}

/// The cases of load tests, and of conversations in a table of their own.
fn measured(load: &[&Ended], console: &mut Console) -> Result<(), CliError> {
    let all = || {
        load.iter().flat_map(|one| one.load_cases().unwrap_or_default().iter().map(move |case| (*one, case)))
    };
    let first = |one: &Ended| vec![Cell::new(&one.name), Cell::new(one.phase())];
    let mut loads = load_table::table(&["NAME", "PHASE"]);
    let mut conversations = conversation_table::table(&["NAME", "PHASE"]);
    for (one, case) in all() {
        let mut cells = first(one);
        match &case.conversation {
            Some(held) => {
                cells.extend(conversation_table::cells(case, held));
                conversations.row(cells);
            }
            None => {
                cells.extend(load_table::cells(case));
                loads.row(cells);
            }
        }
    }
    let both = !loads.is_empty() && !conversations.is_empty();
    if !loads.is_empty() {
        loads.print(console)?;
        let of_loads = all().map(|(_, case)| case).filter(|case| case.conversation.is_none());
        console.line(load_table::legend(of_loads))?;
    }
    if both {
        console.line("")?;
    }
    if !conversations.is_empty() {
        conversations.print(console)?;
        console.line("Latencies are in milliseconds, over all turns.")?;
    }
    for (one, case) in all() {
        if let Some(held) = &case.conversation {
            for line in conversation_table::remarks(held) {
                console.line(format!("{}: {}: {}", one.name, case.label(), super::output::clean(&line)))?;
            }
        }
    }
    Ok(())
}

fn rows(one: &Ended, table: &mut Table) {
    let dash = || Cell::new("-");
    let mut row = |phase: &str, middle: [Cell; 6]| {
        let mut cells = vec![Cell::new(&one.name), Cell::new(phase)];
        cells.extend(middle);
        table.row(cells);
    };
    match &one.outcome {
        Outcome::Unchanged | Outcome::Judged => row(one.phase(), std::array::from_fn(|_| dash())),
        Outcome::Applied(apply) => {
            row(document::apply_phase(apply).as_str(), std::array::from_fn(|_| dash()));
        }
        Outcome::Ran { run, cases, .. } if cases.is_empty() => {
            let words = Cell::maybe(run.headline.as_ref());
            row(run.state.phase().as_str(), [dash(), dash(), words, dash(), dash(), dash()]);
        }
        Outcome::Ran { run, cases, .. } => {
            for case in cases {
                let text = |name: &str| case[name].as_str().unwrap_or("-").to_owned();
                let rate = |name: &str| {
                    case[name].as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{rate:.2}"))
                };
                let varied = case["varied"].as_object().map(|varied| {
                    let pairs = varied.iter().map(|(name, value)| match value.as_str() {
                        Some(text) => format!("{name}={text}"),
                        None => format!("{name}={value}"),
                    });
                    pairs.collect::<Vec<_>>().join(" ")
                });
                let samples: usize = case["samples_ts"]
                    .as_array()
                    .map_or(0, |launches| launches.iter().filter_map(Value::as_array).map(Vec::len).sum());
                row(
                    run.state.phase().as_str(),
                    [
                        Cell::new(case["case"].to_string()),
                        Cell::new(text("test")),
                        Cell::maybe(varied),
                        Cell::new(rate("avg_ts")),
                        Cell::new(rate("stddev_ts")),
                        Cell::new(samples.to_string()),
                    ],
                );
            }
        }
    }
}

fn explain(one: &Ended, console: &mut Console) -> Result<(), CliError> {
    explain_outcome(one, console)?;
    match &one.judged {
        Some(judged) => {
            let words = judgement_document::words(judged);
            console.line(format!("\n{}: {}", one.name, super::output::clean(&words)))
        }
        None => Ok(()),
    }
}

fn explain_outcome(one: &Ended, console: &mut Console) -> Result<(), CliError> {
    match &one.outcome {
        Outcome::Unchanged | Outcome::Judged => Ok(()),
        Outcome::Ran { run, .. } => {
            if run.simulated {
                let what = if one.load_cases().is_some() {
                    "the server was simulated; its figures are made up"
                } else {
                    "these figures are simulated; nothing was measured"
                };
                console.line(format!("\n{}: {what}", one.name))?;
            }
            if let Some(cases) = one.load_cases() {
                load_table::remarks(&one.name, cases, console)?;
            }
            if let RunState::Ended(end) = &run.state
                && end.phase != crate::run::phase::EndPhase::Completed
            {
                console.line(format!("\n{}: {}: {}", one.name, end.reason, end.message))?;
                if let Some(hint) = &end.hint {
                    console.line(format!("  hint: {hint}"))?;
                }
                for line in run.tail.iter().flat_map(|tail| tail.lines()) {
                    console.line(format!("  | {line}"))?;
                }
            }
            Ok(())
        }
        Outcome::Applied(apply) => {
            let applied = document::applied(apply);
            if let Some(message) = applied.message {
                console.line(format!("\n{}: {message}", one.name))?;
            }
            if !applied.diff.is_empty() {
                console.line(applied.diff)?;
            }
            Ok(())
        }
    }
}

fn as_json(ended: &[Ended]) -> Value {
    let items: Vec<Value> = ended
        .iter()
        .map(|one| {
            let mut value = outcome_json(one);
            if let Some(judged) = &one.judged {
                value["verdict"] = judgement_document::verdict(judged);
            }
            value
        })
        .collect();
    Value::Array(items)
}

fn outcome_json(one: &Ended) -> Value {
    match &one.outcome {
        Outcome::Unchanged | Outcome::Judged => json!({ "name": one.name, "phase": one.phase() }),
        Outcome::Applied(apply) => {
            let phase = document::apply_phase(apply).as_str();
            json!({ "name": one.name, "phase": phase, "applied": document::applied(apply) })
        }
        Outcome::Ran { run, figures, cases, .. } => {
            let (reason, message) = match &run.state {
                RunState::Ended(end) => (Some(end.reason.as_str()), Some(end.message.clone())),
                RunState::Pending
                | RunState::Preparing { .. }
                | RunState::Running { .. }
                | RunState::Collecting { .. } => (None, None),
            };
            json!({
                "name": one.name,
                "phase": run.state.phase().as_str(),
                "reason": reason,
                "message": message,
                "run": run.id.to_string(),
                "service": run.service,
                "simulated": run.simulated,
                "pp_avg_ts": figures.as_ref().and_then(|figures| figures.pp_avg_ts),
                "pp_stddev_ts": figures.as_ref().and_then(|figures| figures.pp_stddev_ts),
                "tg_avg_ts": figures.as_ref().and_then(|figures| figures.tg_avg_ts),
                "tg_stddev_ts": figures.as_ref().and_then(|figures| figures.tg_stddev_ts),
                "cases": cases,
            })
        }
    }
}
