//! A server on a free port and a plain client for the tests: blocking, and strict about HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Options, SimulationError, Truth, run};

/// Long enough to be no race; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Sim {
    address: SocketAddr,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<Result<(), SimulationError>>>,
}

impl Sim {
    pub fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || run(listener, options, stop));
        Self { address, shutdown, thread: Some(thread) }
    }

    pub fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, buffer: Vec::new() }
    }

    /// One exchange on a connection of its own.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.client().post(path, body)
    }

    pub fn get(&self, path: &str) -> Answer {
        let mut client = self.client();
        client.write(format!("GET {path} HTTP/1.1\r\nHost: sim\r\n\r\n").as_bytes());
        client.answer()
    }

    /// Asks for the metrics until a sample has a value.
    pub fn await_metric(&self, name: &str, wanted: f64) {
        let until = Instant::now() + PATIENCE;
        loop {
            let metrics = self.get("/metrics").text();
            let line = metrics.lines().find(|line| line.starts_with(&format!("vllm:{name}{{")));
            let value: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
            if value == wanted {
                return;
            }
            assert!(Instant::now() < until, "{name} is {value}, not {wanted}");
            std::thread::yield_now();
        }
    }

    /// Ends the server and waits for that.
    pub fn stop(mut self) {
        self.shutdown.cancel();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    /// Ends the server and reads what it logged.
    pub fn truths(self, log: &Path) -> Vec<Truth> {
        self.stop();
        let text = std::fs::read_to_string(log).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The body, chunk by chunk, or as one.
    pub chunks: Vec<String>,
    /// The connection ended before the body did.
    pub cut: bool,
}

pub fn request(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: sim\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

impl Client {
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, path: &str, body: &str) {
        self.write(request(path, body).as_bytes());
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send(path, body);
        self.answer()
    }

    /// Whether there was more to read.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes).unwrap();
        self.buffer.extend_from_slice(&bytes[..count]);
        count > 0
    }

    fn take(&mut self, length: usize) -> String {
        String::from_utf8(self.buffer.drain(..length).collect()).unwrap()
    }

    /// Reads the interim head that lets a client go on with its body.
    pub fn answer_to_expectation(&mut self) -> String {
        while !self.buffer.ends_with(b"\r\n\r\n") {
            assert!(self.more(), "the connection ended");
        }
        self.take(self.buffer.len())
    }

    pub fn answer(&mut self) -> Answer {
        let (mut answer, length) = loop {
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut parsed = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(length) = parsed.parse(&self.buffer).unwrap() {
                let headers = parsed.headers.iter().map(|header| {
                    (header.name.to_owned(), String::from_utf8(header.value.to_vec()).unwrap())
                });
                let headers = headers.collect();
                break (
                    Answer { status: parsed.code.unwrap(), headers, chunks: Vec::new(), cut: false },
                    length,
                );
            }
            assert!(self.more(), "the connection ended before the head did");
        };
        self.take(length);
        if let Some(length) = answer.header("Content-Length") {
            let length = length.parse().unwrap();
            while self.buffer.len() < length {
                if !self.more() {
                    answer.cut = true;
                    break;
                }
            }
            let body = self.take(length.min(self.buffer.len()));
            answer.chunks.push(body);
        } else if answer.header("Transfer-Encoding") == Some("chunked") {
            loop {
                match httparse::parse_chunk_size(&self.buffer).unwrap() {
                    httparse::Status::Complete((length, size))
                        if self.buffer.len() >= length + size as usize + 2 =>
                    {
                        self.take(length);
                        let chunk = self.take(size as usize);
                        assert_eq!(self.take(2), "\r\n");
                        if size == 0 {
                            break;
                        }
                        answer.chunks.push(chunk);
                    }
                    httparse::Status::Complete(_) | httparse::Status::Partial => {
                        if !self.more() {
                            answer.cut = true;
                            break;
                        }
                    }
                }
            }
        } else {
            while self.more() {}
            let body = self.take(self.buffer.len());
            answer.chunks.push(body);
        }
        answer
    }

    /// The server has closed the connection.
    pub fn at_end(&mut self) -> bool {
        self.buffer.is_empty() && !self.more()
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        self.chunks.concat()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Server-sent events, each of which came as a chunk of its own; `[DONE]` is null.
    pub fn events(&self) -> Vec<Value> {
        let event = |chunk: &String| {
            let data = chunk.strip_prefix("data: ").and_then(|data| data.strip_suffix("\n\n")).unwrap();
            if data == "[DONE]" { Value::Null } else { serde_json::from_str(data).unwrap() }
        };
        self.chunks.iter().map(event).collect()
    }

    /// JSON lines, each of which came as a chunk of its own.
    pub fn lines(&self) -> Vec<Value> {
        let line = |chunk: &String| serde_json::from_str(chunk.strip_suffix('\n').unwrap()).unwrap();
        self.chunks.iter().map(line).collect()
    }
}
