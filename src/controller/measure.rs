//! The jobs while and after llama-bench runs: copy its output, complete it, say how it ended, turn the
//! spool into results. The spool is the truth; every job can be done over.

use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use super::context::Context;
use super::crash;
use super::load_results;
use super::prepare::AGAIN;
use crate::decide::observed::{JobResult, TaskEnd};
use crate::executor::{ExecutorError, STDERR, STDOUT};
use crate::files::atomic_write;
use crate::request::valid::Spec;
use crate::run::case::{self, Case};
use crate::run::llama_bench_row::{self, Row};
use crate::run::outcome::{self, Outcome, OutcomeContext, StoppedBy};
use crate::run::phase::{Ending, RunState};
use crate::run::plan::{Blueprint, Step};
use crate::run::reason::{Reason, Refusal};
use crate::run::step::{Exit, ExitCause, TaskId, TaskSpec, TaskState};
use crate::store::StoreError;
use crate::store::benchmarks::Figures;
use crate::store::runs::{self, Results, RunRow};

pub type JobOutcome = Result<JobResult, Refusal>;

/// How a task ended, kept beside its output before the task is removed.
const END: &str = "end.json";
/// The executor's words where it refused to start the task.
const REFUSED: &str = "refused";
/// Lines of output that a status shows.
const TAIL_LINES: usize = 12;

pub fn load(context: &Context, run: Uuid) -> Result<(RunRow, Blueprint), Refusal> {
    let row = context.store.run(run).map_err(store_refusal)?;
    let row = row.ok_or_else(|| Refusal::new(Reason::InternalError, format!("there is no run {run}")))?;
    let blueprint = row.blueprint.clone();
    let blueprint =
        blueprint.ok_or_else(|| Refusal::new(Reason::InternalError, "the run has no blueprint"))?;
    Ok((row, blueprint))
}

pub fn store_refusal(error: StoreError) -> Refusal {
    Refusal::new(Reason::InternalError, error.to_string())
}

/// Copies output until the task ends, through every absence of the daemon.
pub async fn follow(context: &Context, run: Uuid) -> JobOutcome {
    let (row, blueprint) = load(context, run)?;
    let Some((id, _)) = super::observe::current_task(&row) else {
        return Ok(JobResult::Finished);
    };
    let spool = context.spool(&id);
    loop {
        if let Ok(executor) = context.executor(blueprint.executor).await
            && executor.follow(&id, &spool).await.is_ok()
        {
            return Ok(JobResult::Finished);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Completes the task's output, judges its end, keeps that, and only then removes the task: a crash
/// in between must not make a finished task look lost.
pub async fn drain(context: &Context, run: Uuid) -> JobOutcome {
    let (row, blueprint) = load(context, run)?;
    let Some((id, _)) = super::observe::current_task(&row) else {
        return Err(Refusal::new(Reason::InternalError, "the run has no task to drain"));
    };
    let spool = context.spool(&id);
    let kept = std::fs::read(spool.join(END)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let end = match kept {
        Some(end) => end,
        None => {
            let end = judge(context, &row, &blueprint, &id, &spool).await?;
            let bytes = serde_json::to_vec(&end)
                .map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))?;
            atomic_write::replace(&spool.join(END), &bytes, 0o600)
                .map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))?;
            crash::point();
            end
        }
    };
    loop {
        let removed = match context.executor(blueprint.executor).await {
            Ok(executor) => executor.remove(&id, &spool).await,
            Err(reason) => Err(ExecutorError::Unreachable(reason)),
        };
        match removed {
            Ok(()) => {
                crash::point();
                return Ok(JobResult::Drained(end));
            }
            Err(ExecutorError::Unreachable(_)) => tokio::time::sleep(AGAIN).await,
            Err(error) => {
                // What was measured stands; a leftover is found by its labels later.
                tracing::warn!(task = id.name(), %error, "a finished task could not be removed");
                return Ok(JobResult::Drained(end));
            }
        }
    }
}

