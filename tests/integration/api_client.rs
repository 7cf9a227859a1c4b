//! A client of the API for tests: one call a connection, streams that are read event by event, and nothing that
//! repairs what a test means to send.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::workbench::Workbench;

/// Only what hangs reaches this.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Client {
    pub address: String,
    pub token: String,
    runtime: tokio::runtime::Runtime,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is a stream of events, whose text is not read.
    pub fn is_stream(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }

    /// The code of a refusal, which has to have the shape of one.
    #[track_caller]
    pub fn code(&self) -> String {
        let json = self.json();
        assert!(json["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        json["error"]["code"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

impl Client {
    /// Of a workbench's controller, once it listens and has looked at everything.
    pub fn of(bench: &mut Workbench) -> Self {
        let pid = bench.controller_pid();
        let address = bench.until("the API's address", |bench| {
            let text = std::fs::read_to_string(bench.path("state/api.json")).ok()?;
            let told: Value = serde_json::from_str(&text).ok()?;
            (told["pid"] == pid).then(|| told["address"].as_str().unwrap().to_owned())
        });
        let token = std::fs::read_to_string(bench.path("state/token")).unwrap().trim().to_owned();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = Self { address, token, runtime };
        bench
            .until("the controller is ready", |_| (client.get_openly("/readyz").status == 200).then_some(()));
        client
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, Some(body))
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path, Some(body))
    }

    /// With the token.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("authorization", bearer.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        self.send(method, path, &headers, body.map(Value::to_string).unwrap_or_default().as_bytes())
    }

    pub fn get_openly(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// With these headers alone, and a Host unless they have one.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.runtime.block_on(async {
            let response = self.respond(method, path, headers, body).await;
            let status = response.status().as_u16();
            let headers = response.headers().iter();
            let headers = headers
                .map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect();
            if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
                // It has no end; who wants its events asks for them.
                return Answer { status, headers, text: String::new() };
            }
            let body = tokio::time::timeout(DEADLINE, response.into_body().collect());
            let bytes = body.await.expect("an end in time").unwrap().to_bytes();
            Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
        })
    }

    /// A stream of events, with the token.
    pub fn events(&self, path: &str, last: Option<&str>) -> Events<'_> {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(last.map(|id| ("last-event-id", id)));
        let response = self.runtime.block_on(self.respond("GET", path, &headers, b""));
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { client: self, body: response.into_body(), text: String::new() }
    }

    async fn respond(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response<Incoming> {
        let stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", &self.address);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        tokio::time::timeout(DEADLINE, sender.send_request(request))
            .await
            .expect("an answer in time")
            .unwrap()
    }
}

/// A stream that is being read.
pub struct Events<'c> {
    client: &'c Client,
    body: Incoming,
    text: String,
}

/// One event; what was not sent is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub kind: String,
    pub data: String,
}

impl Event {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Events<'_> {
    /// The first event that `is_it`.
    #[track_caller]
    pub fn until(&mut self, is_it: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().expect("the stream ended before");
            if is_it(&event) {
                return event;
            }
        }
    }

    /// Everything to the end.
    pub fn rest(mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(event) = event_of(&block) {
                    return Some(event);
                }
                continue;
            }
            let frame = async { tokio::time::timeout(DEADLINE, self.body.frame()).await };
            let frame = self.client.runtime.block_on(frame).expect("an event in time")?.unwrap();
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }
}

/// `None` for a comment, which keeps the connection alive.
fn event_of(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let texts: Vec<&str> = lines.map(|text| text.strip_prefix(' ').unwrap_or(text)).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    };
    let data = field("data")?;
    Some(Event { id: field("id").unwrap_or_default(), kind: field("event").unwrap_or_default(), data })
}
