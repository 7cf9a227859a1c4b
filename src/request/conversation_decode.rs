//! From the YAML of `kind: Conversation` to its type. Which conversations there are is known once their
//! files are read, which is not done here.

use super::conversation::{ContextSize, Conversations, Isolation, PrefixCache, Template};
use super::conversation_file;
use super::conversation_schema::{
    CONVERSATIONS, MOST_CONTEXT, MOST_CONVERSATIONS, TEMPLATE, VALIDITY, WARMUP,
};
use super::fields::Fields;
use super::load_test::{Amount, Load, LoadShape, LoadTest, Output, Prompts, TargetPlace, ValidityLimits};
use super::load_test_decode::{Own, limits, served, warmup};
use super::load_test_load::decode_output;
use super::load_test_size::{MOST_ENTRIES, MOST_TOKENS};
use super::tree::Value;
use super::{load_test_targets, quantities};

const DEFAULT_WARMUP: u32 = 1;
const DEFAULT_REQUEST_TIMEOUT_MS: u64 = 5 * 60 * 1000;
/// Answers that a status and a report show in full.
const SAMPLES: u32 = 3;
const DEFAULT_BROKEN_PERCENT: f64 = 20.0;
const QUICK_CONVERSATIONS: u32 = 3;
const THOROUGH_REPEATS: u32 = 5;

#[derive(Clone, Copy, PartialEq)]
enum Preset {
    Quick,
    Thorough,
}

/// `None` where the spec has errors; they are in the fields' problems.
pub fn decode(fields: &Fields<'_>) -> Option<LoadTest> {
    let preset = fields.choice("preset", &[("Quick", Preset::Quick), ("Thorough", Preset::Thorough)]);
    let conversations = conversations(fields, preset);
    let own = Own {
        output: output(fields),
        // One user, whose next turn follows the last answer.
        load: Load {
            shape: LoadShape::Closed { concurrency: vec![1] },
            amount: Amount::Requests(vec![1]),
            ramp_up_ms: 0,
        },
        warmup: warmup(fields, WARMUP).unwrap_or(DEFAULT_WARMUP),
        request_timeout_ms: DEFAULT_REQUEST_TIMEOUT_MS,
        samples: SAMPLES,
        repeats: if preset == Some(Preset::Thorough) { THOROUGH_REPEATS } else { 1 },
        threads: Some(1),
        validity: validity(fields),
    };
    let test = served(fields, own, conversations.map(|all| Prompts::Conversations(Box::new(all))))?;
    check_isolation(&test, fields);
    Some(test)
}

/// Where nothing is said, each conversation's own lengths hold, and answers are the likeliest ones, so that a
/// conversation takes the same course each time.
fn output(fields: &Fields<'_>) -> Output {
    let said = |name: &str| fields.get("output").is_some_and(|output| output.get(name).is_some());
    let read = decode_output(fields);
    Output {
        max_tokens: if said("maxTokens") { read.max_tokens } else { MOST_TOKENS },
        temperature: if said("temperature") { read.temperature } else { 0.0 },
        ..read
    }
}

fn validity(spec: &Fields<'_>) -> ValidityLimits {
    let fields =
        spec.get("validity").and_then(|node| Fields::new(node, "spec.validity", VALIDITY, spec.problems));
    let (limits, broken) = match &fields {
        Some(fields) => {
            (limits(fields), fields.parsed("brokenAnswers", |text| quantities::percent(text, 100.0)))
        }
        None => (ValidityLimits::default(), None),
    };
    ValidityLimits { broken_answers_percent: Some(broken.unwrap_or(DEFAULT_BROKEN_PERCENT)), ..limits }
}

fn conversations(spec: &Fields<'_>, preset: Option<Preset>) -> Option<Conversations> {
    let tag = load_test_targets::name;
    let words = |name| spec.parsed_list(name, MOST_ENTRIES, tag).unwrap_or_default();
    let most = spec.integer("maxConversations", 1, MOST_CONVERSATIONS as u32);
    let sources = sources(spec);
    let template = template(spec);
    let all = Conversations {
        names: words("names"),
        include_tags: words("includeTags"),
        exclude_tags: words("excludeTags"),
        max_conversations: most.or((preset == Some(Preset::Quick)).then_some(QUICK_CONVERSATIONS)),
        context_size: context_size(spec),
        isolation: spec
            .choice(
                "isolation",
                &[("PerRun", Isolation::PerRun), ("PerConversation", Isolation::PerConversation)],
            )
            .unwrap_or_default(),
        prefix_cache: prefix_cache(spec),
        think_time_ms: spec.parsed("thinkTime", quantities::time_or_zero).unwrap_or(0),
        template: template?,
        ..sources?
    };
    if let Some(tag) = all.include_tags.iter().find(|tag| all.exclude_tags.contains(tag)) {
        spec.refuse(
            "excludeTags",
            &format!("has {tag}, which includeTags has too"),
            "keep it in one of them",
        );
    }
    Some(all)
}

