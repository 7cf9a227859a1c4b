//! Carries a frozen plan out, case by case: is each engine there, what does it say of itself, then the
//! load. What went wrong before or between cases is a refusal in a file; what went wrong with a request is
//! in its record.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::case_run::{self, Case};
use super::conversation_case::Held;
use super::conversation_fit::{Fit, Whose};
use super::conversation_run::{HeldOnce, PrefixCounters};
use super::descriptors::{check_descriptors, threads};
use super::local_tokenizer::LocalTokenizer;
use super::progress::Counters;
use super::reach::{Reached, ServiceKey, reach, unreachable};
use super::recorder::Recorder;
use super::sampling::{Look, Sampling, Watched, unix_ms};
use super::shown::{Shown, label};
use super::stop::Stop;
use super::token_ladder::{Ladder, Untold};
use super::workload::{self, Calibration, Workload};
use crate::engine::control::ASK_LIMIT;
use crate::files::atomic_write;
use crate::request::load_test::CachePolicy;
use crate::run::measure_plan::{
    CasePlan, Endpoint, MEASURE_VERSION, MeasurePlan, PLAN_FILE, PromptPlan, RECORDS_FILE, REFUSAL_FILE,
    SERIES_FILE,
};
use crate::run::reason::{Reason, Refusal};
use crate::run::request_record::{CaseEnded, CaseSkipped, CaseStarted, Line, TargetFacts};

pub use super::stop::Stop as StopMeasuring;

/// An engine of the run that refused so many requests in a row is gone.
const GONE: u64 = 20;
/// Measures what the plan in `folder` says. `service_key` finds the key of a service of the catalogue, `looks`
/// makes the look at the machine once the targets are known, `prefix_counters` reads an engine's metrics.
///
/// # Errors
/// Why measuring could not begin or go on; it is in the refusal's file as well.
pub fn measure(
    folder: &Path,
    stop: &Stop,
    service_key: impl Fn(&str) -> Result<String, String>,
    looks: impl FnOnce(&[Reached]) -> Look,
    prefix_counters: &PrefixCounters,
) -> Result<(), Refusal> {
    let outcome = carry_out(folder, stop, &service_key, looks, prefix_counters);
    if let Err(refusal) = &outcome
        && let Ok(bytes) = serde_json::to_vec(refusal)
        && let Err(error) = atomic_write::replace(&folder.join(REFUSAL_FILE), &bytes, 0o600)
    {
        tracing::error!(%error, "the refusal could not be kept");
    }
    outcome
}

fn carry_out(
    folder: &Path,
    stop: &Stop,
    service_key: &ServiceKey<'_>,
    looks: impl FnOnce(&[Reached]) -> Look,
    prefix_counters: &PrefixCounters,
) -> Result<(), Refusal> {
    let began = Instant::now();
    let plan = read_plan(folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| internal(&format!("the runtime does not start: {error}")))?;
    let reached: Vec<Reached> =
        plan.targets.iter().map(|target| reach(folder, target, service_key)).collect::<Result<_, _>>()?;
    check_descriptors(&plan)?;
    let tokenizer = plan.tokenizer.as_ref().map(|path| tokenizer(&folder.join(path))).transpose()?;
    let records = folder.join(RECORDS_FILE);
    let (recorder, writer) =
        Recorder::open(&records).map_err(|error| internal(&format!("{}: {error}", records.display())))?;
    let calibration = Calibration::default();
    let under_way = UnderWay {
        folder,
        plan: &plan,
        reached: &reached,
        stop,
        runtime: &runtime,
        began,
        calibration,
        prefix_counters,
        warm: RefCell::default(),
        tokenizer,
    };
    let outcome = under_way.measure(recorder, looks);
    writer.finish().map_err(|error| internal(&format!("the records could not be kept: {error}")))?;
    outcome
}

/// A plan that is being carried out.
struct UnderWay<'a> {
    folder: &'a Path,
    plan: &'a MeasurePlan,
    reached: &'a [Reached],
    stop: &'a Stop,
    runtime: &'a tokio::runtime::Runtime,
    began: Instant,
    calibration: Calibration,
    prefix_counters: &'a PrefixCounters,
    /// Whose conversation was held last.
    warm: RefCell<Option<Whose>>,
    tokenizer: Option<LocalTokenizer>,
}

