//! Everything through one struct: open a database, take conversions in, deliver them, read what became of them.
//!
//! The CLI and the server are thin faces of this; another Rust service can embed it the same way. An operation takes
//! the [`Caller`] it is done for: reads need [`Role::Viewer`], sending [`Role::Member`], repair and configuration [`Role::Admin`].
//!
//! ```no_run
//! use adsengineer_core::{
//!     engine::{Engine, EngineConfig, EngineError},
//!     org::{Caller, OrgId, Role},
//! };
//!
//! # async fn example(config: EngineConfig, org: OrgId) -> Result<(), EngineError> {
//! let engine = Engine::open(config).await?;
//! let caller = Caller::trusted(org, Role::Viewer);
//! let sum = engine.reconciliation(&caller).await?;
//! for destination in engine.status(&caller).await? {
//!     println!("{}: {:?}", destination.destination.name, destination.states);
//! }
//! # let _ = sum;
//! # Ok(())
//! # }
//! ```

mod accept;
mod connect;
mod conversions;
mod destinations;
mod leads;
mod replays;
mod setup;
mod tokens;

use std::sync::Arc;

use rand::RngExt;
use tokio::sync::watch;

pub use accept::{Batch, Incoming, Refusal, transaction_id};
pub use connect::{CredentialSources, GoogleConnector};
pub use conversions::{AcceptedConversion, AcceptedConversions};
pub use destinations::{Credentials, MOST_ACTIONS, MOST_DESTINATIONS};
pub use leads::{AcceptedLeads, LeadView, RuleConversion};
pub use replays::{MOST_REPLAYS, Match, Matched, ReplayRequest};
pub use setup::MOST_RULES;
use setup::{Setup, Setups};
use tokens::Revoked;
pub use tokens::{MOST_REVOKED, MOST_REVOKED_OF_ONE, new_token_id};

use crate::{
    clock::{Clock, SystemClock},
    destination::google::GoogleSettings,
    id::{ConversionId, DeliveryId},
    lead::{FieldError, LeadStatus},
    org::{Caller, Role},
    rate_limit,
    scoring::Scoring,
    store::{
        ConversionQuery, ConversionView, Database, DeadLetter, DeadLetterQuery, DestinationStatus, Done, LeadCounts, Migrate, Once, Page,
        Reconciliation, Repair, RepairAction, Repaired, Request, Store, StoreError, StoredDestination, Write,
    },
    vault::{Vault, VaultError},
    worker::{RunReport, Worker, WorkerSettings},
};

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The caller's role does not allow it.
    #[error("this needs the role {needed:?}, and the caller has {has:?}")]
    Forbidden {
        /// The role it needs.
        needed: Role,
        /// The role the caller has.
        has: Role,
    },
    /// A row cannot go where it should; nothing of its batch was captured.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The organization has no such destination.
    #[error("there is no destination `{name}`{}", known(names))]
    NoDestination {
        /// The name asked for.
        name: String,
        /// The names there are.
        names: Vec<Arc<str>>,
    },
    /// The thing asked for is not there.
    #[error("there is no {0}")]
    NotFound(String),
    /// Fields of a request cannot be used; nothing of it was done.
    #[error("{} fields of the request cannot be used", .0.len())]
    Invalid(Vec<FieldError>),
    /// The idempotency key was used for another request.
    #[error("this idempotency key was used for another request within 24 hours; give each request a key of its own")]
    KeyReused,
    /// A lead cannot go from one status to another.
    #[error("a lead that is {from} cannot become {to}", from = from.as_str(), to = to.as_str())]
    Status {
        /// The status it has.
        from: LeadStatus,
        /// The status asked for.
        to: LeadStatus,
    },
    /// A destination with open deliveries is only removed by force.
    #[error("{0}")]
    OpenDeliveries(String),
    /// What is sealed cannot be opened.
    #[error("what is stored cannot be opened: {0}")]
    Vault(#[from] VaultError),
    /// More tokens are revoked than are remembered.
    #[error(
        "too many tokens are revoked already ({MOST_REVOKED_OF_ONE} of one organization, {MOST_REVOKED} of all); change the signing secret instead, which makes all older tokens invalid"
    )]
    TooManyRevoked,
    /// An organization has as many of something as it may.
    #[error("an organization may have {most} {what}; remove some first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        most: usize,
    },
    /// The worker could not be set up.
    #[error("the worker's lock beside the database cannot be taken: {0}")]
    Lock(#[from] std::io::Error),
}

