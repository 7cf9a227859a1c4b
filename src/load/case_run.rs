//! One case: threads of their own runtimes, each with its share of the workers and their connections,
//! which are opened before the clock starts. In a closed loop a worker sends when its last answer has
//! come; in an open one requests are sent when they are due, whatever the server does.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};

use super::exchange::{Order, Shared, perform};
use super::lane::{Lane, READ};
use super::pace::{Alarm, Clock};
use super::progress::Counters;
use super::recorder::Recorder;
use super::workload::Workload;
use crate::engine::connection::Connector;
use crate::engine::wire::{self, Wire};
use crate::plan::arrivals;
use crate::run::measure_plan::{CaseAmount, CaseLoad, CasePlan};
use crate::run::request_record::{Line, Record};

/// Connections that are opened at the same time before a case.
const OPENED_AT_ONCE: usize = 128;
/// Most connections that an open loop opens before it starts.
const MOST_PREPARED: f64 = 256.0;

/// Ends measuring: requests in flight are recorded as cancelled.
#[derive(Clone, Default)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

impl Stop {
    pub fn stop(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    pub fn is_stopped(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }
}

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
    ready: Barrier,
    go: Barrier,
    start: OnceLock<Instant>,
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
        ready: Barrier::new(threads + 1),
        go: Barrier::new(threads + 1),
        start: OnceLock::new(),
    });
    let handles: Vec<_> = (0..threads)
        .map(|thread| {
            let run = Arc::clone(&run);
            std::thread::Builder::new()
                .name(format!("load-{thread}"))
                .spawn(move || run_thread(&run, thread, threads))
        })
        .collect::<io::Result<_>>()?;
    run.ready.wait();
    run.case.counters.reset();
    // A moment ahead, so that every thread is at its workers when the clock starts.
    let start = Instant::now() + Duration::from_millis(2);
    run.start.get_or_init(|| start);
    run.go.wait();
    let mut cost = Cost::default();
    for handle in handles {
        let cpu_us = handle.join().unwrap_or_else(|_| Err(io::Error::other("a client thread broke")))?;
        cost.cpu_us += cpu_us;
        cost.busiest_us = cost.busiest_us.max(cpu_us);
    }
    cost.wall_us = Clock::starting_at(start).now_us();
    Ok(cost)
}

fn run_thread(run: &Arc<Run>, thread: usize, threads: usize) -> io::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let local = LocalSet::new();
    let prepared =
        runtime.as_ref().ok().map(|runtime| local.block_on(runtime, prepare(run, thread, threads)));
    run.ready.wait();
    run.go.wait();
    let (runtime, lanes) = match (runtime, prepared) {
        (Ok(runtime), Some(lanes)) => (runtime, lanes),
        (Err(error), _) => return Err(error),
        (Ok(_), None) => return Err(io::Error::other("a client thread was not prepared")),
    };
    let began = thread_cpu_us();
    let start = run.start.get().copied().unwrap_or_else(Instant::now);
    match run.case.plan.load {
        CaseLoad::Closed { concurrency } => {
            local.block_on(&runtime, closed(run, lanes, start, thread, threads, concurrency));
        }
        CaseLoad::Open { .. } => local.block_on(&runtime, open(run, lanes, start, thread, threads))?,
    }
    Ok(thread_cpu_us() - began)
}

