//! Reads a compose file: its project and each service's container, environment, command and ports.
//! One broken service does not hide the others. Decides nothing about what serves in a service.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::plan::service::Port;
use crate::plan::shell_words;
use crate::request::diagnostic::{Diagnostic, Place, did_you_mean};
use crate::request::tree::{Entry, Node, Value, parse};
use crate::run::step::ContainerSpec;

use super::container::container;
use super::field::{Fields, Reader, find};
use super::mounts::{Surroundings, normalised};
use super::{Environment, Problem, env_file};

/// A service as the compose file has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ComposeService {
    pub name: String,
    pub container: ContainerSpec,
    pub container_name: Option<String>,
    pub env: BTreeMap<String, String>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub ports: Vec<Port>,
}

/// What could be read of a file, and everything that is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct ComposeFile {
    pub project: String,
    /// Those without errors, in the file's order.
    pub services: Vec<ComposeService>,
    pub problems: Vec<Problem>,
}

/// Longest chain of `extends`.
const MAX_EXTENDS: usize = 16;
/// Names that Compose would merge over the file by itself.
const OVERRIDES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// Reads a compose file with the `.env` beside it; the process's environment wins over that.
pub fn load(path: &Path, process: &Environment) -> ComposeFile {
    let mut file = ComposeFile::default();
    let problem = |problem: Diagnostic, source: &str| Problem {
        path: path.to_path_buf(),
        service: None,
        problem: problem.locate(source),
    };
    let whole = |message: String| problem(Diagnostic::error(Place::whole_file(), message), "");
    let source = match std::fs::read_to_string(path) {
        Ok(source) => source,
        Err(error) => {
            file.problems.push(whole(format!("the compose file cannot be read: {error}")));
            return file;
        }
    };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let directory = normalised(absolute.parent().unwrap_or(Path::new("/")));
    let mut environment = process.clone();
    match dot_env(&directory, process) {
        Ok(values) => {
            for (name, value) in values {
                environment.entry(name).or_insert(value);
            }
        }
        Err(message) => file.problems.push(whole(message)),
    }
    for name in OVERRIDES.iter().filter(|name| directory.join(name).exists() && !absolute.ends_with(name)) {
        let message = format!("{name} beside this file is not read; list what it changes here");
        file.problems.push(problem(Diagnostic::warning(Place::whole_file(), message), ""));
    }
    let root = match parse(&source).documents.into_iter().next().map(|document| document.root) {
        Some(Ok(root)) => root,
        Some(Err(error)) => {
            file.problems.push(problem(error, &source));
            return file;
        }
        None => {
            file.problems.push(whole("the compose file is empty".to_owned()));
            return file;
        }
    };
    let mut reader = Reader::new(&environment);
    file.project = project(&mut reader, &root, &directory);
    if let Some(include) = root.get("include") {
        reader.warning(include, "included files are not read; name them as compose files of their own");
    }
    let services = root.get("services").map(|services| services.merged());
    if services.is_none() {
        reader.error(&root, "this file has no services, so it is no compose file");
    }
    file.problems.extend(reader.problems.drain(..).map(|found| problem(found, &source)));
    let services = services.unwrap_or_default();
    let around = Surroundings { directory: &directory, project: &file.project, root: &root };
    for entry in &services {
        let Some(name) = entry.key.text() else { continue };
        let mut reader = Reader::new(&environment);
        let service = service(&mut reader, name, &services, &around);
        if !reader.problems.iter().any(Diagnostic::is_error) {
            file.services.extend(service);
        }
        file.problems.extend(reader.problems.into_iter().map(|found| {
            let mut problem = found.locate(&source);
            if may_show_secrets(&found, &services) {
                problem.text = None;
            }
            Problem { path: path.to_path_buf(), service: Some(name.to_owned()), problem }
        }));
    }
    file
}

/// Whether the offending text may hold a key: problems go to logs and status files.
fn may_show_secrets(found: &Diagnostic, services: &[Entry]) -> bool {
    let Some(span) = &found.place.span else {
        return false;
    };
    services.iter().flat_map(|service| service.value.merged()).any(|field| {
        let secretive = matches!(field.key.text(), Some("command" | "entrypoint" | "environment"));
        secretive && field.value.span.start <= span.start && span.end <= field.value.span.end
    })
}

