//! Carries a frozen plan out, case by case: is each engine there, what does it say of itself, then the
//! load. What went wrong before or between cases is a refusal in a file; what went wrong with a request is
//! in its record.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::case_run::{self, Case, Stop};
use super::progress::{self, Counters, Progress};
use super::recorder::Recorder;
use super::sampling::{Look, Sampling, Watched, unix_ms};
use super::workload;
use crate::engine::address::Address;
use crate::engine::control::{ASK_LIMIT, AskError};
use crate::engine::wire::Wire;
use crate::files::atomic_write;
use crate::request::load_test::CachePolicy;
use crate::run::measure_plan::{
    ADDRESS_FILE, CaseAmount, CaseLoad, CasePlan, Endpoint, EngineAddress, KeySource, MEASURE_VERSION,
    MeasurePlan, PLAN_FILE, RECORDS_FILE, REFUSAL_FILE, SERIES_FILE, TargetPlan,
};
use crate::run::reason::{Reason, Refusal};
use crate::run::request_record::{CaseEnded, CaseStarted, Line, TargetFacts};

pub use super::case_run::Stop as StopMeasuring;

/// Descriptors that the process needs beside its connections.
const OWN_DESCRIPTORS: u64 = 64;
/// The progress file is written this often.
const SHOW: Duration = Duration::from_millis(300);
/// Streams that one client thread carries without being late.
const STREAMS_A_THREAD: u32 = 512;

/// Finds the key of a service of the catalogue.
type ServiceKey<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// One target, ready to be spoken to.
pub struct Reached {
    pub plan: TargetPlan,
    pub wire: Arc<Wire>,
    /// Where it runs, if benchlet started it.
    pub address: Option<EngineAddress>,
}

/// Measures what the plan in `folder` says. `service_key` finds the key of a service of the catalogue, `looks`
/// makes the look at the machine once the targets are
/// known.
///
/// # Errors
/// Why measuring could not begin or go on; it is in the refusal's file as well.
pub fn measure(
    folder: &Path,
    stop: &Stop,
    service_key: impl Fn(&str) -> Result<String, String>,
    looks: impl FnOnce(&[Reached]) -> Look,
) -> Result<(), Refusal> {
    let outcome = carry_out(folder, stop, &service_key, looks);
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
    let records = folder.join(RECORDS_FILE);
    let (recorder, writer) =
        Recorder::open(&records).map_err(|error| internal(&format!("{}: {error}", records.display())))?;
    let mut facts = Vec::new();
    for (at, target) in reached.iter().enumerate() {
        if let Err(error) = runtime.block_on(target.wire.health(ASK_LIMIT)) {
            return Err(unreachable(target, &error));
        }
        let mut of_target = plan.cases.iter().filter(|case| case.target == at);
        let model = of_target.find_map(|case| case.model.as_deref());
        let told = runtime.block_on(target.wire.facts(model));
        let told = TargetFacts { target: at, ..told };
        recorder.keep(Line::Target(told.clone()));
        facts.push(told);
    }
    let measured = Arc::new(AtomicUsize::new(0));
    let watched = Watched {
        wires: reached.iter().map(|target| Arc::clone(&target.wire)).collect(),
        collectors: plan.collectors.clone(),
        target: Arc::clone(&measured),
        every: Duration::from_millis(plan.sample_every_ms.max(100)),
    };
    let look = looks(&reached);
    let sampling = Sampling::start(&folder.join(SERIES_FILE), watched, look)
        .map_err(|error| internal(&format!("the series cannot be kept: {error}")))?;
    let counters = Arc::new(Counters::default());
    let mut outcome = Ok(());
    for (index, case) in plan.cases.iter().enumerate() {
        if stop.is_stopped() {
            break;
        }
        measured.store(case.target, Ordering::Relaxed);
        if index > 0 && plan.pause_ms > 0 {
            runtime.block_on(pause(stop, plan.pause_ms));
        }
        let Some(target) = reached.get(case.target) else {
            outcome = Err(internal("a case names a target that the plan does not have"));
            break;
        };
        let model = case.model.clone().or_else(|| facts[case.target].models.first().cloned());
        let cache = runtime.block_on(prepare_cache(&plan, target));
        let workload =
            runtime.block_on(workload::workload(folder, &plan, case, &target.wire, model.as_deref()));
        let workload = match workload {
            Ok(workload) => workload,
            Err(refusal) => {
                outcome = Err(refusal);
                break;
            }
        };
        let threads = threads(&plan, case);
        recorder.keep(Line::Started(CaseStarted {
            index,
            unix_ms: unix_ms(),
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
            model,
            cache,
        }));
        let of_case = Case {
            index,
            plan: case.clone(),
            wire: Arc::clone(&target.wire),
            workload,
            salt: plan.salt,
            seed: plan.seed,
            timeout: Duration::from_millis(plan.request_timeout_ms),
            warmup: plan.warmup,
            samples: plan.samples,
            threads,
            recorder: recorder.clone(),
            counters: Arc::clone(&counters),
            stop: stop.clone(),
        };
        let shown = Shown { folder, plan: &plan, index, case, began, counters: &counters };
        let cost = std::thread::scope(|scope| {
            let running = scope.spawn(|| case_run::run(of_case));
            shown.until(|| running.is_finished());
            running.join().unwrap_or_else(|_| Err(std::io::Error::other("the case broke")))
        });
        let cost = match cost {
            Ok(cost) => cost,
            Err(error) => {
                outcome = Err(internal(&format!("the load could not be made: {error}")));
                break;
            }
        };
        recorder.keep(Line::Ended(CaseEnded {
            index,
            unix_ms: unix_ms(),
            wall_us: cost.wall_us,
            client_cpu_us: cost.cpu_us,
            busiest_thread_cpu_us: cost.busiest_us,
            cut_short: stop.is_stopped(),
        }));
    }
    sampling.finish();
    drop(recorder);
    writer.finish().map_err(|error| internal(&format!("the records could not be kept: {error}")))?;
    outcome
}

