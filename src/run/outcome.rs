//! How a Bench task ended, in words that a person can act on: from its exit and its output to one
//! reason, one sentence and one hint. Decides nothing about what follows; retries are `decide`'s.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::outcome_start;
use super::outcome_words::{self, Finding};
use super::reason::Reason;
use super::step::{Exit, ExitCause};
use crate::request::quantities::spoken_time;

/// Why a run failed: a fault of the request, the service or the machine that a retry does not cure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureReason {
    InvalidFlag,
    InvalidValue,
    ModelNotFound,
    ModelUnreadable,
    ModelNotLoadable,
    NoResults,
    InvalidOutput,
    OutOfMemory,
    GpuUnavailable,
    LlamaBenchMissing,
    SharedLibraryMissing,
    MountMissing,
    /// The container or process did not start, for none of the reasons above.
    StartFailed,
    Crashed,
    Killed,
    TimedOut,
    OutputTooLarge,
    UnsupportedCombination,
    DownloadRefused,
    ToolFailed,
}

impl FailureReason {
    /// As a condition's reason spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFlag => "InvalidFlag",
            Self::InvalidValue => "InvalidValue",
            Self::ModelNotFound => "ModelNotFound",
            Self::ModelUnreadable => "ModelUnreadable",
            Self::ModelNotLoadable => "ModelNotLoadable",
            Self::NoResults => "NoResults",
            Self::InvalidOutput => "InvalidOutput",
            Self::OutOfMemory => "OutOfMemory",
            Self::GpuUnavailable => "GpuUnavailable",
            Self::LlamaBenchMissing => "LlamaBenchMissing",
            Self::SharedLibraryMissing => "SharedLibraryMissing",
            Self::MountMissing => "MountMissing",
            Self::StartFailed => "StartFailed",
            Self::Crashed => "Crashed",
            Self::Killed => "Killed",
            Self::TimedOut => "TimedOut",
            Self::OutputTooLarge => "OutputTooLarge",
            Self::UnsupportedCombination => "UnsupportedCombination",
            Self::DownloadRefused => "DownloadRefused",
            Self::ToolFailed => "ToolFailed",
        }
    }
}

impl From<FailureReason> for Reason {
    fn from(reason: FailureReason) -> Self {
        match reason {
            FailureReason::InvalidFlag => Self::InvalidFlag,
            FailureReason::InvalidValue => Self::InvalidValue,
            FailureReason::ModelNotFound => Self::ModelNotFound,
            FailureReason::ModelUnreadable => Self::ModelUnreadable,
            FailureReason::ModelNotLoadable => Self::ModelNotLoadable,
            FailureReason::NoResults => Self::NoResults,
            FailureReason::InvalidOutput => Self::InvalidOutput,
            FailureReason::OutOfMemory => Self::OutOfMemory,
            FailureReason::GpuUnavailable => Self::GpuUnavailable,
            FailureReason::LlamaBenchMissing => Self::LlamaBenchMissing,
            FailureReason::SharedLibraryMissing => Self::SharedLibraryMissing,
            FailureReason::MountMissing => Self::MountMissing,
            FailureReason::StartFailed => Self::StartFailed,
            FailureReason::Crashed => Self::Crashed,
            FailureReason::Killed => Self::Killed,
            FailureReason::TimedOut => Self::TimedOut,
            FailureReason::OutputTooLarge => Self::OutputTooLarge,
            FailureReason::UnsupportedCombination => Self::UnsupportedCombination,
            FailureReason::DownloadRefused => Self::DownloadRefused,
            FailureReason::ToolFailed => Self::ToolFailed,
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fault of what lies around the run; the same run may well succeed when tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InfrastructureReason {
    /// Ended from outside while the daemon or the machine went down.
    Interrupted,
    /// Gone without an exit.
    Lost,
}

impl InfrastructureReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interrupted => "Interrupted",
            Self::Lost => "Lost",
        }
    }
}

impl From<InfrastructureReason> for Reason {
    fn from(reason: InfrastructureReason) -> Self {
        match reason {
            InfrastructureReason::Interrupted => Self::Interrupted,
            InfrastructureReason::Lost => Self::Lost,
        }
    }
}

impl fmt::Display for InfrastructureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the controller itself asked the task to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoppedBy {
    /// A cancel, a replaced or a deleted request.
    Cancel,
    Deadline,
    OutputLimit,
}

