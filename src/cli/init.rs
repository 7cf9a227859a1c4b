//! `benchlet init`: a directory that is ready to use. Owns which files those are; overwrites nothing.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::error::CliError;
use super::output::Console;
use crate::request::schema;

/// Writes a directory that is ready to use; files that exist are left as they are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet init                  here
  benchlet init bench && cd bench && benchlet serve

It writes requests (only the one in quickstart/ runs by itself, and that is simulated), the settings
with an explanation of each, the schema for editors, and what Git has to ignore.")]
pub struct Init {
    /// The directory, made if it is not there
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
}

/// The files of this repository, so that what is tried there is what is written here.
const FILES: [(&str, &str); 10] = [
    ("config/benchlet.toml", include_str!("../../config/benchlet.toml")),
    ("requests/quickstart/simulated.yaml", include_str!("../../requests/quickstart/simulated.yaml")),
    ("requests/quickstart/load-test.yaml", include_str!("../../requests/quickstart/load-test.yaml")),
    ("requests/llama-bench.yaml", include_str!("../../requests/llama-bench.yaml")),
    ("requests/load-test.yaml", include_str!("../../requests/load-test.yaml")),
    ("requests/conversation.yaml", include_str!("../../requests/conversation.yaml")),
    ("requests/apply.yaml", include_str!("../../requests/apply.yaml")),
    ("requests/model.yaml", include_str!("../../requests/model.yaml")),
    ("requests/baseline.yaml", include_str!("../../requests/baseline.yaml")),
    ("requests/comparison.yaml", include_str!("../../requests/comparison.yaml")),
];

/// The schemas that the first lines of requests and of conversations name.
const SCHEMA: &str = "config/schema/request.json";
const CONVERSATIONS_SCHEMA: &str = "config/schema/conversations.json";

/// What Git has to ignore: the state, and what is written beside requests.
const IGNORED: [&str; 2] = [".benchlet/", "*.status.yaml"];

pub fn run(verb: &Init, console: &mut Console) -> Result<(), CliError> {
    let schema = serde_json::to_string_pretty(&schema::request_schema())? + "\n";
    let conversations = serde_json::to_string_pretty(&schema::conversations_schema())? + "\n";
    let files =
        FILES.into_iter().chain([(SCHEMA, schema.as_str()), (CONVERSATIONS_SCHEMA, conversations.as_str())]);
    let mut wrote = false;
    for (name, text) in files {
        let path = verb.dir.join(name);
        if write_new(&path, text)? {
            console.line(format!("wrote {}", path.display()))?;
            wrote = true;
        } else {
            console.line(format!("left  {} (it was there)", path.display()))?;
        }
    }
    wrote |= ignore(&verb.dir.join(".gitignore"), console)?;
    if wrote {
        let place =
            if verb.dir == Path::new(".") { String::new() } else { format!("cd {} && ", verb.dir.display()) };
        console.line("")?;
        console
            .line(format!("Next: {place}benchlet serve, and in another terminal: {place}benchlet get -w"))?;
    }
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> CliError {
    CliError::usage(format!("{} cannot be written: {error}", path.display()))
        .hint("choose a directory that can be written")
}

/// Writes a file that is not there; what is there in its place, a link too, stays.
fn write_new(path: &Path, text: &str) -> Result<bool, CliError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
    }
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true).map_err(|error| failed(path, &error)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(path, &error)),
    }
}

/// Adds the lines that are not in `.gitignore` yet; nothing in it is changed.
fn ignore(path: &Path, console: &mut Console) -> Result<bool, CliError> {
    let open = OpenOptions::new().read(true).append(true).create(true).open(path);
    let mut file = open.map_err(|error| failed(path, &error))?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| failed(path, &error))?;
    let missing: Vec<&str> =
        IGNORED.into_iter().filter(|line| !text.lines().any(|known| known.trim() == *line)).collect();
    if missing.is_empty() {
        console.line(format!("left  {} (it has the lines)", path.display()))?;
        return Ok(false);
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let lines = format!("{gap}{}\n", missing.join("\n"));
    file.write_all(lines.as_bytes()).map_err(|error| failed(path, &error))?;
    console.line(format!("wrote {} ({})", path.display(), missing.join(", ")))?;
    Ok(true)
}
