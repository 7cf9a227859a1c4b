//! What every handler shares: handles to the controller and the store, the token, limits. Holds no lock
//! across an await.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use super::feed::Feed;
use super::hosts::Hosts;
use super::logs::Growth;
use super::rate::Rate;
use super::token::Token;
use crate::controller::context::Context;
use crate::store::{Store, StoreError};

/// Comparisons, histories and reports that are computed at once: what measures here needs the cores.
pub const MOST_WORK: usize = 2;
/// Who comes while all of them are taken waits so long.
const WORK_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Api(Arc<Parts>);

pub struct Parts {
    pub context: Context,
    pub token: Token,
    pub hosts: Hosts,
    pub rate: Mutex<Rate>,
    pub feed: Feed,
    pub growth: Growth,
    pub work: Arc<Semaphore>,
    /// Ends every stream.
    pub shutdown: CancellationToken,
}

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Api {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Asks the store without keeping others waiting.
    ///
    /// # Errors
    /// What `work` says, as it is answered.
    pub async fn ask<T, E>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: Into<ApiError> + Send + 'static,
    {
        let store = self.context.store.clone();
        let asked = tokio::task::spawn_blocking(move || work(&store)).await;
        asked.map_err(|error| ApiError::internal(&error))?.map_err(Into::into)
    }

    /// Asks what takes more than a look: only a few at once, whatever is called.
    ///
    /// # Errors
    /// Too many others are at it, or what `work` says.
    pub async fn work<T, E>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: Into<ApiError> + Send + 'static,
    {
        let place = tokio::time::timeout(WORK_PATIENCE, Arc::clone(&self.work).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(ApiError::unavailable("busy", "others compute what takes long; try again"));
        };
        self.ask(move |store| {
            // Kept to its end, also where the client has left.
            let _place = place;
            work(store)
        })
        .await
    }

    pub fn with_rate<T>(&self, look: impl FnOnce(&mut Rate) -> T) -> T {
        look(&mut self.rate.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A store's answer needs no other error.
pub type Stored<T> = Result<T, StoreError>;
