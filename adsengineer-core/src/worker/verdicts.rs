//! Asking for verdicts that come after the answer.

use std::{sync::Arc, time::Duration};

use super::{
    Shared,
    answers::{self, Judged},
    pace::Turn,
    plan,
};
use crate::{
    delivery::{MAX_ROUNDS, Next, Progress, State, millis},
    destination::{Answer, Destination, Limits, Polled, Verdict},
    outcome::{HoldScope, Outcome, Why},
    store::{Guard, Lease, PendingUpload, Settled, StoreError, StoredDestination, UploadResult},
};

/// Uploads asked about in one turn.
const POLLS: usize = 10;
/// After this the verdict is given up. Data Manager keeps a status for about 50 days and has been seen to take one.
const GIVE_UP: Duration = Duration::from_secs(7 * 86_400);

impl Shared {
    /// Asks for the verdicts of `destination` that are due.
    pub(super) async fn ask(self: &Arc<Self>, destination: &StoredDestination) -> Result<(), StoreError> {
        let Ok(door) = self.connector.connect(destination).await else {
            // Rows of this destination are held or waiting for the same reason; the question can wait with them.
            let _moved = self.store.claim_polls(destination.id, POLLS, self.lease(), self.now_ms()).await?;
            return Ok(());
        };
        for _ in 0..POLLS {
            let ticket = match self.turn(destination, &self.settings.read_quota, "read").await? {
                Turn::Now(ticket) => ticket,
                Turn::NotBefore(at_ms) => {
                    // Only the questions wait; what is to be sent counts against another quota.
                    let until = Lease { until_ms: at_ms, ..self.lease() };
                    let _moved = self.store.claim_polls(destination.id, POLLS, until, self.now_ms()).await?;
                    return Ok(());
                }
                Turn::Over => return Ok(()),
            };
            let Some(upload) = self.store.claim_polls(destination.id, 1, self.lease(), self.now_ms()).await?.pop() else {
                ticket.unused();
                return Ok(());
            };
            self.ask_one(destination, &door, &upload).await?;
        }
        Ok(())
    }

    async fn ask_one(
        &self,
        destination: &StoredDestination,
        door: &Arc<dyn Destination>,
        upload: &PendingUpload,
    ) -> Result<(), StoreError> {
        let polled = Polled { upload: upload.id, request_id: upload.request_id.clone(), rows: upload.rows.len() };
        let verdict = tokio::time::timeout(self.settings.lease, door.poll(&polled)).await;
        let verdict = verdict.unwrap_or_else(|_| Verdict::NotYet(Some(Why::new("TIMEOUT", "no answer to the question for a verdict"))));
        let limits = door.limits();
        let settled = match verdict {
            Verdict::NotYet(why) => return self.ask_again(destination, upload, why).await,
            Verdict::Final(answer) => self.judge(&judged(upload, &limits), &answer, &limits),
            Verdict::Partly { counts } => self.partly(upload, &counts, &limits),
            Verdict::Gone(why) => unverified(upload, &why),
        };
        self.conclude(destination, upload, settled).await
    }

    async fn conclude(&self, destination: &StoredDestination, upload: &PendingUpload, settled: Vec<Settled>) -> Result<(), StoreError> {
        let holds = answers::wide_holds(&settled);
        let result = UploadResult { upload: upload.id, request_id: None, poll_at_ms: None, why: None };
        self.settle(destination, Guard::Verdict(upload.id), settled, Some(result), None, None).await?;
        for (scope, why) in holds {
            let action = (scope == HoldScope::Action).then(|| upload.action_id.clone());
            self.hold(destination, action, scope, why).await?;
        }
        Ok(())
    }

    async fn ask_again(&self, destination: &StoredDestination, upload: &PendingUpload, why: Option<Why>) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        if now_ms.saturating_sub(upload.sent_ms) > millis(GIVE_UP) {
            let why = why.unwrap_or_else(|| Why::new("NO_VERDICT", "the platform gave no verdict within seven days"));
            return self.conclude(destination, upload, unverified(upload, &why)).await;
        }
        let doublings = upload.polls.min(16);
        let wait = self.settings.poll_first.saturating_mul(1 << doublings).min(self.settings.poll_cap);
        let poll_at_ms = Some(now_ms.saturating_add(millis(wait)));
        let result = UploadResult { upload: upload.id, request_id: None, poll_at_ms, why: why.clone() };
        if let Some(why) = why {
            self.state().report.of(destination).last_error = Some(why);
        }
        self.settle(destination, Guard::Verdict(upload.id), Vec::new(), Some(result), None, None).await
    }

    /// Some rows failed and nothing says which: smaller parts find them, twice at most.
    fn partly(&self, upload: &PendingUpload, counts: &[(u64, Outcome)], limits: &Limits) -> Vec<Settled> {
        let rows = upload.rows.len() as u64;
        if let [(n, outcome)] = counts
            && *n >= rows
        {
            return self.judge(&judged(upload, limits), &Answer::all(outcome.clone()), limits);
        }
        let why = answers::describe(counts);
        if upload.round >= MAX_ROUNDS || rows <= 1 {
            return unverified(upload, &why);
        }
        let now_ms = self.now_ms();
        let again = |attempts| Next {
            state: State::Retrying,
            due_ms: Some(now_ms),
            attempts,
            round: upload.round + 1,
            why: Some(why.clone()),
            hold: None,
        };
        let rows: Vec<_> = upload.rows.iter().map(|row| (row.id, again(row.attempts))).collect();
        self.parts(&rows)
    }
}

fn judged(upload: &PendingUpload, limits: &Limits) -> Vec<Judged> {
    let one = |row: &crate::store::PendingRow| Judged {
        id: row.id,
        part: 0,
        progress: Progress {
            attempts: row.attempts,
            sent_before: row.first_sent_ms.is_some_and(|first| first < upload.sent_ms),
            first_sent_ms: row.first_sent_ms,
            round: upload.round,
            deadline_ms: plan::deadline_ms(row.occurred_at, limits),
        },
    };
    upload.rows.iter().map(one).collect()
}

/// Taken by the platform, and that is all that can be known.
fn unverified(upload: &PendingUpload, why: &Why) -> Vec<Settled> {
    let one = |row: &crate::store::PendingRow| Settled {
        next: Next {
            state: State::DeliveredUnverified,
            due_ms: None,
            attempts: row.attempts,
            round: upload.round,
            why: Some(why.clone()),
            hold: None,
        },
        part: 0,
        deliveries: vec![row.id],
    };
    upload.rows.iter().map(one).collect()
}
