//! A container's log into the spool, stdout and stderr apart. Every byte has its place, counted from
//! the log's start, so that copying may be cut off and begun again, even twice at once, and the same
//! bytes land at the same places. Knows nothing of what the output means.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt;
use tokio::time::timeout;

use super::docker_connection::{ASK_LIMIT, failure};
use super::process::blocking;
use super::spool;
use super::{ExecutorError, STDERR, STDOUT};

/// How long a log that is read to its present end may be silent before the daemon counts as dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// Pieces of a log that are written at once.
const BATCH: usize = 64;

/// How a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// The log ended, or ends there for now.
    ToItsEnd,
    /// A stream reached the limit; it is cut there and marked.
    TooLarge,
}

/// Whether to stay for what the container writes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Now,
    TheEnd,
}

/// One stream's place: where the log is, and where the spool is already.
#[derive(Default)]
struct Place {
    /// Bytes of the log seen so far.
    seen: u64,
    /// Bytes that the spool had when the copy began.
    spooled: u64,
}

/// Bytes for a place in a spool file.
struct Piece {
    name: &'static str,
    offset: u64,
    bytes: Vec<u8>,
}

impl Place {
    fn of(spool: &Path, name: &str) -> Self {
        let spooled = std::fs::metadata(spool::stream_path(spool, name)).map_or(0, |metadata| metadata.len());
        Self { seen: 0, spooled }
    }

    /// Takes the next bytes of the log; what is new of them, up to the limit, is returned with its place.
    fn take<'a>(&mut self, bytes: &'a [u8], limit: u64) -> Option<(u64, &'a [u8])> {
        let start = self.seen;
        self.seen += bytes.len() as u64;
        let from = self.spooled.clamp(start, self.seen);
        let to = self.seen.min(limit);
        if from >= to {
            return None;
        }
        // Both are within this slice, whose length is a usize.
        let slice = bytes.get((from - start) as usize..(to - start) as usize)?;
        Some((from, slice))
    }
}

