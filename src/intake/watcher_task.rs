//! The task that ties intake together: hints and listings in, settled and loaded files out.
//!
//! Owns the watches, the waits and what was last read of each file, so that only what changed is
//! read again. Decides nothing about names or absence: that is the source map's part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::listing::{self, Listing, RootState};
use super::load::{self, ContentHash, Loaded, LoadedFile};
use super::settle::{Settled, Settler, Startable, Touch};
use super::watch::{self, Hint, Hints, WatchMode, WatchState, Watches};
use crate::files::stat::Stat;

/// Rounds of listing until no new directory turns up; more are left to the next relist.
const MAX_ROUNDS: usize = listing::MAX_DEPTH + 2;
/// A hint to rescan waits this long for others like it.
const RESCAN_DELAY_MS: u64 = 20;
/// Listings that are told although they are the same as the one before: what the store knows and the
/// tree lacks at the start counts as absent only after several.
const REPEATS: u8 = 2;
/// Files loaded in one step, between which hints are taken in.
const BATCH: usize = 256;

/// How to watch a root.
#[derive(Debug, Clone)]
pub struct IntakeOptions {
    pub root: PathBuf,
    pub mode: WatchMode,
    /// Between two listings where watching works.
    pub relist: Duration,
    /// Between two listings while the root or the watches are degraded.
    pub poll: Duration,
    /// Between the listings that confirm an absence.
    pub confirm: Duration,
    /// Hints that may wait before they collapse into one listing.
    pub hint_capacity: usize,
    /// Events that may wait for the controller.
    pub event_capacity: usize,
}

impl IntakeOptions {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            mode: WatchMode::Inotify,
            relist: Duration::from_secs(20),
            poll: Duration::from_secs(1),
            confirm: Duration::from_secs(1),
            hint_capacity: 4096,
            event_capacity: 256,
        }
    }
}

/// What intake tells the controller. On start every file comes first, then the first listing.
#[derive(Debug)]
pub enum IntakeEvent {
    /// A settled file with new content; `startable` says whether its runs may start.
    FileChanged { file: LoadedFile, startable: bool },
    /// The content last sent for this path may start runs by now.
    Startable(PathBuf),
    /// Nothing lies at this path. Not yet an absence: see the source map.
    Gone(PathBuf),
    /// A status file was written or removed, by the controller or by somebody else.
    StatusTouched(PathBuf),
    /// A complete listing.
    Listing(Arc<Listing>),
    /// The root could not be listed.
    Root(RootState),
    /// Watching works again, or no longer does.
    Watch(WatchState),
}

/// Watches the root until the receiver of the events is dropped.
pub fn spawn(options: IntakeOptions) -> (mpsc::Receiver<IntakeEvent>, tokio::task::JoinHandle<()>) {
    let (events, receiver) = mpsc::channel(options.event_capacity.max(1));
    let task = tokio::spawn(async move {
        // It ends when nobody listens any more; there is nobody to tell.
        let _: Result<(), Ended> = run(options, events).await;
    });
    (receiver, task)
}

/// The receiver is gone, or the runtime shuts down.
struct Ended;

async fn run(options: IntakeOptions, events: mpsc::Sender<IntakeEvent>) -> Result<(), Ended> {
    let root = options.root.clone();
    let (mode, capacity) = (options.mode, options.hint_capacity);
    let (watches, mut hints) = blocking(move || watch::start(&root, mode, capacity)).await?;
    let mut task = Task {
        watches: Some(watches),
        watch_state: WatchState::Watching,
        options,
        events,
        settler: Settler::new(),
        known: BTreeMap::new(),
        epoch: Instant::now(),
        started: false,
        next_scan: 0,
        scan_not_before: 0,
        confirmations: 0,
        last: None,
        repeats: 0,
    };
    loop {
        let now = task.now();
        if now >= task.next_scan {
            task.scan().await?;
        }
        task.read_what_settled().await?;
        task.tell_startable().await?;
        task.wait(&mut hints).await?;
    }
}

struct Known {
    stat: Option<Stat>,
    hash: ContentHash,
    startable: bool,
}

struct Task {
    options: IntakeOptions,
    events: mpsc::Sender<IntakeEvent>,
    /// Away only while a listing uses them.
    watches: Option<Watches>,
    watch_state: WatchState,
    settler: Settler,
    known: BTreeMap<PathBuf, Known>,
    epoch: Instant,
    started: bool,
    next_scan: u64,
    scan_not_before: u64,
    /// Listings still wanted soon, because something is missing.
    confirmations: u8,
    /// What was last listed and told.
    last: Option<Arc<Listing>>,
    /// Listings since then that were the same.
    repeats: u8,
}

