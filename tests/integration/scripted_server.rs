//! A server that answers as a test's script says, byte by byte, and tells the test what it has seen. Its
//! health and its model are always there; the script gets the prompts alone. Order comes from gates and
//! from waiting for what was seen, never from sleeping.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

/// A prompt as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The connection that it came over, from 0, health and model questions included.
    pub connection: usize,
    pub body: Value,
}

impl Seen {
    /// The text of its first message.
    pub fn text(&self) -> String {
        self.body["messages"][0]["content"].as_str().unwrap_or_default().to_owned()
    }
}

/// What a script does with the connection after an answer.
pub enum After {
    /// Reads the next request from it.
    Keep,
    Close,
    /// Ends it with RST.
    Reset,
}

/// What the server has seen so far.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    pub connections: usize,
    /// Every request, questions included.
    pub asked: usize,
    pub prompts: Vec<Seen>,
    /// Prompts without a whole answer, now and at most.
    pub in_flight: usize,
    pub most_in_flight: usize,
}

#[derive(Default)]
struct Watch {
    sight: Mutex<Sight>,
    changed: Condvar,
}

impl Watch {
    fn note<T>(&self, change: impl FnOnce(&mut Sight) -> T) -> T {
        let told = change(&mut self.sight.lock().unwrap());
        self.changed.notify_all();
        told
    }
}

/// Holds whoever waits until it is opened, then nobody.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub fn wait(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(open, |open| !*open).unwrap());
    }
}

/// One prompt and the way to answer it.
pub struct Exchange {
    stream: TcpStream,
    watch: Arc<Watch>,
    /// Of the prompt, from 0 in the order in which they came in whole.
    pub number: usize,
    ended: bool,
}

type Script = dyn Fn(&mut Exchange) -> After + Send + Sync;

pub struct Server {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    watch: Arc<Watch>,
}

/// Questions that measuring asks before the first prompt, each over a connection of its own: health and
/// models, as an OpenAI-compatible server is asked.
pub const QUESTIONS: usize = 2;

impl Server {
    pub fn new(script: impl Fn(&mut Exchange) -> After + Send + Sync + 'static) -> Self {
        Self::with_questions(script, |_| {})
    }

    /// `before` is called before each question is answered, with its number from 1.
    pub fn with_questions(
        script: impl Fn(&mut Exchange) -> After + Send + Sync + 'static,
        before: impl Fn(usize) + Send + Sync + 'static,
    ) -> Self {
        Self::taking(usize::MAX, script, before)
    }

    /// A server that refuses every connection after so many.
    pub fn gone_after(
        connections: usize,
        script: impl Fn(&mut Exchange) -> After + Send + Sync + 'static,
    ) -> Self {
        Self::taking(connections, script, |_| {})
    }

