//! Puts flags into a service's command in a compose file's text, so that every byte outside the
//! touched flags stays. Works on text alone: reading and writing the file is `service::write`'s.

use serde::{Deserialize, Serialize};

use super::command_place::{line_of, locate, texts};
use super::command_splice as splice;
use super::flag_map::{Translation, same_spelling};
use super::server_flags::{FlagAt, flags_of, is_flag};

/// What a service's command is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagChange {
    /// All spellings of the flag; the first one is written where the service has none of them.
    pub spellings: Vec<String>,
    /// Flags that say the contrary and go, where this one is set.
    pub opposites: Vec<String>,
    pub target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// With a value, or bare.
    Set(Option<String>),
    Absent,
}

impl FlagChange {
    /// The change that a translated flag stands for; `None` for skipped and refused ones.
    pub fn from_translation(translation: &Translation) -> Option<Self> {
        match translation {
            Translation::Set { spellings, opposites, value } => Some(Self {
                spellings: spellings.clone(),
                opposites: opposites.clone(),
                target: Target::Set(value.clone()),
            }),
            Translation::RemoveFlag { spellings } => {
                Some(Self { spellings: spellings.clone(), opposites: Vec::new(), target: Target::Absent })
            }
            Translation::Skipped { .. } | Translation::Refused { .. } => None,
        }
    }

    pub(super) fn names(&self, spelling: &str) -> bool {
        self.spellings.iter().any(|known| same_spelling(known, spelling))
    }

    pub(super) fn opposes(&self, spelling: &str) -> bool {
        self.opposites.iter().any(|known| same_spelling(known, spelling))
    }
}

/// One flag before and after. `None` is absent, an empty text is a bare flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// As the service spells it.
    pub flag: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub new_text: String,
    /// Empty where everything is so already; `new_text` is then the old one.
    pub changes: Vec<Change>,
}

/// Why a service's flags cannot be changed in this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("the file is not readable: {0}")]
    Unreadable(String),
    #[error("there is no service \"{name}\" in this file{}", hint(suggestion.as_ref()))]
    NoService { name: String, suggestion: Option<String> },
    #[error("the service \"{service}\" has no command in this file; give it one, with its flags")]
    NoCommand { service: String },
    #[error("the command of \"{service}\" is not its own but comes from {whence}; change it there")]
    Elsewhere { service: String, whence: String },
    #[error("the command of \"{service}\" is also that of {others}; give each of them one of its own")]
    Shared { service: String, others: String },
    #[error("the command of \"{service}\" (line {line}) cannot be changed: {reason}")]
    Command { service: String, line: usize, reason: String },
    #[error("{flag} of \"{service}\" (line {line}) cannot be changed: {reason}")]
    Flag { service: String, flag: String, line: usize, reason: String },
}

fn hint(suggestion: Option<&String>) -> String {
    suggestion.map_or_else(String::new, |suggestion| format!(" ({suggestion})"))
}

/// The compose file's text with the flags changed, and what changed. Spellings, quotes and line
/// breaks of the service are kept; an absent flag is appended as its neighbours are written.
///
/// # Errors
/// Where the service or its command is not in this text alone, or a flag's value is decided elsewhere.
pub fn edit_compose(source: &str, service: &str, wanted: &[FlagChange]) -> Result<Edit, EditError> {
    let mut edit = Edit { new_text: source.to_owned(), changes: Vec::new() };
    for change in wanted {
        while let Some(step) = next_step(&edit.new_text, service, change)? {
            edit.new_text = step.text;
            edit.changes.push(step.change);
        }
    }
    Ok(edit)
}

/// The flags of a service's command as this text has them, variables as written.
///
/// # Errors
/// As [`edit_compose`].
pub fn flags_in_compose(source: &str, service: &str) -> Result<Vec<(String, Option<String>)>, EditError> {
    let command = locate(source, service)?.command;
    let flags = flags_of(&texts(&command));
    Ok(flags.into_iter().map(|flag| (flag.name.clone(), flag.value().map(str::to_owned))).collect())
}

struct Step {
    text: String,
    change: Change,
}

