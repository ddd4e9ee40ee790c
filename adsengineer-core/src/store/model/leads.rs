//! Leads and what surrounds requests, in memory.

use std::{collections::BTreeMap, sync::Arc};

use super::World;
use crate::{
    id::{ChangeId, LeadId, ReplayId},
    org::OrgId,
    store::{
        Done, LeadBatch, LeadCounts, LeadQuery, LeadWrite, ONCE_MS, Once, Page, Repair, Replay, ReplayState, Request, RevokedToken,
        StoreError, StoredConsent, StoredLead, StoredRule,
        remembered::{recall, remember},
    },
};

/// Everything that the model knows of leads and requests.
#[derive(Default)]
pub(super) struct People {
    leads: BTreeMap<LeadId, Lead>,
    consents: Vec<Consent>,
    counts: BTreeMap<OrgId, LeadCounts>,
    remembered: BTreeMap<(OrgId, [u8; 16]), Remembered>,
    rules: BTreeMap<(OrgId, Arc<str>), Arc<str>>,
    revoked: Vec<(OrgId, Arc<str>, i64)>,
    replays: BTreeMap<ReplayId, Replay>,
}

/// What a request with a key did.
struct Remembered {
    body: [u8; 16],
    at_ms: i64,
    done: String,
}

struct Lead {
    org: OrgId,
    external: Option<[u8; 16]>,
    stored: StoredLead,
}

struct Consent {
    org: OrgId,
    lead: LeadId,
    at: ChangeId,
    record: Arc<str>,
}

impl World {
    /// Does what was not done before under the same key; whether it did.
    pub(super) fn requested(&mut self, request: Request) -> Result<(Done, bool), StoreError> {
        let now_ms = request.command.now_ms();
        let known = request.once.as_ref().and_then(|once| self.before(once, now_ms));
        if let Some(done) = known {
            return Ok((done, false));
        }
        let done = self.run(request.command)?;
        if let (Some(once), Some(text)) = (request.once, remember(&done)) {
            self.people.remembered.insert((once.org, once.key), Remembered { body: once.body, at_ms: now_ms, done: text });
        }
        Ok((done, true))
    }

    pub(super) fn before(&self, once: &Once, now_ms: i64) -> Option<Done> {
        let known = self.people.remembered.get(&(once.org.clone(), once.key))?;
        if known.at_ms <= now_ms - ONCE_MS {
            return None;
        }
        if known.body == once.body { recall(&known.done).map(|done| Done::Repeated(Box::new(done))) } else { Some(Done::OtherRequest) }
    }

    pub(super) fn store_leads(&mut self, batch: LeadBatch) -> Result<Done, StoreError> {
        let moved: Vec<_> = batch.leads.iter().enumerate().filter_map(|(at, lead)| Some((at, self.moved(&batch.org, lead)?))).collect();
        if !moved.is_empty() {
            return Ok(Done::LeadsMoved(moved));
        }
        if let Some(intake) = &batch.intake {
            self.check_destinations(intake)?;
        }
        let counts = self.people.counts.entry(batch.org.clone()).or_default();
        counts.denied += batch.denied;
        let known = batch.leads.iter().filter(|lead| lead.known.is_some()).count() as u64;
        counts.updated += known;
        counts.stored += batch.leads.len() as u64 - known;
        let ids = batch.leads.into_iter().map(|lead| self.store_lead(&batch.org, lead, batch.now_ms)).collect();
        let captured = match batch.intake.map(|intake| self.accept(intake)).transpose()? {
            Some(Done::Accepted(_, captured)) => captured,
            _ => Vec::new(),
        };
        Ok(Done::Leads(ids, captured))
    }

    fn moved(&self, org: &OrgId, lead: &LeadWrite) -> Option<LeadId> {
        let leads = &self.people.leads;
        match (lead.known, lead.external) {
            (Some((id, changed)), _) => {
                let same = leads.get(&id).is_some_and(|l| l.org == *org && l.stored.changed == changed);
                (!same).then_some(id)
            }
            (None, Some(external)) => leads.values().find(|l| l.org == *org && l.external == Some(external)).map(|l| l.stored.id),
            (None, None) => None,
        }
    }

    fn store_lead(&mut self, org: &OrgId, lead: LeadWrite, now_ms: i64) -> LeadId {
        let changed = ChangeId(self.next_id(now_ms));
        let id = lead.known.map_or(LeadId(changed.0), |(id, _)| id);
        let latest = self.people.consents.iter().rev().find(|c| c.lead == id).map(|c| c.record.clone());
        if latest.as_ref() != Some(&lead.consent) {
            self.people.consents.push(Consent { org: org.clone(), lead: id, at: changed, record: lead.consent.clone() });
        }
        let external = self.people.leads.get(&id).map_or(lead.external, |known| known.external);
        let stored = StoredLead { id, changed, status: lead.status, score: lead.score, consent: lead.consent, content: lead.content };
        self.people.leads.insert(id, Lead { org: org.clone(), external, stored });
        id
    }

