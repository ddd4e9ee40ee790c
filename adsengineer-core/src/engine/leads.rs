//! Leads: taking them in, following their status, and the conversions that an organization's rules make of them.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Batch, Engine, EngineError, Incoming, Setup, require};
use crate::{
    conversion::{KeySubject, NaturalKey},
    id::{ChangeId, LeadId},
    identity::Identifiers,
    lead::{Judged, Lead, LeadPatch, LeadStatus},
    org::{Caller, OrgId, Role},
    rule::{Rule, Trigger},
    scoring::Score,
    store::{Captured, Done, Intake, LeadBatch, LeadQuery, LeadWrite, Once, Page, PersonKey, StoreError, StoredLead, Write},
    vault::PersonKind,
};

/// The table name under which leads are sealed.
const LEAD_TABLE: &str = "lead";
/// The purpose under which leads are sealed.
const CONTENT: &str = "content";
/// How often a lead that others change at the same time is read again.
const TRIES: usize = 8;

/// What is sealed of a lead.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Content {
    lead: Lead,
    #[serde(with = "sealed_score")]
    score: Score,
    /// What names the conversions that rules make of it: 32 hexadecimal digits.
    uid: Box<str>,
}

/// A score in few bytes: score, cents, percent, qualified, line of business, and the parts.
mod sealed_score {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::scoring::{Part, Score};

    type Flat<V, P> = (u8, i64, i32, bool, V, Vec<(P, i32, i32)>);

    pub(super) fn serialize<S: Serializer>(score: &Score, s: S) -> Result<S::Ok, S::Error> {
        let parts = score.breakdown.iter().map(|part| (&*part.what, part.points, part.percent)).collect();
        let flat: Flat<Option<&str>, &str> =
            (score.score, score.value_cents, score.multiplier_percent, score.qualified, score.vertical.as_deref(), parts);
        flat.serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Score, D::Error> {
        let (score, value_cents, multiplier_percent, qualified, vertical, parts) = Flat::<Option<Box<str>>, String>::deserialize(d)?;
        let breakdown = parts.into_iter().map(|(what, points, percent)| Part { what: what.into(), points, percent }).collect();
        Ok(Score { score, value_cents, multiplier_percent, qualified, vertical, breakdown })
    }
}

/// A lead as it is shown.
#[derive(Clone, Debug)]
pub struct LeadView {
    /// Id.
    pub id: LeadId,
    /// Everything that is known of it.
    pub lead: Lead,
    /// How it was scored.
    pub score: Score,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What became of leads that were to be stored.
#[derive(Clone, Debug)]
pub struct AcceptedLeads {
    /// Those that were stored, in order.
    pub leads: Vec<LeadView>,
    /// How many people said no.
    pub denied: u64,
    /// What the rules made of them.
    pub conversions: Vec<RuleConversion>,
    /// Whether this was done before, under the same key.
    pub repeated: bool,
}

/// What a rule made of a lead.
#[derive(Clone, Debug)]
pub struct RuleConversion {
    /// The rule's name; `None` when this was done before, under other rules.
    pub rule: Option<Arc<str>>,
    /// What became of the conversion; the reason why none was made.
    pub result: Result<Captured, &'static str>,
}

/// A lead on its way into the store.
struct Pending {
    known: Option<(LeadId, ChangeId)>,
    before: Option<LeadStatus>,
    content: Content,
}

impl Engine {
    /// Stores leads, all or none; of those without consent nothing is kept but their number.
    pub async fn accept_leads(&self, caller: &Caller, leads: Vec<Judged>, once: Option<Once>) -> Result<AcceptedLeads, EngineError> {
        require(caller, Role::Member)?;
        let setup = self.setup(caller.org()).await?;
        let denied = leads.iter().filter(|lead| matches!(lead, Judged::Denied { .. })).count() as u64;
        let leads: Vec<Lead> =
            leads.into_iter().filter_map(|judged| if let Judged::Lead(lead) = judged { Some(*lead) } else { None }).collect();
        let mut known: HashMap<Box<[u8]>, LeadId> = HashMap::new();
        for _ in 0..TRIES {
            let (mut pending, places) = self.pending(caller.org(), &leads, &known).await?;
            let done = self.store_leads(caller, &setup, &mut pending, denied, once.clone()).await?;
            match done {
                (Done::LeadsMoved(moved), _) => {
                    for (at, id) in moved {
                        known.insert(own_id(&pending[at].content.lead).unwrap_or_default(), id);
                    }
                }
                (Done::Leads(ids, captured), made) => {
                    let conversions = reported(made, captured);
                    let leads = places.iter().map(|place| view(ids[*place], &pending[*place].content)).collect();
                    return Ok(AcceptedLeads { leads, denied, conversions, repeated: false });
                }
                (Done::Repeated(first), made) => return self.repeated(caller, *first, denied, made).await,
                _ => return Err(EngineError::KeyReused),
            }
        }
        Err(EngineError::Store(StoreError::Busy))
    }

