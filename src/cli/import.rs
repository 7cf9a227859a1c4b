//! `benchlet import`: takes in what was measured elsewhere.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::error::{CliError, Exit};
use super::import_file::{Became, Taken, Way};
use super::output::{Cell, Console, Structured, Style, Table};
use super::{phase_words, state_dir};
use crate::controller::STATE_LOCK;
use crate::files::lock::{Holder, LockError, LockFile};
use crate::files::private_dir;
use crate::request::imported::{self, Format};
use crate::request::valid::NAME_RULE;
use crate::settings::Settings;
use crate::store::{Access, Store};

/// Takes in results of other tools, of another benchlet, or of an older database.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet import results.json                        its form is told by its content
  llama-bench -m model.gguf -o jsonl | benchlet import - --name qwen3-by-hand --service qwen3
  benchlet import benchmarks.json profile_export_aiperf.json --dry-run
  benchlet import old/benchmarks.db                   benchmark_runs and benchmark_results, either or both
  benchlet report results                             what was imported is there like any run

Forms: benchlet's own export; llama-bench's JSON, JSON Lines, CSV and SQL; the JSON of `vllm bench serve` and
vllm-bench; GuideLLM's benchmarks.json; AIPerf's profile_export_aiperf.json and profile_export.jsonl; a script's
few numbers (throughput_rps, latency_ms: { mean, p50, p95 … }, error_rate), whose other spellings are understood
where they leave no doubt; SQLite.

What is there already is not added again. Files are never changed. A file is taken in whole or not at all; of a
database the rows that can be read, and the others are named.

Exit codes: 0 fine, also where all was there already; 1 a file or a row cannot be read; 2 wrong usage; 4 no such
file.")]
pub struct Import {
    /// Files to take in; - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The name under which the runs stand [default: the file's, or the one that the file gives]
    #[arg(long)]
    pub name: Option<String>,
    /// The service that was measured [default: what the file says]
    #[arg(long)]
    pub service: Option<String>,
    /// What form the files have
    #[arg(long, value_enum, default_value_t = Form::Auto)]
    pub format: Form,
    /// Read them and say what would be added
    #[arg(long)]
    pub dry_run: bool,
    /// Print it as data
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Structured>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// By the content.
    Auto,
    Export,
    LlamaBench,
    Vllm,
    Guidellm,
    Aiperf,
    Simple,
    Sqlite,
}

impl Form {
    fn asked(self) -> Option<Format> {
        match self {
            Self::Auto => None,
            Self::Export => Some(Format::Export),
            Self::LlamaBench => Some(Format::LlamaBench),
            Self::Vllm => Some(Format::Vllm),
            Self::Guidellm => Some(Format::Guidellm),
            Self::Aiperf => Some(Format::Aiperf),
            Self::Simple => Some(Format::Simple),
            Self::Sqlite => Some(Format::Sqlite),
        }
    }
}

/// # Errors
/// A state that cannot be used, and whatever is wrong with a file, once all of them were looked at.
pub fn run(verb: &Import, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    if let Some(name) = verb.name.as_deref().filter(|name| imported::name_of(name) != **name) {
        return Err(CliError::usage(format!("{name:?} cannot be a name")).hint(NAME_RULE));
    }
    let store = if verb.dry_run { state_dir::open_if_there(settings)? } else { Some(open(settings)?) };
    let now = state_dir::now();
    let way = Way {
        store: store.as_ref(),
        dry_run: verb.dry_run,
        format: verb.format.asked(),
        name: verb.name.as_deref(),
        service: verb.service.as_deref(),
        now: &now,
        unix: now.parse::<jiff::Timestamp>().map_or(0, |time| time.as_second()),
    };
    let own = std::fs::canonicalize(settings.state.join("benchlet.db")).ok();
    let mut all = Vec::new();
    let mut worst: Option<Exit> = None;
    for path in &verb.files {
        let is_own = own.is_some() && std::fs::canonicalize(path).ok() == own;
        let outcome = if is_own {
            Err(CliError::usage(format!("{} is the database that it would be imported into", path.display())))
        } else {
            way.take(path)
        };
        match outcome {
            Ok(taken) => {
                if !taken.bad.is_empty() {
                    worst = worst.or(Some(Exit::No));
                }
                if verb.output.is_none() {
                    show(&taken, console)?;
                }
                all.push(serde_json::to_value(&taken)?);
            }
            Err(error) => {
                worst = worst.or(Some(error.exit));
                console.error(&error);
                all.push(failed(path.display().to_string(), &error));
            }
        }
    }
    if let Some(how) = verb.output {
        console.structured(&json!({ "files": all, "dryRun": verb.dry_run }), how)?;
    }
    worst.map_or(Ok(()), |exit| Err(CliError::silent(exit)))
}

