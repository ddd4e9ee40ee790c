//! Taking conversions in: sealing identifiers, naming transactions, and one write per batch.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Engine, EngineError, require};
use crate::{
    click_id::ClickId,
    consent::AdConsent,
    conversion::{Conversion, NaturalKey, OrderId},
    destination::DestinationSpec,
    identity::{Identifiers, google_email_hash, google_phone_hash},
    money::Money,
    org::{Caller, OrgId, Role},
    store::{Adjust, Captured, Done, Intake, NewConversion, NewDelivery, PersonKey, StoredDestination, Write},
    vault::PersonKind,
};

/// The table name under which identifiers are sealed.
pub(crate) const CONVERSION_TABLE: &str = "conversion";
/// The purpose under which identifiers are sealed.
pub(crate) const IDENTIFIERS: &str = "identifiers";

/// Something to take in.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A conversion and its identity.
    Conversion(Box<Conversion>, NaturalKey),
    /// A change of a conversion that is known already.
    Adjustment {
        /// The conversion's identity.
        key: NaturalKey,
        /// The action's name.
        action: Arc<str>,
        /// When the value changed, in Unix seconds.
        at: i64,
        /// The new value; `None` takes the conversion back.
        value: Option<Money>,
    },
}

/// A batch of incoming rows; a few thousand at a time keep small writes quick.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Where from, for example `file:deals.csv`.
    pub source: Arc<str>,
    /// How consent was established where rows did not say, as JSON.
    pub consent_proof: Option<Arc<str>>,
    /// Rows read for this batch, refused and denied ones included.
    pub rows: u64,
    /// Rows refused before.
    pub refused: u64,
    /// Rows whose person said no.
    pub denied: u64,
    /// Whether a known conversion with another value becomes a restatement.
    pub restate: bool,
    /// What is to be captured.
    pub incoming: Vec<Incoming>,
}

/// Why a row cannot go to a destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The destination has no such action.
    #[error("destination `{destination}` has no conversion action `{action}`")]
    UnknownAction {
        /// The destination's name.
        destination: Arc<str>,
        /// The action's name.
        action: Arc<str>,
    },
}

impl Engine {
    /// Captures a batch and makes a delivery of each conversion to each of `destinations`; what became of each, in order.
    ///
    /// Nothing of the batch is captured if a destination does not know the action of one of its conversions.
    pub async fn accept(&self, caller: &Caller, batch: Batch, destinations: &[StoredDestination]) -> Result<Vec<Captured>, EngineError> {
        require(caller, Role::Member)?;
        let conversions = batch.incoming.iter().map(|incoming| (incoming, destinations));
        let intake = self.intake(caller.org(), &batch, conversions)?;
        match self.request(caller, None, Write::Accept(intake)).await? {
            Done::Accepted(_, captured) => Ok(captured),
            _ => Ok(Vec::new()),
        }
    }