impl UnderWay<'_> {
    /// Asks every target, then measures case by case. A stop ends it early and well.
    fn measure(&self, recorder: Recorder, looks: impl FnOnce(&[Reached]) -> Look) -> Result<(), Refusal> {
        let Some(facts) = self.facts(&recorder)? else { return Ok(()) };
        let Some(fit) = self.fit(&facts, &recorder) else { return Ok(()) };
        let measured = Arc::new(AtomicUsize::new(0));
        let watched = Watched {
            wires: self.reached.iter().map(|target| Arc::clone(&target.wire)).collect(),
            collectors: self.plan.collectors.clone(),
            target: Arc::clone(&measured),
            every: Duration::from_millis(self.plan.sample_every_ms.max(100)),
        };
        let look = looks(self.reached);
        let sampling = Sampling::start(&self.folder.join(SERIES_FILE), watched, look)
            .map_err(|error| internal(&format!("the series cannot be kept: {error}")))?;
        let cases = self.plan.cases.iter().enumerate().filter(|(index, _)| !fit.leaves_out(*index));
        let mut outcome = Ok(());
        for (index, case) in cases {
            measured.store(case.target, Ordering::Relaxed);
            outcome = self.case(index, case, &facts, &fit, &recorder);
            if outcome.is_err() || self.stop.is_stopped() {
                break;
            }
        }
        sampling.finish();
        outcome
    }

    /// What each target says of itself; `None` where the stop came first.
    fn facts(&self, recorder: &Recorder) -> Result<Option<BTreeMap<Whose, TargetFacts>>, Refusal> {
        let all: BTreeSet<Whose> =
            self.plan.cases.iter().map(|case| (case.target, case.model.clone())).collect();
        let mut facts = BTreeMap::new();
        for whose in all {
            let Some(target) = self.reached.get(whose.0) else { continue };
            let asked = async {
                target.wire.health(ASK_LIMIT).await?;
                Ok(target.wire.facts(whose.1.as_deref()).await)
            };
            let told = match self.runtime.block_on(self.stop.unless_stopped(asked)) {
                Some(Ok(told)) => TargetFacts { target: whose.0, ..told },
                Some(Err(error)) => return Err(unreachable(target, &error)),
                None => return Ok(None),
            };
            recorder.keep(Line::Target(told.clone()));
            facts.insert(whose, told);
        }
        Ok(Some(facts))
    }

    /// Which conversations can be held; `None` where the stop came first.
    fn fit(&self, facts: &BTreeMap<Whose, TargetFacts>, recorder: &Recorder) -> Option<Fit> {
        let mut fit = Fit::default();
        let PromptPlan::Conversations(plan) = &self.plan.prompts else { return Some(fit) };
        for (whose, told) in facts {
            let Some(target) = self.reached.get(whose.0) else { continue };
            let looked = fit.look(plan, &self.plan.cases, whose, &target.wire, told, self.plan.seed);
            self.runtime.block_on(self.stop.unless_stopped(looked))?;
        }
        for skipped in fit.too_large() {
            let index = self.plan.index_from + skipped.index;
            recorder.keep(Line::Skipped(CaseSkipped { index, ..skipped.clone() }));
        }
        Some(fit)
    }

    fn case(
        &self,
        index: usize,
        case: &CasePlan,
        facts: &BTreeMap<Whose, TargetFacts>,
        fit: &Fit,
        recorder: &Recorder,
    ) -> Result<(), Refusal> {
        let Self { folder, plan, stop, ref calibration, .. } = *self;
        let (Some(target), Some(told)) =
            (self.reached.get(case.target), facts.get(&(case.target, case.model.clone())))
        else {
            return Err(internal("a case names a target that the plan does not have"));
        };
        let model = case.model.clone().or_else(|| told.models.first().cloned());
        let prepared = self.runtime.block_on(stop.unless_stopped(async {
            if index > 0 {
                tokio::time::sleep(Duration::from_millis(plan.pause_ms)).await;
            }
            let cache = prepare_cache(plan, target).await;
            let making = workload::workload(folder, plan, case, &target.wire, model.as_deref(), calibration);
            let workload = match case.conversation {
                Some(_) => None,
                None => Some(making.await?),
            };
            Ok((cache, workload))
        }));
        let Some(prepared) = prepared else { return Ok(()) };
        let (cache, mut workload): (String, Option<Workload>) = prepared?;
        let mut contents =
            workload.as_mut().map(|workload| std::mem::take(&mut workload.contents)).unwrap_or_default();
        let threads = threads(plan, case);
        // As records count them.
        let index = plan.index_from + index;
        recorder.keep(Line::Started(CaseStarted {
            index,
            unix_ms: unix_ms(),
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
            model: model.clone(),
            cache,
        }));
        let can_count = target.wire.has_tokenize() || self.tokenizer.is_some();
        let untold = can_count.then(|| Arc::new(Untold::default()));
        let counters = Arc::new(Counters::default());
        // An engine is warmed up before its first conversation and where it has to load another model, and
        // before every case of a load.
        let whose: Whose = (case.target, case.model.clone());
        let warmup = match case.conversation {
            Some(_) if self.warm.replace(Some(whose.clone())).as_ref() == Some(&whose) => 0,
            Some(_) | None => plan.warmup,
        };
        let prefix_counters = self.prefix_counters;
        let load = || {
            let Some(workload) = workload else {
                let held =
                    Held { plan, index, case, wire: &target.wire, facts: told, model: model.as_deref() };
                let (counters, recorder) = (Arc::clone(&counters), recorder.clone());
                let kept = (counters, recorder, stop.clone());
                return held.hold(fit, &whose, warmup, prefix_counters, untold.clone(), kept);
            };
            let cost = case_run::run(Case {
                index,
                plan: case.clone(),
                wire: Arc::clone(&target.wire),
                workload,
                salt: plan.salt,
                seed: plan.seed,
                timeout: Duration::from_millis(plan.request_timeout_ms),
                warmup,
                samples: plan.samples,
                threads,
                untold: untold.clone(),
                recorder: recorder.clone(),
                counters: Arc::clone(&counters),
                stop: stop.clone(),
            })?;
            Ok(HeldOnce { cost, early: None, said: Vec::new() })
        };
        let shown = Shown {
            folder,
            plan,
            index: index - plan.index_from,
            case,
            began: self.began,
            counters: &counters,
        };
        let started_here = matches!(target.plan.endpoint, Endpoint::Started { .. });
        let gone = Cell::new(false);
        let held = std::thread::scope(|scope| {
            let running = scope.spawn(load);
            shown.until(|| {
                if started_here && counters.refused_in_a_row() >= GONE && !gone.get() {
                    // Nobody starts it again, so the rest would be refusals to the end.
                    gone.set(true);
                    stop.stop();
                }
                running.is_finished()
            });
            running.join().unwrap_or_else(|_| Err(std::io::Error::other("the case broke")))
        });
        // A conversation ends with its first refusal.
        if started_here && case.conversation.is_some() && counters.refused_in_a_row() > 0 {
            gone.set(true);
            stop.stop();
        }
        let HeldOnce { cost, early, said } =
            held.map_err(|error| internal(&format!("the load could not be made: {error}")))?;
        recorder.keep(Line::Ended(CaseEnded {
            index,
            unix_ms: unix_ms(),
            wall_us: cost.wall_us,
            client_cpu_us: cost.cpu_us,
            busiest_thread_cpu_us: cost.busiest_us,
            cut_short: stop.is_stopped(),
            early,
        }));
        if gone.get() {
            let name = &target.plan.name;
            let message =
                format!("{name}, which was started for the run, takes no connection any more: it has ended");
            return Err(Refusal::new(Reason::EngineFailed, message)
                .hint("its last words are in `benchlet logs`; what was measured before is kept"));
        }
        if let Some(untold) = untold {
            // What is said in a conversation has its salt already.
            let salted = plan.cache == CachePolicy::Salt && case.conversation.is_none();
            let (wire, model, local) = (&target.wire, model.as_deref(), self.tokenizer.as_ref());
            if case.conversation.is_some() {
                contents = said;
            }
            let ladder = Ladder { index, wire, model, prompts: &contents, salted, local, stop };
            let counting = ladder.count(&untold, |counted| recorder.keep(Line::Counted(counted)));
            let uncounted = self.runtime.block_on(counting);
            if uncounted > 0 {
                let case = label(plan, case);
                tracing::warn!(
                    "{case}: the tokens of {uncounted} answers are neither told nor could be counted"
                );
            }
        }
        Ok(())
    }
}

