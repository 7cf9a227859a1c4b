//! The requests of a case, made before its clock starts: which prompts, in which dialect, salted or not.

use std::path::Path;

use crate::engine::piece::Malformed;
use crate::engine::wire::{Ask, Prepared, Wire};
use crate::plan::{builtin_prompts, prompt_lines, synthetic_prompts};
use crate::request::load_test::{CachePolicy, Content, Distribution, Prompt};
use crate::run::measure_plan::{CaseAmount, CasePlan, MeasurePlan, PromptPlan};
use crate::run::reason::{Reason, Refusal};

/// Most different synthetic prompts of a case; they are used over and over, each time with another salt.
const MOST_SYNTHETIC: u64 = 512;
/// Most bytes of them together.
const MOST_BYTES: u64 = 64 << 20;
/// Words whose tokens the server counts, for synthetic lengths.
const CALIBRATION_WORDS: u32 = 400;

/// What the requests of a case have in common.
pub struct Workload {
    pub prepared: Vec<Prepared>,
    /// One salt for the whole case, because its prompts are to share what they begin with.
    pub salt_per_case: bool,
}

/// Makes the requests of a case.
///
/// # Errors
/// Prompts that cannot be read, or a custom engine's template that makes no JSON.
pub async fn workload(
    folder: &Path,
    plan: &MeasurePlan,
    case: &CasePlan,
    wire: &Wire,
    model: Option<&str>,
) -> Result<Workload, Refusal> {
    let prompts = prompts(folder, plan, case, wire, model).await?;
    if prompts.is_empty() {
        return Err(Refusal::new(Reason::PromptsUnusable, "the request has no prompt to send"));
    }
    let shares_prefix = matches!(plan.prompts, PromptPlan::Synthetic { shared_prefix_tokens, .. } if shared_prefix_tokens > 0);
    let salted = plan.cache == CachePolicy::Salt;
    let prepared: Result<Vec<Prepared>, Malformed> = prompts
        .iter()
        .map(|prompt| {
            let ask = Ask {
                model,
                content: &prompt.content,
                max_tokens: prompt.max_tokens.unwrap_or(plan.output.max_tokens),
                temperature: prompt.temperature.unwrap_or(plan.output.temperature),
                ignore_eos: plan.output.ignore_eos,
                stream: plan.stream,
                cold: plan.cache != CachePolicy::Keep && !shares_prefix,
                salt: "",
            };
            wire.prepare(&ask, salted)
        })
        .collect();
    let prepared = prepared.map_err(|error| {
        Refusal::new(Reason::EngineMisdescribed, error.0).hint("correct the payload in the settings")
    })?;
    Ok(Workload { prepared, salt_per_case: shares_prefix })
}

async fn prompts(
    folder: &Path,
    plan: &MeasurePlan,
    case: &CasePlan,
    wire: &Wire,
    model: Option<&str>,
) -> Result<Vec<Prompt>, Refusal> {
    let plain =
        |text: &str| Prompt { content: Content::Text(text.to_owned()), max_tokens: None, temperature: None };
    Ok(match &plan.prompts {
        PromptPlan::Builtin => builtin_prompts::PROMPTS.iter().map(|text| plain(text)).collect(),
        PromptPlan::Inline(prompts) => prompts.clone(),
        PromptPlan::File(path) => {
            let text = std::fs::read_to_string(folder.join(path)).map_err(|error| {
                Refusal::new(
                    Reason::PromptsUnusable,
                    format!("the copy of the prompts cannot be read: {error}"),
                )
            })?;
            prompt_lines::parse(&text).map_err(|bad| bad_lines(&bad))?
        }
        PromptPlan::Synthetic { distribution, shared_prefix_tokens } => {
            let mean = case.input_tokens.unwrap_or(1);
            let per_word = tokens_per_word(wire, model).await;
            let wanted = match case.amount {
                CaseAmount::Requests(requests) => u64::from(requests) + u64::from(plan.warmup),
                CaseAmount::DurationMs(_) => MOST_SYNTHETIC,
            };
            synthetic(plan.seed, wanted, mean, *distribution, *shared_prefix_tokens, per_word)
                .iter()
                .map(|text| plain(text))
                .collect()
        }
    })
}

/// Every line that is no prompt, in one refusal.
pub fn bad_lines(bad: &[prompt_lines::BadLine]) -> Refusal {
    let shown: Vec<String> = bad.iter().take(5).map(ToString::to_string).collect();
    let more = if bad.len() > 5 { format!("; and {} more", bad.len() - 5) } else { String::new() };
    Refusal::new(Reason::PromptsUnusable, format!("the prompts cannot be used: {}{more}", shown.join("; ")))
        .hint("a line is {\"prompt\": \"…\"} or {\"messages\": [{\"role\": \"user\", \"content\": \"…\"}]}")
}

/// By the server's own count where it can be asked.
async fn tokens_per_word(wire: &Wire, model: Option<&str>) -> f64 {
    let sample = synthetic_prompts::text(CALIBRATION_WORDS, 1.0, 0);
    match wire.count_tokens(model, &sample).await {
        Some(tokens) if tokens > 0 => tokens as f64 / f64::from(CALIBRATION_WORDS),
        Some(_) | None => synthetic_prompts::USUAL_TOKENS_PER_WORD,
    }
}

fn synthetic(
    seed: u64,
    wanted: u64,
    mean: u32,
    distribution: Distribution,
    shared_prefix_tokens: u32,
    per_word: f64,
) -> Vec<String> {
    let bytes_each = (u64::from(mean) + u64::from(shared_prefix_tokens)).max(1) * 6;
    let count = wanted.min(MOST_SYNTHETIC).min(MOST_BYTES / bytes_each).max(1);
    let prefix = if shared_prefix_tokens > 0 {
        synthetic_prompts::text(shared_prefix_tokens, per_word, seed) + "\n\n"
    } else {
        String::new()
    };
    (1..=count)
        .map(|number| {
            let own = seed.wrapping_mul(1_000_003).wrapping_add(number);
            let length = synthetic_prompts::length(mean, distribution, own);
            prefix.clone() + &synthetic_prompts::text(length, per_word, own)
        })
        .collect()
}
