//! The server's own account of each request, a JSON line each, to judge a client's figures by. Lines are
//! formatted and written on a thread of their own, so that measuring costs the answers little.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

/// Lines that may wait for the disk before answers do.
const WAITING: usize = 4096;

/// Microseconds of a monotonic clock since the server's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// The request's number from 0, as its answer's `X-Request-Id`.
    pub id: u64,
    /// Right after the request's last byte was read.
    pub received_us: u64,
    /// Right after the write that held the first token; of an answer in one, its only write.
    pub first_token_us: Option<u64>,
    pub last_token_us: Option<u64>,
    /// That were written.
    pub tokens: u64,
    /// Between the writes of one chunk and the next; 0 where one write held both.
    pub gaps_us: Vec<u32>,
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    Whole,
    /// An error on purpose.
    Refused,
    /// Cut on purpose.
    Cut,
    /// The client went before the end.
    Gone,
}

/// The open log.
#[derive(Debug)]
pub struct TruthLog {
    lines: SyncSender<Truth>,
    writer: JoinHandle<io::Result<()>>,
}

impl TruthLog {
    /// Begins a log anew.
    ///
    /// # Errors
    /// The file cannot be written, or there is no thread to be had.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let (lines, waiting) = sync_channel(WAITING);
        let writer = std::thread::Builder::new()
            .name("truth-log".to_owned())
            .spawn(move || write(&waiting, BufWriter::new(file)))?;
        Ok(Self { lines, writer })
    }

    pub fn sender(&self) -> SyncSender<Truth> {
        self.lines.clone()
    }

    /// Waits until all is written. Every other sender has to be gone.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn close(self) -> io::Result<()> {
        drop(self.lines);
        self.writer.join().unwrap_or_else(|_| Err(io::Error::other("the log's thread ended early")))
    }
}

/// Flushes whenever nothing waits, so that a reader sees a line soon after its request.
fn write(lines: &Receiver<Truth>, mut out: BufWriter<File>) -> io::Result<()> {
    loop {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => return out.flush(),
            Err(TryRecvError::Empty) => {
                out.flush()?;
                match lines.recv() {
                    Ok(line) => line,
                    Err(_) => return Ok(()),
                }
            }
        };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
}
