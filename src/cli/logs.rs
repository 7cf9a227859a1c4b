//! `benchlet logs`: a run's output, from the spool, as far as it goes.

use std::collections::HashMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::error::CliError;
use super::output::Console;
use super::{run_selection, state_dir};
pub use crate::controller::run_output::launches;
use crate::executor::{STDERR, STDOUT};
use crate::report::escape::visible;
use crate::run::step::TaskId;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::runs::RunRow;

/// Prints what llama-bench wrote.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet logs qwen3                  the newest run of a request
  benchlet logs qwen3 -f               and on, until it ends
  benchlet logs 3f2a9c1b --launch 2 --stdout | jq .avg_ts

Of each launch stderr comes first, then stdout; with -f, both as they come. On a terminal control
characters are written out; into a pipe or file everything goes as it is.")]
pub struct Logs {
    /// A request's name, or a run's id
    #[arg(value_name = "NAME|RUN")]
    pub name: String,
    /// Print what is added, until the run ends
    #[arg(short, long)]
    pub follow: bool,
    /// One launch alone, from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub launch: Option<u32>,
    /// Progress and errors alone
    #[arg(long, conflicts_with = "stdout")]
    pub stderr: bool,
    /// The rows alone
    #[arg(long)]
    pub stdout: bool,
}

/// A look for more, while it is followed.
const POLL: Duration = Duration::from_millis(100);
/// Read at once; a stream may have 256 MiB.
const CHUNK: u64 = 1 << 20;

pub fn run(verb: &Logs, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    let mut row = run_selection::run_of(&store, &verb.name)?;
    let mut printer = Printer { verb, settings, positions: HashMap::new(), named: None, printed: false };
    loop {
        // The end is looked at before the output: what was written before it is then all there is.
        let ended = row.state.phase().is_terminal();
        printer.print(&row, ended || !verb.follow, console)?;
        if ended || !verb.follow {
            break;
        }
        console.flush()?;
        std::thread::sleep(POLL);
        row = reload(&store, row)?;
    }
    if !printer.printed {
        nothing(&row, console)?;
    }
    Ok(())
}

fn reload(store: &Store, row: RunRow) -> Result<RunRow, CliError> {
    let id = row.id;
    store.run(id)?.ok_or_else(|| CliError::not_found(format!("the run {id} was deleted")))
}

/// Why there is no output, and what is known beside it.
fn nothing(row: &RunRow, console: &mut Console) -> Result<(), CliError> {
    match &row.tail {
        Some(tail) if !tail.is_empty() => {
            console.note("the output is not kept any more; these were its last lines");
            console.line(visible(tail))
        }
        Some(_) | None => {
            console.note(format!("the run {} is {} and has no output", row.id, row.state.phase().as_str()));
            Ok(())
        }
    }
}

struct Printer<'v> {
    verb: &'v Logs,
    settings: &'v Settings,
    /// How far each file was printed.
    positions: HashMap<PathBuf, u64>,
    /// The launch whose output was printed last.
    named: Option<TaskId>,
    printed: bool,
}

impl Printer<'_> {
    fn print(&mut self, row: &RunRow, whole: bool, console: &mut Console) -> Result<(), CliError> {
        let launches = launches(row);
        if let Some(asked) = self.verb.launch
            && !launches.is_empty()
            && asked as usize > launches.len()
        {
            return Err(CliError::not_found(format!("the run has {} launches, not {asked}", launches.len())));
        }
        let streams: &[&str] = match (self.verb.stderr, self.verb.stdout) {
            (true, _) => &[STDERR],
            (_, true) => &[STDOUT],
            (false, false) => &[STDERR, STDOUT],
        };
        for launch in &launches {
            if self.verb.launch.is_some_and(|asked| asked != launch.number) {
                continue;
            }
            let folder = state_dir::spool(self.settings, row.id).join(launch.id.folder());
            for stream in streams {
                let path = folder.join(stream);
                while let Some(bytes) = self.next(&path, whole)? {
                    if launches.len() > 1 && self.named.as_ref() != Some(&launch.id) {
                        console.note(format!("==> launch {} of {}", launch.number, launches.len()));
                        self.named = Some(launch.id.clone());
                    }
                    self.printed = true;
                    if console.terminal {
                        console.raw(visible(&String::from_utf8_lossy(&bytes)).as_bytes())?;
                    } else {
                        console.raw(&bytes)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The next whole lines of a file; with `whole` also a last one without its end.
    fn next(&mut self, path: &PathBuf, whole: bool) -> Result<Option<Vec<u8>>, CliError> {
        let position = self.positions.get(path).copied().unwrap_or(0);
        let unreadable =
            |error: std::io::Error| CliError::usage(format!("{} cannot be read: {error}", path.display()));
        let mut file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        file.seek(SeekFrom::Start(position)).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(CHUNK).read_to_end(&mut bytes).map_err(unreadable)?;
        let full = bytes.len() as u64 == CHUNK;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if end > 0 || (!whole && !full) {
            bytes.truncate(end);
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        self.positions.insert(path.clone(), position + bytes.len() as u64);
        Ok(Some(bytes))
    }
}
