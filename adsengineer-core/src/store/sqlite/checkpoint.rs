//! Moving what was committed from the write-ahead log into the database file, off the path of commits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;

use crate::store::StoreError;

/// When the log is worked on. Its pages have 4 KiB.
#[derive(Clone, Copy)]
pub(super) struct Thresholds {
    /// Whenever the log has grown by so many pages, the background moves them out of it.
    pub(super) start: u32,
    /// The background leaves so many to the writer, which finishes the job between two transactions, so that the log starts again.
    pub(super) rest: u32,
    /// From this size on, the writer does what it finds.
    pub(super) limit: u32,
    /// After this long without a commit, the log is emptied.
    pub(super) idle: Duration,
}

impl Thresholds {
    /// The usual. Writing over an old log costs half of what making it longer does, so that it starts again early.
    pub(super) const USUAL: Self = Self { start: 2 << 10, rest: 256, limit: 48 << 10, idle: Duration::from_secs(5) };
}

/// What the writer and the background know of the log.
#[derive(Default)]
struct Log {
    /// Its pages after the last commit. The file may be longer: a log that starts again writes over the old one.
    pages: AtomicU32,
    /// Whether something was committed since the background last looked.
    is_new: AtomicBool,
    /// Whether the background has left a rest to the writer.
    has_rest: AtomicBool,
}

/// The writer's end.
pub(super) struct Checkpointer {
    log: Arc<Log>,
    thresholds: Thresholds,
    /// The log's size when the background was woken.
    woken_at: u32,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the background on a connection of its own; `writer` tells from now on how long the log is.
    pub(super) fn start(writer: &mut Connection, conn: Connection, thresholds: Thresholds) -> Result<Self, StoreError> {
        let log = Arc::new(Log::default());
        let told = log.clone();
        let tell = move |_: &mut _, pages: i32| {
            told.pages.store(pages.unsigned_abs(), Ordering::Release);
            told.is_new.store(true, Ordering::Release);
            Ok(())
        };
        writer.wal_hook(Some(tell))?;
        let (wake, woken) = std::sync::mpsc::sync_channel(1);
        let background = Background { conn, log: log.clone(), thresholds };
        let thread = std::thread::Builder::new().name("sqlite-checkpoint".into()).spawn(move || background.work(&woken));
        let thread = thread.map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self { log, thresholds, woken_at: 0, wake: Some(wake), thread: Some(thread) })
    }

    /// Wakes the background where the log has grown.
    pub(super) fn after_commit(&mut self) {
        let pages = self.log.pages.load(Ordering::Acquire);
        if pages < self.woken_at {
            self.woken_at = 0;
        }
        if pages - self.woken_at >= self.thresholds.start
            && let Some(wake) = &self.wake
        {
            self.woken_at = pages;
            // A full channel means that it is at work already.
            let _ = wake.try_send(());
        }
    }

    /// Whether the writer is to work on the log itself.
    pub(super) fn has_to_catch_up(&self) -> bool {
        self.log.has_rest.load(Ordering::Acquire) || self.log.pages.load(Ordering::Acquire) >= self.thresholds.limit
    }

    /// Moves what is left out of the log: as long as nobody writes, it can be finished.
    pub(super) fn catch_up(&self, conn: &Connection) {
        if self.has_to_catch_up() {
            self.log.has_rest.store(false, Ordering::Release);
            checkpoint(conn, "PASSIVE");
        }
    }

    /// Ends the background and empties the log.
    pub(super) fn close(mut self, conn: &Connection) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        checkpoint(conn, "TRUNCATE");
    }
}

struct Background {
    conn: Connection,
    log: Arc<Log>,
    thresholds: Thresholds,
}

