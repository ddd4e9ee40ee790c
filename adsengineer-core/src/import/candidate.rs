//! A row that may go in, borrowed from the reader's buffer.

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    click_id::{ClickId, ClickIdKind},
    consent::AdConsent,
    conversion::{Conversion, NaturalKey, OrderId},
    identity::Identifiers,
    money::Money,
};

/// A conversion that a row describes; every part has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate<'a> {
    /// The conversion action's name.
    pub action: Arc<str>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What it is worth; `None` leaves it to the action's default.
    pub value: Option<Money>,
    /// The user's own id for the sale.
    pub order_id: Option<&'a str>,
    /// The click that led to it.
    pub click_id: Option<(ClickIdKind, &'a str)>,
    /// Who the person is.
    pub identifiers: Identifiers,
    /// What the person agreed to.
    pub consent: AdConsent,
    /// The conversion's identity.
    pub natural_key: NaturalKey,
}

impl Candidate<'_> {
    /// The conversion itself, no longer tied to the reader.
    pub fn into_conversion(self) -> Conversion {
        Conversion {
            action: self.action,
            occurred_at: self.occurred_at,
            value: self.value,
            order_id: self.order_id.map(OrderId::from_checked),
            click_id: self.click_id.map(|(kind, id)| ClickId::from_checked(kind, id)),
            identifiers: self.identifiers,
            consent: self.consent,
        }
    }
}

/// A change of an earlier conversion's value.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjustment<'a> {
    /// The conversion action's name.
    pub action: Arc<str>,
    /// What changes.
    pub change: Change,
    /// When the change happened.
    pub adjusted_at: Timestamp,
    /// Which conversion it is about.
    pub target: Target<'a>,
    /// The natural key of that conversion.
    pub conversion_key: NaturalKey,
}

impl Adjustment<'_> {
    /// The adjustment's own identity: its conversion's, with time and type. Its value is content, not identity.
    pub(crate) fn key(&self) -> NaturalKey {
        let mut hash = Sha256::new_with_prefix(b"adsengineer adjustment v1\0");
        hash.update(self.conversion_key.0);
        hash.update(self.adjusted_at.as_second().to_be_bytes());
        hash.update([u8::from(self.change == Change::Retract)]);
        let digest: [u8; 32] = hash.finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        NaturalKey(key)
    }
}

/// What an adjustment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The conversion is worth this instead.
    Restate(Money),
    /// The conversion is taken back.
    Retract,
}

/// How an adjustment names its conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// By order id.
    Order(&'a str),
    /// By click id and the conversion's time.
    Click(ClickIdKind, &'a str, Timestamp),
}
