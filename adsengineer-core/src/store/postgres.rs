//! The store on a PostgreSQL server, for any number of processes.
//!
//! Each process has one writer: everything that waits goes into one transaction on one connection, many rows to a statement,
//! and is answered after the commit. Between transactions a connection has no state and nothing is prepared, so that a pooler
//! in transaction mode (PgBouncer) may stand between. Ids tell their time to the millisecond and are never given twice: a
//! transaction holds one of 64 slots, whose number is part of them.

mod accept;
mod args;
mod columns;
mod commit;
mod connect;
mod destinations;
mod fault;
mod leads;
mod pending;
mod queue;
mod reads;
mod repair;
mod requests;
mod revise;
mod rows;
mod run;
mod schema;
mod seen;
mod settle;
mod standing;
mod tally;
mod tls;
mod tx;
mod views;
mod waiting;
mod writer;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::oneshot;

use self::{
    commit::Chain,
    connect::{Readers, Seeing, Server},
    run::{Outcome, Task},
    writer::{Inbox, Job, Link as WriterLink, Results, Writer, ended},
};
use super::{
    Agenda, Claimed, ConversionQuery, ConversionView, DeadLetter, DeadLetterQuery, DestinationStatus, Done, LeadCounts, LeadQuery, Lease,
    Migrate, MigrationStatus, Once, Page, PendingUpload, Queue, Reads, Reconciliation, Replay, RevokedToken, Store, StoreError,
    StoredConsent, StoredDestination, StoredLead, StoredRule, UploadView, WorkerId, Write, encoding::rows_of,
};
use crate::{
    audit::{AuditKey, Link},
    id::{ConversionId, DeliveryId, DestinationId, LeadId, ReplayId},
    org::OrgId,
};

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do about an older schema, or none.
    pub migrate: Migrate,
    /// The key of the audit log.
    pub audit_key: AuditKey,
    /// Names this process's chain in the audit log; no two processes may use the same number at the same time.
    pub writer: i64,
    /// How long a statement may run or wait for a lock; a transaction may take four times as long.
    pub patience: Duration,
    /// Commands and claims that may wait.
    pub waiting: usize,
    /// Rows that may wait.
    pub waiting_rows: usize,
    /// The schema in which the tables are: small letters, digits and `_`.
    pub schema: String,
}

impl Options {
    /// The usual.
    pub fn new(audit_key: AuditKey, writer: i64) -> Self {
        let (migrate, patience, schema) = (Migrate::Check, PATIENCE, SCHEMA.to_owned());
        Self { migrate, audit_key, writer, patience, waiting: 1024, waiting_rows: 100_000, schema }
    }
}

/// A store on a PostgreSQL server.
pub struct PostgresStore {
    inbox: Inbox,
    readers: Readers,
}

/// Which migrations the database at `url` has. Changes nothing.
pub async fn migration_status(url: &str) -> Result<Vec<MigrationStatus>, StoreError> {
    migration_status_in(url, SCHEMA).await
}

/// The same for tables in a schema of another name.
pub async fn migration_status_in(url: &str, schema: &str) -> Result<Vec<MigrationStatus>, StoreError> {
    schema::status(&Server::new(url, schema, PATIENCE)?, schema).await
}

/// The usual schema.
const SCHEMA: &str = "adsengineer";
/// How long a statement usually may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl PostgresStore {
    /// Opens the store at `url` (`postgres://user:password@host:port/database`); brings its schema up to date as far as `options`
    /// allow. Needs a Tokio runtime, on which its writer goes on until the store is dropped and everything handed in is done.
    pub async fn open(url: &str, options: Options) -> Result<Self, StoreError> {
        let server = Arc::new(Server::new(url, &options.schema, options.patience)?);
        schema::prepare(&server, &options.schema, options.migrate).await?;
        let (inbox, jobs, rows) = Inbox::new(options.waiting, options.waiting_rows);
        let chain = Chain { writer: options.writer, key: options.audit_key, head: None };
        let (readers, patience) = (Readers::new(server.clone()), options.patience);
        tokio::spawn(Writer { server, jobs, rows, chain, patience, link: WriterLink::default() }.work());
        Ok(Self { inbox, readers })
    }

    async fn hand_in(&self, tasks: Vec<Task>, rows: usize) -> Results {
        let count = tasks.len();
        let (reply, answer) = oneshot::channel();
        self.inbox.hand_in(Job { tasks, rows, reply });
        answer.await.unwrap_or_else(|_| (0..count).map(|_| Err(ended())).collect())
    }

    async fn one(&self, task: Task) -> Result<Outcome, StoreError> {
        self.hand_in(vec![task], 1).await.pop().unwrap_or_else(|| Err(ended()))
    }
}

/// An outcome of another kind than its task's.
fn astray(outcome: &Outcome) -> StoreError {
    StoreError::Damaged(format!("a result went astray: {outcome:?}"))
}

/// Runs a read, on a snapshot of its own unless its statements are to see the latest.
macro_rules! read {
    ($self:ident, $($path:ident)::+ ( $($arg:expr),* )) => {
        read!($self, Seeing::One, $($path)::+ ( $($arg),* ))
    };
    ($self:ident, $seeing:expr, $($path:ident)::+ ( $($arg:expr),* )) => {{
        let reading = $self.readers.begin($seeing).await?;
        let result = $($path)::+(&reading.conn, $($arg),*).await;
        reading.end(result).await
    }};
}

