//! What people do while the workers run: bring conversions, change and withdraw them, hold, repair, replay.

use std::sync::Arc;

use adsengineer_core::clock::Clock;
use adsengineer_core::{
    consent::{AdConsent, ConsentState},
    conversion::{KeySubject, NaturalKey},
    delivery::State,
    destination::DestinationSpec,
    id::DestinationId,
    identity::sha256,
    money::{Amount, Money},
    org::OrgId,
    outcome::{HoldScope, Why},
    store::{
        Captured, CredentialsChange, DeadLetterQuery, Done, Intake, NewConversion, NewDelivery, PersonKey, PutDestination, Reads, Repair,
        RepairAction, Store, Write,
    },
};

use crate::{
    platform::{MENDABLE, Platform},
    random::Random,
    store::Faulty,
    world::{Nature, START_MS, Truth, World},
};

const ACTIONS: [&str; 2] = ["71", "72"];

/// What may succeed later is tried at least so often.
const FEWEST_ATTEMPTS: u16 = 6;

/// Everything that people act on.
pub struct People {
    pub world: Arc<World>,
    pub store: Faulty,
    pub org: OrgId,
    pub destinations: Vec<(DestinationId, Arc<Platform>)>,
    random: Random,
    orders: u64,
}

impl People {
    pub async fn new(world: Arc<World>, store: Faulty) -> Self {
        let random = world.random.fork();
        let mut people = Self { world, store, org: "acme".parse().unwrap(), destinations: Vec::new(), random, orders: 0 };
        for n in 0..people.random.between(1, 2) {
            let spec: DestinationSpec = serde_json::from_str(r#"{"kind":"google","customer_id":"1234567890"}"#).unwrap();
            let credentials = CredentialsChange::Keep;
            let name = format!("d{n}").into();
            let put = PutDestination { org: people.org.clone(), name, spec, credentials, now_ms: people.world.now_ms() };
            let Done::Destination(id) = people.act(Write::PutDestination(put)).await else { panic!("no destination") };
            people.destinations.push((id, Arc::new(Platform::new(people.world.clone()))));
        }
        people
    }

    /// Does something until the store says that it is done.
    async fn act(&self, command: Write) -> Done {
        loop {
            if let Some(Ok(done)) = self.store.write(vec![command.clone()]).await.pop() {
                return done;
            }
            self.world.pass(500).await;
        }
    }

    /// Acts for about `ms`.
    pub async fn live(&mut self, ms: u64) {
        let acts = self.random.between(5, 30);
        self.accept_new().await;
        for _ in 0..acts {
            self.world.pass(self.random.below(2 * ms / acts)).await;
            match self.random.below(100) {
                0..30 => self.accept_new().await,
                30..40 => self.accept_again().await,
                40..60 => self.restate().await,
                60..68 => self.suppress().await,
                68..74 => self.hold().await,
                74..80 => self.break_one(),
                80..90 => self.repair_all().await,
                _ => self.replay(true).await,
            }
        }
    }

    async fn accept_new(&mut self) {
        let rows = if self.random.chance(30) { self.random.between(50, 200) } else { self.random.between(1, 12) };
        let mut orders = Vec::new();
        for _ in 0..rows {
            let order = format!("o{}", self.orders);
            let truth = self.invent(self.orders);
            self.world.ledger.lock().unwrap().truth.insert(order.clone(), truth);
            orders.push(order);
            self.orders += 1;
        }
        let captured = self.accept(&orders, false).await;
        for (order, captured) in orders.iter().zip(captured) {
            match captured {
                Captured::New(_) | Captured::Known { .. } => {}
                Captured::Suppressed => drop(self.world.ledger.lock().unwrap().truth.remove(order)),
                other => self.world.violated(format!("{order} was captured as {other:?}")),
            }
        }
    }

    fn invent(&self, number: u64) -> Truth {
        let nature = match self.random.below(100) {
            0..3 => Nature::Located,
            3..5 => Nature::Unlocated,
            5..9 => Nature::Late,
            _ => Nature::Good,
        };
        let n = self.destinations.len();
        let destinations = if self.random.chance(300) { (0..n).collect() } else { vec![usize::try_from(number).unwrap() % n] };
        // Without a verdict that comes later there is none that could refuse.
        let late = destinations.iter().all(|d| self.destinations[*d].1.late);
        let nature = if nature == Nature::Late && !late { Nature::Located } else { nature };
        let action = self.random.one_of(&ACTIONS);
        let value = i64::try_from(self.random.between(1, 90)).unwrap();
        Truth { nature, action, person: person(number / 3), destinations, value, suppressed: false }
    }

    async fn accept(&self, orders: &[String], restate: bool) -> Vec<Captured> {
        let conversions: Vec<_> = orders.iter().map(|order| self.conversion(order)).collect();
        let intake = Intake {
            org: self.org.clone(),
            now_ms: self.world.now_ms(),
            source: "simulation".into(),
            consent_proof: None,
            rows: conversions.len() as u64,
            refused: 0,
            denied: 0,
            restate,
            conversions,
        };
        match self.act(Write::Accept(intake)).await {
            Done::Accepted(_, captured) => captured,
            other => panic!("{other:?}"),
        }
    }

    fn conversion(&self, order: &str) -> NewConversion {
        let truth = self.world.ledger.lock().unwrap().truth[order].clone();
        let delivery = |d: &usize| NewDelivery {
            destination: self.destinations[*d].0,
            action_id: truth.action.into(),
            transaction_id: order.into(),
            owned: Some(sha256(&format!("{d} {} {order}", truth.action))[..16].try_into().unwrap()),
            due_ms: self.world.now_ms(),
        };
        NewConversion {
            key: NaturalKey::of(&self.org, truth.action, KeySubject::Order(order), 0),
            action: truth.action.into(),
            occurred_at: START_MS / 1000 - 86_400,
            value: Some(Money { amount: Amount::from_parts(truth.value, 0).unwrap(), currency: "EUR".parse().unwrap() }),
            order_id: Some(order.parse().unwrap()),
            click_id: None,
            consent: AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None },
            identifiers: None,
            persons: vec![truth.person],
            adjustment: None,
            deliveries: truth.destinations.iter().map(delivery).collect(),
        }
    }

