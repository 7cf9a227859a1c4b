//! The reports that a request wants when a run has ended: where they go, and that they get there. A report
//! that cannot be written changes nothing about the run; it is an event, which the status shows as a
//! warning.

use std::io;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::context::{Context, timestamp};
use crate::files::atomic_write::{self, FileError};
use crate::report::csv::Rows;
use crate::report::format;
use crate::report::gather::{self, ReportError};
use crate::request::report_files::ReportFiles;
use crate::settings::Settings;
use crate::store::reports::{self, WrittenReport};
use crate::store::{StoreError, events};

/// The event's reason where a report could not be written.
pub const REPORT_FAILED: &str = "ReportFailed";
const REPORT_WRITTEN: &str = "ReportWritten";

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the report cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(
        "spec.report.dir {dir} is in none of the directories of the setting write_dirs; \
         name one of them, or a relative directory"
    )]
    NotAllowed { dir: String },
    #[error("the directory {} cannot be made: {source}; check its owner and permissions", path.display())]
    Directory { path: PathBuf, source: io::Error },
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Report(ReportError::Store(error))
    }
}

/// Writes what the request wants of a run that is stored as ended. Safe to repeat: the same files are
/// written anew.
pub async fn write(context: &Context, request: &str, run: Uuid) {
    let wanted = match context.store.request(request) {
        Ok(record) => record.and_then(|record| record.control.report),
        Err(error) => {
            tracing::warn!(request, %error, "whether a report is wanted cannot be told");
            None
        }
    };
    let Some(wanted) = wanted else { return };
    let here = context.clone();
    // Rendering a long run takes a while, and other requests go on meanwhile.
    let done = tokio::task::spawn_blocking(move || write_files(&here, &wanted, run)).await;
    let (reason, message, files) = match done {
        Ok(Ok(files)) if files.is_empty() => return,
        Ok(Ok(files)) => {
            let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            (REPORT_WRITTEN, paths.join(", "), files)
        }
        Ok(Err(error)) => (REPORT_FAILED, error.to_string(), Vec::new()),
        Err(error) => (REPORT_FAILED, format!("writing it was cut short: {error}"), Vec::new()),
    };
    let (name, now) = (request.to_owned(), timestamp(context.now().unix_ms));
    let noted = context
        .store
        .write(move |connection| {
            reports::note(connection, run, &files)?;
            events::note(connection, Some(&name), Some(run), reason, &message, &now)
        })
        .await;
    if let Err(error) = noted {
        tracing::warn!(request, %error, "what became of a report cannot be noted");
    }
}

fn write_files(context: &Context, wanted: &ReportFiles, run: Uuid) -> Result<Vec<WrittenReport>, WriteError> {
    let report = gather::report(&context.store, run)?;
    if report.run.started_at.is_none() {
        // Cancelled or superseded before it began: there is nothing to tell.
        return Ok(Vec::new());
    }
    let folder = folder(&context.settings, &wanted.dir)?;
    let mut written = Vec::new();
    for format in &wanted.formats {
        let path = folder.join(format::file_name(&report, *format));
        let text = format::render(&report, *format, Rows::Cases)?;
        atomic_write::replace(&path, text.as_bytes(), 0o644)?;
        let path = std::path::absolute(&path).unwrap_or(path);
        let sha256 = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        written.push(WrittenReport { path: path.display().to_string(), sha256 });
    }
    Ok(written)
}

/// The directory that `dir` means, made where it is missing: itself, relative to the working directory,
/// where that lies in one of `write_dirs`; else, of a relative one, below `reports` of the state directory.
fn folder(settings: &Settings, dir: &str) -> Result<PathBuf, WriteError> {
    let asked = plain(Path::new(dir));
    let refused = || WriteError::NotAllowed { dir: dir.to_owned() };
    let inside = std::path::absolute(&asked).ok().filter(|_| !dir.is_empty()).and_then(|whole| {
        let allowed = |base: &&PathBuf| std::path::absolute(base).is_ok_and(|base| whole.starts_with(base));
        settings.write_dirs.iter().find(allowed).map(|base| (base.clone(), whole))
    });
    let (base, whole) = match inside {
        Some(found) => found,
        None if asked.is_absolute() => return Err(refused()),
        None => {
            let base = settings.state.join("reports");
            let whole = base.join(&asked);
            (base, whole)
        }
    };
    let unmade = |source| WriteError::Directory { path: whole.clone(), source };
    // A link below the base may lead anywhere, so what counts is where the directory really is; what is
    // not there yet is made below what is.
    std::fs::create_dir_all(&base).map_err(unmade)?;
    let base = base.canonicalize().map_err(unmade)?;
    let there = whole.ancestors().find_map(|folder| folder.canonicalize().ok());
    if !there.is_some_and(|there| there.starts_with(&base)) {
        return Err(refused());
    }
    std::fs::create_dir_all(&whole).map_err(unmade)?;
    Ok(whole)
}

/// Without `.`; requests with `..` are refused when they are read.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir | Component::ParentDir)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Overrides, load};

    fn settings(home: &Path, write_dirs: &[PathBuf]) -> Settings {
        let config = home.join("empty.toml");
        std::fs::write(&config, "").unwrap();
        let overrides =
            Overrides { config: Some(config), state: Some(home.join("state")), ..Overrides::default() };
        Settings { write_dirs: write_dirs.to_vec(), ..load(&overrides, |_| None).unwrap() }
    }

    #[test]
    fn without_a_word_reports_go_below_the_state_and_a_relative_directory_too() {
        let home = tempfile::tempdir().unwrap();
        let settings = settings(home.path(), &[]);
        let reports = home.path().join("state/reports");
        assert_eq!(folder(&settings, "").unwrap(), reports);
        assert_eq!(folder(&settings, "nightly/big").unwrap(), reports.join("nightly/big"));
        assert!(reports.join("nightly/big").is_dir());
    }

    #[test]
    fn an_absolute_directory_has_to_be_allowed_by_the_settings() {
        let home = tempfile::tempdir().unwrap();
        let (out, other) = (home.path().join("out"), home.path().join("outside"));
        let settings = settings(home.path(), std::slice::from_ref(&out));
        let below = out.join("a/b");
        assert_eq!(folder(&settings, below.to_str().unwrap()).unwrap(), below);
        let error = folder(&settings, other.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("write_dirs") && !other.exists(), "{error}");
    }

    #[test]
    fn a_link_does_not_lead_out_of_what_is_allowed() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let settings = settings(home.path(), &[]);
        let reports = folder(&settings, "").unwrap();
        std::os::unix::fs::symlink(&outside, reports.join("link")).unwrap();
        assert!(matches!(folder(&settings, "link/made"), Err(WriteError::NotAllowed { .. })));
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "nothing is made there either");
    }
}
