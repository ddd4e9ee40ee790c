//! What an organization has set up, read at most once a second: every lead and conversion asks for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Engine, EngineError, require};
use crate::{
    org::{Caller, OrgId, Role},
    rule::Rule,
    store::{StoreError, StoredDestination, Write},
};

/// How long another process's changes may go unseen, in milliseconds. A removed destination is refused by the store at once.
const FRESH_MS: i64 = 1_000;
/// Rules of one organization: every lead is held against each of them.
pub const MOST_RULES: usize = 200;
/// Organizations that are remembered.
const MOST: usize = 10_000;

/// What an organization has set up.
#[derive(Debug, Default)]
pub(super) struct Setup {
    pub(super) destinations: Vec<StoredDestination>,
    pub(super) rules: Vec<(Arc<str>, Rule)>,
}

/// Set-ups read lately.
#[derive(Default)]
pub(super) struct Setups {
    known: Mutex<HashMap<OrgId, (i64, Arc<Setup>)>>,
}

impl Setups {
    fn get(&self, org: &OrgId, now_ms: i64) -> Option<Arc<Setup>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(org).filter(|(at_ms, _)| (0..FRESH_MS).contains(&(now_ms - at_ms))).map(|(_, setup)| setup.clone())
    }

    fn put(&self, org: &OrgId, now_ms: i64, setup: Arc<Setup>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(org.clone(), (now_ms, setup));
    }

    /// Something was changed by this process.
    pub(super) fn forget(&self, org: &OrgId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(org);
    }
}

impl Setup {
    /// Where a rule's conversions go: to its destinations, else to every one that has the action.
    pub(super) fn of_rule(&self, rule: &Rule) -> Vec<StoredDestination> {
        let wanted = |d: &&StoredDestination| rule.destinations.is_empty() || rule.destinations.contains(&d.name);
        self.with_action(&rule.action).filter(wanted).cloned().collect()
    }

    /// Destinations that have the action; rows of a disabled one wait.
    pub(super) fn with_action<'s>(&'s self, action: &'s str) -> impl Iterator<Item = &'s StoredDestination> {
        self.destinations.iter().filter(move |d| d.spec.action_id(action).is_some())
    }
}

impl Engine {
    pub(super) async fn setup(&self, org: &OrgId) -> Result<Arc<Setup>, EngineError> {
        let now_ms = self.clock.now_ms();
        if let Some(setup) = self.setups.get(org, now_ms) {
            return Ok(setup);
        }
        let setup = Arc::new(Setup { destinations: self.store.destinations(org).await?, rules: self.stored_rules(org).await? });
        self.setups.put(org, now_ms, setup.clone());
        Ok(setup)
    }

    /// The error of something that was to go where an organization's set-up says. Where another process has removed a destination
    /// meanwhile nothing was done; the set-up is read anew when the request comes again.
    pub(super) fn outdated(&self, org: &OrgId, error: EngineError) -> EngineError {
        if !matches!(error, EngineError::Store(StoreError::NotFound(_))) {
            return error;
        }
        self.setups.forget(org);
        EngineError::Store(StoreError::Busy)
    }

    async fn stored_rules(&self, org: &OrgId) -> Result<Vec<(Arc<str>, Rule)>, EngineError> {
        let read = |spec: &str| serde_json::from_str(spec).map_err(|_| StoreError::Damaged("a rule".to_owned()));
        self.store.rules(org).await?.into_iter().map(|rule| Ok((rule.name, read(&rule.spec)?))).collect()
    }

    /// The organization's rules by name.
    pub async fn rules(&self, caller: &Caller) -> Result<Vec<(Arc<str>, Rule)>, EngineError> {
        self.stored_rules(caller.org()).await
    }

    /// Creates or replaces a rule.
    pub async fn put_rule(&self, caller: &Caller, name: &str, rule: &Rule) -> Result<(), EngineError> {
        require(caller, Role::Admin)?;
        let known = self.stored_rules(caller.org()).await?;
        if known.len() >= MOST_RULES && !known.iter().any(|(known, _)| **known == *name) {
            return Err(EngineError::TooMany { what: "rules", most: MOST_RULES });
        }
        let spec = serde_json::to_string(rule).map_err(|_| StoreError::Damaged("a rule".to_owned()))?;
        self.change_rule(caller, name, Some(spec.into())).await
    }

    /// Removes a rule.
    pub async fn remove_rule(&self, caller: &Caller, name: &str) -> Result<(), EngineError> {
        require(caller, Role::Admin)?;
        match self.change_rule(caller, name, None).await {
            Err(EngineError::Store(StoreError::NotFound(what))) => Err(EngineError::NotFound(what)),
            other => other,
        }
    }

    async fn change_rule(&self, caller: &Caller, name: &str, spec: Option<Arc<str>>) -> Result<(), EngineError> {
        let command = Write::PutRule { org: caller.org().clone(), name: name.into(), spec, now_ms: self.clock.now_ms() };
        self.request(caller, None, command).await?;
        self.setups.forget(caller.org());
        Ok(())
    }
}
