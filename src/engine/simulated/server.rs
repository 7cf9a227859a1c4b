//! What the connections of a stand-in share: its options, numbers, counts, cache, queue and stall.
//! Speaks to nobody.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::Options;
use super::prompt_cache::{PromptCache, PromptTokens};
use super::truth_log::Truth;

#[derive(Debug)]
pub struct Server {
    pub options: Options,
    pub started: Instant,
    /// `None`: any number at a time.
    pub slots: Option<Semaphore>,
    pub counts: Counts,
    numbers: AtomicU64,
    cache: Mutex<PromptCache>,
    /// Microseconds since the start; 0: never.
    stalled_until: AtomicU64,
    log: Option<SyncSender<Truth>>,
}

/// For `/metrics`. The last five only grow.
#[derive(Debug, Default)]
pub struct Counts {
    pub running: AtomicU64,
    pub waiting: AtomicU64,
    /// Tokens of prompts and answers that run now.
    pub held_tokens: AtomicU64,
    pub prompt_tokens: AtomicU64,
    pub cached_tokens: AtomicU64,
    pub generated_tokens: AtomicU64,
    pub answered: AtomicU64,
}

/// Counts for as long as it lives, however its request ends.
pub struct Held<'a> {
    count: &'a AtomicU64,
    amount: u64,
}

impl<'a> Held<'a> {
    pub fn new(count: &'a AtomicU64, amount: u64) -> Self {
        count.fetch_add(amount, Relaxed);
        Self { count, amount }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(self.amount, Relaxed);
    }
}

impl Server {
    pub fn new(options: Options, log: Option<SyncSender<Truth>>) -> Self {
        let slots = options.simulation.slots as usize;
        Self {
            slots: (slots > 0).then(|| Semaphore::new(slots)),
            options,
            started: Instant::now(),
            counts: Counts::default(),
            numbers: AtomicU64::new(0),
            cache: Mutex::default(),
            stalled_until: AtomicU64::new(0),
            log,
        }
    }

    /// The next request's number, from 0. The one behind those that are taken begins the stall.
    pub fn next_number(&self) -> u64 {
        let n = self.numbers.fetch_add(1, Relaxed);
        if self.options.stall_after == Some(n) {
            let until = Instant::now() + Duration::from_millis(self.options.stall_ms);
            self.stalled_until.store(self.micros(until), Relaxed);
        }
        n
    }

    /// Until when nothing is answered.
    pub fn stalled_until(&self) -> Option<Instant> {
        match self.stalled_until.load(Relaxed) {
            0 => None,
            until => Some(self.started + Duration::from_micros(until)).filter(|at| *at > Instant::now()),
        }
    }

    /// Waits for the end of a stall; whether there was one.
    pub async fn unstalled(&self) -> bool {
        match self.stalled_until() {
            Some(until) => {
                tokio::time::sleep_until(until.into()).await;
                true
            }
            None => false,
        }
    }

    /// Microseconds since the start.
    pub fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_micros()).unwrap_or(u64::MAX)
    }

    pub fn take_prompt(&self, prompt: &str, look: bool) -> PromptTokens {
        let tokens = self.cache.lock().unwrap_or_else(PoisonError::into_inner).take(prompt, look);
        self.counts.prompt_tokens.fetch_add(tokens.all, Relaxed);
        self.counts.cached_tokens.fetch_add(tokens.cached, Relaxed);
        tokens
    }

    pub fn forget_prompts(&self) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).forget();
    }

    /// As answers name the model that a request named: its own name, marked.
    pub fn model(&self, asked: Option<&str>) -> String {
        let name = asked.or(self.options.models.first().map(String::as_str)).unwrap_or_default();
        if name.contains("simulated") { name.to_owned() } else { format!("simulated/{name}") }
    }

    pub fn log(&self, truth: Truth) {
        if let Some(log) = &self.log {
            // A log that fails says so when the server ends; answers go on.
            let _ = log.send(truth);
        }
    }
}
