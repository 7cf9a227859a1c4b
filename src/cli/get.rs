//! `benchlet get`: requests in a table, and what changes among them.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::condition_words::marked_phase;
use super::error::CliError;
use super::output::{Cell, Console, Format, Table, age};
use super::phase_words::{self, phase_cell, rate_cell};
use super::{run_selection, state_dir};
use crate::models::shown;
use crate::plan::load_plan;
use crate::report::request_document;
use crate::request::apply::ApplySource;
use crate::request::gate::RunSource;
use crate::request::valid::Spec;
use crate::run::model_files::ModelProgress;
use crate::run::phase::Phase;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::overview::{RequestSummary, RunSummary};

/// Lists requests with their phase and figures.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet get                     every request
  benchlet get llamabench          those of one kind
  benchlet get qwen3 -o json       one, in full
  benchlet get -w                  all, and each change until Ctrl-C
  benchlet get -o name             names, for scripts
  benchlet get -o wide             with the reasons of what is not so, files and messages

A run that completed and of which something is not so has a mark, as Completed (Valid=False).
Works with and without a running controller: what it shows is in the state directory.")]
pub struct Get {
    /// A kind, a request's name, or KIND/NAME; everything when left out
    #[arg(value_name = "KIND|NAME")]
    pub what: Option<String>,
    /// Print what changes, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// How often a watch looks; a look costs microseconds.
pub const POLL: Duration = Duration::from_millis(200);

#[derive(Debug)]
enum Which {
    All,
    Kind(&'static str),
    Name(String),
}

impl Which {
    fn of(what: Option<&str>) -> Self {
        match what {
            None | Some("all") => Self::All,
            Some(word) => match (run_selection::kind_of(word), word.split_once('/')) {
                (Some(kind), _) => Self::Kind(kind),
                (None, Some((kind, name))) if run_selection::kind_of(kind).is_some() => {
                    Self::Name(name.to_owned())
                }
                (None, _) => Self::Name(word.to_owned()),
            },
        }
    }

