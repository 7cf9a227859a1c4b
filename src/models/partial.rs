//! A file on its way: what has come of it lies beside its place, is hashed as it is written and renamed
//! when it is whole. One writer at a time, by a lock that lasts as long as anything writes.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::cache_layout::Place;
use super::error::ModelError;
use super::hashing::{Hashes, read_on};
use super::looks;
use crate::files::lock::{Holder, LockFile};
use crate::files::{atomic_write, boot};

/// Longest ETag that is kept, in bytes.
const LONGEST_VALIDATOR: u64 = 1024;
/// Longest note that is read, in bytes: an ETag and the boot.
const LONGEST_NOTE: u64 = LONGEST_VALIDATOR + 256;

/// What has come of a file, open at its end.
pub struct Partial {
    file: File,
    hashes: Hashes,
    git_size: Option<u64>,
    place: Place,
    /// Bytes that are there.
    pub length: u64,
    /// The ETag of the server that they are from.
    pub validator: Option<String>,
    /// They are not all from one answer, as far as is known.
    pub resumed: bool,
    lock: Arc<LockFile>,
}

impl Partial {
    /// Opens what is there and hashes it; nothing is an empty file. Blocks, up to the time that reading
    /// takes. Where no hash will tell, only what this boot wrote is gone on with: a disk that lost its power
    /// can have zeros in the place of what was written last.
    ///
    /// # Errors
    /// The file system's own.
    pub fn open(
        place: &Place,
        git_size: Option<u64>,
        checked: bool,
        lock: LockFile,
        ended: &CancellationToken,
        progress: &dyn Fn(u64),
    ) -> Result<Self, ModelError> {
        let path = place.partial();
        let failed = |error: io::Error| ModelError::cache(&path, error);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &path, flags, Mode::from_raw_mode(0o644));
        let mut file = File::from(file.map_err(|error| failed(error.into()))?);
        let note = Note::read(&place.validator());
        if !checked && !note.as_ref().is_some_and(Note::is_of_this_boot) {
            file.set_len(0).map_err(failed)?;
        }
        let mut hashes = Hashes::new(git_size);
        let length = read_on(&mut file, &mut hashes, ended, progress)
            .map_err(|error| if ended.is_cancelled() { ModelError::Cancelled } else { failed(error) })?;
        let validator = note.map(|note| note.validator).filter(|_| length > 0);
        let (place, lock) = (place.clone(), Arc::new(lock));
        Ok(Self { file, hashes, git_size, place, length, validator, resumed: length > 0, lock })
    }

    /// Forgets what has come.
    ///
    /// # Errors
    /// The file system's own.
    pub fn start_anew(&mut self) -> Result<(), ModelError> {
        let failed = |error| ModelError::cache(&self.place.partial(), error);
        self.file.set_len(0).map_err(failed)?;
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        self.hashes = Hashes::new(self.git_size);
        self.length = 0;
        self.resumed = false;
        self.set_validator(None)
    }

    /// Notes whose parts these are, before the first of them is written.
    ///
    /// # Errors
    /// The file system's own.
    pub fn set_validator(&mut self, validator: Option<String>) -> Result<(), ModelError> {
        let path = self.place.validator();
        let kept = validator.filter(|text| text.len() as u64 <= LONGEST_VALIDATOR);
        let written = match &kept {
            Some(text) => atomic_write::replace(&path, Note::text(text).as_bytes(), 0o644)
                .map_err(|error| io::Error::other(error.to_string())),
            None => gone(&path),
        };
        written.map_err(|error| ModelError::cache(&path, error))?;
        self.validator = kept;
        Ok(())
    }

    /// Writes and hashes pieces as they come, on a thread of its own, until their sender goes.
    pub fn write_from(
        mut self,
        mut pieces: mpsc::Receiver<Bytes>,
    ) -> tokio::task::JoinHandle<(Self, io::Result<()>)> {
        tokio::task::spawn_blocking(move || {
            // Held until the last piece is on its way to the disk, also where nobody waits for that any more.
            let _lock = Arc::clone(&self.lock);
            while let Some(piece) = pieces.blocking_recv() {
                if let Err(error) = self.file.write_all(&piece) {
                    return (self, Err(error));
                }
                self.hashes.update(&piece);
                self.length += piece.len() as u64;
            }
            (self, Ok(()))
        })
    }

    pub fn sha256(&self) -> String {
        self.hashes.sha256()
    }

    pub fn git_hash(&self) -> Option<String> {
        self.hashes.git()
    }

    /// Whether it looks like what its name says.
    ///
    /// # Errors
    /// It does not.
    pub fn check_looks(&self, name: &str) -> Result<(), ModelError> {
        looks::check(name, &self.file)
    }

    /// Makes it the whole file, or leaves all as it was. Blocks until the disk has it.
    ///
    /// # Errors
    /// The file system's own.
    pub fn finish(self) -> Result<(), ModelError> {
        let (partial, whole) = (self.place.partial(), &self.place.whole);
        let failed = |error| ModelError::cache(whole, error);
        self.file.set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
        self.file.sync_all().map_err(failed)?;
        std::fs::rename(&partial, whole).map_err(failed)?;
        gone(&self.place.validator()).map_err(failed)?;
        let folder = whole.parent().unwrap_or(whole);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Leaves nothing of it.
    ///
    /// # Errors
    /// The file system's own.
    pub fn discard(self) -> Result<(), ModelError> {
        let path = self.place.partial();
        gone(&path).map_err(|error| ModelError::cache(&path, error))?;
        let path = self.place.validator();
        gone(&path).map_err(|error| ModelError::cache(&path, error))
    }
}