async fn judge(
    context: &Context,
    row: &RunRow,
    blueprint: &Blueprint,
    id: &TaskId,
    spool: &Path,
) -> Result<TaskEnd, Refusal> {
    let state = loop {
        let executor = context.executor(blueprint.executor).await;
        if let Ok(executor) = executor {
            let state = executor.observe(id, spool).await;
            if state.is_known() {
                match executor.drain(id, spool).await {
                    Ok(()) => break state,
                    Err(ExecutorError::Unreachable(_)) => {}
                    Err(error) => {
                        tracing::warn!(task = id.name(), %error, "output may be incomplete");
                        break state;
                    }
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    };
    let exit = exit_of(&state, spool);
    if blueprint.load.is_some() {
        let restarted = crate::decide::retries_left(row.faults);
        return Ok(load_results::end_of(&exit, spool, restarted, row.timeout_ms));
    }
    let (stdout, stderr) = (read(&spool.join(STDOUT)), read(&spool.join(STDERR)));
    let rows = llama_bench_row::parse_rows(&stdout).rows.len();
    let ending = match &row.state {
        RunState::Running { ending, .. } => ending.as_ref(),
        RunState::Pending | RunState::Preparing { .. } | RunState::Collecting { .. } | RunState::Ended(_) => {
            None
        }
    };
    let task = Task {
        executable: program(row, blueprint),
        stopped_by: ending.map(|ending| match ending.reason {
            Reason::TimedOut => StoppedBy::Deadline,
            _ => StoppedBy::Cancel,
        }),
        // Killed, not for memory and not by us, is put down to the machine while that may be retried.
        restarted: crate::decide::retries_left(row.faults),
        timeout_ms: row.timeout_ms,
    };
    Ok(end_of(&exit, &stdout, &stderr, rows, blueprint, &task))
}

struct Task {
    executable: String,
    stopped_by: Option<StoppedBy>,
    restarted: bool,
    timeout_ms: u64,
}

fn program(row: &RunRow, blueprint: &Blueprint) -> String {
    let planned = row.plan.iter().flat_map(|plan| &plan.steps);
    let planned = planned.filter_map(Step::task).find_map(|task| task.argv.first().cloned());
    planned.or_else(|| blueprint.tool_candidates.first()?.first().cloned()).unwrap_or_default()
}

/// Why a probe gave nothing; `None` where its exit says that all is well.
pub fn classified(
    exit: &Exit,
    stdout: &[u8],
    stderr: &[u8],
    rows: usize,
    blueprint: &Blueprint,
    spec: &TaskSpec,
) -> Option<Refusal> {
    let task = Task {
        executable: spec.argv.first().cloned().unwrap_or_default(),
        stopped_by: None,
        restarted: false,
        timeout_ms: spec.deadline_ms,
    };
    match end_of(exit, stdout, stderr, rows, blueprint, &task) {
        TaskEnd::Succeeded => None,
        TaskEnd::Failed(refusal) | TaskEnd::Fault(refusal) => Some(refusal),
    }
}

fn end_of(
    exit: &Exit,
    stdout: &[u8],
    stderr: &[u8],
    rows: usize,
    blueprint: &Blueprint,
    task: &Task,
) -> TaskEnd {
    let context = OutcomeContext {
        timeout_ms: task.timeout_ms,
        model_path: &blueprint.model,
        stopped_by_us: task.stopped_by,
        executable: &task.executable,
        executor_restarted: task.restarted,
    };
    match outcome::classify(exit, stdout, stderr, rows, context) {
        Outcome::Succeeded => TaskEnd::Succeeded,
        Outcome::Cancelled { message } => TaskEnd::Failed(Refusal::new(Reason::Cancelled, message)),
        Outcome::Failed { reason, message, hint } => {
            TaskEnd::Failed(Refusal { reason: reason.into(), message, hint })
        }
        Outcome::InfrastructureFault { reason, message } => {
            TaskEnd::Fault(Refusal { reason: reason.into(), message, hint: None })
        }
    }
}

/// Keeps the executor's words where it refused to start a task.
pub fn note_refusal(spool: &Path, words: &str) -> Result<(), super::execute::ExecuteError> {
    atomic_write::replace(&spool.join(REFUSED), words.as_bytes(), 0o600).map_err(|error| {
        super::execute::ExecuteError::Io {
            path: spool.display().to_string(),
            source: std::io::Error::other(error.to_string()),
        }
    })
}

/// A task that is not there because its start was refused looks created, with the words.
pub fn with_refusal(state: TaskState, spool: &Path) -> TaskState {
    match state {
        TaskState::Absent | TaskState::Created { error: None } => {
            match std::fs::read_to_string(spool.join(REFUSED)) {
                Ok(words) => TaskState::Created { error: Some(words) },
                Err(_) => state,
            }
        }
        TaskState::Created { .. } | TaskState::Running | TaskState::Exited(_) | TaskState::Unknown { .. } => {
            state
        }
    }
}

/// The exit that a state stands for once nothing runs any more.
pub fn exit_of(state: &TaskState, spool: &Path) -> Exit {
    let cause = |cause| Exit { cause, oom_killed: false, finished_at: None };
    match with_refusal(state.clone(), spool) {
        TaskState::Exited(exit) => exit,
        TaskState::Created { error: Some(words) } => cause(ExitCause::NotStarted(words)),
        TaskState::Absent
        | TaskState::Created { error: None }
        | TaskState::Running
        | TaskState::Unknown { .. } => cause(ExitCause::Lost),
    }
}

/// A spool file as far as it goes; nothing where there is none.
pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_default()
}

/// Turns the spool into cases and figures. Rows of a run that died count as far as they go.
pub async fn collect(context: &Context, run: Uuid) -> JobOutcome {
    let (row, blueprint) = load(context, run)?;
    let (results, refusal) = match row.spec.clone() {
        Spec::LoadTest(spec) => {
            let here = context.clone();
            // Other requests go on meanwhile.
            let made =
                tokio::task::spawn_blocking(move || load_results::results(&here, &row, &spec, &blueprint));
            made.await.map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))??
        }
        Spec::LlamaBench(_)
        | Spec::Apply(_)
        | Spec::Model(_)
        | Spec::Baseline(_)
        | Spec::Comparison(_)
        | Spec::Imported(_) => {
            let spool_of = |id: &TaskId| context.spool(id);
            (results(&row, &blueprint, spool_of)?, None)
        }
    };
    let unix = context.now().unix_ms / 1_000;
    context
        .store
        .write(move |connection| runs::set_results(connection, run, &results, unix))
        .await
        .map_err(store_refusal)?;
    refusal.map_or(Ok(JobResult::Finished), Err)
}

