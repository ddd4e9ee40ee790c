//! The worker against scripted platforms.

#![expect(unreachable_pub, reason = "modules of one test, not of a library")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "worker/abreast.rs"]
mod abreast;
#[path = "worker/flaky.rs"]
mod flaky;
#[path = "support/forward.rs"]
mod forward;
#[path = "worker/sharing.rs"]
mod sharing;
#[path = "worker/stand.rs"]
mod stand;

use std::{sync::Arc, time::Duration};

use adsengineer_core::{
    consent::AdConsent,
    delivery::State,
    destination::{Answer, Limits, Verdict},
    outcome::{HoldScope, Outcome},
    store::{NewConversion, Queue},
    worker::Goal,
};
use stand::{Stand, pending, why};
use tokio::sync::watch;

fn accepted(_number: usize, _rows: &[String]) -> Answer {
    Answer::all(Outcome::Accepted)
}

/// A platform that refuses every request with this row and does not say why.
fn refuses_unseen(bad: &'static str) -> impl Fn(usize, &[String]) -> Answer {
    move |_, rows| if rows.iter().any(|row| row == bad) { Answer::all(Outcome::Unlocated(why("BAD"))) } else { accepted(0, rows) }
}

fn orders(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("o{i}")).collect()
}

fn plain(state: State) -> (State, String) {
    (state, String::new())
}

fn because(state: State, code: &str) -> (State, String) {
    (state, code.to_owned())
}

#[tokio::test(start_paused = true)]
async fn rows_go_out_in_one_request_and_are_delivered() {
    let stand = Stand::new(accepted).await;
    stand.sell(&["1", "2", "3"]).await;
    let report = stand.run().await;
    assert_eq!((report.progress.sent, report.progress.delivered), (3, 3));
    assert_eq!(stand.sent(), [["1", "2", "3"]]);
    assert!(stand.states().await.values().all(|state| *state == plain(State::Delivered)));
}

