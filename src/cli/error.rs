//! How a verb ends when it does not end well: one sentence, a hint, and a documented exit code.
//! Decides nothing about where it is printed.

use std::io;
use std::process::ExitCode;

use crate::controller::StartError;
use crate::store::StoreError;

/// The exit codes, which scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The run failed, or the answer to the question is no.
    No,
    /// Wrong usage, or something of the environment is not as it has to be.
    Usage,
    NotComparable,
    NotFound,
    TimedOut,
    /// Whoever read our output wants no more of it, which is no failure.
    PipeClosed,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::PipeClosed => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::NotComparable => 3,
            Self::NotFound => 4,
            Self::TimedOut => 5,
        }
    }
}

/// An ending other than success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// One sentence; empty where the output has said it all.
    pub message: String,
    pub hint: Option<String>,
    pub exit: Exit,
}

impl CliError {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit }
    }

    pub fn no(message: impl Into<String>) -> Self {
        Self::new(Exit::No, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// The exit code alone: what there is to say was printed.
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit.code())
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(Exit::PipeClosed);
        }
        Self::usage(format!("the output cannot be written: {error}"))
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(why) => Self::no(why),
            StoreError::Open { .. }
            | StoreError::Version { .. }
            | StoreError::Sql(_)
            | StoreError::Decode { .. }
            | StoreError::NotCommitted(_)
            | StoreError::Closed => Self::usage(error.to_string()),
        }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            StartError::Locked(_) => {
                Self::usage(error.to_string()).hint("or give this one a --state and --requests of its own")
            }
            StartError::State { .. } => {
                Self::usage(error.to_string()).hint("name another directory with --state")
            }
        }
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::usage(format!("the answer cannot be written as JSON: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_documentation() {
        let codes =
            [Exit::No, Exit::Usage, Exit::NotComparable, Exit::NotFound, Exit::TimedOut].map(Exit::code);
        assert_eq!(codes, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit.code(), error.message.as_str()), (0, ""));
    }
}
