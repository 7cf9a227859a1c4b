//! A run's output as its spool has it, read piece by piece from wherever a reader is. Knows the files of a run
//! and how a place in them is written down; keeps nothing open.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::executor::{STDERR, STDOUT};
use crate::run::plan::Step;
use crate::run::step::TaskId;
use crate::store::runs::RunRow;

/// Most bytes of a piece.
const PIECE: u64 = 64 << 10;
const STREAMS: [&str; 2] = [STDERR, STDOUT];

/// One launch of a run's last attempt.
#[derive(Debug, Clone)]
pub struct Launch {
    /// From 1.
    pub number: u32,
    pub id: TaskId,
}

/// The launches of a run's last attempt, in their order.
pub fn launches(row: &RunRow) -> Vec<Launch> {
    let steps = row.plan.iter().flat_map(|plan| &plan.steps);
    let tasks = (0u32..).zip(steps).filter_map(|(step, planned)| {
        let task = match planned {
            // A server's words say why it does not answer.
            Step::StartEngine { engine } => Some(&engine.task),
            Step::Bench { .. }
            | Step::Load { .. }
            | Step::StopService { .. }
            | Step::StartService { .. }
            | Step::StopEngine { .. } => planned.task(),
        }?;
        Some(TaskId { run: row.id, attempt: row.attempt, step, role: task.id.role })
    });
    (1..).zip(tasks).map(|(number, id)| Launch { number, id }).collect()
}

/// Some of what a launch wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// From 1.
    pub launch: u32,
    pub stream: &'static str,
    pub text: String,
}

/// How far somebody has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOutput {
    folder: PathBuf,
    attempt: u32,
    /// Of each launch the bytes of stderr and stdout that were read.
    places: Vec<[u64; 2]>,
}

impl RunOutput {
    /// From the beginning.
    pub fn new(spool_root: &Path, run: uuid::Uuid) -> Self {
        Self { folder: spool_root.join(run.to_string()), attempt: 0, places: Vec::new() }
    }

    /// From a place that [`RunOutput::position`] gave; `None` where that is none.
    pub fn at(spool_root: &Path, run: uuid::Uuid, position: &str) -> Option<Self> {
        let mut parts = position.split('-');
        let attempt = parts.next()?.parse().ok()?;
        let places = parts.map(|part| {
            let (stderr, stdout) = part.split_once('.')?;
            Some([stderr.parse().ok()?, stdout.parse().ok()?])
        });
        let places = places.collect::<Option<_>>()?;
        Some(Self { attempt, places, ..Self::new(spool_root, run) })
    }

    /// The place as a text: the attempt, then the bytes of each launch.
    pub fn position(&self) -> String {
        let mut text = self.attempt.to_string();
        for [stderr, stdout] in &self.places {
            text.push_str(&format!("-{stderr}.{stdout}"));
        }
        text
    }

    /// The next whole lines of any launch; with `whole` also a last one without its end.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn next(&mut self, row: &RunRow, whole: bool) -> io::Result<Option<Piece>> {
        if self.attempt != row.attempt {
            (self.attempt, self.places) = (row.attempt, Vec::new());
        }
        for (at, launch) in launches(row).iter().enumerate() {
            for (which, stream) in STREAMS.into_iter().enumerate() {
                let place = self.places.get(at).map_or(0, |places| places[which]);
                let path = self.folder.join(launch.id.folder()).join(stream);
                if let Some(text) = read(&path, place, whole)? {
                    if self.places.len() <= at {
                        self.places.resize(at + 1, [0, 0]);
                    }
                    self.places[at][which] = place + text.len() as u64;
                    let text = match String::from_utf8(text) {
                        Ok(text) => text,
                        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
                    };
                    return Ok(Some(Piece { launch: launch.number, stream, text }));
                }
            }
        }
        Ok(None)
    }
}

/// How many bytes a run's spool has: it changes when there is something to read.
pub fn size(spool_root: &Path, run: uuid::Uuid) -> u64 {
    let folders = std::fs::read_dir(spool_root.join(run.to_string())).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| STREAMS.map(|stream| folder.path().join(stream)));
    files.filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum()
}

fn read(path: &Path, place: u64, whole: bool) -> io::Result<Option<Vec<u8>>> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(place))?;
    let mut bytes = Vec::new();
    file.take(PIECE).read_to_end(&mut bytes)?;
    let full = bytes.len() as u64 == PIECE;
    let lines = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if lines > 0 || (!whole && !full) {
        bytes.truncate(lines);
    } else if let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
        && error.valid_up_to() > 0
    {
        // The character goes on in the next piece.
        bytes.truncate(error.valid_up_to());
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_as_it_was_written() {
        let run = uuid::Uuid::nil();
        for text in ["0", "2-15.0", "0-1.2-0.7"] {
            assert_eq!(RunOutput::at(Path::new("x"), run, text).unwrap().position(), text);
        }
        for text in ["", "x", "0-1", "0-1.x", "0-1.2-", "-1", "0-1.-2"] {
            assert_eq!(RunOutput::at(Path::new("x"), run, text), None, "{text}");
        }
    }

    #[test]
    fn lines_come_whole_and_no_character_is_torn() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("stdout");
        std::fs::write(&path, "one\ntwo").unwrap();
        assert_eq!(read(&path, 0, false).unwrap().unwrap(), b"one\n");
        assert_eq!(read(&path, 4, false).unwrap(), None);
        assert_eq!(read(&path, 4, true).unwrap().unwrap(), b"two");
        std::fs::write(&path, "é".repeat(PIECE as usize)).unwrap();
        let piece = read(&path, 1 + 1, false).unwrap().unwrap();
        assert!(std::str::from_utf8(&piece).is_ok());
        std::fs::write(&path, format!("x{}", "é".repeat(PIECE as usize))).unwrap();
        let piece = read(&path, 0, false).unwrap().unwrap();
        assert_eq!(piece.len() as u64, PIECE - 1);
    }
}
