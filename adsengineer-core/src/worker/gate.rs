//! What may go now: the breaker shared by all turns of a destination, a stop, the time left of a lease.

use super::Shared;
use crate::{
    breaker::{Breaker, Passage},
    id::DestinationId,
    store::{Agenda, Lease, StoredDestination},
};

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
    pub(super) fn may_go(&self, destination: DestinationId) -> bool {
        let now_ms = self.now_ms();
        let blocked = self.state().breakers.get(&destination).is_some_and(|b| matches!(b.passage(now_ms), Passage::Blocked(_)));
        !blocked && !*self.stopping.borrow()
    }

    /// Whether a request begun now can be expected to have its answer, and that to be settled, before the lease ends.
    pub(super) fn has_time(&self, lease: Lease) -> bool {
        lease.until_ms.saturating_sub(self.now_ms()) >= crate::delivery::millis(self.settings.lease) / 2
    }
}
