//! Stores to test, and builders with valid defaults.

use std::sync::Arc;

use adsengineer_core::{
    consent::{AdConsent, ConsentState},
    conversion::{KeySubject, NaturalKey},
    delivery::{Next, State},
    destination::DestinationSpec,
    id::{DeliveryId, DestinationId, UploadId},
    identity::sha256,
    money::Money,
    org::OrgId,
    outcome::Why,
    secret::Secret,
    store::{
        Begin, Begun, Captured, Claimed, CredentialsChange, Done, Guard, Intake, Lease, NewConversion, NewDelivery, PersonKey,
        PutDestination, Settle, Settled, Store, StoreError, UploadResult, WorkerId, Write,
        model::ModelStore,
        sqlite::{Options, SqliteStore},
    },
};

#[cfg(feature = "postgres")]
#[path = "../support/pgbouncer.rs"]
mod pgbouncer;
#[cfg(feature = "postgres")]
#[path = "../support/postgres.rs"]
pub mod server;

pub const NOW: i64 = 1_795_000_000_000;

pub fn audit_key() -> Secret<[u8; 32]> {
    Secret::new([9; 32])
}

/// The usual options, except that hashes of rows are put in order on disk again and again.
pub fn options(writer: i64) -> Options {
    Options { recent_keys: 8, ..Options::new(audit_key(), writer) }
}

/// A store with one organization and one destination.
pub struct Fixture {
    pub store: Arc<dyn Store>,
    pub org: OrgId,
    pub destination: DestinationId,
    _folder: Option<tempfile::TempDir>,
}

pub async fn model() -> Fixture {
    fixture(Arc::new(ModelStore::with_audit_key(audit_key())), None).await
}

pub async fn sqlite() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("store.db"), options(1)).unwrap();
    fixture(Arc::new(store), Some(folder)).await
}

/// The store in a schema of its own on the tests' server.
#[cfg(feature = "postgres")]
pub async fn postgres() -> Fixture {
    fixture(Arc::new(postgres_in(&server::url(), &server::schema(), 1).await), None).await
}

/// The same through PgBouncer, which gives each transaction any connection it has.
#[cfg(feature = "postgres")]
pub async fn pooled() -> Fixture {
    fixture(Arc::new(postgres_in(&pgbouncer::url(), &server::schema(), 1).await), None).await
}

/// A store on a server, in a schema that is made if need be.
#[cfg(feature = "postgres")]
pub async fn postgres_in(url: &str, schema: &str, writer: i64) -> adsengineer_core::store::postgres::PostgresStore {
    use adsengineer_core::store::{Migrate, postgres};
    let options = postgres::Options { migrate: Migrate::Auto, schema: schema.to_owned(), ..postgres::Options::new(audit_key(), writer) };
    postgres::PostgresStore::open(url, options).await.unwrap()
}

/// A fixture over a store of the caller's.
pub async fn over(store: Arc<dyn Store>) -> Fixture {
    fixture(store, None).await
}

async fn fixture(store: Arc<dyn Store>, folder: Option<tempfile::TempDir>) -> Fixture {
    let org = org("acme");
    let destination = add_destination(&*store, &org, "google").await;
    Fixture { store, org, destination, _folder: folder }
}

pub fn org(name: &str) -> OrgId {
    name.parse().unwrap()
}

