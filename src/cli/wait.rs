//! `benchlet wait`: until a request or run is as asked, told by the exit code.

use std::time::{Duration, Instant};

use clap::Args;
use uuid::Uuid;

use super::error::{CliError, Exit};
use super::get::POLL;
use super::output::{Console, rate};
use super::phase_words::{self, Summary};
use super::run_selection::{self, Selected};
use super::state_dir;
use super::wait_goal::{self, Answer, Goal};
use crate::decide::observed::Verb;
use crate::run::phase::{EndPhase, RunState};
use crate::settings::Settings;
use crate::store::Store;
use crate::store::applies::ApplyState;
use crate::store::overview::RequestSummary;
use crate::store::runs::RunRow;

/// Waits until a request or run is as asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet wait qwen3 --for=Succeeded --timeout 30m
  benchlet wait 3f2a9c1b --for=Ended && benchlet describe 3f2a9c1b
  benchlet wait load --for=SLOMet            a condition, once the run has ended
  benchlet wait load --for=Valid=False       that it is not so; condition=Valid=False is the same

Conditions are what `benchlet describe` and the status list: Valid, SLOMet, ExpectationsMet, Complete,
Applied, GatePassed.
Exit codes: 0 it is so, 1 it ended otherwise, 4 there is no such request or run, 5 timed out. Of a
request its newest run counts; one that was edited is waited for until that edit was carried out.")]
pub struct Wait {
    /// A request's name, or a run's id
    #[arg(value_name = "NAME|RUN")]
    pub name: String,
    /// Succeeded, Failed, Ended, Accepted, or a condition: Valid, Valid=False
    #[arg(long = "for", value_parser = Goal::parse, default_value = "Ended", value_name = "WHAT")]
    pub goal: Goal,
    /// Longest time to wait (90s, 10m, 1h30m)
    #[arg(long, default_value = "10m", value_parser = parse_duration, value_name = "TIME")]
    pub timeout: Duration,
}

/// A file that was saved a moment ago takes that long to be known, at the most.
const GRACE: Duration = Duration::from_secs(5);
/// What is judged after an end, as a gate is, may follow it by so much.
const LATECOMERS: Duration = Duration::from_secs(2);
/// How long a controller may take from its start to its database.
const BIRTH: Duration = Duration::from_secs(2);

/// Reads `90s`, `10m`, `1h30m`.
///
/// # Errors
/// What is wrong with it, for clap's own message.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no duration; write 90s, 10m or 1h30m");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let milliseconds = match &rest[digits..unit] {
            "ms" => Some(number),
            "s" => number.checked_mul(1000),
            "m" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            "d" => number.checked_mul(86_400_000),
            _ => None,
        };
        total =
            milliseconds.and_then(|more| total.checked_add(Duration::from_millis(more))).ok_or_else(wrong)?;
        rest = &rest[unit..];
    }
    Ok(total)
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not yet at its end; the words say what it is at.
    Open(Summary),
    Ended(EndPhase, Summary),
}

