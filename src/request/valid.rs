//! One document to a valid request, or to all its problems. What comes out of here is trusted.

use serde::{Deserialize, Serialize};

use super::apply::{self, Apply};
use super::baseline::{self, Baseline};
use super::control::{self, Control};
use super::diagnostic::{Diagnostic, did_you_mean};
use super::fields::{Fields, Problems};
use super::flags::Param;
use super::gate::{self, Comparison};
use super::imported::Imported;
use super::llama_bench::{self, LlamaBench, ParamsFrom};
use super::load_test::LoadTest;
use super::model::{self, Model};
use super::tree::Node;
use super::{conversation_decode, load_test_decode};
use super::{hash, schema};

/// A request that can be carried out as far as its text can tell.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidRequest {
    pub name: String,
    pub spec_hash: String,
    /// Changes with every semantic change of the spec, control fields included.
    pub semantic_hash: String,
    pub control: Control,
    pub spec: Spec,
}

/// What is asked for, by kind. Frozen into every run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Spec {
    LlamaBench(LlamaBench),
    /// `kind: Conversation` as well, which is said to the same servers.
    LoadTest(Box<LoadTest>),
    Apply(Apply),
    Model(Model),
    Baseline(Baseline),
    Comparison(Box<Comparison>),
    /// Of runs alone: no document asks for one.
    Imported(Imported),
}

impl Spec {
    /// Sets flags or fields for one run, as `--set` gives them: flags of llama-bench over the service's own
    /// where the spec names none, fields of a load test by their names.
    ///
    /// # Errors
    /// What cannot be set, in a sentence; nothing was changed then.
    pub fn set(&mut self, set: &[Param], timeout_ms: u64) -> Result<(), String> {
        let mut changed = self.clone();
        match &mut changed {
            Self::LlamaBench(spec) => {
                if let Some(param) = set.iter().find(|param| !param.flag.starts_with('-')) {
                    return Err(format!("{} is no flag of llama-bench; write --set -b=4096", param.flag));
                }
                if !set.is_empty() && spec.params.is_none() && spec.params_from.is_none() {
                    // The flags that are set go over the service's own, which the spec takes by default.
                    spec.params_from = Some(ParamsFrom::Service);
                }
                for param in set {
                    let params = spec.params.get_or_insert_with(Vec::new);
                    params.retain(|known| known.flag != param.flag);
                    params.push(param.clone());
                }
            }
            Self::LoadTest(spec) => {
                for param in set {
                    spec.set(&param.flag, &param.value)?;
                }
                spec.check_timeout(timeout_ms)
                    .map_err(|misfit| format!("{} ({})", misfit.message, misfit.hint))?;
            }
            Self::Apply(_) if set.is_empty() => {}
            Self::Apply(_) => return Err("an Apply makes no run, so nothing can be set for it".to_owned()),
            Self::Model(_) if set.is_empty() => {}
            Self::Model(_) => return Err("a Model measures nothing, so nothing can be set for it".to_owned()),
            Self::Baseline(_) | Self::Comparison(_) if set.is_empty() => {}
            Self::Baseline(_) | Self::Comparison(_) => {
                return Err(format!("a {} makes no run, so nothing can be set for it", self.kind()));
            }
            Self::Imported(_) => return Err("what was imported cannot be measured here".to_owned()),
        }
        *self = changed;
        Ok(())
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::LlamaBench(_) => "LlamaBench",
            Self::LoadTest(spec) if spec.conversations().is_some() => "Conversation",
            Self::LoadTest(_) => "LoadTest",
            Self::Apply(_) => "Apply",
            Self::Model(_) => "Model",
            Self::Baseline(_) => "Baseline",
            Self::Comparison(_) => "Comparison",
            Self::Imported(_) => "Imported",
        }
    }

    /// Whether its runs measure: others keep still meanwhile.
    pub fn measures(&self) -> bool {
        match self {
            Self::LlamaBench(_) | Self::LoadTest(_) => true,
            Self::Apply(_) | Self::Model(_) | Self::Baseline(_) | Self::Comparison(_) | Self::Imported(_) => {
                false
            }
        }
    }
}

/// Longest name, in characters.
pub const LONGEST_NAME: usize = 128;

/// What [`is_name`] asks for, in words.
pub const NAME_RULE: &str = "letters, digits, -, _ and ., beginning with a letter or digit, at most 128";

