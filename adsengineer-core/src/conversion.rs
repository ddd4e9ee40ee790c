//! A conversion: something that happened after an ad click and is worth money.
//!
//! Its identity is the natural key alone ([`NaturalKey`]): organization and action with the order id, else with
//! click id and time, else with hashed identifiers and time. Where it was read from never matters.

pub mod input;
pub mod request;

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{click_id::ClickId, consent::AdConsent, identity::Identifiers, money::Money, org::OrgId};

/// Something that happened and is worth money; every field has been validated.
#[derive(Clone, PartialEq, Debug)]
pub struct Conversion {
    /// The conversion action's name as the user knows it, for example `Qualified lead`.
    pub action: Arc<str>,
    /// When it happened, to the second.
    pub occurred_at: Timestamp,
    /// What it is worth; `None` leaves it to the action's default at the platform.
    pub value: Option<Money>,
    /// The user's own id for the sale.
    pub order_id: Option<OrderId>,
    /// The click that led to it.
    pub click_id: Option<ClickId>,
    /// Who the person is, for matching without a click id.
    pub identifiers: Identifiers,
    /// What the person agreed to.
    pub consent: AdConsent,
}

impl Conversion {
    /// The conversion's identity within `org`.
    pub fn natural_key(&self, org: &OrgId) -> NaturalKey {
        let subject = match (&self.order_id, &self.click_id) {
            (Some(order), _) => KeySubject::Order(order.as_str()),
            (None, Some(click)) => KeySubject::Click(click.as_str()),
            (None, None) => KeySubject::Identifiers(&self.identifiers),
        };
        NaturalKey::of(org, &self.action, subject, self.occurred_at.as_second())
    }
}

/// The user's own id for a sale; sent verbatim as the platform's transaction id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(Box<str>);

/// Why a text cannot be an order id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOrderId {
    /// Nothing there.
    #[error("the order id is empty")]
    Empty,
    /// More than [`OrderId::MAX_CHARS`].
    #[error("the order id has {0} characters, more than 256")]
    TooLong(usize),
    /// A control character.
    #[error("the order id contains a control character")]
    Control,
    /// An e-mail address; platforms refuse personal data in transaction ids.
    #[error("the order id contains an e-mail address, and platforms refuse personal data there")]
    Email,
    /// A phone number; platforms refuse personal data in transaction ids.
    #[error("the order id looks like a phone number, and platforms refuse personal data there")]
    Phone,
}

impl OrderId {
    /// Our own limit, in characters; the platforms publish none.
    pub const MAX_CHARS: usize = 256;

    /// Checks `text` without copying it; `Ok(true)` if it is purely numeric, which Data Manager has been reported to refuse.
    pub fn check(text: &str) -> Result<bool, InvalidOrderId> {
        if text.is_empty() {
            return Err(InvalidOrderId::Empty);
        }
        if text.len() > Self::MAX_CHARS && text.chars().count() > Self::MAX_CHARS {
            return Err(InvalidOrderId::TooLong(text.chars().count()));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidOrderId::Control);
        }
        if contains_email(text) {
            return Err(InvalidOrderId::Email);
        }
        if is_phone(text) {
            return Err(InvalidOrderId::Phone);
        }
        Ok(text.bytes().all(|b| b.is_ascii_digit()))
    }

    /// Takes `text` that [`Self::check`] has accepted before.
    pub(crate) fn from_checked(text: &str) -> Self {
        debug_assert!(Self::check(text).is_ok());
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `x@y.z` anywhere in the text.
fn contains_email(text: &str) -> bool {
    text.match_indices('@').any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        let domain = text[at + 1..].split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-')).next();
        before && domain.is_some_and(|d| d.find('.').is_some_and(|dot| dot > 0 && dot + 1 < d.len()))
    })
}

/// An international number: `+` and 8 to 15 digits with the usual separators, and nothing else.
fn is_phone(text: &str) -> bool {
    let Some(rest) = text.trim().strip_prefix('+') else { return false };
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    (8..=15).contains(&digits) && rest.bytes().all(|b| b.is_ascii_digit() || matches!(b, b' ' | b'-' | b'.' | b'(' | b')' | b'/'))
}

impl FromStr for OrderId {
    type Err = InvalidOrderId;

