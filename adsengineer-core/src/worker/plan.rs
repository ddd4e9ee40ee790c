//! From claimed rows to requests: what cannot go is settled here, the rest is grouped.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    delivery::{Next, Progress, State, millis},
    destination::{Event, Limits},
    outcome::{HoldScope, Why},
    store::{Claimed, Hold, StoredDestination},
    worker::Connector,
};

/// Rows of one request.
pub(super) struct Batch {
    pub(super) action_id: Arc<str>,
    pub(super) rows: Vec<Claimed>,
    pub(super) events: Vec<Event>,
}

/// What to do with claimed rows.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) batches: Vec<Batch>,
    /// Rows that are not sent, and the state they enter instead.
    pub(super) unsent: Vec<(Next, Claimed)>,
}

/// Rows with their events.
type Rows = Vec<(Claimed, Event)>;

/// Plans `claimed` rows of `destination`.
pub(super) fn plan(
    destination: &StoredDestination,
    claimed: Vec<Claimed>,
    limits: &Limits,
    connector: &dyn Connector,
    now_ms: i64,
) -> Plan {
    let mut plan = Plan::default();
    let mut groups: BTreeMap<(Arc<str>, i64), Rows> = BTreeMap::new();
    for row in claimed {
        match event(destination, &row, limits, connector, now_ms) {
            Ok(event) => groups.entry((row.action_id.clone(), row.part)).or_default().push((row, event)),
            Err(next) => plan.unsent.push((*next, row)),
        }
    }
    for ((action_id, _), rows) in groups {
        plan.batches.extend(batches(&action_id, rows, limits.batch));
    }
    plan
}

/// Splits rows of one action so that no batch is too large or has a transaction id twice.
fn batches(action_id: &Arc<str>, rows: Rows, limit: usize) -> Vec<Batch> {
    let mut batches: Vec<(Batch, HashSet<Arc<str>>)> = Vec::new();
    let mut twice: HashMap<Arc<str>, usize> = HashMap::new();
    let mut open = 0;
    for (row, event) in rows {
        let nth = twice.entry(event.transaction_id.clone()).and_modify(|n| *n += 1).or_insert(0);
        let wanted = if *nth == 0 { open } else { open + *nth };
        while batches.len() <= wanted {
            batches.push((Batch { action_id: action_id.clone(), rows: Vec::new(), events: Vec::new() }, HashSet::new()));
        }
        let fits = |(batch, seen): &(Batch, HashSet<Arc<str>>)| batch.rows.len() < limit.max(1) && !seen.contains(&event.transaction_id);
        let slot = (wanted..batches.len()).find(|i| fits(&batches[*i]));
        let slot = slot.unwrap_or_else(|| {
            batches.push((Batch { action_id: action_id.clone(), rows: Vec::new(), events: Vec::new() }, HashSet::new()));
            batches.len() - 1
        });
        let (batch, seen) = &mut batches[slot];
        seen.insert(event.transaction_id.clone());
        batch.rows.push(row);
        batch.events.push(event);
        if batches[open].0.rows.len() >= limit.max(1) {
            open += 1;
        }
    }
    batches.into_iter().map(|(batch, _)| batch).filter(|batch| !batch.rows.is_empty()).collect()
}

/// The event of a row, or the state that the row enters because it may not be sent.
fn event(
    destination: &StoredDestination,
    row: &Claimed,
    limits: &Limits,
    connector: &dyn Connector,
    now_ms: i64,
) -> Result<Event, Box<Next>> {
    let enter = |state, why, hold| Box::new(Next { state, due_ms: None, attempts: row.attempts, round: row.round, why: Some(why), hold });
    let permit = row.consent.permit().map_err(|e| enter(State::Suppressed, Why::new("CONSENT_REQUIRED", &e.to_string()), None))?;
    if deadline_ms(row.occurred_at, limits) < now_ms {
        let days = limits.event_window.as_secs() / 86_400;
        return Err(enter(State::Dead, Why::new("EVENT_TOO_OLD", &format!("the conversion is older than {days} days")), None));
    }
    if let Some(hold) = destination.health.held_actions.get(&row.action_id) {
        return Err(enter(State::Held, hold.why.clone(), Some(HoldScope::Action)));
    }
    let identifiers = match &row.identifiers {
        Some(sealed) => connector.identifiers(&row.org, sealed).map_err(|why| enter(State::Held, why, Some(HoldScope::Row)))?,
        None => crate::identity::Identifiers::default(),
    };
    Ok(Event {
        delivery: row.id,
        permit,
        transaction_id: row.transaction_id.clone(),
        occurred_at: row.occurred_at,
        value: row.value,
        click_id: row.click_id.clone(),
        identifiers,
    })
}

/// The latest time at which the platform takes an event, in Unix milliseconds.
pub(super) fn deadline_ms(occurred_at: i64, limits: &Limits) -> i64 {
    occurred_at.saturating_mul(1000).saturating_add(millis(limits.event_window))
}

/// What the life cycle needs to know of a claimed row.
pub(super) fn progress(row: &Claimed, limits: &Limits) -> Progress {
    Progress {
        attempts: row.attempts,
        sent_before: row.first_sent_ms.is_some(),
        first_sent_ms: row.first_sent_ms,
        round: row.round,
        deadline_ms: deadline_ms(row.occurred_at, limits),
    }
}

/// The hold of a whole destination as the state of one of its rows.
pub(super) fn held(hold: &Hold) -> (HoldScope, Why) {
    (hold.scope, hold.why.clone())
}
