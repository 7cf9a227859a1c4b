//! The files of an apply: what a run changes in a compose file and `services.json`, how far an
//! interrupted write has come, and writing what is left. Journals nothing; `apply_job` does, before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use crate::files::private_dir;
use crate::plan::apply_plan::{choose_params, translate};
use crate::plan::flag_map::same_flag;
use crate::plan::service::{Service, ServiceKind, looks_secret};
use crate::plan::service_edit::{Edit, EditError, FlagChange, edit_compose};
use crate::plan::services_json_edit::edit_services_json;
use crate::plan::{shell_words, text_diff};
use crate::request::apply::ApplyOptions;
use crate::request::flags::Param;
use crate::run::case::Case;
use crate::run::reason::{Reason, Refusal};
use crate::service::catalogue::{Catalogue, ServiceError};
use crate::service::write::{FileEdit, WriteError, sha256_hex, write_all};
use crate::settings::Settings;
use crate::store::applies::{self, ApplyWrite, Outcome};

/// Longest wait for LLM-Dock's lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// Names of compose files that Compose looks for by itself; only beside these it merges an override.
const DEFAULT_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// Everything that an apply is going to do.
pub struct Intent {
    pub service: Service,
    pub wanted: Vec<FlagChange>,
    pub files: Vec<NewText>,
    /// With its writes still to come.
    pub outcome: Outcome,
}

/// One file's text as it is to be.
pub struct NewText {
    /// Behind links.
    pub path: PathBuf,
    pub before: String,
    pub after: String,
    pub text: String,
}

/// How far a journaled write has come in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Before,
    After,
    /// Somebody else's text, or none that can be read.
    Neither,
}

/// Hides every secret of every service, because a diff shows neighbours too.
#[derive(Clone, Default)]
pub struct Mask(Service);

impl Mask {
    fn of(catalogue: &Catalogue) -> Self {
        let mut secrets: Vec<String> =
            catalogue.services().iter().flat_map(|service| service.secrets.clone()).collect();
        // Longest first: one secret may be part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(Service { secrets, ..Service::default() })
    }

    pub fn text(&self, text: &str) -> String {
        self.0.masked(text)
    }

    pub fn refusal(&self, refusal: Refusal) -> Refusal {
        Refusal { message: self.text(&refusal.message), ..refusal }
    }

    /// Lines around a change may belong to a service that could not be read, whose secrets nobody knows.
    pub fn diff(&self, diff: &str) -> String {
        let line = |line: &str| match self.text(line) {
            masked if masked == line && line.starts_with(' ') && looks_secret(line) => " ***\n".to_owned(),
            masked => masked,
        };
        diff.split_inclusive('\n').map(line).collect()
    }
}

/// Reads the services and works out every edit. Blocks on files.
///
/// # Errors
/// Why the run cannot be applied to its service.
pub fn intend(
    settings: &Settings,
    service: &str,
    params: &[Param],
    cases: &[Case],
    options: &ApplyOptions,
) -> Result<Intent, Refusal> {
    let chosen = choose_params(params, cases, options)?;
    let translated = translate(&chosen.params)?;
    let catalogue = catalogue(settings);
    let mask = Mask::of(&catalogue);
    let service = catalogue.find(service).map_err(|error| mask.refusal(unknown(&error)))?.clone();
    if service.kind != ServiceKind::LlamaCpp {
        let message = format!(
            "the service {} is not a llama.cpp server but {}, which has other flags",
            service.name,
            service.kind.as_str()
        );
        return Err(Refusal::new(Reason::ServiceNotLlamaCpp, message));
    }
    let (wanted, mut files, mut changes, mut diff) =
        (translated.changes, Vec::new(), Vec::new(), String::new());
    let compose = service.origin.compose_file.as_deref().map(|path| (path, edit_compose as Edits));
    let listed = service.origin.services_json.as_deref().map(|path| (path, edit_services_json as Edits));
    for (path, edits) in compose.into_iter().chain(listed) {
        let found = edited(path, &service.name, &wanted, edits).map_err(|refusal| mask.refusal(refusal))?;
        let Some((file, old, edit)) = found else { continue };
        let shown = path.display().to_string();
        diff.push_str(&mask.diff(&text_diff::unified(shown.trim_start_matches('/'), &old, &file.text)));
        for change in edit.changes {
            // The other file may spell the flag in another way.
            if !changes.iter().any(|known: &applies::FlagChange| same_flag(&known.flag, &change.flag)) {
                let hide = |value: Option<String>| value.map(|value| mask.text(&value));
                let (old, new) = (hide(change.old), hide(change.new));
                changes.push(applies::FlagChange { flag: change.flag, old, new });
            }
        }
        files.push(file);
    }
    let outcome = Outcome {
        service: service.name.clone(),
        applied: translated.applied,
        skipped: translated.skipped,
        changes,
        diff,
        restart_needed: !files.is_empty(),
        restart_command: (!files.is_empty()).then(|| restart_command(&service)).flatten(),
        note: chosen.case.map(|number| format!("case {number} of the run: {}", chosen.cell)),
        ..Outcome::default()
    };
    Ok(Intent { service, wanted, files, outcome })
}

