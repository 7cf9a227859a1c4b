//! `benchlet sim`: the simulated inference server as a process. Reads the flags; everything else is
//! the server's own.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::cli::serve::stop_on_signal;
use crate::engine::simulated::{self, Options};
use crate::load::raise_descriptor_limit;
use crate::request::load_test::Simulation;

/// What the help says behind the flags.
pub const HELP: &str = "\
The first line on stdout is `listening on http://HOST:PORT`. It ends at SIGINT or SIGTERM.
No model is loaded; tokens, times and failures are made up as the flags say, and every answer says so.

Examples:
  benchlet sim --listen 127.0.0.1:8000 --ttft 80ms --itl 12ms --jitter 10
  benchlet sim --dialect llama.cpp --slots 4 --error-rate 1 --cut-rate 0.5
  benchlet sim --ttft 0 --itl 0 --log truth.jsonl";

/// Stands in for an inference server.
#[derive(Debug, Args)]
pub struct ServeSimulated {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// All of the below up to --slots as JSON, which the other flags override: {"ttftMs": 50, "itlMs": 10}
    #[arg(long, value_name = "JSON", value_parser = simulation_of)]
    pub simulation: Option<Simulation>,
    /// Whose metrics and extras are shown: openai, vllm, llama.cpp or ollama; all APIs are there in any
    /// case [default: openai]
    #[arg(long, value_name = "NAME")]
    pub dialect: Option<String>,
    /// From a request to its first token, such as 50ms; 0 waits for nothing [default: 50ms]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    pub ttft: Option<f64>,
    /// Added to it for each prompt token that is not in the cache, such as 0.2ms [default: 0]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    pub prefill: Option<f64>,
    /// From a chunk to the next; 0 writes as fast as it can [default: 10ms]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    pub itl: Option<f64>,
    /// Standard deviation of both, in percent of each [default: 0]
    #[arg(long, value_name = "PERCENT")]
    pub jitter: Option<f64>,
    /// Requests answered with an error 500, in percent [default: 0]
    #[arg(long, value_name = "PERCENT")]
    pub error_rate: Option<f64>,
    /// Answers whose connection closes in the middle, in percent [default: 0]
    #[arg(long, value_name = "PERCENT")]
    pub cut_rate: Option<f64>,
    /// Tokens a chunk [default: 1]
    #[arg(long, value_name = "N")]
    pub tokens_per_chunk: Option<u32>,
    /// Requests served at a time, the others wait; 0 serves all [default: 0]
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// Decides jitter and failures, each request's by its number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// A model to list; may be given several times [default: simulated]
    #[arg(long, value_name = "NAME")]
    pub model: Vec<String>,
    /// Tokens of a prompt and its answer together
    #[arg(long, value_name = "N", default_value_t = 8192)]
    pub context: u64,
    /// A file for the server's own times, a JSON line for each request
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// What clients have to send as `Authorization: Bearer KEY`
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Take so many requests, then answer nothing for a while with connections open
    #[arg(long, value_name = "N")]
    pub stall_after: Option<u64>,
    /// That while
    #[arg(long, value_name = "TIME", value_parser = milliseconds, default_value = "5s", requires = "stall_after")]
    pub stall: f64,
}

/// Serves until a signal comes.
///
/// # Errors
/// In words: flags that make no sense, an address that is taken, a log that cannot be written.
pub fn run(flags: &ServeSimulated) -> Result<(), String> {
    let options = flags.options();
    options.check().map_err(|error| error.to_string())?;
    // Each stream is a descriptor, and the usual limit of 1,024 is too low for a thousand of them.
    raise_descriptor_limit();
    let cannot_listen =
        |error| format!("cannot listen on {}: {error}; --listen names another address", flags.listen);
    let listener = TcpListener::bind(flags.listen).map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the asynchronous runtime does not start: {error}"))?;
    let dialect = options.simulation.dialect.clone();
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(stop_on_signal(shutdown.clone()));
        // A reader that is gone does not end a server.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "listening on http://{address}");
        let _ = writeln!(out, "simulated ({dialect}): no model is loaded, every figure is made up");
        let _ = out.flush();
        drop(out);
        simulated::serve(listener, options, shutdown).await.map_err(|error| error.to_string())
    })
}

