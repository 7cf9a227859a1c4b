//! `benchlet model-files`: the models to choose from, what of them is here, and bringing more. Brings by
//! the same means as a request of kind Model.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::error::{CliError, Exit};
use super::model_bar::ModelBar;
use super::output::{Cell, Console, Format, Structured, Style, Table};
use super::{block_on, model_catalogue, state_dir};
use crate::controller::model_cache::model_cache;
use crate::models::{CachedModel, ModelCache, ModelError, Presence, bring, cached, presence};
use crate::request::model::{self, Model};
use crate::request::model_catalogue::CatalogueEntry;
use crate::run::model_files::{ModelFiles, byte_words};
use crate::run::phase::Phase;
use crate::settings::Settings;
use crate::store::Store;

/// Shows and brings model files.
#[derive(Debug, Args)]
pub struct ModelFilesVerb {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Debug, Subcommand)]
pub enum What {
    /// Lists the catalogue and what is in the cache.
    #[command(after_help = "\
Examples:
  benchlet model-files list
  benchlet model-files list -o json

The cache is the setting `models`, laid out as the hub's own tools lay theirs out. The catalogue is built
in, or the file that the setting `model_catalogue` names.")]
    List(List),
    /// Brings model files into the cache, whole or not at all.
    #[command(after_help = "\
Examples:
  benchlet model-files pull --default
  benchlet model-files pull qwen2.5-3b                    a name of the catalogue
  benchlet model-files pull hf://owner/repo/model.gguf    one file of a repository
  benchlet model-files pull hf://owner/repo@v1 --include '*.safetensors' --include '*.json'
  benchlet model-files pull https://example.com/m.gguf --sha256 HASH

What was broken off is gone on with. HF_ENDPOINT names a mirror of the hub, HF_TOKEN opens gated
repositories. The first model that does not come ends it.

Exit codes: 0 all files are whole, 1 a file is not what it should be or broke off again and again,
2 no access, no network, no space or wrong usage, 4 not found.")]
    Pull(Pull),
}

#[derive(Debug, Args)]
pub struct List {
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

#[derive(Debug, Args)]
pub struct Pull {
    /// Names of the catalogue, or sources: hf://owner/repo, hf://owner/repo@revision/file, https://…
    #[arg(value_name = "NAME|SOURCE", required_unless_present = "default")]
    pub models: Vec<String>,
    /// The model that the catalogue marks as the default
    #[arg(long)]
    pub default: bool,
    /// Which files of a repository, as '*.safetensors'; may be given several times
    #[arg(long, value_name = "PATTERN", value_parser = model::pattern)]
    pub include: Vec<String>,
    /// SHA-256 that the one file has to have
    #[arg(long, value_name = "HASH", value_parser = model::sha256)]
    pub sha256: Option<String>,
    /// Do not wait for a benchmark that is measuring
    #[arg(long)]
    pub now: bool,
    /// Print what was brought as data
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Structured>,
}

pub fn run(verb: &ModelFilesVerb, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    match &verb.what {
        What::List(list) => show(list, settings, console),
        What::Pull(pull) => fetch(pull, settings, console),
    }
}

fn state_word(presence: Presence) -> &'static str {
    match presence {
        Presence::Whole => "whole",
        Presence::Partial => "partial",
        Presence::Absent => "absent",
    }
}

fn state_cell(presence: Presence) -> Cell {
    let style = match presence {
        Presence::Whole => Style::Good,
        Presence::Partial => Style::Busy,
        Presence::Absent => Style::Dim,
    };
    Cell::new(state_word(presence)).style(style)
}

