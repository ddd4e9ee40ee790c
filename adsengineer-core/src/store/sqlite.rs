//! The embedded store: one SQLite file, any number of processes.
//!
//! Everything that waits to be written goes into one transaction and is answered after the commit is on disk
//! (`synchronous=FULL`); reads use a few connections of their own.

mod accept;
mod checkpoint;
mod columns;
mod desk;
mod destinations;
mod error;
mod inserting;
mod keys;
mod leads;
mod queue;
mod reads;
mod requests;
mod revise;
mod rows;
mod schema;
mod settle;
mod standing;
mod tally;
mod tx;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use self::{
    checkpoint::{Checkpointer, Thresholds},
    desk::{Desk, Pace, QUICK, ended},
    keys::{Keys, Limits},
    tx::Tx,
    writer::{Batch, Single, Writer, is_small},
};
pub use super::migrate::{Migrate, MigrationStatus};
use super::{
    Agenda, Claimed, ConversionQuery, ConversionView, DeadLetter, DeadLetterQuery, DestinationStatus, Done, LeadCounts, LeadQuery, Lease,
    Once, Page, PendingUpload, Queue, Reads, Reconciliation, Replay, RevokedToken, Store, StoreError, StoredConsent, StoredDestination,
    StoredLead, StoredRule, UploadView, WorkerId, Write, encoding::rows_of,
};
use crate::{
    audit::{AuditKey, Link},
    id::{ConversionId, DeliveryId, DestinationId, LeadId, ReplayId},
    org::OrgId,
};
pub use schema::migration_status;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do about an older schema.
    pub migrate: Migrate,
    /// The key of the audit log.
    pub audit_key: AuditKey,
    /// Names this process's chain in the audit log; the same number goes on with the same chain.
    pub writer: i64,
    /// How long to wait for another process that writes.
    pub busy_timeout: Duration,
    /// Commands and claims that may wait.
    pub waiting: usize,
    /// Rows that may wait.
    pub waiting_rows: usize,
    /// Pages of 4 KiB that the file may have; `None`: as many as the disk has room for.
    pub max_pages: Option<u32>,
    /// Hashes of new rows that are kept in memory before they are put in order on disk; at least one.
    pub recent_keys: usize,
}

impl Options {
    /// The usual.
    pub fn new(audit_key: AuditKey, writer: i64) -> Self {
        let busy_timeout = Duration::from_secs(5);
        Self {
            migrate: Migrate::Auto,
            audit_key,
            writer,
            busy_timeout,
            waiting: 1024,
            waiting_rows: 100_000,
            max_pages: None,
            recent_keys: 192 * 1024,
        }
    }
}

/// Readers at the same time.
const READERS: usize = 4;
/// Page caches, in KiB: with the rows on their way they bound the process's memory.
const WRITER_CACHE_KIB: i64 = 24 * 1024;
const READER_CACHE_KIB: i64 = 2 * 1024;

/// A store in one SQLite file.
pub struct SqliteStore {
    desk: Desk,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
    busy_timeout: Duration,
    idle: Mutex<Vec<Connection>>,
    free: Arc<Semaphore>,
}

