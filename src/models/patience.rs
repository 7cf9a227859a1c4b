//! How often something is tried that may be better the next time, and how long is waited in between.

use std::time::Duration;

use super::error::ModelError;
use super::http::Trouble;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// Longest wait that a server is granted.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// Tries in a row that came to nothing.
#[derive(Debug, Clone)]
pub struct Patience {
    pub tries: u32,
}

impl Patience {
    /// Waits after the `failed`-th failure in a row, from 1.
    ///
    /// # Errors
    /// It was the last try.
    pub async fn wait(
        &self,
        what: &str,
        failed: u32,
        words: String,
        asked: Option<Duration>,
        reached: bool,
    ) -> Result<(), ModelError> {
        if failed >= self.tries {
            let what = what.to_owned();
            return Err(if reached {
                ModelError::Broken { what, tries: failed, words }
            } else {
                ModelError::Unreachable { what, words }
            });
        }
        tokio::time::sleep(pause(failed, asked)).await;
        Ok(())
    }

    /// Tries until it succeeds, fails for good, or was tried often enough.
    ///
    /// # Errors
    /// What it failed by.
    pub async fn with<T, F>(&self, what: &str, mut work: impl FnMut() -> F) -> Result<T, ModelError>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        for failed in 1.. {
            match work().await {
                Ok(done) => return Ok(done),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing { words, wait, reached }) => {
                    self.wait(what, failed, words, wait, reached).await?;
                }
            }
        }
        Err(ModelError::Cancelled)
    }
}

fn pause(failed: u32, asked: Option<Duration>) -> Duration {
    let own = FIRST.saturating_mul(1 << failed.saturating_sub(1).min(10)).min(LONGEST);
    asked.map_or(own, |asked| asked.min(LONGEST_ASKED).max(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_a_server_may_ask_for_a_longer_one() {
        let ms = |failed, asked: Option<u64>| pause(failed, asked.map(Duration::from_secs)).as_millis();
        assert_eq!([1, 2, 3, 20].map(|failed| ms(failed, None)), [250, 500, 1_000, 30_000]);
        assert_eq!((ms(1, Some(5)), ms(1, Some(3_600)), ms(6, Some(0))), (5_000, 120_000, 8_000));
    }
}