fn known(names: &[Arc<str>]) -> String {
    if names.is_empty() { "; none is configured yet".to_owned() } else { format!("; there are: {}", names.join(", ")) }
}

/// How an engine is opened.
pub struct EngineConfig {
    /// Where everything is kept.
    pub database: Database,
    /// Whether an older schema is brought up to date.
    pub migrate: Migrate,
    /// Opens and seals what is sealed in the database.
    pub vault: Arc<Vault>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where Google is.
    pub google: GoogleSettings,
    /// Credentials of the machine, by the names that destinations refer to them.
    pub credentials: CredentialSources,
    /// How deliveries are worked off.
    pub worker: WorkerSettings,
    /// What leads are worth.
    pub scoring: Scoring,
}

impl EngineConfig {
    /// The usual: the real clock, Google itself, and every default.
    pub fn new(database: impl Into<Database>, vault: Vault) -> Self {
        let database = database.into();
        Self {
            migrate: database.usual_migrate(),
            database,
            vault: Arc::new(vault),
            clock: Arc::new(SystemClock),
            google: GoogleSettings::default(),
            credentials: CredentialSources::default(),
            worker: WorkerSettings::default(),
            scoring: Scoring::default(),
        }
    }
}

/// Everything through one struct; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    connector: Arc<GoogleConnector>,
    worker: WorkerSettings,
    database: Database,
    scoring: Arc<Scoring>,
    setups: Arc<Setups>,
    revoked: Arc<Revoked>,
}

impl Engine {
    /// Opens the database, making a file where there is none.
    pub async fn open(config: EngineConfig) -> Result<Self, EngineError> {
        // Each process has a chain of its own in the audit log.
        let chain = rand::rng().random_range(1..i64::MAX);
        let store = config.database.open(config.migrate, config.vault.audit_key(), chain).await?;
        let connector = GoogleConnector::new(config.vault.clone(), config.google, config.credentials, config.clock.clone());
        Ok(Self {
            store,
            vault: config.vault,
            clock: config.clock,
            connector: Arc::new(connector),
            worker: config.worker,
            database: config.database,
            scoring: Arc::new(config.scoring),
            setups: Arc::default(),
            revoked: Arc::default(),
        })
    }

    /// The store itself, for what the engine does not offer.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The door to the platforms.
    pub fn connector(&self) -> &Arc<GoogleConnector> {
        &self.connector
    }

    /// How deliveries are worked off.
    pub fn worker_settings(&self) -> &WorkerSettings {
        &self.worker
    }

    /// A worker on this database.
    pub fn worker(&self, settings: WorkerSettings) -> Result<Worker, EngineError> {
        Ok(Worker::new(self.store.clone(), self.clock.clone(), self.connector.clone(), self.database.liveness()?, settings))
    }

    /// Sends what is due and asks for verdicts, until `shutdown` becomes true.
    pub async fn run_worker(&self, shutdown: watch::Receiver<bool>) -> Result<RunReport, EngineError> {
        Ok(self.worker(self.worker.clone())?.run(shutdown).await?)
    }

    /// Conversions with their deliveries.
    pub async fn conversions(&self, caller: &Caller, query: &ConversionQuery) -> Result<Page<ConversionView>, EngineError> {
        Ok(self.store.conversions(caller.org(), query).await?)
    }

    /// One conversion, by its own id or one of its deliveries'.
    pub async fn explain(&self, caller: &Caller, id: &str) -> Result<ConversionView, EngineError> {
        let missing = || EngineError::NotFound(format!("conversion or delivery `{id}`"));
        let conversion = match (id.parse::<ConversionId>(), id.parse::<DeliveryId>()) {
            (Ok(conversion), _) => Some(conversion),
            (_, Ok(delivery)) => self.store.conversion_of(caller.org(), delivery).await?,
            _ => self.by_order_id(caller, id).await?,
        };
        let conversion = conversion.ok_or_else(missing)?;
        self.store.conversion(caller.org(), conversion).await?.ok_or_else(missing)
    }

    async fn by_order_id(&self, caller: &Caller, order_id: &str) -> Result<Option<ConversionId>, EngineError> {
        let query = ConversionQuery { order_id: Some(order_id.to_owned()), limit: 1, ..ConversionQuery::default() };
        Ok(self.store.conversions(caller.org(), &query).await?.items.first().map(|c| c.id))
    }

