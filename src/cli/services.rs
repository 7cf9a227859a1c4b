//! `benchlet services`: what the compose files and `services.json` define. Never shows a secret.

use clap::Args;
use serde_json::{Value, json};

use super::environment;
use super::error::CliError;
use super::output::{Cell, Console, Format, Table};
use crate::controller::surroundings::{SIMULATED, simulated_service};
use crate::plan::service::{ModelReference, Service};
use crate::run::step::GpuSelection;
use crate::service::catalogue::Catalogue;
use crate::settings::Settings;

/// Lists the services that can be named in requests.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet services
  benchlet services --compose /srv/llm/docker-compose.yml -o wide

LlamaBench measures those of kind llama.cpp. The service `simulated` is always there: it loads no
model and makes its figures up, for trying things out.")]
pub struct Services {
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

pub fn run(verb: &Services, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let catalogue = Catalogue::load(&settings.compose, &settings.services, &environment());
    let own = simulated_service();
    // The name always means the stand-in.
    let all: Vec<&Service> = catalogue
        .services()
        .iter()
        .filter(|service| service.name != SIMULATED)
        .chain(std::iter::once(&own))
        .collect();
    match verb.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            let problems: Vec<String> = catalogue.problems().iter().map(ToString::to_string).collect();
            let items: Vec<Value> = all.iter().map(|service| as_json(service)).collect();
            let whole = json!({ "items": items, "problems": problems });
            return if format == Format::Json { console.json(&whole) } else { console.yaml(&whole) };
        }
        Some(Format::Name) => {
            return all.iter().try_for_each(|service| console.line(super::output::clean(&service.name)));
        }
        Some(Format::Wide) => table(&all, true).print(console)?,
        None => table(&all, false).print(console)?,
    }
    for problem in catalogue.problems() {
        let place = problem.path.display();
        let gap = if problem.problem.line.is_some() { "" } else { " " };
        console.note(format!("problem: {place}:{gap}{}", problem.problem));
    }
    Ok(())
}

fn table(services: &[&Service], wide: bool) -> Table {
    let mut headers = vec!["NAME", "KIND", "IMAGE", "MODEL", "GPUS", "SOURCE"];
    if wide {
        headers.extend(["PORTS", "FLAGS"]);
    }
    let mut table = Table::new(&headers);
    for service in services {
        let mut cells: Vec<Cell> = vec![
            service.name.as_str().into(),
            service.kind.as_str().into(),
            Cell::maybe(Some(&service.container.image)),
            Cell::maybe(model(service)),
            Cell::maybe(gpus(service)),
            source(service).into(),
        ];
        if wide {
            let ports: Vec<String> =
                service.ports.iter().map(|port| format!("{}:{}", port.host, port.container)).collect();
            cells.extend([Cell::maybe(Some(ports.join(","))), Cell::maybe(Some(flags(service)))]);
        }
        table.row(cells);
    }
    table
}

fn model(service: &Service) -> Option<String> {
    match &service.model {
        ModelReference::File(name) | ModelReference::Hub(name) => Some(service.masked(name)),
        ModelReference::Unknown => None,
    }
}

fn gpus(service: &Service) -> Option<String> {
    service.container.gpus.as_ref().map(|gpus| match &gpus.which {
        GpuSelection::All => "all".to_owned(),
        GpuSelection::Count(count) => format!("any {count}"),
        GpuSelection::Ids(ids) => ids.join(","),
    })
}

fn source(service: &Service) -> String {
    let origin = &service.origin;
    let files: Vec<String> = origin
        .compose_file
        .iter()
        .chain(&origin.services_json)
        .map(|path| path.display().to_string())
        .collect();
    if files.is_empty() { "built in".to_owned() } else { files.join(" ") }
}

fn flags(service: &Service) -> String {
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

fn as_json(service: &Service) -> Value {
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