type Edits = fn(&str, &str, &[FlagChange]) -> Result<Edit, EditError>;

fn edited(
    path: &Path,
    service: &str,
    wanted: &[FlagChange],
    edits: Edits,
) -> Result<Option<(NewText, String, Edit)>, Refusal> {
    let failed = |why: String| {
        Refusal::new(Reason::ApplyFailed, format!("{} cannot be changed: {why}", path.display()))
    };
    let real = std::fs::canonicalize(path).map_err(|error| failed(error.to_string()))?;
    let bytes = std::fs::read(&real).map_err(|error| failed(error.to_string()))?;
    let before = sha256_hex(&bytes);
    let old = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    let edit = edits(&old, service, wanted).map_err(|error| failed(error.to_string()))?;
    if edit.new_text == old {
        return Ok(None);
    }
    let (text, after) = (edit.new_text.clone(), sha256_hex(edit.new_text.as_bytes()));
    Ok(Some((NewText { path: real, before, after, text }, old, edit)))
}

/// The services as their files are now, with this process's environment.
pub fn catalogue(settings: &Settings) -> Catalogue {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment = std::env::vars_os().filter_map(text).collect();
    Catalogue::load(&settings.compose, &settings.services, &environment)
}

/// The service and what hides its secrets; without one, only the mask.
pub fn find(settings: &Settings, name: &str) -> (Option<Service>, Mask) {
    let catalogue = catalogue(settings);
    (catalogue.get(name).cloned(), Mask::of(&catalogue))
}

fn unknown(error: &ServiceError) -> Refusal {
    let reason = match error {
        ServiceError::Unknown { .. } => Reason::ServiceUnknown,
        ServiceError::Broken { .. } => Reason::ServiceUnusable,
    };
    Refusal::new(reason, error.to_string())
}

/// Where the copies of an apply's files go.
pub fn backups(settings: &Settings) -> PathBuf {
    let path = settings.state.join("backups");
    std::path::absolute(&path).unwrap_or(path)
}

/// What is journaled before a write. The copy's place is the one that it will have, unless an earlier
/// try left one there.
pub fn planned_writes(files: &[NewText], backups: &Path, label: &str) -> Vec<ApplyWrite> {
    let backup = |path: &Path| backups.join(label).join(path.file_name().unwrap_or_default());
    let write = |file: &NewText| ApplyWrite {
        file: file.path.display().to_string(),
        before: file.before.clone(),
        after: file.after.clone(),
        backup: backup(&file.path).display().to_string(),
    };
    files.iter().map(write).collect()
}

/// How far the journaled writes have come, in their order.
pub fn stages(writes: &[ApplyWrite]) -> Vec<Stage> {
    let stage = |write: &ApplyWrite| match std::fs::read(&write.file).map(|bytes| sha256_hex(&bytes)) {
        Ok(hash) if hash == write.after => Stage::After,
        Ok(hash) if hash == write.before => Stage::Before,
        Ok(_) | Err(_) => Stage::Neither,
    };
    writes.iter().map(stage).collect()
}

