//! What a load test asks for, in the words of its request, for `describe`.

use crate::plan::load_plan::service_words;
use crate::request::load_test::{
    Amount, Content, Distribution, LoadShape, LoadTest, Prompts, Target, TargetPlace,
};
use crate::request::quantities::spoken_time;

/// Label and value of each line.
pub fn lines(spec: &LoadTest) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for target in &spec.targets {
        lines.push(("target", target_words(target, spec)));
    }
    lines.push(("prompts", prompt_words(&spec.prompts)));
    let to_the_end = if spec.output.ignore_eos { ", always to the end" } else { "" };
    let streamed = if spec.stream { "" } else { ", not streamed" };
    lines.push((
        "output",
        format!(
            "{} tokens at most{to_the_end}, temperature {}{streamed}",
            spec.output.max_tokens, spec.output.temperature
        ),
    ));
    lines.push(("load", load_words(spec)));
    lines.push(("warm-up", format!("{} requests a case", spec.warmup)));
    lines.extend(spec.tokenizer.iter().map(|file| ("tokenizer", file.clone())));
    if !spec.slo.is_empty() {
        let bounds = spec.slo.iter().map(|bound| format!("{} ≤ {} ms", bound.name(), bound.at_most_ms));
        lines.push(("slo", bounds.collect::<Vec<_>>().join(", ")));
    }
    let pause =
        if spec.pause_ms > 0 { format!(", {} between", spoken_time(spec.pause_ms)) } else { String::new() };
    lines.push((
        "cases",
        format!("{}, {:?}, seed {}, cache {:?}{pause}", spec.cases(), spec.order, spec.seed, spec.cache),
    ));
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
