//! Reads the files that a Conversation request names: conversations, and a chat template. Decides nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::surroundings::beside;
use crate::collect::chat_template_file;
use crate::files::bounded;
use crate::plan::chat_template::{Builtin, ChatTemplate, TemplateSource};
use crate::plan::conversation_library;
use crate::plan::conversation_turns::{Marks, Script};
use crate::plan::load_plan::{FoundService, FoundTemplate};
use crate::request::conversation::{Conversation, PrefixCache, Template};
use crate::request::conversation_file;
use crate::request::load_test::LoadTest;
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
            read(&beside(settings, named, request_path, ("the file of conversations", reason))?)?
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
    let text =
        bounded::read_text(path, MOST_BYTES, "conversations").map_err(|error| unusable(error.to_string()))?;
    conversation_file::parse(&text).map_err(|problems| {
        let told: Vec<String> = problems.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = problems.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        unusable(format!("{shown}:{}{more}", told.join("; ")))
            .hint("mend it, then `benchlet rerun`: an edit of that file alone starts nothing")
    })
}

/// Refuses conversations that a template does not take, before an engine is started for them.
///
/// # Errors
/// Which conversation, and the template's own words.
pub fn check_template(template: &FoundTemplate, conversations: &[Conversation]) -> Result<(), Refusal> {
    let unusable = |words: String| Refusal::new(Reason::TemplateUnusable, words);
    for one in conversations {
        // What documents say matters to no template.
        let bare = Conversation { documents: BTreeMap::new(), ..one.clone() };
        let script = Script::new(&bare, 1.0, 0);
        let marks = Marks { salt: "", mark: "x", cache: PrefixCache::Kept };
        let turns = bare.turns.len().min(2);
        let rendered: Result<Vec<String>, _> = (0..turns)
            .map(|turn| template.parsed.render(&script.messages(turn, &["Yes.".to_owned()], marks)))
            .collect();
        let rendered = rendered.map_err(|error| {
            unusable(format!(
                "the template {} does not take the conversation {}: {error}",
                template.name, one.name
            ))
            .hint("many templates take no system message; choose other conversations, or template: Server")
        })?;
        if rendered.iter().any(|text| !text.contains(bare.turns[0].user.trim())) {
            return Err(unusable(format!("the template {} leaves out what the user says", template.name))
                .hint("it has to go through `messages`; template: chatml is one that does"));
        }
    }
    Ok(())
}

/// The chat template that benchlet renders by, parsed; `None` where the server does.
pub fn template(
    settings: &Settings,
    spec: &LoadTest,
    services: &BTreeMap<String, Result<FoundService, Refusal>>,
    request_path: &Path,
) -> Result<Option<FoundTemplate>, Refusal> {
    let unusable = |words: String| Refusal::new(Reason::TemplateUnusable, words);
    let of_file = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = chat_template_file::read(path).map_err(|error| unusable(error.to_string()))?;
        Ok((name, source))
    };
    let (name, source): (String, TemplateSource) = match spec.conversations().map(|how| &how.template) {
        None | Some(Template::Server) => return Ok(None),
        Some(Template::Builtin(name)) => {
            let builtin = Builtin::from_name(name)
                .ok_or_else(|| unusable(format!("there is no builtin chat template {name}")))?;
            (name.clone(), builtin.source())
        }
        Some(Template::File(named)) => {
            let found =
                beside(settings, named, request_path, ("the chat template", Reason::TemplateUnusable))?;
            of_file(&found)?
        }
        Some(Template::Model) => of_file(&model_file(spec, services)?)?,
    };
    let parsed = ChatTemplate::new(source).map_err(|error| unusable(format!("{name}: {error}")))?;
    Ok(Some(FoundTemplate { name, parsed: parsed.with_now(jiff::Zoned::now().datetime()) }))
}

/// The file that has the template of the one service that is measured.
fn model_file(
    spec: &LoadTest,
    services: &BTreeMap<String, Result<FoundService, Refusal>>,
) -> Result<PathBuf, Refusal> {
    let unusable = |words: &str| {
        Refusal::new(Reason::TemplateUnusable, words)
            .hint("name the file: template: { file: tokenizer_config.json }")
    };
    let mut found = services.values();
    let (Some(first), None, 1) = (found.next(), found.next(), spec.targets.len()) else {
        return Err(unusable(
            "template: Model needs one target, and that a service whose model is on this machine",
        ));
    };
    let model = first.clone()?.model.ok_or_else(|| unusable("the service's model is not on this machine"))?;
    Ok(if model.path.is_dir() { model.path.join("tokenizer_config.json") } else { model.path })
}
