//! Hints that something below the root changed, from inotify.
//!
//! Owns the watches, one a directory, and turns events into [`Hint`]s. Hints may be wrong, late or
//! lost as long as a loss says [`Hint::Rescan`]: the listing is the truth. Must never block the
//! thread that reads events, and never reads a request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};

use super::ignore::{self, Candidate};
use super::settle::Touch;

/// What may have happened. Paths are relative to the root, which itself is the empty path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    Touched(PathBuf, Touch),
    /// A status file was written or removed, perhaps by us.
    Status(PathBuf),
    /// Something that only a listing can tell.
    Rescan,
}

/// Whether changes are noticed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchState {
    Watching,
    /// Changes are found by listing often instead.
    Degraded {
        reason: String,
    },
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMode {
    Inotify,
    /// By listing often, for file systems that tell nothing (NFS, some mounts in containers).
    Polling,
}

/// The receiving end of the hints.
#[derive(Debug)]
pub struct Hints {
    channel: mpsc::Receiver<Hint>,
    overflow: Arc<Overflow>,
    /// Keeps the channel open where there is no watcher.
    _sender: mpsc::Sender<Hint>,
}

#[derive(Debug, Default)]
struct Overflow {
    lost: AtomicBool,
    wake: Notify,
}

impl Hints {
    /// The next hint. Where hints were lost for want of room, [`Hint::Rescan`] comes first.
    pub async fn next(&mut self) -> Hint {
        loop {
            if self.overflow.lost.swap(false, Ordering::AcqRel) {
                return Hint::Rescan;
            }
            tokio::select! {
                biased;
                () = self.overflow.wake.notified() => {}
                Some(hint) = self.channel.recv() => return hint,
            }
        }
    }

    /// A hint that is there already.
    pub fn try_next(&mut self) -> Option<Hint> {
        if self.overflow.lost.swap(false, Ordering::AcqRel) {
            return Some(Hint::Rescan);
        }
        self.channel.try_recv().ok()
    }
}

/// The watches below one root.
pub struct Watches {
    root: PathBuf,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Watched>,
    state: WatchState,
}

struct Watched {
    /// Device and inode, because a new directory of the same name needs a new watch.
    id: (u64, u64),
    /// Hints about it may have been lost, so the watch may be gone.
    doubtful: bool,
}

/// Starts watching. `capacity` bounds the hints that wait.
pub fn start(root: &Path, mode: WatchMode, capacity: usize) -> (Watches, Hints) {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let (sender, channel) = mpsc::channel(capacity.max(1));
    let overflow = Arc::new(Overflow::default());
    let hints = Hints { channel, overflow: Arc::clone(&overflow), _sender: sender.clone() };
    let event_root = root.clone();
    let handler = move |event: notify::Result<Event>| {
        for hint in hints_of(&event_root, event) {
            if sender.try_send(hint).is_err() {
                overflow.lost.store(true, Ordering::Release);
                overflow.wake.notify_one();
            }
        }
    };
    let mut watches = Watches { root, watcher: None, watched: BTreeMap::new(), state: WatchState::Watching };
    let watcher = match mode {
        WatchMode::Inotify => RecommendedWatcher::new(handler, Config::default()).map_err(|e| degraded(&e)),
        WatchMode::Polling => Err(WatchState::Degraded {
            reason: "changes are looked for once a second, as configured".to_owned(),
        }),
    };
    match watcher {
        Ok(mut watcher) => {
            if let Some(parent) = watches.root.parent() {
                // Only to notice sooner that the root is renamed or replaced: the listing does too.
                let _ = watcher.watch(parent, RecursiveMode::NonRecursive);
            }
            watches.watcher = Some(watcher);
        }
        Err(state) => watches.state = state,
    }
    (watches, hints)
}

impl Watches {
    pub fn state(&self) -> &WatchState {
        &self.state
    }

    /// Makes the watches those of the directories that a listing found. True when some are new: what
    /// was made in those before the watch existed is found by listing once more.
    pub fn follow(&mut self, directories: &BTreeMap<PathBuf, (u64, u64)>) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        let root = &self.root;
        // Old watches go first: a moved directory keeps its inode, and with it its watch descriptor.
        self.watched.retain(|path, watched| {
            let stays = directories.get(path) == Some(&watched.id);
            if !stays {
                // Fails where the directory is gone, and the watch with it.
                let _ = watcher.unwatch(&full(root, path));
            }
            stays
        });
        let mut added = false;
        self.state = WatchState::Watching;
        for (path, id) in directories {
            if self.watched.get(path).is_some_and(|watched| !watched.doubtful) {
                continue;
            }
            match watcher.watch(&full(root, path), RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone(), Watched { id: *id, doubtful: false });
                    added = true;
                }
                Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => {}
                Err(error) => {
                    self.state = degraded(&error);
                    break;
                }
            }
        }
        added
    }

    /// What a hint means, now that it is known which directories there are; `None` if nothing.
    pub fn interpret(&mut self, hint: Hint) -> Option<Hint> {
        match hint {
            Hint::Rescan => {
                self.doubt_below(Path::new(""));
                Some(Hint::Rescan)
            }
            Hint::Status(path) => Some(Hint::Status(path)),
            Hint::Touched(path, touch) => {
                if self.watched.contains_key(&path) || path == Path::new("") {
                    self.doubt_below(&path);
                    return Some(Hint::Rescan);
                }
                match ignore::classify(&path) {
                    Candidate::Request => Some(Hint::Touched(path, touch)),
                    Candidate::Status => Some(Hint::Status(path)),
                    Candidate::Ignored | Candidate::UnreadableName => None,
                }
            }
        }
    }

    fn doubt_below(&mut self, path: &Path) {
        for (watched_path, watched) in &mut self.watched {
            watched.doubtful |= watched_path.starts_with(path);
        }
    }
}

