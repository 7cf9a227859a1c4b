//! Finds the command in a compose file's text that belongs to one service and to no other, or says
//! where it really stands. Edits nothing.

use std::sync::Arc;

use crate::request::diagnostic::{Diagnostic, did_you_mean};
use crate::request::tree::{Entry, Node, parse};

use super::command_text::{CommandText, read};
use super::flag_map::of_server;
use super::server_flags::shell_script;
use super::service_edit::{EditError, FlagChange};

/// A command that is a service's own, with what else of the service an edit must look at.
pub(super) struct Located {
    pub command: CommandText,
    environment: Option<Arc<Node>>,
}

impl Located {
    /// A flag that the environment sets is changed there, by its owner: beside a flag in the command
    /// the variable would only mislead, and taking a flag out of the command would not unset it.
    pub fn refuse_environment(
        &self,
        source: &str,
        service: &str,
        wanted: &FlagChange,
    ) -> Result<(), EditError> {
        let variable = wanted.spellings.iter().find_map(|name| of_server(name)?.env);
        let (Some(environment), Some(variable)) = (&self.environment, variable) else {
            return Ok(());
        };
        let place = match environment.items() {
            Some(items) => items.iter().find(|item| {
                item.text().is_some_and(|text| text.split('=').next().is_some_and(|name| name == variable))
            }),
            None => environment.get(variable),
        };
        match place {
            None => Ok(()),
            Some(node) => Err(EditError::Flag {
                service: service.to_owned(),
                flag: wanted.spellings[0].clone(),
                line: line_of(source, node.span.start),
                reason: format!("{variable} in the environment sets it; change it there"),
            }),
        }
    }
}

/// Finds the command that belongs to this service and to no other.
pub(super) fn locate(source: &str, name: &str) -> Result<Located, EditError> {
    let unreadable = |problem: &Diagnostic| EditError::Unreadable(problem.locate(source).to_string());
    let stream = parse(source);
    let root = match stream.documents.first().map(|document| &document.root) {
        Some(Ok(root)) => Arc::clone(root),
        Some(Err(problem)) => return Err(unreadable(problem)),
        None => return Err(EditError::Unreadable("it is empty".to_owned())),
    };
    let services = root.get("services").map(|services| services.merged()).unwrap_or_default();
    let Some(entry) = services.iter().find(|entry| entry.key.text() == Some(name)) else {
        let known = services.iter().filter_map(|entry| entry.key.text());
        return Err(EditError::NoService { name: name.to_owned(), suggestion: did_you_mean(name, known) });
    };
    let service = &entry.value;
    let elsewhere = |at: usize| EditError::Elsewhere {
        service: name.to_owned(),
        whence: format!("line {}", line_of(source, at)),
    };
    if service.via_alias {
        return Err(elsewhere(service.span.start));
    }
    let merged = service.merged();
    let of = |key: &str| merged.iter().find(|entry| entry.key.text() == Some(key)).map(|entry| &entry.value);
    let (key, node) = match of("command").filter(|node| !node.is_null()) {
        Some(node) => ("command", node),
        None => match of("extends") {
            Some(base) => {
                return Err(EditError::Elsewhere { service: name.to_owned(), whence: extended(base) });
            }
            None => match of("entrypoint").filter(|node| !node.is_null()) {
                Some(node) => ("entrypoint", node),
                None => return Err(EditError::NoCommand { service: name.to_owned() }),
            },
        },
    };
    let own = service.get(key).is_some_and(|own| own.span == node.span);
    if node.via_alias || !own {
        return Err(elsewhere(node.span.start));
    }
    refuse_shared(&services, name, key, node)?;
    let command_error = |reason: String| EditError::Command {
        service: name.to_owned(),
        line: line_of(source, node.span.start),
        reason,
    };
    let command = read(source, node).map_err(|error| command_error(error.to_string()))?;
    if shell_script(&texts(&command)).is_some() {
        return Err(command_error("it runs a shell's script; change the flags there".to_owned()));
    }
    Ok(Located { command, environment: of("environment").map(Arc::clone) })
}

fn refuse_shared(services: &[Entry], name: &str, key: &str, node: &Node) -> Result<(), EditError> {
    let shares = |entry: &&Entry| {
        let merged = entry.value.merged();
        let of = |key: &str| merged.iter().find(|entry| entry.key.text() == Some(key));
        match of(key) {
            Some(theirs) => theirs.value.span == node.span,
            None => of("extends").is_some_and(|base| extended_service(&base.value) == Some(name)),
        }
    };
    let others: Vec<_> = services
        .iter()
        .filter(|entry| entry.key.text() != Some(name))
        .filter(shares)
        .filter_map(|entry| entry.key.text())
        .map(|other| format!("\"{other}\""))
        .collect();
    match others.is_empty() {
        true => Ok(()),
        false => Err(EditError::Shared { service: name.to_owned(), others: others.join(", ") }),
    }
}

/// The service of the same file that an `extends` names.
fn extended_service(base: &Node) -> Option<&str> {
    match base.text() {
        Some(name) => Some(name),
        None if base.get("file").is_some() => None,
        None => base.get("service").and_then(|service| service.text()),
    }
}

fn extended(base: &Node) -> String {
    let file = base.get("file").and_then(|file| file.text());
    let service = base.text().or_else(|| base.get("service").and_then(|service| service.text()));
    match file {
        Some(file) => format!("the service \"{}\" of {file} (extends)", service.unwrap_or("?")),
        None => format!("the service \"{}\" (extends)", service.unwrap_or("?")),
    }
}

pub(super) fn line_of(source: &str, at: usize) -> usize {
    source[..source.floor_char_boundary(at)].matches('\n').count() + 1
}

/// The arguments as the program gets them, variables as written.
pub(super) fn texts(command: &CommandText) -> Vec<String> {
    command.arguments.iter().map(|argument| argument.text.clone()).collect()
}
