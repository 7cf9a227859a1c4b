//! How far a download is: a bar on a terminal, elsewhere a line at every tenth. Reads nothing.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::Console;
use crate::run::model_files::ModelProgress;

/// Once the size is known; until then it only turns.
const FORM: &str = "{msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";

pub struct ModelBar {
    bar: Option<ProgressBar>,
    /// What was last said, and at which tenth.
    said: (String, Option<u64>),
}

impl ModelBar {
    pub fn new(console: &Console) -> Self {
        let bar = console.terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, said: Default::default() }
    }

    pub fn show(&mut self, progress: &ModelProgress, console: &mut Console) {
        if let Some(bar) = &self.bar {
            if let Some(total) = progress.model.total().filter(|total| bar.length() != Some(*total)) {
                bar.set_length(total);
                if let Ok(style) = ProgressStyle::with_template(FORM) {
                    bar.set_style(style.progress_chars("=> "));
                }
            }
            bar.set_position(progress.model.bytes());
            bar.set_message(super::output::clean(&progress.activity).into_owned());
            return;
        }
        let now = (progress.activity.clone(), progress.percent().map(|percent| percent / 10));
        if now != self.said {
            console.note(progress.words());
            self.said = now;
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
