//! `benchlet schema`: the JSON Schema of requests, for editors.

use clap::Args;

use super::error::CliError;
use super::output::Console;
use super::run_selection::kind_of;
use crate::request::diagnostic::did_you_mean;
use crate::request::schema::{KINDS, conversations_schema, kind_schema, request_schema};

/// Prints the JSON Schema of requests.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet schema > config/schema/request.json
  benchlet schema LlamaBench
  benchlet schema conversations > config/schema/conversations.json

In an editor with a YAML language server, the first line of a request then is
  # yaml-language-server: $schema=../config/schema/request.json")]
pub struct Schema {
    /// One kind alone, or `conversations` for files of them; all kinds when left out
    pub kind: Option<String>,
}

pub fn run(verb: &Schema, console: &mut Console) -> Result<(), CliError> {
    let schema = match &verb.kind {
        None => Some(request_schema()),
        Some(word) if word.eq_ignore_ascii_case("conversations") => Some(conversations_schema()),
        Some(word) => kind_of(word).and_then(kind_schema),
    };
    let unknown = || {
        let word = verb.kind.as_deref().unwrap_or_default();
        CliError::usage(format!("there is no kind {word}"))
            .hint(format!("one of {}, or conversations", KINDS.join(", ")))
            .maybe_hint(did_you_mean(word, KINDS.iter().copied()))
    };
    console.json(&schema.ok_or_else(unknown)?)
}