fn full(root: &Path, relative: &Path) -> PathBuf {
    // Joining the empty path would add a slash, and events would carry it.
    if relative == Path::new("") { root.to_owned() } else { root.join(relative) }
}

fn degraded(error: &notify::Error) -> WatchState {
    let reason = match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "the system's inotify watches are used up, so changes are looked for once a second; raise \
             fs.inotify.max_user_watches"
                .to_owned()
        }
        ErrorKind::Generic(_)
        | ErrorKind::Io(_)
        | ErrorKind::PathNotFound
        | ErrorKind::WatchNotFound
        | ErrorKind::InvalidConfig(_) => {
            format!("the directory cannot be watched, so changes are looked for once a second: {error}")
        }
    };
    WatchState::Degraded { reason }
}

fn hints_of(root: &Path, event: notify::Result<Event>) -> Vec<Hint> {
    let event = match event {
        Ok(event) => event,
        Err(_) => return vec![Hint::Rescan],
    };
    if event.need_rescan() {
        return vec![Hint::Rescan];
    }
    let Some(meaning) = meaning(&event.kind) else {
        return Vec::new();
    };
    event
        .paths
        .iter()
        .filter_map(|path| {
            let relative = path.strip_prefix(root).ok()?;
            match meaning {
                Meaning::Touch(touch) => hint_for(path, relative, touch),
                Meaning::NewDirectory if relative.file_name().is_some_and(ignore::is_hidden) => None,
                Meaning::NewDirectory => Some(Hint::Rescan),
            }
        })
        .collect()
}

#[derive(Clone, Copy)]
enum Meaning {
    Touch(Touch),
    NewDirectory,
}

fn meaning(kind: &EventKind) -> Option<Meaning> {
    Some(Meaning::Touch(match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Touch::Closed,
        // Our own reads, and others': nothing changed.
        EventKind::Access(_) => return None,
        EventKind::Create(CreateKind::Folder) => return Some(Meaning::NewDirectory),
        EventKind::Create(_) => Touch::Changed,
        // Repeats the two events before it.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return None,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Touch::MovedIn,
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => Touch::Removed,
        EventKind::Modify(ModifyKind::Metadata(_)) => Touch::Attributes,
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => Touch::Changed,
    }))
}

fn hint_for(path: &Path, relative: &Path, touch: Touch) -> Option<Hint> {
    let Some(name) = relative.file_name() else {
        return Some(Hint::Touched(PathBuf::new(), touch));
    };
    if ignore::is_litter(name) {
        return None;
    }
    let is_request = match ignore::classify(relative) {
        // Of a status file only how it was left matters.
        Candidate::Status if touch == Touch::Closed => return None,
        Candidate::Request | Candidate::Status => true,
        Candidate::Ignored | Candidate::UnreadableName => false,
    };
    let touched = || Hint::Touched(relative.to_owned(), touch);
    match touch {
        Touch::Closed => is_request.then(touched),
        // Perhaps of a directory: only the watches know whether it was one.
        Touch::Attributes | Touch::Removed => Some(touched()),
        Touch::Changed if is_request => Some(touched()),
        // A directory or link that came by another name may bring requests with it, `..data` first of all.
        Touch::Changed | Touch::MovedIn => match path.symlink_metadata() {
            Ok(found) if found.is_dir() => (!ignore::is_hidden(name)).then_some(Hint::Rescan),
            Ok(found) if found.is_symlink() && !is_request => Some(Hint::Rescan),
            Ok(_) | Err(_) => is_request.then(touched),
        },
    }
}

#[cfg(test)]
mod tests {
    use notify::event::Flag;

    use super::*;

    #[test]
    fn used_up_watches_are_said_with_the_setting_to_raise() {
        let WatchState::Degraded { reason } = degraded(&notify::Error::new(ErrorKind::MaxFilesWatch)) else {
            panic!("not degraded");
        };
        assert!(reason.contains("fs.inotify.max_user_watches"), "{reason}");
    }

    #[test]
    fn an_overflow_and_an_error_ask_for_a_listing() {
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(hints_of(Path::new("/r"), Ok(overflow)), [Hint::Rescan]);
        assert_eq!(hints_of(Path::new("/r"), Err(notify::Error::generic("x"))), [Hint::Rescan]);
    }

    #[test]
    fn reads_and_litter_say_nothing() {
        let hints = |kind, path: &str| hints_of(Path::new("/r"), Ok(Event::new(kind).add_path(path.into())));
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let moved_in = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert_eq!(hints(open, "/r/a.yaml"), []);
        assert_eq!(hints(EventKind::Access(AccessKind::Close(AccessMode::Read)), "/r/a.yaml"), []);
        assert_eq!(hints(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/r/a.status.yaml"), []);
        assert_eq!(hints(moved_in, "/r/a.yaml~"), []);
        assert_eq!(hints(moved_in, "/elsewhere/a.yaml"), []);
        assert_eq!(hints(moved_in, "/r/d/a.yaml"), [Hint::Touched("d/a.yaml".into(), Touch::MovedIn)]);
    }
}
