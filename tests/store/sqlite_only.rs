//! What only a store on disk can show: reopening, several processes' worth of stores on one file, limits of the disk.

use std::{path::Path, sync::Arc};

use adsengineer_core::store::{
    Captured, Done, Store, StoreError, Write,
    sqlite::{Options, SqliteStore},
};

use crate::fixture::{Fixture, NOW, add_destination, audit_key, one, options, org};

fn open(path: &Path, writer: i64) -> SqliteStore {
    SqliteStore::open(path, options(writer)).unwrap()
}

async fn on(store: SqliteStore) -> Fixture {
    crate::fixture::over(Arc::new(store)).await
}

#[tokio::test]
async fn what_was_accepted_is_there_after_reopening_and_the_audit_chain_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let f = on(open(&path, 7)).await;
    f.sell(&["1", "2"]).await;
    let (org, destination) = (f.org.clone(), f.destination);
    drop(f);
    assert_eq!(std::fs::metadata(folder.path().join("a.db-wal")).map_or(0, |m| m.len()), 0);
    let f = on(open(&path, 7)).await;
    assert_eq!(f.destination, destination);
    assert_eq!(f.claim(1, NOW).await.len(), 2);
    assert!(f.store.reconciliation(&org).await.unwrap().closes());
    adsengineer_core::audit::verify(&audit_key(), &f.store.audit(0, 100).await.unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_capture_each_conversion_once_and_claim_each_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let first = on(open(&path, 1)).await;
    let second: Arc<dyn Store> = Arc::new(open(&path, 2));
    let orders: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let accept = |store: Arc<dyn Store>| {
        let intakes: Vec<_> = orders.chunks(10).map(|c| first.intake(c.iter().map(|o| first.sale(o)).collect())).collect();
        tokio::spawn(async move {
            let mut new = 0;
            for intake in intakes {
                match one(&*store, Write::Accept(intake)).await {
                    Ok(Done::Accepted(_, captured)) => new += captured.iter().filter(|c| matches!(c, Captured::New(_))).count(),
                    other => panic!("{other:?}"),
                }
            }
            new
        })
    };
    let (one, two) = (accept(first.store.clone()), accept(second.clone()));
    assert_eq!(one.await.unwrap() + two.await.unwrap(), 200);
    let claim = |store: Arc<dyn Store>, from: i64| {
        let destination = first.destination;
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for token in from..from + 20 {
                ids.extend(store.claim(destination, 10, crate::fixture::lease(token), NOW).await.unwrap().iter().map(|c| c.id));
            }
            ids
        })
    };
    let (one, two) = (claim(first.store.clone(), 100), claim(second, 200));
    let mut ids = one.await.unwrap();
    ids.extend(two.await.unwrap());
    assert_eq!(ids.len(), 200);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    adsengineer_core::audit::verify(&audit_key(), &first.store.audit(0, 1000).await.unwrap()).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_said_and_has_no_half_effect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let options = Options { max_pages: Some(120), ..Options::new(audit_key(), 1) };
    let f = on(SqliteStore::open(&path, options).unwrap()).await;
    let orders: Vec<String> = (0..5000).map(|n| format!("order-{n}")).collect();
    let big = Write::Accept(f.intake(orders.iter().map(|o| f.sale(o)).collect()));
    assert!(matches!(one(&*f.store, big).await, Err(StoreError::DiskFull(_))));
    assert!(f.claim(1, NOW).await.is_empty());
    f.sell(&["small"]).await;
    assert!(f.store.reconciliation(&f.org).await.unwrap().closes());
}

#[tokio::test]
async fn damaged_rows_are_said_to_be_damaged_and_are_neither_claimed_nor_changed() {
    for damage in [
        "UPDATE deliveries SET mantissa = 'ten'",
        "UPDATE deliveries SET scale = 77",
        "UPDATE deliveries SET currency = 'euro'",
        "UPDATE deliveries SET action_id = x'ff'",
        "UPDATE conversions SET click_kind = 9, click = 'x'",
        "UPDATE conversions SET click_kind = 1, click = x'ff'",
        "UPDATE conversions SET consent = 200",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let f = on(open(&path, 1)).await;
        f.sell(&["1"]).await;
        rusqlite::Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let claimed = f.store.claim(f.destination, 10, crate::fixture::lease(1), NOW).await;
        assert!(matches!(claimed, Err(StoreError::Damaged(_))), "{damage}: {claimed:?}");
        let agenda = f.store.agenda(NOW).await.unwrap();
        assert_eq!((agenda[0].next_due_ms, agenda[0].in_flight), (Some(NOW), 0), "{damage}");
    }
}

#[tokio::test]
async fn another_process_that_writes_is_waited_for_only_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let options = Options { busy_timeout: std::time::Duration::from_millis(20), ..Options::new(audit_key(), 1) };
    let f = on(SqliteStore::open(&path, options).unwrap()).await;
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = one(&*f.store, Write::Accept(f.intake(vec![f.sale("1")]))).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    other.execute_batch("ROLLBACK").unwrap();
    f.sell(&["1"]).await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = open(&path, 1);
    add_destination(&store, &org("acme"), "google").await;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