/// With only the fields that say where conversations come from.
fn sources(spec: &Fields<'_>) -> Option<Conversations> {
    let of = |builtin, file, inline| Conversations { builtin, file, inline, ..Conversations::default() };
    let Some(node) = spec.get("conversations") else {
        return Some(of(true, None, Vec::new()));
    };
    const WAYS: &str = "builtin, or a map with builtin: true, file: mine.yaml or inline: a list";
    match &node.value {
        Value::Scalar(scalar) if scalar.text == "builtin" => Some(of(true, None, Vec::new())),
        Value::Scalar(scalar) => {
            let hint = if scalar.text.ends_with(".yaml") || scalar.text.ends_with(".yml") {
                format!("write {{ file: {} }}", scalar.text)
            } else {
                WAYS.to_owned()
            };
            spec.wrong(node, "conversations", &scalar.text, &hint);
            None
        }
        Value::Null | Value::List(_) => {
            let message = format!("spec.conversations cannot be {}", node.kind_name());
            spec.problems.error_with_hint(node, message, "write inline: before the list");
            None
        }
        Value::Map(_) => {
            let fields = Fields::new(node, "spec.conversations", CONVERSATIONS, spec.problems)?;
            let builtin = fields.boolean("builtin");
            let file = match fields.get("file") {
                Some(_) => Some(fields.relative_file("file", "mine.yaml")?),
                None => None,
            };
            let inline = match fields.get("inline") {
                Some(_) => conversation_file::list(&fields, "inline")?,
                None => Vec::new(),
            };
            let others = file.is_some() || !inline.is_empty();
            if builtin == Some(false) && !others {
                let message = "spec.conversations names none";
                spec.problems.error_with_hint(node, message, WAYS);
                return None;
            }
            Some(of(builtin.unwrap_or(!others), file, inline))
        }
    }
}

fn context_size(spec: &Fields<'_>) -> ContextSize {
    let read = spec.parsed("contextSize", |text| match text {
        "Auto" => Ok(ContextSize::Auto),
        text => quantities::whole(text, 1, MOST_CONTEXT)
            .map(|tokens| ContextSize::Tokens(u64::from(tokens)))
            .map_err(|_| format!("Auto, or a number of tokens from 1 to {MOST_CONTEXT}")),
    });
    read.unwrap_or_default()
}

fn prefix_cache(spec: &Fields<'_>) -> Vec<PrefixCache> {
    let read = spec.parsed_list("prefixCache", PrefixCache::NAMES.len(), one_prefix_cache);
    let all = read.unwrap_or_else(|| vec![PrefixCache::Kept]);
    if let Some(twice) = twice(&all) {
        spec.refuse("prefixCache", &format!("has {} twice", twice.as_str()), "each makes one case");
    }
    all
}

/// One way to deal with the prefix cache, by its name.
pub(super) fn one_prefix_cache(text: &str) -> Result<PrefixCache, String> {
    let found = PrefixCache::NAMES.iter().find(|(name, _)| *name == text);
    let names = || PrefixCache::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    found.map(|(_, value)| *value).ok_or_else(|| format!("one of {}", names().join(", ")))
}

/// What a list has again.
pub(super) fn twice<T: PartialEq>(all: &[T]) -> Option<&T> {
    all.iter().enumerate().find(|(at, one)| all[..*at].contains(one)).map(|(_, twice)| twice)
}

fn template(spec: &Fields<'_>) -> Option<Template> {
    let Some(node) = spec.get("template") else {
        return Some(Template::Server);
    };
    match &node.value {
        Value::Scalar(scalar) if scalar.text == "Server" => Some(Template::Server),
        Value::Scalar(scalar) if scalar.text == "Model" => Some(Template::Model),
        Value::Scalar(_) => {
            let known = spec.parsed("template", |text| {
                let names = Template::BUILTIN;
                names.iter().find(|name| **name == text).map(|name| (*name).to_owned()).ok_or_else(|| {
                    super::diagnostic::did_you_mean(text, names.iter().copied()).unwrap_or_else(|| {
                        format!("Server, Model, one of {}, or {{ file: a-template.jinja }}", names.join(", "))
                    })
                })
            })?;
            Some(Template::Builtin(known))
        }
        Value::Null | Value::List(_) | Value::Map(_) => {
            let fields = Fields::new(node, "spec.template", TEMPLATE, spec.problems)?;
            fields.required("file")?;
            fields.relative_file("file", "template.jinja").map(Template::File)
        }
    }
}

/// A fresh engine can be had only where benchlet starts it.
fn check_isolation(test: &LoadTest, fields: &Fields<'_>) {
    let Some(Isolation::PerConversation) = test.conversations().map(|all| all.isolation) else { return };
    let starts = |place: &TargetPlace| match place {
        TargetPlace::Managed { .. } | TargetPlace::Simulated(_) => true,
        TargetPlace::Url(_) | TargetPlace::UsualPort | TargetPlace::Running { .. } => false,
    };
    if !test.targets.iter().all(|target| starts(&target.place)) {
        fields.refuse(
            "isolation",
            "PerConversation needs engines that are started for the run",
            "give each target lifecycle: Managed, or leave isolation out",
        );
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
