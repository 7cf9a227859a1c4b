//! A case that is a conversation: its script, its template and its limits out of the plan, ready to be held.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::conversation_fit::{self, Fit, Whose};
use super::conversation_run::{self, Dialogue, HeldOnce, PrefixCounters, Render};
use super::progress::Counters;
use super::recorder::Recorder;
use super::stop::Stop;
use super::token_ladder::Untold;
use crate::engine::wire::Wire;
use crate::plan::chat_template::{ChatTemplate, Host};
use crate::plan::conversation_turns::Script;
use crate::request::load_test::{CachePolicy, Message};
use crate::run::measure_plan::{CasePlan, Dialect, MeasurePlan, PromptPlan};
use crate::run::request_record::TargetFacts;

/// A conversation that is about to be held.
pub struct Held<'a> {
    pub plan: &'a MeasurePlan,
    /// As records count.
    pub index: usize,
    pub case: &'a CasePlan,
    pub wire: &'a Arc<Wire>,
    pub facts: &'a TargetFacts,
    pub model: Option<&'a str>,
}

impl Held<'_> {
    /// Holds it to its end.
    ///
    /// # Errors
    /// A plan that contradicts itself, a template that refuses the messages, or no runtime.
    pub fn hold(
        &self,
        fit: &Fit,
        whose: &Whose,
        warmup: u32,
        prefix_counters: &PrefixCounters,
        untold: Option<Arc<Untold>>,
        (counters, recorder, stop): (Arc<Counters>, Recorder, Stop),
    ) -> io::Result<HeldOnce> {
        let unknown = || io::Error::other("a case names a conversation that the plan does not have");
        let plan = self.plan;
        let PromptPlan::Conversations(conversations) = &plan.prompts else { return Err(unknown()) };
        let held = self.case.conversation.ok_or_else(unknown)?;
        let conversation = conversations.conversations.get(held.index).ok_or_else(unknown)?;
        let script = Script::new(conversation, fit.tokens_a_word(whose), plan.seed);
        let sizes = fit.sizes(whose, held.index).ok_or_else(unknown)?;
        let template = conversations.template.as_ref().map(|template| {
            let now = jiff::Zoned::now().datetime();
            let host = match self.wire.dialect {
                Dialect::LlamaCpp | Dialect::Ollama => Host::LlamaServer,
                Dialect::Vllm | Dialect::OpenAi | Dialect::Custom(_) => Host::Transformers,
            };
            ChatTemplate::new(template.source.clone()).map(|template| template.with_host(host).with_now(now))
        });
        let template = template.transpose().map_err(io::Error::other)?;
        let render = template.map(|template| {
            move |messages: &[Message]| template.render(messages).map_err(|error| error.to_string())
        });
        conversation_run::hold(&Dialogue {
            index: self.index,
            wire: Arc::clone(self.wire),
            model: self.model,
            script: &script,
            sizes,
            window: conversation_fit::window(conversations, self.facts),
            cache: held.cache,
            salted: plan.cache == CachePolicy::Salt,
            salt: plan.salt,
            output: &plan.output,
            stream: plan.stream,
            timeout: Duration::from_millis(plan.request_timeout_ms),
            think_time: Duration::from_millis(conversations.think_time_ms),
            render: render.as_ref().map(|render| -> &Render { render }),
            warmup,
            recorder,
            counters,
            stop,
            prefix_counters,
            untold,
        })
    }
}
