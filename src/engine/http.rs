//! HTTP/1.1 as a client reads it: an answer's head and its body, from bytes as they come. Sans-IO: it
//! opens no connection and knows no clock. Follows no redirect.

use memchr::memmem;

/// Largest head of an answer, in bytes.
const MOST_HEAD: usize = 64 << 10;
/// Most header lines.
const MOST_HEADERS: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("the answer is no HTTP/1: {0}")]
    NotHttp(String),
    #[error("the answer's head is larger than {MOST_HEAD} bytes")]
    HeadTooLarge,
    #[error("the answer's chunks are malformed")]
    BadChunk,
    #[error("the connection ended before the answer did")]
    Cut,
}

/// The head of an answer, as far as anybody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// The connection may carry another request after this one.
    pub keep_alive: bool,
    pub location: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    /// Until the connection ends.
    Close,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunked {
    /// A size line, perhaps in parts; the number so far, and whether the digits are over.
    Size {
        so_far: u64,
        digits: u8,
        extension: bool,
    },
    Data {
        left: u64,
    },
    /// The line's end after data.
    DataEnd,
    /// Lines after the last chunk; the length of the line so far.
    Trailer {
        line: u32,
    },
}

const SIZE: Chunked = Chunked::Size { so_far: 0, digits: 0, extension: false };

/// Reads one answer. Fed with whatever the connection gives; hands the body on without copying it.
#[derive(Debug)]
pub struct ResponseReader {
    head: Option<Head>,
    /// Bytes of a head that has not come whole.
    pending: Vec<u8>,
    body: Body,
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self { head: None, pending: Vec::new(), body: Body::Close }
    }
}

impl ResponseReader {
    /// The head, once it has come whole.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The answer is complete.
    pub fn is_done(&self) -> bool {
        self.head.is_some() && self.body == Body::Done
    }

    /// Whether another request may follow on the connection.
    pub fn can_reuse(&self) -> bool {
        self.is_done() && self.head.as_ref().is_some_and(|head| head.keep_alive)
    }