/// One flag at a time, each on the text that the one before left: `None` where all is as wanted.
fn next_step(source: &str, service: &str, wanted: &FlagChange) -> Result<Option<Step>, EditError> {
    let located = locate(source, service)?;
    let command = &located.command;
    let before = texts(command);
    let flags = flags_of(&before);
    let failing = |flag: &str, at: usize, reason: &str| EditError::Flag {
        service: service.to_owned(),
        flag: flag.to_owned(),
        line: line_of(source, command.arguments.get(at).map_or(command.span.start, |it| it.span.start)),
        reason: reason.to_owned(),
    };
    let touchable = |flag: &FlagAt, whole: bool| {
        for at in (if whole { flag.at } else { flag.last() })..=flag.last() {
            if command.arguments[at].via_alias {
                return Err(failing(&flag.name, at, "it stands elsewhere and is referred to by an alias"));
            }
            if command.arguments[at].has_variable {
                let written = &source[command.arguments[at].span.clone()];
                return Err(failing(
                    &flag.name,
                    at,
                    &format!("{written} is decided by a variable; set that"),
                ));
            }
        }
        Ok(())
    };
    let removing = |flag: &FlagAt| {
        touchable(flag, true)?;
        let change = Change {
            flag: flag.name.clone(),
            old: Some(flag.value().unwrap_or_default().to_owned()),
            new: None,
        };
        let mut after = before.clone();
        after.drain(flag.at..=flag.last());
        let text = splice::remove(source, command, flag.at..flag.last() + 1);
        Ok(Some(verified(text, service, &after, change).map_err(|why| failing(&flag.name, flag.at, why))?))
    };
    if let Some(flag) = flags.iter().rfind(|flag| wanted.opposes(&flag.name)) {
        return removing(flag);
    }
    let present = flags.iter().rfind(|flag| wanted.names(&flag.name));
    let value = match (&wanted.target, present) {
        (Target::Absent, Some(flag)) => return removing(flag),
        (Target::Absent, None) => {
            located.refuse_environment(source, service, wanted)?;
            return Ok(None);
        }
        (Target::Set(value), _) => value.as_deref().filter(|value| !value.is_empty()),
    };
    let Some(flag) = present else {
        located.refuse_environment(source, service, wanted)?;
        let Some(name) = wanted.spellings.first() else {
            return Ok(None);
        };
        let change =
            Change { flag: name.clone(), old: None, new: Some(value.unwrap_or_default().to_owned()) };
        let mut after = before.clone();
        after.extend([Some(name.as_str()), value].into_iter().flatten().map(str::to_owned));
        let text = splice::append(source, command, name, value, &flags);
        return verified(text, service, &after, change).map(Some).map_err(|why| failing(name, 0, why));
    };
    let variable = command.arguments[flag.last()].has_variable;
    if flag.value() == value && !variable {
        return Ok(None);
    }
    touchable(flag, false)?;
    let change = Change {
        flag: flag.name.clone(),
        old: Some(flag.value().unwrap_or_default().to_owned()),
        new: Some(value.unwrap_or_default().to_owned()),
    };
    let mut after = before.clone();
    let joined = before[flag.at].contains('=') && flag.last() == flag.at && flag.value().is_some();
    let text = match (joined, flag.value().is_some(), value) {
        (true, _, _) => {
            after[flag.at] = value.map_or(flag.name.clone(), |value| format!("{}={value}", flag.name));
            splice::replace(source, command, flag.at, &after[flag.at])
        }
        (false, true, Some(value)) => {
            value.clone_into(&mut after[flag.last()]);
            splice::replace(source, command, flag.last(), value)
        }
        (false, true, None) => {
            after.remove(flag.last());
            splice::remove(source, command, flag.last()..flag.last() + 1)
        }
        (false, false, Some(value)) => {
            after.insert(flag.at + 1, value.to_owned());
            splice::insert_value(source, command, flag.at, value, &flags)
        }
        (false, false, None) => return Ok(None),
    };
    verified(text, service, &after, change).map(Some).map_err(|why| failing(&flag.name, flag.at, why))
}

/// Reads the new text back: an edit whose result is not exactly what was meant is not made.
fn verified(
    text: Option<String>,
    service: &str,
    expected: &[String],
    change: Change,
) -> Result<Step, &'static str> {
    if change.new.as_deref().is_some_and(is_flag) {
        return Err("the value looks like a flag itself");
    }
    let text = text.ok_or("the way in which the command is written leaves no room for it")?;
    match locate(&text, service) {
        Ok(located) if texts(&located.command) == expected => Ok(Step { text, change }),
        Ok(_) | Err(_) => Err("the value cannot be written in the way in which this command is written"),
    }
}

#[cfg(test)]
#[path = "service_edit_tests.rs"]
mod tests;
