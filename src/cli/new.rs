//! `benchlet new`: a request on standard output, prefilled and explained. Writes no file.

use clap::{Args, Subcommand, ValueEnum};

use super::error::CliError;
use super::new_conversation::{self, NewConversation};
use super::new_load_test::{self, NewLoadTest};
use super::new_model::{self, NewModel};
use super::output::Console;
use super::{plan, run_selection, set_flag, state_dir};
use crate::controller::surroundings::SIMULATED;
use crate::plan::flag_map;
use crate::request::apply::Metric;
use crate::request::flags::Param;
use crate::request::schema::API_VERSION;
pub use crate::request::yaml_text::quoted;
use crate::request::{tree, valid};
use crate::settings::Settings;

/// Prints a request that is ready to be saved.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet new LlamaBench --service qwen3 > requests/qwen3.yaml
  benchlet new LlamaBench --service qwen3 --set -b=512,1024 --set -fa=on --name qwen3-batches
  benchlet new LoadTest --engine llama.cpp --url http://localhost:8080 --concurrency 1,5,10 --duration 30s
  benchlet new Conversation --service qwen3 --managed --include-tags rag --experiment
  benchlet new Model --source qwen2.5-3b         a name of the catalogue, or hf://owner/repo/file
  benchlet new Apply --request qwen3-batches --run Best --metric tg_avg_ts")]
pub struct New {
    #[command(subcommand)]
    pub kind: Kind,
}

#[derive(Debug, Subcommand)]
pub enum Kind {
    /// llama-bench for one service
    #[command(name = "LlamaBench", visible_alias = "llamabench", alias = "llama-bench")]
    LlamaBench(NewLlamaBench),
    /// HTTP load on an inference server
    #[command(name = "LoadTest", visible_alias = "loadtest", alias = "load-test")]
    LoadTest(NewLoadTest),
    /// Dialogues of several turns with a model
    #[command(name = "Conversation", visible_alias = "conversation")]
    Conversation(NewConversation),
    /// Model files that have to be there
    #[command(name = "Model", visible_alias = "model")]
    Model(NewModel),
    /// Put a finished run's configuration into its service
    #[command(name = "Apply", visible_alias = "apply")]
    Apply(NewApply),
}

#[derive(Debug, Args)]
pub struct NewLlamaBench {
    /// The service to measure, as `benchlet services` lists it
    #[arg(long)]
    pub service: String,
    /// Where the parameters come from: the id of a run, or `service` for its own flags [default: the
    /// service's newest run, else the service]
    #[arg(long, value_name = "RUN|service")]
    pub from: Option<String>,
    /// A flag of llama-bench, in place of the prefilled one; may be repeated
    #[arg(long, value_name = "FLAG=VALUE", value_parser = set_flag::parse, allow_hyphen_values = true)]
    pub set: Vec<Param>,
    /// The request's name [default: the service's]
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct NewApply {
    /// The request whose run is applied
    #[arg(long)]
    pub request: String,
    /// Which of its runs
    #[arg(long, value_enum, ignore_case = true, default_value_t = Which::Latest)]
    pub run: Which,
    /// What is best, and which cell of a matrix wins
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Metric::ALL.iter().map(|(name, _)| *name)))]
    pub metric: Option<String>,
    /// The request's name [default: apply-REQUEST]
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// The newest completed one
    #[value(name = "Latest")]
    Latest,
    /// The one with the highest --metric
    #[value(name = "Best")]
    Best,
}

pub fn run(verb: &New, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let text = match &verb.kind {
        Kind::LlamaBench(new) => llama_bench(new, settings)?,
        Kind::LoadTest(new) => new_load_test::text(new)?,
        Kind::Conversation(new) => new_conversation::text(new)?,
        Kind::Model(new) => new_model::text(new, settings)?,
        Kind::Apply(new) => apply(new)?,
    };
    check(&text)?;
    console.raw(text.as_bytes())
}

/// Parameters with where they come from, for people.
struct Prefilled {
    params: Vec<Param>,
    source: String,
    dropped: Vec<String>,
}

