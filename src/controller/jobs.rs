//! Jobs: anything that may take over a second, in process, one of a kind a run. They start by an
//! action, cancel at once, report by waking their request, and are simply started again after a restart.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::decide::observed::{Job, JobResult, JobStatus};
use crate::run::model_files::ModelProgress;
use crate::run::reason::{Reason, Refusal};

#[derive(Clone)]
pub struct Jobs {
    entries: Arc<Mutex<HashMap<(Uuid, Job), Entry>>>,
    /// Runs that measure: no job that would disturb them starts. Taken only under the entries' lock.
    measuring: Arc<Mutex<HashSet<Uuid>>>,
    /// Names of requests to look at.
    wake: mpsc::UnboundedSender<String>,
}

struct Entry {
    request: String,
    status: JobStatus,
    /// What people may read of it while it runs.
    note: String,
    /// How far its model files are.
    model: Option<ModelProgress>,
    cancel: CancellationToken,
    abort: Option<AbortHandle>,
    /// Tells a late end of an earlier job from this one's.
    number: u64,
}

/// What a job is given: how to tell its progress, and when to give up.
#[derive(Clone)]
pub struct Handle {
    jobs: Jobs,
    key: (Uuid, Job),
    pub cancelled: CancellationToken,
}

impl Handle {
    pub fn note(&self, text: impl Into<String>) {
        if let Some(entry) = self.jobs.lock().get_mut(&self.key) {
            entry.note = text.into();
        }
    }

    pub fn model(&self, progress: ModelProgress) {
        if let Some(entry) = self.jobs.lock().get_mut(&self.key) {
            entry.note = progress.words();
            entry.model = Some(progress);
        }
    }
}

impl Jobs {
    pub fn new(wake: mpsc::UnboundedSender<String>) -> Self {
        Self { entries: Arc::default(), measuring: Arc::default(), wake }
    }

    /// Lets a run measure, unless another run's job would disturb it. Two requests are decided at the
    /// same time, each before the other's order is carried out; here one of them comes first.
    ///
    /// # Errors
    /// The request whose job is at work.
    pub fn begin_measuring(&self, run: Uuid) -> Result<(), String> {
        let entries = self.lock();
        match disturbing(&entries, run) {
            Some(request) => Err(request),
            None => {
                self.measuring.lock().unwrap_or_else(PoisonError::into_inner).insert(run);
                Ok(())
            }
        }
    }

    pub fn end_measuring(&self, run: Uuid) {
        self.measuring.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    /// Starts a job; one that is there already is it. A job that would disturb another run's measuring
    /// is not started; its request asks again.
    pub fn start<F>(&self, run: Uuid, job: Job, request: &str, work: impl FnOnce(Handle) -> F)
    where
        F: Future<Output = Result<JobResult, Refusal>> + Send + 'static,
    {
        let key = (run, job);
        let cancel = CancellationToken::new();
        let number = {
            let mut entries = self.lock();
            let measuring = self.measuring.lock().unwrap_or_else(PoisonError::into_inner);
            let disturbs = job.disturbs() && measuring.iter().any(|other| *other != run);
            if disturbs || entries.contains_key(&key) {
                return;
            }
            drop(measuring);
            let number = entries.values().map(|entry| entry.number).max().unwrap_or(0) + 1;
            let entry = Entry {
                request: request.to_owned(),
                status: JobStatus::Running,
                note: String::new(),
                model: None,
                cancel: cancel.clone(),
                abort: None,
                number,
            };
            entries.insert(key, entry);
            number
        };
        let handle = Handle { jobs: self.clone(), key, cancelled: cancel };
        let task = tokio::spawn(work(handle));
        let abort = task.abort_handle();
        if let Some(entry) = self.lock().get_mut(&key) {
            entry.abort = Some(abort);
        }
        let jobs = self.clone();
        tokio::spawn(async move {
            let status = match task.await {
                Ok(Ok(result)) => JobStatus::Done(result),
                Ok(Err(refusal)) => JobStatus::Failed(refusal),
                Err(error) if error.is_cancelled() => return,
                Err(error) => JobStatus::Failed(Refusal::new(
                    Reason::InternalError,
                    format!("a job of benchlet itself broke: {error}"),
                )),
            };
            jobs.finish(key, number, status);
        });
    }

    fn finish(&self, key: (Uuid, Job), number: u64, status: JobStatus) {
        let request = {
            let mut entries = self.lock();
            let Some(entry) = entries.get_mut(&key).filter(|entry| entry.number == number) else {
                return;
            };
            entry.status = status;
            entry.request.clone()
        };
        // Nobody listens only while the controller goes down.
        drop(self.wake.send(request));
    }

    pub fn statuses(&self, run: Uuid) -> BTreeMap<Job, JobStatus> {
        let entries = self.lock();
        entries
            .iter()
            .filter(|((id, _), _)| *id == run)
            .map(|((_, job), entry)| (*job, entry.status.clone()))
            .collect()
    }

    /// What a running job of the run has to tell.
    pub fn note(&self, run: Uuid) -> Option<String> {
        let entries = self.lock();
        let mut running =
            entries.iter().filter(|((id, _), entry)| *id == run && entry.status == JobStatus::Running);
        running.find(|(_, entry)| !entry.note.is_empty()).map(|(_, entry)| entry.note.clone())
    }

    /// How far a run's model files are, while their job is there.
    pub fn model(&self, run: Uuid) -> Option<ModelProgress> {
        self.lock().get(&(run, Job::Download)).and_then(|entry| entry.model.clone())
    }

    /// Ends jobs of a run at once and forgets them.
    pub fn cancel(&self, run: Uuid, which: impl Fn(Job) -> bool) {
        let mut entries = self.lock();
        entries.retain(|(id, job), entry| {
            let ends = *id == run && which(*job);
            if ends {
                entry.cancel.cancel();
                if let Some(abort) = &entry.abort {
                    abort.abort();
                }
            }
            !ends
        });
    }

    /// Forgets jobs that have ended: the run's state has what they found.
    pub fn forget_finished(&self, run: Uuid) {
        self.lock().retain(|(id, _), entry| *id != run || entry.status == JobStatus::Running);
    }

    /// The request of another run whose job would disturb a measurement.
    pub fn disturbing(&self, except: Uuid) -> Option<String> {
        disturbing(&self.lock(), except)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Uuid, Job), Entry>> {
        // The map is whole between any two statements, so a panic elsewhere leaves it usable.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn disturbing(entries: &HashMap<(Uuid, Job), Entry>, except: Uuid) -> Option<String> {
    entries
        .iter()
        .find(|((id, job), entry)| *id != except && job.disturbs() && entry.status == JobStatus::Running)
        .map(|(_, entry)| entry.request.clone())
}
