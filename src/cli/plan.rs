//! `benchlet plan`: the exact command and cases of a request, without starting anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::CliError;
use super::output::{Console, Structured, Style, Table, clean};
use super::{block_on, plan_load, state_dir};
use crate::controller::surroundings::{Asked, Place, find_service, look_around};
use crate::executor::DockerExecutor;
use crate::intake::load::{self, Content, Loaded};
use crate::plan::bench_matrix::Matrix;
use crate::plan::bench_preview::BenchPreview;
use crate::plan::llama_bench_command::{self, Surroundings};
use crate::plan::service::{Service, ServiceKind};
use crate::request::llama_bench::LlamaBench;
use crate::request::quantities::spoken_time;
use crate::request::valid::{self, Spec, ValidRequest};
use crate::run::plan::{Blueprint, ExecutorKind};
use crate::run::reason::Refusal;
use crate::settings::Settings;
use crate::store::Store;

/// Shows what a request would run, and starts nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet plan requests/qwen3.yaml
  benchlet plan requests/all.yaml --name qwen3 -o json

The image is not pulled, so where llama-bench lies in it is a guess until the run itself has looked.")]
pub struct Plan {
    /// The file of the request
    pub file: PathBuf,
    /// Which request, where the file has several
    #[arg(long)]
    pub name: Option<String>,
    /// Print it as data
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Structured>,
}

/// Cases that the text shows.
const SHOWN: usize = 50;

pub fn run(verb: &Plan, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let request = read(&verb.file, verb.name.as_deref())?;
    let spec = match &request.spec {
        Spec::LlamaBench(spec) => spec,
        Spec::LoadTest(spec) => {
            return plan_load::run(&request, spec, &verb.file, settings, verb.output, console);
        }
        Spec::Model(_) => {
            return Err(CliError::usage(format!("{} is a Model, which starts no benchmark", request.name))
                .hint("`benchlet model-files list` shows what is there already"));
        }
        Spec::Imported(_) => {
            return Err(CliError::usage(format!("{} was imported and starts no benchmark", request.name)));
        }
        Spec::Baseline(_) | Spec::Comparison(_) => {
            let kind = request.spec.kind();
            return Err(CliError::usage(format!(
                "{} is of kind {kind}, which starts no benchmark",
                request.name
            ))
            .hint("`benchlet compare` judges two runs without a request"));
        }
        Spec::Apply(_) => {
            return Err(CliError::usage(format!("{} is an Apply, which starts no benchmark", request.name))
                .hint("`dryRun: true` in its spec puts the difference into its status"));
        }
    };
    let service = service(&spec.service, settings)?;
    let store = state_dir::open_if_there(settings)?;
    let around = block_on(surroundings(&request, spec, &service, settings, store.as_ref()))?;
    let blueprint = llama_bench_command::resolve(spec, &service, &around).map_err(refused)?;
    let planned = Planned::of(request.name.clone(), blueprint, around.timeout_ms, &service);
    match verb.output {
        Some(how) => console.structured(&planned.json(), how),
        None => planned.print(console),
    }
}

/// A request that is valid and cannot run, with the reason.
pub fn refused(refusal: Refusal) -> CliError {
    CliError::no(format!("the request cannot run: {} ({})", refusal.message, refusal.reason))
        .maybe_hint(refusal.hint)
}

fn read(file: &Path, name: Option<&str>) -> Result<ValidRequest, CliError> {
    let shown = file.display();
    let real = file
        .canonicalize()
        .map_err(|error| CliError::not_found(format!("the file {shown} cannot be read: {error}")))?;
    let (Some(parent), Some(own)) = (real.parent(), real.file_name()) else {
        return Err(CliError::usage(format!("{shown} is no file")));
    };
    let Loaded::File(loaded) = load::load(parent, Path::new(own)) else {
        return Err(CliError::not_found(format!("there is no file {shown}")));
    };
    let invalid = |message: String| {
        CliError::no(format!("{shown}:{message}"))
            .hint(format!("`benchlet validate {shown}` shows everything"))
    };
    let stream = match &loaded.content {
        Content::Documents(stream) => stream,
        Content::Problem(problem) => return Err(invalid(problem.locate("").to_string())),
        Content::Data => {
            return Err(CliError::usage(format!("{shown} holds conversations and no request"))
                .hint(format!("`benchlet conversations list --file {shown}` shows them")));
        }
    };
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    for document in &stream.documents {
        let root = document.root.as_ref().map_err(|bad| invalid(bad.locate(&loaded.source).to_string()))?;
        let claimed = valid::claimed_name(root, document.index, &stem);
        if name.is_some() && claimed.as_deref() != name {
            continue;
        }
        match valid::validate(root, document.index, &stem) {
            Ok(request) => found.push(request),
            Err(problems) => {
                let first = problems.first().map(|problem| problem.locate(&loaded.source).to_string());
                return Err(invalid(first.unwrap_or_default()));
            }
        }
    }
    let names: Vec<String> = found.iter().map(|request| request.name.clone()).collect();
    match (found.pop(), names.len()) {
        (Some(request), 1) => Ok(request),
        (Some(_), _) => Err(CliError::usage(format!("{shown} has {} requests", names.len()))
            .hint(format!("choose one with --name: {}", names.join(", ")))),
        (None, _) => Err(CliError::not_found(match name {
            Some(name) => format!("{shown} has no request {name}"),
            None => format!("{shown} has no request"),
        })),
    }
}

