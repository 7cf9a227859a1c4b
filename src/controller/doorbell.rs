//! Tells the loop that somebody wrote into the database: a command of another process, most likely. The
//! ring says nothing of what; the store is asked.

use std::path::Path;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How often the store is asked where nothing rings, and where the bell works.
const WITHOUT: Duration = Duration::from_millis(250);
const BESIDE: Duration = Duration::from_secs(5);

pub struct Doorbell {
    rings: mpsc::Receiver<()>,
    /// Kept, because its drop ends the watch.
    watcher: Option<RecommendedWatcher>,
    next: tokio::time::Interval,
}

impl Doorbell {
    /// Watches the database's log in the state directory. Where that cannot be watched, it rings by the
    /// clock alone.
    pub fn new(state: &Path) -> Self {
        let (ring, rings) = mpsc::channel(1);
        let handler = move |event: notify::Result<notify::Event>| {
            let written = event.is_ok_and(|event| {
                matches!(event.kind, EventKind::Modify(_) | EventKind::Create(_))
                    && event.paths.iter().any(|path| path.extension().is_some_and(|end| end == "db-wal"))
            });
            // One that is not answered yet rings for this one too.
            if written && ring.try_send(()).is_err() {
                tracing::trace!("the bell rings already");
            }
        };
        let watcher = notify::recommended_watcher(handler).and_then(|mut watcher| {
            watcher.watch(state, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::debug!(%error, "the database is looked at by the clock");
        }
        let mut next = tokio::time::interval(if watcher.is_ok() { BESIDE } else { WITHOUT });
        next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self { rings, watcher: watcher.ok(), next }
    }

    /// Waits for the next ring. May be dropped at any time.
    pub async fn rung(&mut self) {
        if self.watcher.is_none() {
            self.next.tick().await;
            return;
        }
        tokio::select! {
            // The sender lives as long as the watcher.
            _ = self.rings.recv() => {}
            _ = self.next.tick() => {}
        }
    }
}
