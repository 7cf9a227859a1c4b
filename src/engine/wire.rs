//! What goes over the wire for a prompt, in each dialect, made once a prompt: a request differs from the
//! next one of its prompt in the salt alone, which has a fixed length.

use std::collections::BTreeMap;

use memchr::memmem;
use serde_json::Value;

use super::address::Address;
use super::openai::Flavour;
use super::piece::{Malformed, Piece};
use super::{custom, llama_cpp, ollama, openai};
use crate::request::load_test::{Api, Content};
use crate::run::measure_plan::{Dialect, Framing};

/// Words before a prompt that no other prompt begins with: `[k3j9x0a1b2c4] `.
pub const SALT_LENGTH: usize = 15;
/// Stands where the salt goes while a body is made; nobody types it.
const PLACEHOLDER: &str = "[\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f] ";

/// A salt of 60 bits.
pub fn salt(number: u64) -> [u8; SALT_LENGTH] {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut salt = [b' '; SALT_LENGTH];
    salt[0] = b'[';
    salt[SALT_LENGTH - 2] = b']';
    for (at, digit) in salt[1..SALT_LENGTH - 2].iter_mut().enumerate() {
        *digit = DIGITS[(number >> (5 * at) & 31) as usize];
    }
    salt
}

/// A prompt behind its salt as one text; messages one after the other.
pub fn prompt_text(content: &Content, salt: &str) -> String {
    match content {
        Content::Text(text) => format!("{salt}{text}"),
        Content::Messages(list) => {
            let texts: Vec<&str> = list.iter().map(|message| message.content.as_str()).collect();
            format!("{salt}{}", texts.join("\n\n"))
        }
    }
}

/// One prompt with how it is to be answered.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub model: Option<&'a str>,
    pub content: &'a Content,
    pub max_tokens: u32,
    pub temperature: f64,
    pub ignore_eos: bool,
    pub stream: bool,
    /// The engine is not to take the prompt from its cache, where it can be told.
    pub cold: bool,
    /// The text is in the form of a chat template already.
    pub rendered: bool,
    /// Before the prompt; empty for none.
    pub salt: &'a str,
}

impl Ask<'_> {
    pub fn messages(&self) -> Value {
        openai::messages(self.content, self.salt)
    }

    /// The prompt as one text; messages one after the other.
    pub fn text(&self) -> String {
        prompt_text(self.content, self.salt)
    }
}

/// How to speak to one server.
#[derive(Debug, Clone)]
pub struct Wire {
    pub dialect: Dialect,
    pub api: Api,
    pub address: Address,
    /// Sent as a bearer token; in no record.
    pub key: Option<String>,
}

/// A request, ready to send but for its salt.
#[derive(Debug, Clone)]
pub struct Prepared {
    bytes: Vec<u8>,
    salt_at: Option<usize>,
    pub framing: Framing,
    pub max_tokens: u32,
}

impl Prepared {
    /// Puts the request with this salt into `out`.
    pub fn write(&self, salt: [u8; SALT_LENGTH], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.salt_at {
            out[at..at + SALT_LENGTH].copy_from_slice(&salt);
        }
    }
}

impl Wire {
    /// Makes the request for a prompt, salted or not.
    ///
    /// # Errors
    /// A custom engine's template that makes no JSON.
    pub fn prepare(&self, ask: &Ask<'_>, salted: bool) -> Result<Prepared, Malformed> {
        let ask = Ask { salt: if salted { PLACEHOLDER } else { "" }, ..*ask };
        let body = match &self.dialect {
            Dialect::OpenAi => openai::body(&ask, self.api, Flavour::Plain),
            Dialect::Vllm => openai::body(&ask, self.api, Flavour::Vllm),
            Dialect::LlamaCpp => match self.api {
                Api::Chat => openai::body(&ask, self.api, Flavour::LlamaCpp),
                Api::Completions => llama_cpp::body(&ask),
            },
            Dialect::Ollama => ollama::body(&ask, self.api),
            Dialect::Custom(engine) => custom::body(engine, &ask)?,
        };
        let body = body.to_string();
        let bytes = self.request("POST", self.path(), Some(&body));
        let salt_at = if salted { memmem::find(&bytes, PLACEHOLDER.as_bytes()) } else { None };
        let framing = match &self.dialect {
            Dialect::Custom(engine) => engine.framing,
            Dialect::OpenAi | Dialect::Vllm | Dialect::LlamaCpp if ask.stream => Framing::Sse,
            Dialect::Ollama if ask.stream => Framing::Ndjson,
            Dialect::OpenAi | Dialect::Vllm | Dialect::LlamaCpp | Dialect::Ollama => Framing::Json,
        };
        Ok(Prepared { bytes, salt_at, framing, max_tokens: ask.max_tokens })
    }

    /// The path that takes prompts.
    pub fn path(&self) -> &str {
        match &self.dialect {
            Dialect::OpenAi | Dialect::Vllm => openai::path(self.api),
            Dialect::LlamaCpp => match self.api {
                Api::Chat => openai::path(self.api),
                Api::Completions => llama_cpp::PATH,
            },
            Dialect::Ollama => ollama::path(self.api),
            Dialect::Custom(engine) => &engine.generate,
        }
    }

    /// What is before every path. Clients of OpenAI are given URLs that end in `/v1`, which our paths
    /// begin with.
    fn prefix(&self) -> &str {
        let prefix = self.address.prefix.as_str();
        match &self.dialect {
            Dialect::Custom(_) => prefix,
            Dialect::OpenAi | Dialect::Vllm | Dialect::LlamaCpp | Dialect::Ollama => {
                prefix.strip_suffix("/v1").unwrap_or(prefix)
            }
        }
    }

    /// A whole request in bytes.
    pub fn request(&self, method: &str, path: &str, body: Option<&str>) -> Vec<u8> {
        let none = BTreeMap::new();
        let headers = match &self.dialect {
            Dialect::Custom(engine) => &engine.headers,
            Dialect::OpenAi | Dialect::Vllm | Dialect::LlamaCpp | Dialect::Ollama => &none,
        };
        let mut head = format!(
            "{method} {}{path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: benchlet/{}\r\nAccept: */*\r\n",
            self.prefix(),
            self.address.host_header(),
            env!("CARGO_PKG_VERSION"),
        );
        if let Some(key) = &self.key {
            head.push_str(&format!("Authorization: Bearer {key}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        head.push_str(body.unwrap_or_default());
        head.into_bytes()
    }

    /// What a piece of an answer means.
    ///
    /// # Errors
    /// It is not of the dialect.
    pub fn piece<'d>(&self, data: &'d [u8]) -> Result<Piece<'d>, Malformed> {
        match &self.dialect {
            Dialect::OpenAi | Dialect::Vllm => openai::piece(data),
            Dialect::LlamaCpp => match self.api {
                Api::Chat => openai::piece(data),
                Api::Completions => llama_cpp::piece(data),
            },
            Dialect::Ollama => ollama::piece(data),
            Dialect::Custom(engine) => custom::piece(engine, data),
        }
    }

    /// Whether every whole stream of the dialect says why it ended, so that one that does not was cut.
    pub fn tells_the_end(&self) -> bool {
        match &self.dialect {
            Dialect::OpenAi | Dialect::Vllm | Dialect::LlamaCpp | Dialect::Ollama => true,
            Dialect::Custom(engine) => engine.finish_reason.is_some(),
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
