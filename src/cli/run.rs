//! `benchlet run`: measure these requests now and say how it ended, for people at a terminal, cron and
//! CI. Without a controller it is one for these files alone; where `serve` holds the state, it asks
//! that one.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::error::{CliError, Exit};
use super::output::{Console, Format};
use super::run_results::{self, Ended};
use super::{serve, state_dir};
use crate::controller::{Controller, Sources, open};
use crate::decide::observed::Verb;
use crate::intake::ignore::{Candidate, classify};
use crate::intake::listing;
use crate::intake::load::{Content, Loaded, LoadedFile, load};
use crate::intake::watcher_task::IntakeEvent;
use crate::plan::comparison::Outcome;
use crate::request::flags::Param;
use crate::request::valid;
use crate::run::phase::Phase;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::runs::Filter;

/// Measures requests now, waits until all have ended, and prints the results
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  benchlet run requests/qwen3.yaml              measure once more, whatever ran before
  benchlet run requests/ --if-changed           only what has changed since its last run
  benchlet new LlamaBench --service s | benchlet run -

The exit code is 0 when every run completed, 1 when one failed or was cancelled, 2 when a request has
problems. With --strict it is 1 as well where a load test or a conversation is not valid, missed an objective, or got an answer without what was expected of it. A gate that fails is 1 too, and one that has nothing to compare with 3. Where `benchlet serve` is at work on the same state, it is asked to rerun and waited for.")]
pub struct Run {
    /// Request files or directories of them; - reads one from standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Leave alone what was measured before and has not changed
    #[arg(long)]
    pub if_changed: bool,
    /// Set a flag of llama-bench (-b=4096) or a field of a load test (concurrency=1,5) for this run alone; may
    /// be given several times
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true, value_parser = super::set_flag::parse)]
    pub set: Vec<Param>,
    /// Exit code 1 also where a load test's figures are not valid or an objective of its slo was missed
    #[arg(long)]
    pub strict: bool,
    /// How the results are printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// # Errors
/// A request that has problems, a run that did not complete, or a state that cannot be used.
pub fn run(verb: &Run, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let given = gather(verb, settings)?;
    problems(&given, console)?;
    settable(&given, &verb.set)?;
    let runtime = serve::runtime()?;
    let ended = match state_dir::controller(settings) {
        Some(holder) => runtime.block_on(ask_controller(verb, settings, &given, &holder, console))?,
        None => runtime.block_on(measure(verb, settings, &given, console))?,
    };
    run_results::print(&ended, verb.output, console)?;
    let good = |one: &Ended| {
        one.is_good() && (!verb.strict || one.is_sound()) && one.gate() != Some(Outcome::Regression)
    };
    if !ended.iter().all(good) {
        return Err(CliError::silent(Exit::No));
    }
    if ended.iter().any(|one| one.gate() == Some(Outcome::NotComparable)) {
        return Err(CliError::silent(Exit::NotComparable));
    }
    Ok(())
}

/// The files to measure, beneath one root.
struct Given {
    root: PathBuf,
    files: Vec<LoadedFile>,
    names: Vec<String>,
    /// Holds what came from standard input.
    _stdin: Option<tempfile::TempDir>,
}

fn gather(verb: &Run, settings: &Settings) -> Result<Given, CliError> {
    if verb.paths.iter().any(|path| path == Path::new("-")) {
        return from_stdin(verb);
    }
    let absolute = |path: &PathBuf| {
        std::fs::canonicalize(path).map_err(|error| {
            CliError::usage(format!("{} cannot be read: {error}", path.display())).hint("check the path")
        })
    };
    let paths: Vec<PathBuf> = verb.paths.iter().map(absolute).collect::<Result<_, _>>()?;
    let watched = std::fs::canonicalize(&settings.requests).ok();
    let root = match watched.filter(|watched| paths.iter().all(|path| path.starts_with(watched))) {
        Some(watched) => watched,
        None => common_directory(&paths),
    };
    let mut relative = BTreeSet::new();
    for path in &paths {
        if path.is_dir() {
            relative.extend(below(&root, path)?);
        } else {
            relative.insert(path.strip_prefix(&root).unwrap_or(path).to_owned());
        }
    }
    let files: Vec<LoadedFile> = relative
        .iter()
        .filter_map(|path| match load(&root, path) {
            Loaded::File(file) => Some(*file),
            Loaded::Gone => None,
        })
        .collect();
    if files.is_empty() {
        return Err(CliError::not_found("there are no requests in what was named")
            .hint("requests are *.yaml files; `benchlet init` writes some to begin with"));
    }
    Ok(Given { names: names(&files), root, files, _stdin: None })
}

