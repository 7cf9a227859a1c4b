//! Requests of a connection, one after the other, whole. Knows no paths and answers nothing but that
//! a client may go on.

use std::io;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const MOST_HEAD: usize = 64 << 10;
const MOST_BODY: usize = 64 << 20;
const MOST_HEADERS: usize = 64;

#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The connection ends after the answer.
    pub close: bool,
    /// HTTP/1.1, which knows chunks.
    pub chunks: bool,
    /// Of the header `Authorization`.
    pub key: Option<String>,
    pub body: Vec<u8>,
    /// Right after its last byte was read.
    pub received: Instant,
}

/// What comes next on a connection.
#[derive(Debug)]
pub enum Incoming {
    Request(Request),
    /// The client closed it.
    End,
    /// No HTTP that is understood here: a status and why.
    Refused(u16, &'static str),
}

/// What was read and not yet taken.
#[derive(Debug, Default)]
pub struct RequestReader {
    buffer: Vec<u8>,
}

enum Head {
    Partial,
    Whole { request: Request, length: usize, body: usize, expects: bool },
    Refused(u16, &'static str),
}

impl RequestReader {
    /// The next request.
    ///
    /// # Errors
    /// The connection breaks.
    pub async fn next(&mut self, stream: &mut TcpStream) -> io::Result<Incoming> {
        let mut received = None;
        let (mut request, head, body, expects) = loop {
            match read_head(&self.buffer) {
                Head::Whole { request, length, body, expects } => break (request, length, body, expects),
                Head::Refused(status, why) => return Ok(Incoming::Refused(status, why)),
                Head::Partial if self.buffer.len() > MOST_HEAD => {
                    return Ok(Incoming::Refused(431, "the head is too long"));
                }
                Head::Partial => {}
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(Incoming::End);
            }
            received = Some(Instant::now());
        };
        let whole = head + body;
        if expects && self.buffer.len() < whole {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        self.buffer.reserve(whole.saturating_sub(self.buffer.len()));
        while self.buffer.len() < whole {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(Incoming::End);
            }
            received = Some(Instant::now());
        }
        request.body = self.buffer[head..whole].to_vec();
        self.buffer.drain(..whole);
        // One that came together with the request before it counts from when it is taken up.
        request.received = received.unwrap_or_else(Instant::now);
        Ok(Incoming::Request(request))
    }
}

fn read_head(buffer: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(httparse::Error::TooManyHeaders) => return Head::Refused(431, "there are too many headers"),
        Err(_) => return Head::Refused(400, "the head is no HTTP"),
    };
    let header = |name: &str| {
        let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    if header("transfer-encoding").is_some() {
        return Head::Refused(411, "the body's length has to be told in Content-Length");
    }
    let body = match header("content-length").map(|length| length.trim().parse::<usize>()) {
        None => 0,
        Some(Ok(length)) if length <= MOST_BODY => length,
        Some(Ok(_)) => return Head::Refused(413, "the body is too long"),
        Some(Err(_)) => return Head::Refused(400, "the Content-Length is no number"),
    };
    let says = |what: &str| {
        header("connection")
            .is_some_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(what)))
    };
    let chunks = parsed.version == Some(1);
    let path = parsed.path.unwrap_or("/");
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.split('?').next().unwrap_or(path).to_owned(),
        close: says("close") || !(chunks || says("keep-alive")),
        chunks,
        key: header("authorization").map(str::to_owned),
        body: Vec::new(),
        received: Instant::now(),
    };
    let expects = header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
    Head::Whole { request, length, body, expects }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        read_head(text.as_bytes())
    }

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text =
            "POST /v1/chat/completions?x=1 HTTP/1.1\r\nContent-Length: 12\r\nAuthorization: Bearer k\r\n\r\n";
        for end in 0..text.len() {
            assert!(matches!(head(&text[..end]), Head::Partial), "{end}");
        }
        let Head::Whole { request, length, body, expects } = head(text) else { panic!("not whole") };
        assert_eq!((length, body, expects), (text.len(), 12, false));
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/chat/completions"));
        assert_eq!(request.key.as_deref(), Some("Bearer k"));
        assert!(!request.close && request.chunks);
    }

    #[test]
    fn connections_stay_or_end_as_the_version_and_the_header_say() {
        for (text, close) in [
            ("GET / HTTP/1.1\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", true),
            ("GET / HTTP/1.0\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false),
        ] {
            let Head::Whole { request, .. } = head(text) else { panic!("not whole") };
            assert_eq!(request.close, close, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_status() {
        for (text, expected) in [
            ("no http\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            ("POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413),
        ] {
            assert!(matches!(head(text), Head::Refused(status, _) if status == expected), "{text}");
        }
    }
}
