//! A server of files that answers as a test's script says, byte by byte, and tells the test what it was
//! asked. Can be a model hub. Order comes from gates and from waiting for what was seen, never from sleeping.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub path: String,
    headers: String,
}

impl Asked {
    /// A header's value, as it was sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.lines().filter_map(|line| line.split_once(": "));
        named.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The first byte that is asked for.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    pub fn is_content(&self) -> bool {
        self.method == "GET" && !self.path.starts_with("/api/")
    }
}

/// The connection, for one answer; it is closed after it.
pub struct Answer {
    stream: TcpStream,
    is_head: bool,
}

impl Answer {
    /// A status line, headers, and as much of a body as is given, whatever the headers say of it.
    pub fn send(&mut self, status: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        // Whoever has gone meanwhile is none of a script's business.
        let _ = self.stream.write_all(format!("{head}\r\n").as_bytes());
        self.more(body);
    }

    /// More of the body.
    pub fn more(&mut self, body: &[u8]) {
        if !self.is_head {
            let _ = self.stream.write_all(body);
        }
    }

    pub fn status(&mut self, status: &str) {
        self.send(status, &[("Content-Length", "0")], b"");
    }

    pub fn redirect(&mut self, to: &str) {
        self.send("302 Found", &[("Location", to), ("Content-Length", "0")], b"");
    }

    /// A file, or the rest of it that is asked for, broken off after so many bytes.
    pub fn file_until(&mut self, asked: &Asked, content: &[u8], most: usize) {
        let etag = format!("\"{}\"", &sha256(content)[..16]);
        let same = asked.header("if-range").is_none_or(|wanted| wanted == etag);
        let total = content.len();
        match asked.from().filter(|_| same) {
            Some(from) if from >= total => {
                self.send(
                    "416 Range Not Satisfiable",
                    &[("Content-Range", &format!("bytes */{total}"))],
                    b"",
                );
            }
            Some(from) => {
                let range = format!("bytes {from}-{}/{total}", total - 1);
                let length = (total - from).to_string();
                let headers = [("Content-Range", &*range), ("Content-Length", &*length), ("ETag", &*etag)];
                let end = total.min(from.saturating_add(most));
                self.send("206 Partial Content", &headers, &content[from..end]);
            }
            None => {
                let length = total.to_string();
                let headers = [("Content-Length", &*length), ("ETag", &*etag), ("Accept-Ranges", "bytes")];
                self.send("200 OK", &headers, &content[..most.min(total)]);
            }
        }
    }

    pub fn file(&mut self, asked: &Asked, content: &[u8]) {
        self.file_until(asked, content, usize::MAX);
    }
}

#[derive(Default)]
struct Watch {
    seen: Mutex<Vec<Asked>>,
    changed: Condvar,
}

pub struct FileServer {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    watch: Arc<Watch>,
}

impl FileServer {
    /// The script is called for each request, on a thread of its own.
    pub fn new(script: impl Fn(&Asked, &mut Answer) + Send + Sync + 'static) -> Self {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let address = listener.local_addr().unwrap();
        let watch = Arc::new(Watch::default());
        let (accepting, noting, script) = (Arc::clone(&listener), Arc::clone(&watch), Arc::new(script));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let (watch, script) = (Arc::clone(&noting), Arc::clone(&script));
                std::thread::spawn(move || {
                    let Some(asked) = read_request(&stream) else { return };
                    watch.seen.lock().unwrap().push(asked.clone());
                    watch.changed.notify_all();
                    script(&asked, &mut Answer { stream, is_head: asked.method == "HEAD" });
                });
            }
        });
        Self { address, listener, watch }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was asked so far.
    pub fn seen(&self) -> Vec<Asked> {
        self.watch.seen.lock().unwrap().clone()
    }

    /// What was asked for content.
    pub fn contents(&self) -> Vec<Asked> {
        self.seen().into_iter().filter(Asked::is_content).collect()
    }

    /// Waits until what was asked is as wanted.
    #[track_caller]
    pub fn until(&self, what: &str, mut wanted: impl FnMut(&[Asked]) -> bool) {
        let seen = self.watch.seen.lock().unwrap();
        let minute = Duration::from_secs(60);
        let (seen, waited) =
            self.watch.changed.wait_timeout_while(seen, minute, |seen| !wanted(seen)).unwrap();
        assert!(!waited.timed_out(), "waited a minute in vain: {what}; seen {seen:?}");
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
    }
}

fn read_request(mut stream: &TcpStream) -> Option<Asked> {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => head.extend_from_slice(&buffer[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (line, headers) = head.split_once("\r\n")?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Asked { method, path, headers: headers.to_owned() })
}

/// A repository of a hub, at one commit.
#[derive(Clone)]
pub struct Repository {
    pub commit: String,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    pub fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.clone())).collect();
        Self { commit: "c0ffee".repeat(6) + "0000", files }
    }

    /// A hub with this repository alone, `owner/repo`, and nothing wrong with it.
    pub fn serve(self) -> FileServer {
        FileServer::new(move |asked, answer| self.answer(asked, answer))
    }

    pub fn answer(&self, asked: &Asked, answer: &mut Answer) {
        if asked.path.starts_with("/api/models/owner/repo/revision/") {
            return self.list(answer);
        }
        match self.named(asked) {
            None => answer.status("404 Not Found"),
            Some((name, content)) if asked.method == "HEAD" => self.describe(name, content, answer),
            Some((_, content)) => answer.file(asked, content),
        }
    }

    /// The file that is asked for.
    pub fn named(&self, asked: &Asked) -> Option<(&str, &[u8])> {
        let rest = asked.path.strip_prefix("/owner/repo/resolve/")?;
        let (_, name) = rest.split_once('/')?;
        self.files.get_key_value(name).map(|(name, content)| (name.as_str(), content.as_slice()))
    }

    /// What a hub says of a large file before it sends anybody elsewhere.
    pub fn describe(&self, _: &str, content: &[u8], answer: &mut Answer) {
        let (size, etag) = (content.len().to_string(), format!("\"{}\"", sha256(content)));
        let headers = [
            ("X-Repo-Commit", self.commit.as_str()),
            ("X-Linked-Etag", &etag),
            ("X-Linked-Size", &size),
            ("Location", "http://127.0.0.1:9/never-asked"),
            ("Content-Length", "0"),
        ];
        answer.send("302 Found", &headers, b"");
    }

    pub fn list(&self, answer: &mut Answer) {
        let siblings: Vec<_> = self
            .files
            .iter()
            .map(|(name, content)| {
                let large = json!({ "sha256": sha256(content), "size": content.len() });
                json!({ "rfilename": name, "size": content.len(), "blobId": "0".repeat(40), "lfs": large })
            })
            .collect();
        let body = json!({ "sha": self.commit, "siblings": siblings }).to_string();
        answer.send("200 OK", &[("Content-Length", &body.len().to_string())], body.as_bytes());
    }
}

pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many bytes that look like nothing, the same for the same seed.
pub fn content(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    // As a model file begins, so that it may be called one.
    b"GGUF".iter().copied().chain(std::iter::repeat_with(next)).take(bytes).collect()
}
