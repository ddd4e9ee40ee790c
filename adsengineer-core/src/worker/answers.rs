//! From a platform's answer to new states: every row through the life cycle, unlocated refusals into smaller parts.

use std::collections::HashMap;

use super::{Shared, plan};
use crate::{
    delivery::{self, Next, Policy, Progress, millis},
    destination::{Answer, Limits},
    id::{DeliveryId, UploadId},
    outcome::{HoldScope, Outcome, Why},
    store::{Guard, Lease, Settled, StoreError, StoredDestination, UploadResult},
    worker::plan::Batch,
};

/// Refusals in a row that no row can be blamed for, before the destination's configuration is suspected.
const SUSPICIOUS_STREAK: u32 = 4;

/// A row as its answer is judged.
pub(super) struct Judged {
    pub(super) id: DeliveryId,
    pub(super) progress: Progress,
    pub(super) part: i64,
}

impl Shared {
    /// Settles the rows of a request by its answer; says whether another request may follow at once.
    pub(super) async fn settle_answer(
        &self,
        destination: &StoredDestination,
        limits: &Limits,
        lease: Lease,
        batch: &Batch,
        upload: UploadId,
        answer: Answer,
    ) -> Result<bool, StoreError> {
        let rows: Vec<_> =
            batch.rows.iter().map(|row| Judged { id: row.id, progress: plan::progress(row, limits), part: row.part }).collect();
        let answer = self.suspect(destination, answerable(answer));
        let now_ms = self.now_ms();
        let settled = self.judge(&rows, &answer, limits);
        let holds = wide_holds(&settled);
        let pending = settled.iter().any(|s| s.next.state == delivery::State::AwaitingConfirmation);
        let result = UploadResult {
            upload,
            request_id: answer.request_id.clone(),
            poll_at_ms: (pending && answer.request_id.is_some()).then(|| now_ms.saturating_add(millis(self.settings.poll_first))),
            why: answer.default.why().cloned(),
        };
        let breaker = self.breaker_after(destination, answer.healthy);
        let paused = answer.pause.map(|pause| now_ms.saturating_add(millis(pause)));
        self.settle(destination, Guard::Lease(lease), settled, Some(result), breaker, paused).await?;
        {
            let mut state = self.state();
            answer.warnings.into_iter().for_each(|warning| state.report.warn(warning));
            let report = state.report.of(destination);
            report.quota = paused.is_some();
            report.paused_until_ms = paused;
        }
        let goes_on = holds.is_empty() && paused.is_none();
        for (scope, why) in holds {
            let action = (scope == HoldScope::Action).then(|| batch.action_id.clone());
            self.hold(destination, action, scope, why).await?;
        }
        Ok(goes_on)
    }

    /// Several refusals in a row without a culprit are a matter of configuration, not of rows.
    fn suspect(&self, destination: &StoredDestination, answer: Answer) -> Answer {
        let mut state = self.state();
        let streak = state.unlocated.entry(destination.id).or_default();
        match &answer.default {
            Outcome::Unlocated(why) => {
                *streak += 1;
                if *streak >= SUSPICIOUS_STREAK {
                    // Whoever releases it has looked; without a fresh count the next refusal would hold it again, for ever.
                    *streak = 0;
                    let hold = Outcome::Hold(HoldScope::Destination, why.clone());
                    return Answer { default: hold, rows: Vec::new(), ..answer };
                }
            }
            Outcome::Accepted | Outcome::Pending => *streak = 0,
            _ => {}
        }
        answer
    }

