//! What a load test asks for, in the words of its request, for `describe`.

use crate::plan::load_plan::service_words;
use crate::request::conversation::{ContextSize, Conversations, Isolation, Template};
use crate::request::load_test::{
    Amount, Content, Distribution, LoadShape, LoadTest, Prompts, Target, TargetPlace,
};
use crate::request::load_test_size::MOST_TOKENS;
use crate::request::quantities::spoken_time;

/// Label and value of each line.
pub fn lines(spec: &LoadTest) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for target in &spec.targets {
        lines.push(("target", target_words(target, spec)));
    }
    if let Some(how) = spec.conversations() {
        lines.push(("conversations", prompt_words(&spec.prompts)));
        lines.extend(conversation_lines(how));
    } else {
        lines.push(("prompts", prompt_words(&spec.prompts)));
    }
    let to_the_end = if spec.output.ignore_eos { ", always to the end" } else { "" };
    let streamed = if spec.stream { "" } else { ", not streamed" };
    let most = if spec.conversations().is_some() && spec.output.max_tokens == MOST_TOKENS {
        "as many tokens as each conversation wants".to_owned()
    } else {
        format!("{} tokens at most", spec.output.max_tokens)
    };
    lines.push(("output", format!("{most}{to_the_end}, temperature {}{streamed}", spec.output.temperature)));
    if spec.conversations().is_some() {
        let repeats = if spec.repeats > 1 { format!(", {} times", spec.repeats) } else { String::new() };
        lines.push(("load", format!("one user, turn by turn{repeats}")));
        lines.push(("warm-up", format!("{} requests an engine", spec.warmup)));
    } else {
        lines.push(("load", load_words(spec)));
        lines.push(("warm-up", format!("{} requests a case", spec.warmup)));
    }
    lines.extend(spec.tokenizer.iter().map(|file| ("tokenizer", file.clone())));
    if !spec.slo.is_empty() {
        let bounds = spec.slo.iter().map(|bound| format!("{} ≤ {} ms", bound.name(), bound.at_most_ms));
        lines.push(("slo", bounds.collect::<Vec<_>>().join(", ")));
    }
    let pause =
        if spec.pause_ms > 0 { format!(", {} between", spoken_time(spec.pause_ms)) } else { String::new() };
    let cases = if spec.conversations().is_some() {
        format!("{} a conversation", spec.cases())
    } else {
        spec.cases().to_string()
    };
    lines.push((
        "cases",
        format!("{cases}, {:?}, seed {}, cache {:?}{pause}", spec.order, spec.seed, spec.cache),
    ));
    lines
}

fn conversation_lines(how: &Conversations) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let lists =
        [("names", &how.names), ("with tags", &how.include_tags), ("without tags", &how.exclude_tags)];
    let mut chosen: Vec<String> = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(what, list)| format!("{what} {}", list.join(", ")))
        .collect();
    chosen.extend(how.max_conversations.map(|most| format!("the first {most} that fit")));
    if !chosen.is_empty() {
        lines.push(("chosen", chosen.join("; ")));
    }
    let size = match how.context_size {
        ContextSize::Auto => "as the engine says".to_owned(),
        ContextSize::Tokens(tokens) => format!("{tokens} tokens"),
    };
    lines.push(("context", size));
    let caches: Vec<&str> = how.prefix_cache.iter().map(|cache| cache.as_str()).collect();
    lines.push(("prefix cache", caches.join(", ")));
    let template = match &how.template {
        Template::Server => "the server's own".to_owned(),
        Template::Builtin(name) => format!("{name}, rendered by benchlet"),
        Template::Model => "the model's own, rendered by benchlet".to_owned(),
        Template::File(path) => format!("{path}, rendered by benchlet"),
    };
    lines.push(("template", template));
    match how.isolation {
        Isolation::PerRun => {}
        Isolation::PerConversation => lines.push(("isolation", "a fresh engine each".to_owned())),
    }
    if how.think_time_ms > 0 {
        lines.push(("think time", spoken_time(how.think_time_ms)));
    }
    lines
}

fn target_words(target: &Target, spec: &LoadTest) -> String {
    let engine = target.engine.as_ref().map(|engine| format!("{} ", engine.as_str())).unwrap_or_default();
    let alone = LoadTest { targets: vec![target.clone()], ..spec.clone() };
    let place = match &target.place {
        TargetPlace::Managed { service } => format!("{service}, started for the run"),
        TargetPlace::Running { service } => format!("{service}, as it runs"),
        TargetPlace::Simulated(simulation) => {
            format!("ttft {} ms, itl {} ms", simulation.ttft_ms, simulation.itl_ms)
        }
        TargetPlace::Url(_) | TargetPlace::UsualPort => service_words(&alone),
    };
    let models =
        if target.models.is_empty() { String::new() } else { format!(", {}", target.models.join(", ")) };
    format!("{engine}{place}{models}, {:?}", target.api)
}

fn prompt_words(prompts: &Prompts) -> String {
    match prompts {
        Prompts::Builtin => "builtin".to_owned(),
        Prompts::Inline(list) => {
            let first = list.first().map(|prompt| match &prompt.content {
                Content::Text(text) => text.chars().take(40).collect::<String>(),
                Content::Messages(messages) => format!("{} messages", messages.len()),
            });
            format!("{} inline, the first: {}", list.len(), first.unwrap_or_default())
        }
        Prompts::File(path) => path.clone(),
        Prompts::Conversations(how) => {
            let from = [
                how.builtin.then(|| "builtin".to_owned()),
                how.file.clone(),
                (!how.inline.is_empty()).then(|| format!("{} inline", how.inline.len())),
            ];
            from.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        Prompts::Synthetic(synthetic) => {
            let lengths: Vec<String> = synthetic.input_tokens.iter().map(u32::to_string).collect();
            let spread = match synthetic.distribution {
                Distribution::Fixed => String::new(),
                Distribution::Uniform { percent } => format!(" ± {percent} %"),
                Distribution::Normal { percent } => format!(", deviation {percent} %"),
                Distribution::LogNormal { sigma } => format!(", log-normal, sigma {sigma}"),
            };
            let prefix = match synthetic.shared_prefix_tokens {
                0 => String::new(),
                tokens => format!(", {tokens} shared"),
            };
            format!("synthetic, {} tokens{spread}{prefix}", lengths.join(", "))
        }
    }
}

fn load_words(spec: &LoadTest) -> String {
    fn listed<T: ToString>(values: &[T]) -> String {
        values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
    }
    let shape = match &spec.load.shape {
        LoadShape::Closed { concurrency } => format!("{} at a time", listed(concurrency)),
        LoadShape::Open { rates, arrivals } => format!("{} a second, {arrivals:?}", listed(rates)),
    };
    let amount = match &spec.load.amount {
        Amount::Requests(requests) => format!("{} requests", listed(requests)),
        Amount::DurationMs(ms) => spoken_time(*ms),
    };
    let ramp = if spec.load.ramp_up_ms > 0 {
        format!(", ramp-up {}", spoken_time(spec.load.ramp_up_ms))
    } else {
        String::new()
    };
    let repeats = if spec.repeats > 1 { format!(", {} times", spec.repeats) } else { String::new() };
    format!("{shape}, {amount}{ramp}{repeats}")
}
