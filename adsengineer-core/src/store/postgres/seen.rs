//! What a transaction has looked up: one statement for many rows, and none for what is known already.

use std::collections::{HashMap, HashSet};

use super::{
    args::args,
    columns::{click, get, money},
    connect::Conn,
    fault::Fault,
};
use crate::{
    click_id::ClickId,
    conversion::NaturalKey,
    id::{ConversionId, DestinationId, LeadId},
    money::Money,
    store::{Intake, PersonKey, encoding},
};

/// A conversion that is known already.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) id: ConversionId,
    pub(super) occurred_at: i64,
    pub(super) original: Option<Money>,
    pub(super) click: Option<ClickId>,
    pub(super) persons: Vec<PersonKey>,
    /// Where it has a delivery to.
    pub(super) destinations: Vec<DestinationId>,
    /// Whether it has other values than the one it was captured with.
    pub(super) revised: bool,
}

/// What is known to be there, or not to be.
#[derive(Default)]
pub(super) struct Seen {
    known: HashMap<(i64, NaturalKey), Option<Known>>,
    owners: HashMap<[u8; 16], Option<ConversionId>>,
    suppressed: HashMap<(i64, PersonKey), bool>,
    /// Whose the destinations are that were not removed.
    destinations: HashMap<DestinationId, Option<i64>>,
    leads: HashMap<(i64, [u8; 16]), Option<LeadId>>,
    once: HashMap<(i64, [u8; 16]), Option<Remembered>>,
}

/// What a request did, and when.
#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) body: [u8; 16],
    pub(super) at_ms: i64,
    pub(super) done: String,
}

/// A key in an organization, by its number.
pub(super) type Key = (i64, [u8; 16]);

/// What is to be looked up.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    pub(super) intakes: Vec<(i64, &'a Intake)>,
    /// Sites' own ids of leads.
    pub(super) leads: Vec<Key>,
    /// Keys of requests.
    pub(super) once: Vec<Key>,
}

impl Seen {
    /// Looks up what is wanted and not known yet, in one go: the statements are sent at once.
    pub(super) async fn look_up(&mut self, conn: &Conn, wanted: &Wanted<'_>) -> Result<(), Fault> {
        let conversions = || wanted.intakes.iter().flat_map(|(org, intake)| intake.conversions.iter().map(move |new| (*org, new)));
        let deliveries = || conversions().flat_map(|(_, new)| &new.deliveries);
        let keys = missing(&self.known, conversions().map(|(org, new)| (org, new.key)));
        let owned = missing(&self.owners, deliveries().filter_map(|d| d.owned));
        let places = missing(&self.destinations, deliveries().map(|d| d.destination));
        let people = missing(&self.suppressed, conversions().flat_map(|(org, new)| new.persons.iter().map(move |person| (org, *person))));
        let leads = missing(&self.leads, wanted.leads.iter().copied());
        let once = missing(&self.once, wanted.once.iter().copied());
        let (known, owners, destinations, suppressed, by_external, remembered) = tokio::try_join!(
            known(conn, &keys),
            owners(conn, &owned),
            destinations(conn, &places),
            suppressed(conn, &people),
            super::leads::by_external(conn, &leads),
            super::requests::remembered(conn, &once),
        )?;
        fill(&mut self.suppressed, people, |key| suppressed.contains(key));
        let theirs = known.iter().flat_map(|((org, _), known)| known.persons.iter().map(|person| (*org, *person)));
        let theirs = missing(&self.suppressed, theirs);
        let suppressed = self::suppressed(conn, &theirs).await?;
        fill(&mut self.suppressed, theirs, |key| suppressed.contains(key));
        fill(&mut self.known, keys, |key| known.get(key).cloned());
        fill(&mut self.owners, owned, |owned| owners.get(owned).copied());
        fill(&mut self.destinations, places, |id| destinations.get(id).copied());
        fill(&mut self.leads, leads, |key| by_external.get(key).copied());
        fill(&mut self.once, once, |key| remembered.get(key).cloned());
        Ok(())
    }

    pub(super) fn lead(&self, org: i64, external: &[u8; 16]) -> Option<LeadId> {
        self.leads.get(&(org, *external)).copied().flatten()
    }

    pub(super) fn stored(&mut self, org: i64, external: [u8; 16], lead: LeadId) {
        self.leads.insert((org, external), Some(lead));
    }

    pub(super) fn once(&self, org: i64, key: &[u8; 16]) -> Option<&Remembered> {
        self.once.get(&(org, *key)).and_then(Option::as_ref)
    }

    pub(super) fn did(&mut self, org: i64, key: [u8; 16], what: Remembered) {
        self.once.insert((org, key), Some(what));
    }

    pub(super) fn known(&self, org: i64, key: &NaturalKey) -> Option<&Known> {
        self.known.get(&(org, *key)).and_then(Option::as_ref)
    }

