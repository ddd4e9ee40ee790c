//! Everyday verbs, done by the engine in this process or by a server: one set of commands, one output.

mod local;
mod remote;

use adsengineer_core::{
    destination::{CheckFinding, DestinationSpec},
    engine::{Matched, ReplayRequest},
    id::ChangeId,
    lead::LeadStatus,
    secret::Secret,
    shape::{
        Conversion, Conversions, DeadLetter, DeadLetters, Destination, Destinations, Lead, Leads, Reconciliation, ReplayStatus, Rule,
        Rules, Status,
    },
    store::{ConversionQuery, DeadLetterQuery},
};
use async_trait::async_trait;
pub use local::Local;
pub use remote::Remote;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// Everyday verbs of one organization.
#[async_trait]
pub trait Api: Send + Sync {
    /// Conversions with their deliveries.
    async fn conversions(&self, query: &ConversionQuery) -> Result<Conversions, CliError>;
    /// One conversion, by its id, a delivery's, or its order id.
    async fn explain(&self, id: &str) -> Result<Conversion, CliError>;
    /// Dead letters.
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<DeadLetters, CliError>;
    /// One dead letter.
    async fn dead_letter(&self, id: &str) -> Result<DeadLetter, CliError>;
    /// How many dead letters match.
    async fn count_dead_letters(&self, request: &ReplayRequest) -> Result<Matched, CliError>;
    /// Sends dead letters again; a server goes on by itself, which `follow` is told.
    async fn replay(&self, request: &ReplayRequest, follow: &Follow) -> Result<Mended, CliError>;
    /// Stops a replay.
    async fn stop_replay(&self, id: &str) -> Result<ReplayStatus, CliError>;
    /// Gives dead letters up.
    async fn discard(&self, request: &ReplayRequest) -> Result<Mended, CliError>;
    /// Where everything stands.
    async fn status(&self) -> Result<Status, CliError>;
    /// The sum.
    async fn reconciliation(&self) -> Result<Reconciliation, CliError>;
    /// All destinations.
    async fn destinations(&self) -> Result<Destinations, CliError>;
    /// One destination.
    async fn destination(&self, name: &str) -> Result<Destination, CliError>;
    /// Creates or replaces a destination; without `credentials` it keeps its own.
    async fn put_destination(
        &self,
        name: &str,
        spec: DestinationSpec,
        credentials: Option<&Secret<String>>,
    ) -> Result<Destination, CliError>;
    /// Tries a destination; on success lets held rows go.
    async fn check_destination(&self, name: &str) -> Result<Checked, CliError>;
    /// Removes a destination; returns how many deliveries were stopped.
    async fn remove_destination(&self, name: &str, force: bool) -> Result<u64, CliError>;
    /// All rules.
    async fn rules(&self) -> Result<Rules, CliError>;
    /// One rule.
    async fn rule(&self, name: &str) -> Result<Rule, CliError>;
    /// Creates or replaces a rule.
    async fn put_rule(&self, name: &str, rule: &serde_json::Value) -> Result<Rule, CliError>;
    /// Removes a rule.
    async fn remove_rule(&self, name: &str) -> Result<(), CliError>;
    /// Leads in the order of their latest changes.
    async fn leads(&self, query: &LeadFilter) -> Result<Leads, CliError>;
    /// One lead.
    async fn lead(&self, id: &str) -> Result<Lead, CliError>;
    /// Deletes a lead.
    async fn delete_lead(&self, id: &str) -> Result<(), CliError>;
}

/// Told how far a replay is.
pub type Follow = dyn Fn(&ReplayStatus) + Send + Sync;

/// Which leads.
#[derive(Clone, Debug, Default)]
pub struct LeadFilter {
    /// Only those with this status.
    pub status: Option<LeadStatus>,
    /// Only those stored or changed since, in Unix milliseconds.
    pub updated_since_ms: Option<i64>,
    /// Latest change first.
    pub descending: bool,
    /// Where the page before ended.
    pub cursor: Option<ChangeId>,
    /// How many at most.
    pub limit: usize,
}

/// What became of dead letters that were sent again or given up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Mended {
    /// Those that were asked for, without those that may count twice.
    pub matched: u64,
    /// Done.
    pub repaired: u64,
    /// Not dead, or not any more.
    pub not_dead: u64,
    /// Not there.
    pub not_found: u64,
    /// Left out: they may count twice.
    pub needs_accept_duplicates: u64,
    /// The server's replay, while it runs or was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<ReplayStatus>,
}

/// What trying a destination found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checked {
    /// Whether it can be sent to.
    pub ok: bool,
    /// What was found.
    pub findings: Vec<CheckFinding>,
    /// Held rows that were let go.
    pub released: u64,
}
