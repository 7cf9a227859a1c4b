//! One case: threads of their own runtimes, each with its share of the workers and their connections,
//! which are opened before the clock starts. In a closed loop a worker sends when its last answer has
//! come; in an open one requests are sent when they are due, whatever the server does.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::{JoinSet, LocalSet};

use super::exchange::{Order, Shared, perform};
use super::lane::{Lane, READ};
use super::pace::{Alarm, Clock};
use super::progress::Counters;
use super::recorder::Recorder;
use super::stop::Stop;
use super::token_ladder::Untold;
use super::workload::Workload;
use crate::engine::answer::KeptText;
use crate::engine::connection::Connector;
use crate::engine::wire::{self, Wire};
use crate::plan::arrivals;
use crate::run::measure_plan::{CaseAmount, CaseLoad, CasePlan};
use crate::run::request_record::{ErrorKind, Line, Record};

/// Connections that are opened at the same time before a case.
const OPENED_AT_ONCE: usize = 128;
/// Most connections that an open loop opens before it starts.
const MOST_PREPARED: f64 = 256.0;
/// A worker whose server takes no connection tries again after this: asking faster helps nobody, and a
/// server that is gone for a minute would make millions of records.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// A case with all that it needs.
pub struct Case {
    /// In the plan's cases.
    pub index: usize,
    pub plan: CasePlan,
    pub wire: Arc<Wire>,
    pub workload: Workload,
    pub salt: u64,
    pub seed: u64,
    pub timeout: Duration,
    pub warmup: u32,
    /// Requests whose answers are kept as text.
    pub samples: u32,
    pub threads: usize,
    /// Takes the answers whose tokens will have to be counted; `None` where nobody could.
    pub untold: Option<Arc<Untold>>,
    pub recorder: Recorder,
    pub counters: Arc<Counters>,
    pub stop: Stop,
}

/// What a case cost the client.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub wall_us: u64,
    pub cpu_us: u64,
    pub busiest_us: u64,
}

/// What the threads of a case share while it runs.
struct Run {
    case: Case,
    next: AtomicU64,
    next_warmup: AtomicU64,
    /// After the case's start.
    last_end_us: AtomicU64,
    /// No request is left to begin: workers that wait for their turn need not.
    over: Stop,
}

/// Connections that a case opens before its clock starts.
pub fn connections(load: CaseLoad) -> u32 {
    match load {
        CaseLoad::Closed { concurrency } => concurrency,
        CaseLoad::Open { rate, .. } => rate.ceil().clamp(1.0, MOST_PREPARED) as u32,
    }
}

/// Runs a case to its end.
///
/// # Errors
/// No thread, runtime or timer could be had.
pub fn run(case: Case) -> io::Result<Cost> {
    let threads = case.threads.max(1);
    let run = Arc::new(Run {
        case,
        next: AtomicU64::new(0),
        next_warmup: AtomicU64::new(0),
        last_end_us: AtomicU64::new(0),
        over: Stop::default(),
    });
    let (ready, all_ready) = channel::<()>();
    let handles: Vec<_> = (0..threads)
        .map(|thread| {
            let (go, start) = channel();
            let (run, ready) = (Arc::clone(&run), ready.clone());
            let spawned = std::thread::Builder::new()
                .name(format!("load-{thread}"))
                .spawn(move || run_thread(&run, thread, threads, ready, &start));
            spawned.map(|handle| (go, handle))
        })
        .collect::<io::Result<_>>()?;
    drop(ready);
    // Ends once every thread has let go of its end, be it ready or broken.
    while all_ready.recv().is_ok() {}
    // A moment ahead, so that every thread is at its workers when the clock starts.
    let start = Instant::now() + Duration::from_millis(2);
    for (go, _) in &handles {
        // One that broke says so below.
        let _ = go.send(start);
    }
    let mut cost = Cost::default();
    for (_, handle) in handles {
        let cpu_us = handle.join().unwrap_or_else(|_| Err(broken()))?;
        cost.cpu_us += cpu_us;
        cost.busiest_us = cost.busiest_us.max(cpu_us);
    }
    cost.wall_us = match run.last_end_us.load(Ordering::Relaxed) {
        0 => Clock::starting_at(start).now_us(),
        last => last,
    };
    Ok(cost)
}

fn broken() -> io::Error {
    io::Error::other("a client thread broke")
}

