//! Cases of the queue: claims, leases, uploads, verdicts, holds, repair, recovery.

use adsengineer_core::{
    delivery::{Next, State},
    destination::DestinationSpec,
    outcome::HoldScope,
    rate_limit::Quota,
    store::{
        Begin, Begun, Captured, CredentialsChange, Done, Guard, Lease, PutDestination, Repair, RepairAction, Repaired, Settle, StoreError,
        UploadResult, WorkerId, Write,
    },
};

use crate::fixture::{Fixture, NOW, add_destination, lease, next, one, org, person, put, spec, why};

pub async fn the_earliest_due_rows_are_claimed_first_up_to_the_limit(f: Fixture) {
    let mut sales = vec![f.sale("1"), f.sale("2"), f.sale("3"), f.sale("4")];
    for (sale, due) in sales.iter_mut().zip([0, -5, 1, -5]) {
        sale.deliveries[0].due_ms = NOW + due;
    }
    f.accept(sales).await;
    let claim = async |token, limit, now| {
        let claimed = f.store.claim(f.destination, limit, lease(token), now).await.unwrap();
        claimed.iter().map(|c| c.transaction_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(claim(1, 2, NOW).await, ["2", "4"]);
    assert_eq!(claim(2, 9, NOW).await, ["1"]);
    assert_eq!(claim(3, 9, NOW + 1).await, ["3"]);
}

pub async fn a_claimed_row_is_not_claimed_again(f: Fixture) {
    let rows = f.sell(&["1"]).await;
    assert_eq!(f.claim(1, NOW).await[0].id, rows[0]);
    assert!(f.claim(2, NOW + 1_000_000).await.is_empty());
}

pub async fn nothing_is_claimed_while_paused_disabled_or_removed(f: Fixture) {
    f.sell(&["1"]).await;
    f.settle_with(Settle { paused_until_ms: Some(NOW + 10), ..f.settled(Guard::Lease(lease(9)), &[], next(State::Held)) }).await;
    assert!(f.claim(1, NOW + 9).await.is_empty());
    let change = |enabled| {
        let spec = DestinationSpec { enabled, ..spec("1234567890") };
        Write::PutDestination(PutDestination { spec, credentials: CredentialsChange::Keep, ..put(&f.org, "google") })
    };
    one(&*f.store, change(false)).await.unwrap();
    assert!(f.claim(1, NOW + 10).await.is_empty());
    assert!(f.store.agenda(NOW).await.unwrap().is_empty());
    one(&*f.store, change(true)).await.unwrap();
    assert_eq!(f.store.agenda(NOW).await.unwrap()[0].next_due_ms, Some(NOW));
    assert_eq!(f.claim(1, NOW + 10).await.len(), 1);
}

pub async fn a_settle_with_a_lost_lease_changes_nothing(f: Fixture) {
    f.sell(&["1"]).await;
    let (_, rows) = f.send(1).await;
    assert_eq!(f.store.recover(&[], NOW + 60_000).await.unwrap(), 1);
    assert_eq!(f.settle(1, &rows, next(State::Delivered)).await, 0);
    assert_eq!(f.claim(2, NOW + 60_000).await.len(), 1);
    assert_eq!(f.settle(1, &rows, next(State::Delivered)).await, 0);
    assert_eq!(f.settle(2, &rows, next(State::Delivered)).await, 1);
    assert_eq!(f.settle(2, &rows, next(State::Dead)).await, 0);
}

pub async fn rows_that_are_queued_again_after_they_were_sent_are_counted_where_they_are(f: Fixture) {
    f.sell(&["1", "2"]).await;
    let (_, rows) = f.send(1).await;
    let queued = Next { due_ms: Some(NOW + 1), round: 1, ..next(State::Queued) };
    assert_eq!(f.settle(1, &rows, queued).await, 2);
    assert_eq!(f.claim(2, NOW + 1).await.len(), 2);
    let status = f.store.status(&f.org, NOW + 1).await.unwrap();
    assert_eq!(status[0].states.iter().collect::<Vec<_>>(), [(&State::InFlight, &2)]);
}

pub async fn begin_records_nothing_if_a_row_was_lost(f: Fixture) {
    let rows = f.sell(&["1", "2"]).await;
    f.claim(1, NOW).await;
    f.changed(Write::Suppress { org: f.org.clone(), persons: vec![person("1")], now_ms: NOW }).await;
    assert_eq!(f.begin(1, &rows).await, Begun::Lost(vec![rows[0]]));
    assert!(f.store.uploads(&f.org, 10).await.unwrap().is_empty());
    assert!(matches!(f.begin(1, &rows[1..]).await, Begun::Upload(_)));
    assert_eq!(f.store.uploads(&f.org, 10).await.unwrap()[0].sent_at.as_millisecond(), NOW + 1);
    assert_eq!(f.begin(2, &rows[1..]).await, Begun::Lost(rows[1..].to_vec()));
}

pub async fn recovery_queues_unsent_rows_and_retries_sent_ones(f: Fixture) {
    let rows = f.sell(&["1", "2"]).await;
    f.claim(1, NOW).await;
    f.begin(1, &rows[1..]).await;
    assert_eq!(f.store.recover(&[], NOW + 59_999).await.unwrap(), 0);
    assert_eq!(f.store.recover(&[], NOW + 60_000).await.unwrap(), 2);
    assert_eq!((f.state(rows[0]).await, f.state(rows[1]).await), (State::Queued, State::Retrying));
    let sent = f.delivery(rows[1]).await;
    assert_eq!((sent.reason.as_deref(), sent.history.len()), (Some("ANSWER_LOST"), 1));
    let again = f.claim(2, NOW + 60_000).await;
    let hashes: Vec<_> = again.iter().map(|c| (c.first_sent_ms, c.event_hash)).collect();
    assert_eq!(hashes, [(None, None), (Some(NOW + 1), Some(11))]);
}

pub async fn recovery_knows_gone_workers_and_leaves_others_alone(f: Fixture) {
    f.sell(&["1", "2"]).await;
    let claim = async |worker, token| {
        let lease = Lease { worker: WorkerId(worker), ..lease(token) };
        f.store.claim(f.destination, 1, lease, NOW).await.unwrap()[0].id
    };
    let (gone, alive) = (claim(1, 1).await, claim(2, 2).await);
    assert_eq!(f.store.workers().await.unwrap(), [WorkerId(1), WorkerId(2)]);
    assert_eq!(f.store.recover(&[WorkerId(1)], NOW).await.unwrap(), 1);
    assert_eq!((f.state(gone).await, f.state(alive).await), (State::Queued, State::InFlight));
    assert_eq!(f.store.workers().await.unwrap(), [WorkerId(2)]);
    let by_two = Guard::Lease(Lease { worker: WorkerId(2), ..lease(2) });
    f.settle_with(f.settled(by_two, &[alive], next(State::Delivered))).await;
    assert!(f.store.workers().await.unwrap().is_empty());
}

pub async fn a_hold_stops_what_waits_and_what_comes_and_release_lifts_it(f: Fixture) {
    let rows = f.sell(&["1"]).await;
    let hold =
        |code| Write::Hold { destination: f.destination, action_id: None, scope: HoldScope::Credentials, why: why(code), now_ms: NOW };
    assert_eq!(f.changed(hold("FIRST")).await, 1);
    assert_eq!(f.changed(hold("SECOND")).await, 0);
    f.sell(&["2"]).await;
    assert!(f.claim(1, NOW).await.is_empty());
    let status = f.store.status(&f.org, NOW).await.unwrap();
    assert_eq!(status[0].held.iter().map(|h| (&*h.why.code, h.count)).collect::<Vec<_>>(), [("FIRST", 2)]);
    let release = |org| Write::Release { org, destination: f.destination, reviewed: false, now_ms: NOW + 5 };
    assert!(matches!(one(&*f.store, release(org("other"))).await, Err(StoreError::NotFound(_))));
    assert_eq!(f.changed(release(f.org.clone())).await, 2);
    assert_eq!(f.delivery(rows[0]).await.reason, None);
    assert_eq!(f.claim(2, NOW + 5).await.len(), 2);
}

pub async fn rows_held_for_review_stay_until_somebody_has_reviewed_them(f: Fixture) {
    let rows = f.sell(&["1", "2"]).await;
    f.send(1).await;
    let held = |scope, code| Next { why: Some(why(code)), hold: Some(scope), ..next(State::Held) };
    f.settle(1, &rows[..1], held(HoldScope::Row, "NEVER_HEARD_OF")).await;
    f.settle(1, &rows[1..], held(HoldScope::Action, "ACTION")).await;
    let release = |reviewed, now_ms| Write::Release { org: f.org.clone(), destination: f.destination, reviewed, now_ms };
    assert_eq!(f.changed(release(false, NOW + 5)).await, 1);
    assert_eq!((f.state(rows[0]).await, f.state(rows[1]).await), (State::Held, State::Retrying));
    let waiting = f.delivery(rows[0]).await;
    assert_eq!((waiting.reason.as_deref(), f.changed(release(false, NOW + 6)).await), (Some("NEVER_HEARD_OF"), 0));
    assert_eq!(f.changed(release(true, NOW + 7)).await, 1);
    assert_eq!(f.state(rows[0]).await, State::Retrying);
    // Held again for another reason, it goes with the others.
    let hold = Write::Hold { destination: f.destination, action_id: None, scope: HoldScope::Destination, why: why("D"), now_ms: NOW + 8 };
    assert_eq!(f.changed(hold).await, 2);
    assert_eq!(f.changed(release(false, NOW + 9)).await, 2);
}

pub async fn a_token_is_one_workers_own(f: Fixture) {
    let rows = f.sell(&["1", "2"]).await;
    let of = |worker| Lease { worker: WorkerId(worker), ..lease(5) };
    let claim = async |worker| f.store.claim(f.destination, 1, of(worker), NOW).await;
    assert_eq!(claim(1).await.unwrap()[0].id, rows[0]);
    assert!(matches!(claim(2).await, Err(StoreError::Busy)));
    let settle = f.settled(Guard::Lease(of(2)), &rows[..1], next(State::Delivered));
    assert_eq!(f.settle_with(settle.clone()).await, 0);
    let begin = Begin {
        destination: f.destination,
        lease: of(2),
        action_id: "77".into(),
        rows: vec![(rows[0], 11)],
        body_hash: [3; 32],
        now_ms: NOW + 1,
    };
    let lost = Ok(Done::Begun(Begun::Lost(rows[..1].to_vec())));
    assert_eq!(one(&*f.store, Write::Begin(begin.clone())).await, lost);
    assert_eq!((f.state(rows[0]).await, f.state(rows[1]).await), (State::InFlight, State::Queued));
    let ours = Begin { lease: of(1), ..begin };
    assert!(matches!(one(&*f.store, Write::Begin(ours)).await, Ok(Done::Begun(Begun::Upload(_)))));
    assert_eq!(f.settle_with(Settle { guard: Guard::Lease(of(1)), ..settle }).await, 1);
    assert_eq!(claim(2).await.unwrap()[0].id, rows[1], "a token without rows is free");
}

pub async fn rows_in_flight_are_open_work(f: Fixture) {
    let rows = f.sell(&["1", "2"]).await;
    f.send(1).await;
    let agenda = f.store.agenda(NOW).await.unwrap();
    assert_eq!((agenda[0].next_due_ms, agenda[0].next_poll_ms, agenda[0].in_flight), (None, None, 2));
    f.settle(1, &rows[..1], next(State::Delivered)).await;
    assert_eq!(f.store.agenda(NOW).await.unwrap()[0].in_flight, 1);
    f.settle(1, &rows[1..], next(State::Delivered)).await;
    assert!(f.store.agenda(NOW).await.unwrap().is_empty());
}

pub async fn a_held_action_holds_only_its_rows(f: Fixture) {
    let mut other = f.sale("2");
    other.deliveries[0].action_id = "88".into();
    f.accept(vec![f.sale("1"), other.clone()]).await;
    let action_id = Some("88".into());
    let hold = Write::Hold { destination: f.destination, action_id, scope: HoldScope::Action, why: why("ACTION"), now_ms: NOW };
    assert_eq!(f.changed(hold).await, 1);
    let claimed = f.claim(1, NOW).await;
    assert_eq!(claimed.iter().map(|c| &*c.action_id).collect::<Vec<_>>(), ["77"]);
}

pub async fn verdicts_are_asked_for_when_due_and_settle_their_rows(f: Fixture) {
    f.sell(&["1", "2"]).await;
    let (upload, rows) = f.await_verdict(1, NOW + 100).await;
    let polls = async |now| f.store.claim_polls(f.destination, 9, Lease { until_ms: now + 50, ..lease(5) }, now).await.unwrap();
    assert!(polls(NOW + 99).await.is_empty());
    let asked = polls(NOW + 100).await;
    assert_eq!((asked[0].id, &*asked[0].request_id, asked[0].polls, asked[0].sent_ms), (upload, "req", 1, NOW + 1));
    assert_eq!(&*asked[0].action_id, "77");
    assert_eq!(asked[0].rows.iter().map(|r| r.id).collect::<Vec<_>>(), rows);
    assert!(polls(NOW + 149).await.is_empty());
    assert_eq!(polls(NOW + 150).await[0].polls, 2);
    let result = UploadResult { upload, request_id: None, poll_at_ms: None, why: None };
    let settle = f.settled(Guard::Verdict(upload), &rows, next(State::Delivered));
    assert_eq!(f.settle_with(Settle { upload: Some(result), ..settle.clone() }).await, 2);
    assert_eq!(f.settle_with(settle).await, 0);
    let shown = &f.store.uploads(&f.org, 9).await.unwrap()[0];
    assert_eq!((shown.request_id.as_deref(), shown.answered, shown.next_poll_at), (Some("req"), true, None));
    assert!(f.store.agenda(NOW).await.unwrap().is_empty());
}

pub async fn a_question_that_a_gone_worker_had_taken_is_due_again(f: Fixture) {
    f.sell(&["1"]).await;
    let (first, rows) = f.await_verdict(1, NOW).await;
    f.sell(&["2"]).await;
    let (second, _) = f.await_verdict(2, NOW + 1).await;
    let ask = async |worker, now| {
        let asker = Lease { worker: WorkerId(worker), token: 0, until_ms: NOW + 60_000 };
        f.store.claim_polls(f.destination, 1, asker, now).await.unwrap().iter().map(|upload| upload.id).collect::<Vec<_>>()
    };
    assert_eq!((ask(8, NOW + 1).await, ask(9, NOW + 1).await), (vec![first], vec![second]));
    assert_eq!(f.store.workers().await.unwrap(), [WorkerId(8), WorkerId(9)]);
    assert_eq!(ask(9, NOW + 2).await, []);
    f.store.recover(&[WorkerId(8)], NOW + 2).await.unwrap();
    assert_eq!(f.store.workers().await.unwrap(), [WorkerId(9)]);
    assert_eq!((ask(9, NOW + 2).await, ask(9, NOW + 2).await), (vec![first], vec![]));
    // An answer ends the question, whoever asked it.
    let result = UploadResult { upload: first, request_id: None, poll_at_ms: None, why: None };
    f.settle_with(Settle { upload: Some(result), ..f.settled(Guard::Verdict(first), &rows, next(State::Delivered)) }).await;
    f.store.recover(&[WorkerId(9)], NOW + 3).await.unwrap();
    assert_eq!(ask(9, NOW + 3).await, [second]);
}

pub async fn suppression_stops_rows_in_every_open_state(f: Fixture) {
    let suppress = |names: &[&str]| Write::Suppress { org: f.org.clone(), persons: names.iter().map(|n| person(n)).collect(), now_ms: NOW };
    let dead = f.sell(&["dead"]).await[0];
    f.kill(1).await;
    let awaiting = f.sell(&["awaiting"]).await[0];
    f.await_verdict(2, NOW).await;
    let flying = f.sell(&["flying"]).await[0];
    f.send(3).await;
    let claimed = f.sell(&["claimed"]).await[0];
    f.claim(4, NOW).await;
    let queued = f.sell(&["queued"]).await[0];
    assert_eq!(f.changed(suppress(&["dead", "awaiting", "flying", "claimed", "queued"])).await, 3);
    for (id, state) in [
        (dead, State::Suppressed),
        (awaiting, State::AwaitingConfirmation),
        (flying, State::InFlight),
        (claimed, State::Suppressed),
        (queued, State::Suppressed),
    ] {
        assert_eq!(f.state(id).await, state);
    }
    let retry = Next { due_ms: Some(NOW), why: Some(why("BUSY")), ..next(State::Retrying) };
    assert_eq!(f.settle(3, &[flying], retry).await, 1);
    assert_eq!(f.state(flying).await, State::Suppressed);
    assert!(f.claim(5, NOW + 1_000_000).await.is_empty());
}

pub async fn dead_letters_are_replayed_at_a_rate_or_given_up(f: Fixture) {
    f.sell(&["1", "2", "3"]).await;
    let rows = f.kill(1).await;
    let alive = f.sell(&["4"]).await[0];
    let repair = async |org, deliveries, action| {
        let repair = Repair { org, deliveries, action, note: None, now_ms: NOW + 10 };
        match one(&*f.store, Write::Repair(repair)).await {
            Ok(Done::Repaired(done)) => done,
            other => panic!("{other:?}"),
        }
    };
    let replay = RepairAction::Replay { every_ms: 100 };
    assert_eq!(repair(org("other"), rows.clone(), replay).await, [Repaired::NotFound; 3]);
    assert_eq!(repair(f.org.clone(), vec![rows[2]], RepairAction::Discard).await, [Repaired::Done]);
    let done = repair(f.org.clone(), vec![rows[0], alive, rows[1], rows[2]], replay).await;
    assert_eq!(done, [Repaired::Done, Repaired::NotDead, Repaired::Done, Repaired::NotDead]);
    let (first, second) = (f.delivery(rows[0]).await, f.delivery(rows[1]).await);
    assert_eq!((first.state, first.attempts, first.history.len()), (State::Retrying, 0, 1));
    let due = |d: &adsengineer_core::store::DeliveryView| d.next_attempt_at.map(jiff::Timestamp::as_millisecond);
    assert_eq!((due(&first), due(&second)), (Some(NOW + 10), Some(NOW + 110)));
}

pub async fn removal_stops_open_rows_and_leaves_none_without_an_end(f: Fixture) {
    let awaiting = f.sell(&["1"]).await[0];
    f.await_verdict(1, NOW).await;
    let flying = f.sell(&["2"]).await[0];
    f.send(2).await;
    let queued = f.sell(&["3"]).await[0];
    let removal = |force| Write::RemoveDestination { org: f.org.clone(), destination: f.destination, force, now_ms: NOW };
    let gently = one(&*f.store, removal(false)).await;
    assert!(matches!(&gently, Err(StoreError::Conflict(why)) if why.contains("3 open deliveries")), "{gently:?}");
    let remove = removal(true);
    assert_eq!(f.changed(remove.clone()).await, 2);
    assert_eq!((f.state(awaiting).await, f.state(queued).await), (State::DeliveredUnverified, State::Suppressed));
    assert_eq!(f.delivery(queued).await.reason.as_deref(), Some("DESTINATION_REMOVED"));
    assert_eq!(f.settle(2, &[flying], next(State::AwaitingConfirmation)).await, 1);
    assert_eq!(f.state(flying).await, State::DeliveredUnverified);
    assert!(matches!(one(&*f.store, remove).await, Err(StoreError::NotFound(_))));
    assert!(f.store.destinations(&f.org).await.unwrap().is_empty());
    assert_ne!(add_destination(&*f.store, &f.org, "google").await, f.destination);
}

pub async fn an_account_with_deliveries_stays(f: Fixture) {
    let moved = || Write::PutDestination(PutDestination { spec: spec("1111111111"), ..put(&f.org, "google") });
    assert_eq!(one(&*f.store, moved()).await, Ok(Done::Destination(f.destination)));
    f.sell(&["1"]).await;
    let back = PutDestination { credentials: CredentialsChange::Keep, ..put(&f.org, "google") };
    assert!(matches!(one(&*f.store, Write::PutDestination(back)).await, Err(StoreError::Conflict(_))));
    let kept = &f.store.destinations(&f.org).await.unwrap()[0];
    assert_eq!((kept.spec.customer_id.digits().as_str(), kept.credentials.as_deref()), ("1111111111", Some(&[1, 2, 3][..])));
}

pub async fn a_quota_is_shared(f: Fixture) {
    let limits = vec![Quota::try_new(1, 1000, 1).unwrap()];
    let reserve = |quota: &str| Write::Reserve { quota: quota.into(), limits: limits.clone(), now_ms: NOW };
    let times = f.store.write(vec![reserve("a"), reserve("a"), reserve("b"), reserve("a")]).await;
    let times: Vec<_> = times.into_iter().map(Result::unwrap).collect();
    assert_eq!(times, [NOW, NOW + 1000, NOW, NOW + 2000].map(Done::Reserved));
}

pub async fn one_failing_command_leaves_its_neighbours_alone(f: Fixture) {
    let mut foreign = f.intake(vec![f.sale("2")]);
    foreign.org = org("other");
    let accept = |orders: &[&str]| Write::Accept(f.intake(orders.iter().map(|o| f.sale(o)).collect()));
    let results = f.store.write(vec![accept(&["1"]), Write::Accept(foreign), accept(&["2"])]).await;
    assert!(matches!(&results[0], Ok(Done::Accepted(_, c)) if matches!(c[0], Captured::New(_))));
    assert!(results[1].is_err());
    assert!(matches!(&results[2], Ok(Done::Accepted(_, c)) if matches!(c[0], Captured::New(_))));
    assert!(f.store.reconciliation(&f.org).await.unwrap().closes());
}