pub fn spec(customer: &str) -> DestinationSpec {
    serde_json::from_str(&format!(r#"{{"kind":"google","customer_id":"{customer}","actions":{{"Sale":"77"}}}}"#)).unwrap()
}

pub fn put(org: &OrgId, name: &str) -> PutDestination {
    let credentials = CredentialsChange::Set(vec![1, 2, 3].into());
    PutDestination { org: org.clone(), name: name.into(), spec: spec("1234567890"), credentials, now_ms: NOW }
}

pub async fn add_destination(store: &dyn Store, org: &OrgId, name: &str) -> DestinationId {
    match one(store, Write::PutDestination(put(org, name))).await {
        Ok(Done::Destination(id)) => id,
        other => panic!("{other:?}"),
    }
}

/// Runs one command.
pub async fn one(store: &dyn Store, command: Write) -> Result<Done, StoreError> {
    let mut results = store.write(vec![command]).await;
    assert_eq!(results.len(), 1);
    results.remove(0)
}

#[allow(clippy::unnecessary_wraps, reason = "values of conversions are optional")]
pub fn money(amount: &str) -> Option<Money> {
    Some(Money { amount: amount.parse().unwrap(), currency: "EUR".parse().unwrap() })
}

pub fn person(name: &str) -> PersonKey {
    PersonKey(first16(sha256(name)))
}

fn first16(hash: [u8; 32]) -> [u8; 16] {
    hash[..16].try_into().unwrap()
}

pub fn why(code: &str) -> Why {
    Why::new(code, "in other words")
}

pub fn lease(token: i64) -> Lease {
    Lease { worker: WorkerId(1), token, until_ms: NOW + 60_000 }
}

pub fn next(state: State) -> Next {
    Next { state, due_ms: None, attempts: 1, round: 0, why: None, hold: None }
}

impl Fixture {
    /// A sale with an order id, on its way to the fixture's destination.
    pub fn sale(&self, order: &str) -> NewConversion {
        self.sale_to(order, &[self.destination])
    }

    pub fn sale_to(&self, order: &str, destinations: &[DestinationId]) -> NewConversion {
        let delivery = |destination: &DestinationId| NewDelivery {
            destination: *destination,
            action_id: "77".into(),
            transaction_id: order.into(),
            owned: Some(first16(sha256(&format!("{} {order}", destination.0)))),
            due_ms: NOW,
        };
        NewConversion {
            key: NaturalKey::of(&self.org, "Sale", KeySubject::Order(order), 0),
            action: "Sale".into(),
            occurred_at: NOW / 1000 - 100,
            value: money("10"),
            order_id: Some(order.parse().unwrap()),
            click_id: None,
            consent: AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None },
            identifiers: Some(vec![4, 5].into()),
            persons: vec![person(order)],
            adjustment: None,
            deliveries: destinations.iter().map(delivery).collect(),
        }
    }

    pub fn intake(&self, conversions: Vec<NewConversion>) -> Intake {
        Intake {
            org: self.org.clone(),
            now_ms: NOW,
            source: "test".into(),
            consent_proof: None,
            rows: conversions.len() as u64,
            refused: 0,
            denied: 0,
            restate: false,
            conversions,
        }
    }

    pub async fn accept(&self, conversions: Vec<NewConversion>) -> Vec<Captured> {
        self.accept_intake(self.intake(conversions)).await
    }

    pub async fn accept_intake(&self, intake: Intake) -> Vec<Captured> {
        match one(&*self.store, Write::Accept(intake)).await {
            Ok(Done::Accepted(_, captured)) => captured,
            other => panic!("{other:?}"),
        }
    }

    /// Captures sales and returns their deliveries.
    pub async fn sell(&self, orders: &[&str]) -> Vec<DeliveryId> {
        let captured = self.accept(orders.iter().map(|o| self.sale(o)).collect()).await;
        let mut deliveries = Vec::new();
        for one in captured {
            let Captured::New(id) = one else { panic!("{one:?}") };
            let view = self.store.conversion(&self.org, id).await.unwrap().unwrap();
            deliveries.extend(view.deliveries.iter().map(|d| d.id));
        }
        deliveries
    }

    pub async fn claim(&self, token: i64, now_ms: i64) -> Vec<Claimed> {
        self.store.claim(self.destination, 100, lease(token), now_ms).await.unwrap()
    }

    pub async fn begin(&self, token: i64, rows: &[DeliveryId]) -> Begun {
        let begin = Begin {
            destination: self.destination,
            lease: lease(token),
            action_id: "77".into(),
            rows: rows.iter().map(|id| (*id, 11)).collect(),
            body_hash: [3; 32],
            now_ms: NOW + 1,
        };
        match one(&*self.store, Write::Begin(begin)).await {
            Ok(Done::Begun(begun)) => begun,
            other => panic!("{other:?}"),
        }
    }

    /// Claims and sends everything due.
    pub async fn send(&self, token: i64) -> (UploadId, Vec<DeliveryId>) {
        let rows: Vec<_> = self.claim(token, NOW).await.iter().map(|c| c.id).collect();
        match self.begin(token, &rows).await {
            Begun::Upload(upload) => (upload, rows),
            Begun::Lost(lost) => panic!("{lost:?}"),
        }
    }

    pub fn settled(&self, guard: Guard, rows: &[DeliveryId], next: Next) -> Settle {
        Settle {
            destination: self.destination,
            guard,
            now_ms: NOW + 2,
            rows: vec![Settled { next, part: 0, deliveries: rows.to_vec() }],
            upload: None,
            breaker: None,
            paused_until_ms: None,
        }
    }

    pub async fn settle(&self, token: i64, rows: &[DeliveryId], next: Next) -> u64 {
        self.settle_with(self.settled(Guard::Lease(lease(token)), rows, next)).await
    }

    pub async fn settle_with(&self, settle: Settle) -> u64 {
        match one(&*self.store, Write::Settle(settle)).await {
            Ok(Done::Settled(changed)) => changed,
            other => panic!("{other:?}"),
        }
    }

    /// Makes everything due dead.
    pub async fn kill(&self, token: i64) -> Vec<DeliveryId> {
        let (_, rows) = self.send(token).await;
        self.settle(token, &rows, Next { why: Some(why("REFUSED")), ..next(State::Dead) }).await;
        rows
    }

    /// Sends everything due; the platform's verdict is to be asked for at `poll_at_ms`.
    pub async fn await_verdict(&self, token: i64, poll_at_ms: i64) -> (UploadId, Vec<DeliveryId>) {
        let (upload, rows) = self.send(token).await;
        let result = UploadResult { upload, request_id: Some("req".into()), poll_at_ms: Some(poll_at_ms), why: None };
        let settle = self.settled(Guard::Lease(lease(token)), &rows, next(State::AwaitingConfirmation));
        self.settle_with(Settle { upload: Some(result), ..settle }).await;
        (upload, rows)
    }

    pub async fn state(&self, id: DeliveryId) -> State {
        self.delivery(id).await.state
    }

    pub async fn delivery(&self, id: DeliveryId) -> adsengineer_core::store::DeliveryView {
        let conversion = self.store.conversion_of(&self.org, id).await.unwrap().unwrap();
        let view = self.store.conversion(&self.org, conversion).await.unwrap().unwrap();
        view.deliveries.into_iter().find(|d| d.id == id).unwrap()
    }

    pub async fn changed(&self, command: Write) -> u64 {
        match one(&*self.store, command).await {
            Ok(Done::Changed(rows)) => rows,
            other => panic!("{other:?}"),
        }
    }
}
