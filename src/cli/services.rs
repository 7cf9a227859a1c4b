//! `benchlet services`: what the compose files and `services.json` define. Never shows a secret.

use clap::Args;
use serde_json::{Value, json};

use super::error::CliError;
use super::output::{Cell, Console, Format, Table};
use crate::controller::surroundings::{SIMULATED, environment, simulated_service};
use crate::plan::service::Service;
use crate::report::service_document::{self, flags, gpus, model, source};
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
            let items: Vec<Value> = all.iter().map(|service| service_document::of(service)).collect();
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