    /// Leads as they are to be stored, one for each site's own id, and the place of each given one among them.
    async fn pending(
        &self,
        org: &OrgId,
        leads: &[Lead],
        known: &HashMap<Box<[u8]>, LeadId>,
    ) -> Result<(Vec<Pending>, Vec<usize>), EngineError> {
        let mut pending: Vec<Pending> = Vec::with_capacity(leads.len());
        let mut places = Vec::with_capacity(leads.len());
        let mut by_own_id: HashMap<Box<[u8]>, usize> = HashMap::new();
        for lead in leads {
            let own_id = own_id(lead);
            if let Some(place) = own_id.as_ref().and_then(|own| by_own_id.get(own)) {
                let content = &mut pending[*place].content;
                content.lead = std::mem::take(&mut content.lead).merge(lead.clone());
                content.score = self.scoring.of(org).score(&content.lead);
                places.push(*place);
                continue;
            }
            let stored = match own_id.as_ref().and_then(|own| known.get(own)) {
                Some(id) => self.store.lead(org, *id).await?,
                None => None,
            };
            let next = match stored {
                Some(stored) => self.updated(org, &stored, |old| Ok(old.merge(lead.clone())))?,
                None => self.fresh(org, lead.clone()),
            };
            if let Some(own) = own_id {
                by_own_id.insert(own, pending.len());
            }
            places.push(pending.len());
            pending.push(next);
        }
        Ok((pending, places))
    }

    fn fresh(&self, org: &OrgId, lead: Lead) -> Pending {
        let score = self.scoring.of(org).score(&lead);
        let uid = format!("{:032x}", rand::random::<u128>()).into();
        Pending { known: None, before: None, content: Content { lead, score, uid } }
    }

    fn updated(
        &self,
        org: &OrgId,
        stored: &StoredLead,
        change: impl FnOnce(Lead) -> Result<Lead, EngineError>,
    ) -> Result<Pending, EngineError> {
        let Content { lead, uid, .. } = self.opened(org, stored)?;
        let before = Some(lead.status);
        let lead = change(lead)?;
        let score = self.scoring.of(org).score(&lead);
        Ok(Pending { known: Some((stored.id, stored.changed)), before, content: Content { lead, score, uid } })
    }

    async fn store_leads(
        &self,
        caller: &Caller,
        setup: &Setup,
        pending: &mut [Pending],
        denied: u64,
        once: Option<Once>,
    ) -> Result<(Done, Vec<RuleConversion>), EngineError> {
        let (org, now_ms) = (caller.org(), self.clock.now_ms());
        let (made, intake) = self.by_rules(caller, setup, pending)?;
        let leads = pending.iter_mut().map(|p| self.lead_write(org, p)).collect();
        let batch = LeadBatch { org: org.clone(), now_ms, leads, denied, intake };
        let done = self.request(caller, once, Write::Leads(batch)).await.map_err(|error| self.outdated(org, error))?;
        Ok((done, made))
    }

    fn lead_write(&self, org: &OrgId, pending: &mut Pending) -> LeadWrite {
        // Consent has a column of its own: it outlives the lead.
        let consent = std::mem::take(&mut pending.content.lead.consent);
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&pending.content).unwrap_or_default());
        pending.content.lead.consent = consent;
        let Content { lead, score, .. } = &pending.content;
        LeadWrite {
            known: pending.known,
            external: own_id(lead).map(|own| self.vault.person_key(org, PersonKind::ExternalId, &own).0),
            persons: self.lead_persons(org, lead),
            status: lead.status.number(),
            score: score.score,
            consent: serde_json::to_string(&lead.consent).unwrap_or_default().into(),
            content: self.vault.seal(org, LEAD_TABLE, CONTENT, &plain),
        }
    }

