//! What may go now: the breaker shared by all turns of a destination, the platform's quota, a stop, the time left of a lease.

use std::time::Duration;

use super::Shared;
use crate::{
    breaker::{Breaker, Passage},
    id::DestinationId,
    rate_limit::Quota,
    store::{Agenda, Done, Lease, StoreError, StoredDestination, Write},
};

/// A quota slot further away than this pauses the destination instead of being waited for.
const LONGEST_QUOTA_WAIT: Duration = Duration::from_secs(10);

/// When a destination's earliest row may go, its pause and its breaker considered, in Unix milliseconds.
pub(super) fn earliest_send(entry: &Agenda) -> Option<i64> {
    let paused_until_ms = entry.destination.health.paused_until_ms.unwrap_or(i64::MIN);
    entry.next_due_ms.map(|due| due.max(paused_until_ms).max(blocked_until_ms(entry)))
}

/// When its earliest verdict may be asked for, its breaker considered, in Unix milliseconds.
pub(super) fn earliest_poll(entry: &Agenda) -> Option<i64> {
    entry.next_poll_ms.map(|due| due.max(blocked_until_ms(entry)))
}

pub(super) fn is_due(entry: &Agenda, now_ms: i64) -> bool {
    [earliest_send(entry), earliest_poll(entry)].into_iter().flatten().any(|at| at <= now_ms)
}

fn blocked_until_ms(entry: &Agenda) -> i64 {
    match entry.destination.health.breaker {
        Breaker::Open { until_ms } => until_ms,
        Breaker::Closed { .. } | Breaker::HalfOpen { .. } => i64::MIN,
    }
}

impl Shared {
    /// Brings the stored breaker and the one in memory together. While turns are under way the one in memory is newer, unless
    /// another process has opened the stored one.
    pub(super) fn agree_on_breaker(&self, destination: &mut StoredDestination, idle: bool) {
        let stored = destination.health.breaker;
        let opened = matches!(stored.passage(self.now_ms()), Passage::Blocked(_));
        let mut state = self.state();
        let known = state.breakers.entry(destination.id).or_insert(stored);
        if idle || opened {
            *known = stored;
        }
        destination.health.breaker = *known;
    }

    /// Moves the breaker by one answer; `None` if that changes nothing. Turns side by side must not each move an old copy.
    pub(super) fn breaker_after(&self, destination: &StoredDestination, healthy: bool) -> Option<Breaker> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let known = state.breakers.entry(destination.id).or_insert(destination.health.breaker);
        let after = known.after(healthy, &self.settings.breaker, now_ms);
        (std::mem::replace(known, after) != after).then_some(after)
    }

    /// Whether another request may go now: nobody said stop, and the breaker has not opened in the meantime.
    fn may_go(&self, destination: DestinationId) -> bool {
        let now_ms = self.now_ms();
        let blocked = self.state().breakers.get(&destination).is_some_and(|b| matches!(b.passage(now_ms), Passage::Blocked(_)));
        !blocked && !*self.stopping.borrow()
    }

    /// Whether a request begun now can be expected to have its answer, and that to be settled, before the lease ends.
    pub(super) fn has_time(&self, lease: Lease) -> bool {
        lease.until_ms.saturating_sub(self.now_ms()) >= crate::delivery::millis(self.settings.lease) / 2
    }

    /// Reserves a request under the platform's quota and waits for it; `false` if it is too far away or may not go any more.
    pub(super) async fn take_slot(&self, destination: &StoredDestination, limits: &[Quota], kind: &str) -> Result<bool, StoreError> {
        if !self.may_go(destination.id) {
            return Ok(false);
        }
        if limits.is_empty() {
            return Ok(true);
        }
        let now_ms = self.now_ms();
        let quota = format!("{}:{kind}", self.connector.quota(destination)).into();
        let Done::Reserved(at_ms) = self.one(Write::Reserve { quota, limits: limits.to_vec(), now_ms }).await? else { return Ok(true) };
        let wait = super::until(at_ms, now_ms);
        if wait > LONGEST_QUOTA_WAIT {
            self.pause(destination, at_ms, None).await?;
            return Ok(false);
        }
        if !wait.is_zero() {
            let mut stopping = self.stopping.subscribe();
            tokio::select! {
                biased;
                _told = stopping.wait_for(|stop| *stop) => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(self.may_go(destination.id))
    }
}
