//! How fast the SQLite store takes conversions in, and how fast a worker gets rows through it.
//!
//! `cargo bench -p adsengineer-core --features sqlite --bench accept -- [ROWS] [FOLDER]`; a file on disk, `synchronous=FULL`.
//! A plain loop of `INSERT`s of one row with one unique key, in transactions of the same size, gives the ratio.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a program to be read")]
#![allow(clippy::cast_precision_loss, reason = "rates for people")]

use std::{io::Write as _, path::Path, sync::Arc, time::Instant};

use adsengineer_core::{
    click_id::{ClickId, ClickIdKind},
    consent::{AdConsent, ConsentState},
    conversion::{KeySubject, NaturalKey},
    delivery::{Next, State},
    id::DestinationId,
    identity::sha256,
    money::Money,
    org::OrgId,
    secret::Secret,
    store::{
        Begin, CredentialsChange, Done, Guard, Intake, Lease, NewConversion, NewDelivery, PersonKey, PutDestination, Queue, Settle,
        Settled, Store, UploadResult, WorkerId, Write,
        sqlite::{Options, SqliteStore},
    },
};

const BATCH: u64 = 4000;
const NOW: i64 = 1_795_000_000_000;

fn first16(hash: [u8; 32]) -> [u8; 16] {
    hash[..16].try_into().unwrap()
}

fn conversion(org: &OrgId, destination: DestinationId, action: &Arc<str>, n: u64) -> NewConversion {
    let order = format!("order-{n:010}");
    let click = format!("Cj0KCQ{n:050}AbCdEf");
    let delivery = NewDelivery {
        destination,
        action_id: action.clone(),
        transaction_id: order.as_str().into(),
        owned: Some(first16(sha256(&order))),
        due_ms: NOW,
    };
    NewConversion {
        key: NaturalKey::of(org, "Sale", KeySubject::Order(&order), 0),
        action: action.clone(),
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

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
}

/// Resident memory in MiB, where the system says it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn plain_loop(folder: &Path, rows: u64) -> f64 {
    let conn = rusqlite::Connection::open(folder.join("plain.db")).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, k BLOB UNIQUE, a TEXT, b TEXT)",
    )
    .unwrap();
    let started = Instant::now();
    for from in (0..rows).step_by(usize::try_from(BATCH).unwrap()) {
        conn.execute_batch("BEGIN").unwrap();
        let mut insert = conn.prepare_cached("INSERT INTO t (k, a, b) VALUES (?1, ?2, ?3)").unwrap();
        for n in from..(from + BATCH).min(rows) {
            insert.execute(rusqlite::params![first16(sha256(&n.to_string())), "order-0000000000", "Cj0KCQ0000000000000000AbCdEf"]).unwrap();
        }
        drop(insert);
        conn.execute_batch("COMMIT").unwrap();
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

fn intake(org: &OrgId, destination: DestinationId, from: u64) -> Intake {
    let action: Arc<str> = "987654321".into();
    let conversions: Vec<_> = (from..from + BATCH).map(|n| conversion(org, destination, &action, n)).collect();
    let now_ms = NOW + i64::try_from(from / BATCH).unwrap();
    let (source, consent_proof) = ("bench".into(), None);
    Intake { org: org.clone(), now_ms, source, consent_proof, rows: BATCH, refused: 0, denied: 0, restate: false, conversions }
}

/// Takes batches in, two on their way at a time, as a reader of a file does; prints the rate by a tenth.
async fn accept(store: &Arc<SqliteStore>, org: &OrgId, destination: DestinationId, rows: u64, what: &str) -> f64 {
    let (begun, mut started, mut reported, step) = (Instant::now(), Instant::now(), 0, 100_000);
    let mut written: Option<tokio::task::JoinHandle<()>> = None;
    for from in (0..rows).step_by(usize::try_from(BATCH).unwrap()) {
        let (intake, store) = (intake(org, destination, from), store.clone());
        if let Some(written) = written {
            written.await.unwrap();
        }
        written = Some(tokio::spawn(async move {
            store.write(vec![Write::Accept(intake)]).await.remove(0).unwrap();
        }));
        if from - reported >= step {
            let rate = (from - reported) as f64 / started.elapsed().as_secs_f64();
            say(&format!("{what} up to {from}: {rate:.0} rows/s, peak {} MiB", resident()));
            (started, reported) = (Instant::now(), from);
        }
    }
    written.unwrap().await.unwrap();
    rows as f64 / begun.elapsed().as_secs_f64()
}

async fn upload(store: &SqliteStore, destination: DestinationId, token: i64) -> usize {
    let lease = Lease { worker: WorkerId(1), token, until_ms: i64::MAX };
    let rows = store.claim(destination, 2000, lease, NOW).await.unwrap();
    let ids: Vec<_> = rows.iter().map(|r| r.id).collect();
    let begin = Begin {
        destination,
        lease,
        action_id: "987654321".into(),
        rows: ids.iter().map(|id| (*id, 7)).collect(),
        body_hash: [0; 32],
        now_ms: NOW,
    };
    let Done::Begun(adsengineer_core::store::Begun::Upload(upload)) = store.write(vec![Write::Begin(begin)]).await.remove(0).unwrap()
    else {
        panic!("lost rows")
    };
    let next = Next { state: State::Delivered, due_ms: None, attempts: 1, round: 0, why: None, hold: None };
    let settle = Settle {
        destination,
        guard: Guard::Lease(lease),
        now_ms: NOW,
        rows: vec![Settled { next, part: 0, deliveries: ids }],
        upload: Some(UploadResult { upload, request_id: Some("r".into()), poll_at_ms: None, why: None }),
        breaker: None,
        paused_until_ms: None,
    };
    store.write(vec![Write::Settle(settle)]).await.remove(0).unwrap();
    rows.len()
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let rows: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(200_000);
    let folder = args.next().map_or_else(|| tempfile::tempdir().unwrap(), |f| tempfile::tempdir_in(f).unwrap());
    let plain = plain_loop(folder.path(), rows.min(500_000));
    say(&format!("plain INSERT loop, {} rows: {plain:.0} rows/s", rows.min(500_000)));

    let store = Arc::new(SqliteStore::open(&folder.path().join("store.db"), Options::new(Secret::new([1; 32]), 1)).unwrap());
    let org: OrgId = "acme".parse().unwrap();
    let spec = serde_json::from_str(r#"{"kind":"google","customer_id":"1234567890"}"#).unwrap();
    let put = PutDestination { org: org.clone(), name: "google".into(), spec, credentials: CredentialsChange::Keep, now_ms: NOW };
    let Done::Destination(destination) = store.write(vec![Write::PutDestination(put)]).await.remove(0).unwrap() else { panic!("no id") };

    let rate = accept(&store, &org, destination, rows, "accept").await;
    say(&format!("accept {rows}: {rate:.0} rows/s on average, {:.2} of the plain loop", rate / plain));
    let rate = accept(&store, &org, destination, rows.min(200_000), "again").await;
    say(&format!("the same file again: {rate:.0} rows/s"));
    let (started, mut sent) = (Instant::now(), 0);
    for token in 1..=100 {
        sent += upload(&store, destination, token).await;
    }
    say(&format!("claim, begin, settle: {:.0} rows/s, peak {} MiB", sent as f64 / started.elapsed().as_secs_f64(), resident()));
}
