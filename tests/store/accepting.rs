//! Cases of taking conversions in.

use adsengineer_core::{
    click_id::{ClickId, ClickIdKind},
    delivery::State,
    id::ConversionId,
    store::{Adjust, Captured, Done, Intake, NewConversion, Repair, RepairAction, Repaired, StoreError, Write},
};

use crate::fixture::{Fixture, NOW, add_destination, money, next, one, org, person};

fn new_id(captured: &Captured) -> ConversionId {
    match captured {
        Captured::New(id) => *id,
        other => panic!("{other:?}"),
    }
}

fn adjusted(f: &Fixture, order: &str, value: &str, at: i64) -> NewConversion {
    NewConversion { value: money(value), adjustment: Some(Adjust { at, retract: false }), ..f.sale(order) }
}

async fn value_of(f: &Fixture, id: ConversionId) -> Option<String> {
    f.store.conversion(&f.org, id).await.unwrap().unwrap().value
}

async fn states(f: &Fixture, id: ConversionId) -> Vec<(u32, State)> {
    let view = f.store.conversion(&f.org, id).await.unwrap().unwrap();
    view.deliveries.iter().map(|d| (d.revision, d.state)).collect()
}

pub async fn the_same_conversion_is_captured_once(f: Fixture) {
    let captured = f.accept(vec![f.sale("1"), f.sale("2"), f.sale("1")]).await;
    let id = new_id(&captured[0]);
    assert_eq!(captured[2], Captured::Known { conversion: id, added: 0 });
    assert_eq!(f.accept(vec![f.sale("1")]).await, [Captured::Known { conversion: id, added: 0 }]);
    assert_eq!(f.claim(1, NOW).await.len(), 2);
}

pub async fn other_content_is_reported_and_changes_nothing(f: Fixture) {
    let id = new_id(&f.accept(vec![f.sale("1")]).await[0]);
    let dearer = NewConversion { value: money("20"), ..f.sale("1") };
    let later = NewConversion { occurred_at: NOW / 1000, ..f.sale("1") };
    let captured = f.accept(vec![dearer, later]).await;
    let different = |field: &'static str| Captured::Different { conversion: id, value: money("10"), field: field.into() };
    assert_eq!(captured, [different("value"), different("occurred_at")]);
    assert_eq!(value_of(&f, id).await.as_deref(), Some("10.00"));
}

pub async fn a_restatement_becomes_a_revision_and_supersedes_what_was_not_sent(f: Fixture) {
    let id = new_id(&f.accept(vec![f.sale("1")]).await[0]);
    let dearer = NewConversion { value: money("20"), ..f.sale("1") };
    let intake = Intake { restate: true, ..f.intake(vec![dearer]) };
    assert_eq!(f.accept_intake(intake.clone()).await, [Captured::Restated { conversion: id, revision: 2 }]);
    assert_eq!(f.accept_intake(intake).await, [Captured::Known { conversion: id, added: 0 }]);
    assert_eq!(states(&f, id).await, [(1, State::Superseded), (2, State::Queued)]);
    let claimed = f.claim(1, NOW).await;
    assert_eq!(claimed.iter().map(|c| (c.revision, c.value, &*c.transaction_id)).collect::<Vec<_>>(), [(2, money("20"), "1")]);
}

pub async fn a_restatement_with_another_click_is_refused(f: Fixture) {
    let click = |id: &str| Some(ClickId::new(ClickIdKind::Gclid, id).unwrap());
    let sale = |value, click_id| NewConversion { value: money(value), click_id, ..f.sale("1") };
    let id = new_id(&f.accept(vec![sale("10", click("Cj0_one"))]).await[0]);
    let restate = async |sale, at| f.accept_intake(Intake { restate: true, now_ms: NOW + at, ..f.intake(vec![sale]) }).await;
    let different = Captured::Different { conversion: id, value: money("10"), field: "click_id" };
    assert_eq!(restate(sale("20", click("Cj0_two")), 1000).await, [different]);
    assert_eq!(value_of(&f, id).await.as_deref(), Some("10.00"));
    assert_eq!(restate(sale("20", None), 2000).await, [Captured::Restated { conversion: id, revision: 2 }], "a row may leave it out");
    assert_eq!(restate(sale("30", click("Cj0_one")), 3000).await, [Captured::Restated { conversion: id, revision: 3 }]);
}

pub async fn restating_back_to_the_first_value_is_a_restatement_too(f: Fixture) {
    let id = new_id(&f.accept(vec![f.sale("1")]).await[0]);
    for (value, revision, at) in [("20", 2, 0), ("10", 3, 5000)] {
        let sale = NewConversion { value: money(value), ..f.sale("1") };
        let intake = Intake { restate: true, now_ms: NOW + at, ..f.intake(vec![sale]) };
        assert_eq!(f.accept_intake(intake).await, [Captured::Restated { conversion: id, revision }]);
    }
    assert_eq!(value_of(&f, id).await.as_deref(), Some("10.00"));
}

pub async fn adjustments_count_by_their_time_in_any_order(f: Fixture) {
    let id = new_id(&f.accept(vec![f.sale("1")]).await[0]);
    let at = NOW / 1000;
    let captured = f.accept(vec![adjusted(&f, "1", "5", at + 20), adjusted(&f, "1", "7", at + 10), adjusted(&f, "1", "5", at + 20)]).await;
    let known = Captured::Known { conversion: id, added: 0 };
    assert_eq!(captured, [Captured::Restated { conversion: id, revision: 2 }, known.clone(), known]);
    assert_eq!(value_of(&f, id).await.as_deref(), Some("5.00"));
}

