//! A worker on the model store with a scripted platform, in paused time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use adsengineer_core::{
    clock::Clock,
    consent::{AdConsent, ConsentState},
    conversion::{KeySubject, NaturalKey},
    delivery::State,
    destination::{Answer, CheckFinding, Destination, DestinationSpec, Event, Limits, Polled, Rendered, Verdict},
    id::DestinationId,
    identity::{Identifiers, sha256},
    org::OrgId,
    outcome::{Outcome, Why},
    store::{
        ConversionQuery, CredentialsChange, Done, Intake, NewConversion, NewDelivery, PersonKey, PutDestination, Reads, Store,
        StoredDestination, WorkerId, Write, model::ModelStore,
    },
    worker::{Connector, Goal, Liveness, RunReport, Worker, WorkerSettings},
};
use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

const START_MS: i64 = 1_795_000_000_000;

type Waits = dyn Fn(usize, &[String]) -> Duration + Send + Sync;
type Answers = dyn Fn(usize, &[String]) -> Answer + Send + Sync;

/// A platform that answers by a function of the request's number and its transaction ids.
pub struct Scripted {
    pub limits: Limits,
    answers: Box<Answers>,
    /// What every rendered event ends with.
    pub suffix: Mutex<&'static str>,
    pub verdicts: Mutex<Vec<Verdict>>,
    pub sent: Mutex<Vec<Vec<String>>>,
    /// Runs between the record of an upload and its sending.
    pub on_render: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    pub hangs: bool,
    /// How long the answer to a request takes.
    pub slow: Box<Waits>,
    /// When each request went out, in Unix milliseconds.
    pub sent_ms: Mutex<Vec<i64>>,
    clock: Arc<Paused>,
}

#[async_trait]
impl Destination for Scripted {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn render(&self, _action_id: &str, events: &[Event], _validate_only: bool) -> Rendered {
        if let Some(act) = self.on_render.lock().unwrap().take() {
            act();
        }
        let suffix = *self.suffix.lock().unwrap();
        let lines: Vec<String> = events.iter().map(|event| format!("{}{suffix}\n", event.transaction_id)).collect();
        let hash = |line: &String| u64::from_be_bytes(sha256(line)[..8].try_into().unwrap());
        Rendered { event_hashes: lines.iter().map(hash).collect(), body: lines.concat().into_bytes() }
    }

    async fn send(&self, request: &Rendered, _rows: usize) -> Answer {
        let rows: Vec<String> = std::str::from_utf8(&request.body).unwrap().lines().map(str::to_owned).collect();
        let number = {
            let mut sent = self.sent.lock().unwrap();
            sent.push(rows.clone());
            self.sent_ms.lock().unwrap().push(self.clock.now_ms());
            sent.len()
        };
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let takes = (self.slow)(number, &rows);
        let _over = tokio::time::timeout(takes, std::future::pending::<()>()).await;
        (self.answers)(number, &rows)
    }

    async fn poll(&self, _upload: &Polled) -> Verdict {
        self.verdicts.lock().unwrap().pop().unwrap_or(Verdict::NotYet(None))
    }

    async fn check(&self) -> Vec<CheckFinding> {
        Vec::new()
    }
}

struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(START_MS + i64::try_from(self.0.elapsed().as_millis()).unwrap()).unwrap()
    }
}

struct One(Arc<Scripted>);

#[async_trait]
impl Connector for One {
    async fn connect(&self, _destination: &StoredDestination) -> Result<Arc<dyn Destination>, Outcome> {
        Ok(self.0.clone())
    }

    fn identifiers(&self, _org: &OrgId, _sealed: &[u8]) -> Result<Identifiers, Why> {
        Ok(Identifiers::default())
    }

    fn quota(&self, _destination: &StoredDestination) -> Arc<str> {
        "project".into()
    }
}

struct Alive {
    worker: WorkerId,
    gone: Vec<WorkerId>,
}

impl Liveness for Alive {
    fn worker(&self) -> WorkerId {
        self.worker
    }

    fn gone(&self, workers: &[WorkerId]) -> Vec<WorkerId> {
        workers.iter().copied().filter(|worker| self.gone.contains(worker)).collect()
    }
}

pub struct Stand {
    pub store: Arc<ModelStore>,
    clock: Arc<Paused>,
    pub org: OrgId,
    pub destination: DestinationId,
    pub door: Arc<Scripted>,
    pub settings: WorkerSettings,
    workers: Mutex<i64>,
}

impl Stand {
    pub async fn new(answers: impl Fn(usize, &[String]) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(answers, |_| {}).await
    }

    pub async fn with(answers: impl Fn(usize, &[String]) -> Answer + Send + Sync + 'static, change: impl FnOnce(&mut Scripted)) -> Self {
        let limits = Limits { batch: 100, dedupe_window: None, event_window: Duration::from_secs(90 * 86_400) };
        let clock = Arc::new(Paused(Instant::now()));
        let mut door = Scripted {
            limits,
            answers: Box::new(answers),
            suffix: Mutex::default(),
            verdicts: Mutex::default(),
            sent: Mutex::default(),
            on_render: Mutex::default(),
            hangs: false,
            slow: Box::new(|_, _| Duration::ZERO),
            sent_ms: Mutex::default(),
            clock: clock.clone(),
        };
        change(&mut door);
        let mut stand = Self {
            store: Arc::default(),
            clock,
            org: "acme".parse().unwrap(),
            destination: DestinationId(0),
            door: Arc::new(door),
            settings: WorkerSettings { concurrency: 1, ..WorkerSettings::default() },
            workers: Mutex::default(),
        };
        stand.destination = stand.add("google").await;
        stand
    }

