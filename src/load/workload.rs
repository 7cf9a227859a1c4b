//! The requests of a case, made before its clock starts: which prompts, in which dialect, salted or not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::piece::Malformed;
use crate::engine::wire::{Ask, Prepared, Wire, salt};
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
/// A salt like any other, to count its tokens.
const SAMPLE_SALT: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the requests of a case have in common.
pub struct Workload {
    pub prepared: Vec<Prepared>,
    /// What each of them says, to count it.
    pub contents: Vec<Content>,
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
    calibration: &Calibration,
) -> Result<Workload, Refusal> {
    let prompts = prompts(folder, plan, case, wire, model, calibration).await?;
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
                rendered: false,
                salt: "",
            };
            wire.prepare(&ask, salted)
        })
        .collect();
    let prepared = prepared.map_err(|error| {
        Refusal::new(Reason::EngineMisdescribed, error.0).hint("correct the payload in the settings")
    })?;
    let contents = prompts.into_iter().map(|prompt| prompt.content).collect();
    Ok(Workload { prepared, contents, salt_per_case: shares_prefix })
}

async fn prompts(
    folder: &Path,
    plan: &MeasurePlan,
    case: &CasePlan,
    wire: &Wire,
    model: Option<&str>,
    calibration: &Calibration,
) -> Result<Vec<Prompt>, Refusal> {
    let plain =
        |text: &str| Prompt { content: Content::Text(text.to_owned()), max_tokens: None, temperature: None };
    Ok(match &plan.prompts {
        // They are held turn by turn.
        PromptPlan::Conversations(_) => Vec::new(),
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
            let salted = plan.cache == CachePolicy::Salt;
            let lengths = calibration.of(case.target, wire, model, salted).await;
            let wanted = match case.amount {
                CaseAmount::Requests(requests) => u64::from(requests) + u64::from(plan.warmup),
                CaseAmount::DurationMs(_) => MOST_SYNTHETIC,
            };
            synthetic(plan.seed, wanted, mean, *distribution, *shared_prefix_tokens, &lengths)
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

/// What each target's models were asked about lengths: once, whatever number of cases there are.
#[derive(Default)]
pub struct Calibration(RefCell<BTreeMap<(usize, Option<String>), Lengths>>);

impl Calibration {
    async fn of(&self, target: usize, wire: &Wire, model: Option<&str>, salted: bool) -> Lengths {
        let whose = (target, model.map(str::to_owned));
        let known = self.0.borrow().get(&whose).copied();
        if let Some(lengths) = known {
            return lengths;
        }
        let lengths = lengths(wire, model, salted).await;
        self.0.borrow_mut().insert(whose, lengths);
        lengths
    }
}

/// How many tokens words and prompts have, in the eyes of the server.
#[derive(Clone, Copy)]
struct Lengths {
    per_word: f64,
    /// Of each prompt beside its words: its salt, the chat template.
    beside: u32,
}

/// By the server's own count where it can be asked. The difference between a long prompt and one of a
/// single word is the words' alone; what is left of the short one is everything else.
async fn lengths(wire: &Wire, model: Option<&str>, salted: bool) -> Lengths {
    let salt = if salted { String::from_utf8_lossy(&salt(SAMPLE_SALT)).into_owned() } else { String::new() };
    let sample = |words| salt.clone() + &synthetic_prompts::text(words, 1.0, 0);
    let (long, short) = (sample(CALIBRATION_WORDS), sample(1));
    let prompt = |text: &str| Content::Text(text.to_owned());
    let mut counted = (
        wire.count_prompt(model, &prompt(&long), "").await,
        wire.count_prompt(model, &prompt(&short), "").await,
    );
    if counted.0.is_none() || counted.1.is_none() {
        counted = (wire.count_tokens(model, &long).await, wire.count_tokens(model, &short).await);
    }
    match counted {
        (Some(long), Some(short)) if long > short => {
            let per_word = (long - short) as f64 / f64::from(CALIBRATION_WORDS - 1);
            let beside = (short as f64 - per_word).round().max(0.0) as u32;
            Lengths { per_word, beside }
        }
        (Some(_) | None, Some(_) | None) => {
            Lengths { per_word: synthetic_prompts::USUAL_TOKENS_PER_WORD, beside: 0 }
        }
    }
}

fn synthetic(
    seed: u64,
    wanted: u64,
    mean: u32,
    distribution: Distribution,
    shared_prefix_tokens: u32,
    lengths: &Lengths,
) -> Vec<String> {
    let bytes_each = (u64::from(mean) + u64::from(shared_prefix_tokens)).max(1) * 6;
    let count = wanted.min(MOST_SYNTHETIC).min(MOST_BYTES / bytes_each).max(1);
    let prefix = if shared_prefix_tokens > 0 {
        synthetic_prompts::text(shared_prefix_tokens, lengths.per_word, seed) + "\n\n"
    } else {
        String::new()
    };
    (1..=count)
        .map(|number| {
            let own = seed.wrapping_mul(1_000_003).wrapping_add(number);
            let length = synthetic_prompts::length(mean, distribution, own).saturating_sub(lengths.beside);
            prefix.clone() + &synthetic_prompts::text(length, lengths.per_word, own)
        })
        .collect()
}
