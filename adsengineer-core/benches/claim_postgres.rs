//! How fast the PostgreSQL store hands rows to a worker and takes their results, and what a large queue costs a small one.
//!
//! `cargo bench -p adsengineer-core --features postgres --bench claim_postgres -- [QUEUED] [FINISHED] [URL] [fill]`: so many rows
//! wait in one destination, and so many finished ones are beside them; both are made by SQL. Without a URL on a server of its own
//! that syncs every commit. With `fill` it only makes the rows, so that a run without it finds them there and takes seconds.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a program to be read")]
#![allow(clippy::cast_precision_loss, unreachable_pub, dead_code, reason = "rates for people; a server shared with the tests")]

#[path = "../../tests/support/postgres.rs"]
mod server;

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use adsengineer_core::{
    delivery::{Next, State},
    id::{DeliveryId, DestinationId},
    secret::Secret,
    store::{
        Begin, Begun, CredentialsChange, Done, Guard, Lease, Migrate, PutDestination, Queue, Settle, Settled, Store, UploadResult,
        WorkerId, Write,
        postgres::{Options, PostgresStore},
    },
};
use tokio_postgres::{Client, NoTls};

const NOW: i64 = 1_795_000_000_000;
const SCHEMA: &str = "claims";
const BATCH: usize = 2000;
const ROUNDS: usize = 40;

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {SCHEMA}")).await.unwrap();
    client
}

/// Rows of a destination that has none yet: finished ones first, then those that wait.
async fn fill(client: &Client, destination: DestinationId, since_ms: i64, queued: usize, finished: usize) {
    let (destination, all) = (destination.0, queued + finished);
    let base = DeliveryId::from_millis(since_ms).0;
    let org = format!("(SELECT org FROM destinations WHERE id = {destination})");
    let there = client.query_one(&format!("SELECT count(*) FROM tallies WHERE destination = {destination}"), &[]).await.unwrap();
    if there.get::<_, i64>(0) > 0 {
        return;
    }
    let sql = format!(
        "SET synchronous_commit = off;
        INSERT INTO conversions (org, id, natural_key, action, occurred_at, mantissa, scale, currency, order_id, click_kind, click, consent,
                persons, revision)
            SELECT {org}, {base} + 2 * n, int8send({destination}) || int8send(n), 'Sale', {NOW} / 1000, 125, 1, 'EUR',
                'order-' || lpad(n::text, 10, '0'), 1, 'Cj0KCQ' || lpad(n::text, 50, '0') || 'AbCdEf', 1, int8send(n) || int8send(n), 1
            FROM generate_series(1, {all}) n;
        INSERT INTO deliveries (org, id, conversion, destination, state, due_ms, action_id, revision, mantissa, scale, currency)
            SELECT {org}, {base} + 2 * n + 1, {base} + 2 * n, {destination}, 5, NULL, '77', 1, 125, 1, 'EUR'
            FROM generate_series(1, {finished}) n;
        INSERT INTO deliveries (org, id, conversion, destination, state, due_ms, action_id, revision, mantissa, scale, currency)
            SELECT {org}, {base} + 2 * n + 1, {base} + 2 * n, {destination}, 0, {NOW} - 20000000 + n, '77', 1, 125, 1, 'EUR'
            FROM generate_series({finished} + 1, {all}) n;
        INSERT INTO queue (destination, kind, due_ms, id) SELECT {destination}, 0, {NOW} - 20000000 + n, {base} + 2 * n + 1
            FROM generate_series({finished} + 1, {all}) n;
        INSERT INTO tallies (destination, state, slot, count) VALUES ({destination}, 0, 0, {queued}), ({destination}, 5, 0, {finished});
        INSERT INTO risks (destination, currency, slot, micros) VALUES ({destination}, 'EUR', 0, {queued}::numeric * 12500000);
        RESET synchronous_commit; CHECKPOINT"
    );
    for statement in sql.split(';') {
        client.batch_execute(statement).await.unwrap();
    }
}