fn results(
    row: &RunRow,
    blueprint: &Blueprint,
    spool_of: impl Fn(&TaskId) -> std::path::PathBuf,
) -> Result<Results, Refusal> {
    let mut launches: Vec<Vec<Row>> = Vec::new();
    let mut raw_stdout = Vec::new();
    let mut tail = None;
    for id in launch_tasks(row) {
        let spool = spool_of(&id);
        let stdout = read(&spool.join(STDOUT));
        let parsed = llama_bench_row::parse_rows(&stdout);
        if spool.exists() {
            tail = Some(last_lines(&read(&spool.join(STDERR)), &stdout));
            launches.push(parsed.rows);
        }
        raw_stdout.extend(stdout);
    }
    let cases = case::pool(&launches);
    let rows: Vec<&Row> = launches.iter().flatten().collect();
    let mut figures = figures(&rows, &cases);
    if rows.is_empty() && !raw_stdout.is_empty() {
        figures.raw_output = Some(String::from_utf8_lossy(&raw_stdout).into_owned());
    }
    let cases: Result<Vec<String>, Refusal> =
        (1..).zip(&cases).map(|(number, case)| case_json(number, case, blueprint.simulated)).collect();
    Ok(Results { cases: cases?, figures, tail, ..Results::default() })
}

/// The columns of `benchmark_runs` by llama-bench's rows and the cases that they make.
pub fn figures(rows: &[&Row], cases: &[Case]) -> Figures {
    let headline = case::headline(cases);
    let all: Vec<Value> = rows.iter().map(|row| Value::Object(row.raw.clone())).collect();
    let first = rows.first();
    let text = |of: fn(&Row) -> Option<&str>| first.and_then(|row| of(row)).map(str::to_owned);
    Figures {
        pp_avg_ts: headline.pp_avg_ts,
        pp_stddev_ts: headline.pp_stddev_ts,
        tg_avg_ts: headline.tg_avg_ts,
        tg_stddev_ts: headline.tg_stddev_ts,
        raw_output: (!all.is_empty()).then(|| Value::Array(all).to_string()),
        build_commit: text(Row::build_commit),
        model_type: text(Row::model_type),
        model_size: first.and_then(|row| row.model_size()),
        model_n_params: first.and_then(|row| row.model_n_params()),
        gpu_info: text(Row::gpu_info),
        cpu_info: text(Row::cpu_info),
    }
}

/// A case as status, `-o json` and the store show it: its number, its name, then its fields.
pub fn case_json(number: u32, case: &Case, simulated: bool) -> Result<String, Refusal> {
    let internal = |error: serde_json::Error| Refusal::new(Reason::InternalError, error.to_string());
    let mut value = json!({ "case": number, "test": case.test_name() });
    if let (Some(whole), Value::Object(fields)) =
        (value.as_object_mut(), serde_json::to_value(case).map_err(internal)?)
    {
        whole.extend(fields);
        if simulated {
            whole.insert("simulated".to_owned(), Value::Bool(true));
        }
    }
    serde_json::to_string(&value).map_err(internal)
}

/// The measuring tasks of a run's last attempt, in the order of its steps.
pub fn launch_tasks(row: &RunRow) -> Vec<TaskId> {
    let steps = row.plan.iter().flat_map(|plan| &plan.steps);
    (0u32..)
        .zip(steps)
        .filter_map(|(step, planned)| {
            let role = planned.task()?.id.role;
            Some(TaskId { run: row.id, attempt: row.attempt, step, role })
        })
        .collect()
}

/// The last lines of stderr, or of stdout where stderr says nothing.
pub fn last_lines(stderr: &[u8], stdout: &[u8]) -> String {
    let source = if stderr.iter().all(u8::is_ascii_whitespace) { stdout } else { stderr };
    // A line of a broken tool may be megabytes long.
    let cut = source.len().saturating_sub(16 << 10);
    let text = String::from_utf8_lossy(&source[cut..]);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    let shown: Vec<String> = lines[from..].iter().map(|line| line.chars().take(400).collect()).collect();
    shown.join("\n")
}

/// An ending in one sentence, for events and lists.
pub fn message_of(ending: &Ending) -> String {
    match &ending.hint {
        Some(hint) if !ending.message.is_empty() => format!("{} ({hint})", ending.message),
        Some(_) | None => ending.message.clone(),
    }
}
