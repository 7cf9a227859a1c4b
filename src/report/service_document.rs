//! A service as lists show it, without anything secret.

use serde_json::{Value, json};

use crate::plan::service::{ModelReference, Service};
use crate::run::step::GpuSelection;

pub fn model(service: &Service) -> Option<String> {
    match &service.model {
        ModelReference::File(name) | ModelReference::Hub(name) => Some(service.masked(name)),
        ModelReference::Unknown => None,
    }
}

pub fn gpus(service: &Service) -> Option<String> {
    service.container.gpus.as_ref().map(|gpus| match &gpus.which {
        GpuSelection::All => "all".to_owned(),
        GpuSelection::Count(count) => format!("any {count}"),
        GpuSelection::Ids(ids) => ids.join(","),
    })
}

pub fn source(service: &Service) -> String {
    let origin = &service.origin;
    let files: Vec<String> = origin
        .compose_file
        .iter()
        .chain(&origin.services_json)
        .map(|path| path.display().to_string())
        .collect();
    if files.is_empty() { "built in".to_owned() } else { files.join(" ") }
}

pub fn flags(service: &Service) -> String {
    let words: Vec<String> = service
        .flags
        .iter()
        .map(|flag| match &flag.value {
            Some(value) => format!("{} {value}", flag.name),
            None => flag.name.clone(),
        })
        .collect();
    service.masked(&words.join(" "))
}

/// A service in a list.
pub fn of(service: &Service) -> Value {
    json!({
        "name": service.name,
        "kind": service.kind.as_str(),
        "image": service.container.image,
        "model": model(service),
        "gpus": gpus(service),
        "ports": service.ports,
        "flags": flags(service),
        "source": source(service),
    })
}
