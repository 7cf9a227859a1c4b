//! Looks at the system while cases run: a thread of its own that fetches the engine's and the collectors'
//! metrics over HTTP and lets the caller look at the machine.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::address::Address;
use crate::engine::wire::Wire;
use crate::request::load_test::Api;
use crate::run::measure_plan::{CollectorPlan, Dialect};
use crate::run::series::Sample;

/// Longest time that a metrics endpoint may take.
const FETCH_LIMIT: Duration = Duration::from_secs(2);

/// What a look is given.
pub struct Looked<'a> {
    pub unix_ms: i64,
    /// Since the last look.
    pub elapsed: Duration,
    /// Index of the target that is measured.
    pub target: usize,
    /// The engine's own metrics, where it has some.
    pub engine: Option<&'a str>,
    /// Each collector with its answer.
    pub collectors: &'a [(&'a CollectorPlan, Option<String>)],
}

/// Makes a sample of a look at the machine.
pub type Look = Box<dyn FnMut(&Looked<'_>) -> Sample + Send>;

pub struct Sampling {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

pub struct Watched {
    pub wires: Vec<Arc<Wire>>,
    pub collectors: Vec<CollectorPlan>,
    /// The target that is measured now.
    pub target: Arc<AtomicUsize>,
    pub every: Duration,
}

impl Sampling {
    /// # Errors
    /// The file or the thread cannot be had.
    pub fn start(path: &Path, watched: Watched, look: Look) -> io::Result<Self> {
        let file = File::create(path)?;
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("sampling".to_owned())
            .spawn(move || sample(file, &watched, look, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Takes a last look and ends.
    pub fn finish(self) {
        drop(self.stop);
        // What it wrote stands; a broken sampler is one series less.
        drop(self.thread.join());
    }
}

fn sample(mut file: File, watched: &Watched, mut look: Look, stopped: &Receiver<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let pages: Vec<Option<(Wire, String)>> = watched.collectors.iter().map(|plan| page(&plan.url)).collect();
    let mut last = Instant::now();
    loop {
        let ended = matches!(stopped.recv_timeout(watched.every), Err(RecvTimeoutError::Disconnected));
        let target = watched.target.load(Ordering::Relaxed);
        let fetched = |wire: &Wire, path: &str| runtime.block_on(text(wire, path));
        let engine = watched.wires.get(target).and_then(|wire| fetched(wire, wire.metrics_path()?));
        let collectors: Vec<(&CollectorPlan, Option<String>)> = watched
            .collectors
            .iter()
            .zip(&pages)
            .map(|(plan, page)| (plan, page.as_ref().and_then(|(wire, path)| fetched(wire, path))))
            .collect();
        let elapsed = last.elapsed();
        last = Instant::now();
        let unix_ms = unix_ms();
        let sample =
            look(&Looked { unix_ms, elapsed, target, engine: engine.as_deref(), collectors: &collectors });
        if let Ok(mut line) = serde_json::to_vec(&sample) {
            line.push(b'\n');
            // A full disk ends the series; the records say so for themselves.
            if file.write_all(&line).is_err() {
                return;
            }
        }
        if ended {
            return;
        }
    }
}

async fn text(wire: &Wire, path: &str) -> Option<String> {
    let (status, body) = wire.ask("GET", path, None, FETCH_LIMIT).await.ok()?;
    (status == 200).then(|| String::from_utf8_lossy(&body).into_owned())
}

/// A collector's URL as a server and what to ask it for.
fn page(url: &str) -> Option<(Wire, String)> {
    let (address, path) = Address::with_path(url).ok()?;
    Some((Wire { dialect: Dialect::OpenAi, api: Api::Chat, address, key: None }, path))
}

/// Milliseconds of the wall clock, for joining series with cases.
pub fn unix_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