fn llama_bench(new: &NewLlamaBench, settings: &Settings) -> Result<String, CliError> {
    let mut prefilled = prefill(new, settings)?;
    for set in &new.set {
        let same = |known: &&mut Param| flag_map::same_flag(&known.flag, &set.flag);
        match prefilled.params.iter_mut().find(same) {
            Some(known) => known.clone_from(set),
            None => prefilled.params.push(set.clone()),
        }
    }
    let name = new.name.clone().unwrap_or_else(|| new.service.clone());
    let mut text = format!(
        "\
# Measures a service with llama-bench. Saved below the watched directory, it runs at once;
# an edit of the spec runs it again. Status and results come beside it, in a file of the same
# name that ends in .status.yaml.
apiVersion: {API_VERSION}
kind: LlamaBench
metadata:
  name: {}
spec:
  # A llama.cpp service, as `benchlet services` lists it.
  service: {}
  # llama-bench's flags, as they stand here. A list makes a matrix: -b: [512, 1024].
  # A flag without a value is passed bare. Prefilled from {}.
  params:
",
        quoted(&name),
        quoted(&new.service),
        prefilled.source,
    );
    for param in &prefilled.params {
        if param.value.is_empty() {
            text.push_str(&format!("    {}:\n", param.flag));
        } else {
            text.push_str(&format!("    {}: {}\n", param.flag, quoted(&param.value)));
        }
    }
    for dropped in &prefilled.dropped {
        text.push_str(&format!("    # left out: {}\n", one_line(dropped)));
    }
    text.push_str(
        "  \
  # How often llama-bench is launched; the samples are pooled.
  launches: 1
  # If the service itself runs on the same devices: Share, Fail, or Stop it for the run.
  conflict: Share
  # Longest time for all launches together.
  timeout: 10m
  # Take the comments away to put the result into the service when the run has completed.
  # apply:
  #   when: Succeeded
  #   metric: tg_avg_ts    # picks the winning cell of a matrix
  #   restart: false       # true recreates the service's container
",
    );
    Ok(text)
}

fn prefill(new: &NewLlamaBench, settings: &Settings) -> Result<Prefilled, CliError> {
    let store = state_dir::open_if_there(settings)?;
    let row = match (new.from.as_deref(), &store) {
        (Some("service"), _) => None,
        (Some(id), Some(store)) => Some(run_selection::run(store, id)?),
        (Some(id), None) => {
            return Err(CliError::not_found(format!("there is no run {id}")).hint(
                "nothing has run with this state directory; --from service takes the service's flags",
            ));
        }
        (None, Some(store)) => store.last_planned_run(&new.service)?,
        (None, None) => None,
    };
    let Some(row) = row else {
        return from_service(new, settings);
    };
    let id = row.id;
    match row.blueprint {
        Some(blueprint) => {
            Ok(Prefilled { params: blueprint.params, source: format!("run {id}"), dropped: Vec::new() })
        }
        None => Err(CliError::no(format!("the run {id} ended before it had parameters"))
            .hint("take another run, or --from service")),
    }
}

fn from_service(new: &NewLlamaBench, settings: &Settings) -> Result<Prefilled, CliError> {
    let service = plan::service(&new.service, settings)?;
    let (taken, dropped) = flag_map::from_server(&service.flags);
    let mut params: Vec<Param> = taken.into_iter().map(|(flag, value)| Param { flag, value }).collect();
    for (flag, value) in flag_map::DEFAULT_PARAMS {
        if !params.iter().any(|param| flag_map::same_flag(&param.flag, flag)) {
            params.push(Param { flag: flag.to_owned(), value: value.to_owned() });
        }
    }
    let source = match service.name.as_str() {
        SIMULATED => "the defaults".to_owned(),
        _ => "the service's own flags".to_owned(),
    };
    let dropped = dropped.into_iter().map(|dropped| format!("{} ({})", dropped.flag, dropped.reason));
    Ok(Prefilled { params, source, dropped: dropped.collect() })
}

fn apply(new: &NewApply) -> Result<String, CliError> {
    if new.run == Which::Best && new.metric.is_none() {
        return Err(CliError::usage("the best run needs a metric").hint("--metric tg_avg_ts"));
    }
    let name = new.name.clone().unwrap_or_else(|| format!("apply-{}", new.request));
    let run = match new.run {
        Which::Latest => "Latest",
        Which::Best => "Best",
    };
    let metric = match &new.metric {
        Some(metric) => {
            format!("    # What is best; it also picks the winning cell of a matrix.\n    metric: {metric}\n")
        }
        None => "    # metric: tg_avg_ts    # picks the winning cell, where the run measured a matrix\n"
            .to_owned(),
    };
    Ok(format!(
        "\
# Puts the configuration of a finished run into its service: once, and again with a new token in
# spec.rerun. Flags that only a benchmark knows are left out.
apiVersion: {API_VERSION}
kind: Apply
metadata:
  name: {}
spec:
  from:
    request: {}
    # Latest is its newest completed run; Best the one with the highest metric.
    run: {run}
{metric}  # true puts the difference into the status and changes nothing.
  dryRun: false
  # true recreates the service's container, because a container keeps the flags it was made with.
  restart: false
",
        quoted(&name),
        quoted(&new.request),
    ))
}

/// A comment ends with its line.
fn one_line(text: &str) -> String {
    super::output::clean(text).into_owned()
}

/// What is printed has to be a valid request, whatever was typed.
fn check(text: &str) -> Result<(), CliError> {
    for document in tree::parse(text).documents {
        let problems = match &document.root {
            Ok(root) => valid::validate(root, document.index, "new").err().unwrap_or_default(),
            Err(problem) => vec![problem.clone()],
        };
        if let Some(problem) = problems.first() {
            return Err(CliError::usage(problem.message.clone()).maybe_hint(problem.hint.clone()));
        }
    }
    Ok(())
}