/// What the exit alone does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeContext<'a> {
    /// The deadline that the task had, in milliseconds from its start.
    pub timeout_ms: u64,
    /// As the task saw it.
    pub model_path: &'a str,
    pub stopped_by_us: Option<StoppedBy>,
    /// `argv[0]`.
    pub executable: &'a str,
    /// The daemon (or the machine) restarted between the task's start and its end.
    pub executor_restarted: bool,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded,
    /// It was asked to end and did.
    Cancelled {
        message: String,
    },
    /// `message` is one sentence with the tool's own words, `hint` what to do about it.
    Failed {
        reason: FailureReason,
        message: String,
        hint: Option<String>,
    },
    InfrastructureFault {
        reason: InfrastructureReason,
        message: String,
    },
}

/// Judges the end of a Bench task. `rows` is the number of results that its stdout holds
/// (`llama_bench_row::parse_rows`); rows of a task that failed afterwards are the caller's to keep.
pub fn classify(
    exit: &Exit,
    stdout: &[u8],
    stderr: &[u8],
    rows: usize,
    context: OutcomeContext<'_>,
) -> Outcome {
    match &exit.cause {
        ExitCause::NotStarted(words) => failed(outcome_start::of_start(words, &context)),
        ExitCause::Lost => Outcome::InfrastructureFault {
            reason: InfrastructureReason::Lost,
            message: format!("{} is gone and left no exit code", context.executable),
        },
        ExitCause::DeadlineExceeded => timed_out(&context, rows),
        ExitCause::OutputTooLarge => output_too_large(&context),
        ExitCause::Code(code) => match context.stopped_by_us {
            Some(StoppedBy::Cancel) => {
                Outcome::Cancelled { message: format!("{} was stopped on request", context.executable) }
            }
            Some(StoppedBy::OutputLimit) => output_too_large(&context),
            // It ended by itself before the deadline's signal reached it.
            Some(StoppedBy::Deadline) if *code != 0 => timed_out(&context, rows),
            Some(StoppedBy::Deadline) | None if *code == 0 => success(stdout, rows, &context),
            Some(StoppedBy::Deadline) | None => by_code(*code, exit.oom_killed, stdout, stderr, &context),
        },
    }
}

fn success(stdout: &[u8], rows: usize, context: &OutcomeContext<'_>) -> Outcome {
    if rows > 0 { Outcome::Succeeded } else { failed(outcome_words::of_no_rows(stdout, context)) }
}

fn by_code(
    code: i64,
    oom_killed: bool,
    stdout: &[u8],
    stderr: &[u8],
    context: &OutcomeContext<'_>,
) -> Outcome {
    let name = context.executable;
    if oom_killed {
        return failed(Finding::new(
            FailureReason::OutOfMemory,
            format!("{name} was killed by the kernel for want of memory (exit code {code})"),
            "raise the service's memory limit, or use a smaller model, context or batch (-b, -ub)",
        ));
    }
    let stderr = outcome_words::Stderr::new(stderr);
    if let Some(finding) = outcome_words::of_output(code, stdout, &stderr, context) {
        return failed(finding);
    }
    if let Some(signal) = outcome_words::ending_signal(code) {
        if context.executor_restarted {
            return Outcome::InfrastructureFault {
                reason: InfrastructureReason::Interrupted,
                message: format!(
                    "{name} was ended by {signal} (exit code {code}) when the executor restarted"
                ),
            };
        }
        return failed(Finding::new(
            FailureReason::Killed,
            format!("{name} was ended by {signal} (exit code {code}), cause unknown"),
            "somebody stopped the container, or the kernel ran out of memory without saying so; see the \
             kernel's log (dmesg) and the service's memory limit",
        ));
    }
    failed(outcome_words::of_code(code, &stderr, context))
}

fn failed(finding: Finding) -> Outcome {
    Outcome::Failed { reason: finding.reason, message: finding.message, hint: finding.hint }
}

fn timed_out(context: &OutcomeContext<'_>, rows: usize) -> Outcome {
    let kept = match rows {
        0 => "without a result".to_owned(),
        1 => "after 1 result, which is kept".to_owned(),
        rows => format!("after {rows} results, which are kept"),
    };
    failed(Finding::new(
        FailureReason::TimedOut,
        format!("{} did not end within {}, {kept}", context.executable, spoken_time(context.timeout_ms)),
        "raise spec.timeout, or measure less: fewer values in the matrix, fewer repetitions (-r)",
    ))
}

fn output_too_large(context: &OutcomeContext<'_>) -> Outcome {
    failed(Finding::new(
        FailureReason::OutputTooLarge,
        format!("{} wrote more output than is kept and was ended", context.executable),
        "leave out -v, or split the matrix into several requests",
    ))
}

#[cfg(test)]
mod tests;
