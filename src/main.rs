use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "shim", "--spool", spool] => benchlet::executor::shim::run(Path::new(spool)),
        _ => ExitCode::FAILURE,
    }
}
