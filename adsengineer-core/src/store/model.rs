//! The in-memory model of a store: the reference that the real ones are tested against, and what the simulation runs on.
//!
//! It keeps everything behind one lock and favours plainness over speed. What a call has returned survives a crash
//! of its user; there is nothing else to lose.

mod accept;
mod leads;
mod queue;
mod reads;
mod settle;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{
    Agenda, Captured, Claimed, ConversionQuery, ConversionView, CredentialsChange, DeadLetter, DeadLetterQuery, DestinationStatus, Done,
    LeadCounts, LeadQuery, Lease, NewConversion, Once, Page, PendingUpload, PersonKey, PutDestination, Queue, Reads, Reconciliation,
    Replay, RevokedToken, StopCause, Store, StoreError, StoredConsent, StoredDestination, StoredLead, StoredRule, UploadResult, UploadView,
    WorkerId, Write, audited, destination_removed, moved_account, refuse_open,
};
use crate::{
    audit::{self, AuditKey, Link},
    conversion::NaturalKey,
    delivery::State,
    id::{self, ConversionId, DeliveryId, DestinationId, LeadId, ReplayId, UploadId},
    money::Money,
    org::OrgId,
    outcome::Why,
    rate_limit,
};

/// A store in memory.
#[derive(Default)]
pub struct ModelStore {
    world: Mutex<World>,
}

#[derive(Default)]
struct World {
    last_id: i64,
    destinations: BTreeMap<DestinationId, StoredDestination>,
    removed: HashSet<DestinationId>,
    conversions: BTreeMap<ConversionId, Conversion>,
    by_key: HashMap<NaturalKey, ConversionId>,
    owners: HashMap<[u8; 16], ConversionId>,
    suppressed: HashSet<(OrgId, PersonKey)>,
    deliveries: BTreeMap<DeliveryId, Delivery>,
    uploads: BTreeMap<UploadId, Upload>,
    intakes: Vec<IntakeRow>,
    quotas: HashMap<Arc<str>, Vec<i64>>,
    audit_key: Option<AuditKey>,
    links: Vec<Link>,
    people: leads::People,
}

struct Conversion {
    org: OrgId,
    new: NewConversion,
    revisions: Vec<Revision>,
    revision: u32,
    updated_ms: i64,
}

/// A value of a conversion; the first is what it was captured with.
#[derive(Clone, Copy)]
struct Revision {
    at: i64,
    value: Option<Money>,
}

impl Conversion {
    /// The value with the latest time; of equal times the one recorded last.
    fn value(&self) -> Option<Money> {
        self.revisions.iter().max_by_key(|r| r.at).and_then(|r| r.value)
    }
}

struct Delivery {
    org: OrgId,
    conversion: ConversionId,
    revision: u32,
    value: Option<Money>,
    destination: DestinationId,
    action_id: Arc<str>,
    transaction_id: Arc<str>,
    /// An older revision's delivery that must be final first.
    after: Option<DeliveryId>,
    state: State,
    due_ms: Option<i64>,
    lease: Option<Lease>,
    attempts: u16,
    first_sent_ms: Option<i64>,
    event_hash: Option<u64>,
    upload: Option<UploadId>,
    round: u8,
    part: i64,
    why: Option<Why>,
    /// Consent was withdrawn while it was on its way: it is not sent again.
    stop: bool,
    /// Held by itself, for a human's review.
    review: bool,
    changed_ms: i64,
    history: Vec<(i64, Why)>,
}

struct Upload {
    org: OrgId,
    destination: DestinationId,
    action_id: Arc<str>,
    rows: Vec<DeliveryId>,
    sent_ms: i64,
    answered: bool,
    round: u8,
    polls: u32,
    /// Who asks for the verdict, or did last.
    asker: Option<WorkerId>,
    result: UploadResult,
}

struct IntakeRow {
    org: OrgId,
    rows: u64,
    refused: u64,
    denied: u64,
    duplicates: u64,
    conversions: u64,
    deliveries: u64,
}