/// Writes those files that are given, and puts into `writes` where the copies are. Blocks on the lock.
///
/// # Errors
/// `ApplyConflict` where somebody changed a file, else `ApplyFailed`. Whether files were written all
/// the same is for `stages` to tell.
pub fn write(
    lock_for: &Path,
    files: &[NewText],
    backups: &Path,
    label: &str,
    writes: &mut [ApplyWrite],
) -> Result<(), Refusal> {
    let folder = backups.join(label);
    private_dir::create(&folder).map_err(|error| {
        let message = format!("{} cannot be made for the copies: {error}", folder.display());
        Refusal::new(Reason::ApplyFailed, message).hint("nothing was written; free the place and try again")
    })?;
    let edits: Vec<FileEdit<'_>> = files
        .iter()
        .map(|file| FileEdit { path: &file.path, expected_sha256: &file.before, new_text: &file.text })
        .collect();
    let written =
        write_all(lock_for, &edits, backups, label, LOCK_PATIENCE).map_err(|error| failed(&error))?;
    for done in written {
        let path = done.path.display().to_string();
        if let Some(write) = writes.iter_mut().find(|write| write.file == path) {
            write.backup = done.backup.display().to_string();
        }
    }
    Ok(())
}

fn failed(error: &WriteError) -> Refusal {
    let message = error.to_string();
    match error {
        WriteError::Conflict { .. } => Refusal::new(Reason::ApplyConflict, message)
            .hint("nothing was written; look at the change with `benchlet diff RUN` and apply again"),
        WriteError::Locked { .. } => Refusal::new(Reason::ApplyFailed, message)
            .hint("nothing was written; apply again when the other program is done"),
        WriteError::Io { .. } | WriteError::File(_) => Refusal::new(Reason::ApplyFailed, message)
            .hint("nothing was written; make the file and its directory writable and apply again"),
        WriteError::HalfWritten { .. } => Refusal::new(Reason::ApplyFailed, message)
            .hint("`benchlet revert APPLY` puts the written file back"),
    }
}

/// The copy of a file as it was, wherever an interrupted write left it.
pub fn locate_backups(writes: &mut [ApplyWrite], backups: &Path, label: &str) {
    let Ok(entries) = std::fs::read_dir(backups.join(label)) else { return };
    let copies: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    for write in writes {
        let whole = |copy: &&PathBuf| {
            let name = Path::new(&write.file).file_name().unwrap_or_default().to_string_lossy();
            copy.file_name().is_some_and(|copy| copy.to_string_lossy().starts_with(name.as_ref()))
                && std::fs::read(copy).is_ok_and(|bytes| sha256_hex(&bytes) == write.before)
        };
        if let Some(copy) = copies.iter().find(whole) {
            write.backup = copy.display().to_string();
        }
    }
}

/// The file beside which the lock of an apply is.
pub fn lock_place(service: Option<&Service>, writes: &[ApplyWrite]) -> PathBuf {
    let compose = service.and_then(|service| service.origin.compose_file.clone());
    compose.unwrap_or_else(|| writes.first().map_or_else(PathBuf::new, |write| PathBuf::from(&write.file)))
}

/// The compose files that `docker compose` is given: the one that was read, and the override that
/// Compose would merge by itself.
pub fn compose_files(service: &Service) -> Vec<PathBuf> {
    let Some(path) = service.origin.compose_file.as_deref() else { return Vec::new() };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let default = path.file_name().is_some_and(|name| DEFAULT_NAMES.iter().any(|known| name == *known));
    let beside = OVERRIDES.iter().map(|name| path.with_file_name(name)).find(|path| default && path.exists());
    std::iter::once(path).chain(beside).collect()
}

/// What somebody types to recreate the service's container.
pub fn restart_command(service: &Service) -> Option<String> {
    let files = compose_files(service);
    let named: Vec<String> = files
        .iter()
        .map(|file| format!("-f {}", shell_words::quoted(&file.display().to_string(), None)))
        .collect();
    (!named.is_empty()).then(|| {
        let name = shell_words::quoted(&service.name, None);
        format!("docker compose {} up -d --no-deps {name}", named.join(" "))
    })
}

/// The name of an apply's folder of copies.
pub fn label(apply: Uuid) -> String {
    apply.to_string()
}
