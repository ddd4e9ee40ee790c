//! One turn of a destination: claim, plan, persist, send, settle.

use std::{sync::Arc, time::Duration};

use super::{
    Shared,
    pace::Turn,
    plan::{self, Batch},
};
use crate::{
    breaker::Breaker,
    delivery::{Next, State, millis},
    destination::{Answer, Destination, Rendered},
    id::DeliveryId,
    outcome::{HoldScope, Outcome, Why},
    store::{Begin, Begun, Claimed, Done, Guard, Hold, Lease, Settle, Settled, StoreError, StoredDestination, UploadResult, Write},
};

/// How often what the store could not do is tried again, and the first wait; about six seconds in all.
pub(super) const TRIES: u32 = 6;
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(100);
/// How long before its lease ends a request is cut off.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

impl Shared {
    /// Takes one batch of rows of `destination` through a request.
    pub(super) async fn serve(self: &Arc<Self>, destination: &StoredDestination) -> Result<(), StoreError> {
        if let Some(hold) = &destination.health.hold {
            return self.hold(destination, None, hold.scope, hold.why.clone()).await;
        }
        let door = match self.connector.connect(destination).await {
            Ok(door) => door,
            Err(Outcome::Hold(scope, why)) => return self.hold(destination, None, scope, why).await,
            Err(other) => return self.unreachable(destination, &other).await,
        };
        let ticket = match self.turn(destination, &self.settings.write_quota, "write").await? {
            Turn::Now(ticket) => ticket,
            Turn::NotBefore(at_ms) => return self.pause(destination, at_ms, None).await,
            Turn::Over => return Ok(()),
        };
        let limits = door.limits();
        let lease = self.lease();
        let claimed = self.store.claim(destination.id, limits.batch, lease, self.now_ms()).await?;
        if claimed.is_empty() {
            ticket.unused();
            return Ok(());
        }
        let plan = plan::plan(destination, claimed, &limits, self.connector.as_ref(), self.now_ms());
        self.settle_unsent(destination, lease, plan.unsent).await?;
        let mut goes_on = true;
        for (i, batch) in plan.batches.into_iter().enumerate() {
            goes_on = goes_on && (i == 0 || self.may_follow(destination).await?);
            if !goes_on {
                self.give_back(destination, lease, &batch).await?;
                continue;
            }
            goes_on = self.deliver(destination, &door, lease, batch).await?;
        }
        Ok(())
    }

    /// Waits for another request under the same claim; `false` if that would take too long.
    async fn may_follow(&self, destination: &StoredDestination) -> Result<bool, StoreError> {
        let turn = self.turn_under_lease(destination, &self.settings.write_quota, "write").await?;
        if let Turn::NotBefore(at_ms) = turn {
            self.pause(destination, at_ms, None).await?;
        }
        Ok(matches!(turn, Turn::Now(_)))
    }

    /// Sends one batch. Rows that were lost in the meantime are left out, and the rest is rendered anew.
    /// Says whether the next batch may follow.
    async fn deliver(
        &self,
        destination: &StoredDestination,
        door: &Arc<dyn Destination>,
        lease: Lease,
        mut batch: Batch,
    ) -> Result<bool, StoreError> {
        loop {
            let changed = self.frozen(destination, door, lease, &mut batch).await?;
            let Some(rendered) = changed else { return Ok(true) };
            if !self.has_time(lease) {
                self.give_back(destination, lease, &batch).await?;
                return Ok(false);
            }
            let begin = Begin {
                destination: destination.id,
                lease,
                action_id: batch.action_id.clone(),
                rows: batch.rows.iter().map(|row| row.id).zip(rendered.event_hashes.iter().copied()).collect(),
                body_hash: sha(&rendered.body),
                now_ms: self.now_ms(),
            };
            match self.one(Write::Begin(begin)).await? {
                Done::Begun(Begun::Upload(upload)) => {
                    // It took too long to record, so that there is no time left: the rows come back when the lease ends.
                    let Some(answer) = self.send(door, &rendered, batch.rows.len(), lease).await else { return Ok(false) };
                    self.progress.send_modify(|p| p.sent += batch.rows.len() as u64);
                    return self.settle_answer(destination, &door.limits(), lease, &batch, upload, answer).await;
                }
                Done::Begun(Begun::Lost(lost)) => keep(&mut batch, |row| !lost.contains(&row.id)),
                _ => return Ok(true),
            }
        }
    }

