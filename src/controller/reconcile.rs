//! The loop: what changed goes into the queue, one pass at a time a request, and what a pass says goes
//! into the status. A pass never waits for a run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::doorbell::Doorbell;
use super::execute::{ExecuteError, execute};
use super::observe::{Snapshot, observe};
use super::queue::{Priority, Queue};
use super::start::Opened;
use super::status_keeper::{OFTEN, Sight, StatusKeeper};
use super::{orphans, submit};
use crate::decide::observed::Document;
use crate::decide::{Action, Decision, next_action};
use crate::files::lock::LockFile;
use crate::intake::source_file::DocumentState;
use crate::intake::source_map::{Change, SourceMap};
use crate::intake::watcher_task::{IntakeEvent, IntakeOptions};
use crate::request::valid;
use crate::run::phase::Phase;
use crate::run::plan::ExecutorKind;
use crate::store::{CommitWatcher, StoreError};

/// Passes at the same time; each is of another request.
const MOST_PASSES: usize = 8;
/// How often an executor that could not be listed is tried again.
const SWEEP: Duration = Duration::from_secs(5);
/// Longest delay after failures.
const MOST_BACKOFF: Duration = Duration::from_secs(60);

/// What a status is made of, borrowed field by field beside the keeper.
macro_rules! sight {
    ($controller:expr) => {
        Sight {
            context: &$controller.context,
            sources: &$controller.sources,
            decisions: &$controller.decisions,
        }
    };
}

/// Where requests come from.
pub enum Sources {
    /// The watched root.
    Watch(IntakeOptions),
    /// These events and no more: `benchlet run`.
    Given(Vec<IntakeEvent>),
}

pub struct Controller {
    context: Context,
    wakes: mpsc::UnboundedReceiver<String>,
    /// Held while the controller lives.
    _locks: Vec<LockFile>,
    queue: Queue<String>,
    sources: SourceMap,
    /// The sources are the whole root, so that what they lack is absent.
    whole: bool,
    orders_only: bool,
    passes: JoinSet<Result<Decision, PassError>>,
    names: HashMap<Id, String>,
    decisions: HashMap<String, Decision>,
    failures: HashMap<String, u32>,
    listed: bool,
    /// When the controller began, until every request was looked at once.
    starting_since: Option<Instant>,
    unlisted: Vec<ExecutorKind>,
    next_sweep: Instant,
    status: StatusKeeper,
    /// Requests whose file changed, so that their status does too.
    touched: HashSet<String>,
    /// Changes whenever a baseline does.
    baselines: (u64, Option<String>),
}

#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{error}")]
    Execute { error: ExecuteError, decision: Box<Decision> },
}

impl Controller {
    /// A controller for a `whole` root, or for some files of it.
    ///
    /// # Errors
    /// The store's own.
    pub fn new(opened: Opened, whole: bool) -> Result<Self, StoreError> {
        let context = opened.context.clone();
        let names = if whole {
            context.store.live_requests()?.into_iter().map(|record| (record.name, record.path)).collect()
        } else {
            BTreeMap::new()
        };
        let (wakes, locks) = opened.into_parts();
        let settings = &context.settings;
        let status = StatusKeeper::new(settings);
        Ok(Self {
            sources: SourceMap::new(names),
            whole,
            orders_only: false,
            wakes,
            _locks: locks,
            queue: Queue::default(),
            passes: JoinSet::new(),
            names: HashMap::new(),
            decisions: HashMap::new(),
            failures: HashMap::new(),
            listed: false,
            starting_since: Some(Instant::now()),
            unlisted: vec![ExecutorKind::Process, ExecutorKind::Docker],
            next_sweep: Instant::now(),
            status,
            touched: HashSet::new(),
            baselines: context.store.baselines_mark()?,
            context,
        })
    }

