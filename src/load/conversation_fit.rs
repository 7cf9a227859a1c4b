//! Which conversations fit into a model's context, by the server's own count of their texts where it can be
//! asked.

use std::collections::BTreeMap;

use crate::engine::wire::Wire;
use crate::plan::conversation_turns::{self, Script, Sizes, estimated_tokens};
use crate::request::conversation::ContextSize;
use crate::run::measure_plan::{CasePlan, ConversationPlan};
use crate::run::request_record::{CaseSkipped, TargetFacts};

/// A target, and a model of it: `None` for the one that it names first.
pub type Whose = (usize, Option<String>);

/// What was found out before the first conversation began.
#[derive(Debug, Default)]
pub struct Fit {
    /// Of each conversation, by its index.
    sizes: BTreeMap<(Whose, usize), Sizes>,
    tokens_a_word: BTreeMap<Whose, f64>,
    /// By the index of the case.
    skipped: BTreeMap<usize, Option<CaseSkipped>>,
}

impl Fit {
    pub fn sizes(&self, whose: &Whose, conversation: usize) -> Option<&Sizes> {
        self.sizes.get(&(whose.clone(), conversation))
    }

    pub fn tokens_a_word(&self, whose: &Whose) -> f64 {
        self.tokens_a_word.get(whose).copied().unwrap_or(1.0)
    }

    /// Whether a case is left out.
    pub fn leaves_out(&self, case: usize) -> bool {
        self.skipped.contains_key(&case)
    }

    /// The cases that do not fit. Those beyond the number that was asked for are not among them.
    pub fn too_large(&self) -> impl Iterator<Item = &CaseSkipped> {
        self.skipped.values().flatten()
    }

    /// Looks at the conversations of one target's model, in their order.
    pub async fn look(
        &mut self,
        plan: &ConversationPlan,
        cases: &[CasePlan],
        whose: &Whose,
        wire: &Wire,
        facts: &TargetFacts,
        seed: u64,
    ) {
        let model = whose.1.as_deref().or(facts.model.as_deref());
        let tokens_a_word = tokens_a_word(wire, model).await;
        self.tokens_a_word.insert(whose.clone(), tokens_a_word);
        let window = window(plan, facts);
        let mut fitting = 0;
        for (index, conversation) in plan.conversations.iter().enumerate() {
            let of_it: Vec<usize> = cases
                .iter()
                .enumerate()
                .filter(|(_, case)| (case.target, &case.model) == (whose.0, &whose.1))
                .filter(|(_, case)| case.conversation.is_some_and(|held| held.index == index))
                .map(|(at, _)| at)
                .collect();
            if of_it.is_empty() {
                continue;
            }
            if plan.most.is_some_and(|most| fitting >= most) {
                self.skipped.extend(of_it.into_iter().map(|case| (case, None)));
                continue;
            }
            let script = Script::new(conversation, tokens_a_word, seed);
            let (sizes, counted) = sizes(&script, wire, model).await;
            let needed_tokens = script.largest_context(&sizes);
            self.sizes.insert((whose.clone(), index), sizes);
            match window.filter(|window| needed_tokens > *window) {
                None => fitting += 1,
                Some(context_window) => {
                    let skipped = |index| {
                        let model = model.map(str::to_owned);
                        CaseSkipped { index, needed_tokens, context_window, counted, model }
                    };
                    self.skipped.extend(of_it.into_iter().map(|case| (case, Some(skipped(case)))));
                }
            }
        }
    }
}

/// Tokens that fit, where that is known.
pub fn window(plan: &ConversationPlan, facts: &TargetFacts) -> Option<u64> {
    match plan.context_size {
        ContextSize::Auto => facts.context_window,
        ContextSize::Tokens(tokens) => Some(facts.context_window.map_or(tokens, |window| window.min(tokens))),
    }
}

/// Tokens of a made-up word, its share of punctuation included, in the eyes of the server.
async fn tokens_a_word(wire: &Wire, model: Option<&str>) -> f64 {
    let (words, sample) = conversation_turns::prose_sample();
    match wire.count_tokens(model, &sample).await {
        Some(tokens) if tokens > 0 => tokens as f64 / f64::from(words),
        Some(_) | None => conversation_turns::USUAL_TOKENS_A_WORD,
    }
}

/// Tokens of a conversation's texts, and whether the server counted them.
async fn sizes(script: &Script<'_>, wire: &Wire, model: Option<&str>) -> (Sizes, bool) {
    let texts = script.texts();
    let mut counts = Vec::with_capacity(texts.len());
    for text in &texts {
        if text.is_empty() {
            counts.push(0);
            continue;
        }
        let Some(count) = wire.count_tokens(model, text).await else {
            let estimated: Vec<u64> = texts.iter().map(|text| estimated_tokens(text)).collect();
            return (script.sizes(&estimated), false);
        };
        counts.push(count);
    }
    (script.sizes(&counts), true)
}