fn from_stdin(verb: &Run) -> Result<Given, CliError> {
    if verb.paths.len() > 1 {
        return Err(
            CliError::usage("- cannot be combined with other paths").hint("run them one after the other")
        );
    }
    let mut text = Vec::new();
    std::io::stdin().take(2 << 20).read_to_end(&mut text)?;
    let directory = tempfile::tempdir()?;
    let root = std::fs::canonicalize(directory.path())?;
    std::fs::write(root.join("stdin.yaml"), text)?;
    match load(&root, Path::new("stdin.yaml")) {
        Loaded::File(file) => {
            let files = vec![*file];
            Ok(Given { names: names(&files), root, files, _stdin: Some(directory) })
        }
        Loaded::Gone => Err(CliError::usage("standard input could not be kept")),
    }
}

fn below(root: &Path, directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let listing = listing::list(directory).map_err(|state| {
        CliError::usage(format!("{} cannot be listed: {state}", directory.display())).hint("check the path")
    })?;
    let prefix = directory.strip_prefix(root).unwrap_or(directory).to_owned();
    Ok(listing
        .files
        .into_keys()
        .filter(|path| matches!(classify(path), Candidate::Request))
        .map(|path| prefix.join(path))
        .collect())
}

fn common_directory(paths: &[PathBuf]) -> PathBuf {
    let parent = |path: &PathBuf| {
        if path.is_dir() { path.clone() } else { path.parent().unwrap_or(path).to_owned() }
    };
    let mut common = paths.first().map(parent).unwrap_or_default();
    for path in paths {
        while !path.starts_with(&common) {
            if !common.pop() {
                break;
            }
        }
    }
    common
}

fn stem(file: &LoadedFile) -> String {
    file.relative.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The names that the files' documents claim.
fn names(files: &[LoadedFile]) -> Vec<String> {
    let mut names = Vec::new();
    for file in files {
        if let Content::Documents(stream) = &file.content {
            let roots = stream.documents.iter().filter_map(|document| {
                document.root.as_ref().ok().filter(|root| !root.is_null()).map(|root| (document.index, root))
            });
            names.extend(roots.filter_map(|(index, root)| valid::claimed_name(root, index, &stem(file))));
        }
    }
    names
}

/// The names that are ordered to run once more. A baseline is not: it would move to whatever ran last.
fn ordered(given: &Given) -> Vec<String> {
    let mut names = given.names.clone();
    for file in &given.files {
        let Content::Documents(stream) = &file.content else { continue };
        for document in &stream.documents {
            let Ok(root) = &document.root else { continue };
            if valid::claimed_kind(root) == Some("Baseline") {
                let pinned = valid::claimed_name(root, document.index, &stem(file));
                names.retain(|name| Some(name) != pinned.as_ref());
            }
        }
    }
    names
}

/// Says everything that is wrong with the files; nothing runs then, so that CI sees one kind of failure.
fn problems(given: &Given, console: &mut Console) -> Result<(), CliError> {
    let mut count = 0;
    for file in &given.files {
        let diagnostics = match &file.content {
            Content::Problem(problem) => vec![problem.clone()],
            Content::Data => Vec::new(),
            Content::Documents(stream) => stream
                .documents
                .iter()
                .flat_map(|document| match &document.root {
                    Err(problem) => vec![problem.clone()],
                    Ok(root) if root.is_null() => Vec::new(),
                    Ok(root) => valid::validate(root, document.index, &stem(file)).err().unwrap_or_default(),
                })
                .collect(),
        };
        for diagnostic in diagnostics.iter().filter(|diagnostic| diagnostic.is_error()) {
            count += 1;
            console.note(format!("{}:{}", file.relative.display(), diagnostic.locate(&file.source)));
        }
    }
    if count == 0 {
        return Ok(());
    }
    let message =
        format!("{count} problem{} in the requests; nothing was run", if count == 1 { "" } else { "s" });
    Err(CliError::usage(message).hint("`benchlet validate` shows them in their lines"))
}

/// Whether every request has what is to be set; nothing runs otherwise.
fn settable(given: &Given, set: &[Param]) -> Result<(), CliError> {
    for file in given.files.iter().filter(|_| !set.is_empty()) {
        let Content::Documents(stream) = &file.content else { continue };
        for document in &stream.documents {
            let Ok(root) = &document.root else { continue };
            let Ok(request) = valid::validate(root, document.index, &stem(file)) else { continue };
            let mut spec = request.spec.clone();
            spec.set(set, request.control.timeout_ms)
                .map_err(|reason| CliError::usage(format!("{}: {reason}", request.name)))?;
        }
    }
    Ok(())
}

/// Is the controller for these files alone, until all of their runs have ended.
async fn measure(
    verb: &Run,
    settings: &Settings,
    given: &Given,
    console: &mut Console,
) -> Result<Vec<Ended>, CliError> {
    let here = Settings { requests: given.root.clone(), ..settings.clone() };
    let opened = open(here, &format!("run on {}", given.root.display())).await?;
    let store = opened.context.store.clone();
    if !verb.if_changed || !verb.set.is_empty() {
        for name in &ordered(given) {
            store.order(name, Verb::Rerun { set: verb.set.clone() }, state_dir::now()).await?;
        }
    }
    let began = newest(&store, &given.names)?;
    let mut events: Vec<IntakeEvent> = given
        .files
        .iter()
        .map(|file| IntakeEvent::FileChanged { file: file.clone(), startable: true })
        .collect();
    let listed = given.files.iter().filter_map(|file| Some((file.relative.clone(), file.stat?)));
    let listing = listing::Listing { files: listed.collect(), ..listing::Listing::default() };
    events.push(IntakeEvent::Listing(Arc::new(listing)));
    let mut controller = Controller::new(opened, false)?;
    if !verb.set.is_empty() {
        controller.only_orders();
    }
    let context = controller.context().clone();
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(store.clone(), given.names.clone(), shutdown.clone()));
    let bar = bar(console);
    controller
        .run(Sources::Given(events), shutdown.clone(), |progress| {
            run_results::show(&bar, &context, &given.names);
            let settled = given.names.iter().all(|name| {
                progress.decisions.get(name).is_some_and(|decision| decision.recheck_ms.is_none())
            });
            progress.idle && progress.started && settled && all_ended(&store, &given.names)
        })
        .await?;
    bar.finish_and_clear();
    if shutdown.is_cancelled() {
        return Err(CliError::no("interrupted; what runs goes on and is taken up by the next benchlet")
            .hint("`benchlet get` shows it, `benchlet cancel NAME` ends it"));
    }
    run_results::ended(&store, &given.names, &began)
}

