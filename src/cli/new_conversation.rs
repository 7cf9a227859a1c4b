//! `benchlet new Conversation`: a request on standard output, made of the flags and explained.

use clap::Args;

use super::error::CliError;
use super::new::quoted;
use super::new_load_test::{NewTarget, listed};
use crate::request::schema::API_VERSION;

#[derive(Debug, Args)]
pub struct NewConversation {
    #[command(flatten)]
    pub target: NewTarget,
    /// A conversation, as `benchlet conversations list` names it; may be repeated [default: the first three that fit, or all with the tags]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub conversation: Vec<String>,
    /// A file of conversations, relative to the request
    #[arg(long, value_name = "FILE")]
    pub file: Option<String>,
    /// Only those with one of these tags
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub include_tags: Vec<String>,
    /// The first so many that fit
    #[arg(long, value_name = "N")]
    pub max_conversations: Option<u32>,
    /// Hold each with the prefix cache kept, changed and defeated, three times
    #[arg(long)]
    pub experiment: bool,
    /// The request's name [default: talk-ENGINE or talk-SERVICE]
    #[arg(long)]
    pub name: Option<String>,
}

/// # Errors
/// Neither an engine, a url nor a service.
pub fn text(new: &NewConversation) -> Result<String, CliError> {
    let word = new.target.word("Conversation")?;
    let name = new.name.clone().unwrap_or_else(|| format!("talk-{word}"));
    let mut text = format!(
        "\
# Holds dialogues with a model as one user does, turn by turn. Saved below the watched directory, it runs
# at once; an edit of the spec runs it again. Status and results come beside it, in a file of the same name
# that ends in .status.yaml.
apiVersion: {API_VERSION}
kind: Conversation
metadata:
  name: {}
spec:
{}",
        quoted(&name),
        new.target.text()
    );
    text.push_str("  # `benchlet conversations list` shows them.\n");
    match &new.file {
        Some(file) => text.push_str(&format!("  conversations: {{ file: {} }}\n", quoted(file))),
        None => text.push_str("  conversations: builtin\n"),
    }
    if !new.conversation.is_empty() {
        text.push_str(&format!("  names: {}\n", listed(&new.conversation)));
    }
    if !new.include_tags.is_empty() {
        text.push_str(&format!("  includeTags: {}\n", listed(&new.include_tags)));
    }
    match new.max_conversations {
        Some(most) => text.push_str(&format!("  maxConversations: {most}\n")),
        None if new.conversation.is_empty() && new.include_tags.is_empty() => {
            text.push_str("  maxConversations: 3\n")
        }
        None => {}
    }
    text.push_str("  # What would not fit is not started. Auto: the engine is asked.\n  contextSize: Auto\n");
    if new.experiment {
        text.push_str(
            "  # The same with the prefix cache reused, useless behind the system message, and defeated.\n  \
             prefixCache: [Kept, Changed, Defeated]\n  repeats: 3\n",
        );
    } else {
        text.push_str(
            "  # A list tells what the prefix cache saves: [Kept, Changed, Defeated].\n  prefixCache: Kept\n",
        );
    }
    text.push_str("  report: { formats: [md, html] }\n");
    Ok(text)
}