fn dot_env(directory: &Path, process: &Environment) -> Result<Vec<(String, String)>, String> {
    let text = match std::fs::read_to_string(directory.join(".env")) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("the .env file beside it cannot be read: {error}")),
    };
    env_file::parse(&text, &|name| process.get(name).cloned())
        .map_err(|error| format!("the .env file beside it is not readable: {error}"))
}

/// `COMPOSE_PROJECT_NAME`, else the file's `name`, else the directory's, as Compose normalises it.
fn project(reader: &mut Reader<'_>, root: &Node, directory: &Path) -> String {
    let given = match reader.environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()) {
        Some(name) => Some(name.clone()),
        None => root.get("name").cloned().and_then(|name| reader.text(&name)),
    };
    let name = given.or_else(|| directory.file_name().map(|name| name.to_string_lossy().into_owned()));
    let lower = name.unwrap_or_default().to_lowercase();
    let kept = |ch: &char| ch.is_ascii_lowercase() || ch.is_ascii_digit() || matches!(ch, '-' | '_');
    lower.chars().filter(kept).collect::<String>().trim_start_matches(['-', '_']).to_owned()
}

fn service(
    reader: &mut Reader<'_>,
    name: &str,
    services: &[Entry],
    around: &Surroundings<'_>,
) -> Option<ComposeService> {
    let fields = Fields { layers: layers(reader, name, services)? };
    Some(ComposeService {
        name: name.to_owned(),
        container: container(reader, &fields, around),
        container_name: fields.get("container_name").and_then(|node| reader.text(&node)),
        env: environment(reader, &fields, around.directory),
        entrypoint: fields.get("entrypoint").map(|node| arguments(reader, &node)).unwrap_or_default(),
        command: fields.get("command").map(|node| arguments(reader, &node)).unwrap_or_default(),
        ports: fields.all("ports").iter().flat_map(|node| ports(reader, node)).collect(),
    })
}

/// A service's entries below those of the services that it extends.
fn layers(reader: &mut Reader<'_>, name: &str, services: &[Entry]) -> Option<Vec<Vec<Entry>>> {
    let mut layers = Vec::new();
    let mut next = Some((name.to_owned(), None::<Arc<Node>>));
    while let Some((name, extends)) = next.take() {
        let Some(node) = find(services, &name) else {
            let known = services.iter().filter_map(|entry| entry.key.text());
            let hint = did_you_mean(&name, known).map_or_else(String::new, |hint| format!(" ({hint})"));
            if let Some(extends) = extends {
                reader.error(&extends, format!("it extends \"{name}\", which is not in this file{hint}"));
            }
            return None;
        };
        if node.entries().is_none() {
            reader.error(&node, format!("a service is a map, and this is {}", node.kind_name()));
            return None;
        }
        if layers.len() >= MAX_EXTENDS {
            reader.error(&node, "services extend each other in a circle or too deep");
            return None;
        }
        let merged = node.merged();
        if let Some(base) = find(&merged, "extends") {
            if let Some(file) = find(&base.merged(), "file") {
                reader.error(&file, "extending a service of another file is not supported; copy it here");
                return None;
            }
            let service = match base.entries() {
                Some(_) => reader.text_of(&base, "service"),
                None => reader.text(&base),
            };
            next = service.map(|service| (service, Some(base)));
        }
        layers.push(merged);
    }
    layers.reverse();
    Some(layers)
}

fn arguments(reader: &mut Reader<'_>, node: &Node) -> Vec<String> {
    if let Value::List(_) | Value::Map(_) = node.value {
        return reader.texts(node);
    }
    let Some(text) = reader.text(node) else {
        return Vec::new();
    };
    let words = match shell_words::split(&text) {
        Ok(words) => words,
        Err(error) => {
            reader.error(node, format!("the command cannot be split into words: {error}"));
            return Vec::new();
        }
    };
    if let Some((found, _)) = words.cut {
        reader.warning(node, format!("Compose ignores what follows the unquoted {found} of this command"));
    }
    if words.words.iter().any(|word| word.quote.is_none() && word.text.starts_with(['\n', ' '])) {
        let message = "a backslash at a line's end becomes part of the next argument here; leave it out";
        reader.warning(node, message);
    }
    words.words.into_iter().map(|word| word.text).collect()
}

