//! Connections of our own, one a worker, so that opening, sending and each read can be told apart and
//! no pool caps or queues anything. TLS by the machine's own roots.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::address::Address;

/// Where connections of one server go: its name looked up once, its TLS set up once.
#[derive(Clone)]
pub struct Connector {
    addresses: Vec<SocketAddr>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    shown: String,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(pub String);

/// An open connection.
pub enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connector {
    /// # Errors
    /// The name cannot be looked up, or there are no root certificates.
    pub async fn new(address: &Address) -> Result<Self, ConnectError> {
        let shown = address.to_string();
        let found = tokio::net::lookup_host((address.host.as_str(), address.port))
            .await
            .map_err(|error| ConnectError(format!("the host {} is not known: {error}", address.host)))?;
        let tls = if address.tls { Some(tls(address)?) } else { None };
        Ok(Self { addresses: found.collect(), tls, shown })
    }

    /// A connector whose every connection fails, for a server whose name is not known.
    pub fn nowhere(address: &Address) -> Self {
        Self { addresses: Vec::new(), tls: None, shown: address.to_string() }
    }

    /// Opens a connection to the first address that takes one.
    ///
    /// # Errors
    /// Why none did, in the kernel's words.
    pub async fn open(&self, limit: Duration) -> Result<Connection, ConnectError> {
        match tokio::time::timeout(limit, self.open_now()).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError(format!(
                "{} did not take a connection within {} s",
                self.shown,
                limit.as_secs_f64()
            ))),
        }
    }

    async fn open_now(&self) -> Result<Connection, ConnectError> {
        let mut last = io::Error::other("its name is not known");
        for address in &self.addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return self.secure(stream).await,
                Err(error) => last = error,
            }
        }
        let hint = match last.raw_os_error() {
            Some(code) if code == rustix::io::Errno::MFILE.raw_os_error() => {
                "; this process has no file descriptor left: raise the limit with `ulimit -n`"
            }
            Some(code) if code == rustix::io::Errno::ADDRNOTAVAIL.raw_os_error() => {
                "; no local port is left: widen net.ipv4.ip_local_port_range, or use fewer connections"
            }
            Some(_) | None => "",
        };
        Err(ConnectError(format!("{} takes no connection: {last}{hint}", self.shown)))
    }

    async fn secure(&self, stream: TcpStream) -> Result<Connection, ConnectError> {
        // A request goes out at once and not when the next one follows.
        stream.set_nodelay(true).map_err(|error| ConnectError(format!("{}: {error}", self.shown)))?;
        match &self.tls {
            None => Ok(Connection::Plain(stream)),
            Some((connector, name)) => {
                let secured = connector.connect(name.clone(), stream).await;
                secured
                    .map(|stream| Connection::Tls(Box::new(stream)))
                    .map_err(|error| ConnectError(format!("{}: TLS: {error}", self.shown)))
            }
        }
    }
}

fn tls(address: &Address) -> Result<(TlsConnector, ServerName<'static>), ConnectError> {
    let name = ServerName::try_from(address.host.clone())
        .map_err(|error| ConnectError(format!("{} has no name for TLS: {error}", address.host)))?;
    Ok((TlsConnector::from(client_config()?), name))
}

/// Whom this machine trusts, read once: it is a hundred files, and the metrics are asked for all the time.
fn client_config() -> Result<Arc<ClientConfig>, ConnectError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for certificate in found.certs {
        // One that cannot be read is one less to trust.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(ConnectError(
            "this machine has no root certificates; install the package ca-certificates".to_owned(),
        ));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

impl Connection {
    /// Whether the server has ended it meanwhile. Bytes that nobody asked for count as that.
    pub fn is_stale(&self) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let mut byte = [0u8; 1];
        match self {
            Self::Plain(_) => {
                !matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // Reading here would take bytes away from TLS; a dead one shows when it is used.
            Self::Tls(_) => false,
        }
    }

    /// # Errors
    /// The connection's own.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
