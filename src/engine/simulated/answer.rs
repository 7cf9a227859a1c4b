//! The bytes of an answer in each dialect: the pieces of a stream, and the answer in one. What does not
//! change from piece to piece is formatted once. Writes to no socket and tells no time.

use std::io::Write as _;
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};

use super::asked::{Asked, Form};
use super::prompt_cache::PromptTokens;

/// Marks every answer of the OpenAI kind.
/// Its version wherever one is told; begins with [`super::VERSION_BEGINS`].
pub const FINGERPRINT: &str = concat!("simulated-benchlet-", env!("CARGO_PKG_VERSION"));

/// Each is one token by the rule of [`super::prompt_cache::count_tokens`].
const VOCABULARY: [&str; 32] = [
    "able", "acid", "also", "area", "away", "back", "ball", "band", "base", "bear", "bell", "bird", "blue",
    "boat", "body", "book", "calm", "cold", "corn", "dark", "deep", "door", "east", "fair", "farm", "fire",
    "gold", "hill", "lake", "moon", "rain", "wind",
];

/// How long the parts took, for the dialects that tell it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub prompt: Duration,
    pub tokens: Duration,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    form: Form,
    n: u64,
    /// Fields that each piece begins with, without the braces.
    common: String,
    /// A piece around its text.
    before: Vec<u8>,
    after: Vec<u8>,
    prompt: PromptTokens,
    asked: Asked,
    /// llama.cpp's `timings` in answers of the OpenAI kind too.
    timings: bool,
}

/// Who answers.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'a> {
    /// As answers name it.
    pub model: &'a str,
    pub unix_seconds: u64,
    /// The same for Ollama, which writes it out.
    pub written_time: &'a str,
    /// llama.cpp's `timings` in answers of the OpenAI kind too.
    pub timings: bool,
}

