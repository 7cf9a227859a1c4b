//! `benchlet serve`: the controller on the watched root, until it is told to stop. What runs goes on:
//! the next `serve` takes it up again.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::CliError;
use crate::controller::{Controller, Sources, open};
use crate::intake::watcher_task::IntakeOptions;
use crate::settings::Settings;

/// Carries out the requests below the watched directory, until interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every *.yaml below the watched directory is a request; its status appears beside it as NAME.status.yaml.
Runs go on when this stops, and the next start takes them up. BENCHLET_LOG=debug tells every decision.")]
pub struct Serve {
    /// Where the API will listen; this version has none [default: 127.0.0.1:7077]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
}

/// # Errors
/// Another controller has the root or the state, or the root is not there.
pub fn run(verb: &Serve, settings: &Settings) -> Result<(), CliError> {
    if !settings.requests.is_dir() {
        let root = settings.requests.display();
        return Err(CliError::usage(format!("there is no directory {root} to watch"))
            .hint("`benchlet init` writes one, --requests names another"));
    }
    if let Some(listen) = &verb.listen {
        return Err(CliError::usage(format!("nothing can listen on {listen}: this version has no API"))
            .hint("leave --listen out; files and the command line do everything"));
    }
    runtime()?.block_on(serve(settings.clone()))
}

/// The runtime of the verbs that are a controller.
///
/// # Errors
/// No threads are to be had.
pub fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::usage(format!("the asynchronous runtime does not start: {error}")))
}

async fn serve(settings: Settings) -> Result<(), CliError> {
    // Before anything else: a signal that comes early is one all the same.
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    let root = settings.requests.clone();
    let what = format!("serve on {}", std::path::absolute(&root).unwrap_or_else(|_| root.clone()).display());
    let mut options = IntakeOptions::new(&root);
    options.relist = Duration::from_secs(settings.relist_seconds);
    let opened = open(settings, &what).await?;
    tracing::info!(root = %root.display(), state = %opened.context.settings.state.display(), "watching");
    let mut controller = Controller::new(opened, true)?;
    controller.run(Sources::Watch(options), shutdown, |_| false).await?;
    tracing::info!("stopped; runs in progress go on and are taken up at the next start");
    Ok(())
}

/// Cancels the token at the first SIGINT or SIGTERM, from this call on.
pub fn stop_on_signal(shutdown: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        shutdown.cancel();
    }
}