fn show(verb: &List, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let catalogue = model_catalogue::load(settings)?;
    let here = cached(&settings.models);
    let held = |entry: &CatalogueEntry| presence(&settings.models, &entry.model);
    match verb.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            let entries: Vec<Value> = catalogue.iter().map(|entry| entry_json(entry, held(entry))).collect();
            let files: Vec<Value> = here.iter().map(file_json).collect();
            let whole = json!({ "cache": settings.models, "catalogue": entries, "cached": files });
            if format == Format::Json { console.json(&whole) } else { console.yaml(&whole) }
        }
        Some(Format::Name) => catalogue.iter().try_for_each(|entry| console.line(&entry.name)),
        Some(Format::Wide) | None => {
            let mut table = Table::new(&["NAME", "STATE", "SIZE", "CONTEXT", "SOURCE", "FOR"]);
            for entry in &catalogue {
                let (presence, bytes) = held(entry);
                let size = if presence == Presence::Absent { entry.model.size } else { Some(bytes) };
                let mark = if entry.is_default { " (default)" } else { "" };
                table.row(vec![
                    format!("{}{mark}", entry.name).into(),
                    state_cell(presence),
                    Cell::maybe(size.map(byte_words)),
                    Cell::maybe(entry.context.map(|context| context.to_string())),
                    entry.model.source.to_string().into(),
                    Cell::maybe(Some(&entry.purpose)),
                ]);
            }
            table.print(console)?;
            console.line("")?;
            console.line(format!("In {}:", settings.models.display()))?;
            if here.is_empty() {
                return console.line("  nothing yet");
            }
            let mut table = Table::new(&["FILE", "STATE", "SIZE"]).indented(2);
            for file in &here {
                let presence = if file.whole { Presence::Whole } else { Presence::Partial };
                table.row(vec![
                    file.name.as_str().into(),
                    state_cell(presence),
                    byte_words(file.size).into(),
                ]);
            }
            table.print(console)
        }
    }
}

fn entry_json(entry: &CatalogueEntry, (presence, bytes): (Presence, u64)) -> Value {
    json!({
        "name": entry.name,
        "source": entry.model.source.to_string(),
        "state": state_word(presence),
        "bytes": bytes,
        "size": entry.model.size,
        "sha256": entry.model.sha256,
        "context": entry.context,
        "for": entry.purpose,
        "default": entry.is_default,
    })
}

fn file_json(file: &CachedModel) -> Value {
    json!({ "name": file.name, "bytes": file.size, "whole": file.whole, "path": file.path })
}

fn fetch(verb: &Pull, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let wanted = wanted(verb, settings)?;
    let mut others = Others { settings, store: state_dir::open_if_there(settings)?, heeded: !verb.now };
    others.wait_for_quiet(console)?;
    let cache = model_cache(settings, others.store.clone()).map_err(|error| failure(&error))?;
    let mut brought: Vec<ModelFiles> = Vec::new();
    for model in &wanted {
        brought.push(loop {
            if let Some(files) = block_on(bring_in_quiet(&cache, model, &mut others, console))? {
                break files;
            }
            others.wait_for_quiet(console)?;
        });
    }
    match verb.output {
        Some(how) => console.structured(&brought, how),
        None => table(&brought).print(console),
    }
}

/// Brings a model, or nothing where a run has begun to measure meanwhile: what has come is gone on with.
async fn bring_in_quiet(
    cache: &ModelCache,
    model: &Model,
    others: &mut Others<'_>,
    console: &mut Console,
) -> Result<Option<ModelFiles>, CliError> {
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let listener = Arc::new(move |progress| drop(sender.send(progress)));
    let mut bar = ModelBar::new(console);
    let mut look = tokio::time::interval(LOOK);
    let mut work = std::pin::pin!(bring(cache, model, listener));
    let ended = loop {
        tokio::select! {
            biased;
            _ = look.tick() => match others.measuring() {
                Ok(None) => {}
                Ok(Some(_)) => break Ok(None),
                Err(error) => break Err(error),
            },
            Some(progress) = told.recv() => bar.show(&progress, console),
            ended = &mut work => break ended.map(Some).map_err(|error| failure(&error)),
        }
    };
    bar.finish();
    ended
}