impl ModelStore {
    /// A store that signs its audit log with `key`; the default one has an all-zero key.
    pub fn with_audit_key(key: AuditKey) -> Self {
        let store = Self::default();
        store.world().audit_key = Some(key);
        store
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn next_id(&mut self, now_ms: i64) -> i64 {
        self.last_id = id::next(self.last_id, now_ms);
        self.last_id
    }

    fn link(&mut self, entries: Vec<audit::Entry>, at_ms: i64) {
        if entries.is_empty() {
            return;
        }
        let head = self.links.last().map_or_else(|| audit::Head::start(0), Link::head);
        let key = self.audit_key.clone().unwrap_or_else(|| AuditKey::new([0; 32]));
        let link = audit::link(&key, head, entries, at_ms);
        self.links.push(Link { seq: link.position, ..link });
    }

    fn run(&mut self, command: Write) -> Result<Done, StoreError> {
        match command {
            Write::Accept(intake) => self.accept(intake),
            Write::Leads(batch) => self.store_leads(batch),
            Write::DeleteLead { org, lead, .. } => Ok(Done::Changed(self.delete_lead(&org, lead))),
            Write::PutRule { org, name, spec, .. } => self.put_rule(org, name, spec),
            Write::RevokeToken { org, jti, until_ms, .. } => Ok(self.revoke(org, jti, until_ms)),
            Write::PutReplay { replay, repair, now_ms } => self.put_replay(*replay, repair.as_ref(), now_ms),
            Write::Note { .. } => Ok(Done::Noted),
            Write::Request(_) => Err(StoreError::Conflict("a request cannot be part of another".to_owned())),
            Write::Begin(begin) => self.begin(&begin).map(Done::Begun),
            Write::Settle(settle) => Ok(Done::Settled(self.settle(settle))),
            Write::PutDestination(put) => self.put_destination(put).map(Done::Destination),
            Write::RemoveDestination { org, destination, force, now_ms } => {
                self.remove_destination(&org, destination, force, now_ms).map(Done::Changed)
            }
            Write::Hold { destination, action_id, scope, why, now_ms } => {
                Ok(Done::Changed(self.hold(destination, action_id.as_ref(), scope, &why, now_ms)))
            }
            Write::Release { org, destination, reviewed, now_ms } => self.release(&org, destination, reviewed, now_ms).map(Done::Changed),
            Write::Repair(repair) => Ok(Done::Repaired(self.repair(&repair))),
            Write::Suppress { org, persons, now_ms } => Ok(Done::Changed(self.suppress(&org, &persons, now_ms))),
            Write::Reserve { quota, limits, now_ms } => {
                let tats = self.quotas.entry(quota).or_default();
                Ok(Done::Reserved(rate_limit::reserve(&limits, tats, now_ms)))
            }
        }
    }

    fn destination_mut(&mut self, org: &OrgId, id: DestinationId) -> Result<&mut StoredDestination, StoreError> {
        let known = self.destinations.get_mut(&id).filter(|d| d.org == *org && !self.removed.contains(&id));
        known.ok_or_else(|| StoreError::NotFound(format!("destination {id}")))
    }

    fn put_destination(&mut self, put: PutDestination) -> Result<DestinationId, StoreError> {
        let known = self.destinations.values().find(|d| d.org == put.org && d.name == put.name && !self.removed.contains(&d.id));
        let (id, old) = match known {
            Some(old) => (old.id, Some(old.clone())),
            None => (DestinationId(self.next_id(put.now_ms)), None),
        };
        if let Some(old) = &old {
            let moved = (old.spec.kind, old.spec.customer_id) != (put.spec.kind, put.spec.customer_id);
            if moved && self.deliveries.values().any(|d| d.destination == id) {
                return Err(moved_account(&put.name));
            }
        }
        let credentials = match put.credentials {
            CredentialsChange::Keep => old.as_ref().and_then(|d| d.credentials.clone()),
            CredentialsChange::Remove => None,
            CredentialsChange::Set(sealed) => Some(sealed),
        };
        let health = old.map(|d| d.health).unwrap_or_default();
        self.destinations.insert(id, StoredDestination { id, org: put.org, name: put.name, spec: put.spec, credentials, health });
        Ok(id)
    }

    fn remove_destination(&mut self, org: &OrgId, id: DestinationId, force: bool, now_ms: i64) -> Result<u64, StoreError> {
        let name = self.destination_mut(org, id)?.name.clone();
        if !force {
            refuse_open(&name, self.deliveries.values().filter(|d| d.destination == id && !d.state.is_final()).count() as u64)?;
        }
        self.removed.insert(id);
        self.uploads.values_mut().filter(|u| u.destination == id).for_each(|u| u.result.poll_at_ms = None);
        Ok(self.stop_deliveries(now_ms, StopCause::Removed, &destination_removed(), |d| d.destination == id))
    }
}

/// Notes an act; the same act by the same people in one commit is one entry.
fn note(entries: &mut Vec<audit::Entry>, entry: Option<audit::Entry>) {
    let Some(entry) = entry else { return };
    match entries.last_mut() {
        Some(last) if last.merges(&entry) => last.count += entry.count,
        _ => entries.push(entry),
    }
}

#[async_trait]
impl Store for ModelStore {
    async fn write(&self, commands: Vec<Write>) -> Vec<Result<Done, StoreError>> {
        let mut world = self.world();
        let now_ms = commands.last().map_or(0, Write::now_ms);
        let mut entries = Vec::new();
        let results = commands.into_iter().map(|command| {
            let done = match command.clone() {
                Write::Request(request) => match world.requested(*request)? {
                    (done, true) => done,
                    (done, false) => return Ok(done),
                },
                command => world.run(command)?,
            };
            note(&mut entries, audited(&command, &done, &|id| world.destinations.get(&id).map(|d| d.org.clone())));
            Ok(done)
        });
        let results = results.collect();
        world.link(entries, now_ms);
        results
    }
}

#[async_trait]
impl Reads for ModelStore {
    async fn destinations(&self, org: &OrgId) -> Result<Vec<StoredDestination>, StoreError> {
        Ok(self.world().destinations_of(org))
    }

