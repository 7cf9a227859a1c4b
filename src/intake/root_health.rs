//! Tells a deletion from a disaster: an unmounted disk or a moved directory ends no request. Pure.
//!
//! Owns when the picture of the root is not to be trusted, and the way out. Does not count absences.

use std::collections::BTreeSet;

/// Fewer requests than this can all be deleted at once.
const FEWEST: usize = 5;

/// Whether absence means anything now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// No complete listing yet; the reason says why, where the root could not be listed.
    Starting {
        reason: Option<String>,
    },
    Healthy,
    /// Nothing counts as absent until this is over.
    Degraded {
        reason: String,
    },
}

/// The root's health over time.
#[derive(Debug)]
pub struct RootHealth {
    health: Health,
    /// Names missing in the last listing.
    lost: BTreeSet<String>,
    /// Names that may be missing, because somebody said that they were deleted on purpose.
    acknowledged: BTreeSet<String>,
}

impl RootHealth {
    pub fn new() -> Self {
        Self {
            health: Health::Starting { reason: None },
            lost: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The root could not be listed.
    pub fn failed(&mut self, reason: String) {
        self.health = match self.health {
            Health::Starting { .. } => Health::Starting { reason: Some(reason) },
            Health::Healthy | Health::Degraded { .. } => Health::Degraded { reason },
        };
    }

    pub fn is_starting(&self) -> bool {
        match self.health {
            Health::Starting { .. } => true,
            Health::Healthy | Health::Degraded { .. } => false,
        }
    }

    /// Why nothing counts as absent now, if so.
    pub fn degraded(&self) -> Option<&str> {
        match &self.health {
            Health::Starting { reason } => reason.as_deref(),
            Health::Degraded { reason } => Some(reason),
            Health::Healthy => None,
        }
    }

    /// A complete listing: of `known` names, these are missing from it.
    pub fn listed(&mut self, known: usize, lost: BTreeSet<String>) {
        self.acknowledged.retain(|name| lost.contains(name));
        let unexplained = lost.difference(&self.acknowledged).count();
        let expected = known.saturating_sub(self.acknowledged.len());
        self.health = if expected >= FEWEST && unexplained * 2 > expected {
            let reason = format!(
                "{unexplained} of {expected} requests are missing at once; nothing is cancelled until they are \
                 back or the loss is acknowledged"
            );
            Health::Degraded { reason }
        } else {
            Health::Healthy
        };
        self.lost = lost;
    }

    /// Takes what is missing now for deleted. It still has to be missing in two further listings.
    /// A root that cannot be listed stays degraded.
    pub fn acknowledge(&mut self) {
        self.acknowledged = self.lost.clone();
    }
}

impl Default for RootHealth {
    fn default() -> Self {
        Self::new()
    }
}