    fn lead_persons(&self, org: &OrgId, lead: &Lead) -> Vec<PersonKey> {
        let identifiers = Identifiers { email: lead.email.clone(), phone: lead.phone.clone(), ..Identifiers::default() };
        let clicks = &lead.clicks;
        let clicks = [&clicks.gclid, &clicks.gbraid, &clicks.wbraid, &clicks.fbclid, &clicks.fbc, &clicks.msclkid, &clicks.ttclid];
        let clicks = clicks.into_iter().flatten().map(|click| self.vault.person_key(org, PersonKind::ClickId, click.as_bytes()));
        self.person_keys(org, &identifiers, None).into_iter().chain(clicks).collect()
    }

    /// The conversions that rules make of leads whose status is reached for the first time, and what they say of others.
    fn by_rules(&self, caller: &Caller, setup: &Setup, pending: &[Pending]) -> Result<(Vec<RuleConversion>, Option<Intake>), EngineError> {
        let (mut made, mut incoming) = (Vec::new(), Vec::new());
        for lead in pending {
            for (name, rule) in setup.rules.iter().filter(|(_, rule)| fires(rule.on, lead)) {
                let rule_name = Some(name.clone());
                match self.conversion_of(caller.org(), rule, &lead.content) {
                    Ok((conversion, key)) => {
                        let destinations = setup.of_rule(rule);
                        incoming.push((Incoming::Conversion(Box::new(conversion), key), destinations));
                        made.push(RuleConversion { rule: rule_name, result: Ok(Captured::Suppressed) });
                    }
                    Err(why) => made.push(RuleConversion { rule: rule_name, result: Err(why) }),
                }
            }
        }
        if incoming.is_empty() {
            return Ok((made, None));
        }
        let rows = incoming.len() as u64;
        let batch =
            Batch { source: "rules".into(), consent_proof: None, rows, refused: 0, denied: 0, restate: false, incoming: Vec::new() };
        let incoming = incoming.iter().map(|(one, to)| (one, to.as_slice()));
        Ok((made, Some(self.intake(caller.org(), &batch, incoming)?)))
    }