impl ServeSimulated {
    fn options(&self) -> Options {
        let given = self.simulation.clone().unwrap_or_default();
        let simulation = Simulation {
            dialect: self.dialect.clone().unwrap_or(given.dialect),
            ttft_ms: self.ttft.unwrap_or(given.ttft_ms),
            prefill_ms: self.prefill.unwrap_or(given.prefill_ms),
            itl_ms: self.itl.unwrap_or(given.itl_ms),
            jitter_percent: self.jitter.unwrap_or(given.jitter_percent),
            error_percent: self.error_rate.unwrap_or(given.error_percent),
            cut_percent: self.cut_rate.unwrap_or(given.cut_percent),
            tokens_per_chunk: self.tokens_per_chunk.unwrap_or(given.tokens_per_chunk),
            slots: self.slots.unwrap_or(given.slots),
        };
        let models = match self.model.is_empty() {
            true => Options::default().models,
            false => self.model.clone(),
        };
        Options {
            simulation,
            seed: self.seed,
            models,
            context: self.context,
            log: self.log.clone(),
            key: self.key.clone(),
            stall_after: self.stall_after,
            stall_ms: self.stall.round() as u64,
        }
    }
}

/// Reads `50ms`, `1.5ms`, `2s`, `0`.
fn milliseconds(text: &str) -> Result<f64, String> {
    if text == "0" {
        return Ok(0.0);
    }
    let time: jiff::SignedDuration =
        text.parse().map_err(|_| format!("\"{text}\" is no time; write 50ms, 2s, or 0 for no wait"))?;
    if time.is_negative() {
        return Err(format!("\"{text}\" is before now; write 50ms, 2s, or 0 for no wait"));
    }
    Ok(time.as_secs_f64() * 1000.0)
}

/// Reads a simulation as the controller writes it. Fields that are left out have their defaults.
fn simulation_of(text: &str) -> Result<Simulation, String> {
    let mut whole = serde_json::to_value(Simulation::default()).map_err(|error| error.to_string())?;
    let given: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let (Some(fields), Value::Object(given)) = (whole.as_object_mut(), given) else {
        return Err("it has to be a JSON object".to_owned());
    };
    for (name, value) in given {
        match fields.get_mut(&name) {
            Some(field) => *field = value,
            None => {
                let known = fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(format!("unknown field \"{name}\"; known: {known}"));
            }
        }
    }
    serde_json::from_value(whole).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: ServeSimulated,
    }

    fn options(line: &[&str]) -> Options {
        Line::try_parse_from([&["serve"], line].concat()).unwrap().flags.options()
    }

    fn refusal(line: &[&str]) -> String {
        match Line::try_parse_from([&["serve"], line].concat()) {
            Ok(_) => panic!("{line:?} is taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn without_flags_it_is_the_default_simulation() {
        assert_eq!(options(&[]), Options { stall_ms: 5000, ..Options::default() });
    }

    #[test]
    fn a_simulation_arrives_whole_as_json() {
        let simulation = Simulation {
            dialect: "llama.cpp".to_owned(),
            ttft_ms: 1.5,
            prefill_ms: 0.1,
            itl_ms: 0.0,
            jitter_percent: 5.0,
            error_percent: 1.0,
            cut_percent: 2.0,
            tokens_per_chunk: 3,
            slots: 4,
        };
        let json = serde_json::to_string(&simulation).unwrap();
        assert_eq!(options(&["--simulation", &json]).simulation, simulation);
    }

    #[test]
    fn flags_override_the_json_and_what_both_leave_out_has_its_default() {
        let options = options(&["--simulation", r#"{"ttftMs": 7, "itlMs": 3}"#, "--itl", "0.5ms"]);
        let expected = Simulation { ttft_ms: 7.0, itl_ms: 0.5, ..Simulation::default() };
        assert_eq!(options.simulation, expected);
    }

    #[test]
    fn wrong_values_are_refused_with_what_is_right() {
        for (line, expected) in [
            (["--ttft", "fast"], "write 50ms"),
            (["--itl", "-3ms"], "before now"),
            (["--simulation", r#"{"ttft": 3}"#], "known: dialect, ttftMs"),
            (["--simulation", "[]"], "JSON object"),
            (["--stall", "3s"], "--stall-after"),
        ] {
            // In one word, so that a minus is no flag.
            let refusal = refusal(&[&line.join("=")]);
            assert!(refusal.contains(expected), "{refusal}");
        }
    }

    #[test]
    fn what_no_simulation_can_be_is_refused_before_anything_listens() {
        for (line, expected) in [
            (["--dialect", "tgi"], "known: openai, vllm, llama.cpp, ollama"),
            (["--error-rate", "101"], "share of errors"),
            (["--tokens-per-chunk", "0"], "at least 1"),
        ] {
            let flags = Line::try_parse_from([&["serve"], line.as_slice()].concat()).unwrap().flags;
            let error = run(&flags).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
