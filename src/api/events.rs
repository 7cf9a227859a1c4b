//! `GET /api/events`: what happens, as a stream that can be taken up again where it broke off.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use super::extract::Query;
use super::feed::{self, Message};
use super::operation::{Content, Operation, schema};
use super::state::{Api, Stored};
use crate::store::Store;

/// Events from before that a stream begins with at most.
const MOST_BACKLOG: u32 = 1_000;
/// A sign of life, so that proxies keep a quiet stream open.
const ALIVE: Duration = Duration::from_secs(15);

pub fn operations() -> Vec<Operation> {
    vec![
        Operation::new("get", "/api/events", "live", "What happens, as server-sent events", get(follow))
            .query("request", "Of one request", schema::text())
            .query("run", "Of one run", schema::text())
            .query("since", "The number of the last event that is known; Last-Event-ID goes ahead", schema::of("integer"))
            .header("Last-Event-ID", "The number of the last event that came; those after it come first")
            .answer(
                200,
                "`event` has a number as its id; `status` (a request's state) and `progress` (a run's) have none; \
                 `gap` says that older events were left out",
                Content::Events,
            ),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    request: Option<String>,
    run: Option<String>,
    since: Option<String>,
}

async fn follow(
    State(api): State<Api>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let known = last_event_id(&headers).or(which.since.as_deref()).filter(|text| !text.is_empty());
    let known = match known {
        None => None,
        Some(text) => Some(text.parse::<i64>().ok().filter(|id| *id >= 0).ok_or_else(|| {
            ApiError::bad_request("Last-Event-ID (or since) is the number of an event of this stream")
        })?),
    };
    // Before the store is read, so that nothing falls between the two.
    let live = api.feed.listen();
    let (first, told) = api.ask(move |store| beginning(store, known)).await?;
    let following = Following { waiting: first.into(), live, told, which, shutdown: api.shutdown.clone() };
    Ok(sse(following.into_stream()))
}

/// What there is to tell at first: the events since then, the state of what is in progress.
fn beginning(store: &Store, known: Option<i64>) -> Stored<(Vec<Message>, i64)> {
    let newest = store.newest_event()?;
    let mut messages = Vec::new();
    // A number from another life of the database is none of this one.
    if let Some(known) = known.filter(|known| *known < newest) {
        let from = known.max(newest.saturating_sub(i64::from(MOST_BACKLOG)));
        if from > known {
            let data = format!("{{\"left_out\":{}}}", from - known).into();
            messages.push(Message { id: None, kind: "gap", request: None, run: None, data });
        }
        messages.extend(store.events_after(from, MOST_BACKLOG)?.into_iter().map(feed::of_event));
    }
    for row in store.open_runs()? {
        let requests = store.request_summaries(Some(&row.request))?;
        messages.extend(requests.iter().map(feed::of_request));
    }
    let told = messages.iter().filter_map(|message| message.id).max().unwrap_or(newest);
    Ok((messages, told))
}

struct Following {
    waiting: VecDeque<Message>,
    live: broadcast::Receiver<Message>,
    /// The newest event that was told or is waiting.
    told: i64,
    which: Which,
    shutdown: CancellationToken,
}

impl Following {
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold(self, |mut following| async move {
            let message = following.next().await?;
            let event = Event::default().event(message.kind).data(&*message.data);
            let event = match message.id {
                Some(id) => event.id(id.to_string()),
                None => event,
            };
            Some((Ok(event), following))
        })
    }

    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                if self.wants(&message) {
                    return Some(message);
                }
                continue;
            }
            let message = tokio::select! {
                () = self.shutdown.cancelled() => return None,
                // Too far behind: it comes back with the number of the last event that it got.
                message = self.live.recv() => message.ok()?,
            };
            if message.id.is_some_and(|id| id <= self.told) {
                continue;
            }
            self.told = message.id.unwrap_or(self.told);
            if self.wants(&message) {
                return Some(message);
            }
        }
    }

    fn wants(&self, message: &Message) -> bool {
        let fits = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        message.kind == "gap"
            || (fits(&self.which.request, &message.request) && fits(&self.which.run, &message.run))
    }
}

/// Where a client's stream broke off.
pub fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    // One that is no text is none that was given out.
    headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"))
}

/// A stream as an answer.
pub fn sse(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: i64, request: &str) -> Message {
        let request = Some(request.to_owned());
        Message { id: Some(id), kind: "event", request, run: None, data: "{}".into() }
    }

    fn following(live: broadcast::Receiver<Message>, request: Option<&str>) -> Following {
        let which = Which { request: request.map(str::to_owned), run: None, since: None };
        Following { waiting: VecDeque::new(), live, told: 0, which, shutdown: CancellationToken::new() }
    }

    #[tokio::test]
    async fn a_listener_that_is_too_far_behind_is_let_go_and_nobody_waits_for_it() {
        let (sender, receiver) = broadcast::channel(4);
        let mut slow = following(receiver, None);
        let mut quick = following(sender.subscribe(), None);
        for id in 1..=20 {
            sender.send(event(id, "a")).unwrap();
            assert_eq!(quick.next().await.unwrap().id, Some(id));
        }
        assert!(slow.next().await.is_none());
    }

    #[tokio::test]
    async fn what_was_told_from_the_store_is_not_told_again() {
        let (sender, receiver) = broadcast::channel(16);
        let mut listener = following(receiver, Some("a"));
        listener.waiting = [event(1, "a"), event(2, "b"), event(3, "a")].into();
        listener.told = 3;
        for (id, request) in [(2, "b"), (3, "a"), (4, "b"), (5, "a")] {
            sender.send(event(id, request)).unwrap();
        }
        drop(sender);
        let mut told = Vec::new();
        while let Some(message) = listener.next().await {
            told.extend(message.id);
        }
        assert_eq!(told, [1, 3, 5]);
    }

    #[tokio::test]
    async fn a_shutdown_ends_every_stream() {
        let (_sender, receiver) = broadcast::channel(1);
        let mut listener = following(receiver, None);
        listener.shutdown.cancel();
        assert!(listener.next().await.is_none());
    }
}