#[async_trait]
impl Store for PostgresStore {
    async fn write(&self, commands: Vec<Write>) -> Vec<Result<Done, StoreError>> {
        let rows = commands.iter().map(rows_of).sum();
        let results = self.hand_in(commands.into_iter().map(Task::Write).collect(), rows).await;
        let done = |outcome| match outcome {
            Outcome::Done(done) => Ok(done),
            other => Err(astray(&other)),
        };
        results.into_iter().map(|result| result.and_then(done)).collect()
    }
}

#[async_trait]
impl Reads for PostgresStore {
    async fn destinations(&self, org: &OrgId) -> Result<Vec<StoredDestination>, StoreError> {
        read!(self, reads::destinations(org))
    }

    async fn conversions(&self, org: &OrgId, query: &ConversionQuery) -> Result<Page<ConversionView>, StoreError> {
        read!(self, reads::conversions(org, query))
    }

    async fn conversion(&self, org: &OrgId, id: ConversionId) -> Result<Option<ConversionView>, StoreError> {
        read!(self, reads::conversion(org, id))
    }

    async fn identifiers(&self, org: &OrgId, id: ConversionId) -> Result<Option<Box<[u8]>>, StoreError> {
        read!(self, reads::identifiers(org, id))
    }

    async fn conversion_of(&self, org: &OrgId, id: DeliveryId) -> Result<Option<ConversionId>, StoreError> {
        read!(self, reads::conversion_of(org, id))
    }

    async fn dead_letters(&self, org: &OrgId, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, StoreError> {
        read!(self, reads::dead_letters(org, query))
    }

    async fn status(&self, org: &OrgId, now_ms: i64) -> Result<Vec<DestinationStatus>, StoreError> {
        read!(self, standing::status(org, now_ms))
    }

    async fn reconciliation(&self, org: &OrgId) -> Result<Reconciliation, StoreError> {
        read!(self, standing::reconciliation(org))
    }

    async fn uploads(&self, org: &OrgId, limit: usize) -> Result<Vec<UploadView>, StoreError> {
        read!(self, reads::uploads(org, limit))
    }

    async fn audit(&self, after: i64, limit: usize) -> Result<Vec<Link>, StoreError> {
        read!(self, Seeing::Latest, reads::audit(after, limit))
    }

    async fn lead(&self, org: &OrgId, id: LeadId) -> Result<Option<StoredLead>, StoreError> {
        read!(self, leads::one(org, id))
    }

    async fn leads(&self, org: &OrgId, query: &LeadQuery) -> Result<Page<StoredLead>, StoreError> {
        read!(self, Seeing::Latest, leads::list(org, query))
    }

    async fn lead_consents(&self, org: &OrgId, id: LeadId) -> Result<Vec<StoredConsent>, StoreError> {
        read!(self, leads::consents(org, id))
    }

    async fn lead_counts(&self, org: &OrgId) -> Result<LeadCounts, StoreError> {
        read!(self, leads::counts(org))
    }

    async fn rules(&self, org: &OrgId) -> Result<Vec<StoredRule>, StoreError> {
        read!(self, requests::rules(org))
    }

    async fn requested(&self, once: &Once, now_ms: i64) -> Result<Option<Done>, StoreError> {
        read!(self, requests::requested(once, now_ms))
    }

    async fn replay(&self, org: &OrgId, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        read!(self, requests::replay(org, id))
    }

    async fn organizations(&self) -> Result<Vec<OrgId>, StoreError> {
        read!(self, reads::organizations())
    }
}

#[async_trait]
impl Queue for PostgresStore {
    async fn enabled_destinations(&self) -> Result<Vec<StoredDestination>, StoreError> {
        read!(self, reads::enabled_destinations())
    }

    async fn agenda(&self, _now_ms: i64) -> Result<Vec<Agenda>, StoreError> {
        read!(self, standing::agenda())
    }

    async fn claim(&self, destination: DestinationId, limit: usize, lease: Lease, now_ms: i64) -> Result<Vec<Claimed>, StoreError> {
        match self.one(Task::Claim { destination, limit, lease, now_ms }).await? {
            Outcome::Claimed(rows) => Ok(rows),
            other => Err(astray(&other)),
        }
    }

    async fn claim_polls(
        &self,
        destination: DestinationId,
        limit: usize,
        lease: Lease,
        now_ms: i64,
    ) -> Result<Vec<PendingUpload>, StoreError> {
        match self.one(Task::Polls { destination, limit, lease, now_ms }).await? {
            Outcome::Polls(uploads) => Ok(uploads),
            other => Err(astray(&other)),
        }
    }

    async fn recover(&self, gone: &[WorkerId], now_ms: i64) -> Result<u64, StoreError> {
        match self.one(Task::Recover { gone: gone.to_vec(), now_ms }).await? {
            Outcome::Freed(rows) => Ok(rows),
            other => Err(astray(&other)),
        }
    }

    async fn revoked_tokens(&self, after: i64, now_ms: i64) -> Result<Vec<RevokedToken>, StoreError> {
        read!(self, requests::revoked(after, now_ms))
    }

    async fn running_replays(&self) -> Result<Vec<Replay>, StoreError> {
        read!(self, requests::running_replays())
    }

    async fn workers(&self) -> Result<Vec<WorkerId>, StoreError> {
        read!(self, queue::workers())
    }
}
