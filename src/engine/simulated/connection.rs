//! One connection: its requests in turn, each to its answer. What tokens look like and when they are due
//! is decided elsewhere.

use std::io::{self, Write as _};
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::asked::Form;
use super::facts::{self, Fact};
use super::generation;
use super::request_reader::{Incoming, Request, RequestReader};
use super::server::Server;

pub struct Connection {
    pub server: Arc<Server>,
    pub stream: TcpStream,
}

/// What becomes of the connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Keep,
    Close,
}

/// What an answer's head says beside its status.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub content_type: &'a str,
    /// `None`: the body comes in chunks, or ends with the connection.
    pub length: Option<usize>,
    /// Of a request for tokens.
    pub number: Option<u64>,
    pub close: bool,
    pub chunks: bool,
}

/// Answers a connection until either side ends it.
pub async fn converse(server: Arc<Server>, stream: TcpStream) {
    // An error is a client that went; there is nobody to tell.
    let _ = Connection { server, stream }.run().await;
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut requests = RequestReader::default();
        loop {
            let next = match requests.next(&mut self.stream).await? {
                Incoming::End => return Ok(()),
                Incoming::Refused(status, why) => {
                    let error = serde_json::json!({ "error": { "code": status, "message": why } });
                    self.tell(&Fact::json(status, error.to_string()), true).await?;
                    Next::Close
                }
                Incoming::Request(request) => self.answer(request).await?,
            };
            if next == Next::Close {
                return self.stream.shutdown().await;
            }
        }
    }

    async fn answer(&mut self, request: Request) -> io::Result<Next> {
        let path = request.path.as_str();
        let fact = match (Form::of_path(path), request.method.as_str()) {
            _ if !self.has_key(&request) => Fact::json(
                401,
                r#"{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}"#,
            ),
            (Some(form), "POST") => return generation::answer(self, form, request).await,
            (Some(_), _) => Fact::json(
                405,
                r#"{"error":{"message":"Method Not Allowed","type":"invalid_request_error","code":405}}"#,
            ),
            (None, method) => facts::answer(&self.server, method, path, &request.body),
        };
        self.server.unstalled().await;
        self.tell(&fact, request.close).await
    }

    fn has_key(&self, request: &Request) -> bool {
        match &self.server.options.key {
            // Health is told to anybody, as the real servers do.
            Some(key) if request.path != "/health" => {
                request.key.as_deref().and_then(|sent| sent.strip_prefix("Bearer ")) == Some(key)
            }
            Some(_) | None => true,
        }
    }

    /// Writes an answer in one.
    pub async fn tell(&mut self, fact: &Fact, close: bool) -> io::Result<Next> {
        let mut out = Vec::with_capacity(256 + fact.body.len());
        let length = Some(fact.body.len());
        let content_type = fact.content_type;
        head(&mut out, fact.status, Head { content_type, length, number: None, close, chunks: false });
        out.extend_from_slice(fact.body.as_bytes());
        self.stream.write_all(&out).await?;
        Ok(if close { Next::Close } else { Next::Keep })
    }

    /// Waits until the client has closed its side. What it sends meanwhile is the next request's.
    pub async fn gone(&self) {
        let mut byte = [0];
        match self.stream.peek(&mut byte).await {
            Ok(0) | Err(_) => {}
            Ok(_) => std::future::pending().await,
        }
    }
}

/// Appends an answer's head.
pub fn head(out: &mut Vec<u8>, status: u16, head: Head<'_>) {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        _ => "Internal Server Error",
    };
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status} {reason}\r\nServer: benchlet-sim\r\nContent-Type: {}\r\n",
        head.content_type
    );
    if let Some(number) = head.number {
        let _ = write!(out, "X-Request-Id: {number}\r\n");
    }
    if let Some(length) = head.length {
        let _ = write!(out, "Content-Length: {length}\r\n");
    } else if head.chunks {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if head.close {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a piece of a body, as a chunk of its own where the client knows chunks.
pub fn frame(out: &mut Vec<u8>, chunks: bool, piece: &[u8]) {
    if chunks {
        let _ = write!(out, "{:x}\r\n", piece.len());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    } else {
        out.extend_from_slice(piece);
    }
}
