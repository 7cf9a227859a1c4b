//! A request for tokens from its number to its last byte: it queues, waits for what is due, writes, and
//! keeps account. Knows no dialect.

use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::SemaphorePermit;

use super::answer::{Answer, Signature, Spent};
use super::asked::{Asked, Form, Refused};
use super::connection::{Connection, Head, Next, frame, head};
use super::facts::Fact;
use super::prompt_cache::count_tokens;
use super::request_reader::Request;
use super::schedule::{Fate, Schedule, of_request};
use super::server::{Held, Server};
use super::truth_log::{End, Truth};
use crate::request::load_test::Engine;

/// An unpaced stream goes out in writes of about so many bytes.
const BATCH_BYTES: usize = 16 << 10;

/// A request on its way.
struct Delivery {
    answer: Answer,
    fate: Fate,
    schedule: Schedule,
    /// Times are due after this: when it was received, or when its turn came.
    begin: Instant,
    tokens: u64,
    close: bool,
    chunks: bool,
    truth: Truth,
}

/// Answers a request for tokens.
///
/// # Errors
/// The client went.
pub async fn answer(connection: &mut Connection, form: Form, request: Request) -> io::Result<Next> {
    let server = &*connection.server.clone();
    let refuse = |refused: Refused| Fact::json(refused.status, refused.body(&request.path));
    let mut asked = match Asked::read(form, &request.body) {
        Ok(asked) => asked,
        Err(refused) => {
            server.unstalled().await;
            return connection.tell(&refuse(refused), request.close).await;
        }
    };
    let model = server.model(asked.model.as_deref());
    let Some(prompt) = asked.prompt.clone() else {
        return load_only(connection, &model, asked.unload, request.close).await;
    };
    let context = server.options.context;
    let length = count_tokens(&prompt);
    if length > context {
        server.unstalled().await;
        return connection.tell(&refuse(Refused::too_long(length, context)), request.close).await;
    }
    asked.tokens = asked.tokens.min(context - length);

    let n = server.next_number();
    let simulation = &server.options.simulation;
    let chunks = asked.tokens.div_ceil(u64::from(simulation.tokens_per_chunk));
    let (fate, schedule) =
        of_request(server.options.seed, n, simulation, usize::try_from(chunks).unwrap_or(usize::MAX));
    let mut truth = Truth {
        id: n,
        received_us: server.micros(request.received),
        first_token_us: None,
        last_token_us: None,
        tokens: 0,
        gaps_us: Vec::new(),
        end: End::Gone,
    };
    let stalled = server.unstalled().await;
    if fate == Fate::Refused {
        truth.end = End::Refused;
        server.log(truth);
        return connection.tell(&refuse(Refused::on_purpose()), request.close).await;
    }
    let (_slot, queued) = match turn(connection, server).await {
        Ok(turn) => turn,
        Err(gone) => {
            server.log(truth);
            return Err(gone);
        }
    };
    let _running = Held::new(&server.counts.running, 1);
    let _tokens = Held::new(&server.counts.held_tokens, length + asked.tokens);
    let prompt = server.take_prompt(&prompt, asked.look_in_cache);
    let computed = prompt.all - prompt.cached;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stream = asked.stream;
    let by = Signature {
        model: &model,
        unix_seconds: now.as_secs(),
        written_time: &written_time(now),
        timings: Engine::from_name(&simulation.dialect) == Engine::LlamaCpp,
    };
    let mut delivery = Delivery {
        tokens: asked.tokens,
        answer: Answer::new(form, n, asked, prompt, by),
        fate,
        schedule: schedule.with_prompt(computed, simulation),
        begin: if stalled || queued { Instant::now() } else { request.received },
        close: request.close || !request.chunks && stream,
        chunks: request.chunks,
        truth,
    };
    let delivered = match stream {
        true => delivery.stream(connection, server).await,
        false => delivery.whole(connection, server).await,
    };
    delivery.truth.end = *delivered.as_ref().unwrap_or(&End::Gone);
    if delivery.truth.end == End::Whole {
        server.counts.answered.fetch_add(1, Relaxed);
    }
    let close = delivery.close;
    server.log(delivery.truth);
    match delivered? {
        End::Whole if !close => Ok(Next::Keep),
        End::Whole | End::Cut | End::Refused | End::Gone => Ok(Next::Close),
    }
}