    /// Takes bytes in and hands pieces of the body to `body`.
    ///
    /// Bytes after the end of the answer are nobody's: it stands, and the connection carries no other.
    ///
    /// # Errors
    /// What is no HTTP/1.
    pub fn feed(&mut self, mut bytes: &[u8], mut body: impl FnMut(&[u8])) -> Result<(), HttpError> {
        if self.head.is_none() {
            match self.read_head(bytes)? {
                None => return Ok(()),
                Some(rest) => bytes = rest,
            }
        }
        while !bytes.is_empty() {
            match &mut self.body {
                Body::Done => {
                    if let Some(head) = &mut self.head {
                        head.keep_alive = false;
                    }
                    return Ok(());
                }
                Body::Close => {
                    body(bytes);
                    return Ok(());
                }
                Body::Length(left) => {
                    let take = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    body(&bytes[..take]);
                    *left -= take as u64;
                    if *left == 0 {
                        self.body = Body::Done;
                    }
                    bytes = &bytes[take..];
                }
                Body::Chunked(state) => {
                    let (next, rest) = chunk_step(*state, bytes, &mut body)?;
                    self.body = next.map_or(Body::Done, Body::Chunked);
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The answer was not whole.
    pub fn end(&mut self) -> Result<(), HttpError> {
        match (&self.head, self.body) {
            (Some(_), Body::Done) => Ok(()),
            (Some(_), Body::Close) => {
                self.body = Body::Done;
                Ok(())
            }
            (None, _) | (Some(_), Body::Length(_) | Body::Chunked(_)) => Err(HttpError::Cut),
        }
    }

    /// Whether the body ends with the connection, so that a cut one looks like a whole one.
    pub fn ends_with_connection(&self) -> bool {
        self.body == Body::Close
    }

    /// The bytes after the head, once it is whole. Heads of 1xx are skipped.
    fn read_head<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, HttpError> {
        // The end may lie across two reads.
        let mut from = self.pending.len().saturating_sub(3);
        self.pending.extend_from_slice(bytes);
        loop {
            let Some(at) = memmem::find(&self.pending[from..], b"\r\n\r\n").map(|at| from + at + 4) else {
                if self.pending.len() > MOST_HEAD {
                    return Err(HttpError::HeadTooLarge);
                }
                if !b"HTTP/1.".starts_with(&self.pending[..self.pending.len().min(7)]) {
                    return Err(not_http(&self.pending));
                }
                return Ok(None);
            };
            let (head, body) = parse_head(&self.pending[..at])?;
            if (100..200).contains(&head.status) {
                self.pending.drain(..at);
                from = 0;
                continue;
            }
            // What is behind the head came with this read, whatever was before it.
            let behind = self.pending.len() - at;
            self.head = Some(head);
            self.body = body;
            self.pending = Vec::new();
            return Ok(Some(&bytes[bytes.len() - behind..]));
        }
    }
}

fn not_http(bytes: &[u8]) -> HttpError {
    let shown: String = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    HttpError::NotHttp(format!("it begins with {shown:?}"))
}

fn parse_head(bytes: &[u8]) -> Result<(Head, Body), HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(not_http(bytes)),
        Err(error) => return Err(HttpError::NotHttp(error.to_string())),
    }
    let status = parsed.code.unwrap_or(0);
    let mut keep_alive = parsed.version == Some(1);
    let (mut length, mut chunked, mut location) = (None, false, None);
    for header in parsed.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            let parsed =
                value.parse().map_err(|_| HttpError::NotHttp(format!("its Content-Length is {value:?}")))?;
            length = Some(parsed);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.to_ascii_lowercase().ends_with("chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            if value.eq_ignore_ascii_case("close") {
                keep_alive = false;
            } else if value.eq_ignore_ascii_case("keep-alive") {
                keep_alive = true;
            }
        } else if header.name.eq_ignore_ascii_case("location") {
            location = Some(value.to_owned());
        }
    }
    let body = match (status, chunked, length) {
        (204 | 304, _, _) | (_, false, Some(0)) => Body::Done,
        (_, true, _) => Body::Chunked(SIZE),
        (_, false, Some(length)) => Body::Length(length),
        (_, false, None) => {
            keep_alive = false;
            Body::Close
        }
    };
    Ok((Head { status, keep_alive, location }, body))
}

