//! Moving what was committed from the write-ahead log into the database file, off the path of commits.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;

/// When the log is worked on.
#[derive(Clone, Copy)]
pub(super) struct Thresholds {
    /// From this size of the log on, the background moves pages out of it.
    pub(super) start_bytes: u64,
    /// From this size on, the writer itself finishes the job between two transactions, so that the log starts again.
    pub(super) limit_bytes: u64,
    /// After this long without a commit, the log is emptied.
    pub(super) idle: Duration,
}

impl Thresholds {
    /// The usual.
    pub(super) const USUAL: Self = Self { start_bytes: 32 << 20, limit_bytes: 192 << 20, idle: Duration::from_secs(5) };
}

/// The writer's end.
pub(super) struct Checkpointer {
    log: PathBuf,
    thresholds: Thresholds,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the background, on a connection of its own.
    pub(super) fn start(database: &Path, conn: Connection, thresholds: Thresholds) -> std::io::Result<Self> {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let (wake, woken) = std::sync::mpsc::sync_channel(1);
        let thread =
            std::thread::Builder::new().name("sqlite-checkpoint".into()).spawn(move || background(&conn, &woken, thresholds.idle))?;
        Ok(Self { log: log.into(), thresholds, wake: Some(wake), thread: Some(thread) })
    }

    pub(super) fn after_commit(&self, conn: &Connection) {
        let bytes = std::fs::metadata(&self.log).map_or(0, |m| m.len());
        if bytes > self.thresholds.limit_bytes {
            checkpoint(conn, "PASSIVE");
        } else if bytes > self.thresholds.start_bytes
            && let Some(wake) = &self.wake
        {
            // A full channel means that it is at work already.
            let _ = wake.try_send(());
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

fn background(conn: &Connection, woken: &Receiver<()>, longest: Duration) {
    let mut idle = false;
    loop {
        match woken.recv_timeout(longest) {
            Ok(()) => {
                checkpoint(conn, "PASSIVE");
                idle = false;
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) if !idle => {
                checkpoint(conn, "TRUNCATE");
                idle = true;
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// One that cannot be done now is done later.
fn checkpoint(conn: &Connection, mode: &str) {
    drop(conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Thresholds = Thresholds { start_bytes: u64::MAX, limit_bytes: u64::MAX, idle: Duration::from_secs(3600) };

    /// A database of one page with a log of more than forty.
    struct Place {
        conn: Connection,
        path: PathBuf,
        _folder: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.db");
            let conn = Connection::open(&path).unwrap();
            conn.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x BLOB);
                 PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (randomblob(200000))",
            )
            .unwrap();
            Self { conn, path, _folder: folder }
        }

        fn start(&self, thresholds: Thresholds) -> Checkpointer {
            Checkpointer::start(&self.path, Connection::open(&self.path).unwrap(), thresholds).unwrap()
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
        let place = Place::new();
        let checkpointer = place.start(NEVER);
        checkpointer.after_commit(&place.conn);
        assert!(place.database_bytes() < 100_000 && place.log_bytes() > 200_000);
        checkpointer.close(&place.conn);
        assert!(place.database_bytes() > 200_000);
        assert_eq!(place.log_bytes(), 0);
    }

    #[test]
    fn a_longer_log_is_worked_on_in_the_background() {
        let place = Place::new();
        let checkpointer = place.start(Thresholds { start_bytes: 1000, ..NEVER });
        checkpointer.after_commit(&place.conn);
        wait_until(|| place.database_bytes() > 200_000);
        checkpointer.close(&place.conn);
    }

    #[test]
    fn a_log_at_its_limit_is_worked_on_before_the_next_commit() {
        let place = Place::new();
        let checkpointer = place.start(Thresholds { limit_bytes: 1000, ..NEVER });
        checkpointer.after_commit(&place.conn);
        assert!(place.database_bytes() > 200_000);
        checkpointer.close(&place.conn);
    }

    #[test]
    fn a_log_that_nobody_writes_to_is_emptied() {
        let place = Place::new();
        let checkpointer = place.start(Thresholds { idle: Duration::from_millis(1), ..NEVER });
        wait_until(|| place.log_bytes() == 0);
        assert!(place.database_bytes() > 200_000);
        checkpointer.close(&place.conn);
    }
}
