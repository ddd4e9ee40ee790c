//! The door to what is kept: one `write` of a closed set of commands, reads of a tenant's data, and the queue.
//!
//! Every command of a batch succeeds or fails on its own; an `Ok` is given only after the commit is on disk.
//! The same conformance suite runs over every store (`tests/store_conformance.rs`).

mod commands;
mod database;
mod decisions;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod encoding;
mod leads;
mod migrate;
pub mod model;
#[cfg(feature = "postgres")]
pub mod postgres;
mod remembered;
mod results;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod tally;
mod views;

use async_trait::async_trait;

use crate::{
    id::{ConversionId, DeliveryId, DestinationId, LeadId, ReplayId},
    org::OrgId,
};
pub use commands::*;
pub use database::{Database, NoDatabase};
pub(crate) use decisions::*;
pub use leads::*;
pub use migrate::{Migrate, MigrationStatus};
pub use results::*;
pub use views::*;

/// Why a store could not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Too much is waiting; nothing was written.
    #[error("the database has too much to do; nothing was written, try again")]
    Busy,
    /// Another process holds the database, or it cannot be reached; nothing was written.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The disk is full; nothing was written.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// The schema is newer than this program, or older and may not be changed now.
    #[error("{0}")]
    Schema(String),
    /// What is stored makes no sense.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// The command names something that is not there.
    #[error("{0} is not there")]
    NotFound(String),
    /// The command does not fit what is there.
    #[error("{0}")]
    Conflict(String),
}

/// Everything kept: what changes it, what shows it, and the queue.
#[async_trait]
pub trait Store: Reads + Queue {
    /// Runs `commands` in one transaction, in order; each has its own result, and none fails for another's sake.
    async fn write(&self, commands: Vec<Write>) -> Vec<Result<Done, StoreError>>;
}

/// What is kept for tenants; each read names whose.
#[async_trait]
pub trait Reads: Send + Sync {
    /// The organization's destinations by name.
    async fn destinations(&self, org: &OrgId) -> Result<Vec<StoredDestination>, StoreError>;

    /// Conversions with their deliveries.
    async fn conversions(&self, org: &OrgId, query: &ConversionQuery) -> Result<Page<ConversionView>, StoreError>;

    /// One conversion with its deliveries and their history.
    async fn conversion(&self, org: &OrgId, id: ConversionId) -> Result<Option<ConversionView>, StoreError>;

    /// The sealed identifiers of a conversion.
    async fn identifiers(&self, org: &OrgId, id: ConversionId) -> Result<Option<Box<[u8]>>, StoreError>;

    /// The conversion that a delivery belongs to.
    async fn conversion_of(&self, org: &OrgId, id: DeliveryId) -> Result<Option<ConversionId>, StoreError>;

    /// Dead letters with their history.
    async fn dead_letters(&self, org: &OrgId, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, StoreError>;

    /// Where every destination of the organization stands.
    async fn status(&self, org: &OrgId, now_ms: i64) -> Result<Vec<DestinationStatus>, StoreError>;

    /// What came in, and what became of it, counted from the rows themselves.
    async fn reconciliation(&self, org: &OrgId) -> Result<Reconciliation, StoreError>;

    /// The uploads of the organization, newest first.
    async fn uploads(&self, org: &OrgId, limit: usize) -> Result<Vec<UploadView>, StoreError>;

    /// The audit links from `after` on, oldest first.
    async fn audit(&self, after: i64, limit: usize) -> Result<Vec<crate::audit::Link>, StoreError>;

    /// One lead.
    async fn lead(&self, org: &OrgId, id: LeadId) -> Result<Option<StoredLead>, StoreError>;

    /// Leads in the order of their latest changes; the cursor is a [`ChangeId`](crate::id::ChangeId).
    async fn leads(&self, org: &OrgId, query: &LeadQuery) -> Result<Page<StoredLead>, StoreError>;

    /// What a lead's person agreed to, oldest record first; also of a lead that was deleted.
    async fn lead_consents(&self, org: &OrgId, id: LeadId) -> Result<Vec<StoredConsent>, StoreError>;

    /// How many leads there were.
    async fn lead_counts(&self, org: &OrgId) -> Result<LeadCounts, StoreError>;

    /// The organization's rules by name.
    async fn rules(&self, org: &OrgId) -> Result<Vec<StoredRule>, StoreError>;

    /// What the request under this key did, if it was done: [`Done::Repeated`] or [`Done::OtherRequest`].
    async fn requested(&self, once: &Once, now_ms: i64) -> Result<Option<Done>, StoreError>;

    /// A replay.
    async fn replay(&self, org: &OrgId, id: ReplayId) -> Result<Option<Replay>, StoreError>;

    /// Names of organizations that have anything.
    async fn organizations(&self) -> Result<Vec<OrgId>, StoreError>;
}

/// The work to be done, across all tenants.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Every enabled destination with open work: due or not, in flight or awaiting a verdict.
    async fn agenda(&self, now_ms: i64) -> Result<Vec<Agenda>, StoreError>;

    /// Every enabled destination, by id, with open work or not.
    async fn enabled_destinations(&self) -> Result<Vec<StoredDestination>, StoreError>;

    /// Takes up to `limit` rows of `destination` that are due, earliest first, for the lease's time.
    async fn claim(&self, destination: DestinationId, limit: usize, lease: Lease, now_ms: i64) -> Result<Vec<Claimed>, StoreError>;

    /// Takes up to `limit` uploads of `destination` whose verdict is due, and moves their next question to the end of the lease, or
    /// to the time at which the worker is found to be gone.
    async fn claim_polls(
        &self,
        destination: DestinationId,
        limit: usize,
        lease: Lease,
        now_ms: i64,
    ) -> Result<Vec<PendingUpload>, StoreError>;

    /// Frees what leases that have run out, or workers that are gone, had claimed: unsent rows are queued again,
    /// sent ones without an answer become unknown and due; questions for verdicts that gone workers had taken are due again.
    /// Returns how many rows.
    async fn recover(&self, gone: &[WorkerId], now_ms: i64) -> Result<u64, StoreError>;

    /// Tokens revoked after `after` in the order of revocations, those that can still be valid.
    async fn revoked_tokens(&self, after: i64, now_ms: i64) -> Result<Vec<RevokedToken>, StoreError>;

    /// Replays that are running.
    async fn running_replays(&self) -> Result<Vec<Replay>, StoreError>;

    /// Workers that hold claims or have taken a question for a verdict.
    async fn workers(&self) -> Result<Vec<WorkerId>, StoreError>;
}