    fn from_str(text: &str) -> Result<Self, InvalidOrderId> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for OrderId {
    type Error = InvalidOrderId;

    fn try_from(text: String) -> Result<Self, InvalidOrderId> {
        text.parse()
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A conversion's identity: the first 128 bits of SHA-256 over organization, action and what names the sale.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NaturalKey(pub [u8; 16]);

/// What names a sale, best first.
#[derive(Clone, Copy, Debug)]
pub enum KeySubject<'a> {
    /// The user's own order id; the time does not matter then.
    Order(&'a str),
    /// A click id, with the time.
    Click(&'a str),
    /// Hashed identifiers, with the time.
    Identifiers(&'a Identifiers),
}

/// The part of the key that all conversions of one organization and action share, hashed once.
#[derive(Clone, Debug)]
pub struct KeyPrefix(Sha256);

impl KeyPrefix {
    /// The prefix of `org` and `action`.
    pub fn new(org: &OrgId, action: &str) -> Self {
        let mut hash = Sha256::new_with_prefix(b"adsengineer conversion v1\0");
        field(&mut hash, org.as_str().as_bytes());
        field(&mut hash, action.as_bytes());
        Self(hash)
    }

    /// The key of a conversion at `occurred_at` (Unix seconds).
    pub fn key(&self, subject: KeySubject<'_>, occurred_at: i64) -> NaturalKey {
        let mut hash = self.0.clone();
        match subject {
            KeySubject::Order(order) => {
                field(&mut hash, b"order");
                field(&mut hash, order.as_bytes());
            }
            KeySubject::Click(click) => {
                field(&mut hash, b"click");
                field(&mut hash, click.as_bytes());
                field(&mut hash, &occurred_at.to_be_bytes());
            }
            KeySubject::Identifiers(identifiers) => {
                field(&mut hash, b"identifiers");
                identifiers.match_hashes().for_each(|part| field(&mut hash, &part));
                field(&mut hash, &occurred_at.to_be_bytes());
            }
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        NaturalKey(key)
    }
}

/// Fields are length-prefixed, so no two keys differ only in where a field ends.
fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

impl NaturalKey {
    /// The key of a conversion at `occurred_at` (Unix seconds).
    pub fn of(org: &OrgId, action: &str, subject: KeySubject<'_>, occurred_at: i64) -> Self {
        KeyPrefix::new(org, action).key(subject, occurred_at)
    }

    /// The first 64 bits, for indexes that need no more.
    pub fn short(&self) -> u64 {
        self.0[..8].try_into().map_or(0, u64::from_be_bytes)
    }

    /// The opaque transaction id of a sale that has no order id: the key in hexadecimal, the same on every retry.
    pub fn transaction_id(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for NaturalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One write instead of sixteen: a key is written for every row without an order id.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for NaturalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NaturalKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(name: &str) -> OrgId {
        name.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_key_is_written_in_hexadecimal_and_is_the_transaction_id() {
        let key = NaturalKey([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xab, 0xcd, 0xef, 0x10, 0xff]);
        assert_eq!(key.transaction_id(), "000102030405060708090aabcdef10ff");
        assert_eq!(format!("{key:?}"), "NaturalKey(000102030405060708090aabcdef10ff)");
        assert_eq!(key.short(), 0x0001_0203_0405_0607);
    }

    #[test]
    fn order_ids_are_text_in_json_and_bad_ones_are_refused() {
        let id: OrderId = serde_json::from_str("\"A-1\"").unwrap();
        assert_eq!((id.to_string().as_str(), serde_json::to_string(&id).unwrap().as_str()), ("A-1", "\"A-1\""));
        assert!(serde_json::from_str::<OrderId>("\"ada@example.com\"").is_err());
    }

    #[test]
    fn an_order_id_names_the_sale_whatever_the_time_and_a_click_only_with_it() {
        let key = |subject, at| NaturalKey::of(&org("a"), "Sale", subject, at);
        assert_eq!(key(KeySubject::Order("o1"), 1), key(KeySubject::Order("o1"), 2));
        assert_ne!(key(KeySubject::Click("c"), 1), key(KeySubject::Click("c"), 2));
        assert_ne!(key(KeySubject::Order("c"), 1), key(KeySubject::Click("c"), 1));
    }

    #[test]
    fn organization_and_action_are_part_of_the_identity() {
        let key = |o: &str, action| NaturalKey::of(&org(o), action, KeySubject::Order("1"), 0);
        assert_ne!(key("a", "Sale"), key("b", "Sale"));
        assert_ne!(key("a", "Sale"), key("a", "Lead"));
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }

    #[test]
    fn personal_data_in_order_ids_is_refused_and_plain_numbers_are_flagged() {
        for bad in ["ada@example.com", "order-ada@example.co.uk-7"] {
            assert_eq!(OrderId::check(bad), Err(InvalidOrderId::Email), "{bad}");
        }
        for bad in ["+49 151 23456789", "+1-650-555-1212", "+(49)15123456789"] {
            assert_eq!(OrderId::check(bad), Err(InvalidOrderId::Phone), "{bad}");
        }
        for fine in ["A-1001", "#1001", "a@b", "@home.x", "gid://shop/Order/5", "+12"] {
            assert_eq!(OrderId::check(fine), Ok(false), "{fine}");
        }
        assert_eq!(OrderId::check("1001"), Ok(true));
        assert_eq!(OrderId::check(""), Err(InvalidOrderId::Empty));
        assert_eq!(OrderId::check(&"x".repeat(257)), Err(InvalidOrderId::TooLong(257)));
        assert_eq!(OrderId::check("a\nb"), Err(InvalidOrderId::Control));
    }
}