/// Whether nothing of these requests is open. A store that cannot be asked says no; it is asked again.
fn all_ended(store: &Store, names: &[String]) -> bool {
    let open = |name: &String| -> Result<bool, crate::store::StoreError> {
        Ok(store.open_runs()?.iter().any(|run| run.request == *name)
            || !store.commands_for(name)?.is_empty()
            || !store.open_applies_of(name)?.is_empty()
            || !store.owed_applies(name)?.is_empty()
            || is_judged(store, name)? == Some(false))
    };
    names.iter().all(|name| open(name).is_ok_and(|open| !open))
}

/// Whether the gate has judged the newest completed run; `None` without a gate or a run.
fn is_judged(store: &Store, name: &str) -> Result<Option<bool>, crate::store::StoreError> {
    let gated = store.request(name)?.is_some_and(|record| !record.deleted && record.control.gate.is_some());
    let filter = Filter {
        request: Some(name.to_owned()),
        phase: Some(Phase::Completed),
        limit: 1,
        ..Filter::default()
    };
    let Some(run) = store.runs(&filter)?.pop().filter(|_| gated) else { return Ok(None) };
    Ok(Some(store.judgements(name, 1)?.pop().is_some_and(|judged| judged.run == run.id)))
}

/// Leaves orders for the controller that is at work, and waits for what comes of them.
async fn ask_controller(
    verb: &Run,
    settings: &Settings,
    given: &Given,
    holder: &str,
    console: &mut Console,
) -> Result<Vec<Ended>, CliError> {
    let watched = std::fs::canonicalize(&settings.requests).unwrap_or_default();
    if given.root != watched {
        let state = settings.state.display();
        return Err(CliError::usage(format!("the state directory {state} is in use by {holder}"))
            .hint("name requests below its root, or give this run a --state of its own"));
    }
    let store = state_dir::open(settings)?;
    let began = newest(&store, &given.names)?;
    if !verb.if_changed || !verb.set.is_empty() {
        for name in &ordered(given) {
            store.order(name, Verb::Rerun { set: verb.set.clone() }, state_dir::now()).await?;
        }
    }
    let bar = bar(console);
    let mut watcher = store.watcher()?;
    let mut quiet = 0;
    // An unchanged request has nothing to wait for, which shows only by nothing happening.
    while quiet < 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        run_results::show_stored(&bar, &store, &given.names);
        quiet = if !watcher.changed() && all_ended(&store, &given.names) { quiet + 1 } else { 0 };
    }
    bar.finish_and_clear();
    run_results::ended(&store, &given.names, &began)
}

/// The newest run's number of each name, to tell new runs from old ones.
fn newest(store: &Store, names: &[String]) -> Result<Vec<u64>, CliError> {
    names
        .iter()
        .map(|name| {
            let filter = Filter { request: Some(name.clone()), limit: 1, ..Filter::default() };
            Ok(store.runs(&filter)?.first().map_or(0, |run| run.seq))
        })
        .collect()
}

/// The first interrupt cancels the runs and waits for them; the second leaves them to themselves.
async fn cancel_on_signal(store: Store, names: Vec<String>, shutdown: CancellationToken) {
    let first = CancellationToken::new();
    serve::stop_on_signal(first.clone()).await;
    if !first.is_cancelled() {
        return;
    }
    for name in &names {
        if let Err(error) = store.order(name, Verb::Cancel, state_dir::now()).await {
            tracing::warn!(%error, "the run could not be cancelled");
        }
    }
    serve::stop_on_signal(shutdown).await;
}

fn bar(console: &Console) -> ProgressBar {
    if !console.terminal {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
