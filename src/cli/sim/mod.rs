//! The verb `sim`: benchlet's own stand-ins, a mock inference server and, hidden, a mock llama-bench, for trying out and for tests. Whatever they print
//! is made up and says so; they load no model and touch no file but the log that one is asked for.

mod llama_bench_arguments;
mod llama_bench_rows;
pub mod serve;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use self::llama_bench_arguments::{Arguments, Asked, USAGE};
use self::llama_bench_rows::Measured;
use crate::plan::bench_matrix::Cell;

/// A mock inference server: OpenAI's, vLLM's, llama.cpp's and Ollama's API at one port
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = serve::HELP)]
pub struct Sim {
    #[command(flatten)]
    pub server: Box<serve::ServeSimulated>,
    #[command(subcommand)]
    pub other: Option<StandIn>,
}

/// What else is simulated.
#[derive(Debug, Subcommand)]
pub enum StandIn {
    /// Stands in for llama-bench: its flags, its rows, made-up rates.
    #[command(name = "llama-bench", disable_help_flag = true, hide = true)]
    LlamaBench {
        /// llama-bench's flags.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The same as without a word.
    #[command(hide = true)]
    Serve(Box<serve::ServeSimulated>),
}

/// How a test wants the stand-in to behave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Behaviour {
    sleep_ms: Option<u64>,
    /// Exit with a code once so many rows are out.
    exit: Option<(usize, u8)>,
    noise_bytes: usize,
}

impl Behaviour {
    fn of(environment: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| environment(name).and_then(|text| text.parse().ok());
        let exit = environment("BENCHLET_SIM_EXIT").and_then(|text| {
            let (rows, code) = text.split_once(':')?;
            Some((rows.parse().ok()?, code.parse().ok()?))
        });
        Self {
            sleep_ms: number("BENCHLET_SIM_SLEEP_MS"),
            exit,
            noise_bytes: number("BENCHLET_SIM_OUTPUT_BYTES")
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(0),
        }
    }
}

pub fn run(sim: &Sim) -> ExitCode {
    let server = match &sim.other {
        Some(StandIn::LlamaBench { arguments }) => {
            let behaviour = Behaviour::of(|name| std::env::var(name).ok());
            // A reader that is gone ends it like any other program that nobody listens to.
            return llama_bench(arguments, &behaviour).map_or(ExitCode::FAILURE, ExitCode::from);
        }
        Some(StandIn::Serve(flags)) => flags,
        None => &sim.server,
    };
    match serve::run(server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stderr().lock(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

fn llama_bench(arguments: &[String], behaviour: &Behaviour) -> std::io::Result<u8> {
    let mut out = std::io::stdout().lock();
    let mut err = std::io::stderr().lock();
    writeln!(err, "load_backend: simulated (no model is loaded, every figure is made up)")?;
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let arguments = match Arguments::parse(arguments, threads) {
        Ok(Asked::Tests(arguments)) => arguments,
        Ok(Asked::Help) => {
            out.write_all(USAGE.as_bytes())?;
            return Ok(0);
        }
        Ok(Asked::Version) => {
            writeln!(err, "version: simulated ({})", env!("CARGO_PKG_VERSION"))?;
            return Ok(0);
        }
        Err(refused) => {
            out.write_all(USAGE.as_bytes())?;
            out.flush()?;
            if let Some(detail) = &refused.detail {
                writeln!(err, "error: {detail}")?;
            }
            writeln!(err, "error: invalid parameter for argument: {}", refused.argument)?;
            return Ok(1);
        }
    };
    noise(&mut out, behaviour.noise_bytes)?;
    let cells = arguments.matrix.cells();
    let all = cells.len();
    for (number, cell) in (1..).zip(&cells) {
        if let Some((rows, code)) = behaviour.exit
            && number > rows
        {
            return Ok(code);
        }
        let mut progress = |what: &str| match arguments.progress {
            true => writeln!(err, "llama-bench: benchmark {number}/{all}: {what}"),
            false => Ok(()),
        };
        let measured = test(cell, &arguments, behaviour, &mut progress)?;
        writeln!(out, "{}", measured.line(cell, &arguments))?;
        out.flush()?;
    }
    match behaviour.exit {
        Some((_, code)) => Ok(code),
        None => Ok(0),
    }
}

fn test(
    cell: &Cell,
    arguments: &Arguments,
    behaviour: &Behaviour,
    progress: &mut impl FnMut(&str) -> std::io::Result<()>,
) -> std::io::Result<Measured> {
    let names: &[&str] = match (cell.n_prompt > 0, cell.n_gen > 0) {
        (true, true) => &["prompt", "generation"],
        (true, false) => &["prompt"],
        (false, true) | (false, false) => &["generation"],
    };
    progress("starting")?;
    for name in names.iter().filter(|_| arguments.warmup) {
        progress(&format!("warmup {name} run"))?;
    }
    let runs = arguments.repetitions;
    let mut samples_ns = Vec::new();
    for repetition in 1..=runs {
        if cell.n_depth > 0 {
            let cached = if repetition > 1 { " (cached)" } else { "" };
            progress(&format!("depth run {repetition}/{runs}{cached}"))?;
        }
        for name in names {
            progress(&format!("{name} run {repetition}/{runs}"))?;
        }
        let usual = 10 + llama_bench_rows::chance(cell, arguments, repetition) % 21;
        std::thread::sleep(Duration::from_millis(behaviour.sleep_ms.unwrap_or(usual)));
        samples_ns.push(llama_bench_rows::sample_ns(cell, arguments, repetition));
    }
    std::thread::sleep(Duration::from_secs(arguments.delay_seconds));
    Ok(Measured { samples_ns })
}

/// Output that is no row, for tests of the limits.
fn noise(out: &mut impl std::io::Write, bytes: usize) -> std::io::Result<()> {
    let line = [&[b'.'; 79][..], b"\n"].concat();
    let mut left = bytes;
    while left > 0 {
        let part = left.min(line.len());
        out.write_all(&line[line.len() - part..])?;
        left -= part;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_steer_it_by_the_environment() {
        let behaviour = Behaviour::of(|name| match name {
            "BENCHLET_SIM_SLEEP_MS" => Some("0".to_owned()),
            "BENCHLET_SIM_EXIT" => Some("2:137".to_owned()),
            _ => None,
        });
        assert_eq!(behaviour, Behaviour { sleep_ms: Some(0), exit: Some((2, 137)), noise_bytes: 0 });
    }

    #[test]
    fn noise_has_the_length_asked_for_and_ends_its_lines() {
        for bytes in [0, 1, 80, 1000] {
            let mut out = Vec::new();
            noise(&mut out, bytes).unwrap();
            assert_eq!(out.len(), bytes);
            assert!(bytes == 0 || out.ends_with(b"\n"));
        }
    }
}
