//! `benchlet new LoadTest`: a load test on standard output, made of the flags and explained.

use clap::Args;

use super::error::CliError;
use super::new::quoted;
use crate::request::load_test::Engine;
use crate::request::schema::API_VERSION;

#[derive(Debug, Args)]
pub struct NewLoadTest {
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
    let what = new.service.as_ref().or(new.engine.as_ref());
    if what.is_none() && new.url.is_none() {
        return Err(CliError::usage("name the server to measure with --url, --engine or --service")
            .hint("benchlet new LoadTest --engine llama.cpp --url http://localhost:8080"));
    }
    let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "-");
    let name =
        new.name.clone().unwrap_or_else(|| format!("load-{}", plain(what.map_or("test", String::as_str))));
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
  target:
",
        quoted(&name)
    );
    if let Some(engine) = &new.engine {
        text.push_str(&format!("    engine: {}\n", quoted(engine)));
    }
    if let Some(url) = &new.url {
        text.push_str(&format!("    url: {}\n", quoted(url)));
    }
    if let Some(service) = &new.service {
        text.push_str(&format!("    service: {}\n", quoted(service)));
        let lifecycle = if new.managed { "Managed" } else { "Running" };
        text.push_str(&format!(
            "    # Managed: started for the run and removed after it.\n    lifecycle: {lifecycle}\n"
        ));
    }
    if !new.model.is_empty() {
        text.push_str(&format!("    model: {}\n", listed(&new.model)));
    }
    if new.engine.as_deref() == Some(Engine::Simulated.as_str()) && new.url.is_none() {
        text.push_str("    simulated: { ttft: 50ms, itl: 10ms }\n");
    }
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
fn listed(values: &[String]) -> String {
    let all: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    match all.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
