//! Executor and jobs of the simulated world: `controller::{jobs, measure, prepare}` as far as a
//! decision can tell the difference. What goes wrong comes from a list of fates; once the world is
//! calm, nothing does.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::engines::{self, Engines};
use super::load_tests::ENGINE_START_MS;
use super::rows::{Rows, RunRow};
use crate::decide::observed::{Job, JobResult, JobStatus, Refusal, TaskEnd};
use crate::run::phase::RunState;
use crate::run::plan::{ImageFacts, ToolFacts};
use crate::run::reason::Reason;
use crate::run::step::{Exit, ExitCause, TaskId, TaskState};

const NEVER: u64 = u64::MAX;
const FAILS: u8 = 1;
const HANGS: u8 = 2;

#[derive(Debug)]
struct JobRun {
    request: String,
    status: JobStatus,
    ends_at: u64,
    fate: u8,
    /// The engine that it starts, and when it comes to that.
    launch: Option<(TaskId, u64)>,
}

#[derive(Debug)]
struct Task {
    state: TaskState,
    ends_at: u64,
    /// What it comes to; `Absent` where it is removed by somebody else.
    end: TaskState,
}

/// A task's folder, which outlives the task.
#[derive(Debug, Default, Clone)]
struct Spool {
    end: Option<TaskEnd>,
    refused: bool,
}

#[derive(Debug)]
pub struct Machine {
    pub now: u64,
    pub reachable: bool,
    pub disk_full: bool,
    pub calm: bool,
    fates: Vec<u8>,
    next_fate: usize,
    jobs: BTreeMap<(Uuid, Job), JobRun>,
    tasks: BTreeMap<TaskId, Task>,
    spools: BTreeMap<TaskId, Spool>,
    /// Tasks that were seen to be over: none of them may be started again.
    over: BTreeSet<TaskId>,
    /// Runs whose service was begun to be stopped, and those for which its start was carried through.
    pub stopped: BTreeSet<Uuid>,
    pub restored: BTreeSet<Uuid>,
    pub engines: Engines,
}

fn exited(code: i64) -> TaskState {
    let cause = if code < 0 { ExitCause::Lost } else { ExitCause::Code(code) };
    TaskState::Exited(Exit { cause, oom_killed: false, finished_at: None })
}

/// The task of the step at which a Running run stands, as `controller::observe` finds it.
pub fn current_task(run: &RunRow) -> Option<TaskId> {
    let RunState::Running { step, .. } = run.state else { return None };
    let role = run.plan.as_ref()?.steps.get(step as usize)?.task()?.id.role;
    Some(TaskId { run: run.id, attempt: run.attempt, step, role })
}

impl Machine {
    pub fn new(fates: Vec<u8>) -> Self {
        Self {
            now: 1_000,
            reachable: true,
            disk_full: false,
            calm: false,
            fates,
            next_fate: 0,
            jobs: BTreeMap::new(),
            tasks: BTreeMap::new(),
            spools: BTreeMap::new(),
            over: BTreeSet::new(),
            stopped: BTreeSet::new(),
            restored: BTreeSet::new(),
            engines: Engines::default(),
        }
    }

    fn fate(&mut self) -> u8 {
        if self.calm || self.fates.is_empty() {
            return 0;
        }
        self.next_fate += 1;
        self.fates[(self.next_fate - 1) % self.fates.len()]
    }

    pub fn start_job(&mut self, run: &RunRow, job: Job) {
        if job == Job::Drain {
            self.cancel_jobs(run.id, |other| other == Job::Follow);
        }
        if job == Job::StopEngine {
            self.cancel_jobs(run.id, |other| other == Job::StartEngine);
        }
        if self.jobs.contains_key(&(run.id, job)) {
            return;
        }
        let fate = self.fate();
        if job == Job::StopService {
            self.stopped.insert(run.id);
        }
        // The controller bounds the others itself, so that only these can take for ever.
        let may_hang = matches!(job, Job::Image | Job::Probe | Job::Machine | Job::Collect);
        let ends_at = match fate {
            HANGS if may_hang => NEVER,
            HANGS if job == Job::StartEngine => self.now + ENGINE_START_MS,
            _ => self.now + u64::from(fate) * 250,
        };
        let engine = engines::current(run).filter(|_| job == Job::StartEngine);
        let launch = engine.map(|id| {
            self.engines.begin(&id);
            (id, self.now + (ends_at - self.now) / 2)
        });
        let request = run.request.clone();
        let status = JobStatus::Running;
        self.jobs.insert((run.id, job), JobRun { request, status, ends_at, fate, launch });
    }

    pub fn cancel_jobs(&mut self, run: Uuid, which: impl Fn(Job) -> bool) {
        self.jobs.retain(|(id, job), _| *id != run || !which(*job));
    }

    pub fn forget_finished(&mut self, run: Uuid) {
        self.jobs.retain(|(id, _), job| *id != run || job.status == JobStatus::Running);
    }

