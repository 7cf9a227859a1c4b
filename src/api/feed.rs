//! What happens, told once to all who listen: each event of the store with its number, the state of the requests
//! that it is about, and how far runs are. Waits for the store to ring; only while somebody listens to a run in
//! progress does it look by the clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::run_lines;
use crate::controller::context::Context;
use crate::controller::doorbell::Doorbell;
use crate::report::phase_summary;
use crate::run::phase::Phase;
use crate::store::events::NumberedEvent;
use crate::store::overview::RequestSummary;
use crate::store::{CommitWatcher, StoreError};

/// Messages that a listener may be behind. One that is further behind is let go, and comes back with the number
/// of the last event that it got.
const MOST_BEHIND: usize = 512;
/// Events that are read at once.
const PAGE: u32 = 200;
/// How often a run in progress is looked at, while somebody listens.
const PROGRESS: Duration = Duration::from_secs(1);

/// One thing to tell.
#[derive(Debug, Clone)]
pub struct Message {
    /// The number of an event; what is only a state has none.
    pub id: Option<i64>,
    pub kind: &'static str,
    pub request: Option<String>,
    pub run: Option<String>,
    pub data: Arc<str>,
}

/// Where listeners come.
pub struct Feed {
    /// Changes whenever the store does.
    changes: watch::Sender<u64>,
    live: broadcast::Sender<Message>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { changes: watch::Sender::new(0), live: broadcast::Sender::new(MOST_BEHIND) }
    }
}

impl Feed {
    /// Wakes at every change of the store from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn listen(&self) -> broadcast::Receiver<Message> {
        self.live.subscribe()
    }

    /// Tells until the shutdown.
    pub async fn run(&self, context: &Context, shutdown: &CancellationToken) {
        let mut teller = match Teller::new(self, context) {
            Ok(teller) => teller,
            Err(error) => {
                tracing::warn!(%error, "live events are not to be had");
                return;
            }
        };
        let mut doorbell = Doorbell::new(&context.settings.state);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = doorbell.rung() => {}
                () = tokio::time::sleep(PROGRESS), if teller.in_progress => {}
            }
            if let Err(error) = teller.look() {
                tracing::warn!(%error, "what has happened could not be read");
            }
        }
    }
}

struct Teller<'f> {
    feed: &'f Feed,
    context: &'f Context,
    watcher: CommitWatcher,
    /// The newest event that was told.
    last: i64,
    progress: HashMap<Uuid, String>,
    /// Somebody listens, and something runs.
    in_progress: bool,
}

impl<'f> Teller<'f> {
    fn new(feed: &'f Feed, context: &'f Context) -> Result<Self, StoreError> {
        let store = &context.store;
        let (watcher, last) = (store.watcher()?, store.newest_event()?);
        Ok(Self { feed, context, watcher, last, progress: HashMap::new(), in_progress: false })
    }

    fn look(&mut self) -> Result<(), StoreError> {
        if self.watcher.changed() {
            self.feed.changes.send_modify(|number| *number += 1);
            self.tell_events()?;
        }
        self.in_progress = self.feed.live.receiver_count() > 0 && self.tell_progress()?;
        Ok(())
    }

    fn tell_events(&mut self) -> Result<(), StoreError> {
        let mut touched = BTreeSet::new();
        loop {
            let events = self.context.store.events_after(self.last, PAGE)?;
            let whole_page = events.len() == PAGE as usize;
            for event in events {
                self.last = event.id;
                touched.extend(event.request.clone());
                self.tell(of_event(event));
            }
            if !whole_page {
                break;
            }
        }
        if self.feed.live.receiver_count() > 0 {
            for name in touched {
                for request in self.context.store.request_summaries(Some(&name))? {
                    self.tell(of_request(&request));
                }
            }
        }
        Ok(())
    }

    /// Whether anything is in progress.
    fn tell_progress(&mut self) -> Result<bool, StoreError> {
        let open = self.context.store.open_runs()?;
        let running: Vec<_> = open.into_iter().filter(|row| row.state.phase() != Phase::Pending).collect();
        self.progress.retain(|id, _| running.iter().any(|row| row.id == *id));
        for row in &running {
            let progress = run_lines::progress(self.context, row);
            let text = progress.to_string();
            if self.progress.get(&row.id) != Some(&text) {
                self.progress.insert(row.id, text);
                let run = row.id.to_string();
                let data = json!({ "request": row.request, "run": run, "progress": progress });
                let request = Some(row.request.clone());
                let (run, data) = (Some(run), data.to_string().into());
                self.tell(Message { id: None, kind: "progress", request, run, data });
            }
        }
        Ok(!running.is_empty())
    }

    fn tell(&self, message: Message) {
        // Nobody listens: whoever comes later reads the store.
        drop(self.feed.live.send(message));
    }
}

pub fn of_event(event: NumberedEvent) -> Message {
    let data = json!({
        "id": event.id,
        "at": event.at,
        "request": event.request,
        "run": event.run,
        "reason": event.reason,
        "message": event.message,
    });
    let (request, run) = (event.request, event.run);
    Message { id: Some(event.id), kind: "event", request, run, data: data.to_string().into() }
}

pub fn of_request(request: &RequestSummary) -> Message {
    let run = request.run.as_ref().map(|run| run.id.to_string());
    let data = request_line(request).to_string().into();
    Message { id: None, kind: "status", request: Some(request.name.clone()), run, data }
}

/// A request in a list.
pub fn request_line(request: &RequestSummary) -> Value {
    let summary = phase_summary::of_request(request);
    json!({
        "name": request.name,
        "kind": request.kind,
        "path": request.path,
        "generation": request.generation,
        "phase": summary.phase,
        "reason": summary.reason,
        "message": summary.message,
        "hint": summary.hint,
        "created_at": request.created_at,
        "run": request.run.as_ref().map(|run| json!({
            "id": run.id,
            "service_name": run.service,
            "status": run.state.phase().as_legacy_status(),
            "headline": run.headline,
            "pp_avg_ts": run.pp_avg_ts,
            "tg_avg_ts": run.tg_avg_ts,
            "simulated": run.simulated,
            "created_at": run.created_at,
            "completed_at": run.completed_at,
        })),
    })
}
