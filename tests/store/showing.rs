//! Cases of what is shown, and to whom.

use adsengineer_core::{
    audit,
    conversion::{KeySubject, NaturalKey},
    delivery::{Next, State},
    id::ConversionId,
    outcome::HoldScope,
    store::{Captured, ConversionQuery, DeadLetterQuery, Intake, NewConversion, Reconciliation, Repair, RepairAction, Write},
};

use crate::fixture::{Fixture, NOW, add_destination, audit_key, money, next, one, org, person, why};

async fn list(f: &Fixture, query: ConversionQuery) -> (Vec<String>, Option<String>) {
    let page = f.store.conversions(&f.org, &query).await.unwrap();
    (page.items.into_iter().filter_map(|c| c.order_id).collect(), page.next_cursor)
}

pub async fn pages_follow_each_other_in_both_directions(f: Fixture) {
    f.accept(vec![f.sale("1"), f.sale("2")]).await;
    f.accept(vec![f.sale("3"), f.sale("4"), f.sale("5")]).await;
    for (descending, expected) in [(false, ["1", "2", "3", "4", "5"]), (true, ["5", "4", "3", "2", "1"])] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let query = ConversionQuery { descending, limit: 2, cursor, ..ConversionQuery::default() };
            let (page, next) = list(&f, query).await;
            seen.extend(page);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
}

pub async fn lists_are_filtered_by_state_order_id_and_change(f: Fixture) {
    f.sell(&["1", "2"]).await;
    let rows = f.kill(1).await;
    f.sell(&["3"]).await;
    let all = ConversionQuery::default();
    assert_eq!(list(&f, ConversionQuery { state: Some(State::Dead), ..all.clone() }).await.0, ["1", "2"]);
    assert_eq!(list(&f, ConversionQuery { order_id: Some("2".into()), ..all.clone() }).await.0, ["2"]);
    let key = NaturalKey::of(&f.org, "Lead", KeySubject::Order("2"), 0);
    f.accept(vec![NewConversion { key, deliveries: Vec::new(), ..f.sale("2") }]).await;
    let twice = ConversionQuery { order_id: Some("2".into()), limit: 1, ..all.clone() };
    let (first, cursor) = list(&f, twice.clone()).await;
    assert_eq!((first, cursor.is_some()), (vec!["2".to_owned()], true));
    assert_eq!(list(&f, ConversionQuery { cursor, ..twice.clone() }).await, (vec!["2".to_owned()], None));
    assert_eq!(list(&f, ConversionQuery { state: Some(State::Dead), descending: true, ..twice.clone() }).await.0, ["2"]);
    assert!(list(&f, ConversionQuery { state: Some(State::Queued), ..twice }).await.0.is_empty());
    assert!(list(&f, ConversionQuery { order_id: Some("4".into()), ..all.clone() }).await.0.is_empty());
    let replay = Repair {
        org: f.org.clone(),
        deliveries: vec![rows[1]],
        action: RepairAction::Replay { every_ms: 0 },
        note: None,
        now_ms: NOW + 500,
    };
    one(&*f.store, Write::Repair(replay)).await.unwrap();
    assert_eq!(list(&f, ConversionQuery { updated_since_ms: Some(NOW + 500), ..all.clone() }).await.0, ["2"]);
    assert_eq!(list(&f, ConversionQuery { updated_since_ms: Some(NOW), ..all }).await.0.len(), 4);
}