    pub fn statuses(&self, run: Uuid) -> BTreeMap<Job, JobStatus> {
        let own = self.jobs.iter().filter(|((id, _), _)| *id == run);
        own.map(|((_, kind), job)| (*kind, job.status.clone())).collect()
    }

    pub fn disturbing(&self, except: Uuid) -> Option<String> {
        let disturbs = |(id, job): &(Uuid, Job), entry: &JobRun| {
            *id != except && job.disturbs() && entry.status == JobStatus::Running
        };
        self.jobs.iter().find(|(key, entry)| disturbs(key, entry)).map(|(_, entry)| entry.request.clone())
    }

    /// Looks at a task. What was once seen to be over is remembered.
    pub fn observe(&mut self, id: &TaskId) -> TaskState {
        let state = self.look(id);
        if matches!(state, TaskState::Exited(_) | TaskState::Created { error: Some(_) }) {
            self.over.insert(id.clone());
        }
        state
    }

    fn look(&self, id: &TaskId) -> TaskState {
        if !self.reachable {
            return TaskState::Unknown { reason: "no answer".to_owned() };
        }
        let state = self.tasks.get(id).map_or(TaskState::Absent, |task| task.state.clone());
        let refused = self.spools.get(id).is_some_and(|spool| spool.refused);
        match state {
            TaskState::Absent | TaskState::Created { error: None } if refused => {
                TaskState::Created { error: Some("refused".to_owned()) }
            }
            state => state,
        }
    }

    pub fn start_task(&mut self, id: &TaskId, timeout_ms: u64) -> Result<(), String> {
        assert!(!self.over.contains(id), "{id:?} was seen to be over and is started again");
        if self.disk_full || !self.reachable {
            return Err("no space or no answer".to_owned());
        }
        if self.tasks.contains_key(id) {
            return Ok(());
        }
        let fate = self.fate();
        let mut task = Task { state: TaskState::Running, ends_at: self.now + 500, end: exited(0) };
        match fate {
            1 => task.end = exited(1),
            2 => task.end = exited(137),
            3 => task.end = TaskState::Absent,
            4 => {
                self.spools.entry(id.clone()).or_default().refused = true;
                return Ok(());
            }
            5 => {
                (task.state, task.ends_at) = (TaskState::Created { error: Some("no GPU".to_owned()) }, NEVER)
            }
            6 => return Err("the disk failed".to_owned()),
            7 => task.ends_at = self.now + timeout_ms * 4,
            8 => (task.ends_at, task.end) = (self.now, TaskState::Absent),
            9 => task.end = exited(-1),
            more => task.ends_at += u64::from(more) * 700,
        }
        self.tasks.insert(id.clone(), task);
        Ok(())
    }

    pub fn loses_the_start(&mut self) -> bool {
        self.fate() == 13
    }

    pub fn stop_task(&mut self, id: &TaskId) -> Result<(), String> {
        if !self.reachable {
            return Err("no answer".to_owned());
        }
        let now = self.now;
        if let Some(task) = self.tasks.get_mut(id).filter(|task| task.state == TaskState::Running)
            && task.ends_at > now + 700
        {
            (task.ends_at, task.end) = (now + 700, exited(143));
        }
        Ok(())
    }

    /// Somebody else kills whatever runs.
    pub fn kill_all(&mut self) {
        for task in self.tasks.values_mut().filter(|task| task.state == TaskState::Running) {
            (task.ends_at, task.end) = (self.now, exited(137));
        }
        self.engines.kill_all();
    }

    /// The controller is gone and comes back: jobs are lost, a drain perhaps half-way.
    pub fn lose_jobs(&mut self, rows: &Rows) {
        for ((run, job), entry) in std::mem::take(&mut self.jobs) {
            let row = rows.run(run);
            if job == Job::Drain
                && entry.status == JobStatus::Running
                && self.reachable
                && entry.fate % 2 == 1
                && let Some(id) = current_task(row)
            {
                self.judge(row, &id);
                if entry.fate % 4 == 3 {
                    self.tasks.remove(&id);
                }
            }
        }
    }

    /// What nobody waits for is removed.
    pub fn sweep(&mut self, rows: &Rows) {
        self.tasks.retain(|id, _| rows.open().any(|run| run.id == id.run));
    }

    /// Lets time do its work up to now; names of requests to wake.
    pub fn step(&mut self, rows: &Rows) -> Vec<String> {
        let now = self.now;
        for task in self.tasks.values_mut().filter(|task| task.ends_at <= now) {
            (task.state, task.ends_at) = (task.end.clone(), NEVER);
        }
        self.tasks.retain(|_, task| task.state != TaskState::Absent);
        self.launch_engines();
        let running =
            self.jobs.iter().filter(|(_, job)| job.status == JobStatus::Running && job.ends_at <= now);
        let due: Vec<_> = running.map(|(key, job)| (*key, job.fate)).collect();
        let mut woken = Vec::new();
        for (key, fate) in due {
            if let Some(status) = self.outcome(rows.run(key.0), key.1, fate)
                && let Some(job) = self.jobs.get_mut(&key)
            {
                job.status = status;
                woken.push(job.request.clone());
            }
        }
        woken
    }