    async fn conversions(&self, org: &OrgId, query: &ConversionQuery) -> Result<Page<ConversionView>, StoreError> {
        Ok(self.world().conversions(org, query))
    }

    async fn conversion(&self, org: &OrgId, id: ConversionId) -> Result<Option<ConversionView>, StoreError> {
        Ok(self.world().conversion(org, id))
    }

    async fn identifiers(&self, org: &OrgId, id: ConversionId) -> Result<Option<Box<[u8]>>, StoreError> {
        Ok(self.world().conversions.get(&id).filter(|c| c.org == *org).and_then(|c| c.new.identifiers.clone()))
    }

    async fn conversion_of(&self, org: &OrgId, id: DeliveryId) -> Result<Option<ConversionId>, StoreError> {
        Ok(self.world().deliveries.get(&id).filter(|d| d.org == *org).map(|d| d.conversion))
    }

    async fn dead_letters(&self, org: &OrgId, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, StoreError> {
        Ok(self.world().dead_letters(org, query))
    }

    async fn status(&self, org: &OrgId, now_ms: i64) -> Result<Vec<DestinationStatus>, StoreError> {
        Ok(self.world().status(org, now_ms))
    }

    async fn reconciliation(&self, org: &OrgId) -> Result<Reconciliation, StoreError> {
        Ok(self.world().reconciliation(org))
    }

    async fn uploads(&self, org: &OrgId, limit: usize) -> Result<Vec<UploadView>, StoreError> {
        Ok(self.world().uploads_of(org, limit))
    }

    async fn audit(&self, after: i64, limit: usize) -> Result<Vec<Link>, StoreError> {
        Ok(self.world().links.iter().filter(|l| l.seq > after).take(limit).cloned().collect())
    }

    async fn lead(&self, org: &OrgId, id: LeadId) -> Result<Option<StoredLead>, StoreError> {
        Ok(self.world().people.lead(org, id))
    }

    async fn leads(&self, org: &OrgId, query: &LeadQuery) -> Result<Page<StoredLead>, StoreError> {
        Ok(self.world().people.list(org, query))
    }

    async fn lead_consents(&self, org: &OrgId, id: LeadId) -> Result<Vec<StoredConsent>, StoreError> {
        Ok(self.world().people.consents(org, id))
    }

    async fn lead_counts(&self, org: &OrgId) -> Result<LeadCounts, StoreError> {
        Ok(self.world().people.counts(org))
    }

    async fn rules(&self, org: &OrgId) -> Result<Vec<StoredRule>, StoreError> {
        Ok(self.world().people.rules(org))
    }

    async fn requested(&self, once: &Once, now_ms: i64) -> Result<Option<Done>, StoreError> {
        Ok(self.world().before(once, now_ms))
    }

    async fn replay(&self, org: &OrgId, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        Ok(self.world().people.replay(org, id))
    }

    async fn organizations(&self) -> Result<Vec<OrgId>, StoreError> {
        Ok(self.world().organizations())
    }
}

#[async_trait]
impl Queue for ModelStore {
    async fn enabled_destinations(&self) -> Result<Vec<StoredDestination>, StoreError> {
        Ok(self.world().enabled().cloned().collect())
    }

    async fn agenda(&self, _now_ms: i64) -> Result<Vec<Agenda>, StoreError> {
        Ok(self.world().agenda())
    }

    async fn claim(&self, destination: DestinationId, limit: usize, lease: Lease, now_ms: i64) -> Result<Vec<Claimed>, StoreError> {
        self.world().claim(destination, limit, lease, now_ms)
    }

    async fn claim_polls(
        &self,
        destination: DestinationId,
        limit: usize,
        lease: Lease,
        now_ms: i64,
    ) -> Result<Vec<PendingUpload>, StoreError> {
        Ok(self.world().claim_polls(destination, limit, lease, now_ms))
    }

    async fn recover(&self, gone: &[WorkerId], now_ms: i64) -> Result<u64, StoreError> {
        Ok(self.world().recover(gone, now_ms))
    }

    async fn revoked_tokens(&self, after: i64, now_ms: i64) -> Result<Vec<RevokedToken>, StoreError> {
        Ok(self.world().people.revoked(after, now_ms))
    }

    async fn running_replays(&self) -> Result<Vec<Replay>, StoreError> {
        Ok(self.world().people.running_replays())
    }

    async fn workers(&self) -> Result<Vec<WorkerId>, StoreError> {
        let world = self.world();
        let claims = world.deliveries.values().filter_map(|d| d.lease.map(|l| l.worker));
        let workers: BTreeSet<_> = claims.chain(world.uploads.values().filter_map(|u| u.asker)).collect();
        Ok(workers.into_iter().collect())
    }
}
