//! From the store and the last decision to the documents of a status file.

use std::path::Path;

use super::conditions::{About, dated};
use super::context::Context;
use super::measure::{self, launch_tasks};
use super::report_files;
use crate::decide::Decision;
use crate::executor::{STDERR, STDOUT};
use crate::intake::source_file::{DocumentState, FileProblem, SourceFile};
use crate::intake::source_map::SourceMap;
use crate::load::Progress;
use crate::report::status_document::{
    self, Draft, Live, Measured, Metadata, ProgressStatus, Status, StatusDocument,
};
use crate::report::{judgement_document, load_status};
use crate::request::diagnostic::{Diagnostic, Located, Place, Severity};
use crate::request::valid::{self, Spec};
use crate::run::clock::human_ms;
use crate::run::load_case::LoadCase;
use crate::run::phase::{Phase, RunState};
use crate::run::progress::{self, LaunchProgress};
use crate::run::reason::Reason;
use crate::store::StoreError;
use crate::store::runs::{Filter, RunRow};

/// Runs that a status lists.
const HISTORY: u32 = 5;
/// Events among which that of the last run's reports is looked for.
const REPORT_EVENTS: u32 = 20;

/// The documents of one request file, in its order.
///
/// # Errors
/// The store's own.
pub async fn documents(
    context: &Context,
    sources: &SourceMap,
    path: &Path,
    decision_of: impl Fn(&str) -> Option<Decision>,
) -> Result<Vec<StatusDocument>, StoreError> {
    let Some(file) = sources.file(path) else {
        return Ok(Vec::new());
    };
    let problems = sources.problems(path);
    let mut list: Vec<(usize, StatusDocument)> = Vec::new();
    for problem in &problems {
        let index = index_of(problem);
        list.push((index, problem_document(context, file, problem).await?));
    }
    for source in file.documents.iter().filter(|source| source.state == DocumentState::Current) {
        let taken = problems.iter().any(|problem| {
            matches!(problem, FileProblem::NameTaken { index, .. } if *index == source.index)
                || matches!(problem, FileProblem::StemTaken { .. })
        });
        if taken {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let document = match valid::validate(&source.root, source.index, &stem) {
            Err(problems) => {
                let located = problems.iter().map(|problem| problem.locate(&source.source)).collect();
                let kind = valid::claimed_kind(&source.root).map(str::to_owned);
                invalid(context, kind, &source.name, located).await?
            }
            Ok(request) => {
                valid_document(context, &request.name, request.spec.kind(), decision_of(&source.name)).await?
            }
        };
        list.push((source.index, document));
    }
    list.sort_by_key(|(index, _)| *index);
    let mut documents: Vec<StatusDocument> = list.into_iter().map(|(_, document)| document).collect();
    for rival in sources.status_rivals(path) {
        // It cannot have a status file of its own, so it is told of at the end of the one that it would take.
        let problem = FileProblem::StemTaken { by: path.to_owned() };
        documents.push(problem_document(context, rival, &problem).await?);
    }
    Ok(documents)
}

fn index_of(problem: &FileProblem) -> usize {
    match problem {
        FileProblem::Unreadable(_) | FileProblem::StemTaken { .. } => 0,
        FileProblem::Document { index, .. } | FileProblem::NameTaken { index, .. } => *index,
    }
}

async fn problem_document(
    context: &Context,
    file: &SourceFile,
    problem: &FileProblem,
) -> Result<StatusDocument, StoreError> {
    let key = key_of(file, problem);
    let (reason, name, located) = match problem {
        FileProblem::Unreadable(problem) | FileProblem::Document { problem, .. } => {
            (Reason::Invalid, None, problem.locate(&file.source))
        }
        FileProblem::NameTaken { name, by, .. } => {
            let message = format!("the name {name} belongs to {}", by.display());
            (
                Reason::Conflict,
                Some(name.clone()),
                whole(message, "give this request a metadata.name of its own"),
            )
        }
        FileProblem::StemTaken { by } => {
            let message = format!(
                "{} is not carried out: {} has the same status file",
                file.path.display(),
                by.display()
            );
            (Reason::Conflict, None, whole(message, "rename one of the two files"))
        }
    };
    let message = located.to_string();
    let problems = vec![located];
    let about = About { key: &key, generation: None, run: None, problems: &problems };
    let draft = Draft::new("Accepted", "False", reason, message.clone());
    let conditions = dated(context, about, vec![draft]).await?;
    let status = Status {
        phase: reason.as_str().to_owned(),
        reason: Some(reason.as_str().to_owned()),
        message: Some(message),
        conditions,
        problems,
        ..Status::default()
    };
    Ok(status_document::document(None, Metadata { name, ..Metadata::default() }, status))
}

/// Under which a problem of a file is kept that belongs to no request.
fn key_of(file: &SourceFile, problem: &FileProblem) -> String {
    format!("{}#{}", file.path.display(), index_of(problem))
}

/// All of them that a file has now.
pub fn problem_keys(sources: &SourceMap, file: &SourceFile) -> Vec<String> {
    sources.problems(&file.path).iter().map(|problem| key_of(file, problem)).collect()
}

fn whole(message: String, hint: &str) -> Located {
    Diagnostic { severity: Severity::Error, place: Place::whole_file(), message, hint: Some(hint.to_owned()) }
        .locate("")
}

/// A document with problems; what its name had before stays to be seen.
async fn invalid(
    context: &Context,
    kind: Option<String>,
    name: &str,
    problems: Vec<Located>,
) -> Result<StatusDocument, StoreError> {
    let count = problems.len();
    let message = match problems.first() {
        Some(first) if count == 1 => first.to_string(),
        Some(first) => format!("{count} problems; the first: {first}"),
        None => "the document has problems".to_owned(),
    };
    let runs = newest(context, name)?;
    let (metadata, mut status, load) = base(context, name, &runs)?;
    let applies = context.store.applies_of(name, 1)?;
    let run = runs.first().map(|measured| &measured.run);
    let mut drafts = status_document::conditions(run, applies.first());
    drafts.extend(load_status::conditions(&load, run.map(|run| run.state.phase())));
    let judged =
        context.store.standing_judgement(name, kind.as_deref().unwrap_or_default(), run.map(|run| run.id))?;
    drafts.extend(judged.as_ref().map(judgement_document::condition));
    drafts[0] = Draft::new("Accepted", "False", Reason::Invalid, message.clone());
    let about =
        About { key: name, generation: metadata.generation, run: run.map(|run| run.id), problems: &problems };
    status.conditions = dated(context, about, drafts).await?;
    status.phase = "Invalid".to_owned();
    status.reason = Some(Reason::Invalid.as_str().to_owned());
    status.message = Some(message);
    status.problems = problems;
    Ok(status_document::document(kind, metadata, status))
}

async fn valid_document(
    context: &Context,
    name: &str,
    kind: &str,
    decision: Option<Decision>,
) -> Result<StatusDocument, StoreError> {
    let runs = newest(context, name)?;
    let (metadata, mut status, load) = base(context, name, &runs)?;
    let applies = context.store.applies_of(name, 1)?;
    let run = runs.first().map(|measured| &measured.run);
    let mut drafts = status_document::conditions(run, applies.first());
    drafts.extend(load_status::conditions(&load, run.map(|run| run.state.phase())));
    let judged = context.store.standing_judgement(name, kind, run.map(|run| run.id))?;
    if let Some(judged) = &judged {
        if kind == "Comparison" {
            drafts.push(Draft::new("Succeeded", "True", Reason::Judged, "the newest run was judged"));
        }
        drafts.push(judgement_document::condition(judged));
        status.verdict = Some(judgement_document::verdict(judged));
    }
    if kind == "Baseline" {
        status.baseline = context.store.baseline_set_by(name)?.as_ref().map(judgement_document::baseline);
        drafts.extend(status.baseline.as_ref().map(|_| {
            Draft::new("Succeeded", "True", Reason::BaselineSet, "the run is pinned under the name")
        }));
    }
    let about =
        About { key: name, generation: metadata.generation, run: run.map(|run| run.id), problems: &[] };
    status.conditions = dated(context, about, drafts).await?;
    status.phase = match (kind, run, applies.first()) {
        ("Apply", _, Some(apply)) => status_document::apply_phase(apply).as_str().to_owned(),
        ("Baseline", _, _) if status.baseline.is_some() => Phase::Completed.as_str().to_owned(),
        ("Comparison", _, _) if judged.is_some() => Phase::Completed.as_str().to_owned(),
        (_, Some(run), _) => run.state.phase().as_str().to_owned(),
        (_, None, _) => Phase::Pending.as_str().to_owned(),
    };
    describe_phase(&mut status, run, decision.as_ref());
    let returned =
        run.is_some_and(|run| metadata.uid.as_deref() != Some(run.request_uid.to_string().as_str()));
    if let Some(decision) = decision.filter(|decision| returned && decision.reason == Reason::AlreadyRan) {
        // The newest run is of an earlier request of this name, so its ending does not explain the rest.
        status.reason = Some(decision.reason.as_str().to_owned());
        status.message = Some(decision.message);
        status.hint = None;
    }
    if let Some(apply) = applies.first() {
        let applied = status_document::applied(apply);
        if kind == "Apply" && applied.reason.is_some() {
            status.reason.clone_from(&applied.reason);
            status.message.clone_from(&applied.message);
        }
        status.applied = Some(applied);
    }
    Ok(status_document::document(Some(kind.to_owned()), metadata, status))
}

/// Reason and message beside the phase: how it ended, or what it waits for.
fn describe_phase(status: &mut Status, run: Option<&RunRow>, decision: Option<&Decision>) {
    let ended = match run.map(|run| &run.state) {
        Some(RunState::Ended(end)) => Some(end),
        Some(
            RunState::Pending
            | RunState::Preparing { .. }
            | RunState::Running { .. }
            | RunState::Collecting { .. },
        )
        | None => None,
    };
    match (ended, decision) {
        (Some(end), _) => {
            status.reason = Some(end.reason.as_str().to_owned());
            status.message = Some(end.message.clone()).filter(|message| !message.is_empty());
            status.hint.clone_from(&end.hint);
        }
        (None, Some(decision)) => {
            status.reason = Some(decision.reason.as_str().to_owned());
            status.message = Some(decision.message.clone()).filter(|message| !message.is_empty());
            if run.is_none() && decision.reason == Reason::Suspended {
                status.phase = Reason::Suspended.as_str().to_owned();
            }
        }
        (None, None) => {}
    }
}

/// What is the same for valid and invalid documents: identity, the newest run, results, history. With it
/// the newest run's cases, where it is a load test's.
fn base(
    context: &Context,
    name: &str,
    runs: &[Measured],
) -> Result<(Metadata, Status, Vec<LoadCase>), StoreError> {
    let record = context.store.request(name)?.filter(|record| !record.deleted);
    let metadata = Metadata {
        name: Some(name.to_owned()),
        uid: record.as_ref().map(|record| record.uid.to_string()),
        generation: record.as_ref().map(|record| record.generation),
        spec_hash: record.as_ref().map(|record| record.spec_hash.clone()),
    };
    let mut status = Status { observed_generation: metadata.generation, ..Status::default() };
    let mut load = Vec::new();
    if let Some(Measured { run, figures }) = runs.first() {
        status.command =
            run.plan.as_ref().map(|plan| plan.command.clone()).filter(|command| !command.is_empty());
        if let Some(blueprint) = &run.blueprint {
            status.warnings.clone_from(&blueprint.warnings);
            status.dropped.clone_from(&blueprint.dropped);
        }
        status.warnings.extend(tool_warnings(run));
        if record.as_ref().is_some_and(|record| record.control.report.is_some()) {
            status.warnings.extend(failed_report(context, run)?);
        }
        if matches!(run.spec, Spec::Model(_)) {
            let at = context.jobs.model(run.id).map(|progress| progress.model);
            status.model = match at {
                Some(model) if !model.files.is_empty() => Some(model),
                Some(_) | None => context.store.model_files(run.id)?,
            };
        }
        status.run = Some(status_document::run_status(run, live(context, run)));
        let cases = context.store.cases(run.id)?;
        match (&run.spec, figures, cases.is_empty()) {
            (_, _, true) => {}
            (Spec::LoadTest(_), _, false) => {
                load = load_status::cases(&cases);
                status.results = Some(load_status::results(&load, run.simulated));
            }
            (
                Spec::LlamaBench(_)
                | Spec::Apply(_)
                | Spec::Model(_)
                | Spec::Baseline(_)
                | Spec::Comparison(_)
                | Spec::Imported(_),
                figures,
                false,
            ) => {
                let results =
                    figures.as_ref().map(|figures| status_document::results(figures, &cases, run.simulated));
                status.results = results;
            }
        }
    }
    status.history = runs
        .iter()
        .filter(|measured| measured.run.state.phase().is_terminal())
        .map(status_document::past)
        .collect();
    Ok((metadata, status, load))
}

fn newest(context: &Context, name: &str) -> Result<Vec<Measured>, StoreError> {
    let filter = Filter { request: Some(name.to_owned()), limit: HISTORY, ..Filter::default() };
    let runs = context.store.runs(&filter)?;
    runs.into_iter().map(|run| Ok(Measured { figures: context.store.figures(run.id)?, run })).collect()
}

/// Why the run's reports were not written, where they were not.
fn failed_report(context: &Context, run: &RunRow) -> Result<Option<String>, StoreError> {
    let id = run.id.to_string();
    let events = context.store.events(&run.request, REPORT_EVENTS)?;
    let failed = events.into_iter().rev().find(|event| {
        event.run.as_deref() == Some(id.as_str()) && event.reason == report_files::REPORT_FAILED
    });
    Ok(failed.map(|event| format!("no report was written: {}", event.message)))
}

fn tool_warnings(run: &RunRow) -> Vec<String> {
    match &run.state {
        RunState::Preparing { prepared, .. } => {
            prepared.tool.as_ref().map(|tool| tool.warnings.clone()).unwrap_or_default()
        }
        RunState::Pending | RunState::Running { .. } | RunState::Collecting { .. } | RunState::Ended(_) => {
            run.plan.as_ref().map(|plan| plan.warnings.clone()).unwrap_or_default()
        }
    }
}

/// A run in progress as its spool shows it.
pub fn live(context: &Context, run: &RunRow) -> Live {
    let mut live = Live { activity: context.jobs.note(run.id), ..Live::default() };
    let RunState::Running { step, .. } = &run.state else {
        return live;
    };
    let eta_words = |ms: u64| human_ms(ms.max(1_000) / 1_000 * 1_000);
    if let Some(at) = context.jobs.model(run.id) {
        // In percent: of a hundred gigabytes nobody reads the bytes.
        let progress = |done| ProgressStatus { done, total: 100, eta: at.eta_ms().map(eta_words) };
        live.progress = at.percent().map(progress);
        return live;
    }
    let tasks = launch_tasks(run);
    let completed = tasks.iter().filter(|task| task.step < *step).count();
    let Some(task) = tasks.iter().find(|task| task.step == *step) else {
        return live;
    };
    let spool = context.spool(task);
    if let Some(at) = Progress::read(&spool) {
        let done = at.thousandths();
        let left = (done > 0).then(|| at.elapsed_ms * (1_000 - done.min(1_000)) / done);
        let eta = left.map(eta_words);
        // In percent of all cases: requests differ too much between them.
        live.progress = Some(ProgressStatus { done: done / 10, total: 100, eta });
        live.activity = Some(at.words());
        return live;
    }
    let stderr = measure::read(&spool.join(STDERR));
    let tail = measure::last_lines(&stderr, &measure::read(&spool.join(STDOUT)));
    live.tail = tail.lines().map(str::to_owned).collect();
    let current = LaunchProgress::of_stderr(&stderr);
    if let Some(found) = progress::of_run(tasks.len() as u64, completed as u64, &current, None) {
        let elapsed = run
            .started_at
            .as_ref()
            .and_then(|at| at.parse::<jiff::Timestamp>().ok())
            .map(|at| context.now().unix_ms.saturating_sub(at.as_millisecond()).unsigned_abs());
        let eta = elapsed.and_then(|elapsed| found.eta_ms(elapsed)).map(eta_words);
        live.progress = Some(ProgressStatus { done: found.done, total: found.total, eta });
    }
    live
}