/// The service by its name, from the files as they are now.
///
/// # Errors
/// There is none, with what may have been meant.
pub fn service(name: &str, settings: &Settings) -> Result<Service, CliError> {
    block_on(async {
        find_service(settings, name)
            .await
            .map_err(|refusal| CliError::not_found(refusal.message).maybe_hint(refusal.hint))
    })
}

/// What the controller would find around the run.
async fn surroundings(
    request: &ValidRequest,
    spec: &LlamaBench,
    service: &Service,
    settings: &Settings,
    store: Option<&Store>,
) -> Result<Surroundings, CliError> {
    let docker = match service.kind {
        ServiceKind::Simulated => Err("the simulated service needs none".to_owned()),
        ServiceKind::LlamaCpp | ServiceKind::Vllm | ServiceKind::Ollama | ServiceKind::Other => {
            DockerExecutor::connect("plan").await.map(Arc::new).map_err(|error| error.to_string())
        }
    };
    let place = Place { settings, store, docker, instance: "plan" };
    // The id of no run: it is in no command.
    let asked = Asked { run: Uuid::nil(), request: &request.name, timeout_ms: request.control.timeout_ms };
    Ok(look_around(&place, &asked, spec, service).await?)
}

struct Planned {
    request: String,
    blueprint: Blueprint,
    timeout_ms: u64,
    command: String,
    matrix: Matrix,
    warnings: Vec<String>,
}

impl Planned {
    fn of(request: String, blueprint: Blueprint, timeout_ms: u64, service: &Service) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let BenchPreview { command, matrix, warnings } = BenchPreview::of(&blueprint, service, threads);
        Self { request, blueprint, timeout_ms, command, matrix, warnings }
    }

    fn json(&self) -> Value {
        let varied = self.matrix.varied();
        let cases: Vec<Value> = (1..)
            .zip(self.matrix.cells())
            .map(|(number, cell)| {
                let columns: serde_json::Map<String, Value> =
                    varied.iter().map(|name| ((*name).to_owned(), cell.columns[*name].clone())).collect();
                json!({
                    "case": number,
                    "test": cell.test_name(),
                    "n_prompt": cell.n_prompt,
                    "n_gen": cell.n_gen,
                    "n_depth": cell.n_depth,
                    "varied": columns,
                })
            })
            .collect();
        let params: serde_json::Map<String, Value> =
            self.blueprint.params.iter().map(|param| (param.flag.clone(), json!(param.value))).collect();
        json!({
            "request": self.request,
            "service": self.blueprint.service,
            "executor": self.blueprint.executor.as_str(),
            "simulated": self.blueprint.simulated,
            "model": self.blueprint.model,
            "command": self.command,
            "params": params,
            "launches": self.blueprint.launches,
            "timeout": spoken_time(self.timeout_ms),
            "claims": self.blueprint.claims,
            "stops": self.blueprint.stop,
            "caseCount": self.matrix.count(),
            "cases": cases,
            "warnings": self.warnings,
            "dropped": self.blueprint.dropped,
        })
    }

    fn print(&self, console: &mut Console) -> Result<(), CliError> {
        let launches = self.blueprint.launches;
        let mut put = |label: &str, value: &str| console.line(format!("{label:<10} {}", clean(value)));
        put("Request:", &self.request)?;
        put("Service:", &self.blueprint.service)?;
        let executor = match self.blueprint.executor {
            ExecutorKind::Docker => "docker (a container of its own)",
            ExecutorKind::Process => "process (on this machine)",
        };
        put("Executor:", executor)?;
        if self.blueprint.simulated {
            put("Simulated:", "yes: no model is loaded, every figure is made up")?;
        }
        if !self.blueprint.claims.is_empty() {
            put("Claims:", &self.blueprint.claims.join(", "))?;
        }
        put("Launches:", &launches.to_string())?;
        put("Timeout:", &spoken_time(self.timeout_ms))?;
        put("Command:", &self.command)?;
        let count = self.matrix.count();
        console.line(console.painted(&format!("Cases ({count} a launch):"), Style::Bold))?;
        let varied = self.matrix.varied();
        let mut table = Table::new(&["CASE", "TEST", "VARIED"]).indented(2);
        for (number, cell) in (1..=SHOWN).zip(self.matrix.cells()) {
            let value = |name: &str| {
                let value = &cell.columns[name];
                format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            let shown: Vec<String> =
                varied.iter().filter(|name| **name != "n_depth").map(|name| value(name)).collect();
            table.row(vec![
                number.to_string().into(),
                cell.test_name().into(),
                super::output::Cell::maybe(Some(shown.join(" "))),
            ]);
        }
        table.print(console)?;
        if count > SHOWN {
            console.line(format!("  and {} more; -o json has them", count - SHOWN))?;
        }
        for (title, lines) in [
            ("Warnings:", &self.warnings),
            ("Dropped flags of the service:", &self.blueprint.dropped),
            ("Stops for the run:", &self.blueprint.stop),
        ] {
            if !lines.is_empty() {
                console.line(console.painted(title, Style::Bold))?;
                lines.iter().try_for_each(|line| console.line(format!("  {}", clean(line))))?;
            }
        }
        Ok(())
    }
}
