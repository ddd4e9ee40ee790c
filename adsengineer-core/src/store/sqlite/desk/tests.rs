use rusqlite::Connection;
use tokio::{runtime::Runtime, sync::oneshot};

use super::*;
use crate::{
    secret::Secret,
    store::{
        Migrate,
        sqlite::{
            checkpoint::{Checkpointer, Thresholds},
            keys::{Keys, Limits},
            schema,
            tx::Tx,
            writer::Single,
        },
    },
};

/// A desk on a file of its own, whose disk always counts as quick unless told otherwise.
struct Office {
    desk: Desk,
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

type Reply<T> = oneshot::Receiver<Result<T, StoreError>>;

impl Office {
    fn new() -> Self {
        Self::with(Duration::MAX, Duration::from_secs(60))
    }

    fn with(quick: Duration, patience: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF").unwrap();
        schema::prepare(&mut conn, &path, Migrate::Auto).unwrap();
        conn.busy_timeout(patience).unwrap();
        let checkpointer = Checkpointer::start(&mut conn, Connection::open(&path).unwrap(), Thresholds::USUAL).unwrap();
        let keys = Keys::new(Limits::with_log(1000));
        let writer = Writer { conn, patience, keys, chain: 1, audit_key: Secret::new([1; 32]), checkpointer, pace: Pace::new(quick) };
        Self { desk: Desk::open(writer, 8, 100).unwrap(), path, _folder: folder }
    }

    fn hand_in<T: Send + 'static>(&self, run: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static) -> Reply<T> {
        let (reply, answer) = oneshot::channel();
        self.desk.hand_in_small(Box::new(Single { run: Box::new(run), reply }), 0);
        answer
    }

    /// Adds an organization; the name of the thread that did it.
    fn add(&self, name: &'static str) -> Reply<Option<String>> {
        self.hand_in(move |tx| {
            tx.org_number(&name.parse().unwrap())?;
            Ok(std::thread::current().name().map(str::to_owned))
        })
    }

    /// One after the other, until callers may do their own.
    async fn calm(&self) {
        for _ in 0..ALONE {
            assert_eq!(self.add("calm").await.unwrap().unwrap().as_deref(), Some("sqlite-writer"));
            // The answer comes before the place is free.
            drop(self.desk.place.lock());
        }
    }

    fn organizations(&self) -> Vec<String> {
        let conn = Connection::open(&self.path).unwrap();
        let mut read = conn.prepare("SELECT name FROM organizations ORDER BY num").unwrap();
        read.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

fn many_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

fn here() -> Option<String> {
    std::thread::current().name().map(str::to_owned)
}

fn is_ended<T: std::fmt::Debug>(answer: Result<Result<T, StoreError>, oneshot::error::RecvError>) {
    match answer {
        // Nobody is left to answer.
        Err(_) => {}
        Ok(answer) => assert_eq!(answer.unwrap_err(), ended()),
    }
}

#[test]
fn a_caller_with_nobody_beside_it_writes_in_its_own_thread_and_has_its_answer_at_once() {
    let office = Office::new();
    many_threads().block_on(async {
        office.calm().await;
        for name in ["one", "two"] {
            assert_eq!(office.add(name).try_recv().unwrap().unwrap(), here());
        }
        assert_eq!(office.organizations(), ["calm", "one", "two"]);
    });
}

#[test]
fn callers_that_must_not_be_held_up_leave_it_to_the_writers_thread() {
    let office = Office::new();
    let one_thread = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let one_worker = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    many_threads().block_on(office.calm());
    for runtime in [one_thread, one_worker] {
        runtime.block_on(office.calm());
    }
    assert_eq!(office.add("outside").blocking_recv().unwrap().unwrap().as_deref(), Some("sqlite-writer"));
    let slow = Office::with(Duration::ZERO, Duration::ZERO);
    many_threads().block_on(async {
        slow.calm().await;
        slow.calm().await;
    });
}

#[test]
fn what_was_handed_in_before_is_done_before() {
    let office = Office::new();
    many_threads().block_on(async {
        office.calm().await;
        let busy = office.desk.place.lock();
        let first = office.add("first");
        drop(busy);
        let second = office.add("second");
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        assert_eq!(office.organizations(), ["calm", "first", "second"]);
    });
}

#[test]
fn after_a_group_callers_wait_again_until_it_is_calm() {
    let office = Office::new();
    many_threads().block_on(async {
        office.calm().await;
        let busy = office.desk.place.lock();
        let group = [office.add("a"), office.add("b"), office.add("c")];
        drop(busy);
        for answer in group {
            answer.await.unwrap().unwrap();
        }
        drop(office.desk.place.lock());
        assert_eq!(office.add("d").await.unwrap().unwrap().as_deref(), Some("sqlite-writer"));
    });
}

#[test]
fn a_command_that_fails_leaves_nothing_and_the_next_goes_on() {
    let office = Office::new();
    many_threads().block_on(async {
        office.calm().await;
        let mut failed = office.hand_in(|tx| -> Result<(), _> {
            tx.org_number(&"lost".parse().unwrap())?;
            Err(StoreError::Conflict("no".to_owned()))
        });
        assert_eq!(failed.try_recv().unwrap().unwrap_err(), StoreError::Conflict("no".to_owned()));
        assert_eq!(office.add("next").try_recv().unwrap().unwrap(), here());
        assert_eq!(office.organizations(), ["calm", "next"]);
    });
}

#[test]
fn a_panic_ends_the_writer_wherever_it_happens_and_lets_the_file_go() {
    for on_the_spot in [true, false] {
        let office = Office::new();
        many_threads().block_on(async {
            if on_the_spot {
                office.calm().await;
            }
            let panicked = office.hand_in(|tx| -> Result<(), _> {
                tx.org_number(&"lost".parse().unwrap())?;
                panic!("a fault in a command")
            });
            is_ended(panicked.await);
            is_ended(office.add("next").await);
            is_ended(office.add("after").await);
        });
        let other = Connection::open(&office.path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
        assert!(!office.organizations().contains(&"lost".to_owned()));
    }
}

#[test]
fn another_process_that_writes_holds_up_the_writers_thread_alone() {
    let office = Office::new();
    let other = Connection::open(&office.path).unwrap();
    many_threads().block_on(async {
        office.calm().await;
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut waits = office.add("late");
        assert!(waits.try_recv().is_err(), "it waits, and its caller does not");
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(waits.await.unwrap().unwrap().as_deref(), Some("sqlite-writer"));
    });
}

#[test]
fn too_much_is_refused_at_once_and_the_rest_is_done_before_the_end() {
    let office = Office::new();
    let busy = office.desk.place.lock();
    let accepted = office.add("kept");
    let (reply, refused) = oneshot::channel();
    office.desk.hand_in(Box::new(Single { run: Box::new(|_| Ok(())), reply }), 100);
    assert_eq!(refused.blocking_recv().unwrap().unwrap_err(), StoreError::Busy);
    drop(busy);
    let Office { desk, path, _folder } = office;
    drop(desk);
    assert!(accepted.blocking_recv().unwrap().is_ok());
    assert_eq!(std::fs::metadata(path.with_extension("db-wal")).map_or(0, |m| m.len()), 0);
}
