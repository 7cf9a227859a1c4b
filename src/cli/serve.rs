//! `benchlet serve`: the controller on the watched root, until it is told to stop. What runs goes on:
//! the next `serve` takes it up again.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::CliError;
use crate::controller::{Controller, Sources, open};
use crate::intake::watcher_task::IntakeOptions;
use crate::settings::Settings;

/// Runs the controller in the foreground.
///
/// # Errors
/// Another controller has the root or the state; a root that cannot be made.
pub async fn serve(settings: Settings) -> Result<(), CliError> {
    let root = settings.requests.clone();
    let what = format!("serve on {}", std::path::absolute(&root).unwrap_or_else(|_| root.clone()).display());
    let mut options = IntakeOptions::new(&root);
    options.relist = Duration::from_secs(settings.relist_seconds);
    let opened = open(settings, &what).await?;
    tracing::info!(root = %root.display(), state = %opened.context.settings.state.display(), "watching");
    let mut controller = Controller::new(opened, true)?;
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    controller.run(Sources::Watch(options), shutdown, |_| false).await?;
    tracing::info!("stopped; runs in progress go on and are taken up at the next start");
    Ok(())
}

/// Cancels the token at the first SIGINT or SIGTERM.
pub async fn stop_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    shutdown.cancel();
}