impl SqliteStore {
    /// Opens the store at `path`; creates it, and brings its schema up to date, as far as `options` allow.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        if options.migrate != Migrate::Off {
            schema::create_file(path)?;
        }
        let mut conn = connect(path, options.busy_timeout, WRITER_CACHE_KIB)?;
        let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |r| r.get(0))?;
        if mode != "wal" {
            return Err(StoreError::Unavailable(format!("{} cannot have a write-ahead log: is it on a network share?", path.display())));
        }
        conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY")?;
        schema::prepare(&mut conn, path, options.migrate)?;
        if let Some(pages) = options.max_pages {
            conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        }
        let no_thread = |error: std::io::Error| StoreError::Unavailable(format!("cannot start a thread: {error}"));
        let background = connect(path, Duration::ZERO, READER_CACHE_KIB)?;
        let checkpointer = Checkpointer::start(&mut conn, background, Thresholds::USUAL)?;
        let keys = Keys::new(Limits::with_log(options.recent_keys));
        let (chain, audit_key, patience) = (options.writer, options.audit_key, options.busy_timeout);
        let writer = Writer { conn, patience, keys, chain, audit_key, checkpointer, pace: Pace::new(QUICK) };
        let desk = Desk::open(writer, options.waiting, options.waiting_rows).map_err(no_thread)?;
        let free = Arc::new(Semaphore::new(READERS));
        let readers = Readers { path: path.to_owned(), busy_timeout: options.busy_timeout, idle: Mutex::default(), free };
        Ok(Self { desk, readers: Arc::new(readers) })
    }

    async fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = self.readers.clone();
        let permit = readers.free.clone().acquire_owned().await.map_err(|_| ended())?;
        let task = tokio::task::spawn_blocking(move || {
            let result = readers.run(run);
            drop(permit);
            result
        });
        task.await.map_err(|_| StoreError::Unavailable("a read was cancelled".to_owned()))?
    }

    async fn queue<T: Send + 'static>(
        &self,
        rows: usize,
        run: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.desk.hand_in(Box::new(Single { run: Box::new(run), reply }), rows);
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn connect(path: &Path, busy_timeout: Duration, cache_kib: i64) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(busy_timeout)?;
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    // Plans must not depend on bound values: statements would be prepared again whenever they change.
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

impl Readers {
    /// One snapshot for everything that `run` reads.
    fn run<T>(&self, run: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => connect(&self.path, self.busy_timeout, READER_CACHE_KIB)?,
        };
        let snapshot = conn.transaction()?;
        let result = run(&snapshot);
        drop(snapshot);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        result
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn write(&self, commands: Vec<Write>) -> Vec<Result<Done, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let (count, rows) = (commands.len(), commands.iter().map(rows_of).sum());
        let is_small = matches!(&commands[..], [command] if is_small(command));
        let job = Box::new(Batch { commands, reply });
        if is_small {
            self.desk.hand_in_small(job, rows);
        } else {
            self.desk.hand_in(job, rows);
        }
        answer.await.unwrap_or_else(|_| vec![Err(ended()); count])
    }
}

#[async_trait]
impl Reads for SqliteStore {
    async fn destinations(&self, org: &OrgId) -> Result<Vec<StoredDestination>, StoreError> {
        let org = org.clone();
        self.read(move |conn| reads::destinations(conn, &org)).await
    }

    async fn conversions(&self, org: &OrgId, query: &ConversionQuery) -> Result<Page<ConversionView>, StoreError> {
        let (org, query) = (org.clone(), query.clone());
        self.read(move |conn| reads::conversions(conn, &org, &query)).await
    }

    async fn conversion(&self, org: &OrgId, id: ConversionId) -> Result<Option<ConversionView>, StoreError> {
        let org = org.clone();
        self.read(move |conn| reads::conversion(conn, &org, id)).await
    }

    async fn identifiers(&self, org: &OrgId, id: ConversionId) -> Result<Option<Box<[u8]>>, StoreError> {
        let org = org.clone();
        self.read(move |conn| reads::identifiers(conn, &org, id)).await
    }

    async fn conversion_of(&self, org: &OrgId, id: DeliveryId) -> Result<Option<ConversionId>, StoreError> {
        let org = org.clone();
        self.read(move |conn| reads::conversion_of(conn, &org, id)).await
    }

