//! `prompts:` of a load test. A file is only named here; whoever reads it resolves it beneath the
//! root.

use super::fields::{Fields, Problems};
use super::load_test::{Content, Distribution, Message, Prompt, Prompts, Synthetic};
use super::load_test_load::{temperature, tokens};
use super::load_test_schema::{MESSAGE, PROMPT, PROMPTS, SYNTHETIC};
use super::load_test_size::{MOST_ENTRIES, MOST_INLINE_PROMPTS};
use super::quantities;
use super::tree::{Node, Value};

const DEFAULT_INPUT_TOKENS: u32 = 512;
const DEFAULT_SPREAD_PERCENT: f64 = 20.0;
const WAYS: &str = "builtin, or a map with one of file, inline and synthetic";

const ROLES: &[(&str, &str)] = &[
    ("system", "system"),
    ("developer", "developer"),
    ("user", "user"),
    ("assistant", "assistant"),
    ("tool", "tool"),
];

/// `None` where they are not usable; the problems say why.
pub fn decode(spec: &Fields<'_>) -> Option<Prompts> {
    let Some(node) = spec.get("prompts") else {
        return Some(Prompts::Builtin);
    };
    match &node.value {
        Value::Scalar(scalar) if scalar.text == "builtin" => Some(Prompts::Builtin),
        Value::Scalar(scalar) => {
            let hint = match scalar.text.as_str() {
                "synthetic" => "write synthetic: { inputTokens: 512 }".to_owned(),
                text if text.ends_with(".jsonl") => format!("write file: {text}"),
                _ => WAYS.to_owned(),
            };
            spec.wrong(node, "prompts", &scalar.text, &hint);
            None
        }
        Value::Null | Value::List(_) => {
            spec.problems.error_with_hint(
                node,
                format!("spec.prompts cannot be {}", node.kind_name()),
                "write inline: before the list",
            );
            None
        }
        Value::Map(_) => one_of(&Fields::new(node, "spec.prompts", PROMPTS, spec.problems)?),
    }
}

fn one_of(fields: &Fields<'_>) -> Option<Prompts> {
    match (fields.get("file"), fields.get("inline"), fields.get("synthetic")) {
        (Some(_), None, None) => fields.relative_file("file", "prompts.jsonl").map(Prompts::File),
        (None, Some(_), None) => inline(fields).map(Prompts::Inline),
        (None, None, Some(node)) => synthetic(node, fields.problems).map(Prompts::Synthetic),
        _ => {
            fields.problems.error_with_hint(
                fields.node(),
                "spec.prompts has to have exactly one of file, inline and synthetic",
                WAYS,
            );
            None
        }
    }
}

fn inline(fields: &Fields<'_>) -> Option<Vec<Prompt>> {
    let items = fields.list("inline")?;
    if items.is_empty() || items.len() > MOST_INLINE_PROMPTS {
        fields.refuse(
            "inline",
            &format!("has {} prompts", items.len()),
            &format!("from 1 to {MOST_INLINE_PROMPTS}; more of them belong into a file"),
        );
        return None;
    }
    let prompts: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(index, item)| prompt(item, &format!("spec.prompts.inline[{index}]"), fields.problems))
        .collect();
    prompts.into_iter().collect()
}

fn prompt(node: &Node, path: &str, problems: &Problems) -> Option<Prompt> {
    if let Some(text) = node.text() {
        let content = not_empty(node, path, text.to_owned(), problems).map(Content::Text);
        return content.map(|content| Prompt { content, max_tokens: None, temperature: None });
    }
    let fields = Fields::new(node, path, PROMPT, problems)?;
    let content = match (fields.get("prompt"), fields.get("messages")) {
        (Some(node), None) => fields
            .text("prompt")
            .and_then(|text| not_empty(node, &fields.path_of("prompt"), text, problems))
            .map(Content::Text),
        (None, Some(_)) => messages(&fields).map(Content::Messages),
        (Some(_), Some(_)) | (None, None) => {
            problems.error_with_hint(
                node,
                format!("{path} has to have either prompt or messages"),
                "prompt: a text, or messages: [{ role: user, content: a text }]",
            );
            None
        }
    };
    let (max_tokens, temperature) =
        (fields.parsed("maxTokens", tokens), fields.parsed("temperature", temperature));
    Some(Prompt { content: content?, max_tokens, temperature })
}

fn messages(fields: &Fields<'_>) -> Option<Vec<Message>> {
    let items = fields.list("messages")?;
    if items.is_empty() {
        fields.refuse("messages", "is an empty list", "messages: [{ role: user, content: a text }]");
        return None;
    }
    let path = fields.path_of("messages");
    let messages: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let fields = Fields::new(item, &format!("{path}[{index}]"), MESSAGE, fields.problems)?;
            let role = fields.required("role").and_then(|_| fields.choice("role", ROLES));
            let content = fields.required("content").and_then(|_| fields.text("content"));
            Some(Message { role: role?.to_owned(), content: content? })
        })
        .collect();
    messages.into_iter().collect()
}

fn not_empty(node: &Node, path: &str, text: String, problems: &Problems) -> Option<String> {
    if text.trim().is_empty() {
        problems.error(node, format!("{path} is an empty prompt"));
        return None;
    }
    Some(text)
}

fn synthetic(node: &Node, problems: &Problems) -> Option<Synthetic> {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Fixed,
        Uniform,
        Normal,
        LogNormal,
    }
    let fields = Fields::new(node, "spec.prompts.synthetic", SYNTHETIC, problems)?;
    let kind = fields
        .choice(
            "distribution",
            &[
                ("Fixed", Kind::Fixed),
                ("Uniform", Kind::Uniform),
                ("Normal", Kind::Normal),
                ("LogNormal", Kind::LogNormal),
            ],
        )
        .unwrap_or(Kind::Fixed);
    let spread = fields.parsed("spread", |text| quantities::percent(text, 100.0));
    let percent = spread.unwrap_or(DEFAULT_SPREAD_PERCENT);
    if kind == Kind::Fixed && fields.get("distribution").is_none_or(|node| node.text() == Some("Fixed")) {
        fields.refuse(
            "spread",
            "needs a distribution that varies",
            "distribution: Uniform, Normal or LogNormal",
        );
    }
    Some(Synthetic {
        input_tokens: fields
            .parsed_list("inputTokens", MOST_ENTRIES, tokens)
            .unwrap_or_else(|| vec![DEFAULT_INPUT_TOKENS]),
        distribution: match kind {
            Kind::Fixed => Distribution::Fixed,
            Kind::Uniform => Distribution::Uniform { percent },
            Kind::Normal => Distribution::Normal { percent },
            Kind::LogNormal => Distribution::LogNormal { sigma: percent / 100.0 },
        },
        shared_prefix_tokens: fields
            .parsed("sharedPrefixTokens", |text| {
                quantities::whole(text, 0, super::load_test_size::MOST_TOKENS)
            })
            .unwrap_or(0),
    })
}