    fn list(&self, store: &Store) -> Result<Vec<RequestSummary>, CliError> {
        let name = match self {
            Self::Name(name) => Some(name.as_str()),
            Self::All | Self::Kind(_) => None,
        };
        let mut list = store.request_summaries(name)?;
        if let Self::Kind(kind) = self {
            list.retain(|request| request.kind == *kind);
        }
        Ok(list)
    }
}

pub fn run(verb: &Get, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let which = Which::of(verb.what.as_deref());
    let store = match (state_dir::open_if_there(settings)?, &which) {
        (Some(store), _) => store,
        (None, Which::All | Which::Kind(_)) if !verb.watch => return nothing(verb, settings, console),
        (None, Which::All | Which::Kind(_) | Which::Name(_)) => state_dir::open(settings)?,
    };
    let mut watcher = store.watcher()?;
    watcher.changed();
    let requests = which.list(&store)?;
    if requests.is_empty() {
        if let Which::Name(name) = &which {
            return Err(missing(&store, name)?);
        }
        if !verb.watch && !has_refused(&store, &which)? {
            return nothing(verb, settings, console);
        }
    }
    let mut table = table(verb.output);
    let sight = Sight { verb, store: &store, settings };
    print_all(&sight, &which, &requests, &mut table, console)?;
    if requests.iter().any(is_unfinished) && state_dir::controller(settings).is_none() {
        console.note(format!(
            "no controller is at work on {}, so nothing goes on; start `benchlet serve`",
            settings.state.display()
        ));
    }
    let mut known = fingerprints(&requests);
    if !verb.watch {
        return Ok(());
    }
    loop {
        console.flush()?;
        std::thread::sleep(POLL);
        if !watcher.changed() {
            continue;
        }
        let now = which.list(&store)?;
        let fresh = fingerprints(&now);
        for request in now.iter().filter(|request| known.get(&request.name) != fresh.get(&request.name)) {
            print_change(&sight, request, &mut table, console)?;
        }
        known = fresh;
    }
}

/// Something is to be done for it that nobody but a controller does.
fn is_unfinished(request: &RequestSummary) -> bool {
    let phase = phase_words::of_request(request).phase;
    ["Pending", "Preparing", "Running", "Collecting"].contains(&phase.as_str())
}

fn nothing(verb: &Get, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    match verb.output {
        Some(Format::Json) => console.json(&request_document::list(Vec::new())),
        Some(Format::Yaml) => console.yaml(&request_document::list(Vec::new())),
        Some(Format::Name | Format::Wide) | None => {
            let state = settings.state.display();
            console.note(match state_dir::controller(settings) {
                Some(_) => format!("no requests in {} yet", settings.requests.display()),
                None => format!("no requests known in {state}; `benchlet serve` reads and carries them out"),
            });
            Ok(())
        }
    }
}

/// Why there is no request of that name: it may be refused, deleted or a run's id.
fn missing(store: &Store, name: &str) -> Result<CliError, CliError> {
    let refused = store.refused_names()?;
    if let Some(refused) = refused.iter().find(|refused| refused.name == name) {
        let reason = &refused.condition.reason;
        return Ok(CliError::no(format!("the request {name} is not accepted ({reason})"))
            .hint(format!("`benchlet describe {name}` and its status file say why")));
    }
    if store.find_run(name).is_ok_and(|run| run.is_some()) {
        return Ok(CliError::not_found(format!("{name} is a run, not a request"))
            .hint(format!("`benchlet describe {name}` shows it, `benchlet history` lists runs")));
    }
    if store.request(name)?.is_some() {
        return Ok(CliError::not_found(format!("the file of the request {name} was removed"))
            .hint(format!("`benchlet history {name}` shows what it measured")));
    }
    Ok(run_selection::unknown(store, name))
}

fn has_refused(store: &Store, which: &Which) -> Result<bool, CliError> {
    Ok(matches!(which, Which::All) && !store.refused_names()?.is_empty())
}

fn table(format: Option<Format>) -> Table {
    let headers: &[&str] = match format {
        Some(Format::Wide) => &[
            "NAME",
            "KIND",
            "PHASE",
            "REASON",
            "SERVICE",
            "PP(t/s)",
            "TG(t/s)",
            "AGE",
            "RUN",
            "GENERATION",
            "FILE",
            "MESSAGE",
        ],
        Some(Format::Json | Format::Yaml | Format::Name) | None => {
            &["NAME", "KIND", "PHASE", "REASON", "SERVICE", "PP(t/s)", "TG(t/s)", "AGE"]
        }
    };
    Table::new(headers)
}

/// What rows are made from.
struct Sight<'a> {
    verb: &'a Get,
    store: &'a Store,
    settings: &'a Settings,
}

fn print_all(
    sight: &Sight<'_>,
    which: &Which,
    requests: &[RequestSummary],
    table: &mut Table,
    console: &mut Console,
) -> Result<(), CliError> {
    let Sight { verb, store, .. } = sight;
    match verb.output {
        Some(Format::Json | Format::Yaml) if verb.watch => {
            requests.iter().try_for_each(|request| print_change(sight, request, table, console))
        }
        Some(format @ (Format::Json | Format::Yaml)) => {
            let mut items: Vec<_> = requests
                .iter()
                .map(|request| request_document::request(store, request))
                .collect::<Result<_, _>>()?;
            let whole = match which {
                Which::Name(_) => items.pop().unwrap_or_default(),
                Which::All | Which::Kind(_) => request_document::list(items),
            };
            if format == Format::Json { console.json(&whole) } else { console.yaml(&whole) }
        }
        Some(Format::Name) => {
            requests.iter().try_for_each(|request| print_change(sight, request, table, console))
        }
        Some(Format::Wide) | None => {
            let now = Timestamp::now();
            for request in requests {
                table.row(row(sight, request, now));
            }
            if matches!(which, Which::All) {
                for refused in store.refused_names()? {
                    let condition = refused.condition;
                    let mut cells: Vec<Cell> = vec![refused.name.into(), "-".into(), phase_cell("Invalid")];
                    cells.push(condition.reason.into());
                    cells.extend(["-", "-", "-"].map(Cell::from));
                    cells.push(age(&condition.changed_at, now).into());
                    if verb.output == Some(Format::Wide) {
                        cells.extend(["-", "-", "-"].map(Cell::from));
                        cells.push(Cell::maybe(Some(condition.message)));
                    }
                    table.row(cells);
                }
            }
            table.print(console)
        }
    }
}

fn print_change(
    sight: &Sight<'_>,
    request: &RequestSummary,
    table: &mut Table,
    console: &mut Console,
) -> Result<(), CliError> {
    let Sight { verb, store, .. } = sight;
    match verb.output {
        Some(Format::Json) => console.json_line(&request_document::request(store, request)?),
        Some(Format::Yaml) => {
            console.line("---")?;
            console.yaml(&request_document::request(store, request)?)
        }
        Some(Format::Name) => console.line(format!("{}/{}", request.kind.to_lowercase(), request.name)),
        Some(Format::Wide) | None => {
            table.row(row(sight, request, Timestamp::now()));
            table.print_rows(console)
        }
    }
}

fn row(sight: &Sight<'_>, request: &RequestSummary, now: Timestamp) -> Vec<Cell> {
    let format = sight.verb.output;
    let mut summary = phase_words::of_request(request);
    let run = request.run.as_ref();
    if let Some(at) = run.and_then(|run| download(sight.settings, run)) {
        let percent = at.percent().map(|percent| format!(" {percent}%")).unwrap_or_default();
        summary.reason.push_str(&percent);
        summary.message = at.words();
    }
    let since = run.map_or(&request.created_at, |run| &run.created_at);
    let mut cells: Vec<Cell> = vec![
        request.name.as_str().into(),
        request.kind.as_str().into(),
        marked_phase(&summary.phase, &request.untrue, format == Some(Format::Wide)),
        summary.reason.into(),
        Cell::maybe(service(request)),
        run.map_or("-".into(), |run| rate_cell(run, run.pp_avg_ts, run.tg_avg_ts)),
        run.map_or("-".into(), |run| rate_cell(run, run.tg_avg_ts, run.pp_avg_ts)),
        age(since, now).into(),
    ];
    if format == Some(Format::Wide) {
        cells.extend([
            Cell::maybe(run.map(|run| phase_words::short_id(run.id))),
            request.generation.to_string().into(),
            request.path.as_str().into(),
            Cell::maybe(Some(message(request, &summary.phase, summary.message))),
        ]);
    }
    cells
}

/// How far the files of a Model are that are on their way.
fn download(settings: &Settings, run: &RunSummary) -> Option<ModelProgress> {
    let is_coming = run.kind == "Model" && run.state.phase() == Phase::Running;
    is_coming.then(|| shown::read(&state_dir::spool(settings, run.id))).flatten()
}

/// What stands for a good run's figures; else why it is as it is.
fn message(request: &RequestSummary, phase: &str, message: String) -> String {
    let headline = || request.run.as_ref().and_then(|run| run.headline.clone());
    match phase {
        "Completed" => headline().unwrap_or(message),
        _ if message.is_empty() => headline().unwrap_or_default(),
        _ => message,
    }
}

/// The service that a request is about; of an apply the request that it takes from, of a model where it
/// comes from.
fn service(request: &RequestSummary) -> Option<String> {
    match &request.spec {
        Spec::LlamaBench(spec) => Some(spec.service.clone()),
        Spec::LoadTest(spec) => Some(load_plan::service_words(spec)),
        Spec::Model(spec) => Some(spec.source.to_string()),
        Spec::Baseline(spec) => Some(source_words(&spec.source)),
        Spec::Comparison(spec) => Some(source_words(&spec.candidate)),
        Spec::Imported(spec) => Some(spec.file.clone()),
        Spec::Apply(spec) => match &spec.source {
            ApplySource::Run(id) => Some(format!("(run {})", phase_words::short_id(*id))),
            ApplySource::LatestOf { request } | ApplySource::BestOf { request, .. } => {
                Some(format!("({request})"))
            }
        },
    }
}

/// The run that a baseline or a comparison is about.
fn source_words(source: &RunSource) -> String {
    match source {
        RunSource::Run(id) => format!("(run {})", phase_words::short_id(*id)),
        RunSource::LatestOf { request } => format!("({request})"),
    }
}

/// What a watch takes for a change.
fn fingerprints(requests: &[RequestSummary]) -> BTreeMap<String, String> {
    let line = |request: &RequestSummary| {
        let run = request.run.as_ref();
        let figures = run.map(|run| format!("{}{:?}{:?}", run.id, run.pp_avg_ts, run.tg_avg_ts));
        let summary = phase_words::of_request(request);
        format!(
            "{} {} {} {} {:?}",
            summary.phase,
            summary.reason,
            request.generation,
            figures.unwrap_or_default(),
            request.untrue
        )
    };
    requests.iter().map(|request| (request.name.clone(), line(request))).collect()
}
