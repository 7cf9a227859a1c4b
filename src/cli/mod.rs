//! The command line: what there is to type, its help, and which file carries it out. A verb a file;
//! verbs read and leave orders, and the controller alone starts anything.

pub mod apply;
pub mod baseline;
pub mod cancel;
pub mod compare;
mod comparison_rules;
mod comparison_sides;
mod comparison_table;
pub mod completion;
mod condition_words;
mod conversation_table;
pub mod conversations;
pub mod delete;
pub mod describe;
pub mod diff;
pub mod error;
pub mod estimate;
pub mod export;
pub mod get;
pub mod history;
pub mod import;
mod import_file;
pub mod init;
mod judging_words;
mod load_spec;
mod load_table;
pub mod logs;
pub mod measure;
mod model_bar;
mod model_catalogue;
pub mod model_files;
pub mod models;
pub mod new;
pub mod new_conversation;
pub mod new_load_test;
mod new_model;
pub mod noise;
pub mod output;
mod phase_words;
pub mod plan;
mod plan_load;
mod planning_words;
pub mod rank;
mod rank_targets;
pub mod report;
pub mod rerun;
pub mod revert;
pub mod run;
mod run_results;
pub mod run_selection;
pub mod schema;
pub mod serve;
pub mod services;
pub mod set_flag;
pub mod sim;
pub mod state_dir;
pub mod trend;
pub mod validate;
mod validate_output;
pub mod wait;
mod wait_goal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::error::CliError;
use self::output::Console;
use crate::settings::{self, Overrides, Settings};

const EXAMPLES: &str = "\
Examples:
  benchlet init                            write a directory that is ready to use
  benchlet serve                           carry out the requests in it
  benchlet new LlamaBench --service qwen3 > requests/qwen3.yaml
  benchlet validate requests/              check them, as an editor or CI would
  benchlet get -w                          watch what becomes of them
  benchlet describe qwen3                  everything about one of them
  benchlet wait qwen3 --for=Succeeded --timeout 30m

Exit codes:
  0  fine
  1  the run failed, or the answer is no
  2  wrong usage, or something of the environment is not as it has to be
  3  not comparable
  4  not found
  5  timed out

Settings come from flags, then BENCHLET_<NAME> in the environment, then ./benchlet.toml or
./config/benchlet.toml, then the defaults.";

/// Carries out LLM benchmarks that are described in files: save a request, and llama-bench runs for
/// it, its results are kept, and the better configuration goes into the service when the file says so.
#[derive(Debug, Parser)]
#[command(name = "benchlet", version, after_help = EXAMPLES, propagate_version = false)]
#[command(arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub places: Places,
    #[command(subcommand)]
    pub command: Command,
}

/// Where things are; the same flags on every verb.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct Places {
    /// The settings file [default: benchlet.toml or config/benchlet.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The watched directory of requests [default: requests]
    #[arg(long, global = true, value_name = "DIR")]
    pub requests: Option<PathBuf>,
    /// Where the database and output are kept [default: .benchlet]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// A compose file that defines services; may be given several times [default: docker-compose.yml]
    #[arg(long, global = true, value_name = "FILE")]
    pub compose: Vec<PathBuf>,
    /// An LLM-Dock services.json; may be given several times
    #[arg(long, global = true, value_name = "FILE")]
    pub services: Vec<PathBuf>,
    /// Where status files are written [default: beside their requests]
    #[arg(long, global = true, value_name = "DIR")]
    pub status_dir: Option<PathBuf>,
}

impl Places {
    /// The settings with these flags over environment, file and defaults.
    ///
    /// # Errors
    /// A settings file that cannot be used.
    pub fn settings(&self) -> Result<Settings, CliError> {
        settings_of(&self.overrides())
    }

    /// The settings for verbs whose `--requests` is a number; what was given for it names no directory.
    ///
    /// # Errors
    /// A settings file that cannot be used.
    pub fn settings_without_requests(&self) -> Result<Settings, CliError> {
        settings_of(&Overrides { requests: None, ..self.overrides() })
    }

    /// These flags as settings take them; a verb may add its own.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            requests: self.requests.clone(),
            state: self.state.clone(),
            compose: self.compose.clone(),
            services: self.services.clone(),
            status_dir: self.status_dir.clone(),
            listen: None,
        }
    }
}

/// Settings from flags, environment, file and defaults.
///
/// # Errors
/// A settings file that cannot be used.
pub fn settings_of(overrides: &Overrides) -> Result<Settings, CliError> {
    settings::load(overrides, |name| std::env::var(name).ok()).map_err(|error| {
        CliError::usage(error.to_string().trim_end().to_owned())
            .hint("name another file with --config, or mend this one")
    })
}

