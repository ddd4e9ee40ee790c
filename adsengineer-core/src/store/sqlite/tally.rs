//! Counts of deliveries by state and the value at risk: writing and reading them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::error::damaged;
use crate::{
    delivery::State,
    id::DestinationId,
    money::Totals,
    store::{StoreError, tally::Tally},
};

/// Writes what was counted.
pub(super) fn write(tally: &mut Tally, conn: &Connection) -> Result<(), StoreError> {
    let mut add = conn.prepare_cached(
        "INSERT INTO tallies (destination, state, count) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    for (destination, state, delta) in tally.take_counts() {
        add.execute(params![destination.0, state as u8, delta])?;
    }
    let mut read = conn.prepare_cached("SELECT micros FROM risks WHERE destination = ?1 AND currency = ?2")?;
    let mut put = conn.prepare_cached("INSERT OR REPLACE INTO risks (destination, currency, micros) VALUES (?1, ?2, ?3)")?;
    for (destination, currency, delta) in tally.take_risks() {
        let old = read.query_row(params![destination.0, currency.as_str()], |r| r.get::<_, [u8; 16]>(0)).optional()?;
        let sum = old.map_or(0, i128::from_be_bytes) + delta;
        put.execute(params![destination.0, currency.as_str(), sum.to_be_bytes()])?;
    }
    Ok(())
}

/// How many rows the destination has in each state; none where there are none.
pub(super) fn counts(conn: &Connection, destination: DestinationId) -> Result<BTreeMap<State, u64>, StoreError> {
    let mut read = conn.prepare_cached("SELECT state, count FROM tallies WHERE destination = ?1 AND count <> 0")?;
    let mut rows = read.query([destination.0])?;
    let mut counts = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let state = State::from_number(row.get(0)?).ok_or_else(|| damaged("a state"))?;
        counts.insert(state, u64::try_from(row.get::<_, i64>(1)?).map_err(|_| damaged("a count"))?);
    }
    Ok(counts)
}

/// The value of the destination's open and dead rows.
pub(super) fn risks(conn: &Connection, destination: DestinationId) -> Result<BTreeMap<String, String>, StoreError> {
    let mut read = conn.prepare_cached("SELECT currency, micros FROM risks WHERE destination = ?1")?;
    let mut rows = read.query([destination.0])?;
    let mut totals = Totals::default();
    while let Some(row) = rows.next()? {
        let currency = row.get::<_, String>(0)?.parse().map_err(|_| damaged("a currency"))?;
        match i128::from_be_bytes(row.get(1)?) {
            0 => {}
            micros => totals.add_micros(currency, micros),
        }
    }
    Ok(totals.decimals())
}
