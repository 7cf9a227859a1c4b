//! Runs an apply beside the loop: one task an apply, which wakes its request when it has ended. What it
//! does is `apply_job`'s.

use std::sync::{Arc, PoisonError};

use uuid::Uuid;

use super::apply_job::{self, ApplyContext};
use super::context::Context;

/// Starts an apply; one that this process carries out already is it.
pub fn start(context: &Context, id: Uuid, request: &str) {
    let fresh = context.applying.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    if !fresh {
        return;
    }
    let (context, request) = (context.clone(), request.to_owned());
    tokio::spawn(async move {
        let around = ApplyContext {
            settings: Arc::clone(&context.settings),
            store: context.store.clone(),
            docker: context.docker.get().await.ok(),
        };
        let work = tokio::spawn(async move { apply_job::carry_out(&around, id).await });
        match work.await {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => {
                tracing::warn!(%id, reason = %refusal.reason, message = refusal.message, "an apply failed");
            }
            Err(error) => tracing::error!(%id, %error, "an apply broke"),
        }
        context.applying.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        context.wake(&request);
    });
}
