//! `benchlet new LoadTest`: a load test on standard output, made of the flags and explained.

use clap::Args;

use super::error::CliError;
use super::new::quoted;
use crate::request::load_test::Engine;
use crate::request::schema::API_VERSION;

/// The server that is measured.
#[derive(Debug, Args)]
pub struct NewTarget {
    /// How the server speaks: llama.cpp, ollama, vllm, openai, simulated, or an engine of the settings
    #[arg(long)]
    pub engine: Option<String>,
    /// Where it is [default: the engine's usual port on this machine]
    #[arg(long, conflicts_with = "service")]
    pub url: Option<String>,
    /// A service of the compose file, in place of a url
    #[arg(long)]
    pub service: Option<String>,
    /// Start the service for the run and remove it afterwards
    #[arg(long, requires = "service")]
    pub managed: bool,
    /// The model [default: the one that the server names first]; several with commas
    #[arg(long, value_delimiter = ',')]
    pub model: Vec<String>,
}

impl NewTarget {
    /// The service or the engine, for a request's name.
    ///
    /// # Errors
    /// Neither an engine, a url nor a service.
    pub fn word(&self, kind: &str) -> Result<String, CliError> {
        let what = self.service.as_ref().or(self.engine.as_ref());
        if what.is_none() && self.url.is_none() {
            return Err(CliError::usage("name the server to measure with --url, --engine or --service")
                .hint(format!("benchlet new {kind} --engine llama.cpp --url http://localhost:8080")));
        }
        let word = what.map_or("test", String::as_str);
        Ok(word.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "-"))
    }

    /// `target:` of a spec.
    pub fn text(&self) -> String {
        let mut text = "  target:\n".to_owned();
        if let Some(engine) = &self.engine {
            text.push_str(&format!("    engine: {}\n", quoted(engine)));
        }
        if let Some(url) = &self.url {
            text.push_str(&format!("    url: {}\n", quoted(url)));
        }
        if let Some(service) = &self.service {
            text.push_str(&format!("    service: {}\n", quoted(service)));
            let lifecycle = if self.managed { "Managed" } else { "Running" };
            text.push_str(&format!(
                "    # Managed: started for the run and removed after it.\n    lifecycle: {lifecycle}\n"
            ));
        }
        if !self.model.is_empty() {
            text.push_str(&format!("    model: {}\n", listed(&self.model)));
        }
        if self.engine.as_deref() == Some(Engine::Simulated.as_str()) && self.url.is_none() {
            text.push_str("    simulated: { ttft: 50ms, itl: 10ms }\n");
        }
        text
    }
}

#[derive(Debug, Args)]
pub struct NewLoadTest {
    #[command(flatten)]
    pub target: NewTarget,
    /// Requests in flight; several with commas make a matrix
    #[arg(long, value_delimiter = ',', conflicts_with = "rate", value_name = "N")]
    pub concurrency: Vec<String>,
    /// Requests a second, whatever the server does; several with commas make a matrix
    #[arg(long, value_delimiter = ',', value_name = "N/s")]
    pub rate: Vec<String>,
    /// Requests a case; several with commas make a matrix
    // Not `--requests`, which is the watched directory on every verb.
    #[arg(long, value_delimiter = ',', conflicts_with = "duration", value_name = "N")]
    pub num_requests: Vec<String>,
    /// How long a case goes on, as 30s
    #[arg(long)]
    pub duration: Option<String>,
    /// A prompt; may be repeated [default: the builtin ones]
    #[arg(long)]
    pub prompt: Vec<String>,
    /// Tokens of an answer at most
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<String>,
    /// The request's name [default: load-ENGINE or load-SERVICE]
    #[arg(long)]
    pub name: Option<String>,
}

/// # Errors
/// Neither an engine, a url nor a service.
pub fn text(new: &NewLoadTest) -> Result<String, CliError> {
    let word = new.target.word("LoadTest")?;
    let name = new.name.clone().unwrap_or_else(|| format!("load-{word}"));
    let mut text = format!(
        "\
# Sends requests to an inference server and measures what its users would feel. Saved below the watched
# directory, it runs at once; an edit of the spec runs it again. Status and results come beside it, in a
# file of the same name that ends in .status.yaml.
apiVersion: {API_VERSION}
kind: LoadTest
metadata:
  name: {}
spec:
",
        quoted(&name)
    );
    text.push_str(&new.target.text());
    if new.prompt.is_empty() {
        text.push_str("  # builtin, inline texts, a file of JSON lines, or synthetic ones of a length.\n  prompts: builtin\n");
    } else {
        text.push_str("  prompts:\n    inline:\n");
        for prompt in &new.prompt {
            // A JSON text is a YAML one, whatever the prompt says.
            text.push_str(&format!("      - {}\n", serde_json::Value::from(prompt.as_str())));
        }
    }
    let tokens = new.max_tokens.as_deref().unwrap_or("128");
    text.push_str(&format!("  output: {{ maxTokens: {}, temperature: 0.7 }}\n", quoted(tokens)));
    text.push_str("  # A list makes a matrix.\n  load:\n");
    if new.rate.is_empty() {
        let one = ["1".to_owned(), "4".to_owned()];
        let concurrency = if new.concurrency.is_empty() { &one[..] } else { &new.concurrency[..] };
        text.push_str(&format!("    concurrency: {}\n", listed(concurrency)));
    } else {
        text.push_str(&format!("    rate: {}\n", listed(&new.rate)));
    }
    match &new.duration {
        Some(duration) => text.push_str(&format!("    duration: {}\n", quoted(duration))),
        None => {
            let usual = ["100".to_owned()];
            let requests = if new.num_requests.is_empty() { &usual[..] } else { &new.num_requests[..] };
            text.push_str(&format!("    requests: {}\n", listed(requests)));
        }
    }
    text.push_str(
        "  \
  # Before each case; they do not count.
  warmup: { requests: 5 }
  requestTimeout: 30s
  # Take the comment away to be told whether these hold.
  # slo: { ttft_p95: 500ms, itl_p95: 50ms }
",
    );
    Ok(text)
}

/// One value as it is, several as a list.
pub(super) fn listed(values: &[String]) -> String {
    let all: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    match all.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
