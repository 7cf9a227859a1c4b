//! `benchlet apply`: puts a finished run's configuration into its service, after a look and a yes.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use uuid::Uuid;

use super::error::CliError;
use super::output::{Console, Structured};
use super::{block_on, diff, run_selection, state_dir};
use crate::controller::apply_job::{self, ApplyContext};
use crate::decide::action::NewApply;
use crate::executor::DockerExecutor;
use crate::request::apply::{ApplyOptions, ApplySource, CaseSelector, Metric};
use crate::run::reason::Refusal;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::applies::{self, Outcome};

/// Puts a finished run's flags into its service
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  benchlet apply 3f2a9c1b                            shows the difference and asks
  benchlet apply qwen3 --metric tg_avg_ts --yes      the best cell of the request's newest run
  benchlet apply 3f2a9c1b --yes --restart            and recreate the container, then check it

The compose file (and LLM-Dock's services.json) change by these flags alone; `benchlet revert` undoes it.")]
pub struct Apply {
    /// A run's id or its beginning, or a request for its newest run
    #[arg(value_name = "RUN")]
    pub run: String,
    #[command(flatten)]
    pub choice: Choice,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Recreate the service's container afterwards, and check that it serves with these flags
    #[arg(long)]
    pub restart: bool,
    /// Print the whole as JSON or YAML
    #[arg(short, long, value_enum)]
    pub output: Option<Structured>,
}

/// Which cell of a matrix is meant.
#[derive(Debug, Clone, clap::Args)]
pub struct Choice {
    /// The cell with the best rate wins: pp_avg_ts or tg_avg_ts
    #[arg(long, value_name = "METRIC")]
    pub metric: Option<String>,
    /// The cell by its number, as the results list it
    #[arg(long, value_name = "NUMBER")]
    pub case: Option<u32>,
}

impl Choice {
    /// # Errors
    /// A metric that is none.
    pub fn options(&self, dry_run: bool, restart: bool) -> Result<ApplyOptions, CliError> {
        let metric = match self.metric.as_deref() {
            None => None,
            Some(name) => match Metric::ALL.iter().find(|(spelling, _)| *spelling == name) {
                Some((_, metric)) => Some(*metric),
                None => {
                    return Err(CliError::usage(format!("there is no metric {name}"))
                        .hint("pp_avg_ts (prompt) or tg_avg_ts (generation)"));
                }
            },
        };
        Ok(ApplyOptions { case: self.case.map(CaseSelector::Number), metric, dry_run, restart })
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Self::no(format!("{}: {}", refusal.reason, refusal.message)).maybe_hint(refusal.hint)
    }
}

/// # Errors
/// A run that cannot be applied, a no to the question, or an apply that failed.
pub fn run(verb: &Apply, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let row = run_selection::run_of(&store, &verb.run)?;
    let options = verb.choice.options(false, verb.restart)?;
    let outcome = block_on(async {
        let around = around(settings, store.clone()).await?;
        let preview = apply_job::preview(&around, row.id, &options).await?;
        if !verb.yes {
            diff::show(&preview, console)?;
            ask(&preview, console)?;
        }
        let new = NewApply {
            refused: None,
            id: Uuid::new_v4(),
            request: Some((row.request_uid, row.request.clone())),
            source: ApplySource::Run(row.id),
            options,
            token: format!("cli-{}", Uuid::new_v4()),
            satisfied: None,
            command: None,
        };
        let (id, now) = (new.id, state_dir::now());
        store.write(move |connection| applies::create(connection, &new, &now)).await?;
        let outcome = apply_job::carry_out(&around, id).await?;
        Ok::<_, CliError>((id, outcome))
    });
    let (id, outcome) = outcome?;
    match verb.output {
        Some(format) => console.structured(&outcome, format),
        None => told(id, &outcome, console),
    }
}

/// What an apply needs, without a controller.
///
/// # Errors
/// None at present; Docker that does not answer only means that nothing is restarted.
pub async fn around(settings: &Settings, store: Store) -> Result<ApplyContext, CliError> {
    let docker = DockerExecutor::connect("apply").await.ok().map(Arc::new);
    Ok(ApplyContext { settings: Arc::new(settings.clone()), store, docker })
}

fn ask(preview: &Outcome, console: &mut Console) -> Result<(), CliError> {
    if preview.changes.is_empty() {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::usage("there is nobody to ask").hint("add --yes to apply it"));
    }
    console.flush()?;
    let mut terminal = std::io::stderr();
    write!(terminal, "Apply this to {}? [y/N] ", preview.service)?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(CliError::no("nothing was applied"))
    }
}

fn told(id: Uuid, outcome: &Outcome, console: &mut Console) -> Result<(), CliError> {
    if outcome.changes.is_empty() {
        console.line(format!("the service {} has this configuration already", outcome.service))?;
    }
    for change in &outcome.changes {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(absent)".to_owned());
        console.line(format!("{}: {} -> {}", change.flag, shown(&change.old), shown(&change.new)))?;
    }
    for write in &outcome.writes {
        console.line(format!("written: {} (before: {})", write.file, write.backup))?;
    }
    if outcome.restart_needed {
        let how = outcome.restart_command.as_deref().unwrap_or("restart the service");
        console.line(format!("the running service does not have it yet: {how}"))?;
    }
    if let Some(note) = &outcome.note {
        console.line(note)?;
    }
    if !outcome.writes.is_empty() {
        console.line(format!("undo: benchlet revert {id}"))?;
    }
    Ok(())
}
