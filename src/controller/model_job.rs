//! The job of a Model request: brings its files, tells how far they are, keeps what came of it. Ended at
//! any point it leaves what has come, and begins there the next time.

use std::sync::Arc;

use uuid::Uuid;

use super::context::Context;
use super::jobs::Handle;
use super::measure::{JobOutcome, store_refusal};
use super::model_cache::model_cache;
use crate::decide::observed::JobResult;
use crate::models::shown::Shown;
use crate::models::{ModelError, bring};
use crate::request::model::Model;
use crate::request::valid::Spec;
use crate::run::model_files::ModelFiles;
use crate::run::reason::{Reason, Refusal};
use crate::store::model_files;

pub async fn download(context: &Context, run: Uuid, handle: &Handle) -> JobOutcome {
    let model = model_of(context, run)?;
    let listener = handle.clone();
    let shown = Shown::new(context.spool_root().join(run.to_string()));
    let listener = move |progress| {
        shown.show(&progress);
        listener.model(progress);
    };
    let brought = match model_cache(&context.settings, Some(context.store.clone())) {
        Ok(cache) => bring(&cache, &model, Arc::new(listener)).await,
        Err(error) => Err(error),
    };
    match brought {
        Ok(files) => {
            let words = files.words();
            keep(context, run, files, words.clone()).await?;
            Ok(JobResult::Model { words })
        }
        Err(error) => failed(context, run, &error).await,
    }
}

fn model_of(context: &Context, run: Uuid) -> Result<Model, Refusal> {
    let row = context.store.run(run).map_err(store_refusal)?;
    match row.map(|row| row.spec) {
        Some(Spec::Model(model)) => Ok(model),
        Some(
            Spec::LlamaBench(_)
            | Spec::LoadTest(_)
            | Spec::Apply(_)
            | Spec::Baseline(_)
            | Spec::Comparison(_)
            | Spec::Imported(_),
        )
        | None => Err(Refusal::new(Reason::InternalError, "the run asks for no model")),
    }
}

/// Also what did not come whole tells something; before its files stands why.
async fn failed(context: &Context, run: Uuid, error: &ModelError) -> JobOutcome {
    let files = context.jobs.model(run).map(|progress| progress.model).unwrap_or_default();
    let refusal = error.refusal();
    keep(context, run, files, refusal.message.clone()).await?;
    Err(refusal)
}

async fn keep(context: &Context, run: Uuid, files: ModelFiles, headline: String) -> Result<(), Refusal> {
    let write = move |connection: &rusqlite::Connection| model_files::set(connection, run, &files, &headline);
    context.store.write(write).await.map_err(store_refusal)
}