impl Task {
    fn now(&self) -> u64 {
        milliseconds(self.epoch.elapsed())
    }

    async fn send(&self, event: IntakeEvent) -> Result<(), Ended> {
        self.events.send(event).await.map_err(|_| Ended)
    }

    /// Waits for a hint or the next thing that is due, and takes in every hint that is there.
    async fn wait(&mut self, hints: &mut Hints) -> Result<(), Ended> {
        let wakeup = self.settler.next_wakeup().map_or(self.next_scan, |at| at.min(self.next_scan));
        let deadline = self.epoch + Duration::from_millis(wakeup);
        let hint = tokio::select! {
            hint = hints.next() => Some(hint),
            () = tokio::time::sleep_until(deadline) => None,
            () = self.events.closed() => return Err(Ended),
        };
        let now = self.now();
        // Bounded, so that a flood of hints cannot keep what is due from its turn.
        let more = std::iter::from_fn(|| hints.try_next()).take(self.options.hint_capacity);
        let mut statuses = BTreeSet::new();
        for hint in hint.into_iter().chain(more) {
            let meaning = self.watches.as_mut().and_then(|watches| watches.interpret(hint));
            match meaning {
                None => {}
                Some(Hint::Rescan) => {
                    let at = (now + RESCAN_DELAY_MS).max(self.scan_not_before);
                    self.next_scan = self.next_scan.min(at);
                }
                Some(Hint::Touched(path, touch)) => self.settler.note(&path, touch, now),
                Some(Hint::Status(path)) => {
                    statuses.insert(path);
                }
            }
        }
        for path in statuses {
            self.send(IntakeEvent::StatusTouched(path)).await?;
        }
        Ok(())
    }

    /// Lists the root, watches what is new in it, and notes what differs from what is known.
    async fn scan(&mut self) -> Result<(), Ended> {
        let began = self.now();
        let watches = self.watches.take().ok_or(Ended)?;
        let root = self.options.root.clone();
        let (watches, listed) = blocking(move || list_and_watch(&root, watches)).await?;
        let state = watches.state().clone();
        self.watches = Some(watches);
        if state != self.watch_state {
            self.watch_state = state.clone();
            self.send(IntakeEvent::Watch(state)).await?;
        }
        let ended = self.now();
        // Listings never take more than about a fifth of the time, however often they are hinted at.
        self.scan_not_before = ended + 50 + 4 * (ended - began);
        let listing = match listed {
            Ok(listing) => listing,
            Err(state) => {
                self.last = None;
                self.next_scan = ended + milliseconds(self.options.poll);
                return self.send(IntakeEvent::Root(state)).await;
            }
        };
        let same = self.last.as_deref() == Some(&listing) && listing.files.len() == self.known.len();
        self.repeats = if same { self.repeats.saturating_add(1) } else { 0 };
        if self.repeats > REPEATS && self.confirmations == 0 {
            // Nothing to read, nothing to count: with thousands of files that is most of the cost.
            self.next_scan = self.now() + milliseconds(self.pause());
            return Ok(());
        }
        if self.started {
            self.note_differences(&listing);
        } else {
            self.started = true;
            self.load_everything(&listing).await?;
        }
        if !listing.git_busy {
            self.confirmations = self.confirmations.saturating_sub(1);
        }
        self.next_scan = self.now() + milliseconds(self.pause());
        let listing = Arc::new(listing);
        self.last = Some(Arc::clone(&listing));
        self.send(IntakeEvent::Listing(listing)).await
    }

    /// Until the next listing.
    fn pause(&self) -> Duration {
        match &self.watch_state {
            WatchState::Degraded { .. } => self.options.poll,
            WatchState::Watching if self.confirmations > 0 => self.options.confirm,
            WatchState::Watching => self.options.relist,
        }
    }

    fn note_differences(&mut self, listing: &Listing) {
        let now = self.now();
        for (path, stat) in &listing.files {
            let unchanged = self.known.get(path).is_some_and(|known| known.stat == Some(*stat));
            if !unchanged && !self.settler.is_pending(path) {
                self.settler.note(path, Touch::Changed, now);
            }
        }
        for path in self.known.keys() {
            let unseen = listing.unread.iter().any(|unread| path.starts_with(unread));
            if !listing.files.contains_key(path) && !unseen && !self.settler.is_pending(path) {
                self.settler.note(path, Touch::Removed, now);
            }
        }
    }