/// What Ollama says to a request without a prompt.
async fn load_only(connection: &mut Connection, model: &str, unload: bool, close: bool) -> io::Result<Next> {
    if unload {
        connection.server.forget_prompts();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let reason = if unload { "unload" } else { "load" };
    let body = serde_json::json!({
        "model": model, "created_at": written_time(now), "response": "", "done": true, "done_reason": reason,
    });
    connection.server.unstalled().await;
    connection.tell(&Fact::json(200, body.to_string()), close).await
}

/// Takes a slot; whether that took waiting.
async fn turn<'a>(
    connection: &Connection,
    server: &'a Server,
) -> io::Result<(Option<SemaphorePermit<'a>>, bool)> {
    let Some(slots) = &server.slots else { return Ok((None, false)) };
    if let Ok(slot) = slots.try_acquire() {
        return Ok((Some(slot), false));
    }
    let _waiting = Held::new(&server.counts.waiting, 1);
    tokio::select! {
        slot = slots.acquire() => Ok((slot.ok(), true)),
        () = connection.gone() => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

impl Delivery {
    /// The answer in pieces. Only the first wait watches the client: a later write tells that it went.
    async fn stream(&mut self, connection: &mut Connection, server: &Server) -> io::Result<End> {
        let simulation = &server.options.simulation;
        let a_chunk = u64::from(simulation.tokens_per_chunk);
        let unpaced = simulation.itl_ms == 0.0;
        let cut = match self.fate {
            Fate::Cut { after } => Some(after),
            Fate::Answered | Fate::Refused => None,
        };
        let mut out = Vec::with_capacity(if unpaced { BATCH_BYTES * 2 } else { 2048 });
        let mut piece = Vec::with_capacity(512);
        head(&mut out, 200, self.head(None));
        self.answer.opening(&mut piece);
        if !piece.is_empty() {
            frame(&mut out, self.chunks, &piece);
        }
        self.truth.gaps_us.reserve(usize::try_from(self.tokens / a_chunk).unwrap_or_default());
        let mut sleep = pin!(tokio::time::sleep_until(self.begin.into()));
        let (mut written, mut chunks) = (0, 0);
        let mut first = None;
        loop {
            let mut due = self.begin + self.schedule.next_due();
            if due > Instant::now() {
                sleep.as_mut().reset(due.into());
                if chunks == 0 {
                    tokio::select! {
                        () = sleep.as_mut() => {}
                        () = connection.gone() => return Err(io::ErrorKind::ConnectionAborted.into()),
                    }
                } else {
                    sleep.as_mut().await;
                }
            } else if chunks > 0 {
                // Late: the other streams' turns come before this one's next.
                tokio::task::yield_now().await;
            }
            if let Some(until) = server.stalled_until() {
                server.unstalled().await;
                // Goes on at its pace, and does not catch up.
                self.begin += until.saturating_duration_since(due);
                due = until;
            }
            let (tokens_before, chunks_before) = (written, chunks);
            let now = Instant::now();
            let first_at = *first.get_or_insert(now.max(due));
            let spent = Spent {
                prompt: first_at.saturating_duration_since(self.begin),
                tokens: now.saturating_duration_since(first_at),
            };
            while written < self.tokens {
                let end = (written + a_chunk).min(self.tokens);
                piece.clear();
                self.answer.piece(&mut piece, written..end, spent);
                frame(&mut out, self.chunks, &piece);
                (written, chunks) = (end, chunks + 1);
                if !unpaced || out.len() >= BATCH_BYTES || cut == Some(chunks) {
                    break;
                }
            }
            let is_cut = cut == Some(chunks);
            if written == self.tokens && !is_cut {
                self.answer.closing(spent, |piece| frame(&mut out, self.chunks, piece.as_bytes()));
                if self.chunks {
                    out.extend_from_slice(b"0\r\n\r\n");
                }
            }
            connection.stream.write_all(&out).await?;
            let at = server.micros(Instant::now());
            out.clear();
            self.truth.mark(at, chunks - chunks_before, written - tokens_before);
            server.counts.generated_tokens.fetch_add(written - tokens_before, Relaxed);
            match (is_cut, written == self.tokens) {
                (true, _) => return Ok(End::Cut),
                (false, true) => return Ok(End::Whole),
                (false, false) => {}
            }
        }
    }

    /// The answer in one, when a stream's last piece would be due.
    async fn whole(&mut self, connection: &mut Connection, server: &Server) -> io::Result<End> {
        let first = self.schedule.next_due();
        let pieces = self.tokens.div_ceil(u64::from(server.options.simulation.tokens_per_chunk));
        let last = (1..pieces).fold(first, |_, _| self.schedule.next_due());
        let due = self.begin + last;
        if due > Instant::now() {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = connection.gone() => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        server.unstalled().await;
        let body = self.answer.whole(Spent { prompt: first, tokens: last - first });
        let mut out = Vec::with_capacity(256 + body.len());
        head(&mut out, 200, self.head(Some(body.len())));
        let end = match self.fate {
            Fate::Cut { .. } => {
                out.extend_from_slice(&body.as_bytes()[..body.len() / 2]);
                End::Cut
            }
            Fate::Answered | Fate::Refused => {
                out.extend_from_slice(body.as_bytes());
                End::Whole
            }
        };
        connection.stream.write_all(&out).await?;
        self.truth.mark(server.micros(Instant::now()), 1, self.tokens);
        server.counts.generated_tokens.fetch_add(self.tokens, Relaxed);
        Ok(end)
    }

    fn head(&self, length: Option<usize>) -> Head<'static> {
        Head {
            content_type: self.answer.content_type(),
            length,
            number: Some(self.truth.id),
            close: self.close,
            chunks: self.chunks,
        }
    }
}

impl Truth {
    /// A write with so many chunks has returned.
    fn mark(&mut self, at: u64, chunks: usize, tokens: u64) {
        if chunks == 0 || tokens == 0 {
            return;
        }
        match self.last_token_us {
            None => self.first_token_us = Some(at),
            Some(before) => self.gaps_us.push(u32::try_from(at - before).unwrap_or(u32::MAX)),
        }
        self.gaps_us.extend(std::iter::repeat_n(0, chunks - 1));
        self.last_token_us = Some(at);
        self.tokens += tokens;
    }
}

/// As Ollama writes a time.
fn written_time(since_epoch: Duration) -> String {
    let nanoseconds = i128::try_from(since_epoch.as_nanos()).unwrap_or_default();
    jiff::Timestamp::from_nanosecond(nanoseconds).unwrap_or_default().to_string()
}