/// Takes away what a refusal left of a file of which nothing has come: the empty part with its note, and with
/// `own_lock`, where nobody but benchlet takes it, also lock and folder. What somebody else is at work on stays.
pub fn tidy(place: &Place, own_lock: bool) {
    let holder = Holder { pid: std::process::id(), what: "tidies up".to_owned() };
    let Ok(lock) = LockFile::acquire(&place.lock, &holder) else { return };
    let is_empty = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|found| found.len() == 0);
    if is_empty(&place.partial()) {
        // Litter that cannot be removed does no harm.
        let _ = gone(&place.partial()).and_then(|()| gone(&place.validator()));
    }
    if own_lock && !place.partial().exists() && !place.whole.exists() {
        lock.remove();
        // Goes while nothing else is in it.
        let _ = place.whole.parent().map(std::fs::remove_dir);
    }
}

fn gone(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whose parts these are, and since which boot they have been written.
struct Note {
    /// The ETag of the server that they are from.
    validator: String,
    boot: Option<String>,
}

impl Note {
    fn read(path: &Path) -> Option<Self> {
        let size = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?.len();
        let text = (size <= LONGEST_NOTE).then(|| std::fs::read_to_string(path).ok()).flatten()?;
        let mut lines = text.lines();
        let good = |c: char| c.is_ascii_graphic() || c == ' ';
        let validator = lines.next().filter(|text| !text.is_empty() && text.chars().all(good))?.to_owned();
        Some(Self { validator, boot: lines.next().map(str::to_owned) })
    }

    fn text(validator: &str) -> String {
        format!("{validator}\n{}\n", boot::id().unwrap_or_default())
    }

    fn is_of_this_boot(&self) -> bool {
        self.boot.is_some() && self.boot == boot::id().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A file of which five bytes have come, with this note.
    fn half(note: Option<&str>) -> (tempfile::TempDir, Place) {
        let home = tempfile::tempdir().unwrap();
        let place = Place { whole: home.path().join("m.gguf"), lock: home.path().join(".lock") };
        std::fs::write(place.partial(), "12345").unwrap();
        if let Some(note) = note {
            std::fs::write(place.validator(), note).unwrap();
        }
        (home, place)
    }

    fn open(place: &Place, checked: bool) -> Partial {
        let holder = Holder { pid: std::process::id(), what: "tests".to_owned() };
        let lock = LockFile::acquire(&place.lock, &holder).unwrap();
        Partial::open(place, None, checked, lock, &CancellationToken::new(), &|_| {}).unwrap()
    }

    #[test]
    fn without_a_hash_only_what_this_boot_wrote_is_gone_on_with() {
        let ours = Note::text("\"one\"");
        for (note, checked, length) in [
            (Some(ours.as_str()), false, 5),
            (Some("\"one\"\nanother-boot\n"), false, 0),
            (Some("\"one\""), false, 0),
            (None, false, 0),
            (Some("\"one\"\nanother-boot\n"), true, 5),
            (None, true, 5),
        ] {
            let (_home, place) = half(note);
            let partial = open(&place, checked);
            assert_eq!(partial.length, length, "{note:?} {checked}");
            let kept = note.filter(|_| length > 0).map(|_| "\"one\"");
            assert_eq!(partial.validator.as_deref(), kept, "{note:?} {checked}");
        }
    }

    #[test]
    fn a_link_in_the_place_of_the_note_is_not_written_through() {
        let (home, place) = half(None);
        let elsewhere = home.path().join("elsewhere");
        std::fs::write(&elsewhere, "precious").unwrap();
        symlink(&elsewhere, place.validator()).unwrap();
        assert!(open(&place, true).set_validator(Some("\"one\"".to_owned())).is_err());
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "precious");
    }
}
