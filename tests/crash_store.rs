//! A process that accepts batches is killed again and again: everything acknowledged is there, and nothing is doubled.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed; its child is told what to do by the environment"
)]
#![cfg(unix)]

#[expect(dead_code, unreachable_pub, reason = "shared with the conformance suite, which uses the rest")]
#[path = "store/fixture.rs"]
mod fixture;

use std::{
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use adsengineer_core::{
    delivery::State,
    store::{Captured, Done, Write, sqlite::SqliteStore},
};
use fixture::{Fixture, NOW, audit_key, one, options};

const DATABASE: &str = "CRASH_STORE_DATABASE";
const FROM: &str = "CRASH_STORE_FROM";
const BATCH: u64 = 50;

async fn open(path: &Path, writer: i64) -> Fixture {
    fixture::over(Arc::new(SqliteStore::open(path, options(writer)).unwrap())).await
}

/// Accepts batches from a number on until it is killed, and says which were acknowledged. Only the other test starts it.
#[tokio::test]
async fn a_child_accepts_batches_until_it_is_killed() {
    let Some((database, from)) = std::env::var_os(DATABASE).zip(std::env::var(FROM).ok()) else { return };
    let f = open(Path::new(&database), 2).await;
    for batch in from.parse::<u64>().unwrap().. {
        let sales = (batch * BATCH..(batch + 1) * BATCH).map(|n| f.sale(&n.to_string())).collect();
        let done = one(&*f.store, Write::Accept(f.intake(sales))).await.unwrap();
        assert!(matches!(done, Done::Accepted(..)));
        let claimed = f.store.claim(f.destination, 20, fixture::lease(i64::try_from(batch).unwrap() + 1), NOW).await.unwrap();
        assert!(!claimed.is_empty());
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {batch}").unwrap();
        out.flush().unwrap();
    }
}

/// Runs a child until it has acknowledged some batches; returns the last one it acknowledged before it was killed.
fn run_and_kill(database: &Path, from: u64, after: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_accepts_batches_until_it_is_killed", "--nocapture"])
        .env(DATABASE, database)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let acknowledged = |line: String| line.rsplit_once("acknowledged ").map(|(_, n)| n.parse::<u64>().unwrap());
    let mut last = None;
    while last.is_none_or(|n| n < from + after) {
        last = lines.next().unwrap().map(acknowledged).unwrap().or(last);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before the signal came counts too.
    lines.filter_map(|line| line.ok().and_then(acknowledged)).last().or(last).unwrap()
}

#[tokio::test]
async fn everything_acknowledged_survives_kills_and_nothing_is_doubled() {
    if std::env::var_os(DATABASE).is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut next = 0;
    for round in 0..20 {
        let last = run_and_kill(&path, next, round % 4);
        let f = open(&path, 1).await;
        let again = (next..=last).flat_map(|batch| batch * BATCH..(batch + 1) * BATCH).map(|n| f.sale(&n.to_string())).collect();
        let captured = f.accept(again).await;
        assert!(captured.iter().all(|c| matches!(c, Captured::Known { added: 0, .. })), "an acknowledged conversion is gone");
        let sum = f.store.reconciliation(&f.org).await.unwrap();
        assert!(sum.closes(), "{sum:?}");
        // The batch on its way when the signal came may be there, whole; then it is known when it comes again.
        assert!(sum.conversions == (last + 1) * BATCH || sum.conversions == (last + 2) * BATCH, "{sum:?}");
        let status = &f.store.status(&f.org, NOW).await.unwrap()[0];
        assert_eq!(status.states, sum.states);
        f.store.recover(&[], NOW + 100_000).await.unwrap();
        let states = f.store.reconciliation(&f.org).await.unwrap().states;
        assert_eq!(states.keys().copied().collect::<Vec<_>>(), [State::Queued]);
        adsengineer_core::audit::verify(&audit_key(), &f.store.audit(0, 100_000).await.unwrap()).unwrap();
        next = last + 1;
    }
}