/// Opens the thread's connections and sends its share of the warm-up over them.
async fn prepare(run: &Arc<Run>, thread: usize, threads: usize) -> Vec<Lane> {
    let case = &run.case;
    let all = match case.plan.load {
        CaseLoad::Closed { concurrency } => concurrency as usize,
        CaseLoad::Open { rate, .. } => rate.ceil().clamp(1.0, MOST_PREPARED) as usize,
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
        join_all(some.iter_mut().map(|lane| lane.connect(case.timeout))).await;
    }
    let shared = run.shared(Clock::starting_at(Instant::now()));
    let mut workers = JoinSet::new();
    for mut lane in lanes.drain(..) {
        let (run, shared) = (Arc::clone(run), Rc::clone(&shared));
        workers.spawn_local(stoppable(run.case.stop.clone(), async move {
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
    workers.join_all().await
}

async fn closed(
    run: &Arc<Run>,
    lanes: Vec<Lane>,
    start: Instant,
    thread: usize,
    threads: usize,
    concurrency: u32,
) {
    let shared = run.shared(Clock::starting_at(start));
    let ramp_us = run.case.plan.ramp_up_ms * 1_000;
    let mut workers = JoinSet::new();
    for (at, mut lane) in lanes.into_iter().enumerate() {
        let worker = (at * threads + thread) as u64;
        let first_us = ramp_us * worker / u64::from(concurrency.max(1));
        let (run, shared) = (Arc::clone(run), Rc::clone(&shared));
        workers.spawn_local(stoppable(run.case.stop.clone(), async move {
            tokio::time::sleep_until(shared.clock.at(first_us).into()).await;
            let mut scheduled_us = first_us;
            while let Some(n) = run.take(scheduled_us) {
                let record = run.request(&shared, &mut lane, n, scheduled_us, false).await;
                // The next one is due when this one has ended.
                scheduled_us = record.sent_us + record.end_us;
                run.finish(record);
            }
        }));
    }
    while workers.join_next().await.is_some() {}
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
        let stopped = run.case.stop.notify.notified();
        tokio::select! {
            waited = alarm.wait_until(shared.clock.at(due_us)) => waited?,
            () = stopped => {}
        }
        if run.case.stop.is_stopped() {
            break;
        }
        let lane = idle.borrow_mut().pop();
        let mut lane = lane.unwrap_or_else(|| Lane::new(Rc::clone(&connector), Rc::clone(&buffer)));
        let (run, shared, idle) = (Arc::clone(run), Rc::clone(&shared), Rc::clone(&idle));
        workers.spawn_local(stoppable(run.case.stop.clone(), async move {
            let record = run.request(&shared, &mut lane, n, due_us, false).await;
            run.finish(record);
            idle.borrow_mut().push(lane);
        }));
        // Those that have ended give their memory back.
        while workers.try_join_next().is_some() {}
    }
    while workers.join_next().await.is_some() {}
    Ok(())
}

/// Wakes the work when the run is stopped; what it waits for then sees the flag.
async fn stoppable<T>(stop: Stop, work: impl Future<Output = T>) -> T {
    let mut stopped = pin!(stop.notify.notified());
    let mut work = pin!(work);
    let mut listens = false;
    std::future::poll_fn(move |context| {
        // Once is enough: the waker of a task stays the same.
        if !listens {
            listens = true;
            if stopped.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
        }
        match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

impl Run {
    fn shared(&self, clock: Clock) -> Rc<Shared> {
        Rc::new(Shared {
            wire: Arc::clone(&self.case.wire),
            clock,
            timeout: self.case.timeout,
            stopped: Arc::clone(&self.case.stop.flag),
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
        (!self.is_over(n, due_us)).then_some(n)
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
        let at = usize::try_from(n).unwrap_or(0) % prepared.len().max(1);
        let number = if case.workload.salt_per_case { 0 } else { (n << 1 | u64::from(warmup)) + 1 };
        let record = Record { index: case.index, n, warmup, scheduled_us, ..Record::default() };
        let order = Order {
            prepared: &prepared[at],
            salt: wire::salt(mixed(case.salt, case.index as u64, number)),
            record,
            keeps_text: !warmup && n < u64::from(case.samples),
        };
        perform(shared, lane, order).await
    }

    fn finish(&self, record: Record) {
        self.case.counters.count(record.error.is_some());
        self.case.recorder.keep(Line::Request(record));
    }
}

/// A number for a salt: each of its parts changes all of it (the finaliser of SplitMix64).
fn mixed(salt: u64, case: u64, number: u64) -> u64 {
    let mut mixed =
        salt ^ case.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB] {
        mixed = (mixed ^ mixed >> 30).wrapping_mul(factor);
    }
    mixed ^ mixed >> 31
}

/// CPU time of this thread, user and system, in microseconds.
fn thread_cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000
}