    async fn dead_letters(&self, org: &OrgId, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, StoreError> {
        let (org, query) = (org.clone(), query.clone());
        self.read(move |conn| reads::dead_letters(conn, &org, &query)).await
    }

    async fn status(&self, org: &OrgId, now_ms: i64) -> Result<Vec<DestinationStatus>, StoreError> {
        let org = org.clone();
        self.read(move |conn| standing::status(conn, &org, now_ms)).await
    }

    async fn reconciliation(&self, org: &OrgId) -> Result<Reconciliation, StoreError> {
        let org = org.clone();
        self.read(move |conn| standing::reconciliation(conn, &org)).await
    }

    async fn uploads(&self, org: &OrgId, limit: usize) -> Result<Vec<UploadView>, StoreError> {
        let org = org.clone();
        self.read(move |conn| reads::uploads(conn, &org, limit)).await
    }

    async fn audit(&self, after: i64, limit: usize) -> Result<Vec<Link>, StoreError> {
        self.read(move |conn| reads::audit(conn, after, limit)).await
    }

    async fn lead(&self, org: &OrgId, id: LeadId) -> Result<Option<StoredLead>, StoreError> {
        let org = org.clone();
        self.read(move |conn| leads::one(conn, &org, id)).await
    }

    async fn leads(&self, org: &OrgId, query: &LeadQuery) -> Result<Page<StoredLead>, StoreError> {
        let (org, query) = (org.clone(), query.clone());
        self.read(move |conn| leads::list(conn, &org, &query)).await
    }

    async fn lead_consents(&self, org: &OrgId, id: LeadId) -> Result<Vec<StoredConsent>, StoreError> {
        let org = org.clone();
        self.read(move |conn| leads::consents(conn, &org, id)).await
    }

    async fn lead_counts(&self, org: &OrgId) -> Result<LeadCounts, StoreError> {
        let org = org.clone();
        self.read(move |conn| leads::counts(conn, &org)).await
    }

    async fn rules(&self, org: &OrgId) -> Result<Vec<StoredRule>, StoreError> {
        let org = org.clone();
        self.read(move |conn| requests::rules(conn, &org)).await
    }

    async fn requested(&self, once: &Once, now_ms: i64) -> Result<Option<Done>, StoreError> {
        let once = once.clone();
        self.read(move |conn| requests::before(conn, &once, now_ms)).await
    }

    async fn replay(&self, org: &OrgId, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        let org = org.clone();
        self.read(move |conn| requests::replay(conn, &org, id)).await
    }

    async fn organizations(&self) -> Result<Vec<OrgId>, StoreError> {
        self.read(reads::organizations).await
    }
}

#[async_trait]
impl Queue for SqliteStore {
    async fn enabled_destinations(&self) -> Result<Vec<StoredDestination>, StoreError> {
        self.read(reads::enabled_destinations).await
    }

    async fn agenda(&self, _now_ms: i64) -> Result<Vec<Agenda>, StoreError> {
        self.read(standing::agenda).await
    }

    async fn claim(&self, destination: DestinationId, limit: usize, lease: Lease, now_ms: i64) -> Result<Vec<Claimed>, StoreError> {
        self.queue(1, move |tx| queue::claim(tx, destination, limit, lease, now_ms)).await
    }

    async fn claim_polls(
        &self,
        destination: DestinationId,
        limit: usize,
        lease: Lease,
        now_ms: i64,
    ) -> Result<Vec<PendingUpload>, StoreError> {
        self.queue(1, move |tx| queue::claim_polls(tx, destination, limit, lease, now_ms)).await
    }

    async fn recover(&self, gone: &[WorkerId], now_ms: i64) -> Result<u64, StoreError> {
        let gone = gone.to_vec();
        self.queue(1, move |tx| queue::recover(tx, &gone, now_ms)).await
    }

    async fn revoked_tokens(&self, after: i64, now_ms: i64) -> Result<Vec<RevokedToken>, StoreError> {
        self.read(move |conn| requests::revoked(conn, after, now_ms)).await
    }

    async fn running_replays(&self) -> Result<Vec<Replay>, StoreError> {
        self.read(requests::running_replays).await
    }

    async fn workers(&self) -> Result<Vec<WorkerId>, StoreError> {
        self.read(queue::workers).await
    }
}
