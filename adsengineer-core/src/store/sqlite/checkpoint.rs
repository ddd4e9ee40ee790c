//! Moving what was committed from the write-ahead log into the database file, off the path of commits.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;

/// From this size of the log on, the background moves pages out of it.
const START_BYTES: u64 = 32 << 20;
/// From this size on, the writer itself finishes the job between two transactions, so that the log starts again.
const LIMIT_BYTES: u64 = 192 << 20;
/// After this long without a commit, the log is emptied.
const IDLE: Duration = Duration::from_secs(5);

/// The writer's end.
pub(super) struct Checkpointer {
    log: PathBuf,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the background, on a connection of its own.
    pub(super) fn start(database: &std::path::Path, conn: Connection) -> std::io::Result<Self> {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let (wake, woken) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("sqlite-checkpoint".into()).spawn(move || background(&conn, &woken))?;
        Ok(Self { log: log.into(), wake: Some(wake), thread: Some(thread) })
    }

    pub(super) fn after_commit(&self, conn: &Connection) {
        let bytes = std::fs::metadata(&self.log).map_or(0, |m| m.len());
        if bytes > LIMIT_BYTES {
            checkpoint(conn, "PASSIVE");
        } else if bytes > START_BYTES
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

fn background(conn: &Connection, woken: &Receiver<()>) {
    let mut idle = false;
    loop {
        match woken.recv_timeout(IDLE) {
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