/// One step through chunked bytes; `None` after the last chunk.
fn chunk_step<'b>(
    state: Chunked,
    bytes: &'b [u8],
    body: &mut impl FnMut(&[u8]),
) -> Result<(Option<Chunked>, &'b [u8]), HttpError> {
    match state {
        Chunked::Data { left } => {
            let take = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            body(&bytes[..take]);
            let left = left - take as u64;
            let next = if left == 0 { Chunked::DataEnd } else { Chunked::Data { left } };
            Ok((Some(next), &bytes[take..]))
        }
        Chunked::DataEnd => match bytes[0] {
            b'\r' => Ok((Some(Chunked::DataEnd), &bytes[1..])),
            b'\n' => Ok((Some(SIZE), &bytes[1..])),
            _ => Err(HttpError::BadChunk),
        },
        Chunked::Size { mut so_far, mut digits, mut extension } => {
            for (at, byte) in bytes.iter().enumerate() {
                let digit = match byte {
                    b'\n' if digits == 0 => return Err(HttpError::BadChunk),
                    b'\n' if so_far == 0 => {
                        return Ok((Some(Chunked::Trailer { line: 0 }), &bytes[at + 1..]));
                    }
                    b'\n' => return Ok((Some(Chunked::Data { left: so_far }), &bytes[at + 1..])),
                    _ if extension => continue,
                    b';' | b'\r' | b' ' => {
                        extension = true;
                        continue;
                    }
                    b'0'..=b'9' => byte - b'0',
                    b'a'..=b'f' => byte - b'a' + 10,
                    b'A'..=b'F' => byte - b'A' + 10,
                    _ => return Err(HttpError::BadChunk),
                };
                digits += 1;
                if digits > 15 {
                    return Err(HttpError::BadChunk);
                }
                so_far = so_far * 16 + u64::from(digit);
            }
            Ok((Some(Chunked::Size { so_far, digits, extension }), &[]))
        }
        Chunked::Trailer { mut line } => {
            for (at, byte) in bytes.iter().enumerate() {
                match byte {
                    b'\r' => {}
                    b'\n' if line == 0 => return Ok((None, &bytes[at + 1..])),
                    b'\n' => line = 0,
                    _ => line = line.saturating_add(1),
                }
            }
            Ok((Some(Chunked::Trailer { line }), &[]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]]) -> Result<(ResponseReader, Vec<u8>), HttpError> {
        let mut reader = ResponseReader::default();
        let mut body = Vec::new();
        for part in parts {
            reader.feed(part, |bytes| body.extend_from_slice(bytes))?;
        }
        Ok((reader, body))
    }

    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nX-T: 1\r\n\r\n";

    #[test]
    fn a_chunked_body_is_the_same_however_it_is_split() {
        for at in 1..CHUNKED.len() {
            let (reader, body) = read(&[&CHUNKED[..at], &CHUNKED[at..]]).unwrap();
            assert_eq!(body, b"hello, world", "split at {at}");
            assert!(reader.can_reuse());
        }
        let bytes: Vec<&[u8]> = CHUNKED.chunks(1).collect();
        assert_eq!(read(&bytes).unwrap().1, b"hello, world");
    }

    #[test]
    fn a_body_of_a_length_ends_there() {
        let (reader, body) = read(&[b"HTTP/1.1 429 Too Many\r\ncontent-length: 3\r\n\r\nno", b"w"]).unwrap();
        assert_eq!((body.as_slice(), reader.head().unwrap().status), (b"now".as_slice(), 429));
        assert!(reader.is_done());
    }

    #[test]
    fn a_connection_that_ends_early_cuts_the_answer() {
        for start in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"] {
            let (mut reader, _) = read(&[start.as_bytes()]).unwrap();
            assert_eq!(reader.end(), Err(HttpError::Cut), "{start:?}");
        }
        let (mut reader, _) = read(&[&CHUNKED[..CHUNKED.len() - 12]]).unwrap();
        assert_eq!(reader.end(), Err(HttpError::Cut));
    }

    #[test]
    fn without_a_length_the_connections_end_is_the_answers() {
        let (mut reader, body) = read(&[b"HTTP/1.0 200 OK\r\n\r\nab", b"cd"]).unwrap();
        assert!(reader.ends_with_connection() && !reader.is_done());
        reader.end().unwrap();
        assert_eq!(body, b"abcd");
        assert!(!reader.can_reuse());
    }

    #[test]
    fn a_continue_before_the_answer_is_passed_over() {
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for at in 0..answer.len() {
            let (reader, body) = read(&[&answer[..at], &answer[at..]]).unwrap();
            assert_eq!((reader.head().unwrap().status, body.as_slice()), (200, b"ok".as_slice()), "at {at}");
        }
    }

    #[test]
    fn bytes_after_an_answer_leave_it_whole_and_end_the_connection() {
        for rest in [vec![b"okHTTP/1.1 500 No\r\n\r\n".as_slice()], vec![b"ok", b"more"]] {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".as_slice();
            let (reader, body) = read(&[vec![head], rest].concat()).unwrap();
            assert_eq!(body, b"ok");
            assert!(reader.is_done() && !reader.can_reuse());
        }
    }

    #[test]
    fn what_is_no_http_is_shown() {
        let said = read(&[b"SSH-2.0-OpenSSH\r\n"]).unwrap_err().to_string();
        assert!(said.contains("SSH-2.0"), "{said}");
        assert_eq!(
            read(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]).unwrap_err(),
            HttpError::BadChunk
        );
    }
}
