//! One conversation, held as one user holds it: a turn is sent when the answer to the last one has come and
//! was read, and each turn says again all that was said before. What the context has room for is looked at
//! before every turn.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::case_run::{Cost, mixed, thread_cpu_us};
use super::exchange::{Order, Shared, perform};
use super::lane::{Lane, READ};
use super::pace::Clock;
use super::progress::Counters;
use super::recorder::Recorder;
use super::stop::Stop;
use super::token_ladder::Untold;
use crate::engine::answer::KeptText;
use crate::engine::connection::Connector;
use crate::engine::wire::{self, Ask, Wire};
use crate::plan::builtin_prompts;
use crate::plan::conversation_turns::{Marks, Script, Sizes};
use crate::request::conversation::PrefixCache;
use crate::request::load_test::{Content, Message, Output};
use crate::run::measure_plan::Dialect;
use crate::run::request_record::{EndedEarly, Line, Record, TurnEnded};

/// Most tokens of a warm-up's answer.
const WARMUP_TOKENS: u32 = 32;
/// Longest time that the engine's metrics may take between two turns.
const METRICS_LIMIT: Duration = Duration::from_secs(2);

/// Finds prompt tokens and those out of the prefix cache in the text of an engine's metrics.
pub type PrefixCounters = dyn Fn(&str, &Dialect) -> Option<(f64, f64)> + Sync;

/// Puts messages into the form of a chat template.
pub type Render = dyn Fn(&[Message]) -> Result<String, String> + Sync;

/// A conversation with all that holding it needs.
pub struct Dialogue<'a> {
    /// In the plan's cases.
    pub index: usize,
    pub wire: Arc<Wire>,
    pub model: Option<&'a str>,
    pub script: &'a Script<'a>,
    pub sizes: &'a Sizes,
    /// Tokens; `None`: unknown.
    pub window: Option<u64>,
    pub cache: PrefixCache,
    /// The first turn is not to find itself in a cache of an earlier run.
    pub salted: bool,
    pub salt: u64,
    pub output: &'a Output,
    pub stream: bool,
    pub timeout: Duration,
    pub think_time: Duration,
    /// benchlet renders the messages, and the wire takes texts.
    pub render: Option<&'a Render>,
    pub warmup: u32,
    pub recorder: Recorder,
    pub counters: Arc<Counters>,
    pub stop: Stop,
    pub prefix_counters: &'a PrefixCounters,
    /// Where answers wait whose tokens nobody told.
    pub untold: Option<Arc<Untold>>,
}

/// A conversation that has ended.
pub struct HeldOnce {
    pub cost: Cost,
    /// Why it ended before its last turn.
    pub early: Option<EndedEarly>,
    /// What was sent at each turn, where the tokens of its answer have to be counted.
    pub said: Vec<Content>,
}

/// Holds a conversation to its end.
///
/// # Errors
/// No runtime could be had, or a turn could not be put into words.
pub fn hold(dialogue: &Dialogue<'_>) -> io::Result<HeldOnce> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(dialogue.hold())
}