impl Background {
    fn work(self, woken: &Receiver<()>) {
        let mut is_emptied = false;
        loop {
            match woken.recv_timeout(self.thresholds.idle) {
                Ok(()) => self.shorten(),
                Err(RecvTimeoutError::Timeout) if self.log.is_new.swap(false, Ordering::AcqRel) => is_emptied = false,
                Err(RecvTimeoutError::Timeout) if !is_emptied => {
                    checkpoint(&self.conn, "TRUNCATE");
                    is_emptied = true;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Moves pages out of the log until few are left, beside the writer. Never all: more come meanwhile.
    fn shorten(&self) {
        let mut before = 0;
        while let Some((pages, moved)) = checkpoint(&self.conn, "PASSIVE") {
            if pages - moved <= i64::from(self.thresholds.rest) {
                return self.log.has_rest.store(pages > moved, Ordering::Release);
            }
            if moved <= before {
                // Somebody reads what is older.
                return;
            }
            before = moved;
        }
    }
}

/// How many pages the log has, and how many of them are in the database; `None` if nothing can be done now: it is done later.
fn checkpoint(conn: &Connection, mode: &str) -> Option<(i64, i64)> {
    let pages = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let (busy, pages, moved) = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], pages).ok()?;
    (busy == 0).then_some((pages, moved))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const NEVER: Thresholds = Thresholds { start: u32::MAX, rest: 0, limit: u32::MAX, idle: Duration::from_secs(3600) };

    /// A database of one page whose log gets more than forty, and whoever works on it.
    struct Place {
        conn: Connection,
        path: PathBuf,
        checkpointer: Checkpointer,
        _folder: tempfile::TempDir,
    }

    impl Place {
        fn new(thresholds: Thresholds) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.db");
            let mut conn = Connection::open(&path).unwrap();
            conn.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x BLOB); PRAGMA wal_checkpoint(TRUNCATE)",
            )
            .unwrap();
            let checkpointer = Checkpointer::start(&mut conn, Connection::open(&path).unwrap(), thresholds).unwrap();
            Self { conn, path, checkpointer, _folder: folder }
        }

        fn write(&mut self) {
            self.conn.execute_batch("INSERT INTO t VALUES (randomblob(200000))").unwrap();
            self.checkpointer.after_commit();
        }

        fn database_bytes(&self) -> u64 {
            std::fs::metadata(&self.path).unwrap().len()
        }

        fn log_bytes(&self) -> u64 {
            std::fs::metadata(self.path.with_extension("db-wal")).unwrap().len()
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the limit of a test's patience")]
    fn wait_until(condition: impl Fn() -> bool) {
        let start = std::time::Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing happened for a minute");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_short_log_is_left_alone_until_the_end_and_then_emptied() {
        let mut place = Place::new(NEVER);
        place.write();
        assert!(!place.checkpointer.has_to_catch_up());
        place.checkpointer.catch_up(&place.conn);
        assert!(place.database_bytes() < 100_000 && place.log_bytes() > 200_000);
        let (conn, path) = (place.conn, place.path);
        place.checkpointer.close(&conn);
        assert!(std::fs::metadata(&path).unwrap().len() > 200_000);
        assert_eq!(std::fs::metadata(path.with_extension("db-wal")).unwrap().len(), 0);
    }

    #[test]
    fn a_longer_log_is_worked_on_in_the_background() {
        let mut place = Place::new(Thresholds { start: 10, ..NEVER });
        place.write();
        wait_until(|| place.database_bytes() > 200_000);
        assert!(!place.checkpointer.has_to_catch_up());
    }

    #[test]
    fn what_the_background_leaves_is_finished_by_the_writer_and_the_log_starts_again() {
        let mut place = Place::new(NEVER);
        place.write();
        place.checkpointer.log.has_rest.store(true, Ordering::Release);
        assert!(place.checkpointer.has_to_catch_up());
        place.checkpointer.catch_up(&place.conn);
        assert!(!place.checkpointer.has_to_catch_up());
        let bytes = place.log_bytes();
        place.write();
        assert!(place.log_bytes() < bytes * 3 / 2, "the new log is written over the old one");
    }

    #[test]
    fn the_background_says_what_it_had_to_leave_for_a_reader() {
        let mut place = Place::new(NEVER);
        place.write();
        let background = |conn| Background { conn, log: place.checkpointer.log.clone(), thresholds: Thresholds { rest: 60, ..NEVER } };
        let reader = Connection::open(&place.path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
        place.conn.execute_batch("INSERT INTO t VALUES (randomblob(200000))").unwrap();
        background(Connection::open(&place.path).unwrap()).shorten();
        assert!(place.checkpointer.has_to_catch_up());
        place.conn.execute_batch("INSERT INTO t VALUES (randomblob(200000))").unwrap();
        place.checkpointer.log.has_rest.store(false, Ordering::Release);
        background(Connection::open(&place.path).unwrap()).shorten();
        assert!(!place.checkpointer.has_to_catch_up(), "too much for a moment between two transactions");
    }

    #[test]
    fn a_log_at_its_limit_is_worked_on_before_the_next_commit() {
        let mut place = Place::new(Thresholds { limit: 10, ..NEVER });
        place.write();
        assert!(place.checkpointer.has_to_catch_up());
        place.checkpointer.catch_up(&place.conn);
        assert!(place.database_bytes() > 200_000);
    }

    #[test]
    fn a_log_that_nobody_writes_to_is_emptied_again_and_again() {
        let mut place = Place::new(Thresholds { idle: Duration::from_millis(1), ..NEVER });
        for round in 1..3 {
            place.write();
            wait_until(|| place.log_bytes() == 0);
            assert!(place.database_bytes() > round * 200_000);
            place.write();
        }
    }
}