    async fn load_everything(&mut self, listing: &Listing) -> Result<(), Ended> {
        let now = self.now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let wall = i64::try_from(wall).unwrap_or(i64::MAX);
        let mut paths = Vec::with_capacity(listing.files.len());
        for (path, stat) in &listing.files {
            self.settler.found_at_start(path, stat, now, wall);
            paths.push((path.clone(), Some(*stat)));
        }
        for batch in paths.chunks(BATCH) {
            self.read(batch.to_vec()).await?;
        }
        Ok(())
    }

    async fn read_what_settled(&mut self) -> Result<(), Ended> {
        let now = self.now();
        let due = self.settler.due(now);
        if due.is_empty() {
            return Ok(());
        }
        let root = self.options.root.clone();
        let stats = blocking(move || {
            due.into_iter().map(|path| (listing::stat_one(&root, &path), path)).collect::<Vec<_>>()
        })
        .await?;
        let now = self.now();
        let accepted: Vec<_> = stats
            .into_iter()
            .filter(|(stat, path)| self.settler.stat(path, *stat, now) == Settled::Accepted)
            .map(|(stat, path)| (path, stat))
            .collect();
        // What went is told first, so that a moved file is a move and not a conflict with itself.
        let (gone, there): (Vec<_>, Vec<_>) = accepted.into_iter().partition(|(_, stat)| stat.is_none());
        for batch in gone.chunks(BATCH).chain(there.chunks(BATCH)) {
            self.read(batch.to_vec()).await?;
        }
        Ok(())
    }

    /// Reads files whose stats were just taken, and tells of those with new content.
    async fn read(&mut self, paths: Vec<(PathBuf, Option<Stat>)>) -> Result<(), Ended> {
        let root = self.options.root.clone();
        let loaded = blocking(move || {
            let read = |(path, stat): (PathBuf, Option<Stat>)| {
                let loaded = load::load(&root, &path);
                let steady = listing::stat_one(&root, &path) == stat;
                (path, stat, loaded, steady)
            };
            paths.into_iter().map(read).collect::<Vec<_>>()
        })
        .await?;
        for (path, stat, loaded, steady) in loaded {
            if !steady {
                // Somebody writes again: what was read may be a part only.
                let now = self.now();
                self.settler.note(&path, Touch::Changed, now);
            }
            match loaded {
                Loaded::Gone => self.tell_gone(path).await?,
                Loaded::File(file) => self.tell_file(*file, stat).await?,
            }
        }
        Ok(())
    }

    async fn tell_gone(&mut self, path: PathBuf) -> Result<(), Ended> {
        if self.known.remove(&path).is_none() {
            return Ok(());
        }
        self.want_confirmation();
        self.send(IntakeEvent::Gone(path)).await
    }

    async fn tell_file(&mut self, file: LoadedFile, stat: Option<Stat>) -> Result<(), Ended> {
        let path = &file.relative;
        let startable = self.settler.startable_at(path) == Startable::Now;
        let stat = file.stat.or(stat);
        if let Some(known) = self.known.get_mut(path)
            && known.hash == file.content_hash
        {
            known.stat = stat;
            if startable && !known.startable {
                known.startable = true;
                self.send(IntakeEvent::Startable(path.clone())).await?;
            }
            return Ok(());
        }
        self.known.insert(path.clone(), Known { stat, hash: file.content_hash, startable });
        // A document may be missing from it, which is confirmed as a missing file is.
        self.want_confirmation();
        self.send(IntakeEvent::FileChanged { file, startable }).await
    }

    async fn tell_startable(&mut self) -> Result<(), Ended> {
        let now = self.now();
        for path in self.settler.became_startable(now) {
            if let Some(known) = self.known.get_mut(&path)
                && !known.startable
            {
                known.startable = true;
                self.send(IntakeEvent::Startable(path)).await?;
            }
        }
        Ok(())
    }

    fn want_confirmation(&mut self) {
        if self.started {
            self.confirmations = 2;
            self.next_scan = self.next_scan.min(self.now() + milliseconds(self.options.confirm));
        }
    }
}

fn list_and_watch(root: &Path, mut watches: Watches) -> (Watches, Result<Listing, RootState>) {
    let mut listed = listing::list(root);
    for _ in 0..MAX_ROUNDS {
        match &listed {
            Ok(listing) if watches.follow(&listing.directories) => listed = listing::list(root),
            Ok(_) | Err(_) => break,
        }
    }
    (watches, listed)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Ended> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Ended)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