    /// Dead letters with their history.
    pub async fn dead_letters(&self, caller: &Caller, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, EngineError> {
        require(caller, Role::Member)?;
        Ok(self.store.dead_letters(caller.org(), query).await?)
    }

    /// Sends dead letters again or gives them up; what became of each, in order.
    pub async fn repair(
        &self,
        caller: &Caller,
        deliveries: Vec<DeliveryId>,
        action: RepairAction,
        note: Option<Arc<str>>,
    ) -> Result<Vec<Repaired>, EngineError> {
        require(caller, Role::Admin)?;
        let repair = Repair { org: caller.org().clone(), deliveries, action, note, now_ms: self.clock.now_ms() };
        match self.request(caller, None, Write::Repair(repair)).await? {
            Done::Repaired(results) => Ok(results),
            _ => Ok(Vec::new()),
        }
    }

    /// Where every destination stands.
    pub async fn status(&self, caller: &Caller) -> Result<Vec<DestinationStatus>, EngineError> {
        Ok(self.store.status(caller.org(), self.clock.now_ms()).await?)
    }

    /// What came in, and what became of it.
    pub async fn reconciliation(&self, caller: &Caller) -> Result<Reconciliation, EngineError> {
        Ok(self.store.reconciliation(caller.org()).await?)
    }

    /// How many leads there were.
    pub async fn lead_counts(&self, caller: &Caller) -> Result<LeadCounts, EngineError> {
        Ok(self.store.lead_counts(caller.org()).await?)
    }

    /// A destination by name.
    pub async fn destination(&self, caller: &Caller, name: &str) -> Result<StoredDestination, EngineError> {
        let all = self.store.destinations(caller.org()).await?;
        let names = all.iter().map(|d| d.name.clone()).collect();
        all.into_iter().find(|d| d.name.as_ref() == name).ok_or_else(|| EngineError::NoDestination { name: name.to_owned(), names })
    }

    /// All destinations.
    pub async fn destinations(&self, caller: &Caller) -> Result<Vec<StoredDestination>, EngineError> {
        Ok(self.store.destinations(caller.org()).await?)
    }

    /// A key for a request that is to be done once: the client's own `key`, and the parts that tell this request from others.
    /// Only keyed hashes are kept of both.
    pub fn once(&self, caller: &Caller, key: &str, request: &[&[u8]]) -> Once {
        let org = caller.org();
        Once { org: org.clone(), key: self.vault.request_key(org, &[key.as_bytes()]), body: self.vault.request_key(org, request) }
    }

    /// Whether a durable write is possible now: a small one is made.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let limits = rate_limit::Quota::try_new(1, 1, 1).into_iter().collect();
        let probe = Write::Reserve { quota: "probe".into(), limits, now_ms: self.clock.now_ms() };
        self.store.write(vec![probe]).await.pop().unwrap_or(Err(StoreError::Busy)).map(|_| ())
    }

    /// Records an act that changes nothing, for the audit log.
    pub async fn note(&self, caller: &Caller, action: &'static str, object: &str) -> Result<(), EngineError> {
        let note = Write::Note { org: caller.org().clone(), action, object: object.into(), now_ms: self.clock.now_ms() };
        self.request(caller, None, note).await.map(|_| ())
    }

    /// What was done under the key before, for a request that would be refused now.
    async fn done_before(&self, once: Option<&Once>) -> Result<Option<Done>, EngineError> {
        let Some(once) = once else { return Ok(None) };
        match self.store.requested(once, self.clock.now_ms()).await? {
            Some(Done::Repeated(first)) => Ok(Some(*first)),
            Some(_) => Err(EngineError::KeyReused),
            None => Ok(None),
        }
    }

    /// Does a command on the caller's behalf.
    async fn request(&self, caller: &Caller, once: Option<Once>, command: Write) -> Result<Done, EngineError> {
        self.write(Write::Request(Box::new(Request { by: caller.subject().into(), once, command }))).await
    }

    pub(crate) async fn write(&self, command: Write) -> Result<Done, EngineError> {
        let result = self.store.write(vec![command]).await.pop();
        Ok(result.unwrap_or_else(|| Err(StoreError::Unavailable("the writer gave no answer".to_owned())))?)
    }
}

fn require(caller: &Caller, needed: Role) -> Result<(), EngineError> {
    if caller.role() < needed { Err(EngineError::Forbidden { needed, has: caller.role() }) } else { Ok(()) }
}
