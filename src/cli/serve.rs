//! `benchlet serve`: the controller on the watched root, until it is told to stop. What runs goes on:
//! the next `serve` takes it up again.

use std::io::Write as _;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::CliError;
use crate::api;
use crate::api::serve::ServeError;
use crate::controller::context::Context;
use crate::controller::{Controller, Sources, open};
use crate::intake::watcher_task::IntakeOptions;
use crate::settings::Settings;

/// Carries out the requests below the watched directory, until interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every *.yaml below the watched directory is a request; its status appears beside it as NAME.status.yaml.
The page at http://127.0.0.1:7077 shows it all; log in with the token in .benchlet/token.
Runs go on when this stops, and the next start takes them up. BENCHLET_LOG=debug tells every decision.")]
pub struct Serve {
    /// Where the page and the API listen [default: 127.0.0.1:7077]
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
    let mut settings = settings.clone();
    if let Some(listen) = &verb.listen {
        if !settings.api.enabled {
            return Err(CliError::usage(format!("nothing listens on {listen}: the API is turned off"))
                .hint("leave --listen out, or set api.enabled to true"));
        }
        settings.api.listen.clone_from(listen);
    }
    runtime()?.block_on(serve(settings))
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
    let api = match opened.context.settings.api.enabled {
        true => Some(bind(&opened.context, shutdown.clone()).await?),
        false => None,
    };
    let mut controller = Controller::new(opened, true)?;
    let api = api.map(|api| tokio::spawn(api.run()));
    let ended = controller.run(Sources::Watch(options), shutdown.clone(), |_| false).await;
    shutdown.cancel();
    if let Some(api) = api
        && let Err(error) = api.await
    {
        tracing::warn!(%error, "the API broke");
    }
    ended?;
    tracing::info!("stopped; runs in progress go on and are taken up at the next start");
    Ok(())
}

/// Takes the API's address before anything runs, and shows a token that was made for it, this once.
async fn bind(context: &Context, shutdown: CancellationToken) -> Result<api::serve::Bound, CliError> {
    let bound = api::serve::bind(context, shutdown).await?;
    tracing::info!(address = %bound.address, token_file = %bound.token_file.display(), "the API listens");
    if !bound.address.ip().is_loopback() {
        tracing::warn!(
            address = %bound.address,
            "the API can be reached by others, unencrypted; who has the token can run the services"
        );
    }
    if let Some(token) = &bound.fresh_token {
        let (file, address) = (bound.token_file.display(), bound.address);
        writeln!(
            std::io::stderr(),
            "The page is at http://{address}. The token for it and for the API, shown this once (it is kept in \
             {file}):\n  {token}"
        )?;
    }
    Ok(bound)
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        let hint = match &error {
            ServeError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                "another program has that port; choose one with --listen 127.0.0.1:PORT, or set api.enabled to false"
            }
            ServeError::Listen { .. } => "an address is HOST:PORT, such as 127.0.0.1:7077",
            ServeError::Token(_) => {
                "remove the file, then a new token is made, or name another with api.token_file"
            }
            ServeError::File(_) => "name another directory with --state",
        };
        Self::usage(error.to_string()).hint(hint)
    }
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