#[tokio::test(start_paused = true)]
async fn a_bad_row_is_cut_out_and_its_neighbours_are_delivered() {
    let stand = Stand::new(|_, rows| match rows.iter().position(|row| row == "bad") {
        Some(bad) => Answer {
            rows: vec![(bad, Outcome::Rejected(why("BAD")))],
            ..Answer::all(Outcome::Retry { after: Some(Duration::ZERO), counts: false, why: why("NEIGHBOUR") })
        },
        None => Answer::all(Outcome::Accepted),
    })
    .await;
    stand.sell(&["1", "bad", "2"]).await;
    let report = stand.run().await;
    assert_eq!(stand.sent(), [vec!["1", "bad", "2"], vec!["1", "2"]]);
    assert_eq!(stand.state("bad").await, because(State::Dead, "BAD"));
    assert_eq!(stand.attempts("1").await, 1);
    assert_eq!(report.destinations[&stand.destination].dead["BAD"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_without_a_culprit_is_split_down_to_the_bad_row() {
    for n in [1, 2, 3, 4, 5, 7, 9, 100] {
        let stand = Stand::new(refuses_unseen("o0")).await;
        stand.accept(orders(n).iter().map(|order| stand.sale(order)).collect()).await;
        stand.run().await;
        let mut states = stand.states().await;
        assert_eq!(states.remove("o0"), Some(because(State::Dead, "BAD")), "{n} rows");
        assert!(states.values().all(|state| state.0 == State::Delivered), "{n} rows: {states:?}");
        assert!(stand.sent().len() <= 40, "{} requests for {n} rows", stand.sent().len());
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_in_a_row_without_a_culprit_hold_the_destination() {
    let stand = Stand::new(|_, _| Answer::all(Outcome::Unlocated(why("BAD")))).await;
    stand.accept(orders(50).iter().map(|order| stand.sale(order)).collect()).await;
    let report = stand.run().await;
    assert_eq!(stand.sent().len(), 4);
    let states = stand.states().await;
    assert!(states.values().all(|state| *state == because(State::Held, "BAD")), "{states:?}");
    assert_eq!(report.destinations[&stand.destination].holds[0].scope, HoldScope::Destination);
}

#[tokio::test(start_paused = true)]
async fn a_release_goes_on_where_the_splitting_stood() {
    let bad = |row: &String| ["o0", "o1", "o2"].contains(&row.as_str());
    let answer = move |_: usize, rows: &[String]| {
        if rows.iter().any(bad) { Answer::all(Outcome::Unlocated(why("BAD"))) } else { Answer::all(Outcome::Accepted) }
    };
    let stand = Stand::new(answer).await;
    stand.accept(orders(6).iter().map(|order| stand.sale(order)).collect()).await;
    for _ in 0..4 {
        stand.run().await;
        stand.release().await;
    }
    let states: Vec<_> = stand.states().await.into_values().map(|state| state.0).collect();
    assert_eq!(states, [State::Dead, State::Dead, State::Dead, State::Delivered, State::Delivered, State::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_keeps_requests_back_and_costs_no_attempt() {
    let down = |_: usize, _: &[String]| Answer {
        healthy: false,
        ..Answer::all(Outcome::Retry { after: Some(Duration::ZERO), counts: false, why: why("UNAVAILABLE") })
    };
    let stand = Stand::new(down).await;
    stand.sell(&["1"]).await;
    let report = stand.run().await;
    assert_eq!(stand.sent().len(), 5);
    assert!(report.destinations[&stand.destination].breaker_open);
    assert_eq!((stand.state("1").await.0, stand.attempts("1").await), (State::Retrying, 0));
}

#[tokio::test(start_paused = true)]
async fn a_quota_pauses_the_destination_for_as_long_as_the_platform_says() {
    let pause = Duration::from_secs(600);
    let stand = Stand::new(move |number, _| match number {
        1 => Answer { pause: Some(pause), ..Answer::all(Outcome::Retry { after: None, counts: false, why: why("QUOTA") }) },
        _ => Answer::all(Outcome::Accepted),
    })
    .await;
    stand.sell(&["1"]).await;
    let (start_ms, report) = (stand.now_ms(), stand.run().await);
    assert!(report.destinations[&stand.destination].paused_until_ms.is_some());
    assert_eq!(stand.sent().len(), 1);
    stand.finish().await;
    assert_eq!(stand.state("1").await.0, State::Delivered);
    assert!(stand.now_ms() - start_ms >= 600_000);
}

#[tokio::test(start_paused = true)]
async fn rows_suppressed_between_claim_and_send_are_left_out() {
    let stand = Arc::new(Stand::new(accepted).await);
    stand.sell(&["1", "2"]).await;
    let other = stand.clone();
    *stand.door.on_render.lock().unwrap() = Some(Box::new(move || futures_util::FutureExt::now_or_never(other.suppress("1")).unwrap()));
    stand.run().await;
    assert_eq!(stand.sent(), [["2"]]);
    assert_eq!((stand.state("1").await.0, stand.state("2").await.0), (State::Suppressed, State::Delivered));
}

#[tokio::test(start_paused = true)]
async fn a_resend_that_would_differ_is_held_for_review() {
    let stand = Stand::new(|number, _| match number {
        1 => Answer::all(Outcome::Unknown(why("RESET"))),
        _ => Answer::all(Outcome::Accepted),
    })
    .await;
    stand.sell(&["1"]).await;
    stand.run_with(Goal::Settled { patience: Duration::ZERO }).await;
    *stand.door.suffix.lock().unwrap() = "-changed";
    stand.sell(&["2"]).await;
    stand.finish().await;
    assert_eq!(stand.state("1").await, because(State::Held, "BODY_CHANGED"));
    assert_eq!(stand.sent(), [["1"], ["2-changed"]]);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_sent_is_not() {
    let stand = Stand::new(accepted).await;
    let refused = NewConversion { consent: AdConsent::default(), ..stand.sale("no consent") };
    let old = NewConversion { occurred_at: stand.now_ms() / 1000 - 91 * 86_400, ..stand.sale("old") };
    stand.accept(vec![refused, old]).await;
    stand.run().await;
    assert!(stand.sent().is_empty());
    assert_eq!(stand.state("no consent").await, because(State::Suppressed, "CONSENT_REQUIRED"));
    assert_eq!(stand.state("old").await, because(State::Dead, "EVENT_TOO_OLD"));
}

#[tokio::test(start_paused = true)]
async fn a_worker_told_to_stop_finishes_what_is_on_its_way() {
    let small = |door: &mut stand::Scripted| door.limits = Limits { batch: 1, ..door.limits };
    let (stop, stopped) = watch::channel(false);
    let answer = move |_: usize, _: &[String]| {
        stop.send_replace(true);
        Answer::all(Outcome::Accepted)
    };
    let stand = Stand::with(answer, small).await;
    stand.sell(&["1", "2"]).await;
    stand.worker().run(stopped).await.unwrap();
    assert_eq!((stand.state("1").await.0, stand.state("2").await.0), (State::Delivered, State::Queued));
    assert!(stand.store.workers().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_worker_had_claimed_is_sent_again_at_once() {
    let stand = Stand::with(accepted, |door| door.hangs = true).await;
    stand.sell(&["1"]).await;
    let stop = watch::Sender::new(false);
    let dies = tokio::time::timeout(Duration::from_secs(2), stand.worker().run(stop.subscribe())).await;
    assert!(dies.is_err());
    assert_eq!(stand.state("1").await.0, State::InFlight);
    let lease = stand.settings.lease;
    let second = tokio::time::timeout(lease / 2, stand.worker().run(stop.subscribe())).await;
    assert!(second.is_err());
    assert_eq!(stand.sent(), [["1"], ["1"]]);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_ends_before_its_lease_and_is_unknown() {
    let stand = Stand::with(accepted, |door| door.hangs = true).await;
    stand.sell(&["1"]).await;
    let start_ms = stand.now_ms();
    stand.run_with(Goal::Settled { patience: Duration::ZERO }).await;
    assert_eq!(stand.state("1").await, because(State::Retrying, "TIMEOUT"));
    assert_eq!(stand.now_ms() - start_ms, 59_000);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_comes_later_settles_its_rows() {
    let stand = Stand::new(|_, _| pending()).await;
    stand.sell(&["1", "bad"]).await;
    let verdict = Answer { rows: vec![(1, Outcome::Rejected(why("BAD")))], ..Answer::all(Outcome::Accepted) };
    stand.door.verdicts.lock().unwrap().extend([Verdict::Final(verdict), Verdict::NotYet(None)]);
    stand.run().await;
    assert_eq!(stand.state("1").await.0, State::AwaitingConfirmation);
    stand.finish().await;
    assert_eq!((stand.state("1").await, stand.state("bad").await), (plain(State::Delivered), because(State::Dead, "BAD")));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_without_rows_is_narrowed_down_twice_and_then_left_unverified() {
    let stand = Stand::new(|_, _| pending()).await;
    stand.accept(orders(16).iter().map(|order| stand.sale(order)).collect()).await;
    let partly = || Verdict::Partly { counts: vec![(1, Outcome::Rejected(why("BAD")))] };
    // The last is given first: of 16 rows, of one of the 4 parts, of one of its 2 parts; everything else is fine.
    let fine = || Verdict::Final(Answer::all(Outcome::Accepted));
    let verdicts = [fine(), partly(), fine(), fine(), fine(), partly(), partly()];
    stand.door.verdicts.lock().unwrap().extend(verdicts);
    stand.finish().await;
    let states: Vec<_> = stand.states().await.into_values().collect();
    let unverified = states.iter().filter(|state| **state == because(State::DeliveredUnverified, "VERDICT_NOT_BY_ROW")).count();
    assert_eq!((unverified, states.iter().filter(|state| state.0 == State::Delivered).count()), (2, 14), "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_verdict_on_all_rows_needs_no_narrowing() {
    let stand = Stand::new(|_, _| pending()).await;
    stand.sell(&["1", "2"]).await;
    stand.door.verdicts.lock().unwrap().push(Verdict::Partly { counts: vec![(2, Outcome::Rejected(why("BAD")))] });
    stand.finish().await;
    assert!(stand.states().await.values().all(|state| *state == because(State::Dead, "BAD")));
    assert_eq!(stand.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_can_never_be_had_leaves_rows_unverified() {
    let gone = Stand::new(|_, _| pending()).await;
    gone.sell(&["1"]).await;
    gone.door.verdicts.lock().unwrap().push(Verdict::Gone(why("GONE")));
    gone.finish().await;
    assert_eq!(gone.state("1").await, because(State::DeliveredUnverified, "GONE"));
    let silent = Stand::new(|_, _| pending()).await;
    silent.sell(&["1"]).await;
    silent.finish().await;
    assert_eq!(silent.state("1").await, because(State::DeliveredUnverified, "NO_VERDICT"));
}

#[tokio::test(start_paused = true)]
async fn an_action_that_a_verdict_finds_wrong_is_held_before_more_of_it_is_sent() {
    let stand = Stand::new(|_, _| pending()).await;
    stand.sell(&["1"]).await;
    let hold = Answer::all(Outcome::Hold(HoldScope::Action, why("ACTION")));
    stand.door.verdicts.lock().unwrap().push(Verdict::Final(hold));
    stand.finish().await;
    stand.sell(&["2"]).await;
    stand.finish().await;
    assert_eq!(stand.sent(), [["1"]]);
    assert!(stand.states().await.values().all(|state| *state == because(State::Held, "ACTION")));
}
