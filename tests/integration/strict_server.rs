//! A server on a port of its own that takes only what the real one would: method, path, JSON types and
//! fields. It remembers what was asked and how it answered. What each kind says is in `strict_dialects`.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

/// A request as it came.
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// An answer: in one piece, or in frames.
pub struct Reply {
    pub status: u16,
    pub kind: &'static str,
    pub pieces: Vec<String>,
    pub framed: bool,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, kind: "application/json", pieces: vec![body.to_string()], framed: false }
    }

    pub fn text(status: u16, text: &str) -> Self {
        Self { status, kind: "text/plain", pieces: vec![text.to_owned()], framed: false }
    }

    /// Server-sent events.
    pub fn events(data: impl IntoIterator<Item = String>) -> Self {
        let pieces = data.into_iter().map(|data| format!("data: {data}\n\n")).collect();
        Self { status: 200, kind: "text/event-stream", pieces, framed: true }
    }

    /// A JSON value a line.
    pub fn lines(values: impl IntoIterator<Item = Value>) -> Self {
        let pieces = values.into_iter().map(|value| format!("{value}\n")).collect();
        Self { status: 200, kind: "application/x-ndjson", pieces, framed: true }
    }
}

/// What was asked and how it was answered.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `POST /v1/completions`.
    pub line: String,
    pub status: u16,
    pub body: Value,
}

pub struct StrictServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl StrictServer {
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (answer, noted, stopped) = (Arc::new(answer), Arc::clone(&seen), Arc::clone(&stop));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                // A client that goes away ends its connection's thread and nothing else.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &*answer, &noted)));
            }
        });
        Self { address, seen, stop, accepting: Some(accepting) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for StrictServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; where that fails it has ended already.
        drop(TcpStream::connect(self.address));
        drop(self.accepting.take().map(JoinHandle::join));
    }
}

/// Answers the requests of a connection, one after the other.
fn serve(stream: TcpStream, answer: &dyn Fn(&Asked) -> Reply, seen: &Mutex<Vec<Seen>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader)? {
        let reply = answer(&asked);
        seen.lock().unwrap().push(Seen {
            line: format!("{} {}", asked.method, asked.path),
            status: reply.status,
            body: serde_json::from_slice(&asked.body).unwrap_or_default(),
        });
        write(reader.get_mut(), &reply)?;
    }
    Ok(())
}

/// The next request; `None` where the client has none left.
fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Asked>> {
    let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let words: Vec<&str> = line.trim_end_matches("\r\n").split(' ').collect();
    let [method, path, "HTTP/1.1"] = words.as_slice() else { return Err(malformed("a request line")) };
    let mut asked = Asked {
        method: (*method).to_owned(),
        path: (*path).to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").ok_or_else(|| malformed("a header's end"))?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").ok_or_else(|| malformed("a header"))?;
        asked.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    if asked.header("host").is_none() {
        return Err(malformed("no host"));
    }
    let length = asked.header("content-length").map_or(Ok(0), str::parse);
    asked.body = vec![0; length.map_err(|_| malformed("a length"))?];
    reader.read_exact(&mut asked.body)?;
    Ok(Some(asked))
}

fn write(stream: &mut TcpStream, reply: &Reply) -> io::Result<()> {
    let head = format!("HTTP/1.1 {} Said\r\nContent-Type: {}\r\n", reply.status, reply.kind);
    if !reply.framed {
        let body = reply.pieces.concat();
        return stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes())?;
    for piece in &reply.pieces {
        stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())?;
    }
    stream.write_all(b"0\r\n\r\n")
}