    pub(super) fn delete_lead(&mut self, org: &OrgId, id: LeadId) -> u64 {
        let own = self.people.leads.get(&id).is_some_and(|lead| lead.org == *org);
        if own {
            self.people.leads.remove(&id);
        }
        u64::from(own)
    }

    pub(super) fn put_rule(&mut self, org: OrgId, name: Arc<str>, spec: Option<Arc<str>>) -> Result<Done, StoreError> {
        match spec {
            Some(spec) => {
                self.people.rules.insert((org, name), spec);
            }
            None => {
                let missing = || StoreError::NotFound(format!("rule `{name}`"));
                self.people.rules.remove(&(org, name.clone())).ok_or_else(missing)?;
            }
        }
        Ok(Done::Noted)
    }

    pub(super) fn revoke(&mut self, org: OrgId, jti: Arc<str>, until_ms: i64) -> Done {
        if !self.people.revoked.iter().any(|(o, j, _)| *o == org && *j == jti) {
            self.people.revoked.push((org, jti, until_ms));
        }
        Done::Noted
    }

    pub(super) fn put_replay(&mut self, mut replay: Replay, repair: Option<&Repair>, now_ms: i64) -> Result<Done, StoreError> {
        if replay.id.0 == 0 {
            replay.id = ReplayId(self.next_id(now_ms));
        } else if !self.people.replays.get(&replay.id).is_some_and(|known| replay.follows(known)) {
            return Err(StoreError::Conflict(format!("replay {} does not run any more, or went on in the meantime", replay.id)));
        }
        if let Some(repair) = repair {
            replay.count(&self.repair(repair));
        }
        replay.steps += 1;
        let id = replay.id;
        self.people.replays.insert(id, replay);
        Ok(Done::Replay(id))
    }
}

impl People {
    pub(super) fn lead(&self, org: &OrgId, id: LeadId) -> Option<StoredLead> {
        self.leads.get(&id).filter(|lead| lead.org == *org).map(|lead| lead.stored.clone())
    }

    pub(super) fn list(&self, org: &OrgId, query: &LeadQuery) -> Page<StoredLead> {
        let limit = if query.limit == 0 { 50 } else { query.limit };
        let since = query.updated_since_ms.map_or(ChangeId(0), ChangeId::from_millis);
        let wanted = |lead: &&Lead| {
            let changed = lead.stored.changed;
            let in_page = query.cursor.is_none_or(|cursor| if query.descending { changed < cursor } else { changed > cursor });
            lead.org == *org && changed >= since && in_page && query.status.is_none_or(|status| lead.stored.status == status)
        };
        let mut found: Vec<StoredLead> = self.leads.values().filter(wanted).map(|lead| lead.stored.clone()).collect();
        found.sort_by_key(|lead| lead.changed);
        if query.descending {
            found.reverse();
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let next_cursor = found.last().filter(|_| more).map(|lead| lead.changed.to_string());
        Page { items: found, next_cursor }
    }

    pub(super) fn consents(&self, org: &OrgId, id: LeadId) -> Vec<StoredConsent> {
        let own = self.consents.iter().filter(|c| c.org == *org && c.lead == id);
        own.map(|c| StoredConsent { at: c.at.created_at(), record: c.record.clone() }).collect()
    }

    pub(super) fn counts(&self, org: &OrgId) -> LeadCounts {
        self.counts.get(org).copied().unwrap_or_default()
    }

    pub(super) fn rules(&self, org: &OrgId) -> Vec<StoredRule> {
        let own = self.rules.iter().filter(|((o, _), _)| o == org);
        own.map(|((_, name), spec)| StoredRule { name: name.clone(), spec: spec.clone() }).collect()
    }

    pub(super) fn replay(&self, org: &OrgId, id: ReplayId) -> Option<Replay> {
        self.replays.get(&id).filter(|replay| replay.org == *org).cloned()
    }

    pub(super) fn running_replays(&self) -> Vec<Replay> {
        self.replays.values().filter(|replay| replay.state == ReplayState::Running).cloned().collect()
    }

    pub(super) fn revoked(&self, after: i64, now_ms: i64) -> Vec<RevokedToken> {
        let numbered = self.revoked.iter().zip(1..).filter(|((_, _, until_ms), seq)| *seq > after && *until_ms > now_ms);
        numbered.map(|((org, jti, _), seq)| RevokedToken { seq, org: org.clone(), jti: jti.clone() }).collect()
    }

    /// Organizations with leads, counts or rules.
    pub(super) fn organizations(&self) -> impl Iterator<Item = OrgId> {
        let ruled = self.rules.keys().map(|(org, _)| org.clone());
        self.counts.keys().cloned().chain(ruled)
    }
}