fn run_thread(
    run: &Arc<Run>,
    thread: usize,
    threads: usize,
    ready: Sender<()>,
    start: &Receiver<Instant>,
) -> io::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let lanes = local.block_on(&runtime, prepare(run, thread, threads))?;
    drop(ready);
    // No start comes where another thread could not be had.
    let Ok(start) = start.recv() else { return Ok(0) };
    let began = thread_cpu_us();
    match run.case.plan.load {
        CaseLoad::Closed { concurrency } => {
            local.block_on(&runtime, closed(run, lanes, start, thread, threads, concurrency))?;
        }
        CaseLoad::Open { .. } => local.block_on(&runtime, open(run, lanes, start, thread, threads))?,
    }
    Ok(thread_cpu_us() - began)
}

/// Every worker's end. One that broke would be requests without a record.
async fn joined<T: 'static>(mut workers: JoinSet<T>) -> io::Result<Vec<T>> {
    let mut all = Vec::with_capacity(workers.len());
    while let Some(one) = workers.join_next().await {
        all.push(one.map_err(|_| broken())?);
    }
    Ok(all)
}

/// Opens the thread's connections and sends its share of the warm-up over them.
async fn prepare(run: &Arc<Run>, thread: usize, threads: usize) -> io::Result<Vec<Lane>> {
    let case = &run.case;
    let all = match case.plan.load {
        CaseLoad::Closed { .. } => connections(case.plan.load) as usize,
        // Every thread sends its share of the schedule.
        CaseLoad::Open { .. } => (connections(case.plan.load) as usize).max(threads),
    };
    let own = (all + threads - 1 - thread.min(all)) / threads;
    let buffer = Rc::new(RefCell::new(vec![0; READ]));
    // Without an address every request fails by itself, with the words why.
    let connector = match Connector::new(&case.wire.address).await {
        Ok(connector) => Rc::new(connector),
        Err(_) => Rc::new(Connector::nowhere(&case.wire.address)),
    };
    let mut lanes: Vec<Lane> =
        (0..own).map(|_| Lane::new(Rc::clone(&connector), Rc::clone(&buffer))).collect();
    for some in lanes.chunks_mut(OPENED_AT_ONCE) {
        // One that is refused now is tried again by its first request, which then says so.
        let opening = join_all(some.iter_mut().map(|lane| lane.connect(case.timeout)));
        if case.stop.unless_stopped(opening).await.is_none() {
            break;
        }
    }
    let shared = run.shared(Clock::starting_at(Instant::now()));
    let mut workers = JoinSet::new();
    for mut lane in lanes.drain(..) {
        let (run, shared) = (Arc::clone(run), Rc::clone(&shared));
        workers.spawn_local(run.case.stop.clone().waking(async move {
            loop {
                let n = run.next_warmup.fetch_add(1, Ordering::Relaxed);
                if n >= u64::from(run.case.warmup) || run.case.stop.is_stopped() {
                    return lane;
                }
                let scheduled_us = shared.clock.now_us();
                let record = run.request(&shared, &mut lane, n, scheduled_us, true).await;
                run.case.recorder.keep(Line::Request(record));
            }
        }));
    }
    joined(workers).await
}

async fn closed(
    run: &Arc<Run>,
    lanes: Vec<Lane>,
    start: Instant,
    thread: usize,
    threads: usize,
    concurrency: u32,
) -> io::Result<()> {
    let shared = run.shared(Clock::starting_at(start));
    let ramp_us = run.case.plan.ramp_up_ms * 1_000;
    let mut workers = JoinSet::new();
    for (at, mut lane) in lanes.into_iter().enumerate() {
        let worker = (at * threads + thread) as u64;
        let first_us = ramp_us * worker / u64::from(concurrency.max(1));
        let (run, shared) = (Arc::clone(run), Rc::clone(&shared));
        workers.spawn_local(run.case.stop.clone().waking(async move {
            let turn = tokio::time::sleep_until(shared.clock.at(first_us).into());
            if run.is_over(0, first_us) || run.unless_over(turn).await.is_none() {
                return;
            }
            let mut scheduled_us = first_us;
            while let Some(n) = run.take(scheduled_us) {
                let record = run.request(&shared, &mut lane, n, scheduled_us, false).await;
                // The next one is due when this one has ended.
                scheduled_us = record.sent_us + record.end_us;
                let refused = record.error.as_ref().is_some_and(|error| error.kind == ErrorKind::Connect);
                run.finish(record);
                if refused {
                    run.unless_over(tokio::time::sleep(AFTER_REFUSAL)).await;
                    scheduled_us = shared.clock.now_us();
                }
            }
        }));
    }
    joined(workers).await.map(drop)
}