impl Dialogue<'_> {
    async fn hold(&self) -> io::Result<HeldOnce> {
        // Without an address every request fails by itself, with the words why.
        let connector = match Connector::new(&self.wire.address).await {
            Ok(connector) => connector,
            Err(_) => Connector::nowhere(&self.wire.address),
        };
        let mut lane = Lane::new(Rc::new(connector), Rc::new(RefCell::new(vec![0; READ])));
        // One that is refused now is tried again by its first request, which then says so.
        drop(self.stop.unless_stopped(lane.connect(self.timeout)).await);
        let warming = self.shared(Clock::starting_at(Instant::now()));
        for n in 0..u64::from(self.warmup) {
            let content = Content::Text(builtin_prompts::PROMPTS[0].to_owned());
            let record = Record { index: self.index, n, warmup: true, ..Record::default() };
            let record = self.request(&warming, &mut lane, &content, WARMUP_TOKENS, record).await?;
            self.recorder.keep(Line::Request(record));
        }
        let shared = self.shared(Clock::starting_at(Instant::now()));
        let began = thread_cpu_us();
        let mut said = Vec::new();
        let early = self.turns(&shared, &mut lane, &mut said).await?;
        let cpu_us = thread_cpu_us() - began;
        let cost = Cost { wall_us: shared.clock.now_us(), cpu_us, busiest_us: cpu_us };
        Ok(HeldOnce { cost, early, said })
    }

    async fn turns(
        &self,
        shared: &Shared,
        lane: &mut Lane,
        said: &mut Vec<Content>,
    ) -> io::Result<Option<EndedEarly>> {
        let turns = self.script.conversation.turns.len();
        let (mut answers, mut lengths): (Vec<String>, Vec<u64>) = (Vec::new(), Vec::new());
        // What the server counts beside the texts: its template.
        let mut beside: i64 = 0;
        let mut counted = self.prefix_counters().await;
        for turn in 0..turns {
            if self.stop.is_stopped() {
                break;
            }
            if let Some(full) = self.is_full(turn, &lengths, beside) {
                return Ok(Some(full));
            }
            let n = turn as u64;
            let salt = self.salt_of(n);
            let mark = text_of(wire::salt(mixed(self.salt, self.index as u64, n + 1)));
            let marks = Marks { salt: &salt, mark: mark.trim(), cache: self.cache };
            let messages = self.script.messages(turn, &answers, marks);
            let content = match self.render {
                Some(render) => Content::Text(render(&messages).map_err(io::Error::other)?),
                None => Content::Messages(messages),
            };
            let record = Record { index: self.index, n, ..Record::default() };
            let record = self.request(shared, lane, &content, self.script.most_tokens(turn), record).await?;
            let failed = record.error.is_some();
            self.counters.count(record.error.as_ref().map(|error| error.kind));
            answers.push(record.text.clone().unwrap_or_default());
            if let Some(untold) = self.untold.as_ref().filter(|untold| untold.is_wanted()) {
                // The record keeps its text.
                let place = said.len();
                untold.take(record.clone(), KeptText::Whole, KeptText::Nothing, place, wire::salt(0));
                said.push(content);
            }
            if let Some(told) = record.tokens_in {
                let estimated = self.script.prompt_tokens(turn, self.sizes, &lengths);
                beside = i64::try_from(told).unwrap_or(i64::MAX) - i64::try_from(estimated).unwrap_or(0);
            }
            lengths.push(kept_tokens(&record, self.script.most_tokens(turn)));
            self.recorder.keep(Line::Request(record));
            let now = if counted.is_some() { self.prefix_counters().await } else { None };
            let since = |of: fn(&(f64, f64)) -> f64| {
                let difference = of(now.as_ref()?) - of(counted.as_ref()?);
                // Counters that went back are those of another engine.
                (difference >= 0.0).then_some(difference as u64)
            };
            self.recorder.keep(Line::Turn(TurnEnded {
                index: self.index,
                n,
                documents: self.script.documents_at(turn).into_iter().map(str::to_owned).collect(),
                metrics_prompt_tokens: since(|counters| counters.0),
                metrics_cached_tokens: since(|counters| counters.1),
            }));
            counted = now;
            if failed {
                let turn = u32::try_from(turn + 1).unwrap_or(u32::MAX);
                return Ok(Some(EndedEarly::TurnFailed { turn }).filter(|_| !self.stop.is_stopped()));
            }
            if turn + 1 < turns && !self.think_time.is_zero() {
                self.stop.unless_stopped(tokio::time::sleep(self.think_time)).await;
            }
        }
        Ok(None)
    }

    fn shared(&self, clock: Clock) -> Shared {
        Shared { wire: Arc::clone(&self.wire), clock, timeout: self.timeout, stop: self.stop.clone() }
    }

    async fn request(
        &self,
        shared: &Shared,
        lane: &mut Lane,
        content: &Content,
        max_tokens: u32,
        record: Record,
    ) -> io::Result<Record> {
        let ask = Ask {
            model: self.model,
            content,
            max_tokens,
            temperature: self.output.temperature,
            ignore_eos: self.output.ignore_eos,
            stream: self.stream,
            cold: record.warmup || self.cache == PrefixCache::Defeated,
            rendered: self.render.is_some() && !record.warmup,
            salt: "",
        };
        let prepared = self.wire.prepare(&ask, false).map_err(|error| io::Error::other(error.0))?;
        // Due once it can be sent: putting a long context into words is no lateness.
        let record = Record { scheduled_us: shared.clock.now_us(), ..record };
        let kept = if record.warmup { KeptText::Nothing } else { KeptText::Content };
        Ok(perform(shared, lane, Order { prepared: &prepared, salt: wire::salt(0), record, kept }).await)
    }

    /// The same for all turns, so that each finds the ones before it in the cache; another one for each where
    /// it is not to.
    fn salt_of(&self, n: u64) -> String {
        match self.cache {
            PrefixCache::Kept | PrefixCache::Changed if !self.salted => String::new(),
            PrefixCache::Kept | PrefixCache::Changed => {
                text_of(wire::salt(mixed(self.salt, self.index as u64, 0)))
            }
            PrefixCache::Defeated => text_of(wire::salt(mixed(self.salt, self.index as u64, n + 1))),
        }
    }

    /// Why a turn cannot be sent, with answers of these lengths before it.
    fn is_full(&self, turn: usize, lengths: &[u64], beside: i64) -> Option<EndedEarly> {
        let context_window = self.window?;
        let prompt = self.script.prompt_tokens(turn, self.sizes, lengths).saturating_add_signed(beside);
        let needed_tokens = prompt.saturating_add(u64::from(self.script.most_tokens(turn)));
        let turn = u32::try_from(turn + 1).unwrap_or(u32::MAX);
        (needed_tokens > context_window).then_some(EndedEarly::ContextFull {
            turn,
            needed_tokens,
            context_window,
        })
    }

    /// Prompt tokens so far and those out of the prefix cache, by the engine's own metrics.
    async fn prefix_counters(&self) -> Option<(f64, f64)> {
        let path = self.wire.metrics_path()?;
        let (status, text) = self.wire.ask("GET", path, None, METRICS_LIMIT).await.ok()?;
        let text = String::from_utf8(text).ok().filter(|_| (200..300).contains(&status))?;
        (self.prefix_counters)(&text, &self.wire.dialect)
    }
}

/// Tokens of an answer that the next turn says again, which are not those of its reasoning; the most that it
/// may have where nobody tells.
fn kept_tokens(record: &Record, most: u32) -> u64 {
    let Some(all) = record.tokens_out else { return u64::from(most) };
    let kept = record.text.as_deref().unwrap_or_default().chars().count() as u64;
    match record.chars {
        0 => all,
        chars if kept >= chars => all,
        chars => (all as f64 * kept as f64 / chars as f64).ceil() as u64,
    }
}

fn text_of(salt: [u8; wire::SALT_LENGTH]) -> String {
    String::from_utf8_lossy(&salt).into_owned()
}
