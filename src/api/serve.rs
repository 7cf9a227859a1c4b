//! The server: its place, its connections and their bounds, its end. Knows no endpoint.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::access::Peer;
use super::feed::Feed;
use super::hosts::Hosts;
use super::logs::Growth;
use super::patient_stream::PatientStream;
use super::rate::Rate;
use super::router;
use super::state::{Api, MOST_WORK, Parts};
use super::token::{Token, TokenError};
use crate::controller::context::Context;
use crate::files::atomic_write::{self, FileError};

/// Connections at once, streams included. Further ones are closed as they come.
const MOST_CONNECTIONS: usize = 512;
/// For the head of a call, and between two of them on one connection.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// At the end, for answers that are on their way.
const FAREWELL: Duration = Duration::from_secs(3);
/// After an accept failed, most likely for want of descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Where the server can be found, in the state directory: with port 0 nobody else knows.
pub const ADDRESS_FILE: &str = "api.json";
const TOKEN_FILE: &str = "token";

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the API cannot listen on {listen}: {source}")]
    Listen { listen: String, source: io::Error },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    File(#[from] FileError),
}

/// A server that has its place and answers nobody yet.
pub struct Bound {
    api: Api,
    listener: TcpListener,
    pub address: SocketAddr,
    pub token_file: PathBuf,
    /// The token, where it was made just now: for people, once.
    pub fresh_token: Option<String>,
    address_file: PathBuf,
}

/// Takes the address, and the token or makes it.
///
/// # Errors
/// The address is taken or no address, or the token's file cannot be used.
pub async fn bind(context: &Context, shutdown: CancellationToken) -> Result<Bound, ServeError> {
    let settings = &context.settings;
    let listen = settings.api.listen.clone();
    let failed = |source| ServeError::Listen { listen: listen.clone(), source };
    let listener = TcpListener::bind(&listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let token_file = settings.api.token_file.clone().unwrap_or_else(|| settings.state.join(TOKEN_FILE));
    let kept = Token::keep(&token_file)?;
    let address_file = settings.state.join(ADDRESS_FILE);
    let told = json!({
        "url": format!("http://{address}"),
        "address": address.to_string(),
        "pid": std::process::id(),
    });
    atomic_write::replace(&address_file, format!("{told}\n").as_bytes(), 0o600)?;
    let api = Api::new(Parts {
        hosts: Hosts::new(&listen, address, &settings.api.hosts),
        rate: Mutex::new(Rate::new(settings.api.calls_per_second)),
        feed: Feed::default(),
        growth: Growth::default(),
        work: Arc::new(Semaphore::new(MOST_WORK)),
        token: kept.token.clone(),
        context: context.clone(),
        shutdown,
    });
    let fresh_token = kept.fresh.then(|| kept.token.reveal().to_owned());
    Ok(Bound { api, listener, address, token_file, fresh_token, address_file })
}

impl Bound {
    /// Answers until the shutdown, then ends streams and lets answers on their way arrive.
    pub async fn run(self) {
        let router = router::router(&self.api);
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let shutdown = self.api.shutdown.clone();
        let mut connections = JoinSet::new();
        let api = self.api.clone();
        let feed = tokio::spawn(async move { api.feed.run(&api.context, &api.shutdown).await });
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Closed at once where all places are taken: waiting would let nobody know.
                    if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                        let connection = converse(stream, peer, router.clone(), shutdown.clone());
                        connections.spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
        drop(self.listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, ended).await.is_err() {
            tracing::debug!("some clients did not take their answers");
        }
        if let Err(error) = feed.await {
            tracing::warn!(%error, "live events broke");
        }
        // Left over it would name a server that is gone; the next start replaces it.
        if let Err(error) = std::fs::remove_file(&self.address_file) {
            tracing::debug!(%error, "the address file stays");
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers may be late");
    }
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        router.clone().oneshot(request)
    });
    let stream = TokioIo::new(PatientStream::new(stream, PATIENCE));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(64)
        .serve_connection(stream, service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, %peer, "a connection broke");
    }
}