    fn some_orders(&self, most: u64) -> Vec<String> {
        let ledger = self.world.ledger.lock().unwrap();
        let all: Vec<_> = ledger.truth.keys().collect();
        let mut some: Vec<_> = (0..self.random.between(1, most)).map(|_| self.random.one_of(&all).clone()).collect();
        some.sort();
        some.dedup();
        some
    }

    async fn accept_again(&self) {
        let orders = self.some_orders(20);
        for (order, captured) in orders.iter().zip(self.accept(&orders, false).await) {
            if !matches!(captured, Captured::Known { added: 0, .. } | Captured::Suppressed) {
                self.world.violated(format!("{order} came again and was captured as {captured:?}"));
            }
        }
    }

    async fn restate(&self) {
        let orders = self.some_orders(8);
        {
            let mut ledger = self.world.ledger.lock().unwrap();
            for order in &orders {
                if let Some(truth) = ledger.truth.get_mut(order).filter(|t| !t.suppressed) {
                    truth.value += 100;
                }
            }
        }
        self.accept(&orders, true).await;
    }

    async fn suppress(&self) {
        let persons = self.some_orders(2).iter().map(|order| self.world.ledger.lock().unwrap().truth[order].person).collect();
        self.act(Write::Suppress { org: self.org.clone(), persons, now_ms: self.world.now_ms() }).await;
    }

    async fn hold(&self) {
        let which = self.random.below(self.destinations.len() as u64);
        let destination = self.destinations[usize::try_from(which).unwrap()].0;
        let action_id = self.random.chance(500).then(|| self.random.one_of(&ACTIONS).into());
        let scope = if action_id.is_some() { HoldScope::Action } else { HoldScope::Destination };
        let why = Why::new("BY_HAND", "someone wants it so");
        self.act(Write::Hold { destination, action_id, scope, why, now_ms: self.world.now_ms() }).await;
    }

    fn break_one(&self) {
        let which = usize::try_from(self.random.below(self.destinations.len() as u64)).unwrap();
        let scope = self.random.one_of(&[HoldScope::Credentials, HoldScope::Destination, HoldScope::Action]);
        *self.destinations[which].1.broken.lock().unwrap() = Some(scope);
    }

    /// Puts every destination right and lets it go on.
    pub async fn repair_all(&self) {
        for (destination, platform) in &self.destinations {
            *platform.broken.lock().unwrap() = None;
            let (org, now_ms) = (self.org.clone(), self.world.now_ms());
            self.act(Write::Release { org, destination: *destination, reviewed: true, now_ms }).await;
        }
    }

    /// Replays dead letters: all, or those that did not deserve it. None may be dead for a reason that is not its own.
    pub async fn replay(&self, all: bool) {
        let query = DeadLetterQuery { limit: 100_000, ..DeadLetterQuery::default() };
        let mut deliveries = Vec::new();
        for dead in self.store.dead_letters(&self.org, &query).await.unwrap().items {
            let order = dead.conversion.order_id.unwrap();
            let nature = self.world.ledger.lock().unwrap().truth[&order].nature;
            let reason = dead.delivery.reason.unwrap_or_default();
            let for_good = ["BAD_ROW", "BAD_REQUEST", "BAD_LATE", "TRANSACTION_ID_TAKEN", "BODY_CHANGED"].contains(&&*reason);
            if for_good && *reason != *nature.code() {
                self.world.violated(format!("{order} is {nature:?} and died of {reason}"));
            }
            if !for_good && *reason != *MENDABLE && dead.delivery.attempts < FEWEST_ATTEMPTS {
                self.world.violated(format!("{order} died of {reason} after {} attempts", dead.delivery.attempts));
            }
            if all || !for_good {
                deliveries.push(dead.delivery.id);
            }
        }
        let action = RepairAction::Replay { every_ms: 100 };
        let repair = Repair { org: self.org.clone(), deliveries, action, note: None, now_ms: self.world.now_ms() };
        self.act(Write::Repair(repair)).await;
    }

    /// Whether every delivery has come to its end, dead letters by their own fault included.
    pub async fn is_final(&self) -> bool {
        let sums = self.store.reconciliation(&self.org).await.unwrap();
        sums.states.iter().all(|(state, count)| state.is_final() || *count == 0) && !self.has_undeserved().await
    }

    async fn has_undeserved(&self) -> bool {
        let query = DeadLetterQuery { limit: 100_000, ..DeadLetterQuery::default() };
        let dead = self.store.dead_letters(&self.org, &query).await.unwrap().items;
        let ledger = self.world.ledger.lock().unwrap();
        dead.iter().filter(|d| d.delivery.state == State::Dead).any(|d| {
            let nature = ledger.truth[d.conversion.order_id.as_deref().unwrap()].nature;
            d.delivery.reason.as_deref() != Some(nature.code())
        })
    }
}

fn person(number: u64) -> PersonKey {
    PersonKey(sha256(&format!("person {number}"))[..16].try_into().unwrap())
}
