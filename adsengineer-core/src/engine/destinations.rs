//! Setting destinations up, trying them, and letting held rows go.

use super::{Engine, EngineError, connect, require};
use crate::{
    destination::{CheckFinding, DestinationSpec},
    org::{Caller, Role},
    secret::Secret,
    store::{CredentialsChange, Done, PutDestination, StoreError, StoredDestination, Write},
    worker::Connector,
};

/// Destinations of one organization: its own writes, and the worker's rounds for all, read every one of them.
pub const MOST_DESTINATIONS: usize = 200;
/// Conversion actions of one destination.
pub const MOST_ACTIONS: usize = 1000;

/// What happens to a destination's credentials.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// They stay.
    Keep,
    /// They are removed.
    Remove,
    /// The platform's own JSON takes their place, sealed.
    Set(Secret<String>),
}

impl Engine {
    /// Creates or replaces a destination. `credentials` is the platform's own JSON; `None` keeps what is stored.
    pub async fn put_destination(
        &self,
        caller: &Caller,
        name: &str,
        spec: DestinationSpec,
        credentials: Option<&Secret<String>>,
    ) -> Result<StoredDestination, EngineError> {
        self.set_destination(caller, name, spec, credentials.map_or(Credentials::Keep, |json| Credentials::Set(json.clone()))).await
    }

    /// The same; stored credentials can also be removed.
    pub async fn set_destination(
        &self,
        caller: &Caller,
        name: &str,
        spec: DestinationSpec,
        credentials: Credentials,
    ) -> Result<StoredDestination, EngineError> {
        require(caller, Role::Admin)?;
        let org = caller.org();
        if spec.actions.len() > MOST_ACTIONS {
            return Err(EngineError::TooMany { what: "actions in a destination", most: MOST_ACTIONS });
        }
        let known = self.store.destinations(org).await?;
        if known.len() >= MOST_DESTINATIONS && !known.iter().any(|known| *known.name == *name) {
            return Err(EngineError::TooMany { what: "destinations", most: MOST_DESTINATIONS });
        }
        let seal = |json: &Secret<String>| self.vault.seal(org, connect::DESTINATION_TABLE, connect::CREDENTIALS, json.expose().as_bytes());
        let credentials = match &credentials {
            Credentials::Keep => CredentialsChange::Keep,
            Credentials::Remove => CredentialsChange::Remove,
            Credentials::Set(json) => CredentialsChange::Set(seal(json)),
        };
        let put = PutDestination { org: org.clone(), name: name.into(), spec, credentials, now_ms: self.clock.now_ms() };
        self.request(caller, None, Write::PutDestination(put)).await?;
        self.setups.forget(org);
        let stored = self.destination(caller, name).await?;
        self.connector.forget(stored.id);
        Ok(stored)
    }

    /// Removes a destination; with `force` even one with open deliveries, which become suppressed. Returns how many.
    pub async fn remove_destination(&self, caller: &Caller, name: &str, force: bool) -> Result<u64, EngineError> {
        require(caller, Role::Admin)?;
        let destination = self.destination(caller, name).await?;
        let command =
            Write::RemoveDestination { org: caller.org().clone(), destination: destination.id, force, now_ms: self.clock.now_ms() };
        let done = match self.request(caller, None, command).await {
            Err(EngineError::Store(StoreError::Conflict(why))) => return Err(EngineError::OpenDeliveries(why)),
            done => done?,
        };
        self.setups.forget(caller.org());
        self.connector.forget(destination.id);
        Ok(changed(&done))
    }

    /// Lets the rows go that are held for a destination's credentials or configuration, and closes its breaker; rows held one by
    /// one for a human's review stay. Returns how many rows.
    pub async fn release(&self, caller: &Caller, destination: &StoredDestination) -> Result<u64, EngineError> {
        require(caller, Role::Member)?;
        self.lift(caller, destination, false).await
    }

    async fn lift(&self, caller: &Caller, destination: &StoredDestination, reviewed: bool) -> Result<u64, EngineError> {
        let (org, destination) = (caller.org().clone(), destination.id);
        let command = Write::Release { org, destination, reviewed, now_ms: self.clock.now_ms() };
        Ok(changed(&self.request(caller, None, command).await?))
    }

    /// Tries a destination's credentials and account; on success lets all its held rows go, those for review included.
    pub async fn check_destination(&self, caller: &Caller, name: &str) -> Result<(Vec<CheckFinding>, u64), EngineError> {
        require(caller, Role::Admin)?;
        let destination = self.destination(caller, name).await?;
        let findings = self.try_destination(&destination).await;
        if findings.iter().any(|finding| finding.blocking) {
            return Ok((findings, 0));
        }
        let released = self.lift(caller, &destination, true).await?;
        Ok((findings, released))
    }

    /// Tries a destination's credentials and account, and changes nothing.
    pub async fn try_destination(&self, destination: &StoredDestination) -> Vec<CheckFinding> {
        match self.connector.connect(destination).await {
            Ok(door) => door.check().await,
            Err(outcome) => vec![connect::finding(&outcome)],
        }
    }
}

fn changed(done: &Done) -> u64 {
    match done {
        Done::Changed(rows) => *rows,
        _ => 0,
    }
}
