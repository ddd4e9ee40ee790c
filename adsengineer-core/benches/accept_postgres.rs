//! How fast the PostgreSQL store takes conversions and leads in.
//!
//! `cargo bench -p adsengineer-core --features postgres --bench accept_postgres -- [ROWS] [URL]`; without a URL on a server of its
//! own that syncs every commit. Plain inserts by array parameters, in transactions of the same size, and plain single inserts on
//! as many connections as there are callers, give the ratios.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a program to be read")]
#![allow(clippy::cast_precision_loss, unreachable_pub, dead_code, reason = "rates for people; a server shared with the tests")]

#[path = "../../tests/support/postgres.rs"]
mod server;

use std::{io::Write as _, sync::Arc, time::Instant};

use adsengineer_core::{
    click_id::{ClickId, ClickIdKind},
    consent::{AdConsent, ConsentState},
    conversion::{KeySubject, NaturalKey},
    id::DestinationId,
    identity::sha256,
    money::Money,
    org::OrgId,
    secret::Secret,
    store::{
        CredentialsChange, Done, Intake, LeadBatch, LeadWrite, Lease, Migrate, NewConversion, NewDelivery, Once, PersonKey, PutDestination,
        Queue, Request, Store, WorkerId, Write,
        postgres::{Options, PostgresStore},
    },
};
use tokio_postgres::{Client, NoTls};

const BATCH: u64 = 4000;
const NOW: i64 = 1_795_000_000_000;
const CALLERS: u64 = 64;

fn first16(hash: [u8; 32]) -> [u8; 16] {
    hash[..16].try_into().unwrap()
}

fn conversion(org: &OrgId, destination: DestinationId, n: u64) -> NewConversion {
    let order = format!("order-{n:010}");
    let click = format!("Cj0KCQ{n:050}AbCdEf");
    let delivery = NewDelivery {
        destination,
        action_id: "77".into(),
        transaction_id: order.as_str().into(),
        owned: Some(first16(sha256(&order))),
        due_ms: NOW,
    };
    NewConversion {
        key: NaturalKey::of(org, "Sale", KeySubject::Order(&order), 0),
        action: "Sale".into(),
        occurred_at: NOW / 1000,
        value: Some(Money { amount: "12.5".parse().unwrap(), currency: "EUR".parse().unwrap() }),
        order_id: Some(order.parse().unwrap()),
        consent: AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None },
        identifiers: None,
        persons: vec![PersonKey(first16(sha256(&click)))],
        click_id: Some(ClickId::new(ClickIdKind::Gclid, &click).unwrap()),
        adjustment: None,
        deliveries: vec![delivery],
    }
}