/// What can be typed. A new verb is a file, a line here and an arm in [`dispatch`].
#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(serve::Serve),
    Run(run::Run),
    Init(init::Init),
    New(new::New),
    Validate(validate::Validate),
    Plan(plan::Plan),
    Get(get::Get),
    Describe(describe::Describe),
    Logs(logs::Logs),
    Wait(wait::Wait),
    Rerun(rerun::Rerun),
    Cancel(cancel::Cancel),
    History(history::History),
    Import(import::Import),
    Export(export::Export),
    Models(models::Models),
    Estimate(estimate::EstimateVerb),
    Rank(rank::Rank),
    Compare(compare::Compare),
    Baseline(baseline::BaselineVerb),
    Trend(trend::TrendVerb),
    Noise(noise::Noise),
    Report(report::Report),
    Diff(diff::Diff),
    Apply(apply::Apply),
    Revert(revert::Revert),
    Delete(delete::Delete),
    Services(services::Services),
    Conversations(conversations::Conversations),
    ModelFiles(model_files::ModelFilesVerb),
    Schema(schema::Schema),
    Completion(completion::Completion),
    /// Makes the load of a frozen plan.
    #[command(hide = true)]
    Measure(measure::Measure),
    Sim(sim::Sim),
}

/// Reads the command line and carries it out.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout and is no failure; a closed pipe neither.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if let Command::Sim(sim) = &cli.command {
        return sim::run(sim);
    }
    if let Command::Measure(measure) = &cli.command {
        return measure::run(measure, &cli.places);
    }
    let mut console = Console::of_process();
    let ended = dispatch(&cli, &mut console).and_then(|()| console.flush());
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.error(&error);
            // What was printed before stays printed; a closed pipe is dealt with already.
            let _ = console.flush();
            error.exit_code()
        }
    }
}

fn dispatch(cli: &Cli, console: &mut Console) -> Result<(), CliError> {
    let places = &cli.places;
    match &cli.command {
        Command::Serve(verb) => serve::run(verb, &places.settings()?),
        Command::Run(verb) => run::run(verb, &places.settings()?, console),
        Command::Init(verb) => init::run(verb, console),
        Command::New(verb) => new::run(verb, &places.settings()?, console),
        Command::Validate(verb) => validate::run(verb, &places.settings()?, console),
        Command::Plan(verb) => plan::run(verb, &places.settings()?, console),
        Command::Get(verb) => get::run(verb, &places.settings()?, console),
        Command::Describe(verb) => describe::run(verb, &places.settings()?, console),
        Command::Logs(verb) => logs::run(verb, &places.settings()?, console),
        Command::Wait(verb) => wait::run(verb, &places.settings()?, console),
        Command::Rerun(verb) => rerun::run(verb, &places.settings()?, console),
        Command::Cancel(verb) => cancel::run(verb, &places.settings()?, console),
        Command::History(verb) => history::run(verb, &places.settings()?, console),
        Command::Export(verb) => export::run(verb, &places.settings()?, console),
        Command::Import(verb) => import::run(verb, &places.settings()?, console),
        Command::Models(verb) => models::run(verb, &places.settings()?, console),
        Command::Estimate(verb) => estimate::run(verb, &places.settings_without_requests()?, console),
        Command::Rank(verb) => rank::run(verb, &places.settings_without_requests()?, console),
        Command::Compare(verb) => compare::run(verb, &places.settings()?, console),
        Command::Baseline(verb) => baseline::run(verb, &places.settings()?, console),
        Command::Trend(verb) => trend::run(verb, &places.settings()?, console),
        Command::Noise(verb) => noise::run(verb, &places.settings()?, console),
        Command::Report(verb) => report::run(verb, &places.settings()?, console),
        Command::Diff(verb) => diff::run(verb, &places.settings()?, console),
        Command::Apply(verb) => apply::run(verb, &places.settings()?, console),
        Command::Revert(verb) => revert::run(verb, &places.settings()?, console),
        Command::Delete(verb) => delete::run(verb, &places.settings()?, console),
        Command::Services(verb) => services::run(verb, &places.settings()?, console),
        Command::Conversations(verb) => conversations::run(verb, console),
        Command::ModelFiles(verb) => model_files::run(verb, &places.settings()?, console),
        Command::Schema(verb) => schema::run(verb, console),
        Command::Completion(verb) => completion::run(verb, console),
        // Done before; they have ends of their own.
        Command::Sim(_) | Command::Measure(_) => Ok(()),
    }
}

/// Waits for asynchronous work on this thread.
///
/// # Errors
/// What the work says, or that no runtime starts.
pub fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| CliError::usage(format!("the asynchronous runtime does not start: {error}")))?;
    runtime.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_and_verb_has_help() {
        fn walk(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            if command.get_about().is_none() {
                missing.push(path.clone());
            }
            for argument in command.get_arguments().filter(|argument| argument.get_help().is_none()) {
                missing.push(format!("{path} {}", argument.get_id()));
            }
            for verb in command.get_subcommands() {
                walk(verb, &path, missing);
            }
        }
        let mut missing = Vec::new();
        walk(&Cli::command(), "", &mut missing);
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn settings_flags_stand_before_and_behind_the_verb() {
        for line in [
            ["benchlet", "--state", "x", "--compose=a", "--compose=b", "get"],
            ["benchlet", "get", "--state", "x", "--compose=a", "--compose=b"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.places.state, Some(PathBuf::from("x")));
            assert_eq!(cli.places.compose, [PathBuf::from("a"), PathBuf::from("b")]);
        }
    }
}
