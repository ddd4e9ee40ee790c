//! Destinations: reading and changing them.

use tokio_postgres::Row;

use super::{
    args::args,
    columns::{get, json},
    connect::Conn,
    fault::{Fault, damaged},
    rows, settle, tally,
    tx::Tx,
};
use crate::{
    id::DestinationId,
    org::OrgId,
    store::{
        CredentialsChange, Health, PutDestination, StopCause, StoreError, StoredDestination, destination_removed, moved_account,
        refuse_open,
    },
};

/// A destination, the number of its organization, and whether it was removed.
pub(super) struct Stored {
    pub(super) destination: StoredDestination,
    pub(super) org: i64,
    pub(super) removed: bool,
}

impl Stored {
    /// Whether some of its rows are to be held when they are claimed.
    pub(super) fn holds(&self) -> bool {
        let health = &self.destination.health;
        health.hold.is_some() || !health.held_actions.is_empty()
    }
}

const COLUMNS: &str =
    "SELECT d.id, o.name, d.name, d.spec, d.credentials, d.breaker, d.paused_until_ms, d.hold, d.held_actions, d.removed, d.org
    FROM destinations d JOIN organizations o ON o.num = d.org";

fn from_row(row: &Row) -> Result<Stored, Fault> {
    let optional = |at| get::<Option<&str>>(row, at);
    let health = Health {
        breaker: json(get(row, 5)?, "a breaker")?,
        paused_until_ms: get(row, 6)?,
        hold: optional(7)?.map(|text| json(text, "a hold")).transpose()?,
        held_actions: optional(8)?.map(|text| json(text, "a hold")).transpose()?.unwrap_or_default(),
    };
    let org: OrgId = get::<&str>(row, 1)?.parse().map_err(|_| damaged("an organization's name"))?;
    let destination = StoredDestination {
        id: DestinationId(get(row, 0)?),
        org,
        name: get::<&str>(row, 2)?.into(),
        spec: json(get(row, 3)?, "a destination")?,
        credentials: get::<Option<&[u8]>>(row, 4)?.map(Into::into),
        health,
    };
    Ok(Stored { destination, org: get(row, 10)?, removed: get(row, 9)? })
}

pub(super) async fn stored(conn: &Conn, id: DestinationId) -> Result<Option<Stored>, Fault> {
    conn.first(&format!("{COLUMNS} WHERE d.id = $1"), args![id.0]).await?.as_ref().map(from_row).transpose()
}

/// The destination, which nobody else changes before the transaction ends.
pub(super) async fn lock(conn: &Conn, id: DestinationId) -> Result<Option<Stored>, Fault> {
    conn.first(&format!("{COLUMNS} WHERE d.id = $1 FOR UPDATE OF d"), args![id.0]).await?.as_ref().map(from_row).transpose()
}

/// Those of one organization by name, or all; removed ones too.
pub(super) async fn all(conn: &Conn, org: Option<&OrgId>) -> Result<Vec<Stored>, Fault> {
    let sql = format!("{COLUMNS} WHERE $1 IS NULL OR o.name = $1 ORDER BY d.name COLLATE \"C\", d.id");
    conn.query(&sql, args![org.map(OrgId::as_str)]).await?.iter().map(from_row).collect()
}

/// The organization's own destination that was not removed, locked.
pub(super) async fn own(conn: &Conn, org: &OrgId, id: DestinationId) -> Result<Stored, Fault> {
    let found = lock(conn, id).await?.filter(|s| !s.removed && s.destination.org == *org);
    Ok(found.ok_or_else(|| StoreError::NotFound(format!("destination {id}")))?)
}

pub(super) async fn put(tx: &mut Tx<'_>, put: &PutDestination) -> Result<DestinationId, Fault> {
    let org = tx.org_number(&put.org).await?;
    tx.seize(org).await?;
    let old = all(tx.conn, Some(&put.org)).await?.into_iter().find(|s| !s.removed && s.destination.name == put.name);
    let old = old.map(|s| s.destination);
    if let Some(old) = &old {
        let moved = (old.spec.kind, old.spec.customer_id) != (put.spec.kind, put.spec.customer_id);
        if moved && (tx.tally.touches(old.id) || !tally::counts(tx.conn, old.id).await?.is_empty()) {
            return Err(moved_account(&put.name).into());
        }
    }
    let id = match &old {
        Some(old) => old.id,
        None => DestinationId(tx.next_id(put.now_ms)),
    };
    let credentials = match &put.credentials {
        CredentialsChange::Keep => old.and_then(|d| d.credentials),
        CredentialsChange::Remove => None,
        CredentialsChange::Set(sealed) => Some(sealed.clone()),
    };
    let spec = serde_json::to_string(&put.spec).map_err(|_| damaged("a destination"))?;
    let breaker = serde_json::to_string(&Health::default().breaker).map_err(|_| damaged("a breaker"))?;
    let upsert = "INSERT INTO destinations (id, org, name, spec, credentials, breaker) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (id) DO UPDATE SET spec = excluded.spec, credentials = excluded.credentials";
    tx.conn.execute(upsert, args![id.0, org, &*put.name, spec, credentials.as_deref(), breaker]).await?;
    Ok(id)
}

/// Changes how a destination does, when it is locked.
pub(super) async fn change_health(conn: &Conn, id: DestinationId, change: impl FnOnce(&mut Health)) -> Result<Option<Stored>, Fault> {
    let Some(mut place) = lock(conn, id).await? else { return Ok(None) };
    change(&mut place.destination.health);
    put_health(conn, id, &place.destination.health).await?;
    Ok(Some(place))
}

/// Writes how the destination is doing.
async fn put_health(conn: &Conn, id: DestinationId, health: &Health) -> Result<(), Fault> {
    let text = |value: serde_json::Result<String>| value.map_err(|_| damaged("a destination's condition"));
    let breaker = text(serde_json::to_string(&health.breaker))?;
    let hold = health.hold.as_ref().map(|h| text(serde_json::to_string(h))).transpose()?;
    let actions = if health.held_actions.is_empty() { None } else { Some(text(serde_json::to_string(&health.held_actions))?) };
    let update = "UPDATE destinations SET breaker = $2, paused_until_ms = $3, hold = $4, held_actions = $5 WHERE id = $1";
    conn.execute(update, args![id.0, breaker, health.paused_until_ms, hold, actions]).await?;
    Ok(())
}

pub(super) async fn remove(tx: &mut Tx<'_>, org: &OrgId, id: DestinationId, force: bool, now_ms: i64) -> Result<u64, Fault> {
    let number = tx.org_number(org).await?;
    tx.seize(number).await?;
    let destination = own(tx.conn, org, id).await?;
    let unfinished = rows::unfinished(tx.conn, number, id).await?;
    if !force {
        let open = unfinished.iter().filter(|row| !row.state.is_final()).count();
        refuse_open(&destination.destination.name, open as u64)?;
    }
    tx.conn.execute("UPDATE destinations SET removed = TRUE WHERE id = $1", args![id.0]).await?;
    let silent = "UPDATE uploads SET poll_at_ms = NULL WHERE org = $1 AND destination = $2 AND poll_at_ms IS NOT NULL";
    tx.conn.execute(silent, args![number, id.0]).await?;
    settle::stop(tx, &unfinished, StopCause::Removed, &destination_removed(), now_ms).await
}
