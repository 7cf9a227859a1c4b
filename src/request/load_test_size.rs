//! How large a load test may be, how many cases it has, and how long it takes at least.

use super::load_test::{Amount, LoadShape, LoadTest, Prompts};
use super::quantities::spoken_time;

/// Most entries of a list that makes a matrix.
pub const MOST_ENTRIES: usize = 100;
/// Most cases of a run, repeats included.
pub const MOST_CASES: u64 = 10_000;
pub const MOST_CONCURRENT: u32 = 100_000;
pub const MOST_REQUESTS: u32 = 10_000_000;
/// Of a prompt or an answer.
pub const MOST_TOKENS: u32 = 1_000_000;
pub const MOST_REPEATS: u32 = 1_000;
pub const MOST_WARMUPS: u32 = 10_000;
/// More of them belong into a file.
pub const MOST_INLINE_PROMPTS: usize = 1_000;

/// Why a load test cannot be as large, and what may help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    pub message: String,
    pub hint: String,
}

impl LoadTest {
    /// Cases of one run: every combination of its lists, so many times as it is repeated. Of conversations,
    /// the cases that each of them makes.
    pub fn cases(&self) -> u64 {
        let models: u64 = self.targets.iter().map(|target| count(target.models.len())).sum();
        let loads = match &self.load.shape {
            LoadShape::Closed { concurrency } => concurrency.len(),
            LoadShape::Open { rates, .. } => rates.len(),
        };
        let amounts = match &self.load.amount {
            Amount::Requests(requests) => requests.len(),
            Amount::DurationMs(_) => 1,
        };
        let lengths = match &self.prompts {
            Prompts::Synthetic(synthetic) => synthetic.input_tokens.len(),
            // How many conversations there are is known once their files are read.
            Prompts::Conversations(all) => all.prefix_cache.len(),
            Prompts::Builtin | Prompts::Inline(_) | Prompts::File(_) => 1,
        };
        [count(loads), count(amounts), count(lengths), u64::from(self.repeats)]
            .into_iter()
            .fold(models, u64::saturating_mul)
    }

    /// The least time that its cases and the pauses between them take, in milliseconds; a ramp is
    /// part of its case's duration. `None` where cases end by their number of requests.
    pub fn planned_ms(&self) -> Option<u64> {
        match &self.load.amount {
            Amount::Requests(_) => None,
            Amount::DurationMs(duration) => {
                let cases = self.cases();
                let pauses = self.pause_ms.saturating_mul(cases.saturating_sub(1));
                Some(duration.saturating_mul(cases).saturating_add(pauses))
            }
        }
    }

    /// Whether its fields fit together and it is small enough to be carried out.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check_size(&self) -> Result<(), Misfit> {
        let cases = self.cases();
        if cases > MOST_CASES {
            return Err(Misfit {
                message: format!("the lists and repeats make {cases} cases; at most {MOST_CASES} are taken"),
                hint: "shorten a list, or write several requests".to_owned(),
            });
        }
        match &self.load.amount {
            Amount::DurationMs(duration) if self.load.ramp_up_ms >= *duration => Err(Misfit {
                message: format!(
                    "the ramp-up of {} leaves nothing of the duration of {}",
                    spoken_time(self.load.ramp_up_ms),
                    spoken_time(*duration)
                ),
                hint: "a case's duration begins with its ramp-up; make it longer".to_owned(),
            }),
            Amount::DurationMs(_) | Amount::Requests(_) => Ok(()),
        }
    }

    /// Whether it can end within a time-out.
    ///
    /// # Errors
    /// Both times, where it cannot.
    pub fn check_timeout(&self, timeout_ms: u64) -> Result<(), Misfit> {
        match self.planned_ms() {
            Some(planned) if timeout_ms < planned => Err(Misfit {
                message: format!(
                    "the timeout of {} is below the planned duration of {} ({} cases)",
                    spoken_time(timeout_ms),
                    spoken_time(planned),
                    self.cases()
                ),
                hint: format!(
                    "a timeout above {}, which also leaves time for warm-up and the last answers",
                    spoken_time(planned)
                ),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// What a list left out stands for is one.
fn count(entries: usize) -> u64 {
    u64::try_from(entries.max(1)).unwrap_or(u64::MAX)
}