async fn destination(store: &PostgresStore, org: &str) -> DestinationId {
    let spec = serde_json::from_str(r#"{"kind":"google","customer_id":"1234567890","actions":{"Sale":"77"}}"#).unwrap();
    let put = PutDestination { org: org.parse().unwrap(), name: "google".into(), spec, credentials: CredentialsChange::Keep, now_ms: NOW };
    match store.write(vec![Write::PutDestination(put)]).await.remove(0) {
        Ok(Done::Destination(id)) => id,
        other => panic!("{other:?}"),
    }
}

async fn one(store: &PostgresStore, command: Write) -> Done {
    store.write(vec![command]).await.remove(0).unwrap()
}

/// Claims, records and settles a batch; how long each took, and how many rows it was.
async fn round(store: &PostgresStore, destination: DestinationId) -> ([Duration; 3], usize) {
    let lease = Lease { worker: WorkerId(1), token: rand_token(), until_ms: NOW + 60_000 };
    let started = Instant::now();
    let claimed = store.claim(destination, BATCH, lease, NOW).await.unwrap();
    let claim = started.elapsed();
    if claimed.is_empty() {
        return ([claim, Duration::ZERO, Duration::ZERO], 0);
    }
    let rows: Vec<_> = claimed.iter().map(|row| (row.id, 11)).collect();
    let begin = Begin { destination, lease, action_id: "77".into(), rows, body_hash: [3; 32], now_ms: NOW };
    let started = Instant::now();
    let Done::Begun(Begun::Upload(upload)) = one(store, Write::Begin(begin)).await else { panic!("rows were lost") };
    let begin = started.elapsed();
    let next = Next { state: State::Delivered, due_ms: None, attempts: 1, round: 0, why: None, hold: None };
    let settle = Settle {
        destination,
        guard: Guard::Lease(lease),
        now_ms: NOW,
        rows: vec![Settled { next, part: 0, deliveries: claimed.iter().map(|row| row.id).collect() }],
        upload: Some(UploadResult { upload, request_id: Some("req".into()), poll_at_ms: None, why: None }),
        breaker: None,
        paused_until_ms: None,
    };
    let started = Instant::now();
    one(store, Write::Settle(settle)).await;
    ([claim, begin, started.elapsed()], claimed.len())
}

fn rand_token() -> i64 {
    static NEXT: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    i64::try_from(time).unwrap() * 1000 + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 1000
}

/// Rounds one after the other.
async fn rate(store: &PostgresStore, destination: DestinationId, what: &str) {
    let (mut parts, mut rows) = ([Duration::ZERO; 3], 0);
    let started = Instant::now();
    for _ in 0..ROUNDS {
        let (times, done) = round(store, destination).await;
        if done == 0 {
            break;
        }
        parts.iter_mut().zip(times).for_each(|(sum, time)| *sum += time);
        rows += done;
    }
    let [claim, begin, settle] = parts.map(|sum| sum.as_secs_f64() * 1e6 / rows as f64);
    let all = rows as f64 / started.elapsed().as_secs_f64();
    say(&format!("{what}: claim, begin, settle {all:.0} rows/s ({claim:.0} + {begin:.0} + {settle:.0} µs a row)"));
}

/// How long a tenant with a few rows waits for them while another's queue is being worked through.
async fn neighbour(store: &Arc<PostgresStore>, big: DestinationId, small: DestinationId) {
    let (worker, stop) = (store.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let stopped = stop.clone();
    let busy = tokio::spawn(async move {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            round(&worker, big).await;
        }
    });
    let mut waits = Vec::new();
    for _ in 0..30 {
        let lease = Lease { worker: WorkerId(2), token: rand_token(), until_ms: NOW + 60_000 };
        let started = Instant::now();
        let claimed = store.claim(small, 1, lease, NOW).await.unwrap();
        assert_eq!(claimed.len(), 1);
        waits.push(started.elapsed());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    busy.await.unwrap();
    waits.sort_unstable();
    say(&format!("another tenant's row beside it: claimed within {:?} (p50), {:?} (most)", waits[15], waits[29]));
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut given = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let queued = given.next().map_or(200_000, |n| n.parse().unwrap());
    let finished = given.next().map_or(200_000, |n| n.parse().unwrap());
    let (url, only_fill) = (given.next(), given.next().is_some());
    let own = url.is_none().then(|| server::Server::start(true));
    let url = url.unwrap_or_else(|| own.as_ref().unwrap().url());
    let options = Options { migrate: Migrate::Auto, schema: SCHEMA.to_owned(), ..Options::new(Secret::new([9; 32]), 1) };
    let store = Arc::new(PostgresStore::open(&url, options).await.unwrap());
    let (big, small) = (destination(&store, "big").await, destination(&store, "small").await);
    let client = connect(&url).await;
    fill(&client, big, NOW - 1_000_000_000, queued, finished).await;
    fill(&client, small, NOW - 2_000_000_000, 1000, 0).await;
    if !only_fill {
        rate(&store, big, &format!("{queued} queued, {finished} finished")).await;
        neighbour(&store, big, small).await;
    }
}