    /// The new states of rows, equal ones together.
    pub(super) fn judge(&self, rows: &[Judged], answer: &Answer, limits: &Limits) -> Vec<Settled> {
        let own: HashMap<usize, &Outcome> = answer.rows.iter().map(|(position, outcome)| (*position, outcome)).collect();
        let policy = Policy { dedupe_window: limits.dedupe_window, ..self.settings.policy };
        // One number for all, so that rows which failed together stay together.
        let (random, now_ms) = (self.random(), self.now_ms());
        let mut groups: HashMap<(Next, i64), Vec<DeliveryId>> = HashMap::new();
        let mut split = Vec::new();
        for (position, row) in rows.iter().enumerate() {
            let outcome = own.get(&position).copied().unwrap_or(&answer.default);
            match outcome {
                Outcome::Unlocated(why) if rows.len() == 1 => {
                    let next = delivery::settle(row.progress, &Outcome::Rejected(why.clone()), &policy, now_ms, random);
                    groups.entry((next, 0)).or_default().push(row.id);
                }
                Outcome::Unlocated(_) => split.push((row.id, delivery::settle(row.progress, outcome, &policy, now_ms, random))),
                _ => {
                    let next = delivery::settle(row.progress, outcome, &policy, now_ms, random);
                    // A release must not undo the splitting so far.
                    let keeps = next.state.is_claimable() || next.state == delivery::State::Held;
                    let part = if keeps { row.part } else { 0 };
                    groups.entry((next, part)).or_default().push(row.id);
                }
            }
        }
        let mut settled: Vec<_> = groups.into_iter().map(|((next, part), deliveries)| Settled { next, part, deliveries }).collect();
        settled.sort_by_key(|s| s.deliveries.first().copied());
        settled.extend(self.parts(&split));
        settled
    }

    /// Rows to be sent again in about √n parts of their own.
    pub(super) fn parts(&self, rows: &[(DeliveryId, Next)]) -> Vec<Settled> {
        let size = (1..=rows.len()).take_while(|n| n * n <= rows.len()).last().unwrap_or(1);
        let mut parts = Vec::new();
        // Parts are sent in the order of their numbers, which no other worker's parts have.
        let first = self.number() & !0xffff;
        for (part, chunk) in (first..).zip(rows.chunks(size)) {
            let mut by_next: HashMap<&Next, Vec<DeliveryId>> = HashMap::new();
            chunk.iter().for_each(|(id, next)| by_next.entry(next).or_default().push(*id));
            let from = parts.len();
            parts.extend(by_next.into_iter().map(|(next, deliveries)| Settled { next: next.clone(), part, deliveries }));
            parts[from..].sort_by_key(|s: &Settled| s.deliveries.first().copied());
        }
        parts
    }
}

/// An answer whose verdict can be asked for: without the request's id nobody ever could, and its rows would wait for ever.
fn answerable(answer: Answer) -> Answer {
    if answer.request_id.is_some() {
        return answer;
    }
    let lost = |outcome| match outcome {
        Outcome::Pending => Outcome::Unknown(Why::new("NO_REQUEST_ID", "taken without an id to ask for its verdict by")),
        other => other,
    };
    let rows = answer.rows.into_iter().map(|(position, outcome)| (position, lost(outcome))).collect();
    Answer { default: lost(answer.default), rows, ..answer }
}

/// Holds that reach further than their rows, each once.
pub(super) fn wide_holds(settled: &[Settled]) -> Vec<(HoldScope, Why)> {
    let mut holds: Vec<(HoldScope, Why)> = Vec::new();
    for next in settled.iter().map(|s| &s.next) {
        if let (Some(scope), Some(why)) = (next.hold, &next.why)
            && scope != HoldScope::Row
            && holds.iter().all(|(known, _)| *known != scope)
        {
            holds.push((scope, why.clone()));
        }
    }
    holds
}

/// Why no row has a verdict of its own: the reasons and how many rows have each.
pub(super) fn describe(counts: &[(u64, Outcome)]) -> Why {
    let text: Vec<String> = counts.iter().filter_map(|(n, outcome)| outcome.why().map(|why| format!("{n} {}", why.code))).collect();
    Why::new("VERDICT_NOT_BY_ROW", &format!("the platform does not say which rows: {}", text.join(", ")))
}