fn environment(reader: &mut Reader<'_>, fields: &Fields, directory: &Path) -> BTreeMap<String, String> {
    let mut result = BTreeMap::new();
    for node in fields.all("env_file") {
        let items: Vec<Arc<Node>> = match node.items() {
            Some(items) => items.to_vec(),
            None => vec![node],
        };
        for item in items {
            read_env_file(reader, &item, directory, &mut result);
        }
    }
    for node in fields.all("environment") {
        if let Some(items) = node.items() {
            for item in items {
                let Some(text) = reader.text(item) else { continue };
                match text.split_once('=') {
                    Some((name, value)) => drop(result.insert(name.to_owned(), value.to_owned())),
                    None => passed_on(reader, &text, &mut result),
                }
            }
            continue;
        }
        for entry in node.merged() {
            let Some(name) = entry.key.text() else { continue };
            match entry.value.is_null() {
                true => passed_on(reader, name, &mut result),
                false => result.extend(reader.text(&entry.value).map(|value| (name.to_owned(), value))),
            }
        }
    }
    result
}

/// A variable without a value takes the one of Compose's own environment, or is not set.
fn passed_on(reader: &Reader<'_>, name: &str, into: &mut BTreeMap<String, String>) {
    match reader.environment.get(name) {
        Some(value) => drop(into.insert(name.to_owned(), value.clone())),
        None => drop(into.remove(name)),
    }
}

fn read_env_file(
    reader: &mut Reader<'_>,
    item: &Node,
    directory: &Path,
    into: &mut BTreeMap<String, String>,
) {
    let (path, required) = match item.entries() {
        None => (reader.text(item), true),
        Some(_) => {
            let required = find(&item.merged(), "required").is_none_or(|node| reader.truth(&node));
            (reader.text_of(item, "path"), required)
        }
    };
    let Some(path) = path.map(|path| normalised(&directory.join(path))) else {
        return;
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return,
        Err(error) => {
            return reader.error(item, format!("the env_file {} cannot be read: {error}", path.display()));
        }
    };
    match env_file::parse(&text, &|name| reader.environment.get(name).cloned()) {
        Ok(values) => into.extend(values),
        Err(error) => {
            reader.error(item, format!("the env_file {} is not readable: {error}", path.display()));
        }
    }
}

fn ports(reader: &mut Reader<'_>, node: &Node) -> Vec<Port> {
    let mut result = Vec::new();
    for item in node.items().unwrap_or_default() {
        let (host, container, protocol) = match item.entries() {
            Some(_) => (
                reader.text_of(item, "published"),
                reader.text_of(item, "target").unwrap_or_default(),
                reader.text_of(item, "protocol"),
            ),
            None => {
                let Some(text) = reader.text(item) else { continue };
                let (ports, protocol) = match text.split_once('/') {
                    Some((ports, protocol)) => (ports, Some(protocol.to_owned())),
                    None => (text.as_str(), None),
                };
                let mut parts = ports.rsplitn(3, ':').map(str::to_owned);
                let container = parts.next().unwrap_or_default();
                (parts.next(), container, protocol)
            }
        };
        if protocol.is_some_and(|protocol| protocol != "tcp") {
            continue;
        }
        // Without a host port the daemon chooses one at each start: nothing to list.
        let Some(host) = host.filter(|host| !host.is_empty() && host != "0") else { continue };
        match (range(&host), range(&container)) {
            (Some(host), Some(container)) if host.len() == container.len() => {
                result.extend(host.zip(container).map(|(host, container)| Port { host, container }));
            }
            _ => reader.error(item, format!("\"{host}:{container}\" is no pair of ports")),
        }
    }
    result
}

fn range(text: &str) -> Option<std::ops::Range<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    Some(first..last.checked_add(1)?)
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
