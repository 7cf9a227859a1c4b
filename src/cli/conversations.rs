//! `benchlet conversations`: which conversations there are, and which of them fit.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::error::CliError;
use super::output::{Cell, Console, Format, Style, Table, clean};
use crate::controller::conversation_source;
use crate::plan::conversation_library;
use crate::plan::conversation_turns::{Script, USUAL_TOKENS_A_WORD, estimated_tokens};
use crate::request::conversation::Conversation;
use crate::request::conversation_schema::MOST_CONTEXT;
use crate::request::diagnostic::did_you_mean;
use crate::request::quantities;

/// The conversations that requests of kind Conversation hold.
#[derive(Debug, Args)]
pub struct Conversations {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    List(List),
    Show(Show),
}

/// Lists conversations with their tags, turns and sizes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet conversations list
  benchlet conversations list --context-size 4096 --include-tags rag
  benchlet conversations list --file requests/mine.yaml -o json

SIZE is the context at its largest with every answer at its limit, as the author counts it, else by the
length of the texts. A run asks the server to count, and starts no conversation that would not fit.")]
pub struct List {
    /// Tokens that the context has (8192, or 8k); says which conversations fit
    #[arg(long, value_name = "TOKENS", value_parser = context_size)]
    pub context_size: Option<u64>,
    /// Only those with one of these tags
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub include_tags: Vec<String>,
    /// None with one of these tags
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub exclude_tags: Vec<String>,
    /// A file of conversations in place of those that come with benchlet
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Shows what is said in a conversation.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet conversations show qa-first-bread
  benchlet conversations show mine --file requests/mine.yaml")]
pub struct Show {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A file of conversations in place of those that come with benchlet
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

pub fn run(verb: &Conversations, console: &mut Console) -> Result<(), CliError> {
    match &verb.verb {
        Verb::List(verb) => list(verb, console),
        Verb::Show(verb) => show(verb, console),
    }
}

fn context_size(text: &str) -> Result<u64, String> {
    quantities::context_tokens(text, MOST_CONTEXT).map(u64::from)
}

fn all(file: Option<&PathBuf>) -> Result<Vec<Conversation>, CliError> {
    match file {
        None => Ok(conversation_library::builtin().to_vec()),
        Some(path) => conversation_source::read(path).map_err(|refusal| CliError::usage(refusal.message)),
    }
}

/// As its author counts it, else by the length of its texts.
fn size(one: &Conversation) -> u64 {
    one.expected_tokens.map_or_else(
        || {
            let script = Script::new(one, USUAL_TOKENS_A_WORD, 0);
            let counts: Vec<u64> = script.texts().into_iter().map(estimated_tokens).collect();
            script.largest_context(&script.sizes(&counts))
        },
        u64::from,
    )
}

fn list(verb: &List, console: &mut Console) -> Result<(), CliError> {
    let has = |one: &Conversation, tags: &[String]| one.tags.iter().any(|tag| tags.contains(tag));
    let mut chosen = all(verb.file.as_ref())?;
    chosen.retain(|one| verb.include_tags.is_empty() || has(one, &verb.include_tags));
    chosen.retain(|one| !has(one, &verb.exclude_tags));
    let fits = |one: &Conversation| verb.context_size.map(|window| size(one) <= window);
    match verb.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            let items: Vec<Value> = chosen
                .iter()
                .map(|one| {
                    json!({
                        "name": one.name,
                        "description": one.description,
                        "tags": one.tags,
                        "turns": one.turns.len(),
                        "expectedTokens": size(one),
                        "documents": one.documents.keys().collect::<Vec<_>>(),
                        "fits": fits(one),
                    })
                })
                .collect();
            let whole = json!({ "items": items });
            return if format == Format::Json { console.json(&whole) } else { console.yaml(&whole) };
        }
        Some(Format::Name) => return chosen.iter().try_for_each(|one| console.line(clean(&one.name))),
        Some(Format::Wide) | None => {}
    }
    let mut headers = vec!["NAME", "TURNS", "SIZE", "TAGS"];
    if verb.context_size.is_some() {
        headers.push("FITS");
    }
    headers.push("WHAT IT IS");
    let mut table = Table::new(&headers);
    for one in &chosen {
        let mut cells: Vec<Cell> = vec![
            one.name.as_str().into(),
            one.turns.len().to_string().into(),
            size(one).to_string().into(),
            one.tags.join(",").into(),
        ];
        cells.extend(fits(one).map(|fits| match fits {
            true => Cell::new("yes"),
            false => Cell::new("no").style(Style::Bad),
        }));
        cells.push(Cell::maybe(Some(&one.description)));
        table.row(cells);
    }
    if table.is_empty() {
        console.note("no conversation has these tags");
        return Ok(());
    }
    table.print(console)
}

fn show(verb: &Show, console: &mut Console) -> Result<(), CliError> {
    let all = all(verb.file.as_ref())?;
    let Some(one) = all.iter().find(|one| one.name == verb.name) else {
        let names = all.iter().map(|one| one.name.as_str());
        return Err(CliError::not_found(format!("there is no conversation {}", verb.name))
            .hint("`benchlet conversations list` shows them")
            .maybe_hint(did_you_mean(&verb.name, names)));
    };
    console.line(format!("{}: {}", clean(&one.name), clean(&one.description)))?;
    console.line(format!(
        "{} turns, about {} tokens, {}",
        one.turns.len(),
        size(one),
        one.tags.join(", ")
    ))?;
    let script = Script::new(one, USUAL_TOKENS_A_WORD, 0);
    if let Some(system) = &one.system {
        said("system", system, console)?;
    }
    for (number, turn) in one.turns.iter().enumerate() {
        let most = script.most_tokens(number);
        let mut head = format!("turn {}, at most {most} tokens", number + 1);
        for (verb, list) in [("takes out", &turn.take), ("puts in", &turn.put)] {
            if !list.is_empty() {
                head.push_str(&format!(", {verb} {}", list.join(", ")));
            }
        }
        if let Some(expect) = &turn.expect {
            head.push_str(&format!(", expects {}", expect.words()));
        }
        said(&head, &turn.user, console)?;
    }
    Ok(())
}

fn said(head: &str, text: &str, console: &mut Console) -> Result<(), CliError> {
    console.line(format!("\n[{}]", clean(head)))?;
    text.trim_end().lines().try_for_each(|line| console.line(clean(line)))
}