pub async fn an_adjustment_needs_its_original(f: Fixture) {
    assert_eq!(f.accept(vec![adjusted(&f, "1", "5", 1)]).await, [Captured::OriginalMissing]);
}

pub async fn a_retraction_is_zero_in_the_same_currency(f: Fixture) {
    let id = new_id(&f.accept(vec![f.sale("1")]).await[0]);
    let retraction = NewConversion { value: None, adjustment: Some(Adjust { at: NOW / 1000, retract: true }), ..f.sale("1") };
    f.accept(vec![retraction]).await;
    assert_eq!(f.claim(1, NOW).await[0].value, money("0"));
    assert_eq!(value_of(&f, id).await.as_deref(), Some("0.00"));
}

pub async fn a_revision_waits_for_an_older_one_that_was_sent(f: Fixture) {
    let id = new_id(&f.accept(vec![f.sale("1")]).await[0]);
    let (_, rows) = f.send(1).await;
    f.accept(vec![adjusted(&f, "1", "5", NOW / 1000)]).await;
    assert!(f.claim(2, NOW).await.is_empty());
    assert_eq!(f.settle(1, &rows, next(State::Delivered)).await, 1);
    let claimed = f.claim(3, NOW + 60_000).await;
    assert_eq!(claimed.iter().map(|c| c.revision).collect::<Vec<_>>(), [2]);
    assert_eq!(states(&f, id).await, [(1, State::Delivered), (2, State::InFlight)]);
}

pub async fn a_dead_letter_gives_way_to_a_newer_revision(f: Fixture) {
    let id = new_id(&f.accept(vec![f.sale("1")]).await[0]);
    f.kill(1).await;
    f.accept(vec![adjusted(&f, "1", "5", NOW / 1000)]).await;
    assert_eq!(states(&f, id).await, [(1, State::Superseded), (2, State::Queued)]);
    assert_eq!(f.claim(2, NOW).await.len(), 1);
}

pub async fn a_dead_letter_whose_newer_revision_goes_on_is_not_sent_again(f: Fixture) {
    let id = new_id(&f.accept(vec![f.sale("1")]).await[0]);
    let (_, rows) = f.send(1).await;
    f.accept(vec![adjusted(&f, "1", "5", NOW / 1000)]).await;
    f.settle(1, &rows, next(State::Dead)).await;
    assert_eq!(states(&f, id).await, [(1, State::Dead), (2, State::Queued)]);
    let action = RepairAction::Replay { every_ms: 0 };
    let repair = Repair { org: f.org.clone(), deliveries: rows, action, note: None, now_ms: NOW };
    assert_eq!(one(&*f.store, Write::Repair(repair)).await, Ok(Done::Repaired(vec![Repaired::NotDead])));
    assert_eq!(states(&f, id).await, [(1, State::Superseded), (2, State::Queued)]);
}

pub async fn a_transaction_id_has_one_owner(f: Fixture) {
    let first = f.sale("1");
    let thief = NewConversion { deliveries: first.deliveries.clone(), ..f.sale("2") };
    let captured = f.accept(vec![first, thief.clone()]).await;
    assert_eq!(captured[1], Captured::OrderIdTaken { owner: new_id(&captured[0]) });
    assert_eq!(f.accept(vec![thief]).await, captured[1..]);
    assert_eq!(f.claim(1, NOW).await.len(), 1);
}

pub async fn a_further_destination_gets_a_delivery_and_the_others_none(f: Fixture) {
    let id = new_id(&f.accept(vec![f.sale("1")]).await[0]);
    let second = add_destination(&*f.store, &f.org, "second").await;
    let both = f.sale_to("1", &[f.destination, second]);
    assert_eq!(f.accept(vec![both.clone()]).await, [Captured::Known { conversion: id, added: 1 }]);
    assert_eq!(f.accept(vec![both]).await, [Captured::Known { conversion: id, added: 0 }]);
    assert_eq!(states(&f, id).await, [(1, State::Queued), (1, State::Queued)]);
}

pub async fn suppressed_people_are_not_captured(f: Fixture) {
    let suppress = |name: &str| Write::Suppress { org: f.org.clone(), persons: vec![person(name)], now_ms: NOW };
    assert_eq!(f.changed(suppress("1")).await, 0);
    let captured = f.accept(vec![f.sale("1"), f.sale("2")]).await;
    assert_eq!(captured[0], Captured::Suppressed);
    assert!(matches!(captured[1], Captured::New(_)));
}

pub async fn adjustments_of_suppressed_people_are_not_sent(f: Fixture) {
    let (_, rows) = {
        f.accept(vec![f.sale("1")]).await;
        f.send(1).await
    };
    f.settle(1, &rows, next(State::Delivered)).await;
    f.changed(Write::Suppress { org: f.org.clone(), persons: vec![person("1")], now_ms: NOW }).await;
    let nameless = NewConversion { persons: Vec::new(), ..adjusted(&f, "1", "5", NOW / 1000) };
    assert_eq!(f.accept(vec![nameless]).await, [Captured::Suppressed]);
    assert!(f.claim(2, NOW + 60_000).await.is_empty());
}

pub async fn another_organizations_destination_is_refused_whole(f: Fixture) {
    let intake = Intake { org: org("other"), ..f.intake(vec![f.sale("1")]) };
    assert!(matches!(one(&*f.store, Write::Accept(intake)).await, Err(StoreError::NotFound(_))));
    assert!(f.claim(1, NOW).await.is_empty());
    assert_eq!(f.store.organizations().await.unwrap(), [f.org]);
}