/// The copy of the tokenizer that the request names.
fn tokenizer(path: &Path) -> Result<LocalTokenizer, Refusal> {
    LocalTokenizer::read(path).map_err(|error| {
        Refusal::new(Reason::TokenizerUnusable, format!("the copy of the tokenizer cannot be used: {error}"))
    })
}

pub(super) fn internal(words: &str) -> Refusal {
    Refusal::new(Reason::MeasuringFailed, words)
}

fn read_plan(folder: &Path) -> Result<MeasurePlan, Refusal> {
    let path = folder.join(PLAN_FILE);
    let text = std::fs::read(&path).map_err(|error| internal(&format!("{}: {error}", path.display())))?;
    let plan: MeasurePlan =
        serde_json::from_slice(&text).map_err(|error| internal(&format!("{}: {error}", path.display())))?;
    if plan.version != MEASURE_VERSION {
        return Err(internal(&format!(
            "{} is of version {}, and this benchlet measures by version {MEASURE_VERSION}",
            path.display(),
            plan.version
        )));
    }
    Ok(plan)
}

async fn prepare_cache(plan: &MeasurePlan, target: &Reached) -> String {
    match plan.cache {
        CachePolicy::Salt => "salted".to_owned(),
        CachePolicy::Keep => "kept".to_owned(),
        CachePolicy::Flush => match target.wire.flush_cache().await {
            Ok(()) => "flushed".to_owned(),
            Err(words) => format!("not flushed: {words}"),
        },
    }
}