    /// The command that captures conversions, each with its destinations; `batch.incoming` is not looked at.
    pub(super) fn intake<'i>(
        &self,
        org: &OrgId,
        batch: &Batch,
        incoming: impl Iterator<Item = (&'i Incoming, &'i [StoredDestination])>,
    ) -> Result<Intake, Refusal> {
        let now_ms = self.clock.now_ms();
        let conversions = incoming.map(|(one, to)| self.new_conversion(org, one, to, now_ms)).collect::<Result<_, _>>()?;
        Ok(Intake {
            org: org.clone(),
            now_ms,
            source: batch.source.clone(),
            consent_proof: batch.consent_proof.clone(),
            rows: batch.rows,
            refused: batch.refused,
            denied: batch.denied,
            restate: batch.restate,
            conversions,
        })
    }

    fn new_conversion(
        &self,
        org: &OrgId,
        incoming: &Incoming,
        destinations: &[StoredDestination],
        now_ms: i64,
    ) -> Result<NewConversion, Refusal> {
        Ok(match incoming {
            Incoming::Conversion(conversion, key) => {
                let subject = Subject { action: &conversion.action, key, order_id: conversion.order_id.as_ref() };
                NewConversion {
                    key: *key,
                    action: conversion.action.clone(),
                    occurred_at: conversion.occurred_at.as_second(),
                    value: conversion.value,
                    order_id: conversion.order_id.clone(),
                    click_id: conversion.click_id.clone(),
                    consent: conversion.consent,
                    identifiers: self.sealed_identifiers(org, &conversion.identifiers),
                    persons: self.person_keys(org, &conversion.identifiers, conversion.click_id.as_ref()),
                    adjustment: None,
                    deliveries: deliveries(&subject, destinations, now_ms)?,
                }
            }
            Incoming::Adjustment { key, action, at, value } => NewConversion {
                key: *key,
                action: action.clone(),
                occurred_at: *at,
                value: *value,
                order_id: None,
                click_id: None,
                consent: AdConsent::default(),
                identifiers: None,
                persons: Vec::new(),
                adjustment: Some(Adjust { at: *at, retract: value.is_none() }),
                deliveries: Vec::new(),
            },
        })
    }

    fn sealed_identifiers(&self, org: &OrgId, identifiers: &Identifiers) -> Option<Box<[u8]>> {
        if identifiers.is_empty() {
            return None;
        }
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(identifiers).unwrap_or_default());
        Some(self.vault.seal(org, CONVERSION_TABLE, IDENTIFIERS, &plain))
    }

    /// Keyed hashes by which a person's conversions are found and stopped.
    pub(super) fn person_keys(&self, org: &OrgId, identifiers: &Identifiers, click_id: Option<&ClickId>) -> Vec<PersonKey> {
        let email = identifiers.email.as_ref().map(|email| self.vault.person_key(org, PersonKind::Email, &google_email_hash(email)));
        let phone = identifiers.phone.as_ref().map(|phone| self.vault.person_key(org, PersonKind::Phone, &google_phone_hash(phone)));
        let click = click_id.map(|click| self.vault.person_key(org, PersonKind::ClickId, click.as_str().as_bytes()));
        [email, phone, click].into_iter().flatten().collect()
    }
}

/// What names a conversion's transactions.
struct Subject<'a> {
    action: &'a str,
    key: &'a NaturalKey,
    order_id: Option<&'a OrderId>,
}

fn deliveries(subject: &Subject<'_>, destinations: &[StoredDestination], now_ms: i64) -> Result<Vec<NewDelivery>, Refusal> {
    let one = |destination: &StoredDestination| {
        let unknown = || Refusal::UnknownAction { destination: destination.name.clone(), action: subject.action.into() };
        let action_id = destination.spec.action_id(subject.action).ok_or_else(unknown)?;
        let (transaction_id, is_own) = transaction_id(&destination.spec, subject.order_id, subject.key);
        let owned = is_own.then(|| owner_key(&destination.spec, action_id, &transaction_id));
        Ok(NewDelivery { destination: destination.id, action_id: action_id.into(), transaction_id, owned, due_ms: now_ms })
    };
    destinations.iter().map(one).collect()
}

/// The transaction id, and whether it is the user's own: the order id with the destination's prefix, else the natural key.
pub fn transaction_id(spec: &DestinationSpec, order_id: Option<&OrderId>, key: &NaturalKey) -> (Arc<str>, bool) {
    match (order_id, &spec.order_id_prefix) {
        (Some(order), Some(prefix)) => (format!("{prefix}{order}").into(), true),
        (Some(order), None) => (order.as_str().into(), true),
        (None, _) => (key.transaction_id().into(), false),
    }
}

/// The identity of a transaction at a platform: no two conversions may share it, under whatever destination name.
fn owner_key(spec: &DestinationSpec, action_id: &str, transaction_id: &str) -> [u8; 16] {
    let mut hash = Sha256::new_with_prefix(b"adsengineer transaction v1\0");
    for field in [spec.kind.as_str(), &spec.customer_id.digits(), action_id, transaction_id] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}