    /// Renders the batch; rows whose event is no longer what was sent before are held for review.
    async fn frozen(
        &self,
        destination: &StoredDestination,
        door: &Arc<dyn Destination>,
        lease: Lease,
        batch: &mut Batch,
    ) -> Result<Option<Rendered>, StoreError> {
        loop {
            if batch.rows.is_empty() {
                return Ok(None);
            }
            let rendered = door.render(&batch.action_id, &batch.events, false);
            let differs = |(row, hash): (&Claimed, &u64)| row.event_hash.is_some_and(|sent| sent != *hash);
            let changed: Vec<DeliveryId> =
                batch.rows.iter().zip(&rendered.event_hashes).filter(|pair| differs(*pair)).map(|(row, _)| row.id).collect();
            if changed.is_empty() {
                return Ok(Some(rendered));
            }
            let why =
                Why::new("BODY_CHANGED", "it would no longer be sent as it was sent before, which the platform would take for a change");
            let rows: Vec<_> =
                batch.rows.iter().filter(|row| changed.contains(&row.id)).map(|row| (hold_row(row, &why), row.clone())).collect();
            self.settle_unsent(destination, lease, rows).await?;
            keep(batch, |row| !changed.contains(&row.id));
        }
    }

    /// Sends, but not beyond the end of the lease; `None` if that is so near that nothing was sent.
    async fn send(&self, door: &Arc<dyn Destination>, rendered: &Rendered, rows: usize, lease: Lease) -> Option<Answer> {
        let left = u64::try_from(lease.until_ms.saturating_sub(self.now_ms())).unwrap_or(0);
        let time = Duration::from_millis(left).saturating_sub(LEASE_MARGIN.min(self.settings.lease / 4));
        if time.is_zero() {
            return None;
        }
        let lost = || Answer { healthy: false, ..Answer::all(Outcome::Unknown(Why::new("TIMEOUT", "no answer before the lease ended"))) };
        Some(tokio::time::timeout(time, door.send(rendered, rows)).await.unwrap_or_else(|_| lost()))
    }

    async fn settle_unsent(&self, destination: &StoredDestination, lease: Lease, unsent: Vec<(Next, Claimed)>) -> Result<(), StoreError> {
        if unsent.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<Settled> = Vec::new();
        for (next, row) in unsent {
            // A release must not undo the splitting so far.
            let part = if next.state == State::Held { row.part } else { 0 };
            match rows.iter_mut().find(|settled| settled.next == next && settled.part == part) {
                Some(settled) => settled.deliveries.push(row.id),
                None => rows.push(Settled { next, part, deliveries: vec![row.id] }),
            }
        }
        self.settle(destination, Guard::Lease(lease), rows, None, None, None).await
    }

