//! The end of a load before its time: a flag, and whoever waits for something is woken to see it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Ends measuring: requests in flight are recorded as cancelled. Clones are the same.
#[derive(Clone, Default)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

impl Stop {
    pub fn stop(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    pub fn is_stopped(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// What the work gives; `None` where the stop comes first, and the work is dropped.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        // Listening comes before looking, so that no stop falls between the two.
        let stopped = self.notify.notified();
        if self.is_stopped() {
            return None;
        }
        tokio::select! {
            // Work that is done at once costs no more than it did.
            biased;
            done = work => Some(done),
            () = stopped => None,
        }
    }

    /// Wakes the work when the load is stopped, and no more: it sees the flag for itself and ends its way.
    pub async fn waking<T>(self, work: impl Future<Output = T>) -> T {
        let mut stopped = pin!(self.notify.notified());
        let mut work = pin!(work);
        let mut listens = false;
        std::future::poll_fn(move |context| {
            // Once is enough: the waker of a task stays the same.
            if !listens {
                listens = true;
                if stopped.as_mut().poll(context).is_ready() {
                    context.waker().wake_by_ref();
                }
            }
            work.as_mut().poll(context)
        })
        .await
    }
}