async fn open(
    run: &Arc<Run>,
    lanes: Vec<Lane>,
    start: Instant,
    thread: usize,
    threads: usize,
) -> io::Result<()> {
    let CaseLoad::Open { rate, arrivals } = run.case.plan.load else { return Ok(()) };
    let shared = run.shared(Clock::starting_at(start));
    let Some(first) = lanes.first() else { return Ok(()) };
    let (connector, buffer) = first.parts();
    let idle = Rc::new(RefCell::new(lanes));
    let due = arrivals::due_times(rate, arrivals, run.case.plan.ramp_up_ms, run.case.seed);
    let mut alarm = Alarm::new()?;
    let mut workers = JoinSet::new();
    for (n, due_us) in (0u64..).zip(due).skip(thread).step_by(threads) {
        if run.is_over(n, due_us) {
            break;
        }
        let moment = shared.clock.at(due_us);
        if moment <= Instant::now() {
            // Late: those that were sent off need their turn all the same.
            tokio::task::yield_now().await;
        }
        match run.case.stop.unless_stopped(alarm.wait_until(moment)).await {
            Some(waited) => waited?,
            None => break,
        }
        let lane = idle.borrow_mut().pop();
        let mut lane = lane.unwrap_or_else(|| Lane::new(Rc::clone(&connector), Rc::clone(&buffer)));
        let (run, shared, idle) = (Arc::clone(run), Rc::clone(&shared), Rc::clone(&idle));
        workers.spawn_local(run.case.stop.clone().waking(async move {
            let record = run.request(&shared, &mut lane, n, due_us, false).await;
            run.finish(record);
            idle.borrow_mut().push(lane);
        }));
        // Those that have ended give their memory back.
        while let Some(ended) = workers.try_join_next() {
            ended.map_err(|_| broken())?;
        }
    }
    joined(workers).await.map(drop)
}

impl Run {
    fn shared(&self, clock: Clock) -> Rc<Shared> {
        Rc::new(Shared {
            wire: Arc::clone(&self.case.wire),
            clock,
            timeout: self.case.timeout,
            stop: self.case.stop.clone(),
        })
    }

    /// Whether the request of that number, due then, is none of the case any more.
    fn is_over(&self, n: u64, due_us: u64) -> bool {
        self.case.stop.is_stopped()
            || match self.case.plan.amount {
                CaseAmount::Requests(requests) => n >= u64::from(requests),
                CaseAmount::DurationMs(ms) => due_us >= ms * 1_000,
            }
    }

    /// The number of a closed loop's next request.
    fn take(&self, due_us: u64) -> Option<u64> {
        if let CaseAmount::DurationMs(_) = self.case.plan.amount
            && self.is_over(0, due_us)
        {
            return None;
        }
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        if self.is_over(n, due_us) {
            self.over.stop();
            return None;
        }
        Some(n)
    }

    /// `None` where the load is stopped or no request is left before the work is done.
    async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.over.unless_stopped(self.case.stop.unless_stopped(work)).await.flatten()
    }

    async fn request(
        &self,
        shared: &Shared,
        lane: &mut Lane,
        n: u64,
        scheduled_us: u64,
        warmup: bool,
    ) -> Record {
        let case = &self.case;
        let prepared = &case.workload.prepared;
        let turn = usize::try_from(n).unwrap_or(0) % prepared.len().max(1);
        // From the other end, so that what warms up is not what is measured first.
        let at = if warmup { prepared.len() - 1 - turn } else { turn };
        let number = if case.workload.salt_per_case { 0 } else { (n << 1 | u64::from(warmup)) + 1 };
        let record = Record { index: case.index, n, warmup, scheduled_us, ..Record::default() };
        let salt = wire::salt(mixed(case.salt, case.index as u64, number));
        let sample =
            if !warmup && n < u64::from(case.samples) { KeptText::Sample } else { KeptText::Nothing };
        let Some(untold) = &case.untold else {
            return perform(shared, lane, Order { prepared: &prepared[at], salt, record, kept: sample })
                .await;
        };
        let kept = if !warmup && untold.is_wanted() { KeptText::Whole } else { sample };
        let record = perform(shared, lane, Order { prepared: &prepared[at], salt, record, kept }).await;
        untold.take(record, kept, sample, at, salt)
    }

    fn finish(&self, record: Record) {
        self.last_end_us.fetch_max(record.sent_us + record.end_us, Ordering::Relaxed);
        self.case.counters.count(record.error.as_ref().map(|error| error.kind));
        self.case.recorder.keep(Line::Request(record));
    }
}

/// A number for a salt: each of its parts changes all of it (the finaliser of SplitMix64).
pub(super) fn mixed(salt: u64, case: u64, number: u64) -> u64 {
    let mut mixed =
        salt ^ case.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    for (shift, factor) in [(30, 0xBF58_476D_1CE4_E5B9), (27, 0x94D0_49BB_1331_11EB)] {
        mixed = (mixed ^ mixed >> shift).wrapping_mul(factor);
    }
    mixed ^ mixed >> 31
}

/// CPU time of this thread, user and system, in microseconds.
pub(super) fn thread_cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000
}
