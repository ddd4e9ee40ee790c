//! Counts of deliveries by state and the value at risk: writing and reading them.
//!
//! Each slot counts in rows of its own; what is shown is their sum.

use std::collections::BTreeMap;

use super::{
    args::args,
    columns::{get, number, state, unsigned},
    connect::Conn,
    fault::{Fault, damaged},
};
use crate::{delivery::State, id::DestinationId, money::Totals, store::tally::Tally};

/// Writes what was counted, in the rows of a slot.
pub(super) async fn write(tally: &mut Tally, conn: &Conn, slot: i16) -> Result<(), Fault> {
    let counts: Vec<_> = tally.take_counts().collect();
    let risks: Vec<_> = tally.take_risks().collect();
    if !counts.is_empty() {
        let destinations: Vec<i64> = counts.iter().map(|(destination, ..)| destination.0).collect();
        let states: Vec<i16> = counts.iter().map(|(_, state, _)| number(*state)).collect();
        let deltas: Vec<i64> = counts.iter().map(|(.., delta)| *delta).collect();
        let add = "INSERT INTO tallies (destination, state, slot, count) SELECT d, s, $4, n FROM UNNEST($1, $2, $3) AS t (d, s, n)
            ON CONFLICT (destination, state, slot) DO UPDATE SET count = tallies.count + excluded.count";
        conn.execute(add, args![destinations, states, deltas, slot]).await?;
    }
    if !risks.is_empty() {
        let destinations: Vec<i64> = risks.iter().map(|(destination, ..)| destination.0).collect();
        let currencies: Vec<&str> = risks.iter().map(|(_, currency, _)| currency.as_str()).collect();
        let deltas: Vec<String> = risks.iter().map(|(.., delta)| delta.to_string()).collect();
        let add = "INSERT INTO risks (destination, currency, slot, micros)
            SELECT d, c, $4, n::numeric FROM UNNEST($1, $2, $3) AS t (d, c, n)
            ON CONFLICT (destination, currency, slot) DO UPDATE SET micros = risks.micros + excluded.micros";
        conn.execute(add, args![destinations, currencies, deltas, slot]).await?;
    }
    Ok(())
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