fn failed(file: String, error: &CliError) -> Value {
    json!({ "file": file, "error": error.message, "hint": error.hint })
}

/// The store for writing, beside whatever controller is at work. One that has to be made or brought up to date
/// first is so under the state's lock, and only for that moment.
fn open(settings: &Settings) -> Result<Store, CliError> {
    if let Some(store) = state_dir::open_if_there(settings).ok().flatten() {
        return Ok(store);
    }
    let state = &settings.state;
    private_dir::create(state).map_err(|error| {
        CliError::usage(format!("the state directory {} cannot be made: {error}", state.display()))
            .hint("name another directory with --state")
    })?;
    let holder = Holder { pid: std::process::id(), what: "benchlet import".to_owned() };
    match LockFile::acquire(&state.join(STATE_LOCK), &holder) {
        Ok(_lock) => Ok(Store::open(state, Access::Owner)?),
        // Whoever has it made it, or says why it cannot be used.
        Err(LockError::HeldBy { .. }) => state_dir::open(settings),
        Err(error @ (LockError::NotWritable { .. } | LockError::Io { .. })) => {
            Err(CliError::usage(error.to_string()).hint("name another directory with --state"))
        }
    }
}

fn show(taken: &Taken, console: &mut Console) -> Result<(), CliError> {
    let form = taken.format.map_or("", |format| format.as_str());
    let count = |became: Became| taken.runs.iter().filter(|run| run.became == became).count();
    let mut words = Vec::new();
    let mut put = |count: usize, what: &str, words_for: &str| {
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            words.push(format!("{count} {what}{plural} {words_for}"));
        }
    };
    put(count(Became::Added), "run", "added");
    put(count(Became::WouldBeAdded), "run", "would be added");
    put(count(Became::AlreadyThere), "run", "already there");
    put(taken.rows.added, "row", "of benchmark_results added");
    put(taken.rows.would_be_added, "row", "of benchmark_results would be added");
    put(taken.rows.already_there, "row", "of benchmark_results already there");
    put(taken.bad.len(), "row", "that cannot be read");
    let words = if words.is_empty() { "nothing to add".to_owned() } else { words.join(", ") };
    console.line(format!("{}: {form}: {words}", super::output::clean(&taken.file)))?;
    if !taken.runs.is_empty() {
        let mut table = Table::new(&["RUN", "NAME", "KIND", "MODEL", "CASES", "FIGURES", ""]).indented(2);
        for run in &taken.runs {
            let state = match run.became {
                Became::Added => Cell::new("added").style(Style::Good),
                Became::WouldBeAdded => Cell::new("new"),
                Became::AlreadyThere => Cell::new("already there").style(Style::Dim),
            };
            table.row(vec![
                Cell::new(phase_words::short_id(run.id)),
                Cell::new(&run.name),
                Cell::new(run.kind),
                Cell::maybe(run.model.as_ref()),
                Cell::new(run.cases.to_string()),
                Cell::maybe(run.figures.as_ref()),
                state,
            ]);
        }
        table.print(console)?;
    }
    let mut notes: Vec<&String> =
        taken.notes.iter().chain(taken.runs.iter().flat_map(|run| &run.notes)).collect();
    notes.sort();
    notes.dedup();
    for note in notes {
        console.note(format!("note: {}: {note}", taken.file));
    }
    for bad in &taken.bad {
        console.note(format!("not read: {}: {bad}", taken.file));
    }
    Ok(())
}