fn internal(words: &str) -> Refusal {
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

fn reach(folder: &Path, target: &TargetPlan, service_key: &ServiceKey<'_>) -> Result<Reached, Refusal> {
    let (url, address) = match &target.endpoint {
        Endpoint::Url(url) => (url.clone(), None),
        Endpoint::Started { folder: engine } => {
            let own = folder.file_name().unwrap_or_default().to_string_lossy();
            let attempt = own.split('-').next().unwrap_or_default();
            let path =
                folder.parent().unwrap_or(folder).join(format!("{attempt}-{engine}")).join(ADDRESS_FILE);
            let text =
                std::fs::read(&path).map_err(|error| internal(&format!("{}: {error}", path.display())))?;
            let address: EngineAddress = serde_json::from_slice(&text)
                .map_err(|error| internal(&format!("{}: {error}", path.display())))?;
            (address.url.clone(), Some(address))
        }
    };
    let parsed = Address::parse(&url).map_err(|error| {
        Refusal::new(Reason::EngineUnreachable, error.to_string()).hint("a URL such as http://localhost:8080")
    })?;
    let key = target.key.as_ref().map(|source| key(source, &target.name, service_key)).transpose()?;
    let wire = Wire { dialect: target.dialect.clone(), api: target.api, address: parsed, key };
    Ok(Reached { plan: target.clone(), wire: Arc::new(wire), address })
}

/// The key itself, which is in no plan, record or message.
fn key(source: &KeySource, target: &str, service_key: &ServiceKey<'_>) -> Result<String, Refusal> {
    let missing = |words: String| {
        Refusal::new(Reason::KeyMissing, format!("the key for {target} cannot be had: {words}"))
            .hint("set the variable where benchlet runs, or correct [keys] in the settings")
    };
    let text = match source {
        KeySource::Env(name) => {
            std::env::var(name).map_err(|_| missing(format!("the variable {name} is not set")))?
        }
        KeySource::Service(name) => service_key(name).map_err(missing)?,
        KeySource::File(path) => {
            std::fs::read_to_string(path).map_err(|error| missing(format!("{path}: {error}")))?
        }
    };
    let key = text.trim().to_owned();
    if key.is_empty() || key.chars().any(|c| c.is_control()) {
        return Err(missing("it is empty or has more than one line".to_owned()));
    }
    Ok(key)
}

fn unreachable(target: &Reached, error: &AskError) -> Refusal {
    let message = format!("{} at {} is not ready: {error}", target.plan.name, target.wire.address);
    let hint = match target.plan.endpoint {
        Endpoint::Url(_) if matches!(error, AskError::Status { status: 401 | 403, .. }) => {
            "name the key for this host in [keys] of the settings, or correct it"
        }
        Endpoint::Url(_) => {
            "start the server, or correct the target's url; `curl` on its health path tells more"
        }
        Endpoint::Started { .. } => "its log says why: `benchlet logs`",
    };
    Refusal::new(Reason::EngineUnreachable, message).hint(hint)
}

/// Every connection is a descriptor: too few would look like a server that refuses.
fn check_descriptors(plan: &MeasurePlan) -> Result<(), Refusal> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = plan.cases.iter().map(|case| match case.load {
        CaseLoad::Closed { concurrency } => u64::from(concurrency),
        CaseLoad::Open { .. } => 0,
    });
    let needed = most.max().unwrap_or(0) + OWN_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) && limit.current == limit.maximum {
        return Ok(());
    }
    // As many as there may be: an open loop has no number of its own.
    // Where that is refused, what there is decides.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current;
    match now {
        Some(now) if now < needed => {
            let message = format!(
                "{} connections need {needed} file descriptors, and this process may have {now}",
                needed - OWN_DESCRIPTORS
            );
            let hint = format!("`ulimit -n {needed}` before benchlet starts, or LimitNOFILE in its unit");
            Err(Refusal::new(Reason::LimitReached, message).hint(hint))
        }
        Some(_) | None => Ok(()),
    }
}

