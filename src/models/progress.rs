//! How far the files of a model are, told to whoever shows it: often enough for a bar, seldom enough to
//! cost nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::run::model_files::{ModelFile, ModelFiles, ModelProgress};

/// Told at most this often while bytes come.
pub const OFTEN: Duration = Duration::from_millis(100);

/// Who is told.
pub type Listener = dyn Fn(ModelProgress) + Send + Sync;

/// The progress of one model.
#[derive(Clone)]
pub struct Report {
    state: Arc<Mutex<State>>,
    listener: Arc<Listener>,
}

struct State {
    progress: ModelProgress,
    began: Instant,
    told: Option<Instant>,
}

impl Report {
    pub fn new(listener: Arc<Listener>) -> Self {
        let state = State { progress: ModelProgress::default(), began: Instant::now(), told: None };
        Self { state: Arc::new(Mutex::new(state)), listener }
    }

    /// What is done at present.
    pub fn activity(&self, words: impl Into<String>) {
        let mut state = self.lock();
        state.progress.activity = words.into();
        self.tell(state);
    }

    /// The files that there will be.
    pub fn files(&self, model: ModelFiles) {
        let mut state = self.lock();
        state.progress.model = model;
        self.tell(state);
    }

    /// Changes what is known of a file, and tells it.
    pub fn file(&self, index: usize, change: impl FnOnce(&mut ModelFile)) {
        let mut state = self.lock();
        if let Some(file) = state.progress.model.files.get_mut(index) {
            change(file);
        }
        self.tell(state);
    }

    /// So many bytes of a file are there, `fresh` of them from the network just now.
    pub fn bytes(&self, index: usize, there: u64, fresh: u64) {
        let mut state = self.lock();
        if let Some(file) = state.progress.model.files.get_mut(index) {
            file.bytes = there;
        }
        state.progress.fetched += fresh;
        if state.told.is_none_or(|told| told.elapsed() >= OFTEN) {
            self.tell(state);
        }
    }

    pub fn model(&self) -> ModelFiles {
        self.lock().progress.model.clone()
    }

    fn tell(&self, mut state: MutexGuard<'_, State>) {
        state.told = Some(Instant::now());
        state.progress.elapsed_ms = u64::try_from(state.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let progress = state.progress.clone();
        drop(state);
        (self.listener)(progress);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
