//! How values become columns and columns values.

use rusqlite::Row;

use super::error::damaged;
use crate::{
    click_id::{ClickId, ClickIdKind},
    consent::{AdConsent, ConsentState},
    id::DeliveryId,
    money::{Amount, Money},
    store::{PersonKey, StoreError},
};

/// Money in three columns: mantissa, scale, currency.
pub(super) type MoneyColumns<'a> = (Option<i64>, Option<u8>, Option<&'a str>);

pub(super) fn money_columns(money: Option<&Money>) -> MoneyColumns<'_> {
    money.map_or((None, None, None), |m| (Some(m.amount.mantissa()), Some(m.amount.scale()), Some(m.currency.as_str())))
}

/// The money in the columns `at`, `at + 1` and `at + 2`.
pub(super) fn money(row: &Row<'_>, at: usize) -> Result<Option<Money>, StoreError> {
    let Some(mantissa) = row.get::<_, Option<i64>>(at)? else { return Ok(None) };
    let amount = Amount::from_parts(mantissa, row.get(at + 1)?).ok_or_else(|| damaged("an amount"))?;
    let currency = row.get_ref(at + 2)?.as_str().ok().and_then(|c| c.parse().ok()).ok_or_else(|| damaged("a currency"))?;
    Ok(Some(Money { amount, currency }))
}

pub(super) fn click_kind_number(kind: ClickIdKind) -> u8 {
    match kind {
        ClickIdKind::Gclid => 1,
        ClickIdKind::Gbraid => 2,
        ClickIdKind::Wbraid => 3,
    }
}

/// The click id in the columns `at` and `at + 1`.
pub(super) fn click(row: &Row<'_>, at: usize) -> Result<Option<ClickId>, StoreError> {
    let kind = match row.get::<_, Option<u8>>(at)? {
        None => return Ok(None),
        Some(1) => ClickIdKind::Gclid,
        Some(2) => ClickIdKind::Gbraid,
        Some(3) => ClickIdKind::Wbraid,
        Some(_) => return Err(damaged("a click id's kind")),
    };
    let text = row.get_ref(at + 1)?.as_str().map_err(|_| damaged("a click id"))?;
    ClickId::new(kind, text).map(Some).map_err(|_| damaged("a click id"))
}

pub(super) fn consent_number(consent: AdConsent) -> u8 {
    let number = |state| match state {
        None => 0,
        Some(ConsentState::Granted) => 1,
        Some(ConsentState::Denied) => 2,
        Some(ConsentState::Pending) => 3,
        Some(ConsentState::Withdrawn) => 4,
    };
    number(consent.ad_user_data) + 8 * number(consent.ad_personalization)
}

pub(super) fn consent(number: u8) -> Result<AdConsent, StoreError> {
    let state = |n| match n {
        0 => Ok(None),
        1 => Ok(Some(ConsentState::Granted)),
        2 => Ok(Some(ConsentState::Denied)),
        3 => Ok(Some(ConsentState::Pending)),
        4 => Ok(Some(ConsentState::Withdrawn)),
        _ => Err(damaged("a consent")),
    };
    Ok(AdConsent { ad_user_data: state(number % 8)?, ad_personalization: state(number / 8)? })
}

/// Ids as one blob, 8 bytes each.
pub(super) fn ids_blob(ids: impl Iterator<Item = DeliveryId>) -> Vec<u8> {
    ids.flat_map(|id| id.0.to_be_bytes()).collect()
}

pub(super) fn ids(blob: &[u8]) -> Vec<DeliveryId> {
    blob.as_chunks::<8>().0.iter().map(|bytes| DeliveryId(i64::from_be_bytes(*bytes))).collect()
}

pub(super) fn persons_blob(persons: &[PersonKey]) -> Option<Vec<u8>> {
    (!persons.is_empty()).then(|| persons.iter().flat_map(|p| p.0).collect())
}

pub(super) fn persons(blob: Option<&[u8]>) -> Vec<PersonKey> {
    blob.unwrap_or_default().as_chunks::<16>().0.iter().map(|bytes| PersonKey(*bytes)).collect()
}