fn threads(plan: &MeasurePlan, case: &CasePlan) -> usize {
    if let Some(threads) = plan.threads {
        return threads.max(1) as usize;
    }
    let streams = match case.load {
        CaseLoad::Closed { concurrency } => concurrency,
        CaseLoad::Open { rate, .. } => rate.ceil().clamp(1.0, 1e6) as u32,
    };
    // The server may be on the same machine: it gets the larger half.
    let most = std::thread::available_parallelism().map_or(1, |count| count.get() / 2).max(1);
    (streams.div_ceil(STREAMS_A_THREAD) as usize).clamp(1, most)
}

async fn pause(stop: &Stop, ms: u64) {
    let step = Duration::from_millis(50);
    let end = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < end && !stop.is_stopped() {
        tokio::time::sleep(step.min(end.saturating_duration_since(Instant::now()))).await;
    }
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

/// The progress of the case that runs.
struct Shown<'a> {
    folder: &'a Path,
    plan: &'a MeasurePlan,
    index: usize,
    case: &'a CasePlan,
    began: Instant,
    counters: &'a Counters,
}

impl Shown<'_> {
    fn until(&self, finished: impl Fn() -> bool) {
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

/// A case in few words: `c=5 p=512 qwen`.
fn label(plan: &MeasurePlan, case: &CasePlan) -> String {
    let mut words = vec![match case.load {
        CaseLoad::Closed { concurrency } => format!("c={concurrency}"),
        CaseLoad::Open { rate, .. } => format!("{rate}/s"),
    }];
    words.extend(case.input_tokens.map(|tokens| format!("p={tokens}")));
    if plan.targets.len() > 1 {
        words.extend(plan.targets.get(case.target).map(|target| target.name.clone()));
    }
    words.extend(case.model.clone());
    words.join(" ")
}

/// Where the plan of a task lies: for the command line that is given the folder.
pub fn plan_path(folder: &Path) -> PathBuf {
    folder.join(PLAN_FILE)
}