impl Answer {
    /// The answer to the request numbered `n`.
    pub fn new(form: Form, n: u64, asked: Asked, prompt: PromptTokens, by: Signature<'_>) -> Self {
        let model = Value::from(by.model);
        let openai = |kind: &str, object: &str| {
            format!(
                r#""id":"{kind}-sim-{n}","object":"{object}","created":{},"model":{model},"system_fingerprint":"{FINGERPRINT}""#,
                by.unix_seconds
            )
        };
        let suffix = if asked.stream { ".chunk" } else { "" };
        let common = match form {
            Form::Chat => openai("chatcmpl", &format!("chat.completion{suffix}")),
            Form::Completions => openai("cmpl", "text_completion"),
            Form::LlamaCompletion => r#""index":0"#.to_owned(),
            Form::OllamaGenerate | Form::OllamaChat => {
                format!(r#""model":{model},"created_at":"{}""#, by.written_time)
            }
        };
        let (before, after) = match form {
            Form::Chat => (
                format!(r#"data: {{{common},"choices":[{{"index":0,"delta":{{"content":""#),
                r#""},"logprobs":null,"finish_reason":null}]"#,
            ),
            Form::Completions => (
                format!(r#"data: {{{common},"choices":[{{"index":0,"text":""#),
                r#"","logprobs":null,"finish_reason":null}]"#,
            ),
            Form::LlamaCompletion => (format!(r#"data: {{{common},"content":""#), r#"","tokens":["#),
            Form::OllamaGenerate => (format!(r#"{{{common},"response":""#), r#"","done":false"#),
            Form::OllamaChat => {
                (format!(r#"{{{common},"message":{{"role":"assistant","content":""#), r#""},"done":false"#)
            }
        };
        Self {
            form,
            n,
            common,
            before: before.into_bytes(),
            after: after.as_bytes().to_vec(),
            prompt,
            timings: by.timings,
            asked,
        }
    }

    pub fn content_type(&self) -> &'static str {
        match (self.asked.stream, self.form) {
            (true, Form::OllamaGenerate | Form::OllamaChat) => "application/x-ndjson",
            (true, Form::Chat | Form::Completions | Form::LlamaCompletion) => "text/event-stream",
            (false, _) => "application/json; charset=utf-8",
        }
    }

    /// What a stream begins with before its first token: a role and no text, in a chat.
    pub fn opening(&self, out: &mut Vec<u8>) {
        if self.form == Form::Chat {
            let choices = r#"[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]"#;
            let _ = write!(out, r#"data: {{{},"choices":{choices}"#, self.common);
            self.continuous_usage(out, 0);
            out.extend_from_slice(b"}\n\n");
        }
    }

    /// The piece of a stream with these tokens of the answer. Allocates nothing once `out` is long enough.
    pub fn piece(&self, out: &mut Vec<u8>, tokens: Range<u64>, spent: Spent) {
        out.extend_from_slice(&self.before);
        self.words(out, tokens.clone());
        out.extend_from_slice(&self.after);
        match self.form {
            Form::Chat | Form::Completions => {
                self.continuous_usage(out, tokens.end);
                out.extend_from_slice(b"}\n\n");
            }
            Form::LlamaCompletion => {
                for token in tokens.clone() {
                    let comma = if token == tokens.start { "" } else { "," };
                    let _ = write!(out, "{comma}{}", self.word(token));
                }
                let _ = write!(
                    out,
                    r#"],"stop":false,"id_slot":-1,"tokens_predicted":{},"tokens_evaluated":{}"#,
                    tokens.end, self.prompt.all
                );
                if self.asked.timings_per_token {
                    let _ = write!(out, r#","timings":{}"#, self.timings(tokens.end, spent));
                }
                out.extend_from_slice(b"}\n\n");
            }
            Form::OllamaGenerate | Form::OllamaChat => out.extend_from_slice(b"}\n"),
        }
    }

    /// The pieces behind the last token, one call of `emit` each.
    pub fn closing(&self, spent: Spent, mut emit: impl FnMut(&str)) {
        let common = &self.common;
        let tokens = self.asked.tokens;
        match self.form {
            Form::Chat | Form::Completions => {
                let text = if self.form == Form::Chat { r#""delta":{}"# } else { r#""text":"""# };
                let reason = self.finish_reason();
                let timings = match self.timings {
                    true => format!(r#","timings":{}"#, self.timings(tokens, spent)),
                    false => String::new(),
                };
                // llama.cpp tells its timings in the very last piece.
                let (with_end, with_usage) = match self.asked.usage {
                    true => ("", timings.as_str()),
                    false => (timings.as_str(), ""),
                };
                emit(&format!(
                    "data: {{{common},\"choices\":[{{\"index\":0,{text},\"logprobs\":null,\"finish_reason\":\"{reason}\"}}]{with_end}}}\n\n"
                ));
                if self.asked.usage {
                    let usage = self.usage();
                    emit(&format!("data: {{{common},\"choices\":[],\"usage\":{usage}{with_usage}}}\n\n"));
                }
                emit("data: [DONE]\n\n");
            }
            Form::LlamaCompletion => emit(&format!("data: {}\n\n", self.llama_end("", spent))),
            Form::OllamaGenerate | Form::OllamaChat => emit(&format!("{}\n", self.ollama_end("", spent))),
        }
    }

    /// The answer in one, as its body.
    pub fn whole(&self, spent: Spent) -> String {
        let mut text = Vec::new();
        self.words(&mut text, 0..self.asked.tokens);
        let text = String::from_utf8(text).unwrap_or_default();
        let choice = match self.form {
            Form::Chat => format!(r#""message":{{"role":"assistant","content":"{text}"}}"#),
            Form::Completions => format!(r#""text":"{text}""#),
            Form::LlamaCompletion => return self.llama_end(&text, spent),
            Form::OllamaGenerate | Form::OllamaChat => return self.ollama_end(&text, spent),
        };
        let timings = match self.timings {
            true => format!(r#","timings":{}"#, self.timings(self.asked.tokens, spent)),
            false => String::new(),
        };
        format!(
            r#"{{{},"choices":[{{"index":0,{choice},"logprobs":null,"finish_reason":"{}"}}],"usage":{}{timings}}}"#,
            self.common,
            self.finish_reason(),
            self.usage()
        )
    }

    fn finish_reason(&self) -> &'static str {
        if self.asked.limited { "length" } else { "stop" }
    }

    fn usage(&self) -> String {
        let (prompt, tokens) = (self.prompt, self.asked.tokens);
        format!(
            r#"{{"prompt_tokens":{},"total_tokens":{},"completion_tokens":{tokens},"prompt_tokens_details":{{"cached_tokens":{}}}}}"#,
            prompt.all,
            prompt.all + tokens,
            prompt.cached
        )
    }

    fn continuous_usage(&self, out: &mut Vec<u8>, tokens: u64) {
        if self.asked.continuous_usage {
            let all = self.prompt.all;
            let _ = write!(
                out,
                r#","usage":{{"prompt_tokens":{all},"total_tokens":{},"completion_tokens":{tokens}}}"#,
                all + tokens
            );
        }
    }

    fn timings(&self, tokens: u64, spent: Spent) -> Value {
        let prompt = self.prompt.all - self.prompt.cached;
        let (prompt_ms, predicted_ms) = (milliseconds(spent.prompt), milliseconds(spent.tokens));
        let per_second = |count: u64, ms: f64| if ms > 0.0 { count as f64 * 1000.0 / ms } else { 0.0 };
        let per_token = |count: u64, ms: f64| if count > 0 { ms / count as f64 } else { 0.0 };
        json!({
            "cache_n": self.prompt.cached, "prompt_n": prompt, "prompt_ms": prompt_ms,
            "prompt_per_token_ms": per_token(prompt, prompt_ms),
            "prompt_per_second": per_second(prompt, prompt_ms),
            "predicted_n": tokens, "predicted_ms": predicted_ms,
            "predicted_per_token_ms": per_token(tokens, predicted_ms),
            "predicted_per_second": per_second(tokens, predicted_ms),
        })
    }

    fn llama_end(&self, text: &str, spent: Spent) -> String {
        let tokens = self.asked.tokens;
        json!({
            "index": 0, "content": text, "tokens": [], "id_slot": 0, "stop": true, "model": "simulated",
            "tokens_predicted": tokens, "tokens_evaluated": self.prompt.all,
            "generation_settings": { "n_predict": tokens, "stream": self.asked.stream },
            "prompt": self.asked.prompt, "has_new_line": false, "truncated": false,
            "stop_type": if self.asked.limited { "limit" } else { "eos" }, "stopping_word": "",
            "tokens_cached": (self.prompt.all + tokens).saturating_sub(1),
            "timings": self.timings(tokens, spent),
        })
        .to_string()
    }

    fn ollama_end(&self, text: &str, spent: Spent) -> String {
        let text = match self.form {
            Form::OllamaChat => format!(r#""message":{{"role":"assistant","content":"{text}"}}"#),
            Form::Chat | Form::Completions | Form::LlamaCompletion | Form::OllamaGenerate => {
                format!(r#""response":"{text}""#)
            }
        };
        format!(
            r#"{{{},{text},"done":true,"done_reason":"{}","total_duration":{},"load_duration":0,"prompt_eval_count":{},"prompt_eval_duration":{},"eval_count":{},"eval_duration":{}}}"#,
            self.common,
            self.finish_reason(),
            (spent.prompt + spent.tokens).as_nanos(),
            self.prompt.all,
            spent.prompt.as_nanos(),
            self.asked.tokens,
            spent.tokens.as_nanos()
        )
    }

    /// Words need no escape in JSON.
    fn words(&self, out: &mut Vec<u8>, tokens: Range<u64>) {
        for token in tokens {
            if token > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(VOCABULARY[self.word(token)].as_bytes());
        }
    }

    /// Scattered over the vocabulary, and the same for a request's number and a token's.
    fn word(&self, token: u64) -> usize {
        let mixed = (self.n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ token).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 32) as usize % VOCABULARY.len()
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
