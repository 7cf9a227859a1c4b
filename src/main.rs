//! The program: the shim's way in, then the command line.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // Before anything else: the shim has to begin on a main thread without a runtime.
        [_, "shim", "--spool", spool] => benchlet::executor::shim::run(Path::new(spool)),
        _ => {
            // A controller in the foreground tells what it does; a verb answers and is quiet.
            trace(if args.iter().any(|arg| arg == "serve") { "info" } else { "warn" });
            benchlet::cli::main()
        }
    }
}

/// Traces to stderr, as `BENCHLET_LOG` or `RUST_LOG` asks for.
fn trace(default: &str) {
    use tracing_subscriber::EnvFilter;
    let asked = ["BENCHLET_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let filter = EnvFilter::try_new(asked.as_deref().unwrap_or(default)).unwrap_or_else(|_| default.into());
    let colour =
        std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).init();
}