pub async fn the_status_counts_states_holds_and_value_at_risk(f: Fixture) {
    f.sell(&["1", "2"]).await;
    let (_, rows) = f.send(1).await;
    f.settle(1, &rows[..1], next(State::Delivered)).await;
    f.settle(1, &rows[1..], Next { why: Some(why("REFUSED")), ..next(State::Dead) }).await;
    f.accept(vec![NewConversion { value: money("0.5"), ..f.sale("3") }]).await;
    let status = &f.store.status(&f.org, NOW + 7).await.unwrap()[0];
    let expected = [(State::Queued, 1), (State::Delivered, 1), (State::Dead, 1)];
    assert_eq!(status.states.clone().into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(status.value_at_risk.clone().into_iter().collect::<Vec<_>>(), [("EUR".to_owned(), "10.50".to_owned())]);
    assert_eq!((status.next_due_ms, status.oldest_due_ms, status.next_poll_ms), (Some(NOW), Some(7), None));
}

pub async fn the_sum_closes(f: Fixture) {
    let second = add_destination(&*f.store, &f.org, "second").await;
    let sales = vec![f.sale_to("1", &[f.destination, second]), f.sale("2"), f.sale("2")];
    f.accept_intake(Intake { rows: 6, refused: 2, denied: 1, ..f.intake(sales) }).await;
    f.kill(1).await;
    let dearer = NewConversion { value: money("20"), ..f.sale_to("1", &[f.destination, second]) };
    f.accept_intake(Intake { restate: true, ..f.intake(vec![dearer, f.sale("2")]) }).await;
    let sum = f.store.reconciliation(&f.org).await.unwrap();
    assert!(sum.closes());
    assert_eq!((sum.rows, sum.refused, sum.denied, sum.duplicates, sum.conversions, sum.captured), (8, 2, 1, 2, 2, 5));
    assert_eq!(sum.states.values().sum::<u64>(), 5);
    let lost = Reconciliation { captured: 6, ..sum };
    assert!(!lost.closes(), "a delivery that is missing must show");
}

pub async fn tenants_are_walls(f: Fixture) {
    let (rows, other) = (f.sell(&["1"]).await, org("other"));
    f.kill(1).await;
    let id = f.store.conversion_of(&f.org, rows[0]).await.unwrap().unwrap();
    assert_eq!(f.store.conversion(&other, id).await.unwrap(), None);
    assert_eq!(f.store.conversion_of(&other, rows[0]).await.unwrap(), None);
    assert!(f.store.conversions(&other, &ConversionQuery::default()).await.unwrap().items.is_empty());
    assert!(f.store.dead_letters(&other, &DeadLetterQuery::default()).await.unwrap().items.is_empty());
    assert!(f.store.destinations(&other).await.unwrap().is_empty());
    assert!(f.store.status(&other, NOW).await.unwrap().is_empty());
    assert!(f.store.uploads(&other, 10).await.unwrap().is_empty());
    assert_eq!(f.store.reconciliation(&other).await.unwrap(), Reconciliation::default());
    f.changed(Write::Suppress { org: other, persons: vec![person("1")], now_ms: NOW }).await;
    assert_eq!(f.state(rows[0]).await, State::Dead);
}

pub async fn the_audit_log_holds_and_names_acts_not_people(f: Fixture) {
    f.sell(&["ada"]).await;
    f.send(1).await;
    let hold = Write::Hold { destination: f.destination, action_id: None, scope: HoldScope::Destination, why: why("X"), now_ms: NOW };
    f.changed(hold).await;
    f.changed(Write::Release { org: f.org.clone(), destination: f.destination, reviewed: false, now_ms: NOW }).await;
    let links = f.store.audit(0, 100).await.unwrap();
    assert_eq!(audit::verify(&audit_key(), &links), Ok(()));
    let entries: Vec<_> = links.iter().flat_map(|l| &l.entries).collect();
    let actions: Vec<_> = entries.iter().map(|e| &*e.action).collect();
    assert_eq!(actions, ["destination.put", "conversions.accepted", "destination.held", "destination.released"]);
    assert!(!format!("{entries:?}").contains("ada"));
    assert_eq!(f.store.audit(links[0].seq, 1).await.unwrap(), links[1..2]);
}

pub async fn dead_letters_are_filtered_and_show_their_history(f: Fixture) {
    f.sell(&["1", "2", "3"]).await;
    let rows = f.kill(1).await;
    let query = DeadLetterQuery { limit: 2, ..DeadLetterQuery::default() };
    let first = f.store.dead_letters(&f.org, &query).await.unwrap();
    let rest = f.store.dead_letters(&f.org, &DeadLetterQuery { cursor: first.next_cursor, ..query }).await.unwrap();
    let seen: Vec<_> = first.items.iter().chain(&rest.items).map(|d| d.delivery.id).collect();
    assert_eq!((seen, rest.next_cursor), (rows, None));
    let letter = &rest.items[0];
    assert_eq!(
        (letter.delivery.reason.as_deref(), letter.died_at.as_millisecond(), letter.may_duplicate),
        (Some("REFUSED"), NOW + 2, false)
    );
    let found = async |query| f.store.dead_letters(&f.org, &query).await.unwrap().items.len();
    let all = DeadLetterQuery::default;
    assert_eq!(found(DeadLetterQuery { reason: Some("OTHER".into()), ..all() }).await, 0);
    assert_eq!(found(DeadLetterQuery { reason: Some("REFUSED".into()), destination: Some("google".into()), ..all() }).await, 3);
    assert_eq!(found(DeadLetterQuery { destination: Some("x".into()), ..all() }).await, 0);
    assert_eq!(found(DeadLetterQuery { since_ms: Some(NOW + 3), ..all() }).await, 0);
    assert_eq!(found(DeadLetterQuery { until_ms: Some(NOW + 2), ..all() }).await, 0);
    assert!(matches!(f.accept(vec![f.sale("1")]).await[0], Captured::Known { conversion: ConversionId(_), added: 0 }));
}
