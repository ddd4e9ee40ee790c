//! How values become columns and columns values.

use rusqlite::Row;

use super::error::damaged;
pub(super) use crate::store::encoding::{click_kind_number, consent, consent_number, money_columns, persons, persons_blob};
use crate::{
    click_id::ClickId,
    id::DeliveryId,
    money::{Amount, Money},
    store::{StoreError, encoding::click_kind},
};

/// The money in the columns `at`, `at + 1` and `at + 2`.
pub(super) fn money(row: &Row<'_>, at: usize) -> Result<Option<Money>, StoreError> {
    let Some(mantissa) = row.get::<_, Option<i64>>(at)? else { return Ok(None) };
    let amount = Amount::from_parts(mantissa, row.get(at + 1)?).ok_or_else(|| damaged("an amount"))?;
    let currency = row.get_ref(at + 2)?.as_str().ok().and_then(|c| c.parse().ok()).ok_or_else(|| damaged("a currency"))?;
    Ok(Some(Money { amount, currency }))
}

/// The click id in the columns `at` and `at + 1`.
pub(super) fn click(row: &Row<'_>, at: usize) -> Result<Option<ClickId>, StoreError> {
    let Some(kind) = row.get::<_, Option<u8>>(at)? else { return Ok(None) };
    let kind = click_kind(kind)?;
    let text = row.get_ref(at + 1)?.as_str().map_err(|_| damaged("a click id"))?;
    ClickId::new(kind, text).map(Some).map_err(|_| damaged("a click id"))
}

/// Ids as one blob, 8 bytes each.
pub(super) fn ids_blob(ids: impl Iterator<Item = DeliveryId>) -> Vec<u8> {
    ids.flat_map(|id| id.0.to_be_bytes()).collect()
}

pub(super) fn ids(blob: &[u8]) -> Vec<DeliveryId> {
    blob.as_chunks::<8>().0.iter().map(|bytes| DeliveryId(i64::from_be_bytes(*bytes))).collect()
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, types::Value};

    use super::*;
    use crate::{
        click_id::ClickIdKind,
        consent::{AdConsent, ConsentState},
        store::PersonKey,
    };

    /// What `read` makes of a row with these values.
    fn with<T>(values: &[Value], read: impl FnOnce(&Row<'_>) -> T) -> T {
        let conn = Connection::open_in_memory().unwrap();
        let marks = vec!["?"; values.len()].join(", ");
        let mut select = conn.prepare(&format!("SELECT {marks}")).unwrap();
        let mut rows = select.query(rusqlite::params_from_iter(values)).unwrap();
        read(rows.next().unwrap().unwrap())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn is_damaged<T>(result: &Result<T, StoreError>) -> bool {
        matches!(result, Err(StoreError::Damaged(_)))
    }

    #[test]
    fn money_comes_back_as_it_was_written() {
        let value = Money { amount: "12.50".parse().unwrap(), currency: "EUR".parse().unwrap() };
        let (mantissa, scale, currency) = money_columns(Some(&value));
        let columns = [mantissa.unwrap().into(), i64::from(scale.unwrap()).into(), text(currency.unwrap())];
        assert_eq!(with(&columns, |row| money(row, 0)), Ok(Some(value)));
        assert_eq!(money_columns(None), (None, None, None));
        assert_eq!(with(&[Value::Null, Value::Null, Value::Null], |row| money(row, 0)), Ok(None));
    }

    #[test]
    fn damaged_money_is_said_and_never_guessed() {
        let cases: [[Value; 3]; 6] = [
            [1.into(), 99.into(), text("EUR")],
            [1.into(), 2.into(), text("euro")],
            [1.into(), 2.into(), Value::Null],
            [1.into(), Value::Null, text("EUR")],
            [1.into(), 300.into(), text("EUR")],
            [text("1"), 2.into(), text("EUR")],
        ];
        for columns in cases {
            assert!(is_damaged(&with(&columns, |row| money(row, 0))), "{columns:?}");
        }
    }

    #[test]
    fn click_ids_of_every_kind_come_back_and_others_are_damage() {
        for kind in [ClickIdKind::Gclid, ClickIdKind::Gbraid, ClickIdKind::Wbraid] {
            let id = with(&[i64::from(click_kind_number(kind)).into(), text("Cj0_one")], |row| click(row, 0)).unwrap();
            assert_eq!(id, Some(ClickId::new(kind, "Cj0_one").unwrap()));
        }
        assert_eq!(with(&[Value::Null, Value::Null], |row| click(row, 0)), Ok(None));
        let cases: [[Value; 2]; 5] = [
            [4.into(), text("Cj0_one")],
            [1.into(), Value::Null],
            [1.into(), text("")],
            [1.into(), 7.into()],
            [text("x"), text("Cj0_one")],
        ];
        for columns in cases {
            assert!(is_damaged(&with(&columns, |row| click(row, 0))), "{columns:?}");
        }
    }

    #[test]
    fn every_consent_has_a_number_of_its_own_and_other_numbers_are_damage() {
        let states =
            [None, Some(ConsentState::Granted), Some(ConsentState::Denied), Some(ConsentState::Pending), Some(ConsentState::Withdrawn)];
        for (ad_user_data, ad_personalization) in states.iter().flat_map(|a| states.iter().map(move |b| (*a, *b))) {
            let both = AdConsent { ad_user_data, ad_personalization };
            assert_eq!(consent(consent_number(both)), Ok(both));
        }
        for number in [5, 7, 40, 255] {
            assert!(is_damaged(&consent(number)), "{number}");
        }
    }

    #[test]
    fn ids_and_persons_come_back_in_their_order() {
        let deliveries = [DeliveryId(3), DeliveryId(-1), DeliveryId(i64::MAX)];
        assert_eq!(ids(&ids_blob(deliveries.into_iter())), deliveries);
        let people = [PersonKey([1; 16]), PersonKey([2; 16])];
        assert_eq!(persons(persons_blob(&people).as_deref()), people);
        assert_eq!((persons_blob(&[]), persons(None)), (None, Vec::new()));
    }
}
