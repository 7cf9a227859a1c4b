//! One request and its answer on a lane, timed: what is sent when, what comes when, and why it failed
//! where it did. Every request that begins gives a record.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::Sleep;

use super::lane::Lane;
use super::pace::Clock;
use super::stop::Stop;
use crate::engine::answer::{Answer, KeptText, fault};
use crate::engine::connection::Connection;
use crate::engine::wire::{Prepared, SALT_LENGTH, Wire};
use crate::run::request_record::{ErrorKind, Record, RequestError};

/// A request's bytes beyond this are given back once they are sent: a thousand long prompts are much.
const KEPT: usize = 64 << 10;

/// What all requests of a case share.
pub struct Shared {
    pub wire: Arc<Wire>,
    pub clock: Clock,
    pub timeout: Duration,
    pub stop: Stop,
}

/// One request to make.
pub struct Order<'a> {
    pub prepared: &'a Prepared,
    pub salt: [u8; SALT_LENGTH],
    /// Index, number, warm-up and schedule.
    pub record: Record,
    pub kept: KeptText,
}

/// How reading ended without a whole answer.
enum Ended {
    Timeout,
    Stopped,
    /// The server had closed a kept connection before it saw the request.
    Stale,
    Failed(RequestError),
}

/// Makes the request. `clock` is that of the case.
pub async fn perform(shared: &Shared, lane: &mut Lane, order: Order<'_>) -> Record {
    let Order { prepared, salt, mut record, kept } = order;
    record.max_tokens = prepared.max_tokens;
    let mut deadline = pin!(tokio::time::sleep(shared.timeout));
    loop {
        match shared.stop.unless_stopped(lane.connect(shared.timeout)).await {
            Some(Ok(opened)) => record.reconnected |= opened,
            Some(Err(error)) => {
                record.sent_us = shared.clock.now_us();
                record.error = Some(fault(ErrorKind::Connect, &error.0));
                return record;
            }
            None => {
                record.sent_us = shared.clock.now_us();
                record.error = Some(cancelled());
                return record;
            }
        }
        prepared.write(salt, &mut lane.out);
        record.sent_us = shared.clock.now_us();
        let sent_us = record.sent_us;
        // So there is a second attempt, and never a third.
        let may_be_stale = !record.reconnected;
        let mut answer = Answer::new(&shared.wire, prepared, record.clone(), kept);
        let ended = attempt(shared, lane, &mut answer, deadline.as_mut(), sent_us, may_be_stale).await;
        let end_us = shared.clock.now_us().saturating_sub(sent_us);
        let error = match ended {
            Ok(()) => None,
            Err(Ended::Stale) => {
                lane.connection = None;
                continue;
            }
            // A status that is no success says more than how its answer ended.
            Err(Ended::Failed(error)) => Some(answer.refused().unwrap_or(error)),
            Err(Ended::Stopped) => Some(cancelled()),
            Err(Ended::Timeout) => {
                let seconds = shared.timeout.as_secs_f64();
                Some(if let Some(refused) = answer.refused() {
                    refused
                } else if answer.has_token() {
                    let words = format!("tokens came, the end did not within {seconds} s");
                    fault(ErrorKind::TimeoutStream, &words)
                } else {
                    fault(ErrorKind::TimeoutFirstToken, &format!("no token came within {seconds} s"))
                })
            }
        };
        // Not after every error: a server that says 429 a thousand times a second would use up the ports.
        if !answer.can_reuse() {
            lane.connection = None;
        }
        return answer.into_record(end_us, error);
    }
}

async fn attempt(
    shared: &Shared,
    lane: &mut Lane,
    answer: &mut Answer<'_>,
    mut deadline: Pin<&mut Sleep>,
    sent_us: u64,
    may_be_stale: bool,
) -> Result<(), Ended> {
    let left = deadline.deadline().saturating_duration_since(tokio::time::Instant::now());
    let left_us = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
    let Lane { connection, out, buffer, .. } = lane;
    let Some(connection) = connection else {
        return Err(Ended::Failed(fault(ErrorKind::Connect, "there is no connection")));
    };
    {
        let mut sending = pin!(connection.send(out));
        let sent = poll_fn(|context| match sending.as_mut().poll(context) {
            Poll::Ready(sent) => Poll::Ready(sent.map_err(|error| lost(&error, may_be_stale))),
            Poll::Pending => interrupted(shared, deadline.as_mut(), context).map(Err),
        });
        sent.await?;
    }
    if out.capacity() > KEPT {
        *out = Vec::new();
    }
    let mut buffer_of = |connection: &mut Connection, context: &mut Context<'_>| -> Poll<Result<(), Ended>> {
        let mut bytes = buffer.borrow_mut();
        loop {
            let mut into = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *connection).poll_read(context, &mut into) {
                Poll::Pending => return interrupted(shared, deadline.as_mut(), context).map(Err),
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(lost(&error, may_be_stale && !answer.has_begun())));
                }
                Poll::Ready(Ok(())) => {
                    let at_us = shared.clock.now_us() - sent_us;
                    let read = into.filled();
                    if read.is_empty() {
                        let stale = may_be_stale && !answer.has_begun();
                        let ended = answer
                            .closed(at_us)
                            .map_err(|error| if stale { Ended::Stale } else { Ended::Failed(error) });
                        return Poll::Ready(ended);
                    }
                    match answer.feed(read, at_us) {
                        Ok(true) => return Poll::Ready(Ok(())),
                        // A server that never pauses leaves the timer no turn.
                        Ok(false) if at_us > left_us => return Poll::Ready(Err(Ended::Timeout)),
                        Ok(false) => {}
                        Err(error) => return Poll::Ready(Err(Ended::Failed(error))),
                    }
                }
            }
        }
    };
    poll_fn(|context| buffer_of(connection, context)).await
}

fn cancelled() -> RequestError {
    fault(ErrorKind::Cancelled, "the run was stopped")
}

/// Whether the time is over or the run is being stopped.
fn interrupted(shared: &Shared, deadline: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Ended> {
    if shared.stop.is_stopped() {
        return Poll::Ready(Ended::Stopped);
    }
    deadline.poll(context).map(|()| Ended::Timeout)
}

fn lost(error: &io::Error, may_be_stale: bool) -> Ended {
    let closed = matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            // How TLS calls an end without a farewell.
            | io::ErrorKind::UnexpectedEof
    );
    if closed && may_be_stale {
        return Ended::Stale;
    }
    Ended::Failed(fault(ErrorKind::CutStream, &format!("the connection was lost: {error}")))
}