    /// Runs what was ordered and nothing else, whatever the files ask for.
    pub fn only_orders(&mut self) {
        self.orders_only = true;
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Works until `shutdown`, or, with `until`, until that says that all is done.
    ///
    /// # Errors
    /// The store's own at the start; afterwards every failure is retried.
    pub async fn run(
        &mut self,
        sources: Sources,
        shutdown: CancellationToken,
        mut until: impl FnMut(&Progress<'_>) -> bool,
    ) -> Result<(), StoreError> {
        let mut intake = self.begin(sources)?;
        let mut watcher = self.context.store.watcher()?;
        let mut doorbell = Doorbell::new(&self.context.settings.state);
        loop {
            if self.next_sweep <= Instant::now() && !self.unlisted.is_empty() {
                self.sweep().await;
            }
            // What was woken by the last pass is not idle, even where that pass was the last one.
            while let Ok(name) = self.wakes.try_recv() {
                self.queue.wake(&name, Priority::High);
            }
            for (name, path) in self.context.take_written() {
                self.sources.expect(name, path);
            }
            self.start_passes();
            self.context.meter.note_queue(self.queue.depth());
            let sight = sight!(self);
            self.status.write_due(&sight).await;
            let idle = self.passes.is_empty() && self.queue.depth() == 0;
            if idle && self.listed && self.sources.is_started() && self.status.is_idle() {
                self.tell_started();
            }
            if until(&Progress { idle, started: self.sources.is_started(), decisions: &self.decisions }) {
                self.status.write_all(&sight!(self)).await;
                return Ok(());
            }
            let timer = self.next_timer();
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.status.write_all(&sight!(self)).await;
                    return Ok(());
                }
                Some(event) = intake.recv() => self.take(event),
                Some(name) = self.wakes.recv() => self.queue.wake(&name, Priority::High),
                Some(done) = self.passes.join_next_with_id() => self.finish(done),
                () = doorbell.rung() => self.look_for_commands(&mut watcher),
                () = tokio::time::sleep_until(timer) => {}
            }
        }
    }

    fn begin(&mut self, sources: Sources) -> Result<mpsc::Receiver<IntakeEvent>, StoreError> {
        for run in self.context.store.open_runs()? {
            if let Some(blueprint) = &run.blueprint
                && let Err((device, holder)) =
                    self.context.claims.take(run.id, &run.request, &blueprint.service, &blueprint.claims)
            {
                tracing::warn!(%device, %holder, request = run.request, "a device of an open run is held");
            }
            if run.spec.measures()
                && run.state.phase() == Phase::Running
                && self.context.jobs.begin_measuring(run.id).is_err()
            {
                tracing::warn!(request = run.request, "a job is at work beside an open run");
            }
            self.queue.wake(&run.request, Priority::High);
        }
        for apply in self.context.store.open_applies()? {
            if let Some(request) = &apply.request {
                self.queue.wake(request, Priority::High);
            }
        }
        if self.whole {
            submit::finish_all(&self.context)?;
        }
        Ok(match sources {
            Sources::Watch(options) => crate::intake::watcher_task::spawn(options).0,
            Sources::Given(events) => {
                let (sender, receiver) = mpsc::channel(1);
                tokio::spawn(async move {
                    for event in events {
                        if sender.send(event).await.is_err() {
                            return;
                        }
                    }
                    // Kept open, because a closed channel would look like a root that went away.
                    sender.closed().await;
                });
                receiver
            }
        })
    }

    /// Of some files alone nothing can be said to be gone.
    fn forget_gone(&mut self) {
        if self.whole {
            self.status.forget_gone();
        }
    }

    fn tell_started(&mut self) {
        if let Some(since) = self.starting_since.take() {
            self.forget_gone();
            self.context.meter.note_started();
            let (requests, took) = (self.sources.names().count(), since.elapsed());
            tracing::info!(requests, ?took, "every request was looked at");
        }
    }