/// Files with their hashes and places.
pub fn table(brought: &[ModelFiles]) -> Table {
    let mut table = Table::new(&["FILE", "SIZE", "SHA-256", "PATH"]);
    for file in brought.iter().flat_map(|model| &model.files) {
        table.row(vec![
            file.name.as_str().into(),
            byte_words(file.bytes).into(),
            Cell::maybe(file.sha256.as_ref()),
            Cell::maybe(file.path.as_ref()),
        ]);
    }
    table
}

fn wanted(verb: &Pull, settings: &Settings) -> Result<Vec<Model>, CliError> {
    let catalogue = model_catalogue::load(settings)?;
    let mut models: Vec<Model> =
        verb.models.iter().map(|text| model_catalogue::find(&catalogue, text)).collect::<Result<_, _>>()?;
    if verb.default {
        let default = catalogue.iter().find(|entry| entry.is_default).ok_or_else(|| {
            CliError::not_found("the catalogue marks no model as the default").hint("name one of it")
        })?;
        models.push(default.model.clone());
    }
    if !verb.include.is_empty() {
        if let Some(single) = models.iter().find(|model| model.source.is_single_file()) {
            let message = format!("--include is for a repository, and {} is one file", single.source);
            return Err(CliError::usage(message).hint("name the repository alone: hf://owner/repo"));
        }
        models.iter_mut().for_each(|model| model.include.clone_from(&verb.include));
    }
    if let Some(sha256) = &verb.sha256 {
        match models.as_mut_slice() {
            [one] if one.source.is_single_file() => one.sha256 = Some(sha256.clone()),
            _ => {
                return Err(CliError::usage("--sha256 is the hash of one file")
                    .hint("name one file with it, or write a request of kind Model with `files`"));
            }
        }
    }
    Ok(models)
}

/// How often a pull looks at the runs.
const LOOK: Duration = Duration::from_millis(500);

/// The runs beside which nothing is downloaded.
struct Others<'a> {
    settings: &'a Settings,
    /// None as long as nothing has run here.
    store: Option<Store>,
    heeded: bool,
}

impl Others<'_> {
    /// The request of a run that measures, is about to, or has not kept its results yet: those that a
    /// request of kind Model gives way to.
    fn measuring(&mut self) -> Result<Option<String>, CliError> {
        if !self.heeded {
            return Ok(None);
        }
        if self.store.is_none() {
            self.store = state_dir::open_if_there(self.settings)?;
        }
        let Some(store) = &self.store else { return Ok(None) };
        let measuring = |phase| match phase {
            Phase::Preparing | Phase::Running | Phase::Collecting => true,
            Phase::Pending | Phase::Completed | Phase::Failed | Phase::Cancelled => false,
        };
        let mut open = store.open_runs()?.into_iter();
        Ok(open.find(|run| run.spec.measures() && measuring(run.state.phase())).map(|run| run.request))
    }

    fn wait_for_quiet(&mut self, console: &mut Console) -> Result<(), CliError> {
        let mut told = false;
        while let Some(request) = self.measuring()? {
            if !told {
                console.note(format!("waits until {request} has measured; --now does not"));
                told = true;
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

fn failure(error: &ModelError) -> CliError {
    let exit = match error {
        ModelError::NotFound { .. } | ModelError::LocalFile { .. } | ModelError::Choice(_) => Exit::NotFound,
        ModelError::Hash { .. }
        | ModelError::GitHash { .. }
        | ModelError::Size { .. }
        | ModelError::NotGguf { .. }
        | ModelError::Empty { .. }
        | ModelError::SizeUnknown { .. }
        | ModelError::Broken { .. }
        | ModelError::Redirect { .. }
        | ModelError::Refused { .. }
        | ModelError::Answer { .. }
        | ModelError::Cancelled => Exit::No,
        ModelError::Endpoint
        | ModelError::NoAccess { .. }
        | ModelError::Unreachable { .. }
        | ModelError::Disk { .. }
        | ModelError::Cache { .. } => Exit::Usage,
    };
    let refusal = error.refusal();
    CliError::new(exit, format!("{} ({})", refusal.message, refusal.reason)).maybe_hint(refusal.hint)
}
