//! Shows how far the case that runs is, in the file that the controller looks at.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::progress::{self, Counters, Progress};
use crate::run::measure_plan::{CaseAmount, CaseLoad, CasePlan, MeasurePlan, PromptPlan};

/// The file is written this often.
const SHOW: Duration = Duration::from_millis(300);

/// The progress of the case that runs.
pub struct Shown<'a> {
    pub folder: &'a Path,
    pub plan: &'a MeasurePlan,
    /// Its place in the plan.
    pub index: usize,
    pub case: &'a CasePlan,
    /// When measuring began.
    pub began: Instant,
    pub counters: &'a Counters,
}

impl Shown<'_> {
    /// Shows it until it has ended.
    pub fn until(&self, finished: impl Fn() -> bool) {
        let started = Instant::now();
        let mut shown: Option<Instant> = None;
        while !finished() {
            if shown.is_none_or(|at| at.elapsed() >= SHOW) {
                progress::show(self.folder, &self.progress(started));
                shown = Some(Instant::now());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        progress::show(self.folder, &self.progress(started));
    }

    fn progress(&self, started: Instant) -> Progress {
        let ms = |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (of, by_time) = match self.case.amount {
            CaseAmount::Requests(requests) => (Some(u64::from(requests)), None),
            CaseAmount::DurationMs(all) => (None, Some((ms(started) * 1_000 / all.max(1)).min(1_000))),
        };
        Progress {
            case: u32::try_from(self.index + 1).unwrap_or(u32::MAX),
            cases: u32::try_from(self.plan.cases.len()).unwrap_or(u32::MAX),
            label: label(self.plan, self.case),
            done: self.counters.done.load(Ordering::Relaxed),
            of,
            by_time,
            failed: self.counters.failed.load(Ordering::Relaxed),
            elapsed_ms: ms(self.began),
        }
    }
}

/// A case in few words: `c=5 p=512 qwen`, `onboarding Kept`.
pub fn label(plan: &MeasurePlan, case: &CasePlan) -> String {
    let held = case.conversation.and_then(|held| {
        let PromptPlan::Conversations(all) = &plan.prompts else { return None };
        let name = &all.conversations.get(held.index)?.name;
        Some(format!("{name} {}", held.cache.as_str()))
    });
    let mut words = vec![held.unwrap_or_else(|| match case.load {
        CaseLoad::Closed { concurrency } => format!("c={concurrency}"),
        CaseLoad::Open { rate, .. } => format!("{rate}/s"),
    })];
    words.extend(case.input_tokens.map(|tokens| format!("p={tokens}")));
    if plan.targets.len() > 1 {
        words.extend(plan.targets.get(case.target).map(|target| target.name.clone()));
    }
    words.extend(case.model.clone());
    words.join(" ")
}
