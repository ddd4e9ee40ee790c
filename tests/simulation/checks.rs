//! What must hold once faults have stopped and everything had time to end.

use std::collections::BTreeSet;

use adsengineer_core::{
    delivery::State,
    store::{ConversionQuery, ConversionView, DeliveryView, Reads},
};

use crate::{
    people::People,
    world::{Nature, Truth},
};

/// The platform's own limit of requests in a minute.
const MOST_A_MINUTE: usize = 300;

pub async fn all(people: &People) {
    let query = ConversionQuery { limit: 1_000_000, ..ConversionQuery::default() };
    let conversions = people.store.conversions(&people.org, &query).await.unwrap().items;
    let truth = people.world.ledger.lock().unwrap().truth.clone();
    let mut wrong = sums(people, conversions.len(), truth.len()).await;
    for conversion in &conversions {
        let order = conversion.order_id.as_deref().unwrap();
        let Some(truth) = truth.get(order) else {
            wrong.push(format!("{order} was captured though its person was suppressed"));
            continue;
        };
        for destination in &truth.destinations {
            wrong.extend(delivery(people, conversion, truth, *destination).map(|what| format!("{order} at {destination}: {what}")));
        }
    }
    for (n, (_, platform)) in people.destinations.iter().enumerate() {
        let expected: BTreeSet<_> = truth
            .iter()
            .filter(|(_, t)| t.nature == Nature::Good && t.destinations.contains(&n))
            .map(|(order, t)| (t.action.to_owned(), order.clone()))
            .collect();
        let strangers: Vec<_> = platform.records.lock().unwrap().keys().filter(|key| !expected.contains(key)).cloned().collect();
        wrong.extend(strangers.iter().map(|(action, id)| format!("the platform counted {id} of {action}, which it must not have")));
    }
    let busiest = people.world.busiest_minute();
    if busiest > MOST_A_MINUTE {
        wrong.push(format!("{busiest} requests in one minute"));
    }
    for what in wrong {
        people.world.violated(what);
    }
}

async fn sums(people: &People, captured: usize, expected: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let sums = people.store.reconciliation(&people.org).await.unwrap();
    if !sums.closes() {
        wrong.push(format!("the sum does not close: {sums:?}"));
    }
    if captured != expected || sums.conversions != expected as u64 {
        wrong.push(format!("{expected} conversions were accepted, {captured} are kept, {} are said to be", sums.conversions));
    }
    let open: Vec<_> = sums.states.iter().filter(|(state, n)| !state.is_final() && **n > 0).collect();
    if !open.is_empty() {
        wrong.push(format!("not everything has come to its end: {open:?}"));
    }
    wrong
}

/// What is wrong with a conversion at one destination.
fn delivery(people: &People, conversion: &ConversionView, truth: &Truth, destination: usize) -> Option<String> {
    let name = format!("d{destination}");
    let latest = conversion.deliveries.iter().filter(|d| *d.destination == *name).max_by_key(|d| d.revision)?;
    let key = (truth.action.to_owned(), conversion.order_id.clone()?);
    let record = people.destinations[destination].1.records.lock().unwrap().get(&key).cloned();
    let sent = conversion.deliveries.iter().filter(|d| *d.destination == *name).any(|d| d.state == State::Delivered);
    match (truth.nature, record) {
        (_, Some(record)) if record.count != 1 => Some(format!("counted {} times", record.count)),
        (_, None) if sent => Some("delivered, and the platform does not have it".to_owned()),
        _ if truth.suppressed => None,
        (Nature::Good, None) => Some(format!("the platform does not have it: {:?} {:?}", latest.state, latest.reason)),
        (Nature::Good, Some(record)) => good(latest, record.value, truth.value),
        (nature, _) => refused(latest, nature),
    }
}

fn good(latest: &DeliveryView, value: i64, expected: i64) -> Option<String> {
    if !matches!(latest.state, State::Delivered | State::DeliveredUnverified) {
        return Some(format!("the platform has it, and it is {:?} {:?}", latest.state, latest.reason));
    }
    (value != expected).then(|| format!("the platform has {value}, its value is {expected}"))
}

fn refused(latest: &DeliveryView, nature: Nature) -> Option<String> {
    let dead = latest.state == State::Dead && latest.reason.as_deref() == Some(nature.code());
    let unverified = nature == Nature::Late && latest.state == State::DeliveredUnverified;
    (!dead && !unverified).then(|| format!("it is {nature:?}, and ended {:?} {:?}", latest.state, latest.reason))
}