/// Whether a text can be the name of a request or a baseline.
pub fn is_name(name: &str) -> bool {
    name.chars().count() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// The identity that a document claims: its `metadata.name`, for the first document of a file else
/// the file's stem. Known even where the rest of the document is not valid.
pub fn claimed_name(root: &Node, index: usize, stem: &str) -> Option<String> {
    let named = root.get("metadata").and_then(|metadata| metadata.get("name")).and_then(|name| name.text());
    match named {
        Some(name) if !name.is_empty() => Some(name.to_owned()),
        Some(_) | None => (index == 0).then(|| stem.to_owned()),
    }
}

/// The kind that a document claims, as text.
pub fn claimed_kind(root: &Node) -> Option<&str> {
    root.get("kind").and_then(|kind| kind.text())
}

/// Validates one document. `stem` names it where it names itself not.
///
/// # Errors
/// Every problem found, ordered by place.
pub fn validate(root: &Node, index: usize, stem: &str) -> Result<ValidRequest, Vec<Diagnostic>> {
    let problems = Problems::default();
    let request = decode(root, index, stem, &problems);
    let failed = problems.has_errors();
    let list = problems.into_sorted();
    match request {
        Some(request) if !failed => Ok(request),
        Some(_) | None => Err(list),
    }
}

fn decode(root: &Node, index: usize, stem: &str, problems: &Problems) -> Option<ValidRequest> {
    let document = Fields::new(root, "the document", schema::DOCUMENT, problems)?;
    check_version(&document);
    let name = decode_name(root, &document, index, stem);
    let kind = decode_kind(&document);
    let spec_node = document.required("spec");
    let (kind, spec_node) = (kind?, spec_node?);
    let table = schema::spec_fields(kind)?;
    let fields = Fields::new(spec_node, "spec", table, problems)?;
    let control = control::decode(&fields, kind);
    let spec = match kind {
        "LlamaBench" => Spec::LlamaBench(llama_bench::decode(&fields)?),
        "LoadTest" => Spec::LoadTest(Box::new(load_test_decode::decode(&fields, control.timeout_ms)?)),
        "Conversation" => Spec::LoadTest(Box::new(conversation_decode::decode(&fields)?)),
        "Model" => Spec::Model(model::decode(&fields)?),
        "Baseline" => Spec::Baseline(baseline::decode(&fields)?),
        "Comparison" => Spec::Comparison(Box::new(gate::decode_comparison(&fields)?)),
        _ => Spec::Apply(apply::decode(&fields)?),
    };
    Some(ValidRequest {
        name: name?,
        spec_hash: hash::spec_hash(kind, spec_node),
        semantic_hash: hash::semantic_hash(kind, spec_node),
        control,
        spec,
    })
}

fn check_version(document: &Fields<'_>) {
    let Some(node) = document.required("apiVersion") else {
        return;
    };
    if let Some(text) = document.text("apiVersion")
        && text != schema::API_VERSION
    {
        document.problems.error_with_hint(
            node,
            format!("apiVersion \"{text}\" is not known"),
            format!("this benchlet reads {}", schema::API_VERSION),
        );
    }
}

fn decode_kind(document: &Fields<'_>) -> Option<&'static str> {
    let node = document.required("kind")?;
    let text = document.text("kind")?;
    if let Some(kind) = schema::KINDS.iter().find(|kind| **kind == text) {
        return Some(kind);
    }
    if schema::KINDS_TO_COME.contains(&text.as_str()) {
        document.problems.error_with_hint(
            node,
            format!("kind {text} is not supported by this version of benchlet"),
            format!("it carries out {}", schema::KINDS.join(", ")),
        );
    } else {
        let hint = did_you_mean(&text, schema::KINDS.iter().copied())
            .unwrap_or_else(|| format!("one of {}", schema::KINDS.join(", ")));
        document.problems.error_with_hint(node, format!("unknown kind \"{text}\""), hint);
    }
    None
}

fn decode_name(root: &Node, document: &Fields<'_>, index: usize, stem: &str) -> Option<String> {
    if let Some(metadata) = document.get("metadata") {
        let metadata = Fields::new(metadata, "metadata", schema::METADATA, document.problems)?;
        metadata.text("name");
    }
    let Some(name) = claimed_name(root, index, stem) else {
        document.problems.error_with_hint(
            root,
            "the second and later documents of a file need a name of their own",
            "metadata: { name: … }",
        );
        return None;
    };
    if !is_name(&name) {
        let place =
            root.get("metadata").and_then(|metadata| metadata.get("name")).map_or(root, AsRef::as_ref);
        document.problems.error_with_hint(place, format!("\"{name}\" cannot be a request's name"), NAME_RULE);
        return None;
    }
    Some(name)
}

#[cfg(test)]
#[path = "load_test_tests.rs"]
mod load_test_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::diagnostic::Located;
    use crate::request::tree;

    fn check(text: &str) -> Result<ValidRequest, Vec<Located>> {
        let stream = tree::parse(text);
        let root = stream.documents[0].root.as_ref().map_err(|d| vec![d.locate(text)])?;
        validate(root, 0, "stem").map_err(|problems| problems.iter().map(|p| p.locate(text)).collect())
    }

    fn bench(spec: &str) -> Result<ValidRequest, Vec<Located>> {
        check(&format!("apiVersion: benchlet/v1\nkind: LlamaBench\nspec:\n{spec}"))
    }

    fn messages(result: Result<ValidRequest, Vec<Located>>) -> Vec<String> {
        result.unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn flags_keep_the_text_that_their_author_wrote() {
        let request =
            bench("  service: a\n  params: { -p: 0512, -fa: on, -b: [512, 1e3], -ts: 3/1, --no-warmup: }\n");
        let Spec::LlamaBench(spec) = request.unwrap().spec else { panic!("another kind") };
        let params: Vec<_> =
            spec.params.unwrap().into_iter().map(|param| (param.flag, param.value)).collect();
        let expected =
            [("-p", "0512"), ("-fa", "on"), ("-b", "512,1e3"), ("-ts", "3/1"), ("--no-warmup", "")];
        assert_eq!(params, expected.map(|(flag, value)| (flag.to_owned(), value.to_owned())));
    }

    #[test]
    fn every_problem_of_a_document_is_reported_with_its_place() {
        let found = messages(bench(
            "  sevice: a\n  timeout: 10\n  launches: 0\n  suspend: yes\n  params: { -m: x }\n",
        ));
        assert_eq!(
            found,
            [
                "4:3: unknown field \"sevice\" in spec (did you mean \"service\"?)",
                "4:3: spec.service is missing",
                "5:12: spec.timeout cannot be \"10\" (give it a unit: 10s)",
                "6:13: spec.launches cannot be \"0\" (a whole number from 1 to 100)",
                "7:12: spec.suspend cannot be \"yes\" (write true)",
                "8:13: the flag -m is reserved (the model comes from the service)",
            ]
        );
    }

    #[test]
    fn a_comma_in_braces_is_explained() {
        let found = messages(bench("  service: a\n  params: { -b: 512,1024 }\n"));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("for several values write a list: [512, 1024]"), "{found:?}");
    }

    #[test]
    fn duplicate_keys_are_an_error_at_the_second_one() {
        let found = messages(bench("  service: a\n  service: b\n"));
        assert_eq!(found, ["5:3: spec has \"service\" twice"]);
    }

    #[test]
    fn every_spelling_that_loads_another_model_is_reserved() {
        for flag in [
            "-m",
            "--model",
            "-mu",
            "--model_url",
            "-dr",
            "--docker-repo",
            "-hf",
            "-hfr",
            "--hf-repo",
            "--hf_repo",
            "-hff",
            "-hfnew",
            "--hf_token",
            "--offline",
            "-rpc",
            "--rpc",
            "-o",
            "-oe",
            "-h",
        ] {
            let found = messages(bench(&format!("  service: a\n  params: {{ {flag}: x }}\n")));
            assert!(found[0].contains("reserved"), "{flag}: {found:?}");
        }
        for flag in ["-b", "-mg", "--no-host", "-mmp"] {
            assert!(bench(&format!("  service: a\n  params: {{ {flag}: 1 }}\n")).is_ok(), "{flag}");
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_refused_and_not_ignored() {
        let found = messages(check("apiVersion: benchlet/v1\nkind: Tune\nspec: {}\n"));
        assert_eq!(
            found,
            [
                "2:7: kind Tune is not supported by this version of benchlet (it carries out LlamaBench, LoadTest, Conversation, Apply, Model, Baseline, Comparison)"
            ]
        );
    }

    #[test]
    fn later_documents_need_a_name() {
        let text = "kind: A\n---\napiVersion: benchlet/v1\nkind: LlamaBench\nspec: { service: a }\n";
        let stream = tree::parse(text);
        let second = stream.documents[1].root.as_ref().unwrap();
        assert!(validate(second, 1, "stem").unwrap_err()[0].message.contains("need a name"));
        assert!(validate(second, 0, "stem").is_ok());
    }

    #[test]
    fn an_apply_names_one_run() {
        let apply = |spec: &str| check(&format!("apiVersion: benchlet/v1\nkind: Apply\nspec: {spec}\n"));
        assert!(apply("{ from: { request: a, run: Best, metric: tg_avg_ts } }").is_ok());
        assert!(messages(apply("{}"))[0].contains("names no run"));
        assert!(messages(apply("{ from: { request: a, run: Best } }"))[0].contains("Best needs a metric"));
        assert!(messages(apply("{ run: x }"))[0].contains("the id of a run"));
    }
}
