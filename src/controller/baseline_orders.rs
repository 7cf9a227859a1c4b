//! Baselines that somebody sets or takes away by a command or a call: which run may be one, for whose runs it is,
//! which one is meant, and what is said of it. Those that requests pin are `judge`'s.

use crate::report::comparands::{self, ComparandError};
use crate::request::valid::{NAME_RULE, is_name};
use crate::store::baselines::{self, Baseline, Scope};
use crate::store::runs::RunRow;
use crate::store::{Store, StoreError};

/// Why a baseline is not set or taken away.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{NAME_RULE}")]
    Name,
    #[error(transparent)]
    Unfit(ComparandError),
    #[error("the run has no service")]
    NoService,
    #[error("there is no baseline {name}")]
    Unknown { name: String },
    #[error("there are several baselines {name}")]
    Several { name: String, of: Vec<String> },
}

/// What makes a run one, for whoever was told that his cannot be.
pub const FIT: &str = "a baseline is a completed, valid run that really measured";

/// Whose runs are to be compared with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those of the run's own request.
    OwnRequest,
    Request(String),
    /// Those of the run's own service.
    OwnService,
}

/// The baseline that a run becomes, which is not set yet.
///
/// # Errors
/// The run cannot be one, or not for those runs.
pub fn planned(
    store: &Store,
    run: &RunRow,
    name: &str,
    whose: Whose,
    now: String,
) -> Result<Baseline, BaselineError> {
    if !is_name(name) {
        return Err(BaselineError::Name);
    }
    comparands::fit_for_baseline(store, run).map_err(|error| match error {
        ComparandError::Store(error) => BaselineError::Store(error),
        other @ (ComparandError::NotCompleted { .. }
        | ComparandError::NothingMeasured { .. }
        | ComparandError::Unfit { .. }
        | ComparandError::Decode { .. }) => BaselineError::Unfit(other),
    })?;
    let scope = match whose {
        Whose::OwnRequest => Scope::Request(run.request.clone()),
        Whose::Request(request) => Scope::Request(request),
        Whose::OwnService if run.service.is_empty() => return Err(BaselineError::NoService),
        Whose::OwnService => Scope::Service(run.service.clone()),
    };
    Ok(Baseline { name: name.to_owned(), scope, run: run.id, set_by: None, created_at: now })
}

/// Sets it; one that had its name for the same runs gives it up. Says what was done.
///
/// # Errors
/// The run was deleted meanwhile, or the store's own.
pub async fn set(store: &Store, planned: Baseline) -> Result<String, StoreError> {
    let said = format!("baseline {} is run {}", words(&planned), &planned.run.to_string()[..8]);
    store.write(move |connection| baselines::set(connection, &planned, &planned.created_at)).await?;
    Ok(said)
}

/// The one of that name, and of those that the caller means where there are several.
///
/// # Errors
/// There is none, or still several.
pub fn named(
    store: &Store,
    name: &str,
    is_meant: impl Fn(&Scope) -> bool,
) -> Result<Baseline, BaselineError> {
    let mut found = store.baselines()?;
    found.retain(|one| one.name == name && is_meant(&one.scope));
    if found.len() > 1 {
        let of = found.iter().map(|one| one.scope.subject().to_owned()).collect();
        return Err(BaselineError::Several { name: name.to_owned(), of });
    }
    found.pop().ok_or_else(|| BaselineError::Unknown { name: name.to_owned() })
}

/// What is said of a baseline that was taken away.
pub struct Gone {
    pub said: String,
    /// That it will come back, where a request says so.
    pub note: Option<String>,
}

/// Takes it away; its run stays.
///
/// # Errors
/// The store's own.
pub async fn remove(store: &Store, one: Baseline) -> Result<Gone, StoreError> {
    let said = format!("baseline {} is gone; its run stays", words(&one));
    let note = one
        .set_by
        .as_ref()
        .map(|request| format!("the request {request} set it: it sets it again when its file changes"));
    store.write(move |connection| baselines::remove(connection, &one.name, &one.scope)).await?;
    Ok(Gone { said, note })
}

/// `main of the request load`
fn words(one: &Baseline) -> String {
    format!("{} of the {} {}", one.name, one.scope.word(), one.scope.subject())
}
