//! Reads the files that a Conversation request names: conversations, and a chat template. Decides nothing.

use std::path::Path;

use super::surroundings::named_file;
use crate::plan::conversation_library;
use crate::request::conversation::{Conversation, Template};
use crate::request::conversation_file;
use crate::request::load_test::LoadTest;
use crate::run::measure_plan::TemplatePlan;
use crate::run::reason::{Reason, Refusal};
use crate::settings::Settings;

/// Largest file of conversations, in bytes.
const MOST_BYTES: u64 = 16 << 20;
/// Problems of a file that a refusal shows.
const SHOWN: usize = 3;

/// The conversations that a spec chooses; none where it is about something else.
pub fn chosen(
    settings: &Settings,
    spec: &LoadTest,
    request_path: &Path,
) -> Result<Vec<Conversation>, Refusal> {
    let Some(how) = spec.conversations() else { return Ok(Vec::new()) };
    let from_file = match &how.file {
        Some(named) => {
            let reason = Reason::ConversationsUnusable;
            read(&named_file(settings, request_path, named, "file of conversations", reason)?)?
        }
        None => Vec::new(),
    };
    conversation_library::choose(how, &from_file, spec.output.max_tokens)
}

/// The conversations of a file.
///
/// # Errors
/// It cannot be read, or what is wrong with it, with places.
pub fn read(path: &Path) -> Result<Vec<Conversation>, Refusal> {
    let shown = path.display();
    let unusable = |words: String| Refusal::new(Reason::ConversationsUnusable, words);
    let size = std::fs::metadata(path).map_err(|error| unusable(format!("{shown}: {error}")))?.len();
    if size > MOST_BYTES {
        let message = format!("{shown} has {} MiB; at most {} MiB are read", size >> 20, MOST_BYTES >> 20);
        return Err(unusable(message));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unusable(format!("{shown}: {error}")))?;
    conversation_file::parse(&text).map_err(|problems| {
        let told: Vec<String> = problems.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = problems.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        unusable(format!("{shown}:{}{more}", told.join("; ")))
    })
}

/// The chat template that benchlet renders by; `None` where the server does.
pub fn template(
    _settings: &Settings,
    spec: &LoadTest,
    _request_path: &Path,
) -> Result<Option<TemplatePlan>, Refusal> {
    match spec.conversations().map(|how| &how.template) {
        None | Some(Template::Server) => Ok(None),
        Some(Template::Builtin(_) | Template::File(_)) => {
            Err(Refusal::new(Reason::TemplateUnusable, "chat templates are not there yet"))
        }
    }
}
