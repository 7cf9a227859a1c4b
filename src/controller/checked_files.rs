//! The files that a request names, looked into for whoever checks it: each problem stands at the field that names
//! the file.

use std::path::Path;
use std::sync::Arc;

use super::named_files::{self, NamedBy};
use crate::request::diagnostic::{Diagnostic, Place};
use crate::request::tree::Node;
use crate::request::valid::{Spec, ValidRequest};
use crate::settings::Settings;

/// What a run would refuse. The file of the request is `relative` below `root`, which is the watched root where
/// the file lies in that.
pub fn problems(
    settings: &Settings,
    root: &Path,
    relative: &Path,
    request: &ValidRequest,
    document: &Node,
) -> Vec<Diagnostic> {
    let Spec::LoadTest(spec) = &request.spec else { return Vec::new() };
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let file = real(&root.join(relative));
    let watched = real(&settings.requests);
    let settings = match file.starts_with(&watched) {
        true => Settings { requests: watched, ..settings.clone() },
        false => Settings { requests: real(root), ..settings.clone() },
    };
    let found = named_files::problems(&settings, spec, &file);
    let spec = document.get("spec");
    let problem = |(by, refusal): (NamedBy, crate::run::reason::Refusal)| {
        let at = spec.map(|spec| place(spec, by)).or(Some(document)).map(|node| node.span.clone());
        let place = at.map_or_else(Place::whole_file, Place::at);
        let problem = Diagnostic::error(place, refusal.message);
        match refusal.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    };
    found.into_iter().map(problem).collect()
}

/// The node that names the file, else what comes closest to it.
fn place(spec: &Node, by: NamedBy) -> &Node {
    let file_of = |field: &str| {
        let node = spec.get(field)?;
        Some(node.get("file").unwrap_or(node))
    };
    let found: Option<&Arc<Node>> = match by {
        NamedBy::Prompts => file_of("prompts"),
        NamedBy::Tokenizer => file_of("tokenizer"),
        NamedBy::Template => file_of("template"),
        NamedBy::Conversations => {
            let file = spec.get("conversations").and_then(|node| node.get("file"));
            file.or_else(|| spec.get("names")).or_else(|| spec.get("conversations"))
        }
    };
    found.map_or(spec, |node| node)
}
