//! Waiting for something to become so, with a deadline: tests sleep for nothing else.

use std::future::Future;
use std::time::{Duration, Instant};

/// Looks again and again until `look` has something; panics with `what` when it takes too long.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited a minute in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
