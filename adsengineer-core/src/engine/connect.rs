//! The doors to the platforms: credentials opened, connections kept for as long as nothing about them changes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::accept::{CONVERSION_TABLE, IDENTIFIERS};
use crate::{
    clock::Clock,
    destination::{
        CheckFinding, Destination,
        google::{GoogleDestination, GoogleSettings, codes},
        oauth::Credentials,
    },
    id::DestinationId,
    identity::Identifiers,
    org::OrgId,
    outcome::{HoldScope, Outcome, Why},
    secret::Secret,
    store::StoredDestination,
    vault::Vault,
    worker::Connector,
};

/// The table name under which credentials are sealed.
pub(crate) const DESTINATION_TABLE: &str = "destination";
/// The purpose under which credentials are sealed.
pub(crate) const CREDENTIALS: &str = "credentials";

/// Credentials of the machine, by the names that destinations refer to them: the platform's own JSON.
pub type CredentialSources = BTreeMap<String, Secret<String>>;

/// Connects to Google with stored credentials.
pub struct GoogleConnector {
    vault: Arc<Vault>,
    settings: GoogleSettings,
    machine: CredentialSources,
    clock: Arc<dyn Clock>,
    open: Mutex<HashMap<DestinationId, Opened>>,
}

/// A connection and what it was made from.
struct Opened {
    from: (crate::destination::DestinationSpec, Option<Box<[u8]>>),
    door: Arc<dyn Destination>,
    project: Arc<str>,
}

impl GoogleConnector {
    /// A connector; nothing is opened yet.
    pub fn new(vault: Arc<Vault>, settings: GoogleSettings, machine: CredentialSources, clock: Arc<dyn Clock>) -> Self {
        Self { vault, settings, machine, clock, open: Mutex::new(HashMap::new()) }
    }

    /// Lets go of the connection to one destination; the others keep theirs, and their access tokens.
    pub fn forget(&self, destination: DestinationId) {
        self.opened().remove(&destination);
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<DestinationId, Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn credentials(&self, destination: &StoredDestination) -> Result<Credentials, Why> {
        let text = match (&destination.credentials, &destination.spec.credentials_ref) {
            (Some(sealed), _) => {
                let opened = self.vault.open(&destination.org, DESTINATION_TABLE, CREDENTIALS, sealed);
                let opened = opened.map_err(|e| Why::new("CREDENTIALS_SEALED", &e.to_string()))?;
                Secret::new(String::from_utf8_lossy(&opened).into_owned())
            }
            (None, Some(name)) => {
                let missing =
                    || Why::new("CREDENTIALS_MISSING", &format!("the configuration of this machine has no credentials called `{name}`"));
                self.machine.get(name).cloned().ok_or_else(missing)?
            }
            (None, None) => return Err(Why::new("CREDENTIALS_MISSING", "the destination has no credentials")),
        };
        Credentials::from_json(text.expose()).map_err(|e| Why::new("CREDENTIALS_UNUSABLE", &e.to_string()))
    }
}

#[async_trait]
impl Connector for GoogleConnector {
    async fn connect(&self, destination: &StoredDestination) -> Result<Arc<dyn Destination>, Outcome> {
        let from = (destination.spec.clone(), destination.credentials.clone());
        if let Some(opened) = self.opened().get(&destination.id).filter(|opened| opened.from == from) {
            return Ok(opened.door.clone());
        }
        let credentials = self.credentials(destination).map_err(|why| Outcome::Hold(HoldScope::Credentials, why))?;
        let project = credentials.subject().to_string().into();
        let door = GoogleDestination::new(&destination.spec, credentials, &self.settings, self.clock.clone());
        let door = door.map_err(|e| Outcome::Hold(HoldScope::Destination, Why::new("CONFIGURATION", &e.to_string())))?;
        let door: Arc<dyn Destination> = Arc::new(door);
        self.opened().insert(destination.id, Opened { from, door: door.clone(), project });
        Ok(door)
    }

    fn identifiers(&self, org: &OrgId, sealed: &[u8]) -> Result<Identifiers, Why> {
        let unopened = |e: &dyn std::fmt::Display| Why::new("IDENTIFIERS_SEALED", &e.to_string());
        let plain = self.vault.open(org, CONVERSION_TABLE, IDENTIFIERS, sealed).map_err(|e| unopened(&e))?;
        serde_json::from_slice(&plain).map_err(|e| unopened(&e))
    }

    /// One per OAuth client or service account: the quota belongs to its Cloud project.
    fn quota(&self, destination: &StoredDestination) -> Arc<str> {
        let opened = self.opened();
        let project = opened.get(&destination.id).map_or("google", |opened| &opened.project);
        format!("google:{project}").into()
    }
}

/// Why a destination cannot be reached, as a finding.
pub(super) fn finding(outcome: &Outcome) -> CheckFinding {
    let why = outcome.why().cloned().unwrap_or_else(|| Why::new("UNREACHABLE", "the destination cannot be used"));
    CheckFinding {
        code: why.code.to_string(),
        blocking: true,
        reason: why.detail.to_string(),
        hint: codes::next_action(&why.code).to_owned(),
    }
}