pub fn run(verb: &Wait, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let started = Instant::now();
    let deadline = started.checked_add(verb.timeout);
    let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let store = loop {
        match state_dir::open(settings) {
            Ok(store) => break store,
            // A controller that was started a moment ago, as `benchlet serve &` in a script, has none yet.
            Err(_) if started.elapsed() < BIRTH && !late() => std::thread::sleep(POLL),
            Err(_) if state_dir::controller(settings).is_some() && !late() => std::thread::sleep(POLL),
            Err(error) => return Err(error),
        }
    };
    let selected = loop {
        match run_selection::select(&store, &verb.name) {
            Ok(selected) => break selected,
            Err(error) if error.exit == Exit::NotFound => {
                if refused(&store, &verb.name)? {
                    return refusal(verb, &store, console);
                }
                let patient = started.elapsed() < GRACE && state_dir::controller(settings).is_some();
                if !patient || late() {
                    return Err(error);
                }
                std::thread::sleep(POLL);
            }
            Err(error) => return Err(error),
        }
    };
    let mut watcher = store.watcher()?;
    let mut missing_since = None;
    loop {
        if watcher.changed() || missing_since.is_some() {
            let standing = standing_of(&store, &selected)?;
            let outcome = match &verb.goal {
                Goal::Condition { kind, status } => {
                    let wanted = (kind.as_str(), *status);
                    condition(&store, verb, &selected, &standing, wanted, &mut missing_since, console)?
                }
                Goal::Succeeded | Goal::Failed | Goal::Ended | Goal::Accepted => {
                    judge(&store, verb, &selected, &standing, console)?
                }
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
        if late() {
            let standing = standing_of(&store, &selected)?;
            return Err(timed_out(verb, settings, &standing));
        }
        let left = deadline.map_or(POLL, |deadline| deadline.saturating_duration_since(Instant::now()));
        std::thread::sleep(POLL.min(left));
    }
}

fn refused(store: &Store, name: &str) -> Result<bool, CliError> {
    Ok(store.refused_names()?.iter().any(|refused| refused.name == name))
}

fn invalid(name: &str, goal: &Goal) -> Result<(), CliError> {
    Err(CliError::no(format!("the request {name} is not accepted, so it is not {goal}"))
        .hint(format!("`benchlet describe {name}` and its status file say why")))
}

/// Of a name that only a refused document has.
fn refusal(verb: &Wait, store: &Store, console: &mut Console) -> Result<(), CliError> {
    if let Goal::Condition { kind, status } = &verb.goal
        && let Answer::Reached(found) = wait_goal::ask(&store.conditions(&verb.name)?, None, kind, status)
    {
        return console.line(format!("{} is {}", verb.name, wait_goal::in_words(found)));
    }
    invalid(&verb.name, &verb.goal)
}

/// Whether a condition of what has ended is as asked; while something is to come of it, nothing is said but
/// of whether it is accepted.
fn condition(
    store: &Store,
    verb: &Wait,
    selected: &Selected,
    standing: &Standing,
    (kind, status): (&str, &str),
    missing_since: &mut Option<Instant>,
    console: &mut Console,
) -> Result<Option<Outcome>, CliError> {
    let (name, request) = (&verb.name, selected.request());
    let run = store.request_summaries(Some(request))?.pop().and_then(|request| request.run);
    let run = match (selected, run.map(|run| run.id)) {
        (Selected::Run(row), newest) if newest.is_some_and(|newest| newest != row.id) => {
            let message =
                format!("{name} is not the newest run of {request}, of which alone conditions are kept");
            return Err(CliError::usage(message));
        }
        (Selected::Run(row), _) => Some(row.id),
        (Selected::Request(_), newest) => newest,
    };
    let conditions = store.conditions(request)?;
    let accepted = kind.eq_ignore_ascii_case("Accepted");
    let (Standing::Open(summary) | Standing::Ended(_, summary)) = standing;
    let at_rest = match standing {
        Standing::Ended(..) => true,
        Standing::Open(summary) => ["Completed", "Idle"].contains(&summary.phase.as_str()),
    };
    if !at_rest && !accepted {
        return Ok((summary.phase == "Invalid").then(|| invalid(name, &verb.goal)));
    }
    let otherwise = |words: String| {
        let message = format!("{name} is {}, not {}: {words}", in_words(summary), verb.goal);
        Ok(Some(Err(CliError::no(message).maybe_hint(summary.hint.clone()))))
    };
    match wait_goal::ask(&conditions, run, kind, status) {
        Answer::Reached(found) => {
            console.line(format!("{name} is {}", wait_goal::in_words(found)))?;
            Ok(Some(Ok(())))
        }
        // A request that is accepted may yet be edited into one that is not.
        Answer::Otherwise(_) | Answer::Missing(_) | Answer::NotNoted if accepted => Ok(None),
        Answer::Otherwise(found) => otherwise(wait_goal::in_words(found)),
        Answer::Missing(words) => {
            let since = missing_since.get_or_insert_with(Instant::now);
            if since.elapsed() < LATECOMERS {
                return Ok(None);
            }
            otherwise(format!("there is no condition {kind}, {words}"))
        }
        Answer::NotNoted => Ok(None),
    }
}

fn standing_of(store: &Store, selected: &Selected) -> Result<Standing, CliError> {
    match selected {
        Selected::Run(row) => match store.run(row.id)? {
            Some(row) => Ok(of_state(&row.state)),
            None => Err(CliError::not_found(format!("the run {} was deleted", row.id))),
        },
        Selected::Request(name) => match store.request_summaries(Some(name))?.pop() {
            Some(request) => of_request(store, &request),
            None => Err(CliError::not_found(format!("the file of the request {name} was removed"))),
        },
    }
}

fn of_state(state: &RunState) -> Standing {
    let summary = phase_words::of_state(state);
    match state {
        RunState::Ended(end) => Standing::Ended(end.phase, summary),
        RunState::Pending
        | RunState::Preparing { .. }
        | RunState::Running { .. }
        | RunState::Collecting { .. } => Standing::Open(summary),
    }
}

/// A request is at its end when nothing more is to be expected of it: no open run, no edit and no
/// rerun that were not carried out yet.
fn of_request(store: &Store, request: &RequestSummary) -> Result<Standing, CliError> {
    let summary = phase_words::of_request(request);
    let rerun = store.commands_for(&request.name)?.iter().any(|command| match command.verb {
        Verb::Rerun { .. } => true,
        Verb::Cancel => false,
    });
    if request.waiting || rerun {
        return Ok(Standing::Open(summary));
    }
    match (&request.run, &request.apply) {
        (Some(run), _) => Ok(of_state(&run.state)),
        (None, Some(apply)) => Ok(match &apply.state {
            ApplyState::Planned | ApplyState::Writing { .. } | ApplyState::Restarting { .. } => {
                Standing::Open(summary)
            }
            ApplyState::Done { .. } | ApplyState::Reverted { .. } => {
                Standing::Ended(EndPhase::Completed, summary)
            }
            ApplyState::Failed { .. } => Standing::Ended(EndPhase::Failed, summary),
        }),
        (None, None) => Ok(Standing::Open(summary)),
    }
}

type Outcome = Result<(), CliError>;

fn judge(
    store: &Store,
    verb: &Wait,
    selected: &Selected,
    standing: &Standing,
    console: &mut Console,
) -> Result<Option<Outcome>, CliError> {
    let name = &verb.name;
    let (ended, summary) = match (&verb.goal, standing) {
        // Of a condition `condition` judges.
        (Goal::Accepted | Goal::Condition { .. }, _) => return accepted(store, selected, console),
        (Goal::Succeeded | Goal::Failed | Goal::Ended, Standing::Open(summary)) => {
            let invalid = summary.phase == "Invalid";
            return Ok(invalid.then(|| self::invalid(name, &verb.goal)));
        }
        (Goal::Succeeded | Goal::Failed | Goal::Ended, Standing::Ended(phase, summary)) => (*phase, summary),
    };
    let reached = match &verb.goal {
        Goal::Succeeded => ended == EndPhase::Completed,
        Goal::Failed => ended == EndPhase::Failed,
        Goal::Ended | Goal::Accepted | Goal::Condition { .. } => true,
    };
    if reached {
        console.line(format!("{name} is {}", in_words(summary)))?;
        return Ok(Some(Ok(())));
    }
    let error = CliError::no(format!("{name} is {}, not {}", in_words(summary), verb.goal));
    Ok(Some(Err(error.maybe_hint(summary.hint.clone()))))
}

fn in_words(summary: &Summary) -> String {
    match (summary.phase == summary.reason, summary.message.is_empty()) {
        (true, true) => summary.phase.clone(),
        (true, false) => format!("{} ({})", summary.phase, summary.message),
        (false, true) => format!("{} ({})", summary.phase, summary.reason),
        (false, false) => format!("{} ({}: {})", summary.phase, summary.reason, summary.message),
    }
}

fn accepted(store: &Store, selected: &Selected, console: &mut Console) -> Result<Option<Outcome>, CliError> {
    let name = selected.request();
    let request = store.request_summaries(Some(name))?.pop();
    let known = request.as_ref().and_then(|request| request.accepted.as_ref());
    match (request.is_some(), known.map(|condition| condition.status.as_str())) {
        (true, Some("False")) => Ok(Some(invalid(name, &Goal::Accepted))),
        // A record is made of valid documents alone.
        (true, Some(_) | None) => {
            console.line(format!("{name} is Accepted"))?;
            Ok(Some(Ok(())))
        }
        (false, _) => Ok(None),
    }
}

fn timed_out(verb: &Wait, settings: &Settings, standing: &Standing) -> CliError {
    let (Standing::Open(summary) | Standing::Ended(_, summary)) = standing;
    let message = format!("{} is not {} yet, it is {}", verb.name, verb.goal, in_words(summary));
    let error = CliError::new(Exit::TimedOut, message);
    match state_dir::controller(settings) {
        None => error.hint("no controller is running on this state directory; start `benchlet serve`"),
        Some(_) => error.hint("wait longer with --timeout, or see `benchlet describe`"),
    }
}

/// Waits for one run to end and says how.
///
/// # Errors
/// It ended otherwise than Completed: exit code 1.
pub fn until_ended(store: &Store, run: Uuid, console: &mut Console) -> Result<RunRow, CliError> {
    let (row, words) = until_completed(store, run)?;
    console.line(words)?;
    Ok(row)
}

/// The same without a word; what would have been said comes with the run.
///
/// # Errors
/// A run that did not complete, or was deleted.
pub fn until_completed(store: &Store, run: Uuid) -> Result<(RunRow, String), CliError> {
    let mut watcher = store.watcher()?;
    loop {
        if watcher.changed() {
            let row =
                store.run(run)?.ok_or_else(|| CliError::not_found(format!("the run {run} was deleted")))?;
            if let RunState::Ended(end) = &row.state {
                let summary = phase_words::of_state(&row.state);
                if end.phase != EndPhase::Completed {
                    return Err(CliError::no(format!("the run {run} is {}", in_words(&summary)))
                        .maybe_hint(end.hint.clone()));
                }
                let words = format!("the run {run} is {}{}", summary.phase, figures(store, run)?);
                return Ok((row, words));
            }
        }
        std::thread::sleep(POLL);
    }
}

/// `: pp 1240.5 t/s, tg 85.3 t/s`
fn figures(store: &Store, run: Uuid) -> Result<String, CliError> {
    let Some(line) = store.run_summary(run)? else {
        return Ok(String::new());
    };
    let mark = if line.simulated { " (simulated)" } else { "" };
    if let Some(headline) = &line.headline {
        return Ok(format!(": {headline}{mark}"));
    }
    let shown: Vec<String> = [("pp", line.pp_avg_ts), ("tg", line.tg_avg_ts)]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name} {} t/s", rate(value))))
        .collect();
    Ok(if shown.is_empty() { mark.to_owned() } else { format!(": {}{mark}", shown.join(", ")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_units_and_add_up() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "10", "m", "10x", "-5s", "99999999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
