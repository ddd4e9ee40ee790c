//! From claimed rows to requests: what cannot go is settled here, the rest is grouped.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    delivery::{Next, Progress, State, millis},
    destination::{Event, Limits},
    outcome::{HoldScope, Why},
    store::{Claimed, StoredDestination},
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        consent::{AdConsent, ConsentState},
        destination::Destination,
        id::{ConversionId, DeliveryId, DestinationId},
        identity::Identifiers,
        org::OrgId,
        outcome::Outcome,
        store::Health,
    };

    const NOW: i64 = 1_795_000_000_000;
    const DAY_MS: i64 = 86_400_000;

    /// Opens what is not empty.
    struct Opens;

    #[async_trait::async_trait]
    impl Connector for Opens {
        async fn connect(&self, _destination: &StoredDestination) -> Result<Arc<dyn Destination>, Outcome> {
            Err(Outcome::Accepted)
        }

        fn identifiers(&self, _org: &OrgId, sealed: &[u8]) -> Result<Identifiers, Why> {
            if sealed.is_empty() { Err(Why::new("UNREADABLE", "")) } else { Ok(Identifiers::default()) }
        }

        fn quota(&self, _destination: &StoredDestination) -> Arc<str> {
            "project".into()
        }
    }

    fn place() -> StoredDestination {
        let spec = serde_json::from_str(r#"{"kind":"google","customer_id":"1234567890"}"#).unwrap();
        let org = "acme".parse().unwrap();
        StoredDestination { id: DestinationId(1), org, name: "google".into(), spec, credentials: None, health: Health::default() }
    }

    fn row(id: i64, transaction_id: &str) -> Claimed {
        Claimed {
            id: DeliveryId(id),
            conversion: ConversionId(id),
            revision: 1,
            org: "acme".parse().unwrap(),
            action_id: "77".into(),
            transaction_id: transaction_id.into(),
            attempts: 2,
            first_sent_ms: None,
            round: 1,
            part: 0,
            event_hash: None,
            occurred_at: NOW / 1000,
            value: None,
            click_id: None,
            consent: AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None },
            identifiers: None,
        }
    }

    fn limits(batch: usize) -> Limits {
        Limits { batch, dedupe_window: None, event_window: Duration::from_secs(90 * 86_400) }
    }

    /// Ids by batch, and the rows not sent: state, code and how much is held.
    type Planned = (Vec<Vec<i64>>, Vec<(State, String, Option<HoldScope>)>);

    fn planned(place: &StoredDestination, rows: Vec<Claimed>, batch: usize) -> Planned {
        let plan = plan(place, rows, &limits(batch), &Opens, NOW);
        for batch in &plan.batches {
            assert!(batch.rows.iter().map(|row| row.id).eq(batch.events.iter().map(|event| event.delivery)));
        }
        let unsent = plan.unsent.into_iter().map(|(next, _)| (next.state, next.why.unwrap().code.to_string(), next.hold));
        (plan.batches.iter().map(|batch| batch.rows.iter().map(|row| row.id.0).collect()).collect(), unsent.collect())
    }

    fn unsent(place: &StoredDestination, row: Claimed) -> (State, String, Option<HoldScope>) {
        let (batches, mut unsent) = planned(place, vec![row], 10);
        assert!(batches.is_empty());
        unsent.remove(0)
    }

    #[test]
    fn without_consent_nothing_is_sent() {
        for consent in [None, Some(ConsentState::Denied), Some(ConsentState::Withdrawn)] {
            let refused = Claimed { consent: AdConsent { ad_user_data: consent, ad_personalization: None }, ..row(1, "a") };
            assert_eq!(unsent(&place(), refused), (State::Suppressed, "CONSENT_REQUIRED".to_owned(), None));
        }
    }

    #[test]
    fn an_event_is_sent_up_to_the_last_moment_of_its_window() {
        let at = |ms: i64| Claimed { occurred_at: (NOW - 90 * DAY_MS + ms) / 1000, ..row(1, "a") };
        assert_eq!(planned(&place(), vec![at(0)], 10).0, [[1]]);
        assert_eq!(unsent(&place(), at(-1000)), (State::Dead, "EVENT_TOO_OLD".to_owned(), None));
    }

    #[test]
    fn rows_of_a_held_action_are_held_and_others_go() {
        let mut place = place();
        let hold = crate::store::Hold { scope: HoldScope::Action, why: Why::new("NO_SUCH_ACTION", ""), since_ms: NOW };
        place.health.held_actions.insert("77".into(), hold);
        let other = Claimed { action_id: "78".into(), ..row(2, "b") };
        let (batches, unsent) = planned(&place, vec![row(1, "a"), other], 10);
        assert_eq!(batches, [[2]]);
        assert_eq!(unsent, [(State::Held, "NO_SUCH_ACTION".to_owned(), Some(HoldScope::Action))]);
    }

    #[test]
    fn a_row_whose_identifiers_cannot_be_opened_is_held_alone() {
        let sealed = |bytes: &[u8], id| Claimed { identifiers: Some(bytes.into()), ..row(id, "a") };
        assert_eq!(unsent(&place(), sealed(b"", 1)), (State::Held, "UNREADABLE".to_owned(), Some(HoldScope::Row)));
        assert_eq!(planned(&place(), vec![sealed(b"x", 1)], 10).0, [[1]]);
    }

    #[test]
    fn a_request_has_one_action_and_one_part() {
        let rows = vec![
            row(1, "a"),
            Claimed { action_id: "78".into(), ..row(2, "b") },
            Claimed { part: 5, ..row(3, "c") },
            row(4, "d"),
            Claimed { part: 5, ..row(5, "e") },
        ];
        assert_eq!(planned(&place(), rows, 10).0, [vec![1, 4], vec![3, 5], vec![2]]);
    }

    #[test]
    fn a_request_is_not_larger_than_the_platform_takes() {
        let rows: Vec<_> = (0..7).map(|id| row(id, &id.to_string())).collect();
        assert_eq!(planned(&place(), rows.clone(), 3).0, [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        assert_eq!(planned(&place(), rows, 0).0.len(), 7);
    }

    #[test]
    fn a_transaction_id_is_in_a_request_once_and_its_rows_keep_their_order() {
        let rows = vec![row(1, "a"), row(2, "a"), row(3, "b"), row(4, "a"), row(5, "b"), row(6, "c")];
        assert_eq!(planned(&place(), rows.clone(), 10).0, [vec![1, 3, 6], vec![2, 5], vec![4]]);
        assert_eq!(planned(&place(), rows, 1).0.concat().len(), 6);
    }

    #[test]
    fn progress_tells_what_was_sent_before() {
        let before = Claimed { first_sent_ms: Some(NOW - 5), ..row(1, "a") };
        let progress = progress(&before, &limits(1));
        assert_eq!((progress.attempts, progress.round, progress.sent_before), (2, 1, true));
        assert_eq!((progress.first_sent_ms, progress.deadline_ms), (Some(NOW - 5), NOW + 90 * DAY_MS));
        assert!(!super::progress(&row(1, "a"), &limits(1)).sent_before);
    }
}
