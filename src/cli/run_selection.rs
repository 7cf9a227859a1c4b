//! From what somebody types to the request or run that is meant: `NAME`, `KIND/NAME`, a run's id or
//! its beginning, `run/ID`.

use super::error::CliError;
use crate::request::diagnostic::did_you_mean;
use crate::request::schema::KINDS;
use crate::store::Store;
use crate::store::runs::{Filter, RunRow};

/// What was named.
#[derive(Debug)]
pub enum Selected {
    Request(String),
    Run(Box<RunRow>),
}

impl Selected {
    /// The request, of a run the one that it belongs to.
    pub fn request(&self) -> &str {
        match self {
            Self::Request(name) => name,
            Self::Run(run) => &run.request,
        }
    }
}

/// The kind that a word means, in any case and in the plural.
pub fn kind_of(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase().replace('-', "");
    KINDS.iter().copied().find(|kind| {
        let kind = kind.to_lowercase();
        let plural = match kind.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None if kind.ends_with("ch") => format!("{kind}es"),
            None => format!("{kind}s"),
        };
        word == kind || word == plural
    })
}

/// # Errors
/// Nothing of that name, with what may have been meant.
pub fn select(store: &Store, text: &str) -> Result<Selected, CliError> {
    if let Some(id) = text.strip_prefix("run/") {
        return run(store, id).map(|run| Selected::Run(Box::new(run)));
    }
    let name = match text.split_once('/') {
        Some((kind, name)) if kind_of(kind).is_some() => name,
        Some(_) | None => text,
    };
    let kind = text.split_once('/').and_then(|(kind, _)| kind_of(kind));
    if let Some(record) = store.request(name)?
        && kind.is_none_or(|kind| kind == record.spec.kind())
    {
        return Ok(Selected::Request(name.to_owned()));
    }
    // What was imported has runs and no request.
    if kind.is_none()
        && store.request(name)?.is_none()
        && let Some(run) = newest(store, name)?
    {
        return Ok(Selected::Run(Box::new(run)));
    }
    if kind.is_none()
        && let Some(run) = store.find_run(text)?
    {
        return Ok(Selected::Run(Box::new(run)));
    }
    Err(unknown(store, name))
}

/// # Errors
/// No run of that id, or several that begin so.
pub fn run(store: &Store, id: &str) -> Result<RunRow, CliError> {
    let id = id.strip_prefix("run/").unwrap_or(id);
    store.find_run(id)?.ok_or_else(|| {
        CliError::not_found(format!("there is no run {id}")).hint("`benchlet history` lists the runs")
    })
}

/// The run that is meant: of a request its newest one.
///
/// # Errors
/// Nothing of that name, or a request without a run.
pub fn run_of(store: &Store, text: &str) -> Result<RunRow, CliError> {
    match select(store, text)? {
        Selected::Run(run) => Ok(*run),
        Selected::Request(name) => newest(store, &name)?.ok_or_else(|| {
            CliError::not_found(format!("the request {name} has no run yet"))
                .hint(format!("`benchlet describe {name}` says what it waits for"))
        }),
    }
}

/// # Errors
/// The store's own.
pub fn newest(store: &Store, request: &str) -> Result<Option<RunRow>, CliError> {
    let filter = Filter { request: Some(request.to_owned()), limit: 1, ..Filter::default() };
    Ok(store.runs(&filter)?.into_iter().next())
}

pub fn unknown(store: &Store, name: &str) -> CliError {
    let names = store.known_names().unwrap_or_default();
    let hint = did_you_mean(name, names.iter().map(String::as_str));
    CliError::not_found(format!("there is no request and no run {name}"))
        .hint("`benchlet get` lists the requests, `benchlet history` the runs")
        .maybe_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_in_any_case_and_in_the_plural() {
        for word in ["LlamaBench", "llamabench", "llama-bench", "llamabenches"] {
            assert_eq!(kind_of(word), Some("LlamaBench"), "{word}");
        }
        assert_eq!((kind_of("apply"), kind_of("applies")), (Some("Apply"), Some("Apply")));
        assert_eq!(kind_of("qwen3"), None);
    }
}