    /// Where the executor does not answer, the engine is never launched, and its job fails at its end.
    fn launch_engines(&mut self) {
        let (now, reachable) = (self.now, self.reachable);
        for job in self.jobs.values_mut().filter(|job| job.status == JobStatus::Running) {
            if let Some((id, _)) = job.launch.take_if(|(_, at)| *at <= now)
                && reachable
            {
                self.engines.launch(&id);
            }
        }
    }

    /// How a job ends; `None` while it waits for the executor.
    fn outcome(&mut self, run: &RunRow, job: Job, fate: u8) -> Option<JobStatus> {
        let done = |result| Some(JobStatus::Done(result));
        let failed = |reason| Some(JobStatus::Failed(Refusal::new(reason, "so it was fated")));
        match job {
            Job::Follow => {
                let task = current_task(run)?;
                (self.reachable && self.look(&task) != TaskState::Running)
                    .then_some(JobStatus::Done(JobResult::Finished))
            }
            Job::Drain if fate == FAILS => failed(Reason::InternalError),
            Job::Drain | Job::StartService if !self.reachable => None,
            Job::Drain => {
                let id = current_task(run)?;
                let end = self.judge(run, &id);
                self.tasks.remove(&id);
                done(JobResult::Drained(end))
            }
            Job::StartService => {
                self.restored.insert(run.id);
                if fate == FAILS { failed(Reason::ServiceNotRestored) } else { done(JobResult::Finished) }
            }
            Job::Image if fate == FAILS => failed(Reason::ImageUnavailable),
            Job::Image if let Some(load) = run.blueprint.as_ref().and_then(|found| found.load.as_ref()) => {
                let images = load
                    .engines
                    .iter()
                    .map(|engine| ImageFacts { id: format!("sha256:{}", engine.target), digest: None });
                done(JobResult::Images(images.collect()))
            }
            Job::Image => done(JobResult::Image(ImageFacts { id: "sha256:1".to_owned(), digest: None })),
            Job::Probe if fate == FAILS => failed(Reason::LlamaBenchMissing),
            Job::Probe => done(JobResult::Probe(ToolFacts {
                program: vec!["llama-bench".to_owned()],
                knows_progress: false,
                warnings: Vec::new(),
            })),
            Job::StopService if fate == FAILS => failed(Reason::ServiceRunning),
            Job::Machine | Job::Collect if fate == FAILS => failed(Reason::InternalError),
            Job::StartEngine => {
                let id = engines::current(run).filter(|_| fate != FAILS && fate != HANGS && self.reachable);
                match id.is_some_and(|id| self.engines.wait_for(&id)) {
                    true => done(JobResult::Finished),
                    false => failed(Reason::EngineFailed),
                }
            }
            Job::StopEngine if !self.reachable => None,
            Job::StopEngine => {
                self.engines.take_away(run);
                done(JobResult::Finished)
            }
            Job::Machine | Job::StopService | Job::Collect => done(JobResult::Finished),
            Job::Download => done(JobResult::Model { words: String::new() }),
        }
    }

    /// How the task ended, kept beside its output.
    fn judge(&mut self, run: &RunRow, id: &TaskId) -> TaskEnd {
        if let Some(end) = self.spools.get(id).and_then(|spool| spool.end.clone()) {
            return end;
        }
        let state = self.observe(id);
        let failed = |reason| TaskEnd::Failed(Refusal::new(reason, "it ended"));
        let fault = |reason| TaskEnd::Fault(Refusal::new(reason, "it was lost"));
        let end = match state {
            TaskState::Exited(Exit { cause: ExitCause::Code(0), .. }) => TaskEnd::Succeeded,
            TaskState::Exited(Exit { cause: ExitCause::Code(137 | 143), .. }) => {
                if crate::decide::retries_left(run.faults) {
                    fault(Reason::Interrupted)
                } else {
                    failed(Reason::Killed)
                }
            }
            TaskState::Exited(Exit { cause: ExitCause::Lost, .. }) => fault(Reason::Lost),
            TaskState::Exited(_) => failed(Reason::ToolFailed),
            TaskState::Created { error: Some(_) } => failed(Reason::StartFailed),
            TaskState::Absent | TaskState::Created { error: None } | TaskState::Running => {
                fault(Reason::Lost)
            }
            TaskState::Unknown { .. } => unreachable!("judged only where the executor answers"),
        };
        self.spools.entry(id.clone()).or_default().end = Some(end.clone());
        end
    }

    /// When something happens here by itself.
    pub fn next_time(&self) -> Option<u64> {
        let running = self.jobs.values().filter(|job| job.status == JobStatus::Running);
        let jobs = running.flat_map(|job| {
            let launch = job.launch.as_ref().map(|(_, at)| *at);
            [Some(job.ends_at), launch].into_iter().flatten()
        });
        let times = jobs.chain(self.tasks.values().map(|task| task.ends_at));
        times.filter(|at| *at > self.now && *at != NEVER).min()
    }
}