fn lead(org: &OrgId, n: u64) -> Write {
    let hash = |what: &str| first16(sha256(&format!("{what} {n}")));
    let lead = LeadWrite {
        known: None,
        external: Some(hash("external")),
        persons: vec![PersonKey(hash("email")), PersonKey(hash("phone"))],
        status: 0,
        score: 50,
        consent: r#"{"storage":"granted","ad_user_data":"granted"}"#.into(),
        content: vec![7; 300].into(),
    };
    let command = Write::Leads(LeadBatch { org: org.clone(), now_ms: NOW, leads: vec![lead], denied: 0, intake: None });
    Write::Request(Box::new(Request { by: "erp".into(), once: Some(Once { org: org.clone(), key: hash("key"), body: [1; 16] }), command }))
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Rows per second of one statement per transaction into a table with two keys.
async fn plain_arrays(url: &str, rows: u64) -> f64 {
    let client = connect(url).await;
    client.batch_execute("CREATE TABLE plain (id BIGINT PRIMARY KEY, k BYTEA NOT NULL UNIQUE, a TEXT, b TEXT)").await.unwrap();
    let insert = client.prepare("INSERT INTO plain SELECT * FROM UNNEST($1::bigint[], $2::bytea[], $3::text[], $4::text[])").await.unwrap();
    let started = Instant::now();
    for from in (0..rows).step_by(usize::try_from(BATCH).unwrap()) {
        let ids: Vec<i64> = (from..from + BATCH).map(u64::cast_signed).collect();
        let keys: Vec<Vec<u8>> = ids.iter().map(|n| first16(sha256(&n.to_string())).to_vec()).collect();
        let a: Vec<String> = ids.iter().map(|n| format!("order-{n:010}")).collect();
        let b: Vec<String> = ids.iter().map(|n| format!("Cj0KCQ{n:050}AbCdEf")).collect();
        client.execute(&insert, &[&ids, &keys, &a, &b]).await.unwrap();
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

/// Rows per second of single inserts of about 400 bytes, each durable, on as many connections as there are callers.
async fn plain_singles(url: &str, rows: u64) -> f64 {
    let client = connect(url).await;
    client.batch_execute("CREATE TABLE single (id BIGINT PRIMARY KEY, a BYTEA)").await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        clients.push(connect(url).await);
    }
    let started = Instant::now();
    let tasks = clients.into_iter().zip(0..).map(|(client, caller)| {
        tokio::spawn(async move {
            let insert = client.prepare("INSERT INTO single VALUES ($1, $2)").await.unwrap();
            for n in (caller..rows).step_by(usize::try_from(CALLERS).unwrap()) {
                client.execute(&insert, &[&n.cast_signed(), &vec![7_u8; 400]]).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

async fn batches(store: &Arc<PostgresStore>, org: &OrgId, destination: DestinationId, rows: u64) -> f64 {
    let started = Instant::now();
    for from in (0..rows).step_by(usize::try_from(BATCH).unwrap()) {
        let conversions = (from..from + BATCH).map(|n| conversion(org, destination, n)).collect();
        let intake = Intake {
            org: org.clone(),
            now_ms: NOW,
            source: "bench".into(),
            consent_proof: None,
            rows: BATCH,
            refused: 0,
            denied: 0,
            restate: false,
            conversions,
        };
        assert!(matches!(store.write(vec![Write::Accept(intake)]).await[0], Ok(Done::Accepted(..))));
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

async fn singles(store: &Arc<PostgresStore>, org: &OrgId, rows: u64) -> f64 {
    let started = Instant::now();
    let tasks = (0..CALLERS).map(|caller| {
        let (store, org) = (store.clone(), org.clone());
        tokio::spawn(async move {
            for n in (caller..rows).step_by(usize::try_from(CALLERS).unwrap()) {
                let done = store.write(vec![lead(&org, n)]).await;
                assert!(matches!(done[0], Ok(Done::Leads(..))), "{done:?}");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

async fn claims(store: &Arc<PostgresStore>, destination: DestinationId) -> f64 {
    let started = Instant::now();
    let mut taken = 0;
    for token in 1..=20 {
        let lease = Lease { worker: WorkerId(1), token, until_ms: NOW + 60_000 };
        taken += store.claim(destination, 500, lease, NOW).await.unwrap().len();
    }
    taken as f64 / started.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut given = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let rows = given.next().map_or(200_000, |n| n.parse().unwrap());
    let own = server::Server::start(true);
    let url = given.next().unwrap_or_else(|| own.url());
    let options = Options { migrate: Migrate::Auto, ..Options::new(Secret::new([9; 32]), 1) };
    let store = Arc::new(PostgresStore::open(&url, options).await.unwrap());
    let org: OrgId = "acme".parse().unwrap();
    let spec = serde_json::from_str(r#"{"kind":"google","customer_id":"1234567890","actions":{"Sale":"77"}}"#).unwrap();
    let put = PutDestination { org: org.clone(), name: "google".into(), spec, credentials: CredentialsChange::Keep, now_ms: NOW };
    let Ok(Done::Destination(destination)) = store.write(vec![Write::PutDestination(put)]).await[0].clone() else { return };
    let plain = plain_arrays(&url, rows).await;
    let ours = batches(&store, &org, destination, rows).await;
    say(&format!("batches of {BATCH}: {ours:.0} conversions/s, plain arrays {plain:.0} rows/s: {:.0} %", 100.0 * ours / plain));
    say(&format!("claims of 500: {:.0} rows/s", claims(&store, destination).await));
    let (plain, ours) = (plain_singles(&url, rows / 10).await, singles(&store, &org, rows / 10).await);
    say(&format!("{CALLERS} callers of one: {ours:.0} leads/s, plain inserts {plain:.0} rows/s: {:.0} %", 100.0 * ours / plain));
}
