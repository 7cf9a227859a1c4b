//! Reads LLM-Dock's `services.json`: what it adds to the compose services of the same names.

use std::path::Path;

use crate::plan::service::{ModelReference, ServerFlag};
use crate::request::diagnostic::{Diagnostic, Place};
use crate::request::tree::{Node, parse};

use super::Problem;

/// A service as `services.json` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedService {
    pub name: String,
    pub template_type: Option<String>,
    pub model: ModelReference,
    pub port: Option<u16>,
    pub api_key: Option<String>,
    pub flags: Vec<ServerFlag>,
    /// `env:NAME` among its params.
    pub env: Vec<(String, String)>,
}

/// The services that could be read, and what is wrong with the rest.
pub fn load(path: &Path) -> (Vec<ListedService>, Vec<Problem>) {
    let problem = |service: Option<&str>, found: Diagnostic, source: &str| Problem {
        path: path.to_path_buf(),
        service: service.map(str::to_owned),
        problem: found.locate(source),
    };
    let whole = |message: String| problem(None, Diagnostic::error(Place::whole_file(), message), "");
    let source = match std::fs::read_to_string(path) {
        Ok(source) => source,
        Err(error) => return (Vec::new(), vec![whole(format!("services.json cannot be read: {error}"))]),
    };
    // JSON is read as the YAML that it also is: that keeps places and the values as written.
    let root = match parse(&source).documents.into_iter().next().map(|document| document.root) {
        Some(Ok(root)) => root,
        Some(Err(found)) => return (Vec::new(), vec![problem(None, found, &source)]),
        None => return (Vec::new(), vec![whole("services.json is empty".to_owned())]),
    };
    let Some(entries) = root.entries() else {
        return (Vec::new(), vec![whole("services.json is no object of services".to_owned())]);
    };
    let mut services = Vec::new();
    let mut problems = Vec::new();
    for entry in entries {
        let Some(name) = entry.key.text() else { continue };
        match listed(name, &entry.value) {
            Ok(service) => services.push(service),
            Err(found) => problems.push(problem(Some(name), found, &source)),
        }
    }
    (services, problems)
}

fn listed(name: &str, node: &Node) -> Result<ListedService, Diagnostic> {
    let wrong = |node: &Node, what: &str| {
        let message = format!("{what} is needed here, and this is {}", node.kind_name());
        Diagnostic::error(Place::at(node.span.clone()), message)
    };
    if node.entries().is_none() {
        return Err(wrong(node, "an object"));
    }
    let text = |key: &str| node.get(key).and_then(|node| node.text()).map(str::to_owned);
    let model = match (text("model_path"), text("model_name")) {
        (Some(path), _) => ModelReference::File(path),
        (None, Some(name)) => ModelReference::Hub(name),
        (None, None) => ModelReference::Unknown,
    };
    let mut service = ListedService {
        name: name.to_owned(),
        template_type: text("template_type"),
        model,
        port: text("port").and_then(|port| port.parse().ok()),
        api_key: text("api_key"),
        flags: Vec::new(),
        env: Vec::new(),
    };
    let Some(params) = node.get("params").filter(|params| !params.is_null()) else {
        return Ok(service);
    };
    for entry in params.entries().ok_or_else(|| wrong(params, "an object"))? {
        let Some(flag) = entry.key.text() else { continue };
        let value = match (entry.value.is_null(), entry.value.text()) {
            (true, _) => String::new(),
            (false, Some(value)) => value.to_owned(),
            (false, None) => return Err(wrong(&entry.value, "a text")),
        };
        match flag.strip_prefix("env:") {
            Some(name) => service.env.push((name.to_owned(), value)),
            None => service
                .flags
                .push(ServerFlag { name: flag.to_owned(), value: (!value.is_empty()).then_some(value) }),
        }
    }
    Ok(service)
}
