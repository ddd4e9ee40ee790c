//! What runs at the same time: requests of one destination, destinations beside each other, a turn and the end of its lease.

use std::time::Duration;

use adsengineer_core::{
    delivery::State,
    destination::{Answer, Limits},
    outcome::Outcome,
    store::{NewConversion, NewDelivery, Queue},
    worker::Goal,
};
use tokio::sync::watch;

use crate::{
    accepted, orders, plain,
    stand::{Scripted, Stand, why},
};

const SECOND: Duration = Duration::from_secs(1);

fn one_row_each(door: &mut Scripted) {
    door.limits = Limits { batch: 1, ..door.limits };
}

/// A sale under another conversion action, which needs a request of its own.
fn of_action(stand: &Stand, action_id: &str, order: &str) -> NewConversion {
    let mut sale = stand.sale(order);
    sale.deliveries[0].action_id = action_id.into();
    sale
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_side_by_side_open_the_breaker_and_none_closes_it() {
    let down = |_: usize, _: &[String]| Answer {
        healthy: false,
        ..Answer::all(Outcome::Retry { after: Some(Duration::ZERO), counts: false, why: why("UNAVAILABLE") })
    };
    let mut stand = Stand::with(down, |door| {
        one_row_each(door);
        // Each request of four takes a little longer, so that the last answers come once the breaker is open.
        door.slow = Box::new(|number, _| SECOND * u32::try_from(number % 4 + 1).unwrap());
    })
    .await;
    (stand.settings.concurrency, stand.settings.write_quota) = (4, Vec::new());
    stand.accept(orders(50).iter().map(|order| stand.sale(order)).collect()).await;
    let (_stop, stopped) = watch::channel(false);
    let minutes = tokio::time::timeout(50 * SECOND, stand.worker().run(stopped)).await;
    assert!(minutes.is_err(), "the worker ended");
    // Five failures open it, and three more were on their way.
    assert!(stand.sent().len() <= 8, "{} requests went out, at {:?} ms", stand.sent().len(), stand.sent_ms());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_there_is_no_time_for_leaves_its_rows_unsent() {
    let answer = |_: usize, rows: &[String]| match rows[0].as_str() {
        "taken" => Answer::all(Outcome::Duplicate(why("DUPLICATE"))),
        _ => Answer::all(Outcome::Accepted),
    };
    let stand = Stand::with(answer, |door| door.slow = Box::new(|number, _| if number == 1 { 600 * SECOND } else { SECOND })).await;
    stand.accept(vec![of_action(&stand, "77", "slow"), of_action(&stand, "78", "taken")]).await;
    stand.finish().await;
    // Another conversion has its transaction id: a send that never was must not make that a proof of delivery.
    assert_eq!(stand.state("taken").await.0, State::Dead, "{:?}", stand.state("taken").await);
    assert_eq!(stand.state("slow").await, plain(State::Delivered));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_begun_with_hardly_any_time_for_its_answer() {
    let stand = Stand::with(accepted, |door| door.slow = Box::new(|number, _| if number == 1 { 56 * SECOND } else { 5 * SECOND })).await;
    stand.accept(vec![of_action(&stand, "77", "first"), of_action(&stand, "78", "second")]).await;
    stand.finish().await;
    assert_eq!(stand.sent(), [["first"], ["second"]]);
    assert!(stand.states().await.values().all(|state| *state == plain(State::Delivered)));
}

#[tokio::test(start_paused = true)]
async fn a_worker_told_to_stop_gives_back_what_it_has_claimed_and_not_sent() {
    let (stop, stopped) = watch::channel(false);
    let answer = move |_: usize, _: &[String]| {
        stop.send_replace(true);
        Answer::all(Outcome::Accepted)
    };
    let stand = Stand::new(answer).await;
    stand.accept(vec![of_action(&stand, "77", "1"), of_action(&stand, "78", "2"), of_action(&stand, "79", "3")]).await;
    stand.worker().run(stopped).await.unwrap();
    assert_eq!(stand.sent(), [["1"]]);
    assert_eq!((stand.state("2").await, stand.state("3").await), (plain(State::Queued), plain(State::Queued)));
    assert!(stand.store.workers().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_worker_told_to_stop_does_not_wait_for_its_turn_under_the_quota() {
    let mut stand = Stand::with(accepted, one_row_each).await;
    stand.settings.write_quota = vec![adsengineer_core::rate_limit::Quota::try_new(1, 8000, 1).unwrap()];
    stand.sell(&["1", "2"]).await;
    let (stop, stopped) = watch::channel(false);
    let told = async {
        let _over = tokio::time::timeout(SECOND, std::future::pending::<()>()).await;
        stop.send_replace(true);
    };
    let (report, ()) = tokio::join!(async { stand.worker().run(stopped).await }, told);
    assert_eq!(report.unwrap().progress.delivered, 1);
    assert_eq!((stand.sent_ms(), stand.now_ms() % 8000), (vec![0], 1000));
    assert_eq!(stand.state("2").await, plain(State::Queued));
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_hangs_does_not_put_off_another_destinations_retry() {
    let answer = |number: usize, rows: &[String]| match (number, rows[0].as_str()) {
        (..=2, "other") => Answer::all(Outcome::Retry { after: Some(SECOND), counts: true, why: why("UNAVAILABLE") }),
        _ => Answer::all(Outcome::Accepted),
    };
    let mut stand = Stand::with(answer, |door| {
        door.slow = Box::new(|_, rows| if rows[0] == "hangs" { 40 * SECOND } else { Duration::ZERO });
    })
    .await;
    stand.settings.write_quota = Vec::new();
    let second = stand.add("second").await;
    let mut sale = stand.sale("other");
    sale.deliveries = vec![NewDelivery { destination: second, ..sale.deliveries[0].clone() }];
    stand.accept(vec![stand.sale("hangs"), sale]).await;
    stand.finish().await;
    let times: Vec<_> = stand.sent().into_iter().zip(stand.sent_ms()).filter(|(rows, _)| rows[0] == "other").map(|(_, at)| at).collect();
    assert!(times[1] < 2000, "the retry was due after 1000 ms and went out after {} ms", times[1]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_panics_stops_no_other_destination_and_is_told_of() {
    let answer = |_: usize, rows: &[String]| {
        assert_ne!(rows[0], "poison", "a planted panic");
        Answer::all(Outcome::Accepted)
    };
    let stand = Stand::with(answer, |door| door.slow = Box::new(|_, rows| if rows[0] == "poison" { Duration::ZERO } else { SECOND })).await;
    let second = stand.add("second").await;
    let mut sale = stand.sale("other");
    sale.deliveries = vec![NewDelivery { destination: second, ..sale.deliveries[0].clone() }];
    stand.accept(vec![stand.sale("poison"), sale]).await;
    let (_stop, stopped) = watch::channel(false);
    let error = stand.worker().run_until(Goal::Settled { patience: Duration::ZERO }, stopped).await.unwrap_err();
    assert!(error.to_string().contains("a planted panic"), "{error}");
    assert_eq!(stand.state("other").await, plain(State::Delivered));
    assert_eq!(stand.state("poison").await.0, State::InFlight);
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_delays_another_destinations_row_by_less_than_a_second() {
    let mut stand = Stand::with(accepted, |door| {
        one_row_each(door);
        door.slow = Box::new(|_, _| SECOND / 5);
    })
    .await;
    stand.settings.concurrency = 4;
    let second = stand.add("second").await;
    stand.accept(orders(2000).iter().map(|order| stand.sale(order)).collect()).await;
    let (stop, stopped) = watch::channel(false);
    let late = async {
        let _over = tokio::time::timeout(20 * SECOND, std::future::pending::<()>()).await;
        let mut sale = stand.sale("late");
        sale.deliveries = vec![NewDelivery { destination: second, ..sale.deliveries[0].clone() }];
        stand.accept(vec![sale]).await;
        let _over = tokio::time::timeout(10 * SECOND, std::future::pending::<()>()).await;
        stop.send_replace(true);
    };
    let worker = stand.worker();
    let (report, ()) = tokio::join!(worker.run(stopped), late);
    assert!(report.unwrap().progress.delivered > 100);
    let (_, at) = stand.sent().into_iter().zip(stand.sent_ms()).find(|(rows, _)| rows[0] == "late").unwrap();
    assert!(at - 20_000 < 1000, "it came after 20 s and went out {} ms later", at - 20_000);
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_does_not_keep_verdicts_waiting() {
    let mut stand = Stand::with(
        |_, _| crate::pending(),
        |door| {
            one_row_each(door);
            door.slow = Box::new(|_, _| SECOND / 2);
        },
    )
    .await;
    (stand.settings.concurrency, stand.settings.poll_first) = (4, 5 * SECOND);
    stand.door.verdicts.lock().unwrap().push(adsengineer_core::destination::Verdict::Final(Answer::all(Outcome::Accepted)));
    stand.accept(orders(300).iter().map(|order| stand.sale(order)).collect()).await;
    let (_stop, stopped) = watch::channel(false);
    let worker = stand.worker();
    assert!(tokio::time::timeout(20 * SECOND, worker.run(stopped)).await.is_err());
    assert_eq!(worker.progress().borrow().delivered, 1);
}
