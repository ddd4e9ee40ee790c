//! Several processes on one PostgreSQL and one Redis, while everything that can fail fails: nothing that was acknowledged is lost,
//! nothing is counted twice, and the sum closes. `FLEET_SEED` replays a run's choices.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "what is shared with other tests has more than this one needs")]

#[path = "crash_server/clients.rs"]
mod clients;
#[path = "support/cutting.rs"]
mod cutting;
#[path = "fleet/members.rs"]
mod members;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/redis.rs"]
mod redis;
#[path = "crash_server/server.rs"]
mod server;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use adsengineer_server::sandbox::{Fault, FaultPlan};
use clients::Clients;
use cutting::Cut;
use members::Fleet;
use serde_json::Value;

/// What befalls the fleet.
#[derive(Clone, Copy, Debug)]
enum Blow {
    ServerKilled,
    WorkerKilled,
    /// A worker stands still until its leases have ended and others have taken its rows, then goes on.
    WorkerFrozen,
    DatabaseKilled,
    /// A commit does not reach the database.
    CommitCut,
    /// A commit is done, and nobody hears of it.
    AnswerCut,
    LimiterKilled,
}

const BLOWS: [Blow; 7] = [
    Blow::ServerKilled,
    Blow::WorkerKilled,
    Blow::WorkerFrozen,
    Blow::DatabaseKilled,
    Blow::CommitCut,
    Blow::AnswerCut,
    Blow::LimiterKilled,
];

/// A number below `end` for a seed: splitmix64 (Steele, Lea, Flood 2014).
fn below(state: &mut u64, end: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
}

/// Every blow once in a random order, then again in another.
fn order(state: &mut u64) -> Vec<Blow> {
    let mut all = Vec::new();
    for _ in 0..2 {
        let mut left = BLOWS.to_vec();
        while !left.is_empty() {
            all.push(left.swap_remove(below(state, left.len())));
        }
    }
    all
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < Duration::from_secs(120), "it takes too long until {what}");
        tokio::task::yield_now().await;
    }
}

async fn strike(blow: Blow, fleet: &mut Fleet, clients: &Clients, state: &mut u64) {
    let at = below(state, 2);
    match blow {
        Blow::ServerKilled => {
            fleet.replace_server(at);
            clients.turn_to(&fleet.urls());
        }
        Blow::WorkerKilled => fleet.replace_worker(at),
        Blow::WorkerFrozen => freeze(fleet, at).await,
        Blow::DatabaseKilled => fleet.postgres.crash(),
        Blow::CommitCut | Blow::AnswerCut => {
            fleet.way.cut_next(if matches!(blow, Blow::CommitCut) { Cut::Before } else { Cut::After });
            until("a commit was cut", async || fleet.way.is_whole()).await;
        }
        Blow::LimiterKilled => {
            fleet.redis.kill();
            // Without it nothing passes: what is answered after the requests on their way were is refused.
            let refused = reqwest::Client::new().get(format!("{}/api/v1/me", fleet.urls()[at])).send().await.unwrap();
            assert_eq!(refused.status().as_u16(), 503);
            let problem: Value = refused.json().await.unwrap();
            assert_eq!((&problem["code"], &problem["retry_after"]), (&"RATE_LIMIT_CONFIG_ERROR".into(), &60.into()), "{problem}");
            fleet.redis.start_again();
        }
    }
}

/// Stops a worker while it has rows, until all rows that were in flight then are in other hands or done.
async fn freeze(fleet: &mut Fleet, at: usize) {
    let mut database = postgres::Session::open(&fleet.postgres.url());
    let mut leased = Vec::new();
    until("rows are in flight", async || {
        fleet.supervise();
        leased = database.run("SELECT DISTINCT lease::text FROM adsengineer.deliveries WHERE lease IS NOT NULL");
        !leased.is_empty()
    })
    .await;
    fleet.workers[at].signal("STOP");
    let leased = database.run("SELECT DISTINCT lease::text FROM adsengineer.deliveries WHERE lease IS NOT NULL");
    if !leased.is_empty() {
        let sql = format!("SELECT count(*)::text FROM adsengineer.deliveries WHERE lease IN ({})", leased.join(","));
        until("the frozen worker's leases have ended", async || {
            fleet.supervise();
            database.run(&sql) == ["0"]
        })
        .await;
    }
    fleet.workers[at].signal("CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_frozen_or_cut_everything_acknowledged_is_delivered_once_and_the_sum_closes() {
    let seed = std::env::var("FLEET_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(11);
    let mut state = seed;
    let faults = FaultPlan::none()
        .chance(Fault::ResetAfterCommit, 0.15)
        .chance(Fault::Unavailable503, 0.1)
        .chance(Fault::ResetBefore, 0.1)
        .chance(Fault::GarbageAfterCommit, 0.05)
        .seed(seed);
    let mut fleet = Fleet::start(faults).await;
    let token = fleet.home.token("owner");
    let clients = Clients::start(6, &token);
    clients.turn_to(&fleet.urls());
    for blow in order(&mut state) {
        let enough = clients.answered() + 10 + below(&mut state, 40) as u64;
        until("clients are answered", async || clients.answered() >= enough).await;
        strike(blow, &mut fleet, &clients, &mut state).await;
    }
    fleet.sandbox.set_faults(FaultPlan::none());
    let posted = clients.finish().await;
    let order = |email: &String| format!("O-{}", email.trim_start_matches('c').trim_end_matches("@example.com"));
    let orders: Vec<String> = posted.iter().map(order).collect();
    assert!(orders.len() > 100, "seed {seed}: only {} were posted", orders.len());

    let mut sum = Value::Null;
    until("everything is delivered", async || {
        fleet.supervise();
        sum = fleet.servers[0].get("/api/v1/reconciliation", &token).await;
        sum["states"]["delivered"] == sum["captured"] && sum["captured"].as_u64() >= Some(orders.len() as u64)
    })
    .await;
    assert_eq!((&sum["closes"], sum["captured"].as_u64()), (&Value::Bool(true), Some(orders.len() as u64)), "seed {seed}: {sum}");
    let counters = fleet.sandbox.counters();
    assert_eq!((counters.conversions, counters.overwritten, counters.repeated_changed), (orders.len() as u64, 0, 0), "seed {seed}");
    let mut counted = BTreeMap::new();
    for conversion in fleet.sandbox.accepted() {
        *counted.entry(conversion.transaction_id).or_insert(0_u32) += 1;
    }
    let wrong: Vec<_> = orders.iter().filter(|order| counted.get(*order) != Some(&1)).collect();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
    let mut leads = fleet.servers[1].leads(&token).await;
    leads.sort_unstable();
    let mut expected = posted;
    expected.sort_unstable();
    assert_eq!(leads, expected, "seed {seed}");
}
