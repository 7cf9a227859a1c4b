//! `benchlet completion`: scripts that complete the command line in a shell.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::error::CliError;
use super::output::Console;

/// Prints a script that completes benchlet's command line.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet completion bash > ~/.local/share/bash-completion/completions/benchlet
  benchlet completion zsh  > ~/.zfunc/_benchlet
  benchlet completion fish > ~/.config/fish/completions/benchlet.fish")]
pub struct Completion {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

pub fn run(verb: &Completion, console: &mut Console) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(verb.shell, &mut Cli::command(), "benchlet", &mut script);
    console.raw(&script)
}
