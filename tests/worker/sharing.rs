//! Destinations that share a platform's quota, and what one of them must not do to the others.

use std::{future::pending as for_ever, time::Duration};

use adsengineer_core::{
    delivery::State,
    destination::{Answer, Verdict},
    outcome::{HoldScope, Outcome},
    rate_limit::Quota,
    store::{NewConversion, NewDelivery, Reads},
    worker::Goal,
};
use tokio::sync::watch;

use crate::{
    accepted, plain,
    stand::{Stand, pending, why},
};

const MINUTE: Duration = Duration::from_secs(60);

/// One sale for each of `n` destinations beside the first.
async fn one_sale_each(stand: &Stand, n: usize) {
    let mut sales: Vec<NewConversion> = Vec::new();
    for i in 0..n {
        let destination = stand.add(&format!("d{i}")).await;
        let mut sale = stand.sale(&format!("o{i}"));
        sale.deliveries = vec![NewDelivery { destination, ..sale.deliveries[0].clone() }];
        sales.push(sale);
    }
    stand.accept(sales).await;
}

async fn work_for(stand: &Stand, time: Duration) {
    let (_stop, stopped) = watch::channel(false);
    let worker = stand.worker();
    assert!(tokio::time::timeout(time, worker.run(stopped)).await.is_err(), "the worker ended by itself");
}

async fn delivered_by(destinations: usize, minutes: u32) -> usize {
    let mut stand = Stand::new(accepted).await;
    stand.settings.concurrency = 4;
    one_sale_each(&stand, destinations).await;
    work_for(&stand, MINUTE * minutes).await;
    stand.states().await.values().filter(|state| **state == plain(State::Delivered)).count()
}

#[tokio::test(start_paused = true)]
async fn many_destinations_under_one_quota_are_all_served() {
    for destinations in [10, 24, 40, 100] {
        assert_eq!(delivered_by(destinations, 1).await, destinations, "of {destinations} within a minute");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_costs_the_quota_one_request() {
    let mut stand = Stand::new(accepted).await;
    stand.settings.concurrency = 4;
    // Two requests at once, the next in an hour.
    stand.settings.write_quota = vec![Quota::try_new(2, 7_200_000, 2).unwrap()];
    stand.sell(&["1"]).await;
    let later = async {
        let _over = tokio::time::timeout(MINUTE, for_ever::<()>()).await;
        stand.sell(&["2"]).await;
    };
    tokio::join!(work_for(&stand, 2 * MINUTE), later);
    assert_eq!(stand.sent(), [["1"], ["2"]]);
}

#[tokio::test(start_paused = true)]
async fn questions_for_verdicts_never_pause_what_is_to_be_sent() {
    let mut stand = Stand::new(|_, _| pending()).await;
    stand.settings.read_quota = vec![Quota::try_new(1, 86_400_000, 1).unwrap()];
    for order in ["1", "2", "3"] {
        stand.sell(&[order]).await;
        stand.run().await;
    }
    work_for(&stand, MINUTE * 40).await;
    stand.sell(&["4"]).await;
    stand.run().await;
    assert_eq!(stand.sent().last().unwrap(), &["4"]);
}

#[tokio::test(start_paused = true)]
async fn an_action_that_a_verdict_finds_wrong_is_held_whole() {
    let hold = Outcome::Hold(HoldScope::Action, why("NO_SUCH_ACTION"));
    let stand = Stand::with(|_, _| pending(), |door| door.verdicts.lock().unwrap().push(Verdict::Final(Answer::all(hold)))).await;
    stand.sell(&["1"]).await;
    stand.run().await;
    work_for(&stand, MINUTE * 40).await;
    let destinations = stand.store.destinations(&stand.org).await.unwrap();
    assert_eq!(destinations[0].health.held_actions.keys().cloned().collect::<Vec<_>>(), [std::sync::Arc::from("77")]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_request_id_leaves_no_row_waiting_for_ever() {
    let stand = Stand::new(|_, _| Answer::all(Outcome::Pending)).await;
    stand.sell(&["1"]).await;
    stand.run_with(Goal::Settled { patience: MINUTE }).await;
    assert_ne!(stand.state("1").await.0, State::AwaitingConfirmation);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_end_includes_what_another_worker_has_in_flight() {
    let stand = Stand::with(accepted, |door| door.slow = Box::new(|_, _| Duration::from_secs(20))).await;
    stand.sell(&["1"]).await;
    // A worker of the stand takes those before it for gone, and those after it for alive.
    let (start, waiting, other) = (stand.now_ms(), stand.worker(), stand.worker());
    let goal = Goal::Final { deadline: jiff::Timestamp::from_millisecond(start + 3_600_000).unwrap() };
    let (_stop, stopped) = watch::channel(false);
    let first = tokio::spawn(async move { other.run_until(goal, stopped).await });
    while stand.sent().is_empty() {
        tokio::task::yield_now().await;
    }
    let (_stop, stopped) = watch::channel(false);
    waiting.run_until(goal, stopped).await.unwrap();
    assert_eq!((stand.state("1").await, stand.sent().len()), (plain(State::Delivered), 1));
    assert!((20_000..21_000).contains(&(stand.now_ms() - start)), "{}", stand.now_ms() - start);
    first.await.unwrap().unwrap();
}
