//! Keeps what was measured: a line a request, written when the request ends, by a thread of its own, so
//! that a killed run keeps all but what was in the pipe of this moment: where many requests end together,
//! the last 10 ms.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::run::request_record::Line;

/// Lines that may wait for the disk before a worker waits for them.
const WAITING: usize = 1 << 16;
/// Lines that follow a write sooner than this are gathered until then. When a thousand streams end together,
/// waking this thread for each of them would take time away from reading the others.
const GATHERED: Duration = Duration::from_millis(10);

/// A way to the file; as many as there are workers.
#[derive(Clone)]
pub struct Recorder {
    lines: SyncSender<Line>,
}

/// The file's writer.
pub struct Writer {
    path: PathBuf,
    thread: JoinHandle<io::Result<()>>,
}

impl Recorder {
    /// # Errors
    /// The file cannot be made.
    pub fn open(path: &Path) -> io::Result<(Self, Writer)> {
        let file = File::create(path)?;
        let (lines, receiver) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || write_all(file, &receiver))?;
        Ok((Self { lines }, Writer { path: path.to_owned(), thread }))
    }

    /// Hands a line over. A writer that has failed says so at the end.
    pub fn keep(&self, line: Line) {
        drop(self.lines.send(line));
    }
}

impl Writer {
    /// Waits until everything is written. Every recorder has to be gone.
    ///
    /// # Errors
    /// The disk's own, with the file.
    pub fn finish(self) -> io::Result<()> {
        let ended = self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the recorder broke")));
        ended.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))
    }
}

fn write_all(file: File, lines: &Receiver<Line>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(256 << 10, file);
    let mut written: Option<Instant> = None;
    while let Ok(line) = lines.recv() {
        write(&mut out, &line)?;
        if let Some(left) = written.and_then(|at| GATHERED.checked_sub(at.elapsed())) {
            std::thread::sleep(left);
        }
        // What waits goes together; then it is in the kernel's hands.
        while let Ok(line) = lines.try_recv() {
            write(&mut out, &line)?;
        }
        out.flush()?;
        written = Some(Instant::now());
    }
    out.flush()?;
    out.get_ref().sync_all()
}

fn write(out: &mut BufWriter<File>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
