//! From messages to the text that a model was trained on: Jinja as model files carry it, rendered with
//! Python's ways. A template is a stranger's program: it gets the messages and nothing else, and an end is
//! put to its steps and its output. It can still hold much memory for a moment by doubling a text, so that
//! templates are rendered where models are measured, in a process of its own.

use std::io::{self, Write};

use jiff::civil::DateTime;
use minijinja::{Environment, Error, ErrorKind, Value, context};

pub use super::builtin_chat_templates::Builtin;
use super::python_jinja::{self, Raised};
use crate::request::load_test::Message;
pub use crate::run::template_source::{Begin, Host, TemplateSource};

/// Largest template, in bytes. The longest known ones have about 20 KiB.
pub const MOST_SOURCE: usize = 1 << 20;
/// Most instructions of one rendering: some seconds at worst. A thousand messages need less than a tenth.
const MOST_STEPS: u64 = 10_000_000;
/// Largest text of one rendering, in bytes.
const MOST_OUTPUT: usize = 64 << 20;
const NAME: &str = "chat";

/// Why there is no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the chat template has {0} bytes; at most {MOST_SOURCE} are read")]
    TooLong(usize),
    #[error("line {line} of the chat template is no Jinja: {words}")]
    Syntax { line: usize, words: String },
    /// The template's own `raise_exception`.
    #[error("the chat template refuses these messages: {0}")]
    Refused(String),
    #[error("line {line} of the chat template fails: {words}")]
    Failed { line: usize, words: String },
    #[error("the chat template does not come to an end within {MOST_STEPS} steps")]
    Endless,
    #[error("the chat template makes more than {} MiB of these messages", MOST_OUTPUT >> 20)]
    TooMuch,
}

/// A template that is known to be Jinja.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: TemplateSource,
    host: Host,
    now: Option<DateTime>,
}

impl ChatTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`] with the line, and [`TemplateError::TooLong`].
    pub fn new(source: TemplateSource) -> Result<Self, TemplateError> {
        if source.text.len() > MOST_SOURCE {
            return Err(TemplateError::TooLong(source.text.len()));
        }
        let mut environment = python_jinja::environment();
        environment.set_fuel(Some(MOST_STEPS));
        environment
            .add_template_owned(NAME, python_jinja::without_generation_tags(&source.text))
            .map_err(|error| TemplateError::Syntax { line: line(&error), words: words(&error) })?;
        Ok(Self { environment, source, host: Host::default(), now: None })
    }

    /// One of those that benchlet brings along.
    ///
    /// # Errors
    /// None in practice: each is tested.
    pub fn builtin(builtin: Builtin) -> Result<Self, TemplateError> {
        Self::new(TemplateSource::of(builtin.text()))
    }

    /// Rendered as another server would.
    pub fn with_host(self, host: Host) -> Self {
        Self { host, ..self }
    }

    /// The time that the template's `strftime_now` tells; without it, such a template fails and says so.
    pub fn with_now(self, now: DateTime) -> Self {
        Self { now: Some(now), ..self }
    }

    /// The prompt for these messages, up to where the model's answer begins. It is meant for a server that
    /// takes raw prompts (`/completion`, `/v1/completions`); see [`Begin`] for the token that begins it.
    ///
    /// # Errors
    /// What the template refuses or fails at, and the limits on steps and output.
    pub fn render(&self, messages: &[Message]) -> Result<String, TemplateError> {
        let token = |token: &Option<String>| token.as_deref().map_or(Value::UNDEFINED, Value::from);
        let common = context! {
            messages => Value::from_serialize(messages),
            add_generation_prompt => true,
            bos_token => token(&self.source.bos_token),
            eos_token => token(&self.source.eos_token),
            strftime_now => Value::from_function(python_jinja::strftime(self.now)),
        };
        let context = match self.host {
            Host::LlamaServer => {
                let day = |format: &str| {
                    let told = self.now.map(|now| Value::from(now.strftime(format).to_string()));
                    told.unwrap_or(Value::UNDEFINED)
                };
                context! {
                    enable_thinking => true,
                    date_string => day("%d %b %Y"),
                    datetime => day("%b %d %Y"),
                    ..common
                }
            }
            Host::Transformers => context! { tools => (), documents => (), ..common },
        };
        let mut output = Bounded::default();
        let rendered = self
            .environment
            .get_template(NAME)
            .and_then(|template| template.render_captured_to(context, &mut output).map(drop));
        if output.overflowed {
            return Err(TemplateError::TooMuch);
        }
        rendered.map_err(|error| failure(&error))?;
        let text = String::from_utf8_lossy(&output.bytes);
        let begin = self.source.bos_token.as_deref().filter(|_| self.source.begin == Begin::ByServer);
        Ok(begin.and_then(|begin| text.strip_prefix(begin)).unwrap_or(&text).to_owned())
    }

    /// Special tokens that the template names and its source does not have: where it writes one, there is
    /// nothing. Its user is to be told.
    pub fn missing_tokens(&self) -> Vec<&'static str> {
        let named = self.environment.get_template(NAME).map(|template| template.undeclared_variables(false));
        let named = named.unwrap_or_default();
        let tokens = [("bos_token", &self.source.bos_token), ("eos_token", &self.source.eos_token)];
        let missing = tokens.into_iter().filter(|(name, token)| token.is_none() && named.contains(*name));
        missing.map(|(name, _)| name).collect()
    }

    /// What it was made of.
    pub fn source(&self) -> &TemplateSource {
        &self.source
    }
}

fn failure(error: &Error) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(raised) = current.downcast_ref::<Raised>() {
            return TemplateError::Refused(raised.0.clone());
        }
        if current.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::OutOfFuel) {
            return TemplateError::Endless;
        }
        cause = current.source();
    }
    TemplateError::Failed { line: line(error), words: words(error) }
}

fn line(error: &Error) -> usize {
    error.line().unwrap_or(1)
}

fn words(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// Takes so much and no more.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > MOST_OUTPUT - self.bytes.len() {
            self.overflowed = true;
            return Err(io::Error::other("too much"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "chat_template_tests.rs"]
mod tests;
