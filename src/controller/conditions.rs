//! Keeps the conditions of a status in the store, where `get`, `describe` and `wait` find them: each with the time
//! of its last transition, and none that is said no more.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::context::{Context, timestamp};
use super::status;
use crate::intake::source_map::SourceMap;
use crate::report::status_document::{Condition, Draft};
use crate::request::diagnostic::Located;
use crate::store::StoreError;
use crate::store::conditions::{self, ConditionRow, NamedCondition};

/// What conditions are about.
pub struct About<'a> {
    /// A request's name, or a place in a file.
    pub key: &'a str,
    pub generation: Option<u64>,
    /// The run that they tell of.
    pub run: Option<Uuid>,
    /// What is wrong with the document, where it is not accepted.
    pub problems: &'a [Located],
}

/// Adds to each condition when its status last changed, and keeps that.
///
/// # Errors
/// The store's own.
pub async fn dated(
    context: &Context,
    about: About<'_>,
    drafts: Vec<Draft>,
) -> Result<Vec<Condition>, StoreError> {
    let known = context.store.conditions(about.key)?;
    let now = timestamp(context.now().unix_ms);
    let said: BTreeSet<&str> = drafts.iter().map(|draft| draft.kind).collect();
    let gone: Vec<String> =
        known.iter().filter(|row| !said.contains(row.kind.as_str())).map(|row| row.kind.clone()).collect();
    let mut changed = Vec::new();
    let mut conditions = Vec::new();
    for draft in drafts {
        let old = known.iter().find(|row| row.kind == draft.kind).map(|row| &row.condition);
        let at = match old {
            Some(row) if row.status == draft.status => row.changed_at.clone(),
            Some(_) | None => now.clone(),
        };
        let accepted = draft.kind == "Accepted";
        let row = ConditionRow {
            status: draft.status.to_owned(),
            reason: draft.reason.clone(),
            message: draft.message.clone(),
            problems: if accepted { about.problems.to_vec() } else { Vec::new() },
            // Whether a document is accepted is no run's.
            run: about.run.filter(|_| !accepted),
            changed_at: at.clone(),
        };
        if old != Some(&row) {
            changed.push(NamedCondition { kind: draft.kind.to_owned(), condition: row });
        }
        conditions.push(Condition {
            kind: draft.kind,
            status: draft.status,
            reason: draft.reason,
            message: draft.message,
            observed_generation: about.generation,
            last_transition_time: at,
        });
    }
    if !changed.is_empty() || !gone.is_empty() {
        let key = about.key.to_owned();
        // Together, so that whoever sees the end of a run in them sees all that is said of it.
        let keep = move |connection: &rusqlite::Connection| {
            changed.iter().try_for_each(|noted| conditions::note(connection, &key, noted))?;
            gone.iter().try_for_each(|kind| conditions::forget(connection, &key, kind))
        };
        context.store.write(keep).await?;
    }
    Ok(conditions)
}

/// Forgets refused documents that are in no file any more.
///
/// # Errors
/// The store's own.
pub async fn forget_gone(context: &Context, sources: &SourceMap) -> Result<(), StoreError> {
    let held: BTreeSet<&str> = sources.names().collect();
    let mut gone: Vec<String> =
        context.store.refused_names()?.into_iter().map(|refused| refused.name).collect();
    gone.retain(|name| !held.contains(name.as_str()));
    if gone.is_empty() {
        return Ok(());
    }
    let told: BTreeSet<String> =
        sources.files().flat_map(|file| status::problem_keys(sources, file)).collect();
    gone.retain(|key| !told.contains(key));
    forget(context, gone).await
}

/// Forgets all conditions of these names.
///
/// # Errors
/// The store's own.
pub async fn forget(context: &Context, names: Vec<String>) -> Result<(), StoreError> {
    if names.is_empty() {
        return Ok(());
    }
    let all = move |connection: &rusqlite::Connection| {
        names.iter().try_for_each(|name| conditions::forget_all(connection, name))
    };
    context.store.write(all).await
}
