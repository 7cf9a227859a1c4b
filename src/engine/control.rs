//! What is asked of a server beside prompts: whether it is there, what it serves, how it counts, and to
//! forget its cache. Each call is one connection and has a limit.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::connection::Connector;
use super::http::ResponseReader;
use super::wire::{Wire, prompt_text};
use super::{openai, simulated};
use crate::request::load_test::{Api, Content};
use crate::run::measure_plan::Dialect;
use crate::run::request_record::TargetFacts;

/// Longest time that a question may take.
pub const ASK_LIMIT: Duration = Duration::from_secs(10);
/// Largest answer to one, in bytes.
const MOST: usize = 16 << 20;

/// Why a question has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AskError {
    /// No connection, or it ended.
    #[error("{0}")]
    Unreachable(String),
    /// Another status than 2xx.
    #[error("{path} answered HTTP {status}: {words}")]
    Status { path: String, status: u16, words: String },
    #[error("{path} answered something else than JSON: {words}")]
    NotJson { path: String, words: String },
}

impl Wire {
    /// Asks and gives the status with the body.
    ///
    /// # Errors
    /// The server was not reached, or did not answer within `limit`.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<(u16, Vec<u8>), AskError> {
        let asked = tokio::time::timeout(limit, self.exchange(method, path, body, limit)).await;
        let late = || format!("{}{path} did not answer within {} s", self.address, limit.as_secs_f64());
        asked.unwrap_or_else(|_| Err(AskError::Unreachable(late())))
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<(u16, Vec<u8>), AskError> {
        let failed = |words: String| AskError::Unreachable(words);
        let connector = Connector::new(&self.address).await.map_err(|error| failed(error.0))?;
        let mut connection = connector.open(limit).await.map_err(|error| failed(error.0))?;
        let text = body.map(Value::to_string);
        let lost = |error: std::io::Error| failed(format!("{}{path}: {error}", self.address));
        connection.send(&self.request(method, path, text.as_deref())).await.map_err(lost)?;
        let (mut reader, mut answer) = (ResponseReader::default(), Vec::new());
        let mut buffer = vec![0; 16 << 10];
        while !reader.is_done() {
            let read = connection.read(&mut buffer).await.map_err(lost)?;
            let odd = |error: super::http::HttpError| failed(format!("{}{path}: {error}", self.address));
            if read == 0 {
                reader.end().map_err(odd)?;
                break;
            }
            reader.feed(&buffer[..read], |bytes| answer.extend_from_slice(bytes)).map_err(odd)?;
            if answer.len() > MOST {
                return Err(failed(format!("{}{path} answers more than {} MiB", self.address, MOST >> 20)));
            }
        }
        Ok((reader.head().map_or(0, |head| head.status), answer))
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// As [`Wire::ask`], and what is no JSON or no success.
    pub async fn ask_json(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, AskError> {
        let (status, answer) = self.ask(method, path, body, ASK_LIMIT).await?;
        let words = || String::from_utf8_lossy(&answer[..answer.len().min(200)]).trim().to_owned();
        if !(200..300).contains(&status) {
            return Err(AskError::Status { path: path.to_owned(), status, words: words() });
        }
        serde_json::from_slice(&answer)
            .map_err(|_| AskError::NotJson { path: path.to_owned(), words: words() })
    }

    /// Whether the server is ready: reached, and not loading.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn health(&self, limit: Duration) -> Result<(), AskError> {
        let path = match &self.dialect {
            Dialect::LlamaCpp | Dialect::Vllm => "/health",
            Dialect::Ollama => "/api/version",
            Dialect::OpenAi => "/v1/models",
            Dialect::Custom(engine) => engine.health.as_str(),
        };
        let (status, answer) = self.ask("GET", path, None, limit).await?;
        // A server without the path is a server all the same.
        if (200..300).contains(&status) || status == 404 || status == 405 {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&answer[..answer.len().min(200)]).trim().to_owned();
        Err(AskError::Status { path: path.to_owned(), status, words })
    }

    /// What the server says of itself and of `model`, else of the one that it names first. What it does
    /// not say is left unknown; nothing here fails a run.
    pub async fn facts(&self, model: Option<&str>) -> TargetFacts {
        let mut facts = TargetFacts { url: self.address.to_string(), ..TargetFacts::default() };
        match &self.dialect {
            Dialect::OpenAi | Dialect::Vllm | Dialect::LlamaCpp => {
                if let Ok(models) = self.ask_json("GET", "/v1/models", None).await {
                    let list = models["data"].as_array().cloned().unwrap_or_default();
                    let names = list.iter().filter_map(|model| model["id"].as_str().map(str::to_owned));
                    facts.models = names.collect();
                    let entry = entry(&list, "id", model);
                    facts.simulated = entry["owned_by"] == simulated::OWNER;
                    let number = |pointer: &str| entry.pointer(pointer).and_then(Value::as_u64);
                    facts.context_window = number("/max_model_len");
                    facts.model_size_bytes = number("/meta/size");
                    facts.model_params = number("/meta/n_params").map(|count| count.to_string());
                }
            }
            Dialect::Ollama => {
                if let Ok(tags) = self.ask_json("GET", "/api/tags", None).await {
                    let list = tags["models"].as_array().cloned().unwrap_or_default();
                    let names = list.iter().filter_map(|model| model["name"].as_str().map(str::to_owned));
                    facts.models = names.collect();
                    let entry = entry(&list, "name", model);
                    facts.model_size_bytes = entry["size"].as_u64();
                    facts.model_params =
                        entry.pointer("/details/parameter_size").and_then(Value::as_str).map(str::to_owned);
                }
            }
            Dialect::Custom(_) => {}
        }
        match &self.dialect {
            Dialect::LlamaCpp => {
                if let Ok(props) = self.ask_json("GET", "/props", None).await {
                    let slots = props["total_slots"].as_u64();
                    facts.slots = slots.and_then(|slots| u32::try_from(slots).ok());
                    let context = props.pointer("/default_generation_settings/n_ctx").and_then(Value::as_u64);
                    facts.context_window = context.or(facts.context_window);
                    facts.version = props["build_info"].as_str().map(str::to_owned);
                }
            }
            Dialect::Vllm => {
                if let Ok(version) = self.ask_json("GET", "/version", None).await {
                    facts.version = version["version"].as_str().map(str::to_owned);
                }
            }
            Dialect::Ollama => {
                // Only a model that is loaded has a context, which is rarely all that it was trained for.
                if let Ok(loaded) = self.ask_json("GET", "/api/ps", None).await {
                    let list = loaded["models"].as_array().cloned().unwrap_or_default();
                    let wanted = model.or(facts.models.first().map(String::as_str));
                    let own = wanted.and_then(|wanted| named(&list, "name", wanted));
                    facts.context_window = own.and_then(|own| own["context_length"].as_u64());
                }
                if let Ok(version) = self.ask_json("GET", "/api/version", None).await {
                    facts.version = version["version"].as_str().map(str::to_owned);
                }
            }
            Dialect::OpenAi | Dialect::Custom(_) => {}
        }
        facts.simulated |=
            facts.version.as_ref().is_some_and(|version| version.starts_with(simulated::VERSION_BEGINS));
        facts.model = model.map(str::to_owned).or_else(|| facts.models.first().cloned());
        facts
    }

    /// Tokens of a text by the server's own count, where it can be asked.
    pub async fn count_tokens(&self, model: Option<&str>, text: &str) -> Option<u64> {
        let body = match &self.dialect {
            Dialect::LlamaCpp => json!({ "content": text }),
            Dialect::Vllm => json!({ "model": model, "prompt": text }),
            Dialect::Ollama | Dialect::OpenAi | Dialect::Custom(_) => return None,
        };
        self.tokens_of(&body).await
    }

    /// Whether the dialect has a way to ask for a count of tokens.
    pub fn has_tokenize(&self) -> bool {
        match &self.dialect {
            Dialect::LlamaCpp | Dialect::Vllm => true,
            Dialect::Ollama | Dialect::OpenAi | Dialect::Custom(_) => false,
        }
    }

    /// Tokens of an answer by the server's own count, without any that it would put before a prompt; `None`
    /// where it cannot be asked.
    pub async fn count_answer(&self, model: Option<&str>, text: &str) -> Option<u64> {
        let body = match &self.dialect {
            Dialect::LlamaCpp => json!({ "content": text, "add_special": false }),
            Dialect::Vllm => json!({ "model": model, "prompt": text, "add_special_tokens": false }),
            Dialect::Ollama | Dialect::OpenAi | Dialect::Custom(_) => return None,
        };
        self.tokens_of(&body).await
    }

    /// Tokens of a whole prompt as the engine gets it, its chat template around it, by the server's own
    /// count; `None` where it cannot be asked.
    pub async fn count_prompt(&self, model: Option<&str>, content: &Content, salt: &str) -> Option<u64> {
        let messages = openai::messages(content, salt);
        let body = match (&self.dialect, self.api) {
            (Dialect::LlamaCpp, api) => {
                let whole = match api {
                    Api::Chat => {
                        let asked = json!({ "messages": messages });
                        let made = self.ask_json("POST", "/apply-template", Some(&asked)).await.ok()?;
                        made["prompt"].as_str()?.to_owned()
                    }
                    Api::Completions => prompt_text(content, salt),
                };
                json!({ "content": whole, "add_special": true, "parse_special": true })
            }
            (Dialect::Vllm, Api::Chat) => json!({ "model": model, "messages": messages }),
            (Dialect::Vllm, Api::Completions) => {
                json!({ "model": model, "prompt": prompt_text(content, salt) })
            }
            (Dialect::Ollama | Dialect::OpenAi | Dialect::Custom(_), _) => return None,
        };
        self.tokens_of(&body).await
    }

    async fn tokens_of(&self, body: &Value) -> Option<u64> {
        let answer = self.ask_json("POST", "/tokenize", Some(body)).await.ok()?;
        let listed = answer["tokens"].as_array().map(|tokens| tokens.len() as u64);
        answer["count"].as_u64().or(listed)
    }

    /// Tells the engine to forget what it has cached.
    ///
    /// # Errors
    /// Why it did not, or that this kind of engine cannot be told.
    pub async fn flush_cache(&self) -> Result<(), String> {
        let called = |result: Result<(u16, Vec<u8>), AskError>, path: &str| match result {
            Ok((status, _)) if (200..300).contains(&status) => Ok(()),
            Ok((status, _)) => Err(format!("{path} answered HTTP {status}")),
            Err(error) => Err(error.to_string()),
        };
        match &self.dialect {
            Dialect::Vllm => {
                let path = "/reset_prefix_cache";
                called(self.ask("POST", path, None, ASK_LIMIT).await, path)
            }
            // Each request says that it wants nothing from the cache, which does as well.
            Dialect::LlamaCpp => Ok(()),
            Dialect::Ollama | Dialect::OpenAi | Dialect::Custom(_) => {
                Err(format!("{} cannot be told to forget", self.dialect.as_str()))
            }
        }
    }

    /// The path of the engine's Prometheus metrics.
    pub fn metrics_path(&self) -> Option<&str> {
        match &self.dialect {
            Dialect::LlamaCpp | Dialect::Vllm => Some("/metrics"),
            Dialect::Custom(engine) => engine.metrics.as_deref(),
            Dialect::Ollama | Dialect::OpenAi => None,
        }
    }
}

/// The entry of that name, which Ollama completes where it has no tag.
fn named<'l>(list: &'l [Value], field: &str, name: &str) -> Option<&'l Value> {
    list.iter().find(|entry| {
        let listed = entry[field].as_str().unwrap_or_default();
        listed == name || listed.strip_suffix(":latest") == Some(name)
    })
}

/// What a list of models says of the one that is measured. Of several, none is taken for another.
fn entry(list: &[Value], name: &str, model: Option<&str>) -> Value {
    let found = match (model, list) {
        (None, _) | (Some(_), [_]) => list.first(),
        (Some(model), _) => named(list, name, model),
    };
    found.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_entry_is_its_own_and_never_another_ones() {
        let list = [json!({ "name": "small:latest", "size": 1 }), json!({ "name": "big:70b", "size": 70 })];
        let size = |list: &[Value], model| entry(list, "name", model)["size"].as_u64();
        assert_eq!(size(&list, None), Some(1), "the first is the one that is measured");
        assert_eq!(size(&list, Some("big:70b")), Some(70));
        assert_eq!(size(&list, Some("small")), Some(1));
        assert_eq!(size(&list, Some("big")), None);
        assert_eq!(size(&list[1..], Some("alias")), Some(70), "there is no other");
        assert_eq!(size(&[], Some("big")), None);
    }
}
