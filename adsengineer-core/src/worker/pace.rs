//! Turns under a platform's quotas, shared by all destinations whose requests count against one.
//!
//! A slot is reserved by whoever is next in line, one at a time, and one that nobody could use is the next one's. Were every
//! turn to reserve for itself and give up when its slot is far away, the slots given up would push all others further away,
//! and with enough destinations none would ever be near.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Shared;
use crate::{
    delivery::millis,
    rate_limit::Quota,
    store::{Done, StoreError, StoredDestination, Write},
};

/// A slot further away than this is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The lines of all quotas, by name.
#[derive(Default)]
pub(super) struct Lines(Mutex<HashMap<Arc<str>, Arc<Line>>>);

/// Those who wait for a request under one quota.
#[derive(Default)]
struct Line {
    /// Held by the first in line; the others follow in the order in which they came.
    first: tokio::sync::Mutex<()>,
    /// A slot that is reserved and not used yet, in Unix milliseconds.
    slot_ms: Mutex<Option<i64>>,
}

/// Whether a request may go.
pub(super) enum Turn {
    /// Now.
    Now(Ticket),
    /// Not before this time, in Unix milliseconds.
    NotBefore(i64),
    /// Not any more: somebody said stop, the breaker opened, or it takes too long.
    Over,
}

/// The right to one request.
pub(super) struct Ticket(Option<(Arc<Line>, i64)>);

impl Lines {
    fn of(&self, quota: &Arc<str>) -> Arc<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(quota.clone()).or_default().clone()
    }
}

impl Line {
    fn slot(&self) -> MutexGuard<'_, Option<i64>> {
        self.slot_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// There was nothing to send: the next in line may go in its place. At most one is kept, so that no burst gathers.
    pub(super) fn unused(self) {
        if let Some((line, slot_ms)) = self.0 {
            line.slot().get_or_insert(slot_ms);
        }
    }
}

impl Shared {
    /// Waits in line for a request to `destination` under the quota for `kind` of request.
    pub(super) async fn turn(&self, destination: &StoredDestination, limits: &[Quota], kind: &str) -> Result<Turn, StoreError> {
        if !self.may_go(destination.id) {
            return Ok(Turn::Over);
        }
        if limits.is_empty() {
            return Ok(Turn::Now(Ticket(None)));
        }
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            biased;
            _told = stopping.wait_for(|stop| *stop) => Ok(Turn::Over),
            turn = self.in_line(destination, limits, kind) => turn,
        }
    }

    async fn in_line(&self, destination: &StoredDestination, limits: &[Quota], kind: &str) -> Result<Turn, StoreError> {
        let quota: Arc<str> = format!("{}:{kind}", self.connector.quota(destination)).into();
        let line = self.lines.of(&quota);
        let _first = line.first.lock().await;
        let kept = *line.slot();
        let slot_ms = match kept {
            Some(slot_ms) => slot_ms,
            None => self.reserve(quota, limits).await?,
        };
        // Kept until it is used: a turn that is given up here leaves it to the next.
        *line.slot() = Some(slot_ms);
        let wait = super::run::until(slot_ms, self.now_ms());
        if wait > LONGEST_WAIT {
            return Ok(Turn::NotBefore(slot_ms));
        }
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if !self.may_go(destination.id) {
            return Ok(Turn::Over);
        }
        *line.slot() = None;
        Ok(Turn::Now(Ticket(Some((line.clone(), slot_ms)))))
    }

    /// The same for a claim already held: not in line for longer than a quarter of the lease.
    pub(super) async fn turn_under_lease(&self, destination: &StoredDestination, limits: &[Quota], kind: &str) -> Result<Turn, StoreError> {
        let patience = self.settings.lease / 4;
        let turn = tokio::time::timeout(patience, self.turn(destination, limits, kind)).await;
        turn.unwrap_or(Ok(Turn::Over))
    }

    async fn reserve(&self, quota: Arc<str>, limits: &[Quota]) -> Result<i64, StoreError> {
        let now_ms = self.now_ms();
        let done = self.one(Write::Reserve { quota, limits: limits.to_vec(), now_ms }).await?;
        Ok(if let Done::Reserved(at_ms) = done { at_ms } else { now_ms.saturating_add(millis(LONGEST_WAIT)) })
    }
}