    fn conversion_of(
        &self,
        org: &OrgId,
        rule: &Rule,
        content: &Content,
    ) -> Result<(crate::conversion::Conversion, NaturalKey), &'static str> {
        let now_ms = self.clock.now_ms();
        let conversion = rule.apply(&content.lead, &content.score, now_ms / 1000)?;
        let subject = format!("lead {}", content.uid);
        let key = NaturalKey::of(org, &conversion.action, KeySubject::Order(&subject), conversion.occurred_at.as_second());
        Ok((conversion, key))
    }

    /// What a request did that was done before.
    /// `made` is what the rules would make of it now.
    async fn repeated(&self, caller: &Caller, first: Done, denied: u64, made: Vec<RuleConversion>) -> Result<AcceptedLeads, EngineError> {
        let Done::Leads(ids, captured) = first else { return Err(EngineError::KeyReused) };
        let mut leads = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(stored) = self.store.lead(caller.org(), id).await? {
                leads.push(self.shown(caller.org(), &stored)?);
            }
        }
        let conversions = if made.iter().filter(|m| m.result.is_ok()).count() == captured.len() {
            reported(made, captured)
        } else {
            captured.into_iter().map(|c| RuleConversion { rule: None, result: Ok(c) }).collect()
        };
        Ok(AcceptedLeads { leads, denied, conversions, repeated: true })
    }

    /// Changes a lead's status or value; rules make conversions of the status that it enters.
    pub async fn patch_lead(
        &self,
        caller: &Caller,
        id: LeadId,
        patch: LeadPatch,
        once: Option<Once>,
    ) -> Result<AcceptedLeads, EngineError> {
        require(caller, Role::Member)?;
        let setup = self.setup(caller.org()).await?;
        for _ in 0..TRIES {
            let stored = self.stored_lead(caller, id).await?;
            let mut pending = match self.updated(caller.org(), &stored, |lead| patched(lead, patch)) {
                Ok(pending) => [pending],
                Err(refused) => {
                    let first = self.done_before(once.as_ref()).await?.ok_or(refused)?;
                    return self.repeated(caller, first, 0, Vec::new()).await;
                }
            };
            match self.store_leads(caller, &setup, &mut pending, 0, once.clone()).await? {
                (Done::LeadsMoved(_), _) => {}
                (Done::Leads(_, captured), made) => {
                    let view = LeadView { id, ..self.lead(caller, id).await? };
                    return Ok(AcceptedLeads { leads: vec![view], denied: 0, conversions: reported(made, captured), repeated: false });
                }
                (Done::Repeated(first), _) => {
                    pending[0].before = None;
                    let (made, _) = self.by_rules(caller, &setup, &pending)?;
                    return self.repeated(caller, *first, 0, made).await;
                }
                _ => return Err(EngineError::KeyReused),
            }
        }
        Err(EngineError::Store(StoreError::Busy))
    }

    async fn stored_lead(&self, caller: &Caller, id: LeadId) -> Result<StoredLead, EngineError> {
        self.store.lead(caller.org(), id).await?.ok_or_else(|| EngineError::NotFound(format!("lead `{id}`")))
    }

    /// One lead.
    pub async fn lead(&self, caller: &Caller, id: LeadId) -> Result<LeadView, EngineError> {
        let stored = self.stored_lead(caller, id).await?;
        self.shown(caller.org(), &stored)
    }

    /// Leads in the order of their latest changes.
    pub async fn leads(&self, caller: &Caller, query: &LeadQuery) -> Result<Page<LeadView>, EngineError> {
        let page = self.store.leads(caller.org(), query).await?;
        let items = page.items.iter().map(|stored| self.shown(caller.org(), stored)).collect::<Result<_, _>>()?;
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// Deletes a lead. Its conversions stay, and what its person agreed to.
    pub async fn delete_lead(&self, caller: &Caller, id: LeadId) -> Result<(), EngineError> {
        require(caller, Role::Admin)?;
        let command = Write::DeleteLead { org: caller.org().clone(), lead: id, now_ms: self.clock.now_ms() };
        match self.request(caller, None, command).await? {
            Done::Changed(1..) => Ok(()),
            _ => Err(EngineError::NotFound(format!("lead `{id}`"))),
        }
    }

    fn opened(&self, org: &OrgId, stored: &StoredLead) -> Result<Content, EngineError> {
        let plain = self.vault.open(org, LEAD_TABLE, CONTENT, &stored.content)?;
        let damaged = |_| StoreError::Damaged(format!("lead {}", stored.id));
        let mut content: Content = serde_json::from_slice(&plain).map_err(damaged)?;
        content.lead.consent = serde_json::from_str(&stored.consent).map_err(damaged)?;
        Ok(content)
    }

    fn shown(&self, org: &OrgId, stored: &StoredLead) -> Result<LeadView, EngineError> {
        let Content { lead, score, .. } = self.opened(org, stored)?;
        Ok(LeadView { id: stored.id, lead, score, updated_at: stored.changed.created_at() })
    }
}

fn view(id: LeadId, content: &Content) -> LeadView {
    LeadView { id, lead: content.lead.clone(), score: content.score.clone(), updated_at: id.created_at() }
}

/// The site and its own id, which together name one lead.
fn own_id(lead: &Lead) -> Option<Box<[u8]>> {
    let external = lead.external_id.as_ref()?;
    Some(format!("{}\0{external}", lead.site_id.as_deref().unwrap_or_default()).into_bytes().into())
}

fn patched(mut lead: Lead, patch: LeadPatch) -> Result<Lead, EngineError> {
    if let Some(next) = patch.status {
        if !lead.status.may_become(next) {
            return Err(EngineError::Status { from: lead.status, to: next });
        }
        lead.status = next;
    }
    lead.value = patch.value.or(lead.value);
    Ok(lead)
}

/// Whether a rule fires for a lead that enters the store, or a status, now.
fn fires(on: Trigger, lead: &Pending) -> bool {
    match on {
        Trigger::Created => lead.known.is_none(),
        Trigger::Status(status) => lead.content.lead.status == status && lead.before != Some(status),
    }
}

/// Puts what became of the conversions where rules made one.
fn reported(mut made: Vec<RuleConversion>, captured: Vec<Captured>) -> Vec<RuleConversion> {
    let slots = made.iter_mut().filter(|m| m.result.is_ok());
    slots.zip(captured).for_each(|(slot, captured)| slot.result = Ok(captured));
    made
}
