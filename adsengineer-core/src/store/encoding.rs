//! How values become numbers and bytes, in every database alike.

use super::{NewConversion, NewDelivery, PersonKey, StoreError, Write};
use crate::{
    click_id::ClickIdKind,
    consent::{AdConsent, ConsentState},
    money::Money,
};

/// A stored value that makes no sense.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} makes no sense"))
}

/// Money in three columns: mantissa, scale, currency.
pub(super) type MoneyColumns<'a> = (Option<i64>, Option<u8>, Option<&'a str>);

pub(super) fn money_columns(money: Option<&Money>) -> MoneyColumns<'_> {
    money.map_or((None, None, None), |m| (Some(m.amount.mantissa()), Some(m.amount.scale()), Some(m.currency.as_str())))
}

pub(super) fn click_kind_number(kind: ClickIdKind) -> u8 {
    match kind {
        ClickIdKind::Gclid => 1,
        ClickIdKind::Gbraid => 2,
        ClickIdKind::Wbraid => 3,
    }
}

pub(super) fn click_kind(number: u8) -> Result<ClickIdKind, StoreError> {
    match number {
        1 => Ok(ClickIdKind::Gclid),
        2 => Ok(ClickIdKind::Gbraid),
        3 => Ok(ClickIdKind::Wbraid),
        _ => Err(damaged("a click id's kind")),
    }
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

pub(super) fn persons_blob(persons: &[PersonKey]) -> Option<Vec<u8>> {
    (!persons.is_empty()).then(|| persons.iter().flat_map(|p| p.0).collect())
}

pub(super) fn persons(blob: Option<&[u8]>) -> Vec<PersonKey> {
    blob.unwrap_or_default().as_chunks::<16>().0.iter().map(|bytes| PersonKey(*bytes)).collect()
}

/// The transaction id, unless it is the order id or, without one, the natural key in hexadecimal.
pub(super) fn explicit<'d>(delivery: &'d NewDelivery, new: &NewConversion) -> Option<&'d str> {
    let implied = match &new.order_id {
        Some(order) => order.as_str() == &*delivery.transaction_id,
        None => is_hex_of(&delivery.transaction_id, &new.key.0),
    };
    (!implied).then_some(&*delivery.transaction_id)
}

fn is_hex_of(text: &str, bytes: &[u8; 16]) -> bool {
    let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
    text.len() == 32 && text.as_bytes().as_chunks::<2>().0.iter().zip(bytes).all(|(hex, b)| *hex == [digit(b >> 4), digit(b & 15)])
}

/// Rows that a command brings, for the limits.
pub(super) fn rows_of(command: &Write) -> usize {
    match command {
        Write::Accept(intake) => intake.conversions.len(),
        Write::Begin(begin) => begin.rows.len(),
        Write::Settle(settle) => settle.rows.iter().map(|s| s.deliveries.len()).sum(),
        Write::Repair(repair) => repair.deliveries.len(),
        Write::Leads(batch) => batch.leads.len(),
        Write::Request(request) => rows_of(&request.command),
        _ => 1,
    }
}