    fn taking(
        most: usize,
        script: impl Fn(&mut Exchange) -> After + Send + Sync + 'static,
        before: impl Fn(usize) + Send + Sync + 'static,
    ) -> Self {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let server =
            Self { address: listener.local_addr().unwrap(), listener, watch: Arc::new(Watch::default()) };
        let (listener, watch) = (Arc::clone(&server.listener), Arc::clone(&server.watch));
        let (script, before): (Arc<Script>, Arc<dyn Fn(usize) + Send + Sync>) =
            (Arc::new(script), Arc::new(before));
        std::thread::spawn(move || {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept() {
                if connection + 1 == most {
                    refuse(&listener);
                }
                watch.note(|sight| sight.connections += 1);
                let (watch, script, before) = (Arc::clone(&watch), Arc::clone(&script), Arc::clone(&before));
                std::thread::spawn(move || serve(&stream, connection, &watch, &*script, &*before));
                connection += 1;
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn sight(&self) -> Sight {
        self.watch.sight.lock().unwrap().clone()
    }

    /// Waits until what was seen is as wanted.
    #[track_caller]
    pub fn until(&self, what: &str, mut wanted: impl FnMut(&Sight) -> bool) -> Sight {
        let sight = self.watch.sight.lock().unwrap();
        let minute = Duration::from_secs(60);
        let (sight, waited) =
            self.watch.changed.wait_timeout_while(sight, minute, |sight| !wanted(sight)).unwrap();
        let sight = sight.clone();
        assert!(!waited.timed_out(), "waited a minute in vain: {what}; seen {sight:?}");
        sight
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        refuse(&self.listener);
    }
}

/// Listens no more, and yet keeps the port, so that nobody else answers there.
fn refuse(listener: &TcpListener) {
    // Fails the second time, which is as good.
    let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
}

fn serve(
    stream: &TcpStream,
    connection: usize,
    watch: &Arc<Watch>,
    script: &Script,
    before: &(dyn Fn(usize) + Send + Sync),
) {
    stream.set_nodelay(true).unwrap();
    let mut pending = Vec::new();
    while let Some((head, body)) = read_request(stream, &mut pending) {
        let asked = watch.note(|sight| {
            sight.asked += 1;
            sight.asked
        });
        let mut to = stream;
        if head.starts_with("GET ") {
            before(asked);
            let models = r#"{"data":[{"id":"scripted"}]}"#;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{models}", models.len());
            if to.write_all(answer.as_bytes()).is_err() {
                return;
            }
            continue;
        }
        let prompt = Seen { connection, body: serde_json::from_slice(&body).unwrap_or_default() };
        let number = watch.note(|sight| {
            sight.prompts.push(prompt);
            sight.in_flight += 1;
            sight.most_in_flight = sight.most_in_flight.max(sight.in_flight);
            sight.prompts.len() - 1
        });
        let stream = stream.try_clone().unwrap();
        let mut exchange = Exchange { stream, watch: Arc::clone(watch), number, ended: false };
        let after = script(&mut exchange);
        exchange.is_over();
        match after {
            After::Keep => {}
            After::Close => return,
            After::Reset => {
                rustix::net::sockopt::set_socket_linger(to, Some(Duration::ZERO)).unwrap();
                return;
            }
        }
    }
}

/// The next request's head and body; `None` where the client is gone.
fn read_request(mut stream: &TcpStream, pending: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut buffer = [0; 64 << 10];
    loop {
        if let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&pending[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse::<usize>().unwrap());
            if pending.len() >= end + 4 + length {
                let body = pending[end + 4..end + 4 + length].to_vec();
                pending.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => pending.extend_from_slice(&buffer[..read]),
        }
    }
}

impl Exchange {
    /// Sends these bytes at once. A client that has gone meanwhile is none of a script's business.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Head of a stream in chunks.
    pub fn head(&mut self) {
        self.send(HEAD);
    }

    /// One event in a chunk of its own.
    pub fn event(&mut self, data: &str) {
        self.send(chunk(format!("data: {data}\n\n")));
    }

    pub fn content(&mut self, text: &str) {
        self.event(&content(text));
    }

    /// The reason, `[DONE]` and the last chunk.
    pub fn finish(&mut self) {
        self.event(FINISH);
        self.event("[DONE]");
        self.is_over();
        self.send("0\r\n\r\n");
    }

    /// A whole answer of two tokens.
    pub fn answer(&mut self) -> After {
        self.head();
        self.content("one");
        self.content(" two");
        self.finish();
        After::Keep
    }

    /// An answer with a status, a body and nothing else.
    pub fn status(&mut self, line: &str, body: &str) -> After {
        self.is_over();
        self.send(format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        After::Keep
    }

    /// No longer in flight. Said before the client can know, so that what it sends then is never one more.
    fn is_over(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.watch.note(|sight| sight.in_flight -= 1);
        }
    }
}

pub const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
pub const FINISH: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;

pub fn content(text: &str) -> String {
    serde_json::json!({ "choices": [{ "delta": { "content": text } }] }).to_string()
}

/// Bytes as one chunk of HTTP's.
pub fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
