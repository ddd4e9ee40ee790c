//! Counts of deliveries by state and the value at risk, kept with the rows so that nobody has to count them.
//!
//! Each slot counts in rows of its own; what is shown is their sum.

use std::collections::{BTreeMap, HashMap};

use super::{
    args::args,
    columns::{get, number, state, unsigned},
    connect::Conn,
    fault::{Fault, damaged},
};
use crate::{
    delivery::State,
    id::DestinationId,
    money::{Currency, Money, Totals},
};

/// Changes of counts not written yet.
#[derive(Default)]
pub(super) struct Tally {
    counts: HashMap<(i64, i16), i64>,
    risks: HashMap<(i64, Currency), i128>,
}

/// Whether a row in this state may still bring its value, or needs a human to.
fn at_risk(state: State) -> bool {
    state < State::AwaitingConfirmation || state == State::Dead
}

impl Tally {
    /// A row appeared.
    pub(super) fn made(&mut self, destination: DestinationId, state: State, value: Option<&Money>) {
        *self.counts.entry((destination.0, number(state))).or_default() += 1;
        if at_risk(state) {
            self.risk(destination, value, 1);
        }
    }

    /// A row went from one state to another.
    pub(super) fn moved(&mut self, destination: DestinationId, from: State, to: State, value: Option<&Money>) {
        if from == to {
            return;
        }
        *self.counts.entry((destination.0, number(from))).or_default() -= 1;
        *self.counts.entry((destination.0, number(to))).or_default() += 1;
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

    /// Whether anything of the destination was counted and not written yet.
    pub(super) fn touches(&self, destination: DestinationId) -> bool {
        self.counts.keys().any(|(id, _)| *id == destination.0)
    }

    pub(super) async fn write(&mut self, conn: &Conn, slot: i16) -> Result<(), Fault> {
        let changed = |n: &i64| *n != 0;
        let counts: Vec<_> = self.counts.drain().filter(|(_, delta)| changed(delta)).collect();
        let risks: Vec<_> = self.risks.drain().filter(|(_, delta)| *delta != 0).collect();
        if !counts.is_empty() {
            let destinations: Vec<i64> = counts.iter().map(|((destination, _), _)| *destination).collect();
            let states: Vec<i16> = counts.iter().map(|((_, state), _)| *state).collect();
            let deltas: Vec<i64> = counts.iter().map(|(_, delta)| *delta).collect();
            let add = "INSERT INTO tallies (destination, state, slot, count) SELECT d, s, $4, n FROM UNNEST($1, $2, $3) AS t (d, s, n)
                ON CONFLICT (destination, state, slot) DO UPDATE SET count = tallies.count + excluded.count";
            conn.execute(add, args![destinations, states, deltas, slot]).await?;
        }
        if !risks.is_empty() {
            let destinations: Vec<i64> = risks.iter().map(|((destination, _), _)| *destination).collect();
            let currencies: Vec<&str> = risks.iter().map(|((_, currency), _)| currency.as_str()).collect();
            let deltas: Vec<String> = risks.iter().map(|(_, delta)| delta.to_string()).collect();
            let add = "INSERT INTO risks (destination, currency, slot, micros)
                SELECT d, c, $4, n::numeric FROM UNNEST($1, $2, $3) AS t (d, c, n)
                ON CONFLICT (destination, currency, slot) DO UPDATE SET micros = risks.micros + excluded.micros";
            conn.execute(add, args![destinations, currencies, deltas, slot]).await?;
        }
        Ok(())
    }
}

/// How many rows the destination has in each state; none where there are none.
pub(super) async fn counts(conn: &Conn, destination: DestinationId) -> Result<BTreeMap<State, u64>, Fault> {
    let sql = "SELECT state, sum(count)::bigint FROM tallies WHERE destination = $1 GROUP BY state HAVING sum(count) <> 0";
    let rows = conn.query(sql, args![destination.0]).await?;
    rows.iter().map(|row| Ok((state(row, 0)?, unsigned(row, 1)?))).collect()
}

/// The value of the destination's open and dead rows.
pub(super) async fn risks(conn: &Conn, destination: DestinationId) -> Result<BTreeMap<String, String>, Fault> {
    let sql = "SELECT currency, sum(micros)::text FROM risks WHERE destination = $1 GROUP BY currency HAVING sum(micros) <> 0";
    let mut totals = Totals::default();
    for row in conn.query(sql, args![destination.0]).await? {
        let currency = get::<&str>(&row, 0)?.parse().map_err(|_| damaged("a currency"))?;
        totals.add_micros(currency, get::<&str>(&row, 1)?.parse().map_err(|_| damaged("a value at risk"))?);
    }
    Ok(totals.decimals())
}
