use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "shim", "--spool", spool] => benchlet::executor::shim::run(Path::new(spool)),
        [_, "serve"] => {
            tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::from_env("BENCHLET_LOG"))
                .with_writer(std::io::stderr)
                .init();
            let settings = benchlet::settings::load(&Default::default(), |n| std::env::var(n).ok()).unwrap();
            let rt = tokio::runtime::Runtime::new().unwrap();
            let _ = rt;
            if let Err(e) =
                benchlet::cli::serve::run(&benchlet::cli::serve::Serve { listen: None }, &settings)
            {
                eprintln!("{e}");
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}
