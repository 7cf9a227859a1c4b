//! Everything that is wrong with a request file, with its places: what the intake says of its documents, and what
//! takes a look around, services that no file defines and files that a run could not use. Reads; starts and writes
//! nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checked_files;
use super::surroundings::SIMULATED;
use crate::intake::load::{Content, LoadedFile};
use crate::request::conversation_file;
use crate::request::diagnostic::{Diagnostic, Place};
use crate::request::load_test::{Target, TargetPlace};
use crate::request::tree::Node;
use crate::request::valid::{self, Spec, ValidRequest};
use crate::service::Environment;
use crate::service::catalogue::Catalogue;
use crate::settings::Settings;

/// What is looked at beside the file.
pub struct Around<'a> {
    settings: &'a Settings,
    /// None where services are not to be looked up, or where nothing defines any.
    services: Option<Catalogue>,
}

/// Where the file lies.
#[derive(Debug, Clone, Copy)]
pub struct At<'p> {
    pub root: &'p Path,
    pub relative: &'p Path,
    /// Names the first document where it names itself not.
    pub stem: &'p str,
    /// Nobody knows where it will be saved, so what it names is not looked for.
    pub is_nowhere: bool,
}

/// A file with what was found in it.
#[derive(Debug, Default)]
pub struct CheckedFile {
    /// It is no request, but conversations that requests name.
    pub is_data: bool,
    /// Of the file as a whole.
    pub problems: Vec<Diagnostic>,
    pub documents: Vec<CheckedDocument>,
}

/// A document with what was found in it.
#[derive(Debug)]
pub struct CheckedDocument {
    /// Position in the file, from 0.
    pub index: usize,
    /// The name that it claims, and where.
    pub name: Option<(String, Place)>,
    /// Errors of one that is not valid, warnings of one that is.
    pub problems: Vec<Diagnostic>,
    pub request: Option<ValidRequest>,
}

impl<'a> Around<'a> {
    /// The services of those of their files that exist.
    pub fn look(settings: &'a Settings, environment: &Environment) -> Self {
        let there = |paths: &[PathBuf]| -> Vec<PathBuf> {
            paths.iter().filter(|path| path.exists()).cloned().collect()
        };
        let (compose, listed) = (there(&settings.compose), there(&settings.services));
        let any = !compose.is_empty() || !listed.is_empty();
        Self { settings, services: any.then(|| Catalogue::load(&compose, &listed, environment)) }
    }

    /// No service is looked up.
    pub fn offline(settings: &'a Settings) -> Self {
        Self { settings, services: None }
    }

    pub fn check(&self, file: &LoadedFile, at: At<'_>) -> CheckedFile {
        let mut checked = CheckedFile::default();
        let stream = match &file.content {
            Content::Problem(problem) => {
                checked.problems.push(problem.clone());
                return checked;
            }
            Content::Data => {
                checked.is_data = true;
                checked.problems.extend(conversation_file::check(&file.source).err().into_iter().flatten());
                return checked;
            }
            Content::Documents(stream) => stream,
        };
        for document in &stream.documents {
            match &document.root {
                // Nothing between two separators, or comments only: the intake passes it over.
                Ok(root) if root.is_null() => {}
                Ok(root) => checked.documents.push(self.document(root, document.index, at)),
                Err(problem) => checked.documents.push(CheckedDocument {
                    index: document.index,
                    name: None,
                    problems: vec![problem.clone()],
                    request: None,
                }),
            }
        }
        if checked.documents.is_empty() {
            let problem = Diagnostic::warning(Place::whole_file(), "the file has no request in it");
            checked.problems.push(problem);
        }
        checked
    }

    fn document(&self, root: &Arc<Node>, index: usize, at: At<'_>) -> CheckedDocument {
        let name = valid::claimed_name(root, index, at.stem).map(|name| {
            let node = root.get("metadata").and_then(|metadata| metadata.get("name"));
            (name, Place::at(node.map_or_else(|| root.span.clone(), |node| node.span.clone())))
        });
        match valid::validate(root, index, at.stem) {
            Ok(request) => {
                let mut problems = self.services(&request, root);
                if !at.is_nowhere {
                    let (root_folder, relative) = (at.root, at.relative);
                    let found = checked_files::problems(self.settings, root_folder, relative, &request, root);
                    problems.extend(found);
                }
                CheckedDocument { index, name, problems, request: Some(request) }
            }
            Err(problems) => CheckedDocument { index, name, problems, request: None },
        }
    }

    /// Services that the request names and no file defines: a warning, as they may be elsewhere.
    fn services(&self, request: &ValidRequest, root: &Node) -> Vec<Diagnostic> {
        let spec = root.get("spec");
        match &request.spec {
            Spec::LlamaBench(named) => {
                self.service(&named.service, spec.and_then(|spec| spec.get("service"))).into_iter().collect()
            }
            Spec::LoadTest(named) => {
                let listed = spec.and_then(|spec| spec.get("targets")).and_then(|targets| targets.items());
                let one = spec.and_then(|spec| spec.get("target")).map(std::slice::from_ref);
                let nodes = listed.or(one).unwrap_or_default();
                let of_target = |(target, node): (&Target, &Arc<Node>)| match &target.place {
                    TargetPlace::Running { service } | TargetPlace::Managed { service } => {
                        self.service(service, node.get("service"))
                    }
                    TargetPlace::Url(_) | TargetPlace::UsualPort | TargetPlace::Simulated(_) => None,
                };
                named.targets.iter().zip(nodes).filter_map(of_target).collect()
            }
            Spec::Apply(_) | Spec::Model(_) | Spec::Baseline(_) | Spec::Comparison(_) | Spec::Imported(_) => {
                Vec::new()
            }
        }
    }

    fn service(&self, name: &str, node: Option<&Arc<Node>>) -> Option<Diagnostic> {
        if name == SIMULATED {
            return None;
        }
        let error = self.services.as_ref()?.find(name).err()?;
        Some(
            Diagnostic::warning(Place::at(node?.span.clone()), error.to_string())
                .hint("`benchlet services` lists them; --offline leaves this check out"),
        )
    }
}
