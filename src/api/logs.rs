//! `GET /api/benchmarks/{id}/logs`: a run's output while it comes, from where a client's stream broke off.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::error::ApiError;
use super::events::{last_event_id, sse};
use super::extract::Named;
use super::operation::{Content, Operation};
use super::runs::find;
use super::state::{Api, Stored};
use crate::controller::run_output::{self, RunOutput};
use crate::report::phase_summary;
use crate::run::phase::Phase;
use crate::store::runs::RunRow;

/// How often the spool of a run in progress is looked at, once for all who follow it.
const LOOK: Duration = Duration::from_millis(200);
/// Pieces that are read at once.
const PIECES: usize = 8;
/// The end of an id once everything was sent.
const END: &str = "-end";

pub fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            "get",
            "/api/benchmarks/{id}/logs",
            "live",
            "A run's output, as server-sent events",
            get(follow),
        )
        .path_parameter("id", "The run's id, or its first eight characters or more")
        .header("Last-Event-ID", "The id of the last event that came; what was written after it comes next")
        .answer(
            200,
            "`log` {launch, stream, text} with a place as its id, `status` {status, phase, reason, message} when it \
             changes, `end` last",
            Content::Events,
        )
        .answer(204, "Everything has come before: do not call again", Content::Nothing)
        .refuses(404, "There is no such run."),
    ]
}

async fn follow(
    State(api): State<Api>,
    Named(id): Named<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let row = find(&api, id).await?;
    let spool = api.context.spool_root();
    let output = match last_event_id(&headers).filter(|id| !id.is_empty()) {
        None => RunOutput::new(&spool, row.id),
        Some(place) if place.ends_with(END) => return Ok(StatusCode::NO_CONTENT.into_response()),
        Some(place) => RunOutput::at(&spool, row.id, place)
            .ok_or_else(|| ApiError::bad_request("Last-Event-ID is the id of an event of this stream"))?,
    };
    let changes = api.feed.changes();
    let following = Following {
        changes,
        growth: None,
        output,
        run: row.id,
        status: None,
        printed: false,
        waiting: VecDeque::new(),
        ended: false,
        api,
    };
    Ok(sse(following.into_stream()))
}

struct Following {
    api: Api,
    run: Uuid,
    output: RunOutput,
    changes: watch::Receiver<u64>,
    /// Of the spool, while the run is in progress.
    growth: Option<watch::Receiver<u64>>,
    /// The phase that was told last.
    status: Option<Phase>,
    printed: bool,
    waiting: VecDeque<Event>,
    ended: bool,
}

impl Following {
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold(self, |mut following| async move {
            loop {
                if let Some(event) = following.waiting.pop_front() {
                    return Some((Ok(event), following));
                }
                if following.ended {
                    return None;
                }
                following.look().await;
            }
        })
    }

    /// Fills what waits, or waits for something to read.
    async fn look(&mut self) {
        // Before it is read: what comes after wakes.
        self.changes.mark_unchanged();
        if let Some(growth) = &mut self.growth {
            growth.mark_unchanged();
        }
        let (run, mut output) = (self.run, self.output.clone());
        let looked = self
            .api
            .ask(move |store| -> Stored<_> {
                // Its end is looked at before its output: what was written before it is then all there is.
                let Some(row) = store.run(run)? else { return Ok(None) };
                let ended = row.state.phase().is_terminal();
                let mut events = Vec::new();
                while events.len() < PIECES {
                    match output.next(&row, ended) {
                        Ok(Some(piece)) => {
                            let data = json!({
                                "launch": piece.launch, "stream": piece.stream, "text": piece.text,
                            });
                            let event = Event::default().event("log").id(output.position());
                            events.push(event.data(data.to_string()));
                        }
                        Ok(None) => break,
                        Err(error) => {
                            tracing::warn!(%error, "a run's output cannot be read");
                            break;
                        }
                    }
                }
                Ok(Some((row, events, output)))
            })
            .await;
        let Ok(Some((row, events, output))) = looked else {
            // Deleted meanwhile, or the store does not answer: the client comes back and is told.
            self.ended = true;
            return;
        };
        self.output = output;
        let (phase, nothing_new) = (row.state.phase(), events.is_empty());
        let told = self.status.replace(phase) != Some(phase);
        if told && !phase.is_terminal() {
            self.waiting.push_back(status_of(&row, "status"));
        }
        self.printed |= !nothing_new;
        self.waiting.extend(events);
        if phase.is_terminal() && nothing_new {
            self.say_goodbye(&row);
        } else if self.waiting.is_empty() {
            self.wait(phase).await;
        }
    }

    /// Waits until there may be more.
    async fn wait(&mut self, phase: Phase) {
        if phase == Phase::Pending {
            self.growth = None;
        } else if self.growth.is_none() {
            self.growth = Some(self.api.growth.of(self.api.context.spool_root(), self.run));
            // It may have grown between the last look and this.
            return;
        }
        let growth = &mut self.growth;
        let grown = async {
            match growth {
                Some(growth) => drop(growth.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.api.shutdown.cancelled() => self.ended = true,
            // The feed goes with the server.
            changed = self.changes.changed() => self.ended = changed.is_err(),
            () = grown => {}
        }
    }

    fn say_goodbye(&mut self, row: &RunRow) {
        if let Some(tail) = row.tail.as_ref().filter(|tail| !self.printed && !tail.is_empty()) {
            let data = json!({ "launch": null, "stream": "tail", "text": tail });
            self.waiting.push_back(Event::default().event("log").data(data.to_string()));
        }
        let id = format!("{}{END}", self.output.position());
        self.waiting.push_back(status_of(row, "end").id(id));
        self.ended = true;
    }
}

fn status_of(row: &RunRow, kind: &str) -> Event {
    let summary = phase_summary::of_run(row.spec.kind(), &row.state);
    let data = json!({
        "status": row.state.phase().as_legacy_status(),
        "phase": summary.phase,
        "reason": summary.reason,
        "message": summary.message,
    });
    Event::default().event(kind).data(data.to_string())
}

/// Looks at the spools of runs that are followed, once for all followers of each.
#[derive(Clone, Default)]
pub struct Growth {
    runs: Arc<Mutex<HashMap<Uuid, watch::Sender<u64>>>>,
}

impl Growth {
    /// Changes when the run's output has grown.
    fn of(&self, spool: PathBuf, run: Uuid) -> watch::Receiver<u64> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = runs.get(&run) {
            return sender.subscribe();
        }
        let sender = watch::Sender::new(run_output::size(&spool, run));
        let receiver = sender.subscribe();
        runs.insert(run, sender);
        let growth = self.clone();
        tokio::spawn(async move {
            while growth.look(&spool, run) {
                tokio::time::sleep(LOOK).await;
            }
        });
        receiver
    }

    /// Whether anybody follows it still.
    fn look(&self, spool: &std::path::Path, run: Uuid) -> bool {
        let size = run_output::size(spool, run);
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = runs.get(&run).filter(|sender| sender.receiver_count() > 0) else {
            runs.remove(&run);
            return false;
        };
        sender.send_if_modified(|known| std::mem::replace(known, size) != size);
        true
    }
}
