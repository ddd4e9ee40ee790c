//! Counts of deliveries by state and the value at risk, kept with the rows so that nobody has to count them.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use super::error::damaged;
use crate::{
    delivery::State,
    id::DestinationId,
    money::{Currency, Money, Totals},
    store::StoreError,
};

/// Changes of counts not written yet.
#[derive(Clone, Default)]
pub(super) struct Tally {
    counts: HashMap<(i64, u8), i64>,
    risks: HashMap<(i64, Currency), i128>,
}

/// Whether a row in this state may still bring its value, or needs a human to.
fn at_risk(state: State) -> bool {
    state < State::AwaitingConfirmation || state == State::Dead
}

impl Tally {
    /// A row appeared.
    pub(super) fn made(&mut self, destination: DestinationId, state: State, value: Option<&Money>) {
        *self.counts.entry((destination.0, state as u8)).or_default() += 1;
        if at_risk(state) {
            self.risk(destination, value, 1);
        }
    }

    /// A row went from one state to another.
    pub(super) fn moved(&mut self, destination: DestinationId, from: State, to: State, value: Option<&Money>) {
        if from == to {
            return;
        }
        *self.counts.entry((destination.0, from as u8)).or_default() -= 1;
        *self.counts.entry((destination.0, to as u8)).or_default() += 1;
        match (at_risk(from), at_risk(to)) {
            (true, false) => self.risk(destination, value, -1),
            (false, true) => self.risk(destination, value, 1),
            _ => {}
        }
    }

    fn risk(&mut self, destination: DestinationId, value: Option<&Money>, sign: i128) {
        if let Some(money) = value {
            *self.risks.entry((destination.0, money.currency)).or_default() += sign * Totals::micros(*money);
        }
    }

    pub(super) fn write(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let mut add = conn.prepare_cached(
            "INSERT INTO tallies (destination, state, count) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
        )?;
        for ((destination, state), delta) in self.counts.drain().filter(|(_, delta)| *delta != 0) {
            add.execute(params![destination, state, delta])?;
        }
        let mut read = conn.prepare_cached("SELECT micros FROM risks WHERE destination = ?1 AND currency = ?2")?;
        let mut put = conn.prepare_cached("INSERT OR REPLACE INTO risks (destination, currency, micros) VALUES (?1, ?2, ?3)")?;
        for ((destination, currency), delta) in self.risks.drain().filter(|(_, delta)| *delta != 0) {
            let old = read.query_row(params![destination, currency.as_str()], |r| r.get::<_, [u8; 16]>(0)).optional()?;
            let sum = old.map_or(0, i128::from_be_bytes) + delta;
            put.execute(params![destination, currency.as_str(), sum.to_be_bytes()])?;
        }
        Ok(())
    }
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