/// Copies the container's log. A log without timestamps is the only one that keeps lines over 16 KiB
/// whole, so a new copy reads from the start and passes over what is spooled.
pub async fn copy(
    docker: &Docker,
    name: &str,
    spool: &Path,
    limit: u64,
    until: Until,
) -> Result<Copied, ExecutorError> {
    let (mut stdout, mut stderr) = (Place::of(spool, STDOUT), Place::of(spool, STDERR));
    let options = LogsOptions {
        follow: until == Until::TheEnd,
        stdout: true,
        stderr: true,
        timestamps: false,
        tail: "all".to_owned(),
        ..Default::default()
    };
    let mut log = docker.logs(name, Some(options)).ready_chunks(BATCH);
    loop {
        let batch = match until {
            Until::TheEnd => log.next().await,
            Until::Now => timeout(SILENCE_LIMIT, log.next()).await.map_err(|_| {
                ExecutorError::Unreachable(format!(
                    "the daemon sent nothing of {name}'s log for {} s",
                    SILENCE_LIMIT.as_secs()
                ))
            })?,
        };
        let Some(batch) = batch else { break };
        let mut pieces = Vec::new();
        let mut broken = None;
        for output in batch {
            match output {
                Ok(LogOutput::StdErr { message }) => {
                    gather(&mut pieces, STDERR, &mut stderr, &message, limit)
                }
                // Without a terminal there is no console; what a daemon still calls so is output.
                Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                    gather(&mut pieces, STDOUT, &mut stdout, &message, limit);
                }
                Ok(LogOutput::StdIn { .. }) => {}
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        write(spool, pieces).await?;
        if stdout.seen > limit || stderr.seen > limit {
            let folder = spool.to_owned();
            blocking(move || spool::mark_too_large(&folder).map_err(|error| spool::io_error(&folder, error)))
                .await?;
            return Ok(Copied::TooLarge);
        }
        if let Some(error) = broken {
            return Err(failure(&format!("the log of {name}"), error));
        }
    }
    Ok(Copied::ToItsEnd)
}

/// What the init in the container says of a program that it could not start: Docker's is tini,
/// Podman's catatonit. `None` where the program itself ended with such a code.
pub async fn init_failure(docker: &Docker, name: &str) -> Result<Option<String>, ExecutorError> {
    let options = LogsOptions { stderr: true, tail: "5".to_owned(), ..Default::default() };
    let mut log = docker.logs(name, Some(options));
    let mut text = Vec::new();
    loop {
        match timeout(ASK_LIMIT, log.next()).await {
            Ok(Some(Ok(output))) => text.extend_from_slice(&output.into_bytes()),
            Ok(Some(Err(error))) => return Err(failure(&format!("the log of {name}"), error)),
            Ok(None) => return Ok(failure_of_init(&String::from_utf8_lossy(&text))),
            Err(_) => return Err(ExecutorError::Unreachable(format!("the log of {name} does not end"))),
        }
    }
}

fn failure_of_init(stderr: &str) -> Option<String> {
    let said = |line: &&str| {
        (line.starts_with("[FATAL tini") && line.contains("] exec ")) || line.contains("(catatonit")
    };
    let line = stderr.lines().find(said)?;
    let words = line.split_once("] ").map_or(line, |(_, words)| words);
    Some(format!("{words}; does the image have this program?"))
}

/// Adds new bytes to the pieces to write, to the last one where they follow it.
fn gather(pieces: &mut Vec<Piece>, name: &'static str, place: &mut Place, bytes: &[u8], limit: u64) {
    let Some((offset, bytes)) = place.take(bytes, limit) else { return };
    match pieces.iter_mut().rev().find(|piece| piece.name == name) {
        Some(piece) => piece.bytes.extend_from_slice(bytes),
        None => pieces.push(Piece { name, offset, bytes: bytes.to_vec() }),
    }
}

async fn write(spool: &Path, pieces: Vec<Piece>) -> Result<(), ExecutorError> {
    if pieces.is_empty() {
        return Ok(());
    }
    let folder = spool.to_owned();
    blocking(move || {
        for piece in pieces {
            spool::open_stream(&folder, piece.name)
                .and_then(|stream| stream.write_all_at(&piece.bytes, piece.offset))
                .map_err(|error| spool::io_error(&spool::stream_path(&folder, piece.name), error))?;
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spooled_is_passed_over_and_what_follows_is_not() {
        let mut place = Place { seen: 0, spooled: 5 };
        assert_eq!(place.take(b"abc", 100), None);
        assert_eq!(place.take(b"defg", 100), Some((5, &b"fg"[..])));
        assert_eq!(place.take(b"hi", 100), Some((7, &b"hi"[..])));
    }

    #[test]
    fn a_stream_is_cut_at_the_limit() {
        let mut place = Place::default();
        assert_eq!(place.take(b"abcdef", 4), Some((0, &b"abcd"[..])));
        assert_eq!(place.take(b"gh", 4), None);
        assert_eq!(place.seen, 8);
    }

    #[test]
    fn an_init_that_finds_no_program_is_told_from_a_program_that_says_so() {
        let tini = "[FATAL tini (7)] exec no-such failed: No such file or directory\n";
        assert_eq!(
            failure_of_init(tini).unwrap(),
            "exec no-such failed: No such file or directory; does the image have this program?"
        );
        assert_eq!(failure_of_init("sh: 1: no-such: not found\n"), None);
    }

    #[test]
    fn pieces_that_follow_one_another_are_written_as_one() {
        let (mut stdout, mut stderr) = (Place::default(), Place::default());
        let mut pieces = Vec::new();
        gather(&mut pieces, STDOUT, &mut stdout, b"a", 10);
        gather(&mut pieces, STDERR, &mut stderr, b"x", 10);
        gather(&mut pieces, STDOUT, &mut stdout, b"b", 10);
        let seen: Vec<_> =
            pieces.iter().map(|piece| (piece.name, piece.offset, piece.bytes.clone())).collect();
        assert_eq!(seen, [(STDOUT, 0, b"ab".to_vec()), (STDERR, 0, b"x".to_vec())]);
    }
}
