//! What every handler shares: handles to the controller and the store, the token, limits. Holds no lock
//! across an await.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use super::feed::Feed;
use super::hosts::Hosts;
use super::logs::Growth;
use super::rate::Rate;
use super::token::Token;
use crate::controller::context::Context;
use crate::store::{Store, StoreError};

#[derive(Clone)]
pub struct Api(Arc<Parts>);

pub struct Parts {
    pub context: Context,
    pub token: Token,
    pub hosts: Hosts,
    pub rate: Mutex<Rate>,
    pub feed: Feed,
    pub growth: Growth,
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

    pub fn with_rate<T>(&self, look: impl FnOnce(&mut Rate) -> T) -> T {
        look(&mut self.rate.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A store's answer needs no other error.
pub type Stored<T> = Result<T, StoreError>;
