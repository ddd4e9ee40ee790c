//! How columns become values.

use tokio_postgres::{Row, types::FromSql};

use super::fault::{Fault, damaged};
use crate::{
    click_id::ClickId,
    consent::AdConsent,
    delivery::State,
    money::{Amount, Money},
    outcome::Why,
    store::{StoreError, encoding},
};

/// A column's value.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<T, Fault> {
    Ok(row.try_get(at)?)
}

/// A small number.
pub(super) fn small(row: &Row, at: usize) -> Result<u8, Fault> {
    Ok(u8::try_from(get::<i16>(row, at)?).map_err(|_| damaged("a number"))?)
}

pub(super) fn unsigned(row: &Row, at: usize) -> Result<u64, Fault> {
    Ok(u64::try_from(get::<i64>(row, at)?).map_err(|_| damaged("a count"))?)
}

pub(super) fn count32(row: &Row, at: usize) -> Result<u32, Fault> {
    Ok(u32::try_from(get::<i32>(row, at)?).map_err(|_| damaged("a count"))?)
}

pub(super) fn attempts(row: &Row, at: usize) -> Result<u16, Fault> {
    Ok(u16::try_from(get::<i32>(row, at)?).map_err(|_| damaged("a number of attempts"))?)
}

pub(super) fn state(row: &Row, at: usize) -> Result<State, Fault> {
    Ok(State::from_number(small(row, at)?).ok_or_else(|| damaged("a state"))?)
}

pub(super) fn number(state: State) -> i16 {
    i16::from(state as u8)
}

/// A count as the database keeps it.
pub(super) fn signed(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

/// Money in three columns: mantissa, scale, currency.
pub(super) fn money_columns(money: Option<&Money>) -> (Option<i64>, Option<i16>, Option<&str>) {
    let (mantissa, scale, currency) = encoding::money_columns(money);
    (mantissa, scale.map(i16::from), currency)
}

/// The money in the columns `at`, `at + 1` and `at + 2`.
pub(super) fn money(row: &Row, at: usize) -> Result<Option<Money>, Fault> {
    let Some(mantissa) = get::<Option<i64>>(row, at)? else { return Ok(None) };
    let amount = Amount::from_parts(mantissa, small(row, at + 1)?).ok_or_else(|| damaged("an amount"))?;
    let currency = get::<&str>(row, at + 2)?.parse().map_err(|_| damaged("a currency"))?;
    Ok(Some(Money { amount, currency }))
}

/// The click id in the columns `at` and `at + 1`.
pub(super) fn click(row: &Row, at: usize) -> Result<Option<ClickId>, Fault> {
    if get::<Option<i16>>(row, at)?.is_none() {
        return Ok(None);
    }
    let kind = encoding::click_kind(small(row, at)?)?;
    Ok(Some(ClickId::new(kind, get::<&str>(row, at + 1)?).map_err(|_| damaged("a click id"))?))
}

pub(super) fn consent(row: &Row, at: usize) -> Result<AdConsent, Fault> {
    Ok(encoding::consent(small(row, at)?)?)
}

/// The reason in the columns `at` and `at + 1`.
pub(super) fn why(row: &Row, at: usize) -> Result<Option<Why>, Fault> {
    let Some(code) = get::<Option<&str>>(row, at)? else { return Ok(None) };
    Ok(Some(Why { code: code.into(), detail: get::<&str>(row, at + 1)?.into() }))
}

/// A reason in two columns.
pub(super) fn why_columns(why: Option<&Why>) -> (Option<&str>, Option<&str>) {
    (why.map(|w| &*w.code), why.map(|w| &*w.detail))
}

pub(super) fn bytes<const N: usize>(row: &Row, at: usize) -> Result<[u8; N], Fault> {
    Ok(get::<&[u8]>(row, at)?.try_into().map_err(|_| damaged("a hash"))?)
}

pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| damaged(what))
}