    pub(super) fn captured(&mut self, org: i64, key: NaturalKey, known: Known) {
        self.known.insert((org, key), Some(known));
    }

    /// A known conversion is not as it was looked up any more.
    pub(super) fn changed(&mut self, org: i64, key: &NaturalKey) {
        if let Some(Some(known)) = self.known.get_mut(&(org, *key)) {
            known.revised = true;
        }
    }

    pub(super) fn owner(&self, owned: &[u8; 16]) -> Option<ConversionId> {
        self.owners.get(owned).copied().flatten()
    }

    pub(super) fn owns(&mut self, owned: [u8; 16], conversion: ConversionId) {
        self.owners.insert(owned, Some(conversion));
    }

    pub(super) fn is_suppressed(&self, org: i64, persons: &[PersonKey]) -> bool {
        persons.iter().any(|person| self.suppressed.get(&(org, *person)).copied().unwrap_or(false))
    }

    pub(super) fn is_own(&self, org: i64, destination: DestinationId) -> bool {
        self.destinations.get(&destination).copied().flatten() == Some(org)
    }
}

/// Those that are not known yet.
fn missing<K: std::hash::Hash + Eq, V>(known: &HashMap<K, V>, wanted: impl Iterator<Item = K>) -> HashSet<K> {
    wanted.filter(|key| !known.contains_key(key)).collect()
}

/// What was found out about keys.
fn fill<K: std::hash::Hash + Eq, V>(known: &mut HashMap<K, V>, keys: HashSet<K>, value: impl Fn(&K) -> V) {
    known.extend(keys.into_iter().map(|key| {
        let value = value(&key);
        (key, value)
    }));
}

async fn known(conn: &Conn, wanted: &HashSet<(i64, NaturalKey)>) -> Result<HashMap<(i64, NaturalKey), Known>, Fault> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let orgs: Vec<i64> = wanted.iter().map(|(org, _)| *org).collect();
    let keys: Vec<&[u8]> = wanted.iter().map(|(_, key)| &key.0[..]).collect();
    let sql = "SELECT c.org, c.natural_key, c.id, c.occurred_at, c.mantissa, c.scale, c.currency, c.click_kind, c.click, c.persons,
            ARRAY(SELECT destination FROM deliveries d WHERE d.conversion = c.id),
            EXISTS (SELECT 1 FROM revisions r WHERE r.org = c.org AND r.conversion = c.id)
        FROM UNNEST($1, $2) AS k (org, natural_key) JOIN conversions c ON c.natural_key = k.natural_key AND (c.org = k.org) IS TRUE";
    let mut found = HashMap::new();
    for row in conn.query(sql, args![orgs, keys]).await? {
        let key = NaturalKey(super::columns::bytes(&row, 1)?);
        let known = Known {
            id: ConversionId(get(&row, 2)?),
            occurred_at: get(&row, 3)?,
            original: money(&row, 4)?,
            click: click(&row, 7)?,
            persons: encoding::persons(get(&row, 9)?),
            destinations: get::<Vec<i64>>(&row, 10)?.into_iter().map(DestinationId).collect(),
            revised: get(&row, 11)?,
        };
        found.insert((get(&row, 0)?, key), known);
    }
    Ok(found)
}

async fn owners(conn: &Conn, wanted: &HashSet<[u8; 16]>) -> Result<HashMap<[u8; 16], ConversionId>, Fault> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let owned: Vec<&[u8]> = wanted.iter().map(|owned| &owned[..]).collect();
    let rows = conn.query("SELECT owned, conversion FROM owners WHERE owned = ANY($1)", args![owned]).await?;
    rows.iter().map(|row| Ok((super::columns::bytes(row, 0)?, ConversionId(get(row, 1)?)))).collect()
}

async fn destinations(conn: &Conn, wanted: &HashSet<DestinationId>) -> Result<HashMap<DestinationId, i64>, Fault> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<i64> = wanted.iter().map(|id| id.0).collect();
    let rows = conn.query("SELECT id, org FROM destinations WHERE id = ANY($1) AND NOT removed", args![ids]).await?;
    rows.iter().map(|row| Ok((DestinationId(get(row, 0)?), get(row, 1)?))).collect()
}

async fn suppressed(conn: &Conn, wanted: &HashSet<(i64, PersonKey)>) -> Result<HashSet<(i64, PersonKey)>, Fault> {
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let orgs: Vec<i64> = wanted.iter().map(|(org, _)| *org).collect();
    let persons: Vec<&[u8]> = wanted.iter().map(|(_, person)| &person.0[..]).collect();
    let sql = "SELECT s.org, s.person FROM UNNEST($1, $2) AS k (org, person) JOIN suppressed s ON s.org = k.org AND s.person = k.person";
    let rows = conn.query(sql, args![orgs, persons]).await?;
    rows.iter().map(|row| Ok((get(row, 0)?, PersonKey(super::columns::bytes(row, 1)?)))).collect()
}
