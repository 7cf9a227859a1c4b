//! benchlet's own stand-in for inference servers, over real HTTP on a socket: the dialects of OpenAI,
//! vLLM, llama.cpp and Ollama at one port, with times, failures and a queue as they are asked for. Loads
//! no model; every figure and word is made up, and each answer says so. It measures nothing of its
//! clients, but can log its own truth for judging what they measure.

mod answer;
mod asked;
mod connection;
mod facts;
mod generation;
mod prompt_cache;
mod request_reader;
mod schedule;
mod server;
mod truth_log;

#[cfg(test)]
mod behaviour_tests;
#[cfg(test)]
mod dialect_tests;
#[cfg(test)]
mod test_client;

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::server::Server;
use self::truth_log::TruthLog;
pub use self::truth_log::{End, Truth};
use crate::request::load_test::{Engine, Simulation};

/// How every version that it tells begins, and whose its models are: by these benchlet knows it again behind
/// whatever URL, so that no made-up figure passes for a measured one.
pub const VERSION_BEGINS: &str = "simulated-benchlet-";
pub const OWNER: &str = "benchlet-sim (simulated)";

/// Longest time to first token and between tokens, in milliseconds.
const LONGEST_MS: f64 = 3_600_000.0;
/// Connections that may wait to be accepted; a load test opens all of its own at once.
const BACKLOG: i32 = 4096;
/// After no more connections could be opened.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// Everything about a stand-in. The default serves one model at the default pace, without failures.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub simulation: Simulation,
    /// Decides jitter and failures, each request's by its number.
    pub seed: u64,
    /// Models that it lists; others are served as well.
    pub models: Vec<String>,
    /// Tokens of a prompt and its answer together.
    pub context: u64,
    /// A file for its own truth, one [`Truth`] a line.
    pub log: Option<PathBuf>,
    /// Clients need `Authorization: Bearer KEY`.
    pub key: Option<String>,
    /// So many requests for tokens are taken, then nothing is answered for a while; connections stay open.
    pub stall_after: Option<u64>,
    /// That while.
    pub stall_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            simulation: Simulation::default(),
            seed: 1,
            models: vec!["simulated".to_owned()],
            context: 8192,
            log: None,
            key: None,
            stall_after: None,
            stall_ms: 0,
        }
    }
}

/// Why there is no stand-in.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    #[error("unknown dialect \"{0}\"; known: openai, vllm, llama.cpp, ollama")]
    Dialect(String),
    #[error("{name} is {value}, and has to be a number from 0 to {most}")]
    Range { name: &'static str, value: f64, most: f64 },
    #[error("{name} is 0, and has to be at least 1")]
    Zero { name: &'static str },
    #[error("the log {path} cannot be written: {source}")]
    Log { path: PathBuf, source: io::Error },
    #[error("the socket cannot be used: {0}")]
    Socket(#[from] io::Error),
}

impl Options {
    /// Whether they make sense together.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), SimulationError> {
        let simulation = &self.simulation;
        match Engine::from_name(&simulation.dialect) {
            Engine::LlamaCpp | Engine::Ollama | Engine::Vllm | Engine::OpenAi => {}
            Engine::Simulated | Engine::Custom(_) => {
                return Err(SimulationError::Dialect(simulation.dialect.clone()));
            }
        }
        for (name, value, most) in [
            ("the time to first token in milliseconds", simulation.ttft_ms, LONGEST_MS),
            ("the time for a prompt token in milliseconds", simulation.prefill_ms, LONGEST_MS),
            ("the time between tokens in milliseconds", simulation.itl_ms, LONGEST_MS),
            ("the jitter in percent", simulation.jitter_percent, 1000.0),
            ("the share of errors in percent", simulation.error_percent, 100.0),
            ("the share of cut streams in percent", simulation.cut_percent, 100.0),
        ] {
            if !(0.0..=most).contains(&value) {
                return Err(SimulationError::Range { name, value, most });
            }
        }
        for (name, zero) in [
            ("the number of tokens a chunk", simulation.tokens_per_chunk == 0),
            ("the context in tokens", self.context == 0),
            ("the number of models", self.models.is_empty()),
        ] {
            if zero {
                return Err(SimulationError::Zero { name });
            }
        }
        Ok(())
    }
}

/// Serves on a bound socket until told to stop; then connections end at once, whatever they wait for. Best
/// on a runtime of one thread, which is [`run`].
///
/// # Errors
/// Options that make no sense, a socket or a log that cannot be used.
pub async fn serve(
    listener: TcpListener,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), SimulationError> {
    options.check()?;
    listener.set_nonblocking(true)?;
    rustix::net::listen(&listener, BACKLOG).map_err(io::Error::from)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let path = options.log.clone().unwrap_or_default();
    let log_error = |source| SimulationError::Log { path: path.clone(), source };
    let log = options.log.as_deref().map(TruthLog::create).transpose().map_err(log_error)?;
    let server = Arc::new(Server::new(options, log.as_ref().map(TruthLog::sender)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            // Keeps the set no larger than what is open.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let server = Arc::clone(&server);
                    connections.spawn(connection::converse(server, stream));
                }
                // Out of descriptors, mostly: those that close make room.
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            },
        }
    }
    connections.shutdown().await;
    drop(server);
    log.map_or(Ok(()), TruthLog::close).map_err(log_error)
}

/// [`serve`] on this thread, on a runtime of its own.
///
/// # Errors
/// As `serve`'s.
pub fn run(
    listener: TcpListener,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), SimulationError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(listener, options, shutdown))
}
