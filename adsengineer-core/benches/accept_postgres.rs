//! How fast the PostgreSQL store takes conversions and leads in.
//!
//! `cargo bench -p adsengineer-core --features postgres --bench accept_postgres -- [ROWS]`, on a server of its own that syncs every
//! commit. Plain inserts by array parameters, in transactions of the same size, and `pgbench` with as many clients as there are
//! callers give the ratios, in the same run.

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
        CredentialsChange, Done, Intake, LeadBatch, LeadWrite, Migrate, NewConversion, NewDelivery, Once, PersonKey, PutDestination,
        Request, Store, Write,
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

/// Rows per second of one statement per transaction into a table with a key, each row of about 400 bytes.
async fn plain_arrays(url: &str, rows: u64) -> f64 {
    let client = connect(url).await;
    client.batch_execute("CREATE TABLE plain (id BIGINT PRIMARY KEY, a TEXT, b TEXT, c BYTEA)").await.unwrap();
    let insert = client.prepare("INSERT INTO plain SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::bytea[])").await.unwrap();
    let started = Instant::now();
    for from in (0..rows).step_by(usize::try_from(BATCH).unwrap()) {
        let ids: Vec<i64> = (from..from + BATCH).map(u64::cast_signed).collect();
        let a: Vec<String> = ids.iter().map(|n| format!("order-{n:010}")).collect();
        let b: Vec<String> = ids.iter().map(|n| format!("Cj0KCQ{n:050}AbCdEf")).collect();
        let c = vec![vec![7_u8; 300]; ids.len()];
        client.execute(&insert, &[&ids, &a, &b, &c]).await.unwrap();
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

/// Transactions per second of `pgbench`: single inserts of about 400 bytes, each durable, by as many clients as there are callers.
fn pgbench(own: &server::Server, mode: &str) -> f64 {
    let script = own.folder().join("insert.sql");
    std::fs::write(&script, "INSERT INTO single (a) VALUES (decode(repeat('07', 400), 'hex'));\n").unwrap();
    let (clients, folder) = (CALLERS.to_string(), own.folder().display().to_string());
    let fixed = ["-n", "-j", "2", "-T", "8", "-U", "postgres", "-h", &folder, "-c", &clients, "-M", mode, "-f"];
    let output = std::process::Command::new(server::program("pgbench")).args(fixed).arg(&script).arg("postgres").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    tps.unwrap_or_else(|| panic!("pgbench: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Rows in the tables of the store, exactly.
async fn stored(url: &str) -> u64 {
    let client = connect(url).await;
    let tables = "SELECT string_agg(format('SELECT count(*) FROM adsengineer.%I', tablename), ' UNION ALL ') FROM pg_tables
        WHERE schemaname = 'adsengineer'";
    let all: String = client.query_one(tables, &[]).await.unwrap().get(0);
    let sum = client.query_one(&format!("SELECT sum(count)::bigint FROM ({all}) AS n"), &[]).await.unwrap();
    sum.get::<_, i64>(0).cast_unsigned()
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

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let rows = std::env::args().skip(1).filter(|arg| arg != "--bench").map(|n| n.parse().unwrap()).next().unwrap_or(200_000);
    let own = server::Server::start(true);
    let url = own.url();
    let options = Options { migrate: Migrate::Auto, ..Options::new(Secret::new([9; 32]), 1) };
    let store = Arc::new(PostgresStore::open(&url, options).await.unwrap());
    let org: OrgId = "acme".parse().unwrap();
    let spec = serde_json::from_str(r#"{"kind":"google","customer_id":"1234567890","actions":{"Sale":"77"}}"#).unwrap();
    let put = PutDestination { org: org.clone(), name: "google".into(), spec, credentials: CredentialsChange::Keep, now_ms: NOW };
    let Ok(Done::Destination(destination)) = store.write(vec![Write::PutDestination(put)]).await[0].clone() else { return };
    let plain = plain_arrays(&url, 2 * rows).await;
    let before = stored(&url).await;
    let rate = batches(&store, &org, destination, rows).await;
    let each = (stored(&url).await - before) as f64 / rows as f64;
    say(&format!(
        "batches of {BATCH}: {rate:.0} conversions/s of {each:.1} rows each, {:.0} rows/s; plain arrays {plain:.0} rows/s: {:.0} %",
        rate * each,
        100.0 * rate * each / plain
    ));
    connect(&url).await.batch_execute("CREATE TABLE single (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a BYTEA)").await.unwrap();
    let (simple, prepared) = (pgbench(&own, "simple"), pgbench(&own, "prepared"));
    let ours = singles(&store, &org, rows / 2).await;
    say(&format!(
        "{CALLERS} callers of one: {ours:.0} leads/s; pgbench {simple:.0} inserts/s: {:.0} %; prepared {prepared:.0}: {:.0} %",
        100.0 * ours / simple,
        100.0 * ours / prepared
    ));
}