    async fn give_back(&self, destination: &StoredDestination, lease: Lease, batch: &Batch) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        let next = |row: &Claimed| Next {
            state: if row.first_sent_ms.is_some() { State::Retrying } else { State::Queued },
            due_ms: Some(now_ms),
            attempts: row.attempts,
            round: row.round,
            why: None,
            hold: None,
        };
        let rows = batch.rows.iter().map(|row| Settled { next: next(row), part: row.part, deliveries: vec![row.id] }).collect();
        self.settle(destination, Guard::Lease(lease), rows, None, None, None).await
    }

    /// Records new states, counts them, and holds what must be held with them.
    pub(super) async fn settle(
        &self,
        destination: &StoredDestination,
        guard: Guard,
        rows: Vec<Settled>,
        upload: Option<UploadResult>,
        breaker: Option<Breaker>,
        paused_until_ms: Option<i64>,
    ) -> Result<(), StoreError> {
        let by_verdict = matches!(guard, Guard::Verdict(_));
        let counted: Vec<_> = rows.iter().map(|settled| (settled.next.clone(), settled.deliveries.len() as u64)).collect();
        self.record(Settle { destination: destination.id, guard, now_ms: self.now_ms(), rows, upload, breaker, paused_until_ms }).await?;
        self.progress.send_modify(|progress| counted.iter().for_each(|(next, rows)| progress.count(next, *rows, by_verdict)));
        let now_ms = self.now_ms();
        let mut state = self.state();
        let report = state.report.of(destination);
        for (next, rows) in &counted {
            report.note(next, *rows);
            if let (Some(scope), Some(why)) = (next.hold, &next.why) {
                report.held(Hold { scope, why: why.clone(), since_ms: now_ms });
            }
        }
        Ok(())
    }

    /// Writes a settle. An answer that was had is worth trying for: lost, it would cost another request. The same settle twice
    /// changes nothing the second time.
    async fn record(&self, mut settle: Settle) -> Result<(), StoreError> {
        for doublings in 0..TRIES {
            match self.one(Write::Settle(settle.clone())).await {
                Err(StoreError::Busy | StoreError::Unavailable(_)) => tokio::time::sleep(FIRST_WAIT * (1 << doublings)).await,
                other => return other.map(drop),
            }
            // Other turns may have moved the breaker on.
            settle.breaker = settle.breaker.map(|breaker| self.state().breakers.get(&settle.destination).copied().unwrap_or(breaker));
        }
        self.one(Write::Settle(settle)).await.map(drop)
    }

    /// Holds everything of a destination, or of one of its actions.
    pub(super) async fn hold(
        &self,
        destination: &StoredDestination,
        action_id: Option<Arc<str>>,
        scope: HoldScope,
        why: Why,
    ) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        let command = Write::Hold { destination: destination.id, action_id, scope, why: why.clone(), now_ms };
        if let Done::Changed(rows) = self.one(command).await? {
            self.progress.send_modify(|progress| progress.held += rows);
        }
        let mut state = self.state();
        let report = state.report.of(destination);
        report.last_error = Some(why.clone());
        report.held(Hold { scope, why, since_ms: now_ms });
        Ok(())
    }

    /// The token or the connection cannot be had just now: nothing was claimed, the destination waits.
    async fn unreachable(&self, destination: &StoredDestination, outcome: &Outcome) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        let after = if let Outcome::Retry { after, .. } = outcome { *after } else { None };
        let why = outcome.why().cloned().unwrap_or_else(|| Why::new("UNREACHABLE", "the destination cannot be used now"));
        let wait = self.settings.policy.backoff.wait(1, after, self.random()).max(Duration::from_millis(20));
        self.pause(destination, now_ms.saturating_add(millis(wait)), Some(why)).await
    }

    pub(super) async fn pause(&self, destination: &StoredDestination, until_ms: i64, why: Option<Why>) -> Result<(), StoreError> {
        let failed = why.is_some();
        {
            let mut state = self.state();
            let report = state.report.of(destination);
            report.quota = !failed;
            if let Some(why) = why {
                report.last_error = Some(why);
            }
        }
        let breaker = failed.then(|| self.breaker_after(destination, false)).flatten();
        let nothing = Guard::Lease(Lease { token: 0, until_ms: 0, worker: self.liveness.worker() });
        self.settle(destination, nothing, Vec::new(), None, breaker, Some(until_ms)).await
    }

    /// Runs one command.
    pub(super) async fn one(&self, command: Write) -> Result<Done, StoreError> {
        let result = self.store.write(vec![command]).await.pop();
        result.unwrap_or_else(|| Err(StoreError::Unavailable("the writer gave no answer".to_owned())))
    }
}

fn hold_row(row: &Claimed, why: &Why) -> Next {
    Next { state: State::Held, due_ms: None, attempts: row.attempts, round: row.round, why: Some(why.clone()), hold: Some(HoldScope::Row) }
}

fn keep(batch: &mut Batch, wanted: impl Fn(&Claimed) -> bool) {
    let kept: Vec<bool> = batch.rows.iter().map(wanted).collect();
    let mut flags = kept.iter();
    batch.rows.retain(|_| *flags.next().unwrap_or(&false));
    let mut flags = kept.iter();
    batch.events.retain(|_| *flags.next().unwrap_or(&false));
}

fn sha(body: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(body).into()
}