    /// Adds a destination with the same platform.
    pub async fn add(&self, name: &str) -> DestinationId {
        let spec: DestinationSpec = serde_json::from_str(r#"{"kind":"google","customer_id":"1234567890"}"#).unwrap();
        let credentials = CredentialsChange::Keep;
        let put = PutDestination { org: self.org.clone(), name: name.into(), spec, credentials, now_ms: self.now_ms() };
        let Done::Destination(id) = self.act(Write::PutDestination(put)).await else { panic!("no destination") };
        id
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub async fn act(&self, command: Write) -> Done {
        self.store.write(vec![command]).await.remove(0).unwrap()
    }

    /// A conversion of today that its person agreed to.
    pub fn sale(&self, order: &str) -> NewConversion {
        let delivery = NewDelivery {
            destination: self.destination,
            action_id: "77".into(),
            transaction_id: order.into(),
            owned: None,
            due_ms: self.now_ms(),
        };
        NewConversion {
            key: NaturalKey::of(&self.org, "Sale", KeySubject::Order(order), 0),
            action: "Sale".into(),
            occurred_at: START_MS / 1000 - 3600,
            value: None,
            order_id: Some(order.parse().unwrap()),
            click_id: None,
            consent: AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None },
            identifiers: None,
            persons: vec![person(order)],
            adjustment: None,
            deliveries: vec![delivery],
        }
    }

    pub async fn accept(&self, conversions: Vec<NewConversion>) {
        let rows = conversions.len() as u64;
        let intake = Intake {
            org: self.org.clone(),
            now_ms: self.now_ms(),
            source: "test".into(),
            consent_proof: None,
            rows,
            refused: 0,
            denied: 0,
            restate: false,
            conversions,
        };
        self.act(Write::Accept(intake)).await;
    }

    /// Accepts sales of these orders.
    pub async fn sell(&self, orders: &[&str]) {
        self.accept(orders.iter().map(|order| self.sale(order)).collect()).await;
    }

    pub async fn suppress(&self, order: &str) {
        self.act(Write::Suppress { org: self.org.clone(), persons: vec![person(order)], now_ms: self.now_ms() }).await;
    }

    pub async fn release(&self) {
        self.act(Write::Release { org: self.org.clone(), destination: self.destination, reviewed: false, now_ms: self.now_ms() }).await;
    }

    /// A new worker; those before it are gone.
    pub fn worker(&self) -> Worker {
        self.worker_on(self.store.clone())
    }

    /// A new worker that sees the store through `store`.
    pub fn worker_on(&self, store: Arc<dyn Store>) -> Worker {
        let number = {
            let mut workers = self.workers.lock().unwrap();
            *workers += 1;
            *workers
        };
        let alive = Alive { worker: WorkerId(number), gone: (1..number).map(WorkerId).collect() };
        let door = Arc::new(One(self.door.clone()));
        Worker::new(store, self.clock.clone(), door, Arc::new(alive), self.settings.clone()).seeded(7)
    }

    /// Works off what is due now.
    pub async fn run(&self) -> RunReport {
        self.run_with(Goal::Settled { patience: Duration::from_secs(5) }).await
    }

    /// Works until nothing is open.
    pub async fn finish(&self) -> RunReport {
        self.run_with(Goal::Final { deadline: Timestamp::from_millisecond(self.now_ms() + 30 * 86_400_000).unwrap() }).await
    }

    pub async fn run_with(&self, goal: Goal) -> RunReport {
        let stop = watch::Sender::new(false);
        self.worker().run_until(goal, stop.subscribe()).await.unwrap()
    }

    /// State and reason of every order's delivery.
    pub async fn states(&self) -> BTreeMap<String, (State, String)> {
        let all = self.store.conversions(&self.org, &ConversionQuery { limit: 10_000, ..ConversionQuery::default() }).await.unwrap();
        let entry = |c: adsengineer_core::store::ConversionView| {
            let last = c.deliveries.last().unwrap();
            (c.order_id.unwrap(), (last.state, last.reason.as_deref().unwrap_or_default().to_owned()))
        };
        all.items.into_iter().map(entry).collect()
    }

    pub async fn state(&self, order: &str) -> (State, String) {
        self.states().await.remove(order).unwrap()
    }

    pub async fn attempts(&self, order: &str) -> u16 {
        let all = self.store.conversions(&self.org, &ConversionQuery { limit: 10_000, ..ConversionQuery::default() }).await.unwrap();
        all.items.iter().find(|c| c.order_id.as_deref() == Some(order)).unwrap().deliveries[0].attempts
    }

    /// When each request went out, in milliseconds since the start.
    pub fn sent_ms(&self) -> Vec<i64> {
        self.door.sent_ms.lock().unwrap().iter().map(|at| at - START_MS).collect()
    }

    pub fn sent(&self) -> Vec<Vec<String>> {
        self.door.sent.lock().unwrap().clone()
    }
}

fn person(order: &str) -> PersonKey {
    PersonKey(sha256(order)[..16].try_into().unwrap())
}

pub fn why(code: &str) -> Why {
    Why::new(code, "in other words")
}

pub fn pending() -> Answer {
    Answer { request_id: Some("r".into()), ..Answer::all(Outcome::Pending) }
}
