//! The program: the shim's own way in, then the command line.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let [_, verb, flag, spool] = args.as_slice()
        && verb == "shim"
        && flag == "--spool"
    {
        // Before anything else: the shim has to begin on a main thread without a runtime.
        return benchlet::executor::shim::run(Path::new(spool));
    }
    // A controller in the foreground tells what it does; a verb answers and is quiet.
    let serves = args.iter().any(|arg| arg == "serve");
    trace(if serves { "info" } else { "warn" });
    benchlet::cli::main()
}

/// Traces to stderr, as `BENCHLET_LOG` or `RUST_LOG` asks for.
fn trace(default: &str) {
    use tracing_subscriber::EnvFilter;
    let asked = ["BENCHLET_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let mut filter =
        EnvFilter::try_new(asked.as_deref().unwrap_or(default)).unwrap_or_else(|_| default.into());
    // Its debug lines hold whole answers of the daemon, commands with their API keys among them.
    if let Ok(quiet) = "bollard=info".parse() {
        filter = filter.add_directive(quiet);
    }
    let colour =
        std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).init();
}