    /// Lists the executors that have not been listed, and removes what nobody waits for.
    async fn sweep(&mut self) {
        self.next_sweep = Instant::now() + SWEEP;
        let mut unlisted = Vec::new();
        for kind in std::mem::take(&mut self.unlisted) {
            match orphans::sweep(&self.context, kind).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, executor = kind.as_str(), "leftovers removed"),
                Err(reason) => {
                    tracing::debug!(executor = kind.as_str(), %reason, "not listed");
                    unlisted.push(kind);
                }
            }
        }
        self.unlisted = unlisted;
        // Without a daemon nothing can be admitted to it either: each admission asks it first.
        let process_listed = !self.unlisted.contains(&ExecutorKind::Process);
        if process_listed && !self.listed {
            self.listed = true;
            let names: Vec<String> = self.sources.names().map(str::to_owned).collect();
            for name in names {
                self.queue.wake(&name, Priority::Low);
            }
        }
    }

    fn take(&mut self, event: IntakeEvent) {
        if let IntakeEvent::StatusTouched(path) = &event {
            self.status.touched(path);
            return;
        }
        let starting = !self.sources.is_started();
        let degraded = self.sources.degraded().map(str::to_owned);
        for change in self.sources.take(event) {
            self.note_change(&change, starting);
        }
        if self.sources.degraded() != degraded.as_deref() {
            self.context.meter.note_degraded(self.sources.degraded().is_some());
            if let Some(reason) = self.sources.degraded() {
                tracing::warn!(reason, "the watched root is degraded; nothing counts as deleted");
            }
            let names: Vec<String> = self.sources.names().map(str::to_owned).collect();
            for name in names {
                self.queue.wake(&name, Priority::Low);
            }
        }
    }

    fn note_change(&mut self, change: &Change, starting: bool) {
        let priority = if starting { Priority::Low } else { Priority::High };
        match change {
            Change::Appeared { name, path: _ }
            | Change::Edited { name, path: _ }
            | Change::Startable { name, path: _ } => {
                // Its status follows its decision.
                self.touched.insert(name.clone());
                self.queue.wake(name, priority);
            }
            Change::Moved { name, from, to } => {
                self.queue.wake(name, Priority::High);
                self.status.look_at(from, Duration::ZERO);
                self.status.look_at(to, Duration::ZERO);
            }
            Change::Vanished { name, path } => {
                self.queue.wake(name, Priority::High);
                self.status.look_at(path, Duration::ZERO);
                self.status.forget(name);
            }
            Change::FileProblem { path } => {
                self.status.look_at(path, Duration::ZERO);
                self.forget_gone();
            }
        }
    }

    fn start_passes(&mut self) {
        while self.passes.len() < MOST_PASSES {
            let Some(name) = self.queue.next(Instant::now()) else {
                return;
            };
            let snapshot = self.snapshot(&name);
            let context = self.context.clone();
            let handle = self.passes.spawn(async move {
                let began = Instant::now();
                let outcome = pass(&context, snapshot).await;
                context.meter.passed(began.elapsed(), outcome.is_ok());
                outcome
            });
            self.names.insert(handle.id(), name);
        }
    }

    fn snapshot(&self, name: &str) -> Snapshot {
        Snapshot {
            name: name.to_owned(),
            document: self.document(name),
            listed: self.listed && self.sources.is_started(),
            orders_only: self.orders_only,
            degraded: self.sources.degraded().map(str::to_owned),
        }
    }

    fn document(&self, name: &str) -> Document {
        let (Some(source), Some(file)) = (self.sources.document(name), self.sources.holder(name)) else {
            // Before the first listing nothing can be said, and of files that were not given nothing ever.
            let known = self.whole
                && self.sources.is_started()
                && !self.sources.is_awaited(name)
                && !self.context.is_writing(name);
            return Document::Absent { confirmed: known };
        };
        match source.state {
            DocumentState::Unreadable => return Document::Unreadable,
            DocumentState::Missing { .. } => return Document::Absent { confirmed: false },
            DocumentState::Current if !file.shows(name) => return Document::Absent { confirmed: false },
            DocumentState::Current => {}
        }
        let stem = file.path.file_stem().unwrap_or_default().to_string_lossy();
        match valid::validate(&source.root, source.index, &stem) {
            Ok(request) => Document::Valid {
                request: request.into(),
                path: file.path.clone(),
                index: source.index,
                // The map tells when this changes, so any delay will do.
                startable_in_ms: if file.startable {
                    0
                } else {
                    OFTEN.as_millis().try_into().unwrap_or(1_000)
                },
            },
            Err(problems) => Document::Invalid {
                problems: problems.iter().map(|problem| problem.locate(&source.source)).collect(),
            },
        }
    }

    fn finish(&mut self, done: Result<(Id, Result<Decision, PassError>), tokio::task::JoinError>) {
        let (id, result) = match done {
            Ok((id, result)) => (
                id,
                result.map_err(|error| match error {
                    PassError::Execute { error, decision } => {
                        // Of two that were decided at once, one has to wait: that is no trouble.
                        let waits = matches!(error, ExecuteError::Claimed { .. });
                        (error.to_string(), Some(*decision), waits)
                    }
                    PassError::Store(error) => (error.to_string(), None, false),
                }),
            ),
            Err(error) => (error.id(), Err((format!("a pass broke: {error}"), None, false))),
        };
        let Some(name) = self.names.remove(&id) else {
            return;
        };
        self.queue.done(&name);
        let now = Instant::now();
        match result {
            Ok(decision) => {
                self.failures.remove(&name);
                if matches!(decision.action, Action::EndRun { .. }) {
                    // Whoever waits for the end reads the status next.
                    self.write_soon(&name);
                }
                let acted = !matches!(decision.action, Action::Wait);
                if let Some(recheck) = decision.recheck_ms {
                    self.queue.wake_after(&name, Duration::from_millis(recheck), now);
                }
                let delay = if acted { Duration::ZERO } else { OFTEN };
                self.note_decision(&name, decision, delay);
            }
            Err((error, decision, waits)) => {
                let count = self.failures.entry(name.clone()).or_default();
                *count = count.saturating_add(1);
                let backoff = Duration::from_millis(100u64 << (*count).min(10)).min(MOST_BACKOFF);
                if waits {
                    tracing::debug!(request = name, %error, retry_in = ?backoff, "another one was quicker");
                } else {
                    tracing::warn!(request = name, %error, retry_in = ?backoff, "an order could not be carried out");
                }
                self.queue.wake_after(&name, backoff, now);
                if let Some(decision) = decision {
                    self.note_decision(&name, Decision { message: error, ..decision }, OFTEN);
                }
            }
        }
    }

    fn note_decision(&mut self, name: &str, decision: Decision, delay: Duration) {
        let path = self.sources.holder(name).map(|file| file.path.clone());
        let changed = self
            .decisions
            .get(name)
            .is_none_or(|last| last.reason != decision.reason || last.message != decision.message);
        let waiting = decision.recheck_ms.is_some();
        self.decisions.insert(name.to_owned(), decision);
        let changed = self.touched.remove(name) || changed;
        if let Some(path) = path
            && (changed || waiting)
        {
            self.status.look_at(&path, if changed { Duration::ZERO } else { delay });
        }
    }

    /// Lets the next look at a request's status be at once.
    fn write_soon(&mut self, name: &str) {
        if let Some(file) = self.sources.holder(name) {
            self.status.unhold(&file.path);
            self.touched.insert(name.to_owned());
        }
    }

    fn look_for_commands(&mut self, watcher: &mut CommitWatcher) {
        if !watcher.changed() {
            return;
        }
        match self.context.store.open_commands() {
            Ok(commands) => {
                for command in commands {
                    self.queue.wake(&command.request, Priority::High);
                }
            }
            Err(error) => tracing::warn!(%error, "commands could not be read"),
        }
        if let Err(error) = self.look_for_baselines() {
            tracing::warn!(%error, "baselines could not be read");
        }
    }

    /// A command may have set one, for which gates wait.
    fn look_for_baselines(&mut self) -> Result<(), StoreError> {
        let mark = self.context.store.baselines_mark()?;
        if self.baselines != mark {
            self.baselines = mark;
            for name in self.context.store.without_baseline()? {
                self.queue.wake(&name, Priority::High);
            }
        }
        Ok(())
    }

    fn next_timer(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let sweep = if self.unlisted.is_empty() { far } else { self.next_sweep };
        let queue = self.queue.next_due().unwrap_or(far);
        sweep.min(queue).min(self.status.next_timer())
    }
}

/// Looks at one request, decides, and carries that out.
async fn pass(context: &Context, snapshot: Snapshot) -> Result<Decision, PassError> {
    let observed = observe(context, snapshot).await?;
    let decision = next_action(&observed);
    tracing::debug!(request = observed.name, reason = %decision.reason, action = ?decision.action, "decided");
    match execute(context, &observed, &decision).await {
        Ok(()) => Ok(decision),
        Err(error) => Err(PassError::Execute { error, decision: Box::new(decision) }),
    }
}

/// What `until` may look at.
pub struct Progress<'a> {
    /// No pass runs and none waits to.
    pub idle: bool,
    /// Every file was read.
    pub started: bool,
    pub decisions: &'a HashMap<String, Decision>,
}
