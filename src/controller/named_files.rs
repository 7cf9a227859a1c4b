//! Looks into the files that a load test or a conversation names, as a run does before it starts, for who checks a
//! request without running it. Copies and starts nothing.

use std::collections::BTreeMap;
use std::path::Path;

use super::surroundings::beside;
use super::{conversation_source, load_inputs};
use crate::request::conversation::Template;
use crate::request::load_test::{LoadTest, Prompts};
use crate::run::reason::{Reason, Refusal};
use crate::settings::Settings;

/// The field that names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    Prompts,
    Tokenizer,
    Conversations,
    Template,
}

/// What a run would refuse of them. `request_path` is the request's, relative to the root of the settings.
pub fn problems(settings: &Settings, spec: &LoadTest, request_path: &Path) -> Vec<(NamedBy, Refusal)> {
    let mut found = Vec::new();
    let mut note = |by: NamedBy, checked: Result<(), Refusal>| {
        found.extend(checked.err().map(|refusal| (by, refusal)));
    };
    if let Prompts::File(named) = &spec.prompts {
        let what = ("the file of prompts", Reason::PromptsUnusable);
        let file = beside(settings, named, request_path, what);
        note(NamedBy::Prompts, file.and_then(|file| load_inputs::read_prompts(&file)).map(drop));
    }
    if let Some(named) = &spec.tokenizer {
        let what = ("the tokenizer", Reason::TokenizerUnusable);
        let file = beside(settings, named, request_path, what);
        note(NamedBy::Tokenizer, file.and_then(|file| load_inputs::read_tokenizer(&file)).map(drop));
    }
    let chosen = conversation_source::chosen(settings, spec, request_path);
    // Where a service's model lies is not looked up here.
    let is_models = spec.conversations().is_some_and(|how| how.template == Template::Model);
    let template = match is_models {
        true => Ok(None),
        false => conversation_source::template(settings, spec, &BTreeMap::new(), request_path),
    };
    match (&chosen, template) {
        (_, Err(refusal)) => note(NamedBy::Template, Err(refusal)),
        (Ok(chosen), Ok(Some(template))) => {
            note(NamedBy::Template, conversation_source::check_template(&template, chosen));
        }
        (Ok(_) | Err(_), Ok(_)) => {}
    }
    note(NamedBy::Conversations, chosen.map(drop));
    found
}
